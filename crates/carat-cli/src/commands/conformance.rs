//! `carat conformance`: suites that others wrote.

use std::fmt::Write as _;
use std::path::PathBuf;

use carat_float::profile::Profile as FloatProfile;
use carat_float::{Bounds, Launch};
use carat_nn::conformance::{Outcome as Result_, SuiteReport, run_suite};
use clap::Subcommand;
use serde_json::json;

use super::Outcome;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::model::worker_failure;
use crate::output::{Answer, Progress};
use crate::render::Table;

/// Run a conformance suite that others wrote.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Run the ONNX backend node tests. Exit status 19 if one fails; a refusal is no failure.
    ///
    /// Each test folder holds model.onnx and test_data_set_0. Refusals are decided before the expected outputs are read.
    #[command(
        after_help = "Examples:\n  python tools/python/fetch_onnx_suite.py --version 1.17.0 --out target/onnx\n  carat conformance onnx --dir target/onnx/node\n  carat conformance onnx --dir target/onnx/node --json > conformance.json\n  carat conformance onnx --dir target/onnx/node --profile tract"
    )]
    Onnx {
        /// The folder that holds the test folders.
        #[arg(long)]
        dir: PathBuf,
        /// Test a float profile instead of integer programs: `tract`, or its whole name.
        #[arg(long, value_name = "PROFILE", value_parser = super::float_profile)]
        profile: Option<FloatProfile>,
        /// Print the reason of every refusal.
        #[arg(long)]
        reasons: bool,
    },
}

pub(super) fn run(args: Args) -> Outcome {
    let Suite::Onnx {
        dir,
        profile,
        reasons,
    } = args.suite;
    let progress = Progress::start("running the suite");
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::Other if dir.is_dir() => {
            Failure::new(Exit::Io, error)
        }
        _ => files::io_failure("reading", &dir, &error),
    };
    let say = |done: usize, all: usize| progress.say(format!("{done} of {all} tests"));
    let (report, float) = match &profile {
        None => (run_suite(&dir, say).map_err(failed)?, None),
        Some(profile) => {
            let launch = Launch::find(profile.name, Bounds::default()).map_err(worker_failure)?;
            let found = carat_float::conformance::run(&dir, &launch, say).map_err(failed)?;
            let more = json!({ "profile": profile.name, "bound": found.bound, "workers_replaced": found.replaced });
            (found.suite, Some(more))
        }
    };
    drop(progress);
    let mut json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    if let Some(more) = float {
        json["float"] = more;
    }
    let exit = if report.fail == 0 {
        Exit::Good
    } else {
        Exit::CheckFailed
    };
    let text = table(&report, reasons);
    Ok((Answer { text, json }, exit))
}

fn table(report: &SuiteReport, reasons: bool) -> String {
    let mut rows = Table::new(4);
    rows.row(["operator", "pass", "refused", "fail"]);
    for (operator, counts) in &report.by_operator {
        let count = |count: usize| count.to_string();
        rows.row([
            operator.clone(),
            count(counts.pass),
            count(counts.refused),
            count(counts.fail),
        ]);
    }
    let mut text = rows.render("");
    for test in &report.tests {
        match &test.outcome {
            Result_::Fail(reason) => {
                let _ = writeln!(text, "FAIL {}: {reason}", test.name);
            }
            Result_::Refused(reason) if reasons => {
                let _ = writeln!(text, "refused {}: {reason}", test.name);
            }
            _ => {}
        }
    }
    let total = report.pass + report.refused + report.fail;
    let _ = writeln!(
        text,
        "\n{total} tests: {} pass ({:.1}%), {} refused, {} fail",
        report.pass,
        100.0 * report.pass as f64 / total.max(1) as f64,
        report.refused,
        report.fail
    );
    text
}
