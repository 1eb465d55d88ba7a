//! What a notice about an upgrade is worth as a document: who said it, about what, and whether the log has it. A notice never
//! changes what a receipt is good for.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_log::{SignedPromise, TlogProof, VerifierKey, leaf_hash};
use carat_receipt::evidence::Kind;
use carat_receipt::file::LOG_PROOF;
use carat_receipt::{Digest, NoticeFile, ReceiptFile, Said};
use serde::Serialize;

use crate::appraisal::{Check, Outcome};

/// What whoever holds a notice knows.
#[derive(Debug, Clone, Copy)]
pub struct NoticeQuestion<'a> {
    /// The receipt that it should be about.
    pub receipt: &'a ReceiptFile,
    /// Unix seconds.
    pub now: u64,
    /// The nonce that was sent with the request.
    pub nonce: Option<&'a [u8]>,
    /// The key of the issuer's log.
    pub log: Option<&'a VerifierKey>,
}

/// Where a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It was promised, and the time is not over.
    Promised,
    /// The receipt at hand has a proof. Whether the proof is good says an appraisal.
    ProofAttached,
    /// The time is over, and the receipt at hand has no proof.
    Overdue,
    /// It was refused.
    Refused,
    /// Its issuer says that it was not there in time.
    Missed,
}

/// A notice, judged as a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoticeReport {
    /// Whether every check that could be made passed: the issuer of the receipt said this about the receipt.
    pub genuine: bool,
    /// `promise`, `refusal` or `miss`.
    pub kind: &'static str,
    /// Where things stand.
    pub standing: Standing,
    /// Its identity.
    pub notice_id: Digest,
    /// The receipt that it is about.
    pub receipt_id: Digest,
    /// Who said it, by its own name.
    pub issuer: String,
    /// When, Unix seconds by the issuer's clock.
    pub said_at: u64,
    /// Until when the evidence was promised, Unix seconds.
    pub by: Option<u64>,
    /// Why it was refused: stable, for programs.
    pub reason: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    /// Every check.
    pub checks: Vec<Check>,
}

struct Checks(Vec<Check>);

impl Checks {
    fn note(&mut self, name: &str, outcome: Outcome, reason: impl ToString) {
        self.0.push(Check {
            name: name.to_string(),
            outcome,
            reason: reason.to_string(),
        });
    }

    fn hold(&mut self, name: &str, holds: bool, yes: &str, no: &str) {
        let (outcome, reason) = if holds {
            (Outcome::Pass, yes)
        } else {
            (Outcome::Fail, no)
        };
        self.note(name, outcome, reason);
    }
}

/// Judges a notice. Pure, like an appraisal.
pub fn judge_notice(file: &NoticeFile, question: &NoticeQuestion<'_>) -> NoticeReport {
    let notice = file.signed.notice();
    let mut checks = Checks(Vec::new());
    match file.signed.verify_signature() {
        Ok(()) => checks.note(
            "signature",
            Outcome::Pass,
            "the key in the notice signed it",
        ),
        Err(error) => checks.note("signature", Outcome::Fail, error),
    }
    let statement = question.receipt.signed.statement();
    checks.hold(
        "receipt",
        notice.receipt == question.receipt.receipt_id(),
        "it is about this receipt",
        "it is about another receipt",
    );
    checks.hold(
        "issuer_key",
        notice.issuer_key == statement.issuer_key
            && question.receipt.signed.verify_signature().is_ok(),
        "the key that issued the receipt said it",
        "another key than the one that issued the receipt said it",
    );
    match (question.nonce, &notice.nonce) {
        (None, _) => checks.note(
            "nonce",
            Outcome::NotMade,
            "no nonce was given to compare with",
        ),
        (Some(own), said) => checks.hold(
            "nonce",
            said.as_ref().is_some_and(|said| said.as_bytes() == own),
            "it answers your request",
            "it carries another nonce than yours, or none",
        ),
    }
    if let Said::Miss { by, .. } = &notice.said {
        checks.hold(
            "time",
            notice.said_at > *by,
            "it was said after the promised time",
            "it was said before the promised time was over",
        );
        log(&mut checks, file, question.log);
    }
    let proven = question
        .receipt
        .evidence()
        .iter()
        .any(|item| item.body.kind() == Kind::Proof);
    let (standing, by, reason, detail) = match &notice.said {
        Said::Promise { by, .. } => {
            let standing = match (proven, question.now > *by) {
                (true, _) => Standing::ProofAttached,
                (false, true) => Standing::Overdue,
                (false, false) => Standing::Promised,
            };
            (standing, Some(*by), None, None)
        }
        Said::Refusal { reason, detail } => (Standing::Refused, None, Some(reason), Some(detail)),
        Said::Miss { by, .. } => (Standing::Missed, Some(*by), None, None),
    };
    NoticeReport {
        genuine: checks.0.iter().all(|check| check.outcome != Outcome::Fail),
        kind: notice.said.kind(),
        standing,
        notice_id: file.signed.id(),
        receipt_id: notice.receipt,
        issuer: notice.issuer.to_string(),
        said_at: notice.said_at,
        by,
        reason: reason.map(ToString::to_string),
        detail: detail.map(ToString::to_string),
        checks: checks.0,
    }
}

/// Whether the log has the miss, which everybody can count there.
fn log(checks: &mut Checks, file: &NoticeFile, key: Option<&VerifierKey>) {
    const NAME: &str = "log";
    let (Some(part), Some(key)) = (&file.log, key) else {
        let why = if file.log.is_none() {
            "it carries nothing from a log"
        } else {
            "no key of a log was given"
        };
        return checks.note(NAME, Outcome::NotMade, why);
    };
    let leaf = leaf_hash(&file.signed.leaf(&part.blind));
    if part.items.is_empty() {
        checks.note(NAME, Outcome::NotMade, "it carries nothing from a log");
    }
    for item in &part.items {
        let checked = if item.media_type.as_str() == LOG_PROOF {
            TlogProof::parse(&item.bytes)
                .map_err(|error| error.to_string())
                .and_then(|proof| {
                    let verified = proof.verify(leaf, key).map_err(|error| error.to_string());
                    verified.map(|_| format!("entry {} of the log", proof.inclusion().index))
                })
        } else {
            promised(&item.bytes, leaf, key)
        };
        match checked {
            Ok(reason) => checks.note(NAME, Outcome::Pass, reason),
            Err(reason) => checks.note(NAME, Outcome::Fail, reason),
        }
    }
}

fn promised(bytes: &[u8], leaf: carat_log::Hash, key: &VerifierKey) -> Result<String, String> {
    let promise = SignedPromise::parse(bytes).map_err(|error| error.to_string())?;
    let said = promise
        .verify(leaf, key)
        .map_err(|error| error.to_string())?;
    Ok(format!(
        "the log promised to include it by {}",
        crate::time::to_text(said.include_by.min(carat_receipt::statement::MAX_TIME))
    ))
}
