//! `carat policy`: check a policy file, explain it, try it on past traffic.

use std::fmt::Write as _;
use std::path::PathBuf;

use carat_policy::decision::{Decided, Decision};
use carat_policy::policy_file::{DEFAULT_POLICY, Finding, Policy, PolicyError, Severity};
use carat_policy::{Micros, Price, explain};
use serde_json::json;

use super::{Context, Outcome, StoreKeys};
use crate::exit::{Exit, Failure};
use crate::output::Answer;
use crate::planning::{self, Past};
use crate::render::Table;
use crate::supply;

/// Check a policy file, explain it, try it on past traffic.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(CheckArgs),
    Explain(ExplainArgs),
    Backtest(BacktestArgs),
    Default(DefaultArgs),
}

/// Say what is wrong with a policy file, with line and column.
///
/// Exit status 0, or 1 where it has an error. Warnings (rules that never apply or never bind, values without bound, requests
/// that no rule speaks about, consequences that nothing covers) do not change the status.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat policy check policy.toml\n  carat policy check policy.toml --environment environment.toml"
)]
struct CheckArgs {
    /// The policy file.
    file: PathBuf,
    /// Also say which consequences nothing in this environment covers.
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
}

/// Say in sentences what a policy does with a request, or which facts it reads.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat policy explain policy.toml\n  carat policy explain policy.toml --facts facts.json"
)]
struct ExplainArgs {
    /// The policy file.
    file: PathBuf,
    /// The facts of a request, as JSON.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// What is supplied, instead of environment.toml in the data directory.
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
}

/// Decide past requests again under another policy and compare: exact, because a plan depends on its record alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat policy backtest new.toml\n  carat policy backtest new.toml --log ~/.local/share/carat/log --json"
)]
struct BacktestArgs {
    /// The policy to try.
    file: PathBuf,
    /// The log, or the data directory, whose past requests are decided again [default: your own].
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    #[command(flatten)]
    keys: StoreKeys,
}

/// Print the policy that ships, as a start for your own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat policy default > policy.toml")]
struct DefaultArgs {}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::Check(args) => check(args, context),
        Command::Explain(args) => explain_policy(args, context),
        Command::Backtest(args) => backtest(args, context),
        Command::Default(DefaultArgs {}) => {
            let json = json!({ "policy": DEFAULT_POLICY });
            Ok((
                Answer {
                    text: DEFAULT_POLICY.to_string(),
                    json,
                },
                Exit::Good,
            ))
        }
    }
}

fn check(args: CheckArgs, context: &Context) -> Outcome {
    let text = planning::read_policy(&args.file)?;
    let shown = args.file.display();
    let policy = match Policy::parse(&text) {
        Ok(policy) => policy,
        Err(PolicyError {
            line,
            column,
            message,
        }) => {
            let json = json!({
                "ok": false,
                "findings": [{ "severity": "error", "line": line, "column": column, "message": message }],
            });
            return Ok((
                Answer {
                    text: format!("{shown}: line {line}, column {column}: error: {message}\n"),
                    json,
                },
                Exit::Invalid,
            ));
        }
    };
    let home = context.home().ok();
    let own = home
        .as_ref()
        .map(|home| home.path("environment.toml"))
        .filter(|path| path.is_file());
    let environment = match args.environment.or(own) {
        Some(path) => Some(supply::environment(
            Some(&path),
            None,
            None,
            policy.currency,
        )?),
        None => None,
    };
    let findings = policy.check(environment.as_ref());
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let mut out = String::new();
    for finding in &findings {
        let _ = writeln!(out, "{shown}: {finding}");
    }
    let _ = writeln!(
        out,
        "{shown}: {}, {} warnings; mode {}, digest {}",
        if errors == 0 {
            "ok".to_string()
        } else {
            format!("{errors} errors")
        },
        findings.len() - errors,
        policy.mode.as_str(),
        policy.digest()
    );
    let json = json!({
        "ok": errors == 0,
        "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
        "digest": policy.digest(),
        "mode": policy.mode.as_str(),
    });
    Ok((
        Answer { text: out, json },
        if errors == 0 {
            Exit::Good
        } else {
            Exit::Invalid
        },
    ))
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    json!({ "severity": severity, "line": finding.line, "column": finding.column, "message": finding.message })
}

fn explain_policy(args: ExplainArgs, context: &Context) -> Outcome {
    let text = planning::read_policy(&args.file)?;
    let located =
        |error: PolicyError| Failure::new(Exit::Usage, format!("{}: {error}", args.file.display()));
    let policy = Policy::parse(&text).map_err(located)?;
    let mut out = String::new();
    let facts: Vec<(String, String)> = policy
        .facts()
        .map(|(fact, of)| (fact, of.to_string()))
        .collect();
    let Some(path) = &args.facts else {
        let _ = writeln!(
            out,
            "Currency {}, mode {}; tolerated expected loss {} for one request; at least {} of the answers that audits cover are audited.\n\nFacts that it reads",
            policy.currency,
            policy.mode.as_str(),
            explain::amount(policy.epsilon, policy.currency),
            policy.p_min
        );
        let mut rows = Table::new(2);
        for (fact, of) in &facts {
            rows.row([fact, of]);
        }
        out.push_str(&rows.render("  "));
        let json = json!({
            "currency": policy.currency,
            "mode": policy.mode.as_str(),
            "facts": facts.iter().map(|(fact, of)| json!({ "fact": fact, "type": of })).collect::<Vec<_>>(),
            "digest": policy.digest(),
        });
        return Ok((Answer { text: out, json }, Exit::Good));
    };
    let facts = planning::read_facts(path)?;
    let home = context.home().ok();
    let environment = supply::environment(
        args.environment.as_deref(),
        home.as_ref(),
        None,
        policy.currency,
    )?;
    let (decision, decided) = planning::decide(&text, &facts, &environment)?;
    for line in &decided.judged.because {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    for line in planning::text(&decided) {
        let _ = writeln!(out, "{line}");
    }
    Ok((
        Answer {
            text: out,
            json: planning::json(&decision, &decided),
        },
        Exit::Good,
    ))
}

/// Sums over past requests under one policy.
#[derive(Default)]
struct Totals {
    served: u64,
    refused: u64,
    unjudged: u64,
    proofs: u64,
    audited: f64,
    cost: u128,
    latency: u128,
    /// Value that the new policy sees at stake and the plans did not cover.
    uncovered: u128,
    worst: Micros,
}

impl Totals {
    fn add(&mut self, decided: Option<&Decided>, value: Micros) {
        let mut exposed = Micros::ZERO;
        match decided.map(|decided| &decided.plan) {
            None => self.unjudged += 1,
            Some(Err(_)) => self.refused += 1,
            Some(Ok(plan)) => {
                self.served += 1;
                self.proofs += u64::from(plan.rung.gives(carat_policy::plan::Level::DeferredZk));
                self.audited += plan.tau.probability().to_f64();
                self.cost += u128::from(plan.price.0);
                self.latency += u128::from(plan.latency_micros);
                exposed = value.minus(plan.good_for);
            }
        }
        self.uncovered += u128::from(exposed.0);
        self.worst = self.worst.max(exposed);
    }

    fn json(&self, currency: carat_receipt::Currency) -> serde_json::Value {
        let served = self.served.max(1);
        let price = |wide: u128| {
            Price(u64::try_from(wide).unwrap_or(u64::MAX))
                .show(currency)
                .to_string()
        };
        let money =
            |wide: u128| explain::amount(Micros(u64::try_from(wide).unwrap_or(u64::MAX)), currency);
        json!({
            "served": self.served,
            "refused": self.refused,
            "not_judged": self.unjudged,
            "cost": price(self.cost),
            "proof_rate": self.proofs as f64 / served as f64,
            "audit_rate": self.audited / served as f64,
            "mean_latency_micros": u64::try_from(self.latency / u128::from(served)).unwrap_or(u64::MAX),
            "uncovered_total": money(self.uncovered),
            "worst_case_loss": explain::amount(self.worst, currency),
        })
    }
}

fn backtest(args: BacktestArgs, context: &Context) -> Outcome {
    let text = planning::read_policy(&args.file)?;
    let policy = Policy::parse(&text)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", args.file.display())))?;
    let dir = match args.log {
        Some(dir) => dir,
        None => context.home()?.root().to_path_buf(),
    };
    let keys = args.keys.read()?;
    let past = planning::past(&dir)?
        .into_iter()
        .map(|past| past.opened(keys.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut before, mut after) = (Totals::default(), Totals::default());
    let mut changed = Vec::new();
    let mut not_replayed = 0_u64;
    for (at, record) in past.iter().enumerate() {
        let Some(decision) = record.decision() else {
            not_replayed += 1;
            continue;
        };
        let old = decision.make().ok();
        if !replayed(record, old.as_ref()) {
            not_replayed += 1;
            continue;
        }
        let new = Decision {
            policy: text.clone(),
            ..decision
        }
        .make()
        .ok();
        // What is at stake is what the policy on trial says; where it says nothing, what the old one said.
        let value = new
            .as_ref()
            .or(old.as_ref())
            .map_or(Micros::ZERO, |decided| decided.judged.consequence.value);
        before.add(old.as_ref(), value);
        after.add(new.as_ref(), value);
        let rung = |decided: &Option<Decided>| match decided.as_ref().map(|decided| &decided.plan) {
            None => "not judged".to_string(),
            Some(Err(_)) => "refused".to_string(),
            Some(Ok(plan)) => format!(
                "{} p={}",
                plan.rung.as_str(),
                explain::percent(plan.tau.probability())
            ),
        };
        let (was, is) = (rung(&old), rung(&new));
        if was != is {
            changed.push((at, record.receipt_id.clone(), was, is));
        }
    }
    let currency = policy.currency;
    let (old, new) = (before.json(currency), after.json(currency));
    let mut out = format!(
        "{} past requests decided again\n\n",
        past.len() as u64 - not_replayed
    );
    let mut rows = Table::new(3);
    rows.row(["", "before", "after"]);
    for name in [
        "served",
        "refused",
        "not_judged",
        "cost",
        "proof_rate",
        "audit_rate",
        "mean_latency_micros",
        "uncovered_total",
        "worst_case_loss",
    ] {
        let show = |value: &serde_json::Value| match &value[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        rows.row([name.replace('_', " "), show(&old), show(&new)]);
    }
    out.push_str(&rows.render(""));
    let _ = writeln!(out, "\n{} decisions change", changed.len());
    for (at, _, was, is) in changed.iter().take(20) {
        let _ = writeln!(out, "  request {}: {was} -> {is}", at + 1);
    }
    if not_replayed > 0 {
        let _ = writeln!(
            out,
            "\n{not_replayed} records were made by another planner or are damaged, and were left out"
        );
    }
    let json = json!({
        "requests": past.len(),
        "left_out": not_replayed,
        "before": old,
        "after": new,
        "changed": changed.iter().map(|(at, id, was, is)| json!({ "request": at, "receipt_id": id, "was": was, "is": is })).collect::<Vec<_>>(),
    });
    Ok((Answer { text: out, json }, Exit::Good))
}

/// Whether deciding again gives what was decided then.
fn replayed(record: &Past, decided: Option<&Decided>) -> bool {
    match (record.rung.as_deref(), decided.map(|decided| &decided.plan)) {
        (Some(rung), Some(Ok(plan))) => {
            rung == plan.rung.as_str() && record.tau == Some(plan.tau.0)
        }
        (None, Some(Err(_)) | None) => true,
        _ => false,
    }
}
