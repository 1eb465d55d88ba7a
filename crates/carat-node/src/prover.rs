//! Proofs for the commands: keys, traces, progress, and the evidence that goes into receipts.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use carat_nn::exec::Executable;
use carat_program::{Program, Tensor};
use carat_receipt::evidence::{Body, Hides, Proof as ProofBody, ZK_PROTOCOL as PROTOCOL};
use carat_receipt::{Digest, Evidence, Label, ReceiptFile};
use carat_zk::io::Seed;
use carat_zk::{
    Error, Hidden, HidingRoots, Instance, Ledger, Mode, ModelKey, Observer, Options, Phase,
    Profile, ProvingKey, Run, Values, WeightsSecret, prove,
};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::model::{self, Model};
use crate::tell::{Doing, Tell};

/// Memory that a proof may take unless the user says otherwise.
pub const MEMORY: &str = "8GiB";

/// Reads the name of a security profile.
pub fn profile(text: &str) -> Result<Profile, String> {
    let names = Profile::ALL.map(Profile::name).join(", ");
    Profile::named(text).ok_or(format!("no such profile; there are {names}"))
}

/// Reads a size such as `512MiB` or `8GiB`; a plain number is bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is written like 512MiB, 8GiB, or as a number of bytes".to_string();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// The failure that goes with an error of the prover.
pub fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::Unsupported(_) => Exit::Model,
        Error::Memory { .. } => Exit::Memory,
        Error::Values(_) => Exit::Mismatch,
        Error::Cancelled => Exit::Interrupted,
        _ => Exit::Internal,
    };
    let more = match &error {
        Error::Memory { .. } => {
            "; nothing was started; allow more with --memory-limit, or prove fewer statements at once"
        }
        _ => "",
    };
    Failure::new(exit, format!("{error}{more}"))
}

/// When each phase of a proof began.
#[derive(Default)]
pub struct Clock<'a> {
    doing: Option<&'a dyn Doing>,
    began: Mutex<Vec<(Phase, Instant)>>,
}

impl<'a> Clock<'a> {
    /// A clock that also tells the terminal.
    pub fn telling(doing: &'a dyn Doing) -> Self {
        Self {
            doing: Some(doing),
            began: Mutex::default(),
        }
    }

    /// How long each phase took, the last one until `end`.
    pub fn phases(&self, end: Instant) -> Vec<(Phase, Duration)> {
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = began.iter().skip(1).map(|(_, at)| *at).chain([end]);
        began
            .iter()
            .zip(ends)
            .map(|((phase, at), end)| (*phase, end.saturating_duration_since(*at)))
            .collect()
    }
}

impl Observer for Clock<'_> {
    fn begin(&self, phase: Phase) {
        self.began
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((phase, Instant::now()));
        if let Some(doing) = self.doing {
            let at = Phase::ALL
                .iter()
                .position(|p| *p == phase)
                .map_or(0, |i| i + 1);
            doing.say(&format!(
                "proving, {at} of {}: {}",
                Phase::ALL.len(),
                phase.name()
            ));
        }
    }
}

/// How to prove.
#[derive(Debug, Clone)]
pub struct How {
    /// Security profile.
    pub profile: Profile,
    /// A proof that would take more bytes is refused before it starts.
    pub memory_limit: u64,
    /// What the proof lets be seen.
    pub mode: Mode,
    /// Where the mode hides the weights: the key to prove under.
    pub hiding: Option<Hiding>,
    /// Where the mode hides inputs and outputs: what each Statement's `io/v1` commitment is, in the order of the subjects.
    pub ties: Vec<Tie>,
}

/// Longest file of roots.
const MAX_ROOTS: u64 = 1 << 16;

/// A key that hides a model's weights. Whoever has one counts what is proven under it: [`crate::private_weights`].
#[derive(Debug, Clone)]
pub struct Hiding {
    /// The public part.
    pub key: ModelKey,
    /// What its commitments are made with.
    pub secret: WeightsSecret,
    /// Where their roots are kept, if they are.
    pub roots: Option<PathBuf>,
    /// How many proofs were begun under the key before the next one, the registration included.
    pub before: u32,
}

impl Hiding {
    /// Makes again the commitment that the next proof opens, and all of them if their roots were not kept.
    ///
    /// # Errors
    /// Another key comes of the secret and this model; the model's Program has none; it is used up.
    pub fn proving_key(&self, model: &Model) -> Result<ProvingKey, Failure> {
        let (program, weights) = (model.program(), &model.file.weights);
        let with = |roots: &HidingRoots| {
            ProvingKey::hiding(
                program,
                weights,
                &self.key,
                &self.secret,
                roots,
                self.before,
            )
        };
        // Whatever is wrong with roots that were kept, the secret is enough.
        if let Some(Ok(key)) = self.kept().as_ref().map(with) {
            return Ok(key);
        }
        let (key, roots) =
            HidingRoots::new(program, weights, self.key.profile, &self.secret).map_err(failure)?;
        if key != self.key {
            let message = format!(
                "another commitment comes of the secret of model key {} than that key's: the secret or the model is damaged; \
                 make a new key: carat model key MODEL --private --new",
                self.key.digest()
            );
            return Err(Failure::new(Exit::Store, message));
        }
        self.keep(&roots);
        with(&roots).map_err(failure)
    }

    fn kept(&self) -> Option<HidingRoots> {
        let bytes = files::read_capped(self.roots.as_ref()?, "roots", MAX_ROOTS).ok()?;
        HidingRoots::from_bytes(&bytes)
    }

    /// Keeps roots. They are worth some time and nothing else, so it does not matter if that fails.
    fn keep(&self, roots: &HidingRoots) {
        if let Some(path) = &self.roots {
            let _ = files::write_atomic(path, &roots.to_bytes(), files::Mode::Private);
        }
    }
}

/// What ties a proof to an input and an output that it does not show.
#[derive(Debug, Clone)]
pub struct Tie {
    /// The `io/v1` commitment of the Statement.
    pub root: Digest,
    /// What it was made from.
    pub seed: Seed,
}

impl How {
    /// A proof that hides nothing.
    #[must_use]
    pub fn succinct(profile: Profile, memory_limit: u64) -> Self {
        Self {
            profile,
            memory_limit,
            mode: Mode::Succinct,
            hiding: None,
            ties: Vec::new(),
        }
    }

    /// The soundness of such a proof.
    ///
    /// # Errors
    /// If the Program has none.
    pub fn ledger(&self, program: &Program, statements: usize) -> Result<Ledger, Failure> {
        Ledger::new(program, self.profile, self.mode, statements).map_err(failure)
    }
}

/// A Statement to prove.
pub struct Subject {
    /// Its receipt_id.
    pub statement: Digest,
    /// Its input.
    pub inputs: Vec<Tensor>,
    /// Its output, as committed to.
    pub outputs: Vec<Tensor>,
}

/// A proof over some Statements.
pub struct Proved {
    /// The evidence for each, in order.
    pub evidence: Vec<Evidence>,
    /// What it lets be seen.
    pub mode: Mode,
    /// The key that it verifies under.
    pub key: ModelKey,
    /// Its soundness.
    pub ledger: Ledger,
    /// Bytes of the proof.
    pub bytes: usize,
    /// Time for the commitment to the weights.
    pub setup: Duration,
    /// Time for runs and proof.
    pub proving: Duration,
    /// Time to verify it, which is done before anybody sees it.
    pub verifying: Duration,
    /// Time by phase.
    pub phases: Vec<(Phase, Duration)>,
    /// How many more proofs may be made under its key, where that hides the weights and somebody counts.
    pub left: Option<u32>,
}

impl Proved {
    /// For `--json`.
    pub fn json(&self) -> serde_json::Value {
        let phases: serde_json::Map<String, serde_json::Value> = self
            .phases
            .iter()
            .map(|(phase, time)| (phase.name().to_string(), millis(*time).into()))
            .collect();
        serde_json::json!({
            "protocol": PROTOCOL,
            "mode": self.mode.name(),
            "values_hidden": self.mode.hidden().values,
            "weights_hidden": self.mode.hidden().weights,
            "profile": self.ledger.profile.name(),
            "bits": self.ledger.bits as u64,
            "model_key": self.key.digest(),
            "left": self.left,
            "statements": self.evidence.len(),
            "proof_bytes": self.bytes,
            "setup_ms": millis(self.setup),
            "prove_ms": millis(self.proving),
            "verify_ms": millis(self.verifying),
            "phases": phases,
        })
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let mode = match self.mode {
            Mode::Succinct => "",
            Mode::Zk(Hidden { values, weights }) => match (values, weights) {
                (false, false) => ", in zero knowledge between input and output",
                (true, false) => ", in zero knowledge, input and output hidden",
                (false, true) => ", in zero knowledge between input and output, weights hidden",
                (true, true) => ", in zero knowledge, input, output and weights hidden",
            },
        };
        let left = match self.left {
            None => String::new(),
            Some(left) => format!("; {left} more may be made under its key"),
        };
        format!(
            "{:.1} KiB{mode}, {} bits ({}), made in {:.1} ms after {:.1} ms for the commitment to the weights, verified in {:.1} ms{left}",
            self.bytes as f64 / 1024.0,
            self.ledger.bits as u64,
            self.ledger.profile.name(),
            millis(self.proving),
            millis(self.setup),
            millis(self.verifying),
        )
    }
}

/// Milliseconds.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e9).round() / 1e6
}

/// Proves Statements about one model, in one proof, and verifies the proof before it is given out.
pub fn proof_of(
    model: &Model,
    subjects: &[Subject],
    how: &How,
    doing: &dyn Doing,
) -> Result<Proved, Failure> {
    fits(model, subjects.len(), how)?;
    doing.say("proving: committing to the weights");
    let started = Instant::now();
    let key = match &how.hiding {
        Some(hiding) => hiding.proving_key(model)?,
        None => {
            ProvingKey::new(model.program(), &model.file.weights, how.profile).map_err(failure)?
        }
    };
    let setup = started.elapsed();
    let executable = model.executable(0)?;
    let mut proved = proof_with(model, &key, &executable, subjects, how, doing)?;
    proved.setup = setup;
    Ok(proved)
}

/// Refuses before any work what cannot be proven, or not within the limit. Gives the proof's soundness.
pub fn fits(model: &Model, statements: usize, how: &How) -> Result<Ledger, Failure> {
    let ledger = how.ledger(model.program(), statements)?;
    within(model, statements, how.memory_limit)?;
    Ok(ledger)
}

/// Refuses what would take more memory than allowed.
fn within(model: &Model, statements: usize, allowed: u64) -> Result<(), Failure> {
    let needed = carat_zk::estimate_memory(model.program(), statements).map_err(failure)?;
    at_most(needed, allowed)
}

/// Refuses to register what would take more memory than allowed.
pub(crate) fn registered_within(model: &Model, allowed: u64) -> Result<(), Failure> {
    let needed = carat_zk::estimate_registration_memory(model.program()).map_err(failure)?;
    at_most(needed, allowed)
}

fn at_most(needed: u64, allowed: u64) -> Result<(), Failure> {
    if needed > allowed {
        return Err(failure(Error::Memory { needed, allowed }));
    }
    Ok(())
}

/// Runs a model on the inputs of some Statements, side by side: what a proof is made from, and each one's outputs.
pub fn run(
    executable: &Executable,
    inputs: &[&[Tensor]],
) -> Result<(Vec<Run>, Vec<Vec<Tensor>>), Failure> {
    let traces = executable
        .trace_batch(inputs)
        .map_err(model::exec_failure)?;
    let parts = traces.into_iter().map(|trace| {
        let run = Run {
            inputs: trace.inputs,
            nodes: trace.nodes,
        };
        (run, trace.outputs)
    });
    Ok(parts.unzip())
}

/// As [`proof_of`], with a key and an executable that are there already.
pub fn proof_with(
    model: &Model,
    key: &ProvingKey,
    executable: &Executable,
    subjects: &[Subject],
    how: &How,
    doing: &dyn Doing,
) -> Result<Proved, Failure> {
    let program = model.program();
    let ledger = fits(model, subjects.len(), how)?;
    if how.ties.len()
        != (if how.mode.hidden().values {
            subjects.len()
        } else {
            0
        })
    {
        let message = "a proof that hides values needs one io/v1 commitment for each receipt, and another proof none";
        return Err(Failure::new(Exit::Internal, message));
    }
    doing.say("proving: running the model");
    let started = Instant::now();
    let instances: Vec<Instance<'_>> = subjects
        .iter()
        .enumerate()
        .map(|(i, subject)| Instance {
            statement: subject.statement,
            values: Some(Values {
                inputs: &subject.inputs,
                outputs: &subject.outputs,
            }),
            io: how.ties.get(i).map(|tie| tie.root),
        })
        .collect();
    let clock = Clock::telling(doing);
    let seeds: Vec<Seed> = how.ties.iter().map(|tie| tie.seed.clone()).collect();
    let options = Options {
        memory_limit: how.memory_limit,
        mode: how.mode,
        seeds: &seeds,
        observer: Some(&clock),
    };
    let proof = carat_zk::on_pool(|| {
        let inputs: Vec<&[Tensor]> = subjects.iter().map(|s| &s.inputs[..]).collect();
        let (runs, outputs) = run(executable, &inputs)?;
        if let Some((subject, _)) = (subjects.iter().zip(&outputs)).find(|(s, y)| s.outputs != **y)
        {
            let message = format!(
                "this machine computes another answer than receipt {} says: the receipt is wrong, or this machine is; \
             nothing was proven",
                subject.statement
            );
            return Err(Failure::new(Exit::Mismatch, message));
        }
        prove(
            program,
            &model.file.weights,
            key,
            &instances,
            &runs,
            &options,
        )
        .map_err(failure)
    })?;
    let end = Instant::now();
    let phases = clock.phases(end);
    let proving = end - started;
    doing.say("verifying the proof");
    let started = Instant::now();
    carat_zk::verify(
        program,
        key.key(),
        how.profile,
        how.mode,
        &as_verified(&instances),
        &proof,
    )
    .map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("the proof that was made does not verify: {error}"),
        )
    })?;
    let verifying = started.elapsed();

    let label = |text: &str| Label::new(text).map_err(Failure::of(Exit::Internal));
    let body = ProofBody {
        protocol: label(PROTOCOL)?,
        mode: label(how.mode.name())?,
        hides: Hides {
            values: how.mode.hidden().values,
            weights: how.mode.hidden().weights,
        },
        profile: label(how.profile.name())?,
        weights_root: Digest::from_bytes(key.key().root.0),
        statements: subjects.iter().map(|subject| subject.statement).collect(),
        bits: ledger.bits as u64,
        proof: proof.bytes,
    };
    Ok(Proved {
        evidence: subjects
            .iter()
            .map(|subject| Evidence {
                statement: subject.statement,
                body: Body::Proof(body.clone()),
            })
            .collect(),
        mode: how.mode,
        key: *key.key(),
        bytes: body.proof.len(),
        ledger,
        setup: Duration::ZERO,
        proving,
        verifying,
        phases,
        left: None,
    })
}

/// The instances as somebody knows them who verifies the proof: without values where a commitment stands for them.
#[must_use]
pub fn as_verified<'a>(instances: &[Instance<'a>]) -> Vec<Instance<'a>> {
    let without = |instance: &Instance<'a>| Instance {
        values: instance.values.filter(|_| instance.io.is_none()),
        ..*instance
    };
    instances.iter().map(without).collect()
}

/// The ledger for programs.
pub fn ledger_json(ledger: &Ledger) -> serde_json::Value {
    let terms: Vec<serde_json::Value> = ledger
        .terms
        .iter()
        .map(|term| {
            serde_json::json!({
                "name": term.name,
                "bits": rounded(term.bits),
                "grinding_bits": term.grinding,
            })
        })
        .collect();
    // What the argument alone gives, before anybody must work for it.
    let without: f64 = ledger.terms.iter().map(|t| (-t.bits).exp2()).sum();
    serde_json::json!({
        "profile": ledger.profile.name(),
        "profile_bits": ledger.profile.bits(),
        "bits": rounded(ledger.bits),
        "bits_without_grinding": rounded(-without.log2()),
        "terms": terms,
    })
}

fn rounded(bits: f64) -> f64 {
    (bits * 100.0).floor() / 100.0
}

/// The keys that a receipt's proofs must be checked under, computed from the model's weights: one for each profile that a
/// proof of its evidence names.
pub fn keys_for(
    model: &Model,
    receipt: &ReceiptFile,
    tell: &dyn Tell,
) -> Result<Vec<ModelKey>, Failure> {
    let mut profiles: Vec<Profile> = Vec::new();
    for item in receipt.evidence() {
        let Body::Proof(proof) = &item.body else {
            continue;
        };
        let Ok(profile) = profile(proof.profile.as_str()) else {
            continue;
        };
        // A key that hides the weights is not compared with what comes of them.
        if proof.hides.weights {
            continue;
        }
        if proof.protocol.as_str() == PROTOCOL && !profiles.contains(&profile) {
            profiles.push(profile);
        }
    }
    // A model of another program says so in the appraisal.
    if model.digest != receipt.signed.statement().program {
        return Ok(Vec::new());
    }
    let _doing =
        (!profiles.is_empty()).then(|| tell.begin("committing to the weights".to_string()));
    profiles
        .into_iter()
        .map(|profile| {
            ProvingKey::new(model.program(), &model.file.weights, profile)
                .map(|key| *key.key())
                .map_err(failure)
        })
        .collect()
}
