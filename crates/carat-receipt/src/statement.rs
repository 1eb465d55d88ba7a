//! The Statement: "program P on input X gave output Y", and everything that was decided about that run.
//!
//! Encoding and key numbers are in [`crate::claims`]; `docs/receipt.md` and `docs/receipt.cddl` are the specification.

use alloc::string::String;
use alloc::vec::Vec;

use crate::courier::Courier;
use crate::{Amount, Digest, Label, PublicKey};

/// Longest list of receipts that one Statement may rely on.
pub const MAX_RELIES_ON: usize = 64;
/// Most effective parameters.
pub const MAX_PARAMETERS: usize = 64;
/// Longest text or byte string among the effective parameters.
pub const MAX_PARAMETER_BYTES: usize = 4096;
/// Largest time that a receipt may name: the end of year 9999, in seconds since 1970-01-01T00:00:00Z.
pub const MAX_TIME: u64 = 253_402_300_799;

/// What a receipt says. All evidence speaks about the digest of its signed form, `receipt_id`.
///
/// Required claims are fields here; claims that may be absent are in [`Optional`]. Absent means absent: no placeholder
/// value stands for "none".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Who issues the receipt, as the issuer calls itself. The key below is what a verifier goes by.
    pub issuer: Label,
    /// The key that signs. Only a Trust file says whether it is worth anything.
    pub issuer_key: PublicKey,
    /// When the Statement was issued, in seconds since 1970-01-01T00:00:00Z, by the issuer's clock.
    pub issued_at: u64,
    /// Where that time came from.
    pub clock: Clock,
    /// 16 random bytes, so that two equal runs have different receipts (`cti`, RFC 8392).
    pub random: [u8; 16],
    /// Digest of the Program that ran; for a courier, [`crate::courier::identity`] of the upstream's model.
    pub program: Digest,
    /// Name of the model, for people.
    pub model_name: Label,
    /// Version of the model, for people.
    pub model_version: Label,
    /// Where the Program ran.
    pub execution: Execution,
    /// Which semantics the numbers follow.
    pub engine: Engine,
    /// Salted commitment to the canonical bytes of the input.
    pub input: Digest,
    /// Salted commitment to the canonical bytes of the output.
    pub output: Digest,
    /// Every parameter that took effect in the run and is not part of the Program. May be empty.
    pub parameters: Parameters,
    /// Claims that a Statement may lack.
    pub optional: Optional,
}

/// Claims that a Statement may lack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Optional {
    /// For whom the receipt was made; amounts that rest on others than the relying party are for it alone.
    pub audience: Option<Label>,
    /// The caller's nonce.
    pub nonce: Option<Nonce>,
    /// Digest of the model card.
    pub model_card: Option<Digest>,
    /// Seed of the run's pseudo-random choices.
    pub seed: Option<[u8; 32]>,
    /// What the run used.
    pub usage: Option<Usage>,
    /// Hiding commitment to integer input and output, for private upgrades.
    pub io_commitment: Option<IoCommitment>,
    /// Salted Merkle root over the tensors of the run.
    pub trace_root: Option<Digest>,
    /// What the planner bought. Absent where no planner was asked.
    pub plan: Option<Plan>,
    /// Digest of the policy file in force.
    pub policy: Option<Digest>,
    /// Salted commitment to the facts of the request.
    pub facts: Option<Digest>,
    /// Digest of the environment that the planner knew: prices, calibration, bonds.
    pub environment: Option<Digest>,
    /// Version of the planner.
    pub planner: Option<Label>,
    /// Until when the issuer promises to answer a request for stronger evidence, in Unix seconds.
    pub option_expiry: Option<u64>,
    /// Receipts that the input rests on, each with the stake on that edge. Empty means that the claim is absent.
    pub relies_on: Vec<Reliance>,
    /// The previous receipt of a stream.
    pub previous: Option<Digest>,
    /// Merkle root over the chunks of a streamed output.
    pub stream: Option<Stream>,
    /// What a courier says of the answer that it passed on.
    pub courier: Option<Courier>,
}

/// Where the issuer's time came from. A claim, like everything the issuer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// The operating system's clock, synchronisation unknown.
    System,
    /// A clock known to be synchronised by NTP.
    Ntp,
    /// A signed time, for example Roughtime.
    Signed,
}

/// Where the Program ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// On the issuer's own machine.
    Local,
    /// Elsewhere: the issuer passes on the answer of an upstream service. Proxy is not execution.
    Courier {
        /// The upstream service.
        upstream: Label,
    },
}

/// The semantics of the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Numerics profile, for example `integer/v1`.
    pub numerics: Label,
    /// Version of the engine's semantics under that profile.
    pub semantics: u64,
}

/// The caller's nonce: 8 to 64 bytes (the limits of EAT, RFC 9711 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

/// What the run used. At least one field is present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Elements in the input tensors.
    pub input_elements: Option<u64>,
    /// Elements in the output tensors.
    pub output_elements: Option<u64>,
    /// CPU time in microseconds.
    pub cpu_micros: Option<u64>,
    /// Elapsed time in microseconds.
    pub wall_micros: Option<u64>,
    /// Multiply-adds of the Program.
    pub multiply_adds: Option<u64>,
}

/// A hiding commitment to integer input and output, under a named scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoCommitment {
    /// The scheme, for example `io/v1`.
    pub scheme: Label,
    /// The commitment.
    pub root: Digest,
}

/// When the consequence of a wrong answer falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The evidence is there before the answer is used.
    BeforeUse,
    /// The gain can be taken back before settlement.
    BeforeSettle,
    /// The answer is used first.
    AfterUse,
    /// Evidence comes by a deadline.
    Deferred,
}

/// What the planner bought for this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rung, for example `signature+audit`.
    pub rung: Label,
    /// Audit threshold: the receipt is audited when the first eight bytes of its draw, big-endian, are below it.
    pub tau: u64,
    /// Timing of the consequence.
    pub timing: Timing,
    /// Exposure window in seconds.
    pub window: Option<u64>,
    /// The bond that stands behind the answer.
    pub bond: Option<Label>,
    /// Number of replicas.
    pub replicas: Option<u64>,
    /// When the proof is due, in Unix seconds.
    pub proof_deadline: Option<u64>,
}

/// A receipt that this one rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reliance {
    /// Its receipt_id.
    pub receipt: Digest,
    /// What this edge puts on it.
    pub stake: Amount,
}

/// A streamed output: a receipt exists for what was delivered even when the stream is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Merkle root over the chunks.
    pub root: Digest,
    /// Number of chunks.
    pub chunks: u64,
    /// Whether the stream reached its own end.
    pub complete: bool,
}

/// The value of an effective parameter. Decimal fractions are text; there are no floats in a Statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A text of at most [`MAX_PARAMETER_BYTES`].
    Text(String),
    /// Bytes, at most [`MAX_PARAMETER_BYTES`].
    Bytes(Vec<u8>),
}

/// Effective parameters by name, in the order of their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(Vec<(Label, Parameter)>);

/// A Statement breaks a rule that its type does not express. Whoever composed it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// A nonce has 8 to 64 bytes.
    #[error("a nonce has 8 to 64 bytes, this one has {0}")]
    NonceLength(usize),
    /// A time beyond year 9999.
    #[error("{0}: the time lies beyond the year 9999")]
    Time(&'static str),
    /// The option to upgrade ends before the Statement was issued.
    #[error("the option to upgrade expires before the receipt was issued")]
    ExpiryBeforeIssue,
    /// More than [`MAX_RELIES_ON`] edges, or one receipt twice.
    #[error("relies_on holds a receipt twice, or more than {MAX_RELIES_ON}; split the pipeline")]
    ReliesOn,
    /// Parameters beyond the limits.
    #[error("parameters: at most {MAX_PARAMETERS}, each at most {MAX_PARAMETER_BYTES} bytes")]
    Parameters,
    /// A usage claim without content.
    #[error("usage is present but names nothing; leave it absent")]
    EmptyUsage,
    /// A planner version, policy, facts or environment without a Plan, or the reverse, would be a placeholder.
    #[error("a planner version, facts or environment without a Plan; leave them absent")]
    PlanWithoutPlan,
    /// A courier's claims contradict the others.
    #[error(
        "a courier's claims need the execution `courier`, name the model of that upstream where others name a Program, leave absent \
         what rests on one, and are complete exactly where the stream is"
    )]
    Courier,
    /// The key that should sign is not the one that the Statement names.
    #[error("the Statement names another issuer key than the one that should sign it")]
    WrongKey,
}

impl Nonce {
    /// Checks the length.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, StatementError> {
        let bytes = bytes.into();
        match bytes.len() {
            8..=64 => Ok(Self(bytes)),
            len => Err(StatementError::NonceLength(len)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Parameters {
    /// Sets a parameter; a later value replaces an earlier one.
    pub fn set(&mut self, name: Label, value: Parameter) -> Result<(), StatementError> {
        let fits = match &value {
            Parameter::Text(text) => text.len() <= MAX_PARAMETER_BYTES,
            Parameter::Bytes(bytes) => bytes.len() <= MAX_PARAMETER_BYTES,
            Parameter::Int(_) | Parameter::Bool(_) => true,
        };
        match self
            .0
            .binary_search_by(|(other, _)| key(other).cmp(&key(&name)))
        {
            _ if !fits => Err(StatementError::Parameters),
            Ok(found) => {
                self.0[found].1 = value;
                Ok(())
            }
            Err(_) if self.0.len() >= MAX_PARAMETERS => Err(StatementError::Parameters),
            Err(place) => {
                self.0.insert(place, (name, value));
                Ok(())
            }
        }
    }

    /// The parameters in the order of their encoding.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Label, &Parameter)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.iter()
            .find(|(other, _)| other.as_str() == name)
            .map(|(_, value)| value)
    }

    /// Appends in decoding, where order is the encoding's. False if the name is out of order or repeated.
    pub(crate) fn push_in_order(&mut self, name: Label, value: Parameter) -> bool {
        let ordered = self.0.last().is_none_or(|(last, _)| key(last) < key(&name));
        if ordered {
            self.0.push((name, value));
        }
        ordered
    }
}

/// Text keys are ordered by their encoding: shorter first, then bytewise.
fn key(name: &Label) -> (usize, &[u8]) {
    (name.as_str().len(), name.as_str().as_bytes())
}

impl Usage {
    pub(crate) fn fields(&self) -> [Option<u64>; 5] {
        [
            self.input_elements,
            self.output_elements,
            self.cpu_micros,
            self.wall_micros,
            self.multiply_adds,
        ]
    }
}

impl Statement {
    /// Checks the rules that span claims. Signing and decoding both do this.
    pub fn check(&self) -> Result<(), StatementError> {
        let optional = &self.optional;
        let times = [
            ("issued_at", Some(self.issued_at)),
            ("option_expiry", optional.option_expiry),
            (
                "proof_deadline",
                optional.plan.as_ref().and_then(|plan| plan.proof_deadline),
            ),
        ];
        for (what, time) in times {
            if time.is_some_and(|time| time > MAX_TIME) {
                return Err(StatementError::Time(what));
            }
        }
        if optional
            .option_expiry
            .is_some_and(|expiry| expiry < self.issued_at)
        {
            return Err(StatementError::ExpiryBeforeIssue);
        }
        let relies_on = &optional.relies_on;
        let repeated = relies_on.iter().enumerate().any(|(i, edge)| {
            relies_on[..i]
                .iter()
                .any(|other| other.receipt == edge.receipt)
        });
        if relies_on.len() > MAX_RELIES_ON || repeated {
            return Err(StatementError::ReliesOn);
        }
        if optional
            .usage
            .as_ref()
            .is_some_and(|usage| usage.fields().iter().all(Option::is_none))
        {
            return Err(StatementError::EmptyUsage);
        }
        let planned = optional.planner.is_some()
            || optional.facts.is_some()
            || optional.environment.is_some();
        if planned && optional.plan.is_none() {
            return Err(StatementError::PlanWithoutPlan);
        }
        if let Some(courier) = &optional.courier
            && !courier.fits(&self.program, &self.execution, optional)
        {
            return Err(StatementError::Courier);
        }
        Ok(())
    }
}
