//! From a run to a signed Statement with its opening and its leaf of the log.

use carat_log::store::Log;
use carat_log::{leaf_hash, store::StoreError};
use carat_program::{Program, Tensor};
use carat_receipt::commit::random_id;
use carat_receipt::file::{LOG_PROMISE, LOG_PROOF};
use carat_receipt::statement::{Clock, IoCommitment, Optional, Usage};
use carat_receipt::{
    Digest, Engine, Execution, Label, LogItem, LogPart, Nonce, Opened, Opening, Parameters,
    ReceiptFile, Role, Salt, SignedStatement, SigningKey, Statement, leaf,
};
use carat_zk::Values;

use crate::exit::{Exit, Failure};
use crate::home::log_failure;
use crate::model::{self, Tensors};
use crate::planned::Planned;
use crate::prover;

/// The numerics that the executor follows, as Statements name them.
pub const NUMERICS: &str = carat_program::INTEGER_PROFILE;
/// Version of the executor's semantics under that profile.
pub const SEMANTICS: u64 = 1;
/// How long after an entry was acknowledged every checkpoint covers it, in seconds: what an inclusion promise says.
pub const INCLUDE_WITHIN: u64 = 60;

/// What Statements say of a model.
#[derive(Debug, Clone)]
pub struct Identity<'a> {
    /// Digest of its Program.
    pub program: Digest,
    /// Name, for people.
    pub name: &'a Label,
    /// Version, for people.
    pub version: &'a Label,
    /// Digest of its card, where it has one.
    pub card: Option<Digest>,
    /// What it runs under.
    pub engine: Engine,
}

/// An input or an output, as a Statement commits to it.
#[derive(Debug, Clone)]
pub struct Value {
    bytes: Vec<u8>,
    elements: u64,
}

impl From<&[Tensor]> for Value {
    fn from(tensors: &[Tensor]) -> Self {
        Self {
            bytes: model::canonical(tensors),
            elements: tensors.iter().map(|t| t.data().len() as u64).sum(),
        }
    }
}

impl From<&Tensors> for Value {
    fn from(tensors: &Tensors) -> Self {
        Self {
            bytes: tensors.canonical(),
            elements: tensors.elements(),
        }
    }
}

/// A run that gets a receipt.
pub struct Order<'a> {
    /// What ran.
    pub model: Identity<'a>,
    /// The Program's input.
    pub input: Value,
    /// What it answered.
    pub output: Value,
    /// How long it took.
    pub wall_micros: u64,
    /// For whom the receipt is.
    pub audience: Option<Label>,
    /// The caller's nonce.
    pub nonce: Option<Nonce>,
    /// The plan that is carried out.
    pub planned: Option<&'a Planned>,
    /// What a hiding commitment to input and output is made of, where one is added.
    pub io_commitment: Option<(&'a Program, Values<'a>)>,
    /// Until when an upgrade may be asked for, Unix seconds.
    pub option_expiry: Option<u64>,
}

/// Who issues.
pub struct Issuer {
    /// The key that signs.
    pub key: SigningKey,
    /// What its holder is called.
    pub name: Label,
}

/// A signed Statement that is not in the log yet. Nobody may see it before it is.
pub struct Signed {
    /// The Statement under its signature.
    pub signed: SignedStatement,
    /// What opens its commitments.
    pub opening: Opening,
    /// Blinds the leaf.
    pub blind: Salt,
    /// The leaf.
    pub leaf: Vec<u8>,
}

/// Signs.
pub fn sign(order: Order<'_>, issuer: &Issuer, now: u64) -> Result<Signed, Failure> {
    let random = Failure::of::<carat_receipt::commit::NoRandomness>;
    let salt = || Salt::generate().map_err(random(Exit::Io));
    let model = order.model;
    let elements = (order.input.elements, order.output.elements);
    let input = Opened::new(salt()?, order.input.bytes);
    let output = Opened::new(salt()?, order.output.bytes);
    let io_commitment = order
        .io_commitment
        .map(|(program, values)| io(program, &values, &input.salt, &output.salt))
        .transpose()?;
    let mut statement = Statement {
        issuer: issuer.name.clone(),
        issuer_key: issuer.key.public(),
        issued_at: now,
        clock: Clock::System,
        random: random_id().map_err(random(Exit::Io))?,
        program: model.program,
        model_name: model.name.clone(),
        model_version: model.version.clone(),
        execution: Execution::Local,
        engine: model.engine,
        input: input.commitment(Role::Input),
        output: output.commitment(Role::Output),
        // The Program and its input determine the answer: nothing else took effect.
        parameters: Parameters::default(),
        optional: Optional {
            audience: order.audience.clone(),
            nonce: order.nonce.clone(),
            io_commitment,
            model_card: model.card,
            usage: Some(Usage {
                input_elements: Some(elements.0),
                output_elements: Some(elements.1),
                wall_micros: Some(order.wall_micros),
                ..Usage::default()
            }),
            option_expiry: order.option_expiry,
            ..Optional::default()
        },
    };
    let facts = match order.planned {
        Some(planned) => planned.state(&mut statement.optional, now, salt()?)?,
        None => None,
    };
    let signed = SignedStatement::sign(statement, &issuer.key).map_err(Failure::of(Exit::Usage))?;
    let blind = salt()?;
    let leaf = leaf_of(&signed, &blind);
    let opening = Opening {
        receipt_id: signed.receipt_id(),
        program: model.program,
        input,
        output,
        facts,
        trace_salt: None,
        carried: None,
    };
    Ok(Signed {
        signed,
        opening,
        blind,
        leaf,
    })
}

/// The leaf of a signed Statement.
pub fn leaf_of(signed: &SignedStatement, blind: &Salt) -> Vec<u8> {
    let plan = signed.statement().optional.plan.as_ref();
    leaf(blind, &signed.receipt_id(), plan.map(|plan| plan.tau))
}

fn io(
    program: &Program,
    values: &Values<'_>,
    input_salt: &Salt,
    output_salt: &Salt,
) -> Result<IoCommitment, Failure> {
    let seed = carat_zk::io::Seed::from_salts(input_salt, output_salt);
    let root = carat_zk::io::commit(program, values, &seed).map_err(prover::failure)?;
    Ok(IoCommitment {
        scheme: Label::new(carat_zk::io::SCHEME).map_err(Failure::of(Exit::Internal))?,
        root,
    })
}

/// The receipt file of a signed Statement, with what the log gives for its entry: an inclusion proof where a checkpoint covers
/// it, a promise until then.
pub fn receipt(
    signed: SignedStatement,
    program: Vec<u8>,
    blind: &Salt,
    log: &Log,
    index: u64,
    now: u64,
) -> Result<ReceiptFile, Failure> {
    let leaf = leaf_of(&signed, blind);
    let mut file = ReceiptFile::new(signed);
    file.program = Some(program);
    file.log = Some(LogPart {
        blind: blind.clone(),
        items: vec![log_item(log, &leaf, index, now)?],
    });
    Ok(file)
}

/// What the log gives for an entry now.
pub fn log_item(log: &Log, leaf: &[u8], index: u64, now: u64) -> Result<LogItem, Failure> {
    let (media_type, bytes) = match log.tlog_proof(index) {
        Ok(proof) => {
            // Checked before anyone relies on it, like every receipt that leaves.
            proof
                .verify(leaf_hash(leaf), &log.verifier())
                .map_err(Failure::of(Exit::Store))?;
            (LOG_PROOF, proof.to_text().into_bytes())
        }
        Err(StoreError::Pending { .. }) => {
            let promise = log
                .promise(index, now, now.saturating_add(INCLUDE_WITHIN))
                .map_err(log_failure)?;
            (LOG_PROMISE, promise.to_text().into_bytes())
        }
        Err(error) => return Err(log_failure(error)),
    };
    Ok(LogItem {
        media_type: Label::new(media_type).map_err(Failure::of(Exit::Internal))?,
        bytes,
    })
}

/// The engine, as Statements and replays name it.
pub fn engine() -> Engine {
    Engine {
        #[allow(clippy::expect_used)] // a constant, and every test that signs passes here
        numerics: Label::new(NUMERICS).expect("a constant name"),
        semantics: SEMANTICS,
    }
}
