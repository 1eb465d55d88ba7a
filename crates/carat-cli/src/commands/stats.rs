//! `carat stats`: what a data directory holds, counted kind by kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use carat_node::planning::{self, Past};
use carat_node::store::{Store, StoreOptions, Tally};
use serde::Serialize;
use serde_json::json;

use super::audit::{self, Finding};
use super::{Context, Outcome};
use crate::exit::{Exit, Failure};
use crate::home::{self, Home};
use crate::output::Answer;
use crate::render::Table;

/// Count what a data directory holds: inferences, replays, attestations, proofs, upgrades, audits, refusals.
///
/// They are different things and are not added up. Inferences, evidence and jobs are those of a server's store; log entries,
/// decisions and audits are there without a server too. The store belongs to one process: stop the server first, or ask it
/// for its metrics while it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  carat stats\n  carat stats --data-dir /var/lib/carat --json")]
pub(super) struct Args {
    /// Count what the command line left, also where a server has its folder `node` in the data directory.
    #[arg(long)]
    local: bool,
}

/// Decisions that were kept.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Decisions {
    /// Requests that nothing covered and that were not served.
    refusals: u64,
    /// Requests that nothing covered and that were served all the same (modes warn and shadow).
    served_uncovered: u64,
    /// Plans, by rung.
    planned: BTreeMap<String, u64>,
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
    let tally = tally(&home)?;
    let log = log(&home)?;
    let decisions = decisions(&home)?;
    let audits = audits(&home)?;
    let mut text = text(tally.as_ref(), log, &decisions, &audits);
    text.insert_str(0, &format!("{}\n\n", home.root().display()));
    let json = json!({
        "data_dir": home.root(),
        "store": tally,
        "log_entries": log,
        "decisions": decisions,
        "audits": audits,
    });
    Ok((Answer { text, json }, Exit::Good))
}

/// `None`: there never was a server here.
fn tally(home: &Home) -> Result<Option<Tally>, Failure> {
    let path = home.path("store");
    if !path.is_dir() {
        return Ok(None);
    }
    let store = Store::open(&path, StoreOptions::default())?;
    Ok(Some(store.tally(home::clock()?)?))
}

fn log(home: &Home) -> Result<Option<u64>, Failure> {
    if !home.has_log() {
        return Ok(None);
    }
    Ok(Some(home.log()?.len()))
}

fn decisions(home: &Home) -> Result<Decisions, Failure> {
    if !planning::kept(home) {
        return Ok(Decisions::default());
    }
    Ok(count(&planning::past(home.root())?))
}

fn count(past: &[Past]) -> Decisions {
    let mut found = Decisions::default();
    for past in past {
        match (&past.rung, past.served) {
            (Some(rung), _) => *found.planned.entry(rung.clone()).or_default() += 1,
            (None, true) => found.served_uncovered += 1,
            (None, false) => found.refusals += 1,
        }
    }
    found
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

fn text(tally: Option<&Tally>, log: Option<u64>, decisions: &Decisions, audits: &Audits) -> String {
    let mut rows = Table::new(2);
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
            rows.row(["Jobs for answers", &jobs(&tally.jobs)]);
        }
    }
    rows.row(["Refusals", &decisions.refusals.to_string()]);
    rows.row([
        "  served uncovered",
        &decisions.served_uncovered.to_string(),
    ]);
    rows.row(["  plans", &listed(&decisions.planned)]);
    rows.row([
        "Audits (replays)",
        &format!(
            "{} drawn in {} draws: {} clean, {} wrong, {} unanswered",
            audits.drawn, audits.draws, audits.clean, audits.wrong, audits.unanswered
        ),
    ]);
    rows.row([
        "Log entries",
        &log.map_or("none: there is no log".into(), |entries| {
            entries.to_string()
        }),
    ]);
    let mut out = rows.render("");
    let _ = writeln!(
        out,
        "\nThese are different things: none of them adds up with another."
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_not_plans() {
        let past = |rung: Option<&str>, served| Past {
            time: 1,
            receipt_id: None,
            served,
            decision: String::new(),
            rung: rung.map(String::from),
            tau: None,
        };
        let found = count(&[
            past(Some("zk"), true),
            past(Some("zk"), true),
            past(None, false),
            past(None, true),
        ]);
        assert_eq!((found.refusals, found.served_uncovered), (1, 1));
        assert_eq!(found.planned, BTreeMap::from([("zk".to_string(), 2)]));
    }
}
