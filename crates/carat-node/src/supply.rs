//! What can be bought here: the environment file, calibration records, and what this program can really supply.
//!
//! `environment.toml` in the data directory states what cannot be measured: the price of a CPU second, auditors, the bond.
//! `calibration/` holds what was measured: one record for each Program, method and backend.

use std::path::Path;
use std::time::{Duration, Instant};

use carat_policy::environment::{
    Audits, Batch, Bond, Calibration, Enclave, Environment, Prover, Replicas,
};
use carat_policy::{Detection, Fraction, Micros, Price};
use carat_program::Tensor;
use carat_receipt::{Amount, Currency, Digest, Label};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::home::{self, Home};
use crate::model::{self, AnyModel, Model, Tensors};
use crate::prover;
use crate::tell::Doing;

/// Schema of environment files.
const SCHEMA: &str = "carat-environment/v1";
const MAX_FILE: u64 = 256 * 1024;
/// Price of a CPU second where no file states one: 0.047 units for a virtual core and hour, about what clouds asked for
/// general-purpose machines on demand in 2026.
pub const CPU_SECOND: Price = Price(13_000_000);
/// When that was written down: 2026-08-01.
pub const CPU_SECOND_AS_OF: u64 = 1_785_542_400;
/// What relying parties rest on this software being right where nothing else is stated: the default of Trust files.
const DEFAULT_CAP_UNITS: u64 = 1000;
/// How long a calibration may take, beyond its first three runs.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long measuring proofs may take, beyond the first.
const PROOF_PATIENCE: Duration = Duration::from_millis(500);
/// Most runs of one calibration.
const MAX_RUNS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    currency: Currency,
    cpu: Option<FileCpu>,
    kappa: Option<Fraction>,
    audits: Option<FileAudits>,
    bond: Option<FileBond>,
    replicas: Option<FileReplicas>,
    prover: Option<FileProver>,
    enclave: Option<FileEnclave>,
    calibration: Option<FileCalibrations>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCpu {
    second: Price,
    /// Unix seconds.
    as_of: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAudits {
    independent: u64,
    #[serde(default)]
    fee: Price,
    power: Fraction,
    colluding: Fraction,
    predictable: Fraction,
    window_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBond {
    name: Label,
    allocated: Amount,
    withheld: Option<Amount>,
    open: Option<Amount>,
    clawback: bool,
    joint_forfeiture: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReplicas {
    available: u64,
    #[serde(default)]
    fee: Price,
    corrupt: Fraction,
    shared_fault: Fraction,
    round_trip_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileProver {
    cap: Option<Amount>,
    deferred_seconds: Option<u64>,
    batch: Option<FileBatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBatch {
    size: u64,
    window_ms: u64,
    prove: FileCalibration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEnclave {
    vendor: Label,
    break_cost: Amount,
    simulated: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileCalibrations {
    execute: Option<FileCalibration>,
    prove: Option<FileCalibration>,
    attest: Option<FileCalibration>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct FileCalibration {
    backend: Label,
    mean_cpu_micros: u64,
    p50_micros: u64,
    p99_micros: u64,
    count: u64,
    measured_at: u64,
}

/// A calibration record on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The Program.
    pub program: Digest,
    /// `execute`, `prove` or `attest`.
    pub method: String,
    /// What ran it.
    pub backend: Label,
    /// Mean CPU time.
    pub mean_cpu_micros: u64,
    /// Median elapsed time.
    pub p50_micros: u64,
    /// 99th percentile of elapsed time.
    pub p99_micros: u64,
    /// Runs.
    pub count: u64,
    /// Unix seconds.
    pub measured_at: u64,
}

impl From<FileCalibration> for Calibration {
    fn from(file: FileCalibration) -> Self {
        let FileCalibration {
            backend,
            mean_cpu_micros,
            p50_micros,
            p99_micros,
            count,
            measured_at,
        } = file;
        Self {
            backend,
            mean_cpu_micros,
            p50_micros,
            p99_micros,
            count,
            measured_at,
        }
    }
}

impl From<Record> for Calibration {
    fn from(record: Record) -> Self {
        let Record {
            backend,
            mean_cpu_micros,
            p50_micros,
            p99_micros,
            count,
            measured_at,
            ..
        } = record;
        Self {
            backend,
            mean_cpu_micros,
            p50_micros,
            p99_micros,
            count,
            measured_at,
        }
    }
}

/// The environment of a file, or of the data directory, with the calibration records of a Program.
///
/// The currency is the policy's where no file states one.
pub fn environment(
    given: Option<&Path>,
    home: Option<&Home>,
    program: Option<&Digest>,
    currency: Currency,
) -> Result<Environment, Failure> {
    let own = home
        .map(|home| home.path("environment.toml"))
        .filter(|path| path.is_file());
    let mut environment = match given.map(Path::to_path_buf).or(own) {
        Some(path) => read(&path)?,
        None => Environment::bare(currency, CPU_SECOND, CPU_SECOND_AS_OF),
    };
    if let (Some(home), Some(program)) = (home, program) {
        if let Some(record) = record(home, program, "execute")? {
            environment.execute = Some(record.into());
        }
        if let Some(record) = record(home, program, "prove")? {
            let prover = environment.prover.get_or_insert_with(|| own_prover(None));
            prover.prove = Some(record.into());
        }
    }
    Ok(environment)
}

/// The prover of this program, which proves together with the answer and neither later nor for several at once.
fn own_prover(prove: Option<Calibration>) -> Prover {
    let cap = Some(Micros(DEFAULT_CAP_UNITS * Amount::MICROS));
    Prover {
        prove,
        cap,
        deferred_secs: None,
        batch: None,
    }
}

/// Takes away what this program cannot buy while it runs a model: a plan that nobody carries out is no plan.
///
/// Nobody draws re-executors before an answer leaves, and an enclave on this machine may be a simulated one. The prover is
/// there if it was measured here on this Program; a file cannot claim that.
pub fn only_real(mut environment: Environment, proving: Option<&Record>) -> Environment {
    let cap = environment.prover.as_ref().and_then(|prover| prover.cap);
    environment.prover = proving.map(|record| {
        let own = own_prover(Some(record.clone().into()));
        Prover {
            cap: cap.or(own.cap),
            ..own
        }
    });
    environment.replicas = None;
    environment.enclave = None;
    environment
}

/// As [`only_real`], for a server, which keeps what it takes to prove later: it carries out promised proofs too. Its enclave
/// counts while its own attestation verifies, which is asked for each request.
pub fn of_a_server(environment: Environment, proving: Option<&Record>) -> Environment {
    let deferred = environment
        .prover
        .as_ref()
        .and_then(|prover| prover.deferred_secs);
    let enclave = environment.enclave.clone();
    let mut real = only_real(environment, proving);
    if let Some(prover) = &mut real.prover {
        prover.deferred_secs = deferred;
    }
    real.enclave = enclave;
    real
}

/// Reads the text of an environment file.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    files::read_text(path, "an environment file", MAX_FILE)
}

fn read(path: &Path) -> Result<Environment, Failure> {
    let text = read_text(path)?;
    let refuse =
        |message: String| Failure::new(Exit::Usage, format!("{}: {message}", path.display()));
    let file: File = toml::from_str(&text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        let column = 1 + before
            .rsplit('\n')
            .next()
            .map_or(0, |line| line.chars().count());
        refuse(format!(
            "line {line}, column {column}: {}",
            error.message().replace('\n', " ")
        ))
    })?;
    if file.schema != SCHEMA {
        return Err(refuse(format!(
            "this software reads schema = \"{SCHEMA}\" only"
        )));
    }
    let currency = file.currency;
    let money = |amount: Amount| {
        if amount.currency() == currency {
            Ok(Micros::from(amount))
        } else {
            Err(refuse(format!(
                "{amount} is not in the file's currency, {currency}"
            )))
        }
    };
    let calibration = file.calibration.unwrap_or_default();
    let cpu = file.cpu.map_or((CPU_SECOND, CPU_SECOND_AS_OF), |cpu| {
        (cpu.second, cpu.as_of)
    });
    let mut environment = Environment::bare(currency, cpu.0, cpu.1);
    environment.execute = calibration.execute.map(Calibration::from);
    environment.kappa = file.kappa.unwrap_or(environment.kappa);
    environment.audits = file.audits.map(|audits| Audits {
        independent: audits.independent,
        fee: audits.fee,
        detection: Detection {
            power: audits.power,
            colluding: audits.colluding,
            predictable: audits.predictable,
        },
        window_secs: audits.window_seconds,
    });
    environment.bond = match file.bond {
        None => None,
        Some(bond) => Some(Bond {
            name: bond.name,
            allocated: money(bond.allocated)?,
            withheld: bond.withheld.map_or(Ok(Micros::ZERO), money)?,
            open: bond.open.map_or(Ok(Micros::ZERO), money)?,
            clawback: bond.clawback,
            joint_forfeiture: bond.joint_forfeiture,
        }),
    };
    environment.replicas = file.replicas.map(|replicas| Replicas {
        available: replicas.available,
        fee: replicas.fee,
        corrupt: replicas.corrupt,
        shared_fault: replicas.shared_fault,
        round_trip_micros: replicas.round_trip_ms.saturating_mul(1000),
    });
    environment.prover = match file.prover {
        None => None,
        Some(prover) => Some(Prover {
            prove: calibration.prove.map(Calibration::from),
            cap: Some(match prover.cap {
                Some(cap) => money(cap)?,
                None => Micros(DEFAULT_CAP_UNITS * Amount::MICROS),
            }),
            deferred_secs: prover.deferred_seconds,
            batch: prover.batch.map(|batch| Batch {
                size: batch.size,
                window_micros: batch.window_ms.saturating_mul(1000),
                prove: batch.prove.into(),
            }),
        }),
    };
    environment.enclave = match file.enclave {
        None => None,
        Some(enclave) => Some(Enclave {
            vendor: enclave.vendor,
            break_cost: money(enclave.break_cost)?,
            simulated: enclave.simulated,
            attest: calibration.attest.map(Calibration::from),
        }),
    };
    Ok(environment)
}

fn name(program: &Digest, method: &str) -> String {
    format!("calibration/{program}.{method}.json")
}

/// What was measured here.
pub fn record(home: &Home, program: &Digest, method: &str) -> Result<Option<Record>, Failure> {
    let path = home.path(&name(program, method));
    if !path.is_file() {
        return Ok(None);
    }
    let text = files::read_text(&path, "a calibration record", MAX_FILE)?;
    let record: Record = serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            Exit::Store,
            format!(
                "{}: {error}; remove it and run carat calibrate",
                path.display()
            ),
        )
    })?;
    Ok((record.program == *program && record.method == method).then_some(record))
}

/// Measures proving the Program, weights committed anew each time, and keeps the record. `None`: the prover does not take this
/// Program, or it would need more memory than proofs get by default.
pub fn calibrate_proof(
    home: &Home,
    model: &Model,
    inputs: &[Tensor],
    doing: &dyn Doing,
) -> Result<Option<Record>, Failure> {
    let outputs = model.answer(inputs)?;
    let memory = prover::size(prover::MEMORY).map_err(Failure::of(Exit::Internal))?;
    let how = prover::How::succinct(carat_zk::Profile::ALL[0], memory);
    doing.say(&format!("measuring the proof of {}", model.name));
    let mut times: Vec<u64> = Vec::new();
    let started = Instant::now();
    while times.is_empty() || (times.len() < 5 && started.elapsed() < PROOF_PATIENCE) {
        let subject = prover::Subject {
            statement: Digest::sha256(b"carat calibrate"),
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        };
        let proved = match prover::proof_of(model, &[subject], &how, doing) {
            Ok(proved) => proved,
            Err(failure) if matches!(failure.exit, Exit::Model | Exit::Memory) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let taken = proved.setup + proved.proving;
        times.push(u64::try_from(taken.as_micros()).unwrap_or(u64::MAX).max(1));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    // As if every processor had been busy all the time: what is not known is rounded up.
    keep_record(
        home,
        &model.digest,
        "prove",
        &format!("cpu/{}/{threads}-threads", std::env::consts::ARCH),
        times,
        threads,
    )
    .map(Some)
}

/// Measures running the Program once, on one thread, and keeps the record.
pub fn calibrate(home: &Home, model: &AnyModel, inputs: &Tensors) -> Result<Record, Failure> {
    let execute = model::runner(model, inputs)?;
    let mut times: Vec<u64> = Vec::new();
    let started = Instant::now();
    while times.len() < 3 || (times.len() < MAX_RUNS && started.elapsed() < PATIENCE) {
        let run = Instant::now();
        execute()?;
        times.push(
            u64::try_from(run.elapsed().as_micros())
                .unwrap_or(u64::MAX)
                .max(1),
        );
    }
    // On one thread elapsed time is CPU time, or more where others share the machine.
    keep_record(
        home,
        &model.digest,
        "execute",
        &format!("cpu/{}/1-thread", std::env::consts::ARCH),
        times,
        1,
    )
}

fn keep_record(
    home: &Home,
    program: &Digest,
    method: &str,
    backend: &str,
    mut times: Vec<u64>,
    threads: u64,
) -> Result<Record, Failure> {
    times.sort_unstable();
    let count = times.len() as u64;
    let total: u64 = times.iter().fold(0, |sum, time| sum.saturating_add(*time));
    let record = Record {
        program: *program,
        method: method.into(),
        backend: Label::new(backend).map_err(Failure::of(Exit::Internal))?,
        mean_cpu_micros: total.div_ceil(count.max(1)).saturating_mul(threads),
        p50_micros: times[times.len() / 2],
        p99_micros: times[(times.len() * 99).div_ceil(100).saturating_sub(1)],
        count,
        measured_at: home::clock()?,
    };
    home.make_dir("calibration")?;
    let text = serde_json::to_string_pretty(&record).map_err(Failure::of(Exit::Internal))?;
    files::write_atomic(
        &home.path(&name(program, method)),
        format!("{text}\n").as_bytes(),
        Mode::Private,
    )?;
    Ok(record)
}
