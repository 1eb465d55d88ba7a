//! Examining a version: does it run here, what can its receipts rest on, what does that cost, how close is it to its source.
//!
//! What is found is told as soon as it is known, the quick things first: an examination that is stopped keeps what it had.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use carat_hub::About;
use carat_hub::card::{Cost, Examination, Execution, Facts, Fidelity, Machine, Port, Rung};
use carat_nn::exec::Executable;
use carat_nn::fidelity::measure;
use carat_nn::import::{Declared, ImportError, MAX_ONNX_BYTES, survey};
use carat_nn::model::{Card, CompileRequest, Compiled, Metadata, ModelError, compile_model};
use carat_program::Tensor;
use carat_receipt::Digest;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::files;
use crate::home;
use crate::model::source::{self, Sources};
use crate::model::{self, EXTENSION, Model};
use crate::prover::{self, How, Subject};
use crate::served::PROFILE;
use crate::tell::Silent;

/// How long runs are measured, beyond the first three.
const RUN_PATIENCE: Duration = Duration::from_millis(50);
/// Most runs that are measured.
const MAX_RUNS: usize = 100;
/// How long proofs are measured, beyond the first.
const PROOF_PATIENCE: Duration = Duration::from_millis(100);
/// Most proofs that are measured.
const MAX_PROOFS: usize = 5;

/// What is examined, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What is examined.
    pub subject: Subjects,
    /// Where to write the compiled model, where there is none yet.
    pub compile_to: Option<PathBuf>,
    /// Memory that a proof may take, in bytes; 0: no proof is made.
    pub proof_bytes: u64,
}

/// What is examined.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Subjects {
    /// The files of a version in a folder.
    Folder(PathBuf),
    /// An ONNX file, with a folder of inputs to calibrate it with.
    Onnx(PathBuf, Option<PathBuf>),
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// For the card.
    pub examination: Examination,
    /// Whether a compiled model was written.
    pub compiled: bool,
}

impl Report {
    /// Before anything is known.
    pub(super) fn of_nothing() -> Self {
        Self {
            examination: Examination {
                at: home::clock().unwrap_or_default(),
                machine: machine(),
                micros: 0,
                peak_bytes: None,
                execution: Execution::NoModel,
                facts: Facts::default(),
                rungs: Vec::new(),
                fidelity: None,
                reproduced: None,
                warnings: Vec::new(),
            },
            compiled: false,
        }
    }
}

/// The state of an examination.
struct Work<'a> {
    started: Instant,
    report: Report,
    tell: &'a mut dyn FnMut(&Report),
}

/// Examines. `tell` gets what is known so far, each time that there is more.
pub fn examine(order: &Order, tell: &mut dyn FnMut(&Report)) -> Report {
    let mut work = Work {
        started: Instant::now(),
        report: Report::of_nothing(),
        tell,
    };
    if let Err((group, reason)) = work.run(order) {
        let kept = &mut work.report.examination;
        match kept.execution {
            Execution::Runs => kept.warnings.push(reason),
            _ => kept.execution = Execution::Refused { group, reason },
        }
    }
    work.told();
    work.report
}

/// Why something does not run: for counting, and in full.
type Refusal = (String, String);

fn failed(failure: Failure) -> Refusal {
    (general(&failure.message), failure.message)
}

impl Work<'_> {
    fn found(&mut self) -> &mut Examination {
        &mut self.report.examination
    }

    fn told(&mut self) {
        let micros = self.started.elapsed().as_micros();
        self.found().micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.found().peak_bytes = peak_bytes();
        (self.tell)(&self.report);
    }

    fn run(&mut self, order: &Order) -> Result<(), Refusal> {
        let (sources, compiled, folder) = match &order.subject {
            Subjects::Folder(folder) => {
                // A folder with several ONNX files and nothing that names one has no source, as one without any.
                (
                    source::in_folder(folder).ok(),
                    compiled_in(folder),
                    Some(folder),
                )
            }
            Subjects::Onnx(onnx, calibration) => {
                let sources = Sources {
                    onnx: onnx.clone(),
                    calibration: calibration.clone(),
                    metadata: None,
                };
                (Some(sources), None, None)
            }
        };
        let onnx = match &sources {
            Some(sources) => {
                let bytes = files::read_capped(&sources.onnx, "an ONNX file", MAX_ONNX_BYTES)
                    .map_err(failed)?;
                self.survey(&bytes)?;
                Some(bytes)
            }
            None => None,
        };
        let source = sources.as_ref().zip(onnx.as_deref());
        let model = match (&compiled, source) {
            (Some(path), _) => Model::read(path).map_err(failed)?,
            (None, Some((sources, onnx))) => {
                let compiled = compile(sources, onnx).map_err(|error| refusal(&error))?;
                Model::new(compiled.file, sources.onnx.clone())
            }
            (None, None) => return Ok(()),
        };
        self.facts(&model);
        let executable = model.executable(1).map_err(failed)?;
        let inputs = model::zeros(model.program()).map_err(failed)?;
        let (outputs, cost) = runs(&executable, &inputs)?;
        self.found().execution = Execution::Runs;
        self.found().rungs = rungs(&model, cost, order.proof_bytes);
        if let (None, Some(path)) = (&compiled, &order.compile_to) {
            fs::write(path, model.file.encode())
                .map_err(|error| (general("writing"), error.to_string()))?;
            self.report.compiled = true;
        }
        self.told();
        self.prove(&model, &inputs, &outputs, order.proof_bytes);
        self.told();
        if let Some(folder) = folder {
            self.fidelity(&model, folder);
            self.told();
        }
        if let (Some(_), Some((sources, onnx))) = (&compiled, source) {
            let again = compile(sources, onnx);
            self.found().reproduced =
                Some(again.is_ok_and(|again| again.file.program.digest() == model.digest));
        }
        Ok(())
    }

    /// What the ONNX file says.
    fn survey(&mut self, onnx: &[u8]) -> Result<(), Refusal> {
        let survey = survey(onnx).map_err(|error| refusal(&error.into()))?;
        let port = |declared: &Declared| Port {
            name: declared.name.clone(),
            dtype: declared
                .dtype
                .map_or(String::new(), |dtype| dtype.name().into()),
            shape: declared.dims.clone(),
            labels: Vec::new(),
        };
        self.found().facts = Facts {
            source_sha256: Some(Digest::sha256(onnx)),
            opset: survey.opset,
            inputs: survey.inputs.iter().map(port).collect(),
            outputs: survey.outputs.iter().map(port).collect(),
            operators: survey.operators,
            parameters: survey.parameters,
            ..Facts::default()
        };
        self.told();
        Ok(())
    }

    /// What the compiled model says, where there is no source that says it better.
    fn facts(&mut self, model: &Model) {
        let program = model.program();
        let shape = |dims: Vec<usize>| dims.into_iter().map(|length| Some(length as u64)).collect();
        let inputs = program.inputs.iter().map(|input| Port {
            name: input.name.clone(),
            dtype: input.dtype.name().into(),
            shape: shape(input.shape.dims()),
            labels: Vec::new(),
        });
        let outputs = program.outputs.iter().map(|output| Port {
            name: output.name.clone(),
            dtype: output.dtype.name().into(),
            shape: shape(
                program
                    .value(output.value)
                    .map(|value| value.shape.dims())
                    .unwrap_or_default(),
            ),
            labels: output.labels.clone(),
        });
        let (inputs, outputs) = (inputs.collect(), outputs.collect());
        let card: Option<Card> = serde_json::from_str(&model.file.card).ok();
        let found = self.found();
        found.facts.program = Some(model.digest);
        found.facts.inputs = inputs;
        found.facts.outputs = outputs;
        let Some(card) = card else {
            return;
        };
        let facts = &mut found.facts;
        facts.calibration = Some((card.calibration.source, card.calibration.samples));
        facts.about = About {
            description: card.metadata.description,
            licence: card.metadata.licence,
            task: card.metadata.task,
            origin: String::new(),
        };
        if facts.source_sha256.is_none() {
            facts.source_sha256 = card.source_sha256.parse().ok();
            facts.opset = Some(card.opset);
            facts.operators = card.operators;
            facts.parameters = card.parameters;
        }
        found.warnings.extend(card.warnings);
    }

    fn prove(&mut self, model: &Model, inputs: &[Tensor], outputs: &[Tensor], proof_bytes: u64) {
        if proof_bytes == 0 || self.found().rung("zk").is_none() {
            return;
        }
        let (mut times, mut setup, mut verify) = (Vec::new(), Vec::new(), Vec::new());
        let (mut size, mut key) = (0, None);
        let how = How::succinct(PROFILE, proof_bytes);
        let started = Instant::now();
        while times.is_empty() || (times.len() < MAX_PROOFS && started.elapsed() < PROOF_PATIENCE) {
            let subject = Subject {
                statement: Digest::sha256(b"carat hub"),
                inputs: inputs.to_vec(),
                outputs: outputs.to_vec(),
            };
            match prover::proof_of(model, &[subject], &how, &Silent) {
                Ok(proved) => {
                    times.push(micros(proved.proving));
                    setup.push(micros(proved.setup));
                    verify.push(micros(proved.verifying));
                    (size, key) = (proved.bytes as u64, Some(proved.key.digest()));
                }
                Err(failure) => {
                    self.found()
                        .warnings
                        .push(format!("no proof was measured: {}", failure.message));
                    return;
                }
            }
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let cost = Cost {
            setup_micros: Some(percentile(&mut setup, 50)),
            verify_micros: Some(percentile(&mut verify, 50)),
            proof_bytes: Some(size),
            ..cost(&mut times, threads)
        };
        if let Some(rung) = self.found().rungs.iter_mut().find(|rung| rung.name == "zk") {
            rung.cost = Some(cost);
            rung.model_key = key;
        }
    }

    /// Against reference outputs that were published with it.
    fn fidelity(&mut self, model: &Model, folder: &Path) {
        let data = data_folder(folder);
        if !data.join("reference.npy").is_file() {
            return;
        }
        match measure(&model.file, &data) {
            Ok(report) => {
                self.found().fidelity = Some(Fidelity {
                    samples: report.samples,
                    reference: report.reference,
                    top1_agreement: report.top1_agreement,
                    max_abs_error: report.max_abs_error,
                    mean_abs_error: report.mean_abs_error,
                    min_cosine: report.min_cosine,
                    float_accuracy: report.float_accuracy,
                    integer_accuracy: report.integer_accuracy,
                });
            }
            Err(error) => self
                .found()
                .warnings
                .push(format!("fidelity was not measured: {error}")),
        }
    }
}

/// Compiles a source. Inputs that do not fit it as samples are left aside; the card says what it was calibrated on.
fn compile(sources: &Sources, onnx: &[u8]) -> Result<Compiled, ModelError> {
    let mut metadata = match &sources.metadata {
        Some(text) => Metadata::parse(text)?,
        None => Metadata::default(),
    };
    if metadata.name.is_empty() {
        let stem = sources.onnx.file_stem().unwrap_or_default();
        metadata.name = stem.to_string_lossy().into_owned();
    }
    let request = CompileRequest {
        onnx,
        options: metadata.compile.options()?,
        metadata,
        calibration: sources.calibration.as_deref(),
        ..CompileRequest::default()
    };
    match compile_model(&request) {
        Err(ModelError::Samples(_) | ModelError::Edge(_)) if sources.metadata.is_none() => {
            compile_model(&CompileRequest {
                calibration: None,
                ..request
            })
        }
        other => other,
    }
}

/// The one compiled model of a folder.
fn compiled_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == EXTENSION)
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

/// Where `model.toml` says that held-out data lies.
fn data_folder(folder: &Path) -> PathBuf {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Layout {
        data: Option<carat_hub::FilePath>,
    }
    let text = fs::read_to_string(folder.join("model.toml")).unwrap_or_default();
    let layout: Layout = toml::from_str(&text).unwrap_or_default();
    match layout.data {
        Some(data) => folder.join(data.as_str()),
        None => folder.join("data"),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn percentile(times: &mut [u64], percent: usize) -> u64 {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

fn cost(times: &mut [u64], threads: u64) -> Cost {
    Cost {
        p50_micros: percentile(times, 50),
        p99_micros: percentile(times, 99),
        runs: times.len() as u64,
        threads,
        ..Cost::default()
    }
}

fn runs(executable: &Executable, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Cost), Refusal> {
    let mut times = Vec::new();
    let started = Instant::now();
    loop {
        let one = Instant::now();
        let outputs = executable
            .run(inputs)
            .map_err(|error| failed(model::exec_failure(error)))?;
        times.push(micros(one.elapsed()));
        let enough = times.len() >= 3 && started.elapsed() >= RUN_PATIENCE;
        if enough || times.len() >= MAX_RUNS {
            return Ok((outputs, cost(&mut times, 1)));
        }
    }
}

/// What receipts about a program can rest on. Whether there is a proof is decided by the program: every step must have one.
fn rungs(model: &Model, run: Cost, proof_bytes: u64) -> Vec<Rung> {
    let rung = |name: &str, note: &str, cost: Option<Cost>| Rung {
        name: name.into(),
        available: true,
        note: Some(note.into()),
        cost,
        model_key: None,
    };
    let how = How::succinct(PROFILE, proof_bytes);
    let zk = match how.ledger(model.program(), 1) {
        Ok(ledger) => Rung {
            note: Some(match prover::fits(model, 1, &how) {
                Ok(_) => format!("{} bits, profile {}", ledger.bits as u64, PROFILE.name()),
                Err(failure) => failure.message,
            }),
            ..rung("zk", "", None)
        },
        Err(error) => Rung {
            available: false,
            note: Some(error.message),
            ..rung("zk", "", None)
        },
    };
    vec![
        rung(
            "signature",
            "one run; the node's signature, the same for every model, is not counted",
            Some(run.clone()),
        ),
        rung("replay", "one run by whoever checks", Some(run)),
        rung(
            "tee",
            "on a node with attested hardware; not measured here",
            None,
        ),
        zk,
    ]
}

/// A text with what belongs to one model taken out: names in quotes, and numbers.
fn general(text: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut number = false;
    for c in text.chars().take(400) {
        if c == '`' {
            quoted = !quoted;
            if !quoted {
                out.push_str("...");
            }
            continue;
        }
        if quoted {
            continue;
        }
        if c.is_ascii_digit() {
            if !number {
                out.push('N');
            }
            number = true;
        } else {
            number = false;
            out.push(c);
        }
    }
    out
}

/// Why a model does not run, for counting and in full.
fn refusal(error: &ModelError) -> Refusal {
    let group = match error {
        ModelError::Import(ImportError::Unsupported { op, reason, .. })
            if reason == "is not supported" =>
        {
            format!("operator {op} is not supported")
        }
        ModelError::Import(ImportError::Unsupported { op, .. }) => {
            format!("operator {op} is not supported in this form")
        }
        ModelError::Import(ImportError::NotConstant { op, .. }) => {
            format!("operator {op} needs an operand at compile time")
        }
        ModelError::Import(ImportError::OpenShape { .. }) => {
            "an input has an axis without a length".into()
        }
        ModelError::Import(ImportError::Opset { .. }) => {
            "the operator set is too old or too new".into()
        }
        ModelError::Import(ImportError::Malformed(_)) => "not a readable ONNX model".into(),
        // Numbers of bits are no numbers of this model.
        ModelError::Import(ImportError::Tensor { reason, .. })
            if reason.starts_with("its element type") =>
        {
            format!("a constant: {reason}")
        }
        ModelError::Import(ImportError::Input { reason, .. })
            if reason.starts_with("its element type") =>
        {
            format!("an input: {reason}")
        }
        ModelError::Import(ImportError::Tensor { reason, .. }) => {
            format!("a constant: {}", general(reason))
        }
        ModelError::Import(ImportError::Input { reason, .. }) => {
            format!("an input: {}", general(reason))
        }
        other => general(&other.to_string()),
    };
    (group, error.to_string())
}

/// What this machine is.
pub fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("unknown".to_string(), |(_, name)| name.trim().to_string());
    Machine {
        cpu,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        load: read("/proc/loadavg")
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok()),
    }
}

/// A figure of `/proc/self/status`, in bytes.
fn status_bytes(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line
        .trim_start_matches(':')
        .trim()
        .strip_suffix(" kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib << 10)
}

/// Most memory that this process had so far, in bytes.
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_without_names_and_numbers() {
        assert_eq!(
            general("input `x` has 12 axes and `y` 3"),
            "input ... has N axes and ... N"
        );
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut times: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(
            (percentile(&mut times, 50), percentile(&mut times, 99)),
            (50, 99)
        );
        assert_eq!(percentile(&mut [7], 99), 7);
    }
}
