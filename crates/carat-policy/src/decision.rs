//! The record of a decision: what an Opening must hold so that anyone can make the same plan again, bit for bit.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use carat_receipt::Digest;
use carat_receipt::cbor::{DecodeError, MapWriter, Reader, Writer};

use crate::environment::{Environment, MAX_ENVIRONMENT_BYTES};
use crate::facts::{Facts, MAX_FACTS_BYTES};
use crate::plan::{Plan, Refusal};
use crate::policy_file::{Judged, MAX_POLICY_BYTES, Policy, PolicyError, Unjudged};

const KIND: &str = "carat/decision/v1";
const WHAT: &str = "decision record";

/// Facts, environment and policy of one decision. The Statement commits to its bytes under a salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The facts, as canonical JSON.
    pub facts: String,
    /// The environment, encoded.
    pub environment: Vec<u8>,
    /// The text of the policy file.
    pub policy: String,
}

/// A decision cannot be made, or made again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// The policy cannot be read.
    #[error("policy, {0}")]
    Policy(#[from] PolicyError),
    /// The facts cannot be read.
    #[error("{0}")]
    Facts(#[from] crate::facts::FactsError),
    /// The environment cannot be read.
    #[error("{0}")]
    Environment(#[from] DecodeError),
    /// The policy does not say what is at stake.
    #[error("{0}")]
    Unjudged(#[from] Unjudged),
}

/// What a decision came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What the policy says about the request.
    pub judged: Judged,
    /// The environment.
    pub environment: Environment,
    /// The plan, or the refusal.
    pub plan: Result<Plan, Refusal>,
}

impl Decision {
    /// Gathers what a decision rests on.
    pub fn new(policy: &str, facts: &Facts, environment: &Environment) -> Self {
        Self {
            facts: facts.canonical(),
            environment: environment.encode(),
            policy: policy.to_string(),
        }
    }

    /// Makes the decision: pure, so the same record always gives the same.
    pub fn make(&self) -> Result<Decided, DecisionError> {
        let policy = Policy::parse(&self.policy)?;
        let facts = Facts::from_json(&self.facts)?;
        let environment = Environment::decode(&self.environment)?;
        let judged = policy.judge(&facts)?;
        let plan = crate::plan(&judged.consequence, &environment);
        Ok(Decided {
            judged,
            environment,
            plan,
        })
    }

    /// Digest of the policy's text, as Statements carry it.
    pub fn policy_digest(&self) -> Digest {
        crate::policy_file::digest(&self.policy)
    }

    /// Digest of the environment, as Statements carry it.
    pub fn environment_digest(&self) -> Digest {
        Digest::of(crate::environment::ENVIRONMENT_DOMAIN, &[&self.environment])
    }

    /// Deterministic CBOR: what the Statement commits to.
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.put(0, |w| {
            w.text(KIND);
        });
        map.put(1, |w| {
            w.text(&self.facts);
        });
        map.put(2, |w| {
            w.bytes(&self.environment);
        });
        map.put(3, |w| {
            w.text(&self.policy);
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        w.into_bytes()
    }

    /// Strict decoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 4)?;
        let (mut kind, mut facts, mut environment, mut policy) = (None, None, None, None);
        while let Some(key) = map.next_key(r)? {
            match key {
                0 => kind = Some(r.text(WHAT, 1, 64)?),
                1 => facts = Some(r.text(WHAT, 2, 2 * MAX_FACTS_BYTES)?.to_string()),
                2 => environment = Some(r.bytes(WHAT, 1, MAX_ENVIRONMENT_BYTES)?.to_vec()),
                3 => policy = Some(r.text(WHAT, 0, MAX_POLICY_BYTES)?.to_string()),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        if map.require(0, kind)? != KIND {
            return Err(DecodeError::Value {
                what: WHAT,
                reason: "not a decision record of version 1",
            });
        }
        Ok(Self {
            facts: map.require(1, facts)?,
            environment: map.require(2, environment)?,
            policy: map.require(3, policy)?,
        })
    }
}
