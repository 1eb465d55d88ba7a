//! Evidence attached to a receipt, item by item.

use alloc::format;

use carat_receipt::evidence::{Body, Cosignature, Replay, Signed};

use super::Work;
use crate::time;
use crate::trust::{Auditor, CLOCK_SKEW, Trust};

impl<'a> Work<'a> {
    /// Checks every item. An item whose signature does not hold makes the file invalid: nobody adds one by accident.
    pub(super) fn evidence(&mut self) {
        let file = self.file;
        self.io_commitment();
        for (i, item) in file.evidence().iter().enumerate() {
            let name = format!("evidence.{i}.{}", item.body.kind().as_str());
            // Decoding and `add_evidence` refuse this; the verdict does not rest on that.
            if item.statement != self.receipt_id {
                self.refuse(name, "the evidence is about another receipt");
                continue;
            }
            match &item.body {
                Body::Signature(signed) => self.cosignature(name, signed),
                Body::Replay(signed) => self.replay(name, signed),
                Body::Attestation(attestation) => self.attestation(name, attestation),
                Body::Proof(proof) => self.proof(name, proof),
                _ => self.not_made(name, "not appraised by this version: it adds nothing"),
            }
        }
    }

    fn cosignature(&mut self, name: alloc::string::String, signed: &Signed<Cosignature>) {
        let body = signed.body();
        match signed.verify(&self.receipt_id) {
            Ok(()) => self.pass(
                name,
                format!(
                    "\"{}\" ({}) signed it too; a signature alone adds nothing",
                    body.name, body.key
                ),
            ),
            Err(error) => self.refuse(name, format!("{error}")),
        }
    }

    fn replay(&mut self, name: alloc::string::String, signed: &'a Signed<Replay>) {
        let body = signed.body();
        let statement = self.file.signed.statement();
        if let Err(error) = signed.verify(&self.receipt_id) {
            self.refuse(name, format!("{error}"));
            return;
        }
        let auditor = self.trust.and_then(|trust| trust.auditor(&body.key));
        let traces = (statement.optional.trace_root, body.trace_root);
        let another_trace = matches!(traces, (Some(claimed), Some(found)) if claimed != found);
        if body.program != statement.program {
            self.fail(
                name,
                format!(
                    "\"{}\" ran another program: it says nothing about this one",
                    body.name
                ),
            );
        } else if body.engine != statement.engine {
            self.fail(
                name,
                format!(
                    "\"{}\" ran other numerics: it says nothing about this run",
                    body.name
                ),
            );
        } else if body.output != statement.output || another_trace {
            let reason = format!(
                "\"{}\" ({}) ran the program and got something else",
                body.name, body.key
            );
            if auditor.is_some() {
                // A trusted contradiction outweighs every trusted agreement; only one's own machine settles it.
                self.blocks_others.push(reason.clone());
            }
            self.fail(name, reason);
        } else if body.replayed_at.saturating_add(CLOCK_SKEW) < statement.issued_at
            || body.replayed_at > self.question.now.saturating_add(CLOCK_SKEW)
        {
            let at = time::to_text(body.replayed_at.min(carat_receipt::statement::MAX_TIME));
            self.fail(
                name,
                format!("the replay is dated {at}, before the receipt or in the future"),
            );
        } else {
            self.agreement(name, body, auditor);
        }
    }

    /// A replay that agrees with the Statement: does its author count?
    fn agreement(
        &mut self,
        name: alloc::string::String,
        body: &Replay,
        auditor: Option<&'a Auditor>,
    ) {
        let statement = self.file.signed.statement();
        let issuer = self
            .trust
            .and_then(|trust| trust.issuer_of(&statement.issuer_key))
            .map(|(issuer, _)| &issuer.name);
        let same_organisation = self
            .trust
            .and_then(|trust: &Trust| trust.issuer_of(&body.key))
            .map(|(issuer, _)| &issuer.name);
        if body.key == statement.issuer_key || (issuer.is_some() && same_organisation == issuer) {
            self.pass(
                name,
                "the issuer ran its own program again: that adds nothing",
            );
            return;
        }
        let Some(auditor) = auditor else {
            self.pass(
                name,
                format!(
                    "\"{}\" ({}) got the same output, but is no auditor in a usable Trust file",
                    body.name, body.key
                ),
            );
            return;
        };
        if Some(&auditor.controller) == issuer || auditor.controller == statement.issuer {
            self.pass(
                name,
                format!(
                    "{} got the same output, but is run by the issuer: that adds nothing",
                    auditor.name
                ),
            );
            return;
        }
        self.pass(
            name,
            format!("the auditor {} got the same output", auditor.name),
        );
        if !self.audited.iter().any(|(name, _)| **name == auditor.name) {
            self.audited.push((&auditor.name, auditor.cap));
        }
    }
}
