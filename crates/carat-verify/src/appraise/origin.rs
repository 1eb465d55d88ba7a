//! Where a receipt comes from: the Trust file itself, the issuer's key, the model.

use alloc::format;

use super::Work;
use crate::time;
use crate::trust::{Freshness, IssuerKey, Standing};

impl<'a> Work<'a> {
    /// Whether the Trust file may be used, and for what.
    pub(super) fn trust_file(&mut self) {
        let Some(trust) = self.question.trust else {
            for name in [
                "trust_file",
                "trust_signature",
                "trust_fresh",
                "trust_version",
            ] {
                self.not_made(name, "no Trust file was given");
            }
            self.blocks_all
                .push("no Trust file was given, so nothing vouches for the receipt".into());
            return;
        };
        let content = trust.content();
        self.pass(
            "trust_file",
            format!(
                "{}, version {}, digest {}",
                content.name,
                content.version,
                trust.digest()
            ),
        );
        let mut usable = true;
        match (trust.standing(), self.question.trust_owner) {
            (Standing::Signed, Some(owner)) if owner != content.owner => {
                self.fail(
                    "trust_signature",
                    format!("signed by {}, which is not your key", content.owner),
                );
                usable = false;
            }
            (Standing::BuiltIn, _) => self.not_made(
                "trust_signature",
                "no Trust file was given: this is the built-in default, which trusts nobody and caps `implementation`",
            ),
            (Standing::Signed, Some(_)) => self.pass("trust_signature", "signed by your own key"),
            (Standing::Signed, None) => {
                self.pass(
                    "trust_signature",
                    format!(
                        "signed by its owner {}; only you know whether that is you",
                        content.owner
                    ),
                );
            }
            (Standing::Unsigned, _) => {
                self.fail(
                    "trust_signature",
                    "the Trust file is not signed; sign it with your key",
                );
                usable = false;
            }
            (Standing::Broken, _) => {
                self.fail("trust_signature", "the Trust file was changed after it was signed; check the change and sign again");
                usable = false;
            }
        }
        match trust.freshness(self.question.now) {
            Freshness::Fresh => self.pass(
                "trust_fresh",
                format!("as of {}", time::to_text(content.as_of)),
            ),
            Freshness::Stale { until } => {
                let reason = format!(
                    "the Trust file ran out at {}; keys in it count for nothing until it is renewed",
                    time::to_text(until)
                );
                self.blocks_others.push(reason.clone());
                self.fail("trust_fresh", reason);
            }
            Freshness::FromTheFuture => {
                let reason = format!(
                    "the Trust file is dated {}, which is in the future",
                    time::to_text(content.as_of)
                );
                self.blocks_others.push(reason.clone());
                self.fail("trust_fresh", reason);
            }
        }
        match self.question.remembered.trust_version {
            Some(seen) if content.version < seen => {
                self.fail(
                    "trust_version",
                    format!(
                        "version {} is older than version {seen}, which you used before",
                        content.version
                    ),
                );
                usable = false;
            }
            Some(seen) => self.pass(
                "trust_version",
                format!("version {}, not older than {seen}", content.version),
            ),
            None => self.not_made("trust_version", "no earlier version is remembered"),
        }
        if usable {
            self.trust = Some(trust);
        } else {
            self.blocks_all
                .push("the Trust file may not be used: see its checks".into());
        }
    }

    /// Issuer, key validity, log, revocation, model.
    pub(super) fn issuer_and_log(&mut self) {
        let statement = self.file.signed.statement();
        let known = self
            .trust
            .map(|trust| trust.issuer_of(&statement.issuer_key));
        let inclusion = self.log();
        self.included = !inclusion.is_empty();
        match known {
            None => {
                for name in ["issuer", "issuer_key", "issuer_revocation"] {
                    self.not_made(name, "there is no usable Trust file to look the key up in");
                }
            }
            Some(None) => {
                let reason = format!(
                    "key {} of \"{}\" is not in the Trust file",
                    statement.issuer_key, statement.issuer
                );
                self.fail("issuer", reason);
                for name in ["issuer_key", "issuer_revocation"] {
                    self.not_made(name, "the key is not in the Trust file");
                }
            }
            Some(Some((issuer, key))) => {
                self.pass("issuer", format!("the key belongs to {}", issuer.name));
                self.key_validity(key);
                self.revocation(key, &inclusion);
            }
        }
        self.model_accepted();
    }

    fn key_validity(&mut self, key: &IssuerKey) {
        let at = self.file.signed.statement().issued_at;
        let bad = match (key.not_before, key.not_after) {
            (Some(first), _) if at < first => {
                Some(format!("the key is valid from {}", time::to_text(first)))
            }
            (_, Some(last)) if at > last => {
                Some(format!("the key was valid until {}", time::to_text(last)))
            }
            _ => None,
        };
        match bad {
            None => self.pass("issuer_key", "valid at the time that the receipt states"),
            Some(reason) => self.fail(
                "issuer_key",
                format!("{reason}; the receipt says {}", time::to_text(at)),
            ),
        }
    }

    /// A revoked key still vouches for what was in the log before; a thief can date a receipt back, but cannot get it
    /// into the log at an earlier index.
    fn revocation(&mut self, key: &IssuerKey, inclusion: &[super::log::Inclusion]) {
        let Some(revoked) = &key.revoked else {
            self.pass("issuer_revocation", "the key is not revoked");
            return;
        };
        let log = &revoked.log;
        match inclusion.iter().find(|found| found.origin == log.as_str()) {
            Some(found) => {
                let (from, index) = (revoked.from_index, found.index);
                let reason = format!(
                    "the key is revoked from index {from} of {log}; this receipt is at {index}"
                );
                if index < from {
                    self.pass("issuer_revocation", reason);
                } else {
                    self.fail("issuer_revocation", reason);
                }
            }
            None => {
                let reason = format!(
                    "the key is revoked, and no witnessed checkpoint proves that {log} held this receipt before"
                );
                self.fail("issuer_revocation", reason);
            }
        }
    }

    fn model_accepted(&mut self) {
        let statement = self.file.signed.statement();
        // A courier's Statement names an upstream's model, which is accepted by the name that was asked for.
        if statement.optional.courier.is_some()
            && let Some(asked) = self.question.courier
            && self.question.model.is_none()
        {
            if asked.model == statement.model_name.as_str() {
                self.pass("model_accepted", "the model is the one that you asked for");
            } else {
                let (asked, about) = (asked.model, &statement.model_name);
                let reason = format!("you mean the model {asked}, the receipt is about {about}");
                self.refuse("model_accepted", reason);
            }
            return;
        }
        let named = self
            .question
            .model
            .or(self.question.own_replay.map(|replay| replay.program));
        let trusted = self.trust.and_then(|trust| trust.model(&statement.program));
        match (named, trusted) {
            (Some(named), _) if named == statement.program => {
                self.pass(
                    "model_accepted",
                    "the program is the one of the model that you gave",
                );
            }
            (Some(named), _) => {
                let reason = format!(
                    "you mean program {named}, the receipt is about {}",
                    statement.program
                );
                self.refuse("model_accepted", reason);
            }
            (None, Some(model)) => self.pass(
                "model_accepted",
                format!("the Trust file accepts the program as {}", model.name),
            ),
            (None, None) => {
                let reason = format!(
                    "nothing says that program {} is the model that you mean: give the model, or add it to the Trust file",
                    statement.program
                );
                self.blocks_others.push(reason.clone());
                match self.trust {
                    Some(_) => self.fail("model_accepted", reason),
                    None => self.not_made("model_accepted", reason),
                }
            }
        }
    }
}
