//! `carat stats`: what a data directory holds, counted kind by kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use carat_node::census::{self, Census, Decisions};
use carat_node::client::Client;
use carat_node::store::Tally;
use serde::Serialize;
use serde_json::{Value, json};

use super::audit::{self, Finding};
use super::upgrade::api_key;
use super::{Context, Outcome, StoreKeys};
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::output::Answer;
use crate::render::Table;

/// Count what a data directory holds: inferences, replays, attestations, proofs, upgrades, audits, refusals, spending.
///
/// They are different things and are not added up. Inferences, evidence and jobs are those of a server's store; log entries,
/// decisions and audits are there without a server too. The store belongs to one process: while the server runs, ask it with
/// --url and an API key that has the scope admin. Audits are counted where their records are, so not over --url.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat stats\n  carat stats --data-dir /var/lib/carat --json\n  carat stats --url http://127.0.0.1:8321 --api-key-file admin.txt"
)]
pub(super) struct Args {
    /// Count what the command line left, also where a server has its folder `node` in the data directory.
    #[arg(long)]
    local: bool,
    /// Ask the server that runs there: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, alias = "server", value_name = "URL", conflicts_with = "local")]
    url: Option<String>,
    /// A file with the API key [default: the variable CARAT_API_KEY].
    #[arg(long, value_name = "FILE", requires = "url")]
    api_key_file: Option<PathBuf>,
    /// Authorities that may have issued the server's certificate, in PEM [default: those that this system trusts].
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: StoreKeys,
}

/// Audits that were drawn here, by what they found.
#[derive(Debug, Default, Serialize)]
struct Audits {
    draws: u64,
    drawn: u64,
    clean: u64,
    wrong: u64,
    unanswered: u64,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    if let Some(url) = &args.url {
        return ask(url, &args);
    }
    let mut home = context.home()?;
    let node = carat_node::node::home_of(&home);
    if !args.local && node.path("store").is_dir() {
        home = node;
    }
    if !home.root().is_dir() {
        let message = format!(
            "there is no data directory {}; give --data-dir DIR, or run something first",
            home.root().display()
        );
        return Err(Failure::new(Exit::Io, message));
    }
    let census = census::take(&home, args.keys.options()?)?;
    let audits = audits(&home)?;
    let mut text = text(&census, Some(&audits));
    text.insert_str(0, &format!("{}\n\n", home.root().display()));
    let mut json = serde_json::to_value(&census).map_err(Failure::of(Exit::Internal))?;
    json["data_dir"] = json!(home.root());
    json["audits"] = json!(audits);
    Ok((Answer { text, json }, Exit::Good))
}

/// Asks a server that runs.
fn ask(url: &str, args: &Args) -> Outcome {
    let client = Client::new(
        url,
        api_key(args.api_key_file.as_deref())?,
        args.ca.as_deref(),
    )?;
    let mut json = client.get("/v1/admin/stats")?.good()?.json()?;
    let census: Census = serde_json::from_value(json.clone()).map_err(|error| {
        Failure::new(
            Exit::Io,
            format!("the server's answer is of another version: {error}"),
        )
    })?;
    let mut text = text(&census, None);
    text.insert_str(0, &format!("{url}\n\n"));
    json["url"] = json!(url);
    Ok((Answer { text, json }, Exit::Good))
}

fn audits(home: &Home) -> Result<Audits, Failure> {
    let mut found = Audits::default();
    if !home.has_log() {
        return Ok(found);
    }
    for record in audit::Place::local().read(home)?.records.all {
        found.draws += 1;
        for audited in record.audited {
            found.drawn += 1;
            match audited.finding {
                Finding::Clean => found.clean += 1,
                Finding::Wrong => found.wrong += 1,
                Finding::Unanswered => found.unanswered += 1,
            }
        }
    }
    Ok(found)
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if all.is_empty() {
        "none".into()
    } else {
        all.join(", ")
    }
}

fn store_rows(rows: &mut Table, tally: Option<&Tally>) {
    match tally {
        None => rows.row(["Store", "none: there was no server here"]),
        Some(tally) => {
            let jobs = |jobs: &carat_node::store::Jobs| {
                format!(
                    "{} done, {} failed, {} waiting, {} of them overdue",
                    jobs.done, jobs.failed, jobs.waiting, jobs.overdue
                )
            };
            rows.row(["Inferences", &tally.inferences.to_string()]);
            rows.row(["  by rung", &listed(&tally.by_rung)]);
            rows.row(["Passed on from upstreams", &tally.carried.to_string()]);
            rows.row(["Both, by model", &listed(&tally.by_model)]);
            rows.row(["  by tenant", &listed(&tally.by_tenant)]);
            rows.row(["  in the log", &tally.in_log.to_string()]);
            rows.row(["  openings kept", &tally.openings.to_string()]);
            rows.row([
                "Proofs",
                &format!("{}, covering {} receipts", tally.proofs, tally.proven),
            ]);
            rows.row(["Replays (evidence)", &tally.replays.to_string()]);
            rows.row(["Attestations", &tally.attestations.to_string()]);
            rows.row(["Cosignatures", &tally.cosignatures.to_string()]);
            rows.row(["Upgrades", &jobs(&tally.upgrades)]);
            rows.row([
                "  promises",
                &format!("{} signed, {} missed", tally.promises, tally.missed),
            ]);
            rows.row(["Jobs for answers", &jobs(&tally.jobs)]);
        }
    }
}

/// What was spent, and what is left where a budget is known.
fn spending_rows(rows: &mut Table, spending: &Value) {
    let line = |of: &Value| {
        let spent = of["spent"].as_str().unwrap_or("unknown");
        match (of["allowed"].as_str(), of["left"].as_str()) {
            (Some(allowed), Some(left)) => format!("{spent} of {allowed}, {left} left"),
            _ => spent.to_string(),
        }
    };
    rows.row(["Spent today", &line(&spending["day"])]);
    rows.row(["Spent this month", &line(&spending["month"])]);
    for (tenant, of) in spending["tenants"].as_object().into_iter().flatten() {
        let text = format!("{}; this month {}", line(&of["day"]), line(&of["month"]));
        rows.row([&format!("  {tenant} today"), &text]);
    }
}

fn text(census: &Census, audits: Option<&Audits>) -> String {
    let mut rows = Table::new(2);
    store_rows(&mut rows, census.store.as_ref());
    let decisions: &Decisions = &census.decisions;
    rows.row(["Refusals", &decisions.refusals.to_string()]);
    rows.row([
        "  served uncovered",
        &decisions.served_uncovered.to_string(),
    ]);
    rows.row(["  plans", &listed(&decisions.planned)]);
    if let Some(audits) = audits {
        rows.row([
            "Audits (replays)",
            &format!(
                "{} drawn in {} draws: {} clean, {} wrong, {} unanswered",
                audits.drawn, audits.draws, audits.clean, audits.wrong, audits.unanswered
            ),
        ]);
    }
    rows.row([
        "Log entries",
        &census
            .log_entries
            .map_or("none: there is no log".into(), |entries| {
                entries.to_string()
            }),
    ]);
    if let Some(spending) = &census.spending {
        spending_rows(&mut rows, spending);
    }
    let mut out = rows.render("");
    let _ = writeln!(
        out,
        "\nThese are different things: none of them adds up with another."
    );
    out
}
