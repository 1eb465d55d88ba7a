//! The verifier's result.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::{Amount, Digest, KeyId, Label, PublicKey};
use serde::{Serialize, Serializer};

/// What a receipt is good for, and why. With the answer it makes a [`crate::Report`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Appraisal {
    /// The verdict on the question asked.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Exit status that goes with the verdict.
    pub exit_code: u8,
    /// The amount asked about.
    pub asked: Option<Amount>,
    /// The largest amount over all assumption sets. Absent without a usable Trust file: then there is no currency.
    pub best: Option<Amount>,
    /// An amount for each set of assumptions. Sets are alternatives; their amounts do not add up.
    pub good_for: Vec<AssumptionSet>,
    /// Every check, also those that could not be made.
    pub checks: Vec<Check>,
    /// The weakest step that the best amount rests on.
    pub weakest_step: String,
    /// What this receipt does not prove, whatever its amount.
    pub not_proven: Vec<String>,
    /// What would be enough, or more.
    pub enough: Vec<String>,
    /// What the receipt says. Absent if it could not be read.
    pub receipt: Option<Summary>,
    /// The Trust file used.
    pub trust: Option<TrustUsed>,
    /// What stayed hidden. Only where a proof in zero knowledge verified; left out of the JSON otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
}

/// What a receipt with its proofs keeps from whoever has it and not its opening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Privacy {
    /// What stayed hidden: `intermediate values`, `input and output`. May be empty: another proof in the file may show it all.
    pub hidden: Vec<String>,
    /// What is shown all the same.
    pub shown: Vec<String>,
}

/// The verdict. Exit codes are those of `carat verify`; 2 is for usage errors, which give no Appraisal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// Good for the amount asked; without an amount, good for something.
    Good,
    /// Malformed, altered, or the answer to another question.
    Invalid,
    /// Valid, but attested by simulated hardware.
    Simulated,
    /// Valid, but not enough for the amount, or nothing vouches for it.
    Insufficient,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, stable for scripts.
    pub name: String,
    /// Its outcome; in JSON `true`, `false`, or `null` where it could not be made.
    #[serde(rename = "ok")]
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It held.
    Pass,
    /// It did not hold.
    Fail,
    /// It could not be made: something that it needs was not given.
    NotMade,
}

/// An amount under assumptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssumptionSet {
    /// What supports it: `signature`, `first-hand`, `replay`, `attestation`, `proof`, `courier`.
    pub rung: String,
    /// The amount; absent where there is no currency.
    pub amount: Option<Amount>,
    /// The assumptions, all of which must hold.
    pub under: Vec<String>,
    /// Why this amount.
    pub reason: String,
}

/// What a receipt says, for people. Claims of the issuer, nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Identity of the receipt.
    pub receipt_id: Digest,
    /// What the issuer calls itself.
    pub issuer: Label,
    /// The key that signed.
    pub issuer_key: PublicKey,
    /// Its name.
    pub key_id: KeyId,
    /// The issuer's name in the Trust file, if it is there.
    pub known_as: Option<Label>,
    /// Model name.
    pub model_name: Label,
    /// Model version.
    pub model_version: Label,
    /// Program digest.
    pub program: Digest,
    /// When it was issued, by the issuer's clock.
    pub issued_at: String,
    /// `local`, or `courier` with the upstream.
    pub execution: String,
    /// The audience that it names.
    pub audience: Option<Label>,
    /// Kinds of evidence attached, in order; the signature is always there.
    pub evidence: Vec<&'static str>,
}

/// The Trust file that an appraisal used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustUsed {
    /// Its owner's name.
    pub name: Label,
    /// Its version.
    pub version: u64,
    /// Digest of its content.
    pub digest: Digest,
}

impl Verdict {
    /// Exit status of `carat verify`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Invalid => 1,
            Self::Simulated => 3,
            Self::Insufficient => 4,
        }
    }
}

impl Outcome {
    /// `pass`, `fail` or `not made`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotMade => "not made",
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Pass => serializer.serialize_bool(true),
            Self::Fail => serializer.serialize_bool(false),
            Self::NotMade => serializer.serialize_none(),
        }
    }
}

impl Appraisal {
    /// The check with a name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The appraisal of bytes that are no receipt.
    pub(crate) fn unreadable(reason: impl ToString, asked: Option<Amount>) -> Self {
        let reason = reason.to_string();
        Self {
            verdict: Verdict::Invalid,
            reason: alloc::format!("not a readable receipt: {reason}"),
            exit_code: Verdict::Invalid.exit_code(),
            asked,
            best: None,
            good_for: Vec::new(),
            checks: alloc::vec![Check {
                name: "encoding".into(),
                outcome: Outcome::Fail,
                reason
            }],
            weakest_step: "the receipt cannot be read".into(),
            not_proven: alloc::vec!["anything".into()],
            enough: alloc::vec!["an undamaged copy of the receipt".into()],
            receipt: None,
            trust: None,
            privacy: None,
        }
    }
}
