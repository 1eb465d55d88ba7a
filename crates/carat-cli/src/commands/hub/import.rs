//! `carat hub import`.

use std::path::PathBuf;

use carat_node::hub::import::{ImportReport, Options, import};
use carat_node::hub::worker::{Bounds, Launch};

use super::super::{Context, Outcome};
use super::{bytes, here};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Progress};
use crate::prover;
use crate::render::Table;

/// Import every distinct ONNX file below folders into the hub of the data directory.
///
/// Each becomes a version, whether or not it runs here: what cannot be compiled is kept with the reason. Models are examined
/// in processes of their own, with bounds on time and memory; a bad one costs its own examination and nothing else. What is
/// in the hub already is left alone, so that a second run goes on where a first one ended. Inputs in test_data_set_* beside a
/// model calibrate it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat hub import target/onnx/node --owner onnx --licence Apache-2.0\n  carat hub import models-of-others --owner imported --seconds 60 --memory 2GiB --json"
)]
pub(super) struct Args {
    /// Folders.
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Namespace of the models.
    #[arg(long, value_name = "NAME")]
    owner: String,
    /// Their licence, where it is known: an SPDX expression.
    #[arg(long, default_value = "")]
    licence: String,
    /// Seconds that examining one model may take.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Memory that examining one model may take.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = prover::size)]
    memory: u64,
    /// Processes that examine at the same time [default: one for each processor].
    #[arg(long)]
    workers: Option<usize>,
    /// Make no proofs: their cost is not measured.
    #[arg(long)]
    no_proofs: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        owner: args.owner,
        licence: args.licence,
        workers: args.workers.unwrap_or(processors).clamp(1, 256),
        proof_bytes: if args.no_proofs { 0 } else { args.memory },
        launch: Launch::own(Bounds {
            seconds: args.seconds.max(1),
            bytes: args.memory,
        })?,
    };
    let hub = here(context)?;
    let progress = Progress::bar("importing", 0);
    let report = import(&hub, &args.dirs, &options, &|done, all| {
        progress.at(done, all);
        true
    })?;
    drop(progress);
    let json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    let exit = if report.failures.is_empty() {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    let text = text(&report);
    Ok((Answer { text, json }, exit))
}

fn text(report: &ImportReport) -> String {
    let mut rows = Table::new(2);
    let mut row = |name: &str, value: String| rows.row([name, value.as_str()]);
    row("ONNX files found", report.found.to_string());
    row(
        "of these, the same bytes as another",
        report.duplicates.to_string(),
    );
    row("of these, in the hub already", report.known.to_string());
    row(
        "imported, distinct by digest",
        format!("{} ({})", report.imported, bytes(report.bytes)),
    );
    row("as versions of models", report.models.to_string());
    row("run here", report.runs.to_string());
    row(
        "of these, every step has a proof",
        report.provable.to_string(),
    );
    row("of these, proven and verified", report.proven.to_string());
    row(
        "kept, and refused for execution",
        report.refused.to_string(),
    );
    row("not imported", report.failures.len().to_string());
    row(
        "time",
        format!("{:.1} s with {} processes", report.seconds, report.workers),
    );
    let size = |peak: Option<u64>| peak.map_or("unknown".to_string(), bytes);
    row(
        "most memory",
        format!(
            "{}, and {} in a process that examined",
            size(report.peak_bytes),
            size(report.worker_peak_bytes)
        ),
    );
    let load = report
        .machine
        .load
        .map_or("unknown".to_string(), |load| load.to_string());
    row(
        "machine",
        format!(
            "{} x {}, load {load} at the start",
            report.machine.processors, report.machine.cpu
        ),
    );
    let mut text = rows.render("");
    if !report.refusals.is_empty() {
        let mut reasons: Vec<(&String, &usize)> = report.refusals.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        text.push_str("\nRefused for execution\n");
        for (reason, count) in reasons {
            text.push_str(&format!("  {count:>5}  {reason}\n"));
        }
    }
    for (path, reason) in &report.failures {
        text.push_str(&format!("NOT IMPORTED {}: {reason}\n", path.display()));
    }
    text
}
