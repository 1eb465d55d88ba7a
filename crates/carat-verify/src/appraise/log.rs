//! What the log says about a receipt.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_log::{Checkpoint, Hash, SignedPromise, TlogProof, VerifierKey, leaf_hash};
use carat_receipt::file::{LOG_PROMISE, LOG_PROOF};
use carat_receipt::{LogItem, leaf};

use super::Work;
use crate::appraisal::Outcome;
use crate::trust::Trust;

/// A receipt's place in a log whose key is in the Trust file, under a checkpoint that enough witnesses cosigned.
pub(super) struct Inclusion {
    pub(super) origin: String,
    pub(super) index: u64,
}

impl Work<'_> {
    /// Checks every log item. What is attached must at least be about this receipt, with or without a Trust file.
    pub(super) fn log(&mut self) -> Vec<Inclusion> {
        let Some(part) = &self.file.log else {
            for name in [
                "log_promise",
                "log_inclusion",
                "log_witnesses",
                "log_consistency",
            ] {
                self.not_made(name, "the receipt carries nothing from a log");
            }
            return Vec::new();
        };
        let tau = self
            .file
            .signed
            .statement()
            .optional
            .plan
            .as_ref()
            .map(|plan| plan.tau);
        let leaf = leaf_hash(&leaf(&part.blind, &self.receipt_id, tau));
        let items = |media_type: &str| {
            part.items
                .iter()
                .filter(|item| item.media_type.as_str() == media_type)
                .collect::<Vec<_>>()
        };
        self.promises(&items(LOG_PROMISE), leaf);
        self.proofs(&items(LOG_PROOF), leaf)
    }

    fn promises(&mut self, items: &[&LogItem], leaf: Hash) {
        const NAME: &str = "log_promise";
        if items.is_empty() {
            self.not_made(NAME, "the receipt carries no promise of a log");
        }
        for item in items {
            let promise = match SignedPromise::parse(&item.bytes) {
                Ok(promise) => promise,
                Err(error) => {
                    self.refuse(NAME, error.to_string());
                    continue;
                }
            };
            let said = promise.unverified();
            let origin = said.origin.as_str();
            if said.leaf != leaf {
                self.refuse(
                    NAME,
                    "the log's promise is about another leaf: the file was altered",
                );
                continue;
            }
            match log_key(self.trust, origin) {
                None => self.not_made(
                    NAME,
                    "its log is not in a usable Trust file: the promise is unverified",
                ),
                Some(key) => match promise.verify(leaf, key) {
                    Ok(said) => {
                        let late = if said.include_by < self.question.now {
                            "; that time is over: ask for the proof"
                        } else {
                            ""
                        };
                        let by = crate::time::to_text(
                            said.include_by.min(carat_receipt::statement::MAX_TIME),
                        );
                        self.pass(
                            NAME,
                            format!("{origin} promised to include it by {by}{late}"),
                        );
                    }
                    Err(error) => self.refuse(NAME, error.to_string()),
                },
            }
        }
    }

    fn proofs(&mut self, items: &[&LogItem], leaf: Hash) -> Vec<Inclusion> {
        const NAME: &str = "log_inclusion";
        let mut found = Vec::new();
        if items.is_empty() {
            for name in [NAME, "log_witnesses", "log_consistency"] {
                self.not_made(name, "the receipt carries no inclusion proof");
            }
        }
        for item in items {
            let proof = match TlogProof::parse(&item.bytes) {
                Ok(proof) => proof,
                Err(error) => {
                    self.refuse(NAME, error.to_string());
                    continue;
                }
            };
            let said = proof.checkpoint.unverified();
            let origin = said.origin().to_string();
            if let Err(error) = proof.inclusion().verify_root(leaf, said.root()) {
                self.refuse(NAME, format!("the inclusion proof does not lead from this receipt to its checkpoint: {error}"));
                continue;
            }
            let Some(key) = log_key(self.trust, &origin) else {
                self.not_made(
                    NAME,
                    "its log is not in a usable Trust file: the checkpoint is unverified",
                );
                self.not_made("log_witnesses", "the checkpoint is unverified");
                self.not_made("log_consistency", "the checkpoint is unverified");
                continue;
            };
            match proof.verify(leaf, key) {
                Ok(checkpoint) => {
                    let reason = format!(
                        "leaf {} of {origin}, in its checkpoint of size {}",
                        proof.index,
                        checkpoint.size()
                    );
                    self.pass(NAME, reason);
                    let witnessed = self.witnesses(&proof);
                    self.consistency(&checkpoint);
                    if witnessed {
                        let index = proof.index;
                        found.push(Inclusion { origin, index });
                    }
                }
                Err(error) => self.refuse(NAME, error.to_string()),
            }
        }
        found
    }

    /// Whether enough witnesses cosigned. Without them the log's operator could show this checkpoint to nobody else.
    fn witnesses(&mut self, proof: &TlogProof) -> bool {
        const NAME: &str = "log_witnesses";
        let Some(content) = self.trust.map(Trust::content) else {
            return false;
        };
        let keys: Vec<VerifierKey> = content
            .witnesses
            .iter()
            .map(|witness| witness.key.clone())
            .collect();
        match proof.checkpoint.cosignatures(&keys) {
            Err(error) => {
                self.refuse(NAME, error.to_string());
                false
            }
            Ok(found) => {
                let times = found.iter().map(|cosignature| cosignature.time);
                let last = times.max();
                let quorum = content.witness_quorum;
                let count = controllers(content, &found);
                let reason = format!(
                    "{count} independent witnesses cosigned; the Trust file asks for {quorum}"
                );
                let enough = count >= quorum;
                if enough && quorum > 0 {
                    // The last of them is the safe one: by then the receipt existed.
                    self.witnessed_at = self.witnessed_at.min(last).or(last);
                }
                self.note(
                    NAME,
                    if enough { Outcome::Pass } else { Outcome::Fail },
                    reason,
                );
                enough
            }
        }
    }

    fn consistency(&mut self, new: &Checkpoint) {
        const NAME: &str = "log_consistency";
        let remembered = self.question.remembered;
        let Some(old) = remembered.checkpoint else {
            self.not_made(NAME, "no earlier checkpoint is remembered");
            return;
        };
        if old.origin() != new.origin() {
            self.not_made(
                NAME,
                format!(
                    "the remembered checkpoint is of another log, {}",
                    old.origin()
                ),
            );
            return;
        }
        if old.size() == new.size() {
            if old.root() == new.root() {
                self.pass(NAME, "the checkpoint is the one remembered");
            } else {
                let reason = "the log signed two different trees of one size: it shows different histories to different people";
                self.refuse(NAME, reason);
            }
            return;
        }
        let (first, second) = if old.size() < new.size() {
            (old, new)
        } else {
            (new, old)
        };
        match remembered.consistency {
            Some(proof) if proof.from == first.size() && proof.to == second.size() => {
                match proof.verify_roots(first.root(), second.root()) {
                    Ok(()) => self.pass(
                        NAME,
                        "the log only grew between the remembered checkpoint and this one",
                    ),
                    Err(error) => {
                        self.refuse(NAME, format!("the log's history was rewritten: {error}"))
                    }
                }
            }
            _ => {
                let reason = format!(
                    "ask the log for the proof from size {} to {}",
                    first.size(),
                    second.size()
                );
                self.not_made(NAME, reason);
            }
        }
    }
}

fn log_key<'a>(trust: Option<&'a Trust>, origin: &str) -> Option<&'a VerifierKey> {
    trust?
        .content()
        .logs
        .iter()
        .map(|log| &log.key)
        .find(|key| key.name().as_str() == origin)
}

/// Witnesses that cosigned, each controller once, and none that operates a log in this file.
fn controllers(content: &crate::trust::Content, found: &[carat_log::Cosignature]) -> u64 {
    let mut names: Vec<_> = content
        .witnesses
        .iter()
        .filter(|witness| {
            found
                .iter()
                .any(|cosignature| cosignature.witness == *witness.key.name())
        })
        .map(|witness| &witness.controller)
        .filter(|controller| {
            !content
                .logs
                .iter()
                .any(|log| log.controller == **controller)
        })
        .collect();
    names.sort();
    names.dedup();
    names.len() as u64
}
