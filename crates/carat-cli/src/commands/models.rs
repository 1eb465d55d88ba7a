//! `carat model`: compile, inspect, measure.

mod compile;
mod inspect;
mod key;
mod registration;

use std::path::PathBuf;

use carat_nn::fidelity::{FidelityError, FidelityReport, measure};
use clap::Subcommand;

use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::model::{self, Model};
use crate::output::{Answer, Progress};
use crate::render::Table;

/// Compile, inspect and measure models.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(compile::Args),
    Inspect(inspect::Args),
    Key(key::Args),
    Fidelity(FidelityArgs),
}

/// Measure how close a compiled model is to its float source.
///
/// The folder holds held-out inputs (INPUT.npy), what ONNX Runtime gives for them (reference.npy) and, for classifiers, the
/// truth (labels.npy). With labels the bars are 99% top-1 agreement and an accuracy at most 0.5 points lower; exit status 19
/// if one is missed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat model fidelity models/digits --data models/digits/data\n  carat model fidelity digits.carat-model --data models/digits/data --json"
)]
struct FidelityArgs {
    /// A compiled model or a folder.
    model: PathBuf,
    /// The folder of inputs, reference outputs and labels.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::Compile(args) => compile::run(args),
        Command::Inspect(args) => inspect::run(args, context),
        Command::Key(args) => key::run(args, context),
        Command::Fidelity(args) => fidelity(args, context),
    }
}

/// The bars of the design, for classifiers.
const TOP1_BAR: f64 = 0.99;
const ACCURACY_DROP_BAR: f64 = 0.005;

fn fidelity(args: FidelityArgs, context: &Context) -> Outcome {
    let model = Model::load(&args.model, context)?;
    let progress = Progress::start(format!("measuring {}", model.name));
    let report = measure(&model.file, &args.data).map_err(|error| match error {
        FidelityError::Exec(error) => model::exec_failure(error),
        other => Failure::new(Exit::Input, other),
    })?;
    drop(progress);
    let missed = missed(&report);
    let mut text = format!(
        "{} {}, program {}\nagainst {} on {} held-out samples\n\n",
        model.name,
        model.version,
        model.digest,
        report
            .reference
            .as_deref()
            .unwrap_or("reference.npy (whose engine is not stated)"),
        report.samples
    );
    let percent = |share: f64| format!("{:.2}%", 100.0 * share);
    let mut rows = Table::new(2);
    rows.row(["top-1 agreement", &percent(report.top1_agreement)]);
    rows.row([
        "largest absolute error",
        &format!("{:.6}", report.max_abs_error),
    ]);
    rows.row([
        "mean absolute error",
        &format!("{:.6}", report.mean_abs_error),
    ]);
    rows.row(["smallest cosine", &format!("{:.6}", report.min_cosine)]);
    if let (Some(float), Some(integer)) = (report.float_accuracy, report.integer_accuracy) {
        rows.row(["accuracy, float", &percent(float)]);
        rows.row(["accuracy, integer", &percent(integer)]);
    }
    text.push_str(&rows.render("  "));
    if !report.disagreements.is_empty() {
        let list: Vec<String> = report
            .disagreements
            .iter()
            .map(ToString::to_string)
            .collect();
        text.push_str(&format!(
            "\nOther answers than the float model on samples {}\n",
            list.join(", ")
        ));
    }
    for bar in &missed {
        text.push_str(&format!("\nMISSED: {bar}\n"));
    }
    let mut json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    json["program_digest"] = serde_json::json!(model.digest);
    json["missed"] = serde_json::json!(missed);
    let exit = if missed.is_empty() {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    Ok((Answer { text, json }, exit))
}

fn missed(report: &FidelityReport) -> Vec<String> {
    let mut missed = Vec::new();
    let (Some(float), Some(integer)) = (report.float_accuracy, report.integer_accuracy) else {
        return missed;
    };
    if report.top1_agreement < TOP1_BAR {
        missed.push("top-1 agreement of 99%".to_string());
    }
    if float - integer > ACCURACY_DROP_BAR {
        missed.push("an accuracy at most 0.5 points below the float model's".to_string());
    }
    missed
}
