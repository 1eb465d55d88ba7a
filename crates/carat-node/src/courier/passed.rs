//! An answer that was passed on becomes a receipt.

use std::time::Duration;

use axum::body::Bytes;
use carat_receipt::commit::random_id;
use carat_receipt::courier::{self, Carried, Courier, Ending, Tokens};
use carat_receipt::statement::{Clock, Optional, Usage};
use carat_receipt::{
    Digest, Engine, Execution, Label, Nonce, Opened, Opening, Parameters, Role, Salt,
    SignedStatement, Statement,
};
use serde_json::Value;

use super::ask::Endpoint;
use super::upstream::{Offer, Upstream};
use crate::exit::{Exit, Failure};
use crate::issue::{Issuer, Signed, leaf_of};

/// Version of what the courier does with bytes.
const SEMANTICS: u64 = 1;

/// What was carried.
pub struct Passed<'a> {
    /// The interface.
    pub endpoint: Endpoint,
    /// The upstream.
    pub upstream: &'a Upstream,
    /// The model.
    pub offer: &'a Offer,
    /// The caller's nonce.
    pub nonce: Option<Nonce>,
    /// For whom the receipt is.
    pub audience: Option<Label>,
    /// The policy that let it pass.
    pub policy: Option<Digest>,
    /// Bytes from the caller.
    pub input: Bytes,
    /// Bytes to the upstream.
    pub sent: Bytes,
    /// Bytes from the upstream.
    pub received: Vec<u8>,
    /// Bytes to the caller, and how long each chunk was where they were streamed.
    pub output: Vec<u8>,
    /// Lengths of the chunks.
    pub chunks: Option<Vec<u64>>,
    /// How it ended.
    pub ending: Ending,
    /// The model that the answer named.
    pub reported: Option<Label>,
    /// What the upstream claims to have used.
    pub tokens: Option<Tokens>,
    /// How long it took.
    pub took: Duration,
}

/// Tokens as an answer's `usage` claims them; what are no whole numbers are not claimed.
pub fn tokens(usage: &Value) -> Option<Tokens> {
    let tokens = Tokens {
        input: usage["prompt_tokens"].as_u64(),
        output: usage["completion_tokens"].as_u64(),
        total: usage["total_tokens"].as_u64(),
    };
    (!tokens.is_empty()).then_some(tokens)
}

impl Passed<'_> {
    /// Signs.
    ///
    /// # Errors
    /// A system without randomness.
    pub fn sign(self, issuer: &Issuer, now: u64) -> Result<Signed, Failure> {
        let random = Failure::of::<carat_receipt::commit::NoRandomness>;
        let salt = || Salt::generate().map_err(random(Exit::Io));
        let input = Opened::new(salt()?, self.input.to_vec());
        let output = Opened::new(salt()?, self.output);
        let carried = Carried {
            sent: Opened::new(salt()?, self.sent.to_vec()),
            received: Opened::new(salt()?, self.received),
            chunks: self.chunks,
        };
        let internal = || Failure::new(Exit::Internal, "the chunks of a stream are not its output");
        let stream = match &carried.chunks {
            None => None,
            Some(lengths) => {
                let chunks = courier::split(&output.bytes, lengths).ok_or_else(internal)?;
                let tree = carat_verify::stream::tree(&output.salt, chunks);
                let complete = self.ending == Ending::Complete;
                let stream = carat_verify::stream::stream(&tree, complete);
                Some(stream.map_err(Failure::of(Exit::Internal))?)
            }
        };
        let program = courier::identity(&self.upstream.name, &self.offer.upstream_name);
        let name = |text: &str| Label::new(text).map_err(Failure::of(Exit::Internal));
        let statement = Statement {
            issuer: issuer.name.clone(),
            issuer_key: issuer.key.public(),
            issued_at: now,
            clock: Clock::System,
            random: random_id().map_err(random(Exit::Io))?,
            program,
            model_name: self.offer.name.clone(),
            model_version: name(courier::UNVERSIONED)?,
            execution: Execution::Courier {
                upstream: self.upstream.name.clone(),
            },
            engine: Engine {
                numerics: name(courier::NUMERICS)?,
                semantics: SEMANTICS,
            },
            input: input.commitment(Role::Input),
            output: output.commitment(Role::Output),
            // The request holds them all, and the receipt commits to its bytes.
            parameters: Parameters::default(),
            optional: Optional {
                audience: self.audience,
                nonce: self.nonce,
                policy: self.policy,
                usage: Some(Usage {
                    wall_micros: Some(u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX)),
                    ..Usage::default()
                }),
                stream,
                courier: Some(Courier {
                    endpoint: name(self.endpoint.path())?,
                    model: self.offer.upstream_name.clone(),
                    reported: self.reported,
                    sent: carried.sent.commitment(Role::Sent),
                    received: carried.received.commitment(Role::Received),
                    ending: self.ending,
                    tokens: self.tokens,
                }),
                ..Optional::default()
            },
        };
        let signed =
            SignedStatement::sign(statement, &issuer.key).map_err(Failure::of(Exit::Internal))?;
        let blind = salt()?;
        let leaf = leaf_of(&signed, &blind);
        let opening = Opening {
            receipt_id: signed.receipt_id(),
            program,
            input,
            output,
            facts: None,
            trace_salt: None,
            carried: Some(carried),
        };
        Ok(Signed {
            signed,
            opening,
            blind,
            leaf,
        })
    }
}

/// What repeated requests are compared by: the interface, the body, and all that headers say.
pub fn request_digest(
    endpoint: Endpoint,
    nonce: Option<&Nonce>,
    audience: Option<&Label>,
    body: &[u8],
) -> Digest {
    let nonce = nonce.map_or(&[][..], Nonce::as_bytes);
    let audience = audience.map_or("", Label::as_str);
    let parts = [endpoint.path().as_bytes(), nonce, audience.as_bytes(), body];
    Digest::of("carat/courier-request/v1", &parts)
}
