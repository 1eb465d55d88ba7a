//! `carat bench prove`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use carat_program::{Program, Tensor};
use carat_receipt::Salt;
use carat_zk::io::Seed;
use carat_zk::{
    HidingRoots, Instance, ModelKey, Options, Phase, Profile, ProvingKey, WeightsSecret, prove,
    register, verify, verify_registration,
};
use serde_json::{Value, json};

use super::super::{Context, Outcome};
use super::machine;
use crate::exit::{Exit, Failure};
use crate::model::{self, Model};
use crate::output::{Answer, Progress};
use crate::prover::{self, Clock, How, ModeName, Private};
use crate::render::Table;

/// Models that are measured unless others are named, and where each comes from.
const SHAPES: [&str; 5] = ["mlp-784", "lenet5", "cnn-264k", "dense-4m", "vgg16-cifar"];
const SHIPPED: [&str; 2] = ["tumor", "digits"];
/// Fewest measured proofs, the cold one apart.
const MIN_RUNS: u64 = 5;

/// Time proofs of models: from the run to the serialised proof, and its verification.
///
/// Each row is measured in a process of its own, so that its peak memory is its own. The first proof of a process is given
/// as `cold`; the other figures are medians over at least five more, with the least and the largest. Inputs are random
/// within the program's range: the time of a proof does not depend on them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat bench prove --json\n  carat bench prove --model lenet5 --model digits.carat-model --threads 1,2\n  carat bench prove --model mlp-784 --batch 1,8,64\n  carat bench prove --model lenet5 --mode zk --private input"
)]
pub(super) struct Args {
    /// A compiled model, a folder, or a name: digits, tumor, mlp-784, lenet5, cnn-264k, dense-4m, vgg16-cifar [default: all
    /// of the names that are there].
    #[arg(long, value_name = "NAME|PATH")]
    model: Vec<String>,
    /// Numbers of threads; 0 is one per processor.
    #[arg(long, value_delimiter = ',', default_values_t = [0])]
    threads: Vec<usize>,
    /// What the proof lets be seen.
    #[arg(long, value_enum, default_value = "succinct")]
    mode: ModeName,
    /// With --mode zk, what the proof hides besides what lies between input and output, separated by commas.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    private: Vec<Private>,
    /// Statements in one proof.
    #[arg(long, value_delimiter = ',', default_values_t = [1], value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: Vec<u64>,
    /// Security profile: proven-100 or proven-120.
    #[arg(long, value_name = "PROFILE", default_value = "proven-100", value_parser = prover::profile)]
    profile: Profile,
    /// Measured proofs.
    #[arg(long, default_value_t = MIN_RUNS, value_parser = clap::value_parser!(u64).range(MIN_RUNS..=1000))]
    runs: u64,
    /// Where `models/bench/make.py` put the shapes.
    #[arg(long, value_name = "DIR", default_value = "target/bench-models")]
    models_dir: PathBuf,
    /// Measure this compiled model in this process.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    if let Some(path) = &args.child {
        let json = measure(path, &args)?;
        let text = json.to_string();
        return Ok((Answer { text, json }, Exit::Good));
    }
    let _ = args.how()?;
    let (models, missing) = find(&args, context)?;
    let progress = Progress::start("measuring");
    let mut rows = Vec::new();
    for (name, path) in &models {
        for &batch in &args.batch {
            for &threads in &args.threads {
                progress.say(format!(
                    "{name}, {batch} in a proof, {}",
                    threads_text(threads)
                ));
                let mut row = child(path, batch, threads, &args)?;
                row["name"] = json!(name);
                rows.push(row);
            }
        }
    }
    drop(progress);
    Ok(report(&args, rows, &missing))
}

impl Args {
    fn how(&self) -> Result<How, Failure> {
        // Memory is measured here, not limited.
        Ok(How {
            mode: prover::mode(self.mode, &self.private)?,
            ..How::succinct(self.profile, Options::default().memory_limit)
        })
    }
}

/// A value of the command line, as it was written.
fn name(value: &impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_string())
}

fn threads_text(threads: usize) -> String {
    match threads {
        0 => "one thread per processor".into(),
        1 => "1 thread".into(),
        n => format!("{n} threads"),
    }
}

/// Names and compiled files; and the names that are not there.
type Found = (Vec<(String, PathBuf)>, Vec<String>);

fn find(args: &Args, context: &Context) -> Result<Found, Failure> {
    let all: Vec<String>;
    let asked: &[String] = if args.model.is_empty() {
        all = SHIPPED
            .iter()
            .chain(&SHAPES)
            .map(ToString::to_string)
            .collect();
        &all
    } else {
        &args.model
    };
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in asked {
        match place(name, &args.models_dir) {
            // Compiled here where needed, so that the measured process only reads.
            Some(path) => {
                let name = Path::new(name)
                    .file_stem()
                    .map_or(name.clone(), |stem| stem.to_string_lossy().into_owned());
                found.push((name, Model::load(&path, context)?.path));
            }
            None => missing.push(name.clone()),
        }
    }
    if found.is_empty() || (!args.model.is_empty() && !missing.is_empty()) {
        let message = format!(
            "not found: {}; the shapes are made by `python models/bench/make.py` in the repository, and looked for in {}",
            missing.join(", "),
            args.models_dir.display()
        );
        return Err(Failure::new(Exit::Io, message));
    }
    Ok((found, missing))
}

fn place(name: &str, dir: &Path) -> Option<PathBuf> {
    let places = if SHAPES.contains(&name) {
        vec![
            dir.join(format!("{name}.{}", model::EXTENSION)),
            dir.join(name),
        ]
    } else if SHIPPED.contains(&name) {
        vec![
            dir.join(format!("{name}.{}", model::EXTENSION)),
            Path::new("models").join(name),
        ]
    } else {
        vec![PathBuf::from(name)]
    };
    places.into_iter().find(|path| path.exists())
}

/// Measures in a process of its own.
fn child(path: &Path, batch: u64, threads: usize, args: &Args) -> Result<Value, Failure> {
    let exe = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Io, format!("finding this program: {error}")))?;
    let output = Command::new(exe)
        .args(["--json", "bench", "prove", "--child"])
        .arg(path)
        .args(["--batch", &batch.to_string()])
        .args(["--threads", &threads.to_string()])
        .args(["--runs", &args.runs.to_string()])
        .args(["--profile", args.profile.name()])
        .args(["--mode", &name(&args.mode)])
        .args(
            args.private
                .iter()
                .flat_map(|what| ["--private".to_string(), name(what)]),
        )
        .env("RAYON_NUM_THREADS", threads.to_string())
        .output()
        .map_err(|error| Failure::new(Exit::Io, format!("starting a measurement: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.trim().trim_start_matches("carat: ").to_string();
        let code = output
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok());
        return Err(Failure::new(
            code.map_or(Exit::Internal, Exit::from_verdict),
            format!("{}: {why}", path.display()),
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(Failure::of(Exit::Internal))
}

/// Times in the order in which they were taken.
struct Times(Vec<Duration>);

impl Times {
    fn sorted(&self) -> Vec<Duration> {
        let mut times = self.0.clone();
        times.sort_unstable();
        times
    }

    fn median(&self) -> f64 {
        let times = self.sorted();
        let middle = times.len() / 2;
        if times.len() % 2 == 1 {
            prover::millis(times[middle])
        } else {
            (prover::millis(times[middle - 1]) + prover::millis(times[middle])) / 2.0
        }
    }

    fn range(&self) -> [f64; 2] {
        let times = self.sorted();
        [
            prover::millis(times[0]),
            prover::millis(times[times.len() - 1]),
        ]
    }
}

/// What is proven of runs without a Statement.
fn of_values<'a>(inputs: &'a [Vec<Tensor>], outputs: &'a [Vec<Tensor>]) -> Vec<Instance<'a>> {
    let both = inputs.iter().zip(outputs);
    both.map(|(x, y)| Instance::of_values(x, y)).collect()
}

fn measure(path: &Path, args: &Args) -> Result<Value, Failure> {
    let threads = args.threads.first().copied().unwrap_or(0);
    let statements = args.batch.first().copied().unwrap_or(1) as usize;
    let model = Model::read(path)?;
    let (program, weights) = (model.program(), &model.file.weights);
    let how = args.how()?;
    let ledger = how.ledger(program, statements)?;
    let estimate = carat_zk::estimate_memory(program, statements).map_err(prover::failure)?;
    let executable = model.executable(threads)?;
    let inputs: Vec<Vec<Tensor>> = (0..statements)
        .map(|i| random_inputs(program, i as u64))
        .collect::<Result<_, _>>()?;
    let each: Vec<&[Tensor]> = inputs.iter().map(Vec::as_slice).collect();

    let mut infer = Times(Vec::new());
    for _ in 0..2 * args.runs + 1 {
        let started = Instant::now();
        let _ = executable.run(&inputs[0]).map_err(model::exec_failure)?;
        infer.0.push(started.elapsed());
    }
    infer.0.remove(0);

    let keys = Keys::new(program, weights, &how)?;
    let (mut key, setup) = keys.next(0)?;
    let registration = registered(&model, &key)?;

    let (mut proving, mut verifying) = (Times(Vec::new()), Times(Vec::new()));
    let mut phases: BTreeMap<Phase, Times> = BTreeMap::new();
    let (mut cold, mut bytes) = (None, 0);
    for i in 0..=args.runs {
        if key.hides() {
            key = keys.next(i as u32 + 1)?.0;
        }
        let clock = Clock::default();
        let started = Instant::now();
        let (edges, roots, proof, aside, end) = carat_zk::on_pool(|| -> Result<_, Failure> {
            let (runs, edges) = prover::run(&executable, &each)?;
            let ran = Instant::now();
            let mut instances = of_values(&inputs, &edges);
            let seeds = commit(program, &how, &mut instances)?;
            let options = Options {
                observer: Some(&clock),
                mode: how.mode,
                seeds: &seeds,
                memory_limit: how.memory_limit,
            };
            let began = Instant::now();
            let proof = prove(program, weights, &key, &instances, &runs, &options);
            let proof = proof.map_err(prover::failure)?;
            let end = Instant::now();
            let roots: Vec<_> = instances.iter().map(|instance| instance.io).collect();
            Ok((edges, roots, proof, began - ran, end))
        })?;
        // The digests of values without a Statement, and the commitment that a receipt has already, are no part of a proof.
        let time = end - started - aside;
        let mut instances = of_values(&inputs, &edges);
        for (instance, root) in instances.iter_mut().zip(roots) {
            instance.io = root;
        }
        let known = prover::as_verified(&instances);
        let started = Instant::now();
        verify(program, key.key(), args.profile, how.mode, &known, &proof)
            .map_err(prover::failure)?;
        verifying.0.push(started.elapsed());
        bytes = proof.bytes.len();
        if i == 0 {
            cold = Some((time, verifying.0.remove(0)));
            continue;
        }
        proving.0.push(time);
        for (phase, time) in clock.phases(end) {
            phases
                .entry(phase)
                .or_insert_with(|| Times(Vec::new()))
                .0
                .push(time);
        }
    }
    let (cold_prove, cold_verify) = cold.unwrap_or_default();
    let phases: serde_json::Map<String, Value> = phases
        .iter()
        .map(|(phase, times)| (phase.name().to_string(), json!(times.median())))
        .collect();
    let prove_ms = proving.median();
    let infer_ms = infer.median();
    let parameters: usize = program.constants.iter().map(|c| c.shape.elements()).sum();
    Ok(json!({
        "path": path,
        "program_digest": model.digest,
        "parameters": parameters,
        "statements": statements,
        "threads": if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads },
        "mode": how.mode.name(),
        "profile": args.profile.name(),
        "bits": ledger.bits as u64,
        "values_hidden": how.mode.hidden().values,
        "weights_hidden": how.mode.hidden().weights,
        "infer_ms": infer_ms,
        "infer_ms_range": infer.range(),
        "setup_ms": prover::millis(setup),
        "key_ms": keys.hiding.as_ref().map(|hiding| prover::millis(hiding.time)),
        "registration_ms": registration.map(|(time, _)| prover::millis(time)),
        "registration_bytes": registration.map(|(_, bytes)| bytes),
        "prove_ms": prove_ms,
        "prove_ms_range": proving.range(),
        "prove_cold_ms": prover::millis(cold_prove),
        "verify_ms": verifying.median(),
        "verify_ms_range": verifying.range(),
        "verify_cold_ms": prover::millis(cold_verify),
        "proof_bytes": bytes,
        "peak_rss_bytes": peak_rss(),
        "estimated_bytes": estimate,
        "runs": args.runs,
        "phases": phases,
        "per_receipt_ms": prove_ms / statements as f64,
        "proofs_per_second": statements as f64 * 1000.0 / prove_ms,
        "prove_over_infer": prove_ms / (infer_ms * statements as f64),
    }))
}

/// Makes what each proof is made under.
struct Keys<'a> {
    program: &'a Program,
    weights: &'a carat_program::Weights,
    profile: Profile,
    /// Where the weights are hidden.
    hiding: Option<HidingKey>,
}

/// A key that hides the weights.
struct HidingKey {
    key: ModelKey,
    secret: WeightsSecret,
    roots: HidingRoots,
    /// How long it took to make.
    time: Duration,
}

impl<'a> Keys<'a> {
    fn new(
        program: &'a Program,
        weights: &'a carat_program::Weights,
        how: &How,
    ) -> Result<Self, Failure> {
        let make = || {
            // Nobody gets to see a proof from here, so nothing is counted, and the secret is thrown away.
            let secret = WeightsSecret::fresh()?;
            let started = Instant::now();
            let (key, roots) = HidingRoots::new(program, weights, how.profile, &secret)?;
            Ok(HidingKey {
                key,
                secret,
                roots,
                time: started.elapsed(),
            })
        };
        let hiding = how.mode.hidden().weights.then(make).transpose();
        Ok(Self {
            program,
            weights,
            profile: how.profile,
            hiding: hiding.map_err(prover::failure)?,
        })
    }

    /// The key for a proof, and how long the commitment takes that it opens.
    fn next(&self, before: u32) -> Result<(ProvingKey, Duration), Failure> {
        let started = Instant::now();
        let key = match &self.hiding {
            None => ProvingKey::new(self.program, self.weights, self.profile),
            Some(HidingKey {
                key, secret, roots, ..
            }) => ProvingKey::hiding(self.program, self.weights, key, secret, roots, before),
        };
        Ok((key.map_err(prover::failure)?, started.elapsed()))
    }
}

/// How long the registration of a key that hides the weights takes, once for the key, and its bytes.
fn registered(model: &Model, key: &ProvingKey) -> Result<Option<(Duration, usize)>, Failure> {
    if !key.hides() {
        return Ok(None);
    }
    let (program, weights) = (model.program(), &model.file.weights);
    let started = Instant::now();
    let proof = register(program, weights, key, &Options::default()).map_err(prover::failure)?;
    let time = started.elapsed();
    verify_registration(program, key.key(), &proof).map_err(prover::failure)?;
    Ok(Some((time, proof.bytes.len())))
}

/// Commits to the values of each instance, where the mode hides them.
fn commit(
    program: &Program,
    how: &How,
    instances: &mut [Instance<'_>],
) -> Result<Vec<Seed>, Failure> {
    if !how.mode.hidden().values {
        return Ok(Vec::new());
    }
    let salt = || Salt::generate().map_err(Failure::of(Exit::Io));
    let mut seeds = Vec::with_capacity(instances.len());
    for instance in instances {
        let seed = Seed::from_salts(&salt()?, &salt()?);
        let values = instance.values.as_ref();
        instance.io = values
            .map(|values| carat_zk::io::commit(program, values, &seed))
            .transpose()
            .map_err(prover::failure)?;
        seeds.push(seed);
    }
    Ok(seeds)
}

/// What the proofs of a report hide of input, output and weights.
fn hidden_text(private: &[Private]) -> &'static str {
    match (
        private.contains(&Private::Input),
        private.contains(&Private::Weights),
    ) {
        (false, false) => "weights committed, not hidden",
        (true, false) => "input and output hidden, weights committed, not hidden",
        (false, true) => "weights hidden",
        (true, true) => "input, output and weights hidden",
    }
}

/// Seeded numbers within the ranges of the inputs.
fn random_inputs(program: &Program, seed: u64) -> Result<Vec<Tensor>, Failure> {
    let mut state = seed.wrapping_add(1);
    let mut next = move || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    program
        .inputs
        .iter()
        .map(|input| {
            let span = (input.range.hi - input.range.lo) as u64 + 1;
            let data = (0..input.shape.elements())
                .map(|_| (input.range.lo + (next() % span) as i64) as i32)
                .collect();
            Tensor::new(input.shape.clone(), data).map_err(Failure::of(Exit::Internal))
        })
        .collect()
}

/// The most memory that this process has held; `null` where the system does not say.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The widest vector instructions that this build uses for field arithmetic.
fn simd() -> &'static str {
    if cfg!(target_feature = "avx512f") {
        "avx512f"
    } else if cfg!(target_feature = "avx2") {
        "avx2"
    } else if cfg!(target_feature = "neon") {
        "neon"
    } else {
        "none"
    }
}

/// How many times faster the same work is with more threads than with the fewest measured.
fn speedup(rows: &[Value], row: &Value) -> Option<f64> {
    let same =
        |other: &&Value| other["path"] == row["path"] && other["statements"] == row["statements"];
    let least = rows
        .iter()
        .filter(same)
        .min_by_key(|other| other["threads"].as_u64())?;
    let ratio = least["prove_ms"].as_f64()? / row["prove_ms"].as_f64()?;
    (least["threads"] != row["threads"]).then_some(ratio)
}

fn report(args: &Args, mut rows: Vec<Value>, missing: &[String]) -> (Answer, Exit) {
    let speedups: Vec<Option<f64>> = rows.iter().map(|row| speedup(&rows, row)).collect();
    for (row, speedup) in rows.iter_mut().zip(&speedups) {
        row["speedup"] = json!(speedup);
    }
    let machine = machine();
    let mut text = format!("{}; this build uses {}\n\n", machine.0, simd());
    let mut table = Table::new(12);
    table.row([
        "model",
        "parameters",
        "statements",
        "threads",
        "run ms",
        "prove ms",
        "(least-most)",
        "cold ms",
        "verify ms",
        "KiB",
        "peak MiB",
        "set-up ms",
    ]);
    let number = |row: &Value, name: &str, digits: usize| {
        row[name]
            .as_f64()
            .map_or("?".into(), |v| format!("{v:.digits$}"))
    };
    for (row, speedup) in rows.iter().zip(&speedups) {
        let range = |i: usize| row["prove_ms_range"][i].as_f64().unwrap_or_default();
        let mebi = row["peak_rss_bytes"]
            .as_f64()
            .map_or("?".into(), |v| format!("{:.0}", v / f64::from(1 << 20)));
        let faster = speedup.map_or(String::new(), |s| format!(" x{s:.2}"));
        table.row([
            row["name"].as_str().unwrap_or_default().to_string(),
            row["parameters"].to_string(),
            row["statements"].to_string(),
            format!("{}{faster}", row["threads"]),
            number(row, "infer_ms", 3),
            number(row, "prove_ms", 2),
            format!("({:.2}-{:.2})", range(0), range(1)),
            number(row, "prove_cold_ms", 2),
            number(row, "verify_ms", 2),
            format!(
                "{:.1}",
                row["proof_bytes"].as_f64().unwrap_or_default() / 1024.0
            ),
            mebi,
            number(row, "setup_ms", 1),
        ]);
    }
    text.push_str(&table.render(""));
    let _ = writeln!(
        text,
        "\nprove ms: from the run to the serialised proof of all its statements; medians of {} proofs after a cold one; mode {}, \
         {}; {} bits or more by proven bounds",
        args.runs,
        name(&args.mode),
        hidden_text(&args.private),
        args.profile.bits()
    );
    if args.batch.len() > 1 || args.batch.first().is_some_and(|&b| b > 1) {
        text.push('\n');
        for row in &rows {
            let _ = writeln!(
                text,
                "{}, {} in a proof: {:.2} ms and {:.1} KiB for each receipt, {:.0} receipts per second",
                row["name"].as_str().unwrap_or_default(),
                row["statements"],
                row["per_receipt_ms"].as_f64().unwrap_or_default(),
                row["proof_bytes"].as_f64().unwrap_or_default()
                    / 1024.0
                    / row["statements"].as_f64().unwrap_or(1.0),
                row["proofs_per_second"].as_f64().unwrap_or_default(),
            );
        }
    }
    if !missing.is_empty() {
        let _ = writeln!(
            text,
            "\nNot there: {}. Make them: python models/bench/make.py",
            missing.join(", ")
        );
    }
    let json = json!({
        "machine": machine.1,
        "simd": simd(),
        "missing": missing,
        "rows": rows,
    });
    (Answer { text, json }, Exit::Good)
}
