//! Receipts of couriers: an answer that an upstream service gave and the issuer passed on.
//!
//! Nothing here shows that the upstream gave the answer: that is the issuer's word, and that the answer is worth anything is the
//! upstream's. Both are assumptions (`honest:ISSUER`, `upstream:NAME`), and only a Trust file gives them an amount. What is checked is
//! that the receipt is about this question and this answer, whole, and that the courier says nothing against itself.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use carat_receipt::courier::{Carried, Courier, Ending, renamed};
use carat_receipt::{Amount, Label, Opening};

use super::Work;
use crate::appraisal::AssumptionSet;
use crate::stream;
use crate::trust::Upstream;

impl Work<'_> {
    /// The answer that the relying party was given is the one of the receipt.
    pub(super) fn output(&mut self) {
        let courier = self.file.signed.statement().optional.courier.is_some();
        let Some(output) = self.question.output else {
            if courier {
                self.not_made("output", "you gave no answer to compare");
            }
            return;
        };
        match self.question.opening {
            Some(opening) if self.opened && *opening.output.bytes == output => {
                self.pass(
                    "output",
                    "the receipt is about the answer that you were given",
                );
            }
            Some(_) if self.opened => self.refuse(
                "output",
                "the receipt is about another answer than the one that you were given",
            ),
            _ => self.refuse(
                "output",
                "comparing answers needs the opening, and there is none that fits",
            ),
        }
    }

    /// What a courier says of what it carried.
    pub(super) fn courier(&mut self) {
        let statement = self.file.signed.statement();
        let Some(claims) = &statement.optional.courier else {
            if self.question.courier.is_some() {
                self.refuse(
                    "courier_asked",
                    "you asked an upstream through a courier; the receipt is not about such an answer",
                );
            }
            return;
        };
        self.courier_asked(claims);
        self.upstream_model(claims);
        match claims.ending {
            Ending::Complete => {
                self.pass("complete", "the courier says that the answer is complete")
            }
            cut => {
                let reason = format!("the answer {}", cut.as_str());
                self.courier_blocks.push(reason.clone());
                self.fail("complete", reason);
            }
        }
        let opened = self.question.opening.filter(|_| self.opened);
        let Some((opening, carried)) =
            opened.and_then(|opening| Some((opening, opening.carried.as_ref()?)))
        else {
            let reason = "what was carried is not opened: give the opening";
            self.courier_blocks.push(reason.into());
            for name in ["carried", "stream"] {
                self.not_made(name, reason);
            }
            return;
        };
        self.carried(claims, opening, carried);
        self.stream(opening, carried);
    }

    fn courier_asked(&mut self, claims: &Courier) {
        let statement = self.file.signed.statement();
        let Some(asked) = self.question.courier else {
            let reason = "you did not say which interface and model you asked for";
            // Whoever composed a receipt that rests on this one says what it is about.
            if self.place.composer.is_none() {
                self.courier_blocks.push(reason.into());
            }
            self.not_made("courier_asked", reason);
            return;
        };
        if asked.endpoint != claims.endpoint.as_str() {
            let reason = format!(
                "you asked {}, the receipt is about {}",
                asked.endpoint, claims.endpoint
            );
            self.refuse("courier_asked", reason);
        } else if asked.model != statement.model_name.as_str() {
            let reason = format!(
                "you asked for the model {}, the receipt is about {}",
                asked.model, statement.model_name
            );
            self.refuse("courier_asked", reason);
        } else {
            self.pass(
                "courier_asked",
                "the interface and the model that you asked for",
            );
        }
    }

    fn upstream_model(&mut self, claims: &Courier) {
        let listed = |reported: &Label| {
            self.trusted_upstream()
                .is_some_and(|upstream| upstream.models.contains(reported))
        };
        let reason = match &claims.reported {
            Some(reported) if *reported == claims.model => {
                self.pass("upstream_model", format!("the upstream named {reported}"));
                return;
            }
            Some(reported) if listed(reported) => {
                let reason = format!("the upstream named {reported}, which the Trust file accepts");
                self.pass("upstream_model", reason);
                return;
            }
            Some(reported) => format!(
                "the upstream was asked for {} and named {reported}; a Trust file can accept that name",
                claims.model
            ),
            None => "the upstream named no model".into(),
        };
        self.courier_blocks.push(reason.clone());
        self.fail("upstream_model", reason);
    }

    fn carried(&mut self, claims: &Courier, opening: &Opening, carried: &Carried) {
        let statement = self.file.signed.statement();
        let (input, sent) = (&opening.input.bytes, &carried.sent.bytes);
        let (received, output) = (&carried.received.bytes, &opening.output.bytes);
        let named = (statement.model_name.as_str(), claims.model.as_str());
        // What is held back at a cut was received and not passed on.
        let passed_on = if claims.ending == Ending::Complete {
            received.as_slice() == output.as_slice()
        } else {
            received.starts_with(output)
        };
        if !renamed(input, sent, named) {
            self.refuse(
                "carried",
                "the courier sent the upstream another request than the one that it was sent",
            );
        } else if !passed_on {
            self.refuse(
                "carried",
                "the courier passed on another answer than the one that it received",
            );
        } else {
            self.pass(
                "carried",
                "the courier says that it passed on the request, but for the model's name, and the answer as they were",
            );
        }
    }

    fn stream(&mut self, opening: &Opening, carried: &Carried) {
        let stream = self.file.signed.statement().optional.stream.as_ref();
        match (stream, &carried.chunks) {
            (None, None) => self.pass("stream", "the answer was not streamed"),
            (Some(claimed), Some(lengths)) if stream::holds(opening, lengths, claimed) => {
                let reason = format!("{} chunks, with the root of the Statement", claimed.chunks);
                self.pass("stream", reason);
            }
            _ => self.refuse(
                "stream",
                "the chunks of the opening are not those of the Statement",
            ),
        }
    }

    /// The entry of the Trust file for the upstream, and only one that this issuer may carry for.
    fn trusted_upstream(&self) -> Option<&Upstream> {
        let statement = self.file.signed.statement();
        let carat_receipt::Execution::Courier { upstream } = &statement.execution else {
            return None;
        };
        let content = self.trust?.content();
        content
            .upstreams
            .iter()
            .find(|entry| entry.name == *upstream)
    }

    /// The one set that a courier's receipt has of itself.
    pub(super) fn courier_set(&self, zero: Option<Amount>, upstream: &Label) -> AssumptionSet {
        let statement = self.file.signed.statement();
        let issuer = self
            .trust
            .and_then(|trust| trust.issuer_of(&statement.issuer_key))
            .map_or(&statement.issuer, |(issuer, _)| &issuer.name);
        let (amount, reason) = match self.courier_amount(upstream) {
            Ok(cap) => (
                Some(cap),
                format!("the Trust file's cap for the upstream {upstream}"),
            ),
            Err(reason) => (zero, reason),
        };
        AssumptionSet {
            rung: "courier".into(),
            amount,
            under: vec![
                format!("honest:{issuer}"),
                format!("upstream:{upstream}"),
                format!("input:{}", self.input_from),
            ],
            reason,
        }
    }

    fn courier_amount(&self, upstream: &Label) -> Result<Amount, String> {
        if !self.invalid.is_empty() {
            return Err("the receipt is invalid".into());
        }
        let nothing = "a courier's receipt is good for nothing of itself: it passes on what somebody else says";
        let Some(entry) = self.trusted_upstream() else {
            return Err(format!(
                "{nothing}, and no Trust file gives a cap for the upstream {upstream}"
            ));
        };
        if self.file.signed.statement().optional.courier.is_none() {
            return Err(format!(
                "{nothing}, and this one does not say what was carried"
            ));
        }
        let Some(issuer) = self.known_issuer() else {
            return Err("the courier's key is not in the Trust file: anybody can say that an answer is another's".into());
        };
        if !entry.couriers.is_empty() && !entry.couriers.iter().any(|name| name.as_str() == issuer)
        {
            return Err(format!(
                "the Trust file does not accept {issuer} as a courier of {upstream}"
            ));
        }
        let blocks = self
            .blocks_all
            .first()
            .or_else(|| self.blocks_others.first())
            .or_else(|| self.courier_blocks.first());
        match blocks.cloned().or_else(|| self.key_fault()) {
            Some(block) => Err(block),
            None => Ok(entry.cap),
        }
    }

    /// What would be enough for a courier's receipt.
    pub(super) fn courier_enough(&self, upstream: &Label) -> Vec<String> {
        let mut list = Vec::new();
        match self.trusted_upstream() {
            None => list.push(format!(
                "a cap for the upstream in your Trust file, if its word is good enough for you: carat trust add FILE upstream {upstream} AMOUNT"
            )),
            Some(entry) => list.push(format!(
                "a higher cap for the upstream {upstream} in your Trust file, which is now {}",
                entry.cap
            )),
        }
        if self.known_issuer().is_none() {
            list.push("the courier's key among the issuers of your Trust file".into());
        }
        let blocks = self.blocks_all.iter().chain(&self.blocks_others);
        list.extend(
            blocks
                .chain(&self.courier_blocks)
                .map(|block| format!("to resolve: {block}")),
        );
        list.push("an answer of a model that runs at the node, with evidence of its own".into());
        list
    }
}
