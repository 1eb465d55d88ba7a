//! The claims map of a Statement: key numbers, encoding, strict decoding.
//!
//! Keys are the registered ones of CWT (RFC 8392) and EAT (RFC 9711) where they exist; the others are from the
//! private-use range (below -65536).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cbor::{DecodeError, MapWriter, Reader, Writer, owned};
use crate::courier::Courier;
use crate::statement::{
    Clock, Engine, Execution, IoCommitment, MAX_PARAMETER_BYTES, MAX_PARAMETERS, MAX_RELIES_ON,
    Nonce, Optional, Parameter, Parameters, Plan, Reliance, Statement, Stream, Timing, Usage,
};
use crate::{Amount, Digest, Label, PublicKey};

/// The EAT profile that a Statement follows.
pub const PROFILE: &str = "https://github.com/carat-labs/carat/receipt/v1";
/// Version of the claims map.
pub const VERSION: u64 = 1;
/// What the subject of a Statement starts with; the program digest follows in hexadecimal.
pub const SUBJECT_PREFIX: &str = "carat:program:";
/// The same of a courier's Statement, whose model is not a Program.
pub const UPSTREAM_SUBJECT_PREFIX: &str = "carat:upstream:";

/// Issuer (RFC 8392).
pub const ISS: i64 = 1;
/// Subject (RFC 8392): [`SUBJECT_PREFIX`] and the program digest.
pub const SUB: i64 = 2;
/// Audience (RFC 8392).
pub const AUD: i64 = 3;
/// Issued at (RFC 8392).
pub const IAT: i64 = 6;
/// CWT ID (RFC 8392): 16 random bytes.
pub const CTI: i64 = 7;
/// Nonce (RFC 9711).
pub const EAT_NONCE: i64 = 10;
/// Profile (RFC 9711).
pub const EAT_PROFILE: i64 = 265;
/// Version of this claims map.
pub const CLAIMS_VERSION: i64 = -70001;
/// Issuer's public key.
pub const ISSUER_KEY: i64 = -70002;
/// Where the issuer's time came from.
pub const CLOCK: i64 = -70003;
/// Program digest.
pub const PROGRAM: i64 = -70004;
/// Model name.
pub const MODEL_NAME: i64 = -70005;
/// Model version.
pub const MODEL_VERSION: i64 = -70006;
/// Digest of the model card.
pub const MODEL_CARD: i64 = -70007;
/// Execution kind.
pub const EXECUTION: i64 = -70008;
/// Engine semantics.
pub const ENGINE: i64 = -70009;
/// Salted input commitment.
pub const INPUT: i64 = -70010;
/// Salted output commitment.
pub const OUTPUT: i64 = -70011;
/// Effective parameters.
pub const PARAMETERS: i64 = -70012;
/// Seed.
pub const SEED: i64 = -70013;
/// Usage.
pub const USAGE: i64 = -70014;
/// Hiding commitment to integer input and output.
pub const IO_COMMITMENT: i64 = -70015;
/// Salted trace root.
pub const TRACE_ROOT: i64 = -70016;
/// Plan.
pub const PLAN: i64 = -70017;
/// Policy digest.
pub const POLICY: i64 = -70018;
/// Salted commitment to the request facts.
pub const FACTS: i64 = -70019;
/// Environment digest.
pub const ENVIRONMENT: i64 = -70020;
/// Planner version.
pub const PLANNER: i64 = -70021;
/// Until when an upgrade can be asked for.
pub const OPTION_EXPIRY: i64 = -70022;
/// Receipts relied on.
pub const RELIES_ON: i64 = -70023;
/// Previous receipt of a stream.
pub const PREVIOUS: i64 = -70024;
/// Streamed output.
pub const STREAM: i64 = -70025;
/// What a courier says.
pub const COURIER: i64 = -70026;

const WHAT: &str = "statement";
const MAX_CLAIMS: usize = 40;

/// The subject that goes with a program digest; `courier` says that it is the digest of an upstream's model instead.
pub fn subject(program: &Digest, courier: bool) -> String {
    let prefix = if courier {
        UPSTREAM_SUBJECT_PREFIX
    } else {
        SUBJECT_PREFIX
    };
    format!("{prefix}{program}")
}

impl Statement {
    /// The deterministic CBOR of the claims map.
    pub fn to_claims(&self) -> Vec<u8> {
        let optional = &self.optional;
        let mut map = MapWriter::new();
        let text = |w: &mut Writer, label: &Label| {
            w.text(label.as_str());
        };
        let digest = |w: &mut Writer, digest: Digest| {
            w.bytes(digest.as_bytes());
        };
        map.put(ISS, |w| text(w, &self.issuer));
        map.put(SUB, |w| {
            w.text(&subject(&self.program, optional.courier.is_some()));
        });
        map.put_some(AUD, optional.audience.as_ref(), text);
        map.put(IAT, |w| {
            w.uint(self.issued_at);
        });
        map.put(CTI, |w| {
            w.bytes(&self.random);
        });
        map.put_some(EAT_NONCE, optional.nonce.as_ref(), |w, nonce| {
            w.bytes(nonce.as_bytes());
        });
        map.put(EAT_PROFILE, |w| {
            w.text(PROFILE);
        });
        map.put(CLAIMS_VERSION, |w| {
            w.uint(VERSION);
        });
        map.put(ISSUER_KEY, |w| {
            w.bytes(self.issuer_key.as_bytes());
        });
        map.put(CLOCK, |w| {
            w.uint(clock_code(self.clock));
        });
        map.put(PROGRAM, |w| digest(w, self.program));
        map.put(MODEL_NAME, |w| text(w, &self.model_name));
        map.put(MODEL_VERSION, |w| text(w, &self.model_version));
        map.put_some(MODEL_CARD, optional.model_card, digest);
        map.put(EXECUTION, |w| match &self.execution {
            Execution::Local => {
                w.array(1).uint(0);
            }
            Execution::Courier { upstream } => {
                w.array(2).uint(1).text(upstream.as_str());
            }
        });
        map.put(ENGINE, |w| self.engine.write(w));
        map.put(INPUT, |w| digest(w, self.input));
        map.put(OUTPUT, |w| digest(w, self.output));
        map.put(PARAMETERS, |w| write_parameters(w, &self.parameters));
        map.put_some(SEED, optional.seed, |w, seed| {
            w.bytes(&seed);
        });
        map.put_some(USAGE, optional.usage.as_ref(), write_usage);
        map.put_some(IO_COMMITMENT, optional.io_commitment.as_ref(), |w, io| {
            w.array(2)
                .text(io.scheme.as_str())
                .bytes(io.root.as_bytes());
        });
        map.put_some(TRACE_ROOT, optional.trace_root, digest);
        map.put_some(PLAN, optional.plan.as_ref(), write_plan);
        map.put_some(POLICY, optional.policy, digest);
        map.put_some(FACTS, optional.facts, digest);
        map.put_some(ENVIRONMENT, optional.environment, digest);
        map.put_some(PLANNER, optional.planner.as_ref(), text);
        map.put_some(OPTION_EXPIRY, optional.option_expiry, |w, expiry| {
            w.uint(expiry);
        });
        let relies_on = Some(&optional.relies_on).filter(|edges| !edges.is_empty());
        map.put_some(RELIES_ON, relies_on, |w, edges| {
            w.array(edges.len());
            for edge in edges {
                w.array(2).bytes(edge.receipt.as_bytes());
                edge.stake.write(w);
            }
        });
        map.put_some(PREVIOUS, optional.previous, digest);
        map.put_some(STREAM, optional.stream.as_ref(), |w, stream| {
            w.array(3)
                .bytes(stream.root.as_bytes())
                .uint(stream.chunks)
                .bool(stream.complete);
        });
        map.put_some(COURIER, optional.courier.as_ref(), |w, courier| {
            courier.write(w);
        });
        let mut writer = Writer::new();
        map.finish(&mut writer);
        writer.into_bytes()
    }

    /// Reads a claims map. Unknown claims, wrong profiles and every non-deterministic spelling are refused.
    pub fn from_claims(bytes: &[u8]) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, MAX_CLAIMS)?;
        let (mut issuer, mut sub, mut issued_at, mut random) = (None, None, None, None);
        let (mut profile, mut version, mut issuer_key, mut clock) = (None, None, None, None);
        let (mut program, mut model_name, mut model_version, mut execution) =
            (None, None, None, None);
        let (mut engine, mut input, mut output, mut parameters) = (None, None, None, None);
        let mut o = Optional::default();
        while let Some(key) = map.next_key(r)? {
            match key {
                ISS => issuer = Some(Label::read(r, "issuer")?),
                SUB => sub = Some(r.text("subject", 1, Label::MAX)?),
                AUD => o.audience = Some(Label::read(r, "audience")?),
                IAT => issued_at = Some(r.uint("issued_at")?),
                CTI => random = Some(r.array_of::<16>("cti")?),
                EAT_NONCE => o.nonce = Some(read_nonce(r)?),
                EAT_PROFILE => profile = Some(r.text("profile", 1, Label::MAX)?),
                CLAIMS_VERSION => version = Some(r.uint("version")?),
                ISSUER_KEY => issuer_key = Some(PublicKey::from_bytes(r.array_of("issuer_key")?)),
                CLOCK => clock = Some(read_clock(r)?),
                PROGRAM => program = Some(r.digest("program")?),
                MODEL_NAME => model_name = Some(Label::read(r, "model_name")?),
                MODEL_VERSION => model_version = Some(Label::read(r, "model_version")?),
                MODEL_CARD => o.model_card = Some(r.digest("model_card")?),
                EXECUTION => execution = Some(read_execution(r)?),
                ENGINE => engine = Some(Engine::read(r)?),
                INPUT => input = Some(r.digest("input")?),
                OUTPUT => output = Some(r.digest("output")?),
                PARAMETERS => parameters = Some(read_parameters(r)?),
                SEED => o.seed = Some(r.array_of("seed")?),
                USAGE => o.usage = Some(read_usage(r)?),
                IO_COMMITMENT => {
                    r.array("io_commitment", 2, 2)?;
                    let scheme = Label::read(r, "io_commitment")?;
                    o.io_commitment = Some(IoCommitment {
                        scheme,
                        root: r.digest("io_commitment")?,
                    });
                }
                TRACE_ROOT => o.trace_root = Some(r.digest("trace_root")?),
                PLAN => o.plan = Some(read_plan(r)?),
                POLICY => o.policy = Some(r.digest("policy")?),
                FACTS => o.facts = Some(r.digest("facts")?),
                ENVIRONMENT => o.environment = Some(r.digest("environment")?),
                PLANNER => o.planner = Some(Label::read(r, "planner")?),
                OPTION_EXPIRY => o.option_expiry = Some(r.uint("option_expiry")?),
                RELIES_ON => {
                    for _ in 0..r.array("relies_on", 1, MAX_RELIES_ON)? {
                        r.array("relies_on", 2, 2)?;
                        let receipt = r.digest("relies_on")?;
                        o.relies_on.push(Reliance {
                            receipt,
                            stake: Amount::read(r, "relies_on")?,
                        });
                    }
                }
                PREVIOUS => o.previous = Some(r.digest("previous")?),
                STREAM => {
                    r.array("stream", 3, 3)?;
                    let root = r.digest("stream")?;
                    let chunks = r.uint("stream")?;
                    o.stream = Some(Stream {
                        root,
                        chunks,
                        complete: r.bool("stream")?,
                    });
                }
                COURIER => o.courier = Some(Courier::read(r)?),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        if map.require(EAT_PROFILE, profile)? != PROFILE {
            return Err(DecodeError::Value {
                what: "profile",
                reason: "not the profile of Carat receipts, version 1",
            });
        }
        if map.require(CLAIMS_VERSION, version)? != VERSION {
            return Err(DecodeError::Value {
                what: "version",
                reason: "this software reads version 1 only",
            });
        }
        let program = map.require(PROGRAM, program)?;
        if map.require(SUB, sub)? != subject(&program, o.courier.is_some()) {
            return Err(DecodeError::Value {
                what: "subject",
                reason: "does not name the program digest, or the digest of the upstream's model",
            });
        }
        let statement = Self {
            issuer: map.require(ISS, issuer)?,
            issuer_key: map.require(ISSUER_KEY, issuer_key)?,
            issued_at: map.require(IAT, issued_at)?,
            clock: map.require(CLOCK, clock)?,
            random: map.require(CTI, random)?,
            program,
            model_name: map.require(MODEL_NAME, model_name)?,
            model_version: map.require(MODEL_VERSION, model_version)?,
            execution: map.require(EXECUTION, execution)?,
            engine: map.require(ENGINE, engine)?,
            input: map.require(INPUT, input)?,
            output: map.require(OUTPUT, output)?,
            parameters: map.require(PARAMETERS, parameters)?,
            optional: o,
        };
        statement.check().map_err(|_| DecodeError::Value {
            what: WHAT,
            reason: "claims contradict each other or exceed their limits",
        })?;
        // The reader is strict already; this catches a reader and a writer that disagree.
        if statement.to_claims() != bytes {
            return Err(DecodeError::NotDeterministic {
                what: WHAT,
                rule: "re-encoding differs",
                at: 0,
            });
        }
        Ok(statement)
    }
}

impl Engine {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.array(2).text(self.numerics.as_str()).uint(self.semantics);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array("engine", 2, 2)?;
        let numerics = Label::read(r, "engine")?;
        Ok(Self {
            numerics,
            semantics: r.uint("engine")?,
        })
    }
}

fn clock_code(clock: Clock) -> u64 {
    match clock {
        Clock::System => 0,
        Clock::Ntp => 1,
        Clock::Signed => 2,
    }
}

fn read_clock(r: &mut Reader<'_>) -> Result<Clock, DecodeError> {
    match r.uint("clock")? {
        0 => Ok(Clock::System),
        1 => Ok(Clock::Ntp),
        2 => Ok(Clock::Signed),
        _ => Err(DecodeError::Value {
            what: "clock",
            reason: "unknown source of time",
        }),
    }
}

fn read_nonce(r: &mut Reader<'_>) -> Result<Nonce, DecodeError> {
    let bytes = r.bytes("nonce", 8, 64)?;
    Nonce::new(bytes).map_err(|_| DecodeError::Value {
        what: "nonce",
        reason: "a nonce has 8 to 64 bytes",
    })
}

fn read_execution(r: &mut Reader<'_>) -> Result<Execution, DecodeError> {
    let len = r.array("execution", 1, 2)?;
    match (r.uint("execution")?, len) {
        (0, 1) => Ok(Execution::Local),
        (1, 2) => Ok(Execution::Courier {
            upstream: Label::read(r, "upstream")?,
        }),
        _ => Err(DecodeError::Value {
            what: "execution",
            reason: "neither local nor courier",
        }),
    }
}

fn write_parameters(w: &mut Writer, parameters: &Parameters) {
    w.map(parameters.iter().len());
    for (name, value) in parameters.iter() {
        w.text(name.as_str());
        match value {
            Parameter::Int(value) => w.int(*value),
            Parameter::Bool(value) => w.bool(*value),
            Parameter::Text(value) => w.text(value),
            Parameter::Bytes(value) => w.bytes(value),
        };
    }
}

fn read_parameters(r: &mut Reader<'_>) -> Result<Parameters, DecodeError> {
    const WHAT: &str = "parameters";
    let mut parameters = Parameters::default();
    for _ in 0..r.map(WHAT, MAX_PARAMETERS)? {
        let at = r.position();
        let name = Label::read(r, WHAT)?;
        let value = if r.next_is_text() {
            Parameter::Text(owned(r.text(WHAT, 0, MAX_PARAMETER_BYTES)?))
        } else if r.next_is_bytes() {
            Parameter::Bytes(r.bytes(WHAT, 0, MAX_PARAMETER_BYTES)?.to_vec())
        } else if r.next_is_int() {
            Parameter::Int(r.int(WHAT)?)
        } else {
            Parameter::Bool(r.bool(WHAT)?)
        };
        if !parameters.push_in_order(name, value) {
            let rule = "a parameter is repeated or out of order";
            return Err(DecodeError::NotDeterministic {
                what: WHAT,
                rule,
                at,
            });
        }
    }
    Ok(parameters)
}

fn write_usage(w: &mut Writer, usage: &Usage) {
    let mut map = MapWriter::new();
    for (key, value) in (1..).zip(usage.fields()) {
        map.put_some(key, value, |w, value| {
            w.uint(value);
        });
    }
    map.finish(w);
}

fn read_usage(r: &mut Reader<'_>) -> Result<Usage, DecodeError> {
    let mut usage = Usage::default();
    let mut map = r.int_map("usage", 5)?;
    while let Some(key) = map.next_key(r)? {
        let field = match key {
            1 => &mut usage.input_elements,
            2 => &mut usage.output_elements,
            3 => &mut usage.cpu_micros,
            4 => &mut usage.wall_micros,
            5 => &mut usage.multiply_adds,
            other => return Err(map.unknown(other)),
        };
        *field = Some(r.uint("usage")?);
    }
    Ok(usage)
}

fn write_plan(w: &mut Writer, plan: &Plan) {
    let uint = |w: &mut Writer, value: u64| {
        w.uint(value);
    };
    let mut map = MapWriter::new();
    map.put(1, |w| {
        w.text(plan.rung.as_str());
    });
    map.put(2, |w| uint(w, plan.tau));
    map.put(3, |w| {
        uint(
            w,
            match plan.timing {
                Timing::BeforeUse => 0,
                Timing::BeforeSettle => 1,
                Timing::AfterUse => 2,
                Timing::Deferred => 3,
            },
        );
    });
    map.put_some(4, plan.window, uint);
    map.put_some(5, plan.bond.as_ref(), |w, bond| {
        w.text(bond.as_str());
    });
    map.put_some(6, plan.replicas, uint);
    map.put_some(7, plan.proof_deadline, uint);
    map.finish(w);
}

fn read_plan(r: &mut Reader<'_>) -> Result<Plan, DecodeError> {
    let mut map = r.int_map("plan", 7)?;
    let (mut rung, mut tau, mut timing) = (None, None, None);
    let (mut window, mut bond, mut replicas, mut proof_deadline) = (None, None, None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => rung = Some(Label::read(r, "plan")?),
            2 => tau = Some(r.uint("plan")?),
            3 => {
                timing = Some(match r.uint("plan")? {
                    0 => Timing::BeforeUse,
                    1 => Timing::BeforeSettle,
                    2 => Timing::AfterUse,
                    3 => Timing::Deferred,
                    _ => {
                        return Err(DecodeError::Value {
                            what: "plan",
                            reason: "unknown timing",
                        });
                    }
                });
            }
            4 => window = Some(r.uint("plan")?),
            5 => bond = Some(Label::read(r, "plan")?),
            6 => replicas = Some(r.uint("plan")?),
            7 => proof_deadline = Some(r.uint("plan")?),
            other => return Err(map.unknown(other)),
        }
    }
    Ok(Plan {
        rung: map.require(1, rung)?,
        tau: map.require(2, tau)?,
        timing: map.require(3, timing)?,
        window,
        bond,
        replicas,
        proof_deadline,
    })
}
