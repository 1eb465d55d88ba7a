//! `carat calibrate`: measure what things cost here.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::{Context, Outcome};
use crate::exit::Exit;
use crate::model::AnyModel;
use crate::output::{Answer, Progress};
use crate::supply;

/// Measure what running a model and proving it cost on this machine, for the planner.
///
/// Done by itself on a model's first run with a plan. A cost that was never measured here is no cost: the planner refuses
/// rather than guess.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat calibrate models/digits\n  carat calibrate models/digits --input examples/seven.png --json"
)]
pub(super) struct Args {
    /// The model.
    model: PathBuf,
    /// An input to measure with [default: zeros; the time does not depend on the values].
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = context.home()?;
    let model = AnyModel::load(&args.model, context)?;
    let inputs = match &args.input {
        Some(path) => model.program().read_input(path)?,
        None => model.program().zeros()?,
    };
    let progress = Progress::start(format!("measuring {}", model.name));
    let record = supply::calibrate(&home, &model, &inputs)?;
    let proof = match model.integer() {
        Ok(model) => supply::calibrate_proof(&home, model, inputs.integers()?, &progress)?,
        Err(_) => None,
    };
    drop(progress);
    let mut text = format!(
        "{} {}, program {}\n",
        model.name, model.version, model.digest
    );
    for record in [Some(&record), proof.as_ref()].into_iter().flatten() {
        let _ = writeln!(
            text,
            "{} on {}: mean {} µs CPU, median {} µs, 99th percentile {} µs, {} runs",
            record.method,
            record.backend,
            record.mean_cpu_micros,
            record.p50_micros,
            record.p99_micros,
            record.count
        );
    }
    if proof.is_none() {
        text.push_str(
            "prove: the prover does not take this model, so proofs of it are not supplied\n",
        );
    }
    let records: Vec<_> = [Some(record), proof].into_iter().flatten().collect();
    let json = json!({ "program_digest": model.digest, "records": records });
    Ok((Answer { text, json }, Exit::Good))
}
