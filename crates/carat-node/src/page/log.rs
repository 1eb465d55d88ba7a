//! The log that receipts stand in, for people: its checkpoint, its entries with proofs that they are there, and for the operator
//! what audits of it found. Leaves are blinded, and the log's tiles hold the same for everybody.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_log::leaf_hash;
use carat_policy::draw::tau_of_leaf;
use maud::{Markup, html};
use tokio::task::block_in_place;

use super::frame::{Here, Page, digest, facts, lines, many, name, note, plain, table, whole};
use super::outcome::percent;
use super::session::with;
use crate::access::Scope;
use crate::api::{Shared, pairs};
use crate::audits::{Entries, Finding, Record, Records, record};
use crate::exit::{Exit, Failure};
use crate::home::log_failure;
use crate::node::Node;
use crate::problem::Problem;

/// Entries on one page.
const SHOWN: u64 = 25;

/// `GET /log`: with `entry=N` the proof that an entry is there, with `before=N` older entries, with `since=N` the proof that
/// nothing before was changed.
pub(super) async fn log(
    State(node): Shared,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let asked = pairs(query.as_deref())?;
        let number = |name: &str| -> Result<Option<u64>, Problem> {
            let text = asked
                .get(name)
                .map(|text| text.trim())
                .filter(|text| !text.is_empty());
            let bad = |_| Problem::bad_request(format!("{name} is a whole number"));
            text.map(|text| text.parse().map_err(bad)).transpose()
        };
        if let Some(other) = asked
            .keys()
            .find(|name| !["entry", "before", "since"].contains(&name.as_str()))
        {
            return Err(Problem::bad_request(format!(
                "the log has no parameter {other:?}"
            )));
        }
        let (entry, before, since) = (number("entry")?, number("before")?, number("since")?);
        let operator = visitor.can(Scope::Admin);
        let body = block_in_place(|| content(&node, entry, before, since, operator));
        Ok(Page::new("Log", Here::Log).with(visitor, body))
    })
}

fn content(
    node: &Node,
    entry: Option<u64>,
    before: Option<u64>,
    since: Option<u64>,
    operator: bool,
) -> Markup {
    let signed = node.log.checkpoint();
    let checkpoint = signed.unverified();
    let size = checkpoint.size();
    html! {
        h1 { "Log" }
        p.lead { "Every receipt stands in this log before its answer leaves. Nobody can take an entry out or put another in its place without it showing." }
        @if let Some(entry) = entry { (inclusion(node, entry)) }
        @if let Some(since) = since { (consistency(node, since, size)) }
        h2 { "Checkpoint" }
        (facts(&[
            ("Log", Some(name(checkpoint.origin()))),
            ("Entries", Some(html! { strong { (size) } })),
            ("Root", Some(whole(&checkpoint.root().to_base64()))),
        ]))
        details {
            summary { "The signed note, to be kept and compared" }
            pre.code tabindex="0" { (lines(&signed.to_text())) }
            p.small.quiet { "Also at " a href="/log/checkpoint" { "/log/checkpoint" } "; whoever kept an older one checks with " code { "carat log audit DIR --previous FILE" } " that this log only grew." }
        }
        div.columns {
            (number_form("entry", "Find an entry", "Entry", "Show its proof"))
            (number_form("since", "Check that it only grew", "Entries of a checkpoint that you kept", "Show the proof"))
        }
        h2 { "Entries" }
        (entries(node, before.unwrap_or(size).min(size)))
        h2 { "Audits" }
        @if operator { (audits(node)) }
        @else { p.quiet { "What audits found is for the operator to see here: a key with the scope " code { "admin" } ". Whoever has receipts audits this log with " code { "carat audit sample" } "." } }
    }
}

fn number_form(field: &str, title: &str, label: &str, button: &str) -> Markup {
    html! {
        form.inline method="get" action="/log" {
            h3 { (title) }
            div.field {
                label for=(field) { (label) }
                input id=(field) name=(field) type="text" inputmode="numeric" pattern="[0-9]*" required autocomplete="off";
            }
            button type="submit" { (button) }
        }
    }
}

/// Newest first, below a number.
fn entries(node: &Node, below: u64) -> Markup {
    let first = below.saturating_sub(SHOWN);
    let size = node.log.stats().published;
    let row = |index: u64| {
        html! {
            tr {
                th scope="row" { a href={ "/log?entry=" (index) } { (index) } }
                @match node.log.leaf(index) {
                    Ok(leaf) => {
                        td { (kind(&leaf)) }
                        td { (digest(&leaf_hash(&leaf).to_base64())) }
                    },
                    Err(_) => { td { span.tag.bad { "cannot be read" } } td {} },
                }
            }
        }
    };
    html! {
        @if below == 0 { p.quiet { "There is none yet." } }
        @else {
            (table("Entries", &["Entry", "What", "Hash"], html! { @for index in (first..below).rev() { (row(index)) } }))
            nav.pages aria-label="Pages of entries" {
                @if below < size { a rel="prev" href={ "/log?before=" ((below + SHOWN).min(size)) } { "← Newer" } }
                span.quiet { (first) " to " (below - 1) " of " (size) }
                @if first > 0 { a rel="next" href={ "/log?before=" (first) } { "Older →" } }
            }
        }
    }
}

/// What a leaf shows: nothing but the chance of an audit.
fn kind(leaf: &[u8]) -> Markup {
    html! {
        @match tau_of_leaf(leaf) {
            Some(carat_policy::Tau(0)) => "a receipt with a plan, no audit",
            Some(tau) => { "a receipt, audited with a chance of " (percent(tau.probability().to_f64())) },
            None => "a receipt without a plan, or a notice",
        }
    }
}

fn failed(failure: Failure) -> Markup {
    let status = match failure.exit {
        Exit::Store | Exit::Io => 503,
        _ => 404,
    };
    note(&Problem::new(status, "not-shown", failure.message))
}

fn inclusion(node: &Node, index: u64) -> Markup {
    html! {
        section.result {
            h2 { "Entry " (index) }
            @match (node.log.tlog_proof(index), node.log.leaf(index)) {
                (Ok(proof), Ok(leaf)) => {
                    div.note.good { p { strong { "It is in the log." } " The " (many(proof.path.len() as u64, "hash", "hashes"))
                        " below lead from the entry to the root of the checkpoint; they were checked before they were shown." } }
                    (facts(&[
                        ("What", Some(kind(&leaf))),
                        ("Leaf", Some(whole(&hex::encode(&leaf)))),
                        ("Hash", Some(whole(&leaf_hash(&leaf).to_base64()))),
                    ]))
                    details { summary { "The proof, as one text that verifies offline" } pre.code tabindex="0" { (lines(&proof.to_text())) } }
                },
                (Err(error), _) | (_, Err(error)) => (failed(log_failure(error))),
            }
        }
    }
}

fn consistency(node: &Node, from: u64, to: u64) -> Markup {
    html! {
        section.result {
            h2 { "From " (from) " to " (to) " entries" }
            @match (node.log.consistency_proof(from, to), node.log.root(from)) {
                (Ok(proof), Ok(root)) => {
                    div.note.good { p { strong { "It only grew." } " The first " (many(from, "entry is", "entries are")) " the same under both roots, if the root of your checkpoint is this one:" } }
                    (facts(&[("Root over " , Some(html! { (from) " entries: " (whole(&root.to_base64())) }))]))
                    details { summary { "The proof" } pre.code tabindex="0" { @for hash in &proof.path { (hash.to_base64()) "\n" } } }
                },
                (Err(error), _) | (_, Err(error)) => (failed(log_failure(error))),
            }
        }
    }
}

/// Records of audits in this server's directory, each checked against the log.
fn audits(node: &Node) -> Markup {
    let key = node.log.verifier();
    let place = record::place(&node.home, &key);
    if !place.is_dir() {
        return html! {
            p.quiet { "No audit of this log is recorded here. " code { "carat audit sample" } " draws entries by the chances that they were signed with, and runs them again." }
        };
    }
    // It reads the whole log: one at a time.
    let Ok(_alone) = node.counting.clone().try_acquire_owned() else {
        return html! { p.quiet { "Somebody is counting already; load the page again." } };
    };
    let read = Entries::read(&node.home.path("log"), &key)
        .and_then(|entries| Records::read(&place, &entries, &key));
    html! {
        @match read {
            Ok(records) => (records_of(&records.all)),
            Err(failure) => (failed(failure)),
        }
    }
}

fn records_of(records: &[Record]) -> Markup {
    let count = |record: &Record, finding: Finding| {
        record
            .audited
            .iter()
            .filter(|audited| audited.finding == finding)
            .count() as u64
    };
    let sum = |finding| {
        records
            .iter()
            .map(|record| count(record, finding))
            .sum::<u64>()
    };
    let (clean, wrong, unanswered) = (
        sum(Finding::Clean),
        sum(Finding::Wrong),
        sum(Finding::Unanswered),
    );
    let drawn = clean + wrong + unanswered;
    html! {
        div .verdict .good[drawn > 0 && wrong + unanswered == 0] .bad[wrong > 0] {
            p.amount {
                @if wrong > 0 { (many(wrong, "wrong answer", "wrong answers")) }
                @else if unanswered > 0 { (unanswered) " unanswered" }
                @else if drawn == 0 { "Nothing drawn yet" }
                @else { "No wrong answer" }
            }
            p { (many(drawn, "entry was", "entries were")) " drawn and run again: " (clean) " gave the same answer, "
                (wrong) " another, " (unanswered) " could not be answered, which counts as wrong until it is." }
        }
        (table("Audits", &["Entries", "Drawn", "Same", "Other", "Unanswered", "Auditor"], html! {
            @for record in records.iter().rev() {
                tr {
                    th scope="row" { (record.first) " to " (record.size().saturating_sub(1)) }
                    td.number { (record.audited.len()) }
                    td.number { (count(record, Finding::Clean)) }
                    td.number { (count(record, Finding::Wrong)) }
                    td.number { (count(record, Finding::Unanswered)) }
                    td { (name(record.auditor.as_str())) @if record.own_log { " " span.tag { "of its own log" } } }
                }
            }
        }))
        @let open: Vec<_> = records.iter().flat_map(|record| &record.audited).filter(|audited| audited.finding != Finding::Clean).take(SHOWN as usize).collect();
        @if !open.is_empty() {
            h3 { "Not clean" }
            (table("Not clean", &["Entry", "Finding", "Why", "Receipt"], html! {
                @for audited in open {
                    tr {
                        th scope="row" { a href={ "/log?entry=" (audited.index) } { (audited.index) } }
                        td { @if audited.finding == Finding::Wrong { span.tag.bad { "another answer" } } @else { span.tag { "unanswered" } } }
                        td { (plain(audited.reason.as_deref().unwrap_or_default())) }
                        td { @if let Some(id) = &audited.receipt_id { (digest(&id.to_string())) } }
                    }
                }
            }))
        }
        p.small.quiet { "An audit by the operator of a log tells the operator something, and is worth nothing to third parties." }
    }
}
