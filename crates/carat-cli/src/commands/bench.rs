//! `carat bench`: measurements on this machine.

mod hub;
mod mission;
mod prove;
mod serve;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use carat_log::bench::{BenchError, BenchOptions, bench_appends};
use carat_nn::exec::bench::{Timing, time};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::log_failure;
use crate::model::{self, Model};
use crate::output::{Answer, Progress};
use crate::render::Table;

/// Measure on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Run(RunArgs),
    Log(LogArgs),
    Prove(prove::Args),
    Serve(serve::Args),
    Mission(mission::Args),
    Hub(hub::Args),
}

/// Time a model's runs, and ONNX Runtime's float runs of its source for comparison where that is installed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat bench run models/digits --json\n  carat bench run models/digits --python .venv/bin/python --onnx models/digits/digits.onnx"
)]
struct RunArgs {
    /// A compiled model or a folder.
    model: PathBuf,
    /// Batch sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    batch: Vec<usize>,
    /// Numbers of threads; 0 is one per processor.
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    threads: Vec<usize>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// A Python with `onnxruntime` and `numpy`, to time ONNX Runtime beside.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The ONNX file to time there [default: the one of the model's folder].
    #[arg(long, requires = "python")]
    onnx: Option<PathBuf>,
    /// The script that times it.
    #[arg(long, default_value = "tools/python/bench_onnxruntime.py", hide = true)]
    script: PathBuf,
}

/// Time durable appends to a new log.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat bench log --json\n  carat bench log --dir /srv/disk-to-measure/new-folder --threads 1 --batch 1 --entries 500"
)]
struct LogArgs {
    /// A new directory on the disk to measure; it is removed afterwards [default: in the data directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leaves to append.
    #[arg(long, default_value_t = 50_000)]
    entries: u64,
    /// Bytes of a leaf.
    #[arg(long, default_value_t = 40)]
    leaf_bytes: usize,
    /// Threads that append.
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// Leaves in each call.
    #[arg(long, default_value_t = 64)]
    batch: usize,
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("give 0.01 to 60 seconds".to_string()),
    }
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    match args.bench {
        Bench::Run(args) => bench_run(&args, context),
        Bench::Log(args) => bench_log(args, context),
        Bench::Prove(args) => prove::run(args, context),
        Bench::Serve(args) => serve::run(args, context),
        Bench::Mission(args) => mission::run(args, context),
        Bench::Hub(args) => hub::run(args, context),
    }
}

fn bench_run(args: &RunArgs, context: &Context) -> Outcome {
    let model = Model::load(&args.model, context)?;
    let onnx = match (&args.python, &args.onnx) {
        (None, _) => None,
        (Some(_), Some(onnx)) => Some(onnx.clone()),
        (Some(_), None) => Some(model::onnx_in(&args.model)?),
    };
    let progress = Progress::start(format!("measuring {}", model.name));
    let mut results = Vec::new();
    for &threads in &args.threads {
        let executable = model.executable(threads)?;
        for &batch in &args.batch {
            if batch == 0 {
                return Err(Failure::new(Exit::Usage, "a batch has at least one sample"));
            }
            progress.say(format!("{}, batch {batch}, {threads} threads", model.name));
            let timing = time(&executable, batch, Duration::from_secs_f64(args.seconds))
                .map_err(model::exec_failure)?;
            let theirs = match (&args.python, &onnx) {
                (Some(python), Some(onnx)) => Some(onnxruntime(
                    python,
                    &args.script,
                    onnx,
                    &timing,
                    args.seconds,
                )?),
                _ => None,
            };
            results.push((timing, theirs));
        }
    }
    drop(progress);
    let machine = machine();
    let mut rows = Table::new(6);
    rows.row([
        "batch",
        "threads",
        "median µs",
        "p99 µs",
        "µs/sample",
        "ONNX Runtime (float)",
    ]);
    let mut list = Vec::new();
    for (timing, theirs) in &results {
        let median = theirs
            .as_ref()
            .and_then(|theirs| theirs["median_us"].as_f64());
        let ratio = median.map(|median| timing.median_us / median);
        rows.row([
            timing.batch.to_string(),
            timing.threads.to_string(),
            format!("{:.2}", timing.median_us),
            format!("{:.2}", timing.p99_us),
            format!("{:.3}", timing.per_sample_us),
            match (median, ratio) {
                (Some(median), Some(ratio)) => {
                    format!("{median:.2} µs; ours takes {ratio:.2} times that")
                }
                _ => "not measured (--python)".to_string(),
            },
        ]);
        let mut entry = serde_json::to_value(timing).map_err(Failure::of(Exit::Internal))?;
        if let Some(theirs) = theirs {
            entry["onnxruntime"] = theirs.clone();
            entry["ratio"] = json!(ratio);
        }
        list.push(entry);
    }
    let instructions = results
        .first()
        .map_or("none", |(timing, _)| timing.instructions);
    let mut text = format!(
        "{} {}, program {}\n{}, {instructions}\n\n",
        model.name, model.version, model.digest, machine.0
    );
    text.push_str(&rows.render(""));
    let json = json!({
        "model": model.name,
        "program_digest": model.digest,
        "machine": machine.1,
        "results": list,
    });
    Ok((Answer { text, json }, Exit::Good))
}

/// Times ONNX Runtime in a process of its own.
fn onnxruntime(
    python: &Path,
    script: &Path,
    onnx: &Path,
    timing: &Timing,
    seconds: f64,
) -> Result<Value, Failure> {
    let output = Command::new(python)
        .arg(script)
        .arg(onnx)
        .args(["--batch", &timing.batch.to_string()])
        .args(["--threads", &timing.threads.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .output()
        .map_err(|error| files::io_failure("starting", python, &error))?;
    let failed = |why: &str| {
        let message = format!(
            "ONNX Runtime was not measured: {why}; check that {} has the packages onnxruntime and numpy",
            python.display()
        );
        Failure::new(Exit::Io, message)
    };
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            errors.trim().lines().last().unwrap_or("the script failed"),
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))
}

/// The folder that a benchmark writes to: the one asked for, or a new one in the data directory. It is removed afterwards, so
/// it must not exist.
fn scratch(
    asked: Option<PathBuf>,
    name: &str,
    context: &Context,
) -> Result<files::ScratchDir, Failure> {
    let dir = match asked {
        Some(dir) => dir,
        None => {
            let home = context.home()?;
            home.make()?;
            home.path(&format!("{name}-{}", std::process::id()))
        }
    };
    if dir.exists() {
        let message = format!(
            "{} exists; give a new directory, which is removed afterwards",
            dir.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    files::ScratchDir::new(dir)
}

fn bench_log(args: LogArgs, context: &Context) -> Outcome {
    let dir = scratch(args.dir, "bench-log", context)?;
    let options = BenchOptions {
        entries: args.entries,
        leaf_bytes: args.leaf_bytes,
        threads: args.threads,
        batch: args.batch,
        ..BenchOptions::default()
    };
    let progress = Progress::start("appending");
    let report = bench_appends(dir.path(), &options);
    drop(progress);
    let report = report.map_err(|error| match error {
        BenchError::Store(error) => log_failure(error),
        other => Failure::new(Exit::Usage, other),
    })?;
    let machine = machine();
    let mut text = format!("{}\n", machine.0);
    let _ = writeln!(
        text,
        "{:.0} durable appends per second: {} leaves of {} bytes, {} threads, {} leaves a call, {} syncs",
        report.appends_per_second,
        report.entries,
        report.leaf_bytes,
        report.threads,
        report.batch,
        report.syncs
    );
    let _ = writeln!(
        text,
        "One call: median {:.0} µs, 99th percentile {:.0} µs. With their checkpoints: {:.0} per second.",
        report.call_p50_us, report.call_p99_us, report.published_per_second
    );
    let mut json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    json["machine"] = machine.1;
    Ok((Answer { text, json }, Exit::Good))
}

/// What the figures were measured on.
fn machine() -> (String, Value) {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches(['\t', ' ', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = format!(
        "{cpu}, {cores} processors, {} {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let json = json!({
        "cpu": cpu,
        "processors": cores,
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "version": env!("CARGO_PKG_VERSION"),
    });
    (text, json)
}
