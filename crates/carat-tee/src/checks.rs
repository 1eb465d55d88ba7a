//! The record of a verification: claims read, checks made, and the first reason to reject.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Serialize, Serializer};

use crate::verdict::Facts;
use crate::{Attested, Claims, Kind, PlatformId, Policy, Reason, Rejected, Request, Value};

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, stable for scripts.
    pub name: &'static str,
    /// Its outcome; in JSON `true`, `false`, or `null` where it was not made.
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
    /// It did not hold: the evidence is rejected.
    Fail,
    /// It was not asked for, or what it needs was not given. It never helps evidence.
    NotMade,
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

/// Collects what a verifier finds. [`Checks::conclude`] is the only way to an [`Attested`], and refuses if any check
/// failed; so a verifier can go on after a failure and name every reason, and cannot forget one.
#[derive(Debug)]
pub struct Checks {
    kind: Kind,
    claims: Claims,
    checks: Vec<Check>,
    first: Option<(Reason, String)>,
}

impl Checks {
    /// Starts a record.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            claims: Claims::new(),
            checks: Vec::new(),
            first: None,
        }
    }

    /// Records what the evidence says.
    pub fn claim(&mut self, name: &str, value: impl Into<Value>) {
        self.claims.put(name, value);
    }

    /// The claims so far.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Records a check that held.
    pub fn pass(&mut self, name: &'static str, reason: impl Into<String>) {
        self.push(name, Outcome::Pass, reason.into());
    }

    /// Records a check that was not made.
    pub fn not_made(&mut self, name: &'static str, reason: impl Into<String>) {
        self.push(name, Outcome::NotMade, reason.into());
    }

    /// Records a check that did not hold, and lets the verifier go on to name further reasons. The evidence is rejected.
    pub fn fail(&mut self, code: Reason, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        // Debug mode says more about evidence than that its product is not wanted: it is named first.
        let outranks =
            |first: &(Reason, String)| code == Reason::Debug && first.0 == Reason::ProductDenied;
        if self.first.as_ref().is_none_or(outranks) {
            self.first = Some((code, reason.clone()));
        }
        self.push(name, Outcome::Fail, reason);
    }

    /// Records a check that holds or fails.
    pub fn require(
        &mut self,
        holds: bool,
        code: Reason,
        name: &'static str,
        pass: impl Into<String>,
        fail: impl FnOnce() -> String,
    ) {
        if holds {
            self.pass(name, pass)
        } else {
            self.fail(code, name, fail())
        }
    }

    /// Records a failure after which nothing more can be said.
    pub fn stop(mut self, code: Reason, name: &'static str, reason: impl Into<String>) -> Rejected {
        self.fail(code, name, reason);
        let (reason, message) = match self.first {
            Some(first) => first,
            // `fail` has just set it.
            None => (code, String::new()),
        };
        Rejected {
            kind: self.kind,
            reason,
            message,
            claims: self.claims,
            checks: self.checks,
        }
    }

    /// Checks a machine's names against the policy's deny and allow lists.
    pub fn platforms(&mut self, policy: &Policy, ids: &[PlatformId]) {
        let denied = ids
            .iter()
            .find(|id| policy.deny_platforms.iter().any(|entry| entry.matches(id)));
        match denied {
            Some(id) => self.fail(
                Reason::PlatformDenied,
                "platform_denied",
                alloc::format!("the policy refuses {id}"),
            ),
            None => self.pass(
                "platform_denied",
                alloc::format!(
                    "none of its names is among the {} refused",
                    policy.deny_platforms.len()
                ),
            ),
        }
        if policy.allow_platforms.is_empty() {
            return self.not_made(
                "platform_allowed",
                "the policy names no machines, so any is accepted",
            );
        }
        let allowed = ids
            .iter()
            .any(|id| policy.allow_platforms.iter().any(|entry| entry.matches(id)));
        self.require(
            allowed,
            Reason::PlatformNotAllowed,
            "platform_allowed",
            "the policy names this machine",
            || "the policy names the machines that it accepts, and this is none of them".into(),
        );
    }

    /// Compares the nonce that the verifier gave with the field that the format has for it.
    pub fn nonce(&mut self, request: &Request<'_>, found: Option<&[u8]>) {
        match (request.nonce, found) {
            (Some(given), Some(found)) => self.require(
                given == found,
                Reason::NonceMismatch,
                "nonce",
                "the evidence answers the nonce given",
                || {
                    alloc::format!(
                        "the evidence answers nonce {}, given was {}",
                        hex::encode(found),
                        hex::encode(given)
                    )
                },
            ),
            (Some(_), None) => {
                self.fail(
                    Reason::NonceMissing,
                    "nonce",
                    "a nonce was given and the evidence has none",
                );
            }
            (None, _) => self.no_nonce(request),
        }
    }

    /// Records that no nonce was given to compare with.
    pub fn no_nonce(&mut self, request: &Request<'_>) {
        if request.policy.require_nonce && request.binding.is_none() {
            self.fail(
                Reason::NonceMissing,
                "nonce",
                "the policy demands a nonce, and none was given to compare with",
            );
        } else {
            self.not_made(
                "nonce",
                "no nonce was given to compare with: the evidence may be a replay",
            );
        }
    }

    /// Compares the value that evidence of a receipt is bound to.
    pub fn bound(&mut self, request: &Request<'_>, found: Option<&[u8]>) {
        let Some(binding) = &request.binding else {
            return self.not_made("binding", "the evidence was not given for a receipt");
        };
        self.require(
            found == Some(binding.value),
            Reason::BindingMismatch,
            "binding",
            "the evidence is bound to the receipt's key, nonce and configuration",
            || match found {
                Some(found) => alloc::format!(
                    "the evidence is bound to {}, the receipt needs {}",
                    hex::encode(found),
                    hex::encode(binding.value)
                ),
                None => "the evidence is bound to nothing".into(),
            },
        );
    }

    /// Compares the digest over the code's measurements with those that the policy expects.
    pub fn measurement(&mut self, policy: &Policy, measurement: &carat_receipt::Digest) {
        self.claim("measurement", measurement.as_bytes());
        if policy.measurements.is_empty() {
            return self.not_made(
                "measurement",
                "the policy names no measurements: any code is accepted",
            );
        }
        self.require(
            policy.measurements.contains(measurement),
            Reason::Measurement,
            "measurement",
            "the policy names this measurement",
            || alloc::format!("measurement {measurement} is not among those that the policy names"),
        );
    }

    /// Records whether the evidence was made in debug mode.
    pub fn debug(&mut self, policy: &Policy, debug: bool, how: &str) {
        self.claim("debug", debug);
        match (debug, policy.allow_debug) {
            (false, _) => self.pass("debug", "not in debug mode"),
            (true, true) => self.pass(
                "debug",
                alloc::format!("in debug mode, which this policy allows: {how}"),
            ),
            (true, false) => self.fail(
                Reason::Debug,
                "debug",
                alloc::format!("made in debug mode: {how}"),
            ),
        }
    }

    /// The result: accepted only if no check failed and some passed.
    pub fn conclude(self, facts: Facts, still_trusted: Vec<String>) -> Result<Attested, Rejected> {
        match self.reject() {
            Ok(rejected) => Err(rejected),
            Err(this)
                if this
                    .checks
                    .iter()
                    .any(|check| check.outcome == Outcome::Pass) =>
            {
                Ok(Attested::new(
                    this.kind,
                    this.claims,
                    this.checks,
                    facts,
                    still_trusted,
                ))
            }
            Err(this) => Err(this.stop(Reason::Malformed, "evidence", "nothing was checked")),
        }
    }

    fn reject(self) -> Result<Rejected, Self> {
        match self.first {
            Some((reason, message)) => Ok(Rejected {
                kind: self.kind,
                reason,
                message,
                claims: self.claims,
                checks: self.checks,
            }),
            None => Err(self),
        }
    }

    fn push(&mut self, name: &'static str, outcome: Outcome, reason: String) {
        self.checks.push(Check {
            name,
            outcome,
            reason,
        });
    }
}
