//! Results of verification. Hardware and simulation are different types, and neither becomes the other.

use alloc::string::String;
use alloc::vec::Vec;

use carat_receipt::Digest;
use serde::Serialize;

use crate::{Check, Claims, Kind, PlatformId, Reason};

/// What the layers above need to know of accepted evidence, as types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Made in debug mode; only a policy that allows debug accepts such evidence.
    pub debug: bool,
    /// Names of the machine, for allow and deny lists. May be empty where the format hides them.
    pub platforms: Vec<PlatformId>,
    /// The product or generation, such as `milan` or `hopper`; caps can be set for it.
    pub product: Option<String>,
    /// SHA-256 over the measurements that name the code, in the order of the format's documentation.
    pub measurement: Digest,
    /// SHA-256 of the signed region: the only identity of evidence. All formats have bytes that nobody signed.
    pub signed_region: Digest,
    /// What the machine was asked to sign for whoever asked: report data, user data, or the nonce.
    pub bound: Vec<u8>,
    /// When the evidence was made, by the machine's clock, if the format says so. Unix seconds.
    pub made_at: Option<u64>,
    /// The last second at which the same evidence and endorsements still verify, as far as dates go.
    pub valid_until: Option<u64>,
}

/// Accepted evidence: what was verified against some root. Which root it was says the type around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attested {
    kind: Kind,
    claims: Claims,
    checks: Vec<Check>,
    still_trusted: Vec<String>,
    #[serde(skip)]
    facts: Facts,
}

/// Evidence of real hardware: its chain ends at a root that the vendor published and this crate pins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hardware(Attested);

/// Evidence that a simulator made. Worth nothing; there is no way from here to [`Hardware`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Simulated(Attested);

/// Rejected evidence: the first reason, and everything that was found until then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{kind} evidence rejected ({reason}): {message}")]
pub struct Rejected {
    /// The kind of evidence that was expected.
    pub kind: Kind,
    /// The first reason to reject.
    pub reason: Reason,
    /// The same in a sentence.
    pub message: String,
    /// What could be read. Not verified.
    pub claims: Claims,
    /// The checks made; every reason to reject that was found is among them.
    pub checks: Vec<Check>,
}

impl Attested {
    pub(crate) const fn new(
        kind: Kind,
        claims: Claims,
        checks: Vec<Check>,
        facts: Facts,
        still_trusted: Vec<String>,
    ) -> Self {
        Self {
            kind,
            claims,
            checks,
            still_trusted,
            facts,
        }
    }

    /// The kind of evidence.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What the evidence says.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Every check.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What must still be believed, in sentences.
    pub fn still_trusted(&self) -> &[String] {
        &self.still_trusted
    }

    /// What the layers above use.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Hardware {
    pub(crate) const fn new(attested: Attested) -> Self {
        Self(attested)
    }
}

impl core::ops::Deref for Hardware {
    type Target = Attested;

    fn deref(&self) -> &Attested {
        &self.0
    }
}

impl Simulated {
    pub(crate) const fn new(attested: Attested) -> Self {
        Self(attested)
    }
}

impl core::ops::Deref for Simulated {
    type Target = Attested;

    fn deref(&self) -> &Attested {
        &self.0
    }
}
