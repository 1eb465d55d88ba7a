//! `carat bench mission`: what verification costs when it follows consequence, and what the alternatives cost and leave.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carat_node::mission::{self, Options, Report, Spent, Uncovered};
use carat_policy::simulate::values::Values;
use carat_policy::{Micros, Price};
use carat_receipt::{Amount, Currency};
use serde_json::json;

use super::{Context, Outcome, machine};
use crate::commands::parse;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::model::Model;
use crate::output::{Answer, Progress};
use crate::render::Table;

/// What takes part unless models are named, where it is there.
const SHIPPED: [&str; 2] = ["models/digits", "models/tumor"];

/// Serve many requests with heavy-tailed stakes on many models, buy what the planner says, and compare.
///
/// Plans with costs measured here, runs, signs, logs, proves and replays for real; auditors and the bond are stated. Proving
/// everything and uniform audits are extrapolated from what was measured, and say so.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat bench mission --json\n  carat bench mission --models 2000 --requests 20000 --window 2000 --seconds-limit 1800"
)]
pub(super) struct Args {
    /// How many models: the named ones, and generated small networks, each with weights of its own.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=mission::MAX_MODELS as u64))]
    models: u64,
    /// How many requests.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=mission::MAX_REQUESTS as u64))]
    requests: u64,
    /// How many requests make a window, after which a checkpoint is published, the draw is made and audits are resolved.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    window: u64,
    /// Seed of models, inputs and stakes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// After so many seconds no further request is taken.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds_limit: u64,
    /// What rides on the answers, in units of --unit: constant, lognormal:SIGMA or pareto:ALPHA.
    #[arg(long, default_value = "lognormal:3", value_parser = values)]
    stakes: (String, Values),
    /// The unit of the stakes.
    #[arg(long, value_name = "AMOUNT", default_value = "0.10USD", value_parser = parse::<Amount>)]
    unit: Amount,
    /// The bond that an audit which finds a wrong answer forfeits.
    #[arg(long, value_name = "AMOUNT", default_value = "1000USD", value_parser = parse::<Amount>)]
    bond: Amount,
    /// A compiled model or a folder that takes part, the most asked for first; may be repeated [default: models/digits and models/tumor where they are].
    #[arg(long = "model", value_name = "MODEL")]
    named: Vec<PathBuf>,
    /// Only generated models.
    #[arg(long, conflicts_with = "named")]
    only_generated: bool,
}

fn values(text: &str) -> Result<(String, Values), String> {
    let values = Values::parse(text).map_err(|error| error.to_string())?;
    Ok((text.to_string(), values))
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let named: Vec<PathBuf> = match (args.only_generated, args.named.is_empty()) {
        (true, _) => Vec::new(),
        (false, false) => args.named,
        (false, true) => SHIPPED
            .iter()
            .filter(|path| Path::new(path).is_dir())
            .take(args.models as usize)
            .map(PathBuf::from)
            .collect(),
    };
    let currency: Currency = args.bond.currency();
    if args.unit.currency() != currency || currency.as_str() != "USD" {
        let message = "state --unit and --bond in USD, the currency of the mission's policy";
        return Err(Failure::new(Exit::Usage, message));
    }
    let given = named
        .iter()
        .map(|path| Model::load(path, context))
        .collect::<Result<Vec<Model>, Failure>>()?;
    let home = context.home()?;
    home.make()?;
    let dir = home.path(&format!("bench-mission-{}", std::process::id()));
    let dir = files::ScratchDir::new(dir)?;
    let options = Options {
        models: args.models as usize,
        requests: args.requests as usize,
        window: args.window as usize,
        seed: args.seed,
        limit: Duration::from_secs(args.seconds_limit),
        stakes: args.stakes.1,
        stakes_name: args.stakes.0,
        unit: Micros::from(args.unit),
        bond: Micros::from(args.bond),
    };
    let progress = Progress::start("making models");
    let report = mission::run(&options, given, dir.path(), &progress);
    drop(progress);
    let report = report?;
    let (about, machine) = machine();
    let peak = peak_rss();
    let text = text(&report, &about, peak);
    let mut json = serde_json::to_value(&report).map_err(Failure::of(Exit::Internal))?;
    json["machine"] = machine;
    json["peak_rss_bytes"] = json!(peak);
    json["unit"] = json!(args.unit.to_string());
    json["named_models"] = json!(named);
    Ok((Answer { text, json }, Exit::Good))
}

/// The largest resident set of this process since its start, in bytes, where the system says it.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn seconds(micros: u64) -> String {
    let seconds = micros as f64 / 1e6;
    match seconds {
        s if s >= 100.0 => format!("{s:.0}"),
        s if s >= 1.0 => format!("{s:.1}"),
        s => format!("{s:.4}"),
    }
}

fn text(report: &Report, machine: &str, peak: Option<u64>) -> String {
    let currency = report.currency;
    let money = |micros: u64| Micros(micros).in_currency(currency).to_string();
    // Of a million answers: one costs too little to be read.
    let cost = |picos: u64| {
        let all = picos as f64 / Price::PICOS as f64;
        format!(
            "{:.4} {currency}",
            all * 1e6 / report.considered.max(1) as f64
        )
    };
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} of {} requests on {} of {} models, {} at stake ({}, the largest {}), seed {}",
        report.considered,
        report.requests,
        report.models_asked,
        report.models,
        money(report.at_stake_micros),
        report.stakes,
        money(report.largest_stake_micros),
        report.seed,
    );
    if report.stopped_early {
        out.push_str("The time was over before all requests were made (--seconds-limit).\n");
    }
    let _ = writeln!(
        out,
        "{machine}{}\n",
        peak.map(|bytes| format!(", at most {} MiB resident", bytes >> 20))
            .unwrap_or_default()
    );
    out.push_str(&strategies(report, money, cost));
    let _ = writeln!(
        out,
        "\nNot covered: cheating on the answer pays, or nothing rules it out, with a bond of {}; a proof covers up to {}.",
        money(report.bond_micros),
        money(report.proof_cap_micros)
    );
    out.push_str("\nWhat was bought\n");
    out.push_str(&rungs(report, cost));
    out.push_str("\nWhat was refused\n");
    if report.refused.is_empty() {
        out.push_str("  nothing\n");
    }
    for (reason, refused) in &report.refused {
        let _ = writeln!(
            out,
            "  {} requests, {} at stake: {reason}\n    such as {}",
            refused.requests,
            money(refused.value_micros),
            refused.example
        );
    }
    let over = &report.overhead;
    let each = |spent: Spent| spent.cpu_micros as f64 / report.receipts.max(1) as f64;
    let _ = writeln!(
        out,
        "\nBeside checking, for each of {} receipts: planning {:.0} µs, running {:.0} µs, signing {:.0} µs, log {:.0} µs, receipt file {:.0} µs",
        report.receipts,
        each(over.planning),
        each(over.running),
        each(over.signing),
        each(over.log),
        each(over.receipts),
    );
    let _ = writeln!(
        out,
        "{:.1} statements proven a second; {} s for {} shapes measured first, {} s for the requests",
        report.proven_per_second,
        seconds(report.calibration_wall_micros),
        report.calibrated.shapes,
        seconds(report.serving_wall_micros),
    );
    let _ = writeln!(
        out,
        "A CPU second is stated to cost {}. Auditors and the bond are stated: replays are made here, by this process.",
        Price(report.cpu_second_picos).show(currency)
    );
    out
}

fn strategies(
    report: &Report,
    money: impl Fn(u64) -> String,
    cost: impl Fn(u64) -> String,
) -> String {
    let mut table = Table::new(8);
    table.row([
        "way of checking",
        "CPU s",
        "a million cost",
        "not covered",
        "worth",
        "the largest",
        "not served",
        "its time is",
    ]);
    for strategy in &report.strategies {
        let Uncovered {
            answers,
            largest_micros,
            sum_micros,
        } = strategy.uncovered;
        table.row([
            strategy.name.clone(),
            seconds(strategy.cpu_micros),
            cost(strategy.cost_picos),
            answers.to_string(),
            money(sum_micros),
            money(largest_micros),
            strategy.not_served.to_string(),
            format!(
                "{}: {}",
                if strategy.measured {
                    "measured"
                } else {
                    "extrapolated"
                },
                strategy.basis
            ),
        ]);
    }
    table.render("")
}

fn rungs(report: &Report, cost: impl Fn(u64) -> String) -> String {
    let mut table = Table::new(6);
    table.row([
        "rung",
        "answers",
        "replays drawn",
        "proofs (statements)",
        "CPU s",
        "a million cost (expected)",
    ]);
    for (rung, bought) in &report.rungs {
        table.row([
            rung.clone(),
            bought.answers.to_string(),
            bought.replays.count.to_string(),
            format!("{} ({})", bought.proofs.count, bought.statements),
            seconds(bought.cpu_micros),
            format!(
                "{} ({})",
                cost(bought.cost_picos),
                cost(bought.expected_picos)
            ),
        ]);
    }
    table.render("  ")
}
