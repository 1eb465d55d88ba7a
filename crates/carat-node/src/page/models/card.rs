//! The card of a version: what the publisher says, what the hub measured, and what nobody checked.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_hub::card::{Card, Cost, Examination, Execution, Fidelity, Port, Rung};
use carat_hub::signing::State as Signed;
use carat_hub::{Record, TagMove};
use maud::{Markup, html};

use super::super::frame::{
    Here, Page, bytes, digest, facts, lines, many, micros, name, plain, table, time, whole,
};
use super::super::session::Visitor;
use super::{escaped, rung_name, shown};
use crate::api::Shared;
use crate::api::hub::{card, latest as latest_of, repo, service};
use crate::node::Node;
use crate::problem::Problem;

/// Files and versions that are listed.
const MAX_FILES: usize = 200;

/// `GET /models/{owner}/{name}`.
pub(in super::super) async fn latest(
    State(node): Shared,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shown(node, headers, move |node, headers, visitor| {
        let service = service(node)?;
        let repo = repo(&owner, &name)?;
        let versions = service.hub.versions(&repo)?;
        let Some(newest) = versions.last() else {
            return Err(Problem::not_found("model"));
        };
        let record = latest_of(&service, &repo, newest);
        let card = card(node, &service, &record, headers)?;
        let tags = service.hub.tags(&repo)?;
        Ok(card_page(node, visitor, &card, &versions, &tags))
    })
    .await
}

/// `GET /models/{owner}/{name}/{revision}`.
pub(in super::super) async fn version(
    State(node): Shared,
    Path((owner, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    shown(node, headers, move |node, headers, visitor| {
        let service = service(node)?;
        let repo = repo(&owner, &name)?;
        let record = service.hub.resolve(&repo, &revision)?;
        let card = card(node, &service, &record, headers)?;
        let versions = service.hub.versions(&repo)?;
        let tags = service.hub.tags(&repo)?;
        Ok(card_page(node, visitor, &card, &versions, &tags))
    })
    .await
}

fn card_page(
    node: &Node,
    visitor: &Visitor,
    card: &Card,
    versions: &[Record],
    tags: &[TagMove],
) -> Response {
    let repo = card.repo.to_string();
    let found = card.examination.as_ref();
    let program = found.and_then(|found| found.facts.program);
    let served = node
        .models
        .iter()
        .find(|served| Some(served.model.digest) == program);
    let body = html! {
        p.crumbs { a href="/models" { "Models" } }
        h1 { (name(&repo)) " " span.version { (plain(card.version.as_str())) } }
        @if let Some(gone) = &card.tombstone {
            div.note.bad { p { strong { "Taken down." } " " (plain(&gone.reason)) } p.small.quiet { (time(gone.at)) } }
        }
        @if !card.about.description.is_empty() { p.lead.lines { bdi { (lines(&card.about.description)) } } }
        p.tags {
            @for tag in &card.tags { span.tag.accent { (plain(tag.as_str())) } }
            @if card.private { span.tag { "private: files stay in the hub" } }
            @if card.unlisted { span.tag { "unlisted" } }
        }
        @if let Some(served) = served {
            p { a.button.first href={ "/run/" (served.name) } { "Run it here" } " "
                span.quiet { "served as " code { (served.name) } } }
        }
        (runs_here(found))
        @if let Some(found) = found {
            @if !found.rungs.is_empty() { (rungs(found)) }
            @if let Some(fidelity) = &found.fidelity { (fidelity_of(fidelity)) }
            (ports("Inputs", &found.facts.inputs))
            (ports("Outputs", &found.facts.outputs))
        }
        section.unchecked {
            h2 { "What nobody checked" }
            ul { @for item in &card.not_verified { li { (name(item)) } } }
        }
        (identity(card, found))
        @if let Some(snippets) = &card.snippets {
            h2 { "Call it" }
            p { (plain(&snippets.needs)) }
            details open[snippets.served] { summary { "curl" } pre.code tabindex="0" { (lines(&snippets.curl)) } }
            details { summary { "Python, standard library alone" } pre.code tabindex="0" { (lines(&snippets.python)) } }
        }
        (signature(card))
        (files(card))
        (history(&repo, card, versions, tags))
    };
    Page::new(&repo, Here::Models).with(visitor, body)
}

fn runs_here(found: Option<&Examination>) -> Markup {
    html! {
        @match found.map(|found| &found.execution) {
            None => div.note { p { "Not examined yet: nothing about it has been measured here." } },
            Some(Execution::Runs) => div.note.good {
                p { strong { "Runs here" } " as an exact integer program: an honest replay gives the same bits on any machine." }
            },
            Some(Execution::Refused { reason, .. }) => div.note.warn {
                p { strong { "Kept, and does not run here." } " " (name(reason)) }
            },
            Some(Execution::NoModel) => div.note { p { "Its files hold no model that this software reads." } },
        }
        @if let Some(found) = found {
            @for warning in &found.warnings { div.note.warn { p { (name(warning)) } } }
        }
    }
}

fn rungs(found: &Examination) -> Markup {
    let cost = |cost: Option<&Cost>, of: fn(&Cost) -> Option<String>| {
        cost.and_then(of).unwrap_or_else(|| "not measured".into())
    };
    let row = |rung: &Rung| {
        let measured = rung.cost.as_ref();
        html! {
            tr {
                th scope="row" { (rung_name(&rung.name)) }
                td { @if rung.available { span.tag.good { "yes" } } @else { span.tag { "no" } }
                    @if let Some(note) = &rung.note { " " span.small.quiet { (name(note)) } } }
                @if rung.available && (rung.name == "zk" || rung.name == "replay") {
                    td.number { (cost(measured, |cost| Some(micros(cost.p50_micros)))) }
                    td.number { (cost(measured, |cost| Some(micros(cost.p99_micros)))) }
                } @else { td.number { "–" } td.number { "–" } }
                td.number { @match measured.and_then(|cost| cost.proof_bytes) { Some(size) => (bytes(size)), None => "–" } }
                td.number { @match measured.and_then(|cost| cost.verify_micros) { Some(time) => (micros(time)), None => "–" } }
            }
        }
    };
    let machine = &found.machine;
    html! {
        h2 { "What a receipt can rest on" }
        (table("What a receipt can rest on, and what it costs",
            &["Evidence", "Can be had", "Median", "99th percentile", "Proof", "Verified in"],
            html! { @for rung in &found.rungs { (row(rung)) } }))
        p.small.quiet {
            "Measured by this hub with inputs of zeros on " (name(&machine.cpu)) ", "
            (many(machine.processors as u64, "processor", "processors")) ", " (time(found.at)) "."
        }
    }
}

fn fidelity_of(fidelity: &Fidelity) -> Markup {
    let share = |share: f64| format!("{:.2}%", 100.0 * share);
    html! {
        h2 { "Fidelity" }
        p {
            "On " (many(fidelity.samples as u64, "held-out sample", "held-out samples"))
            " the integer program and its float source name the same class in "
            strong { (share(fidelity.top1_agreement)) } " of the cases."
        }
        (facts(&[
            ("Largest difference", Some(html! { (format!("{:.6}", fidelity.max_abs_error)) })),
            ("Mean difference", Some(html! { (format!("{:.6}", fidelity.mean_abs_error)) })),
            ("Smallest cosine", Some(html! { (format!("{:.6}", fidelity.min_cosine)) })),
            ("Accuracy, float", fidelity.float_accuracy.map(|it| html! { (share(it)) })),
            ("Accuracy, here", fidelity.integer_accuracy.map(|it| html! { (share(it)) })),
            ("Reference", fidelity.reference.as_ref().map(|it| html! { (name(it)) " " span.quiet { "(the publisher's word)" } })),
        ]))
    }
}

/// A shape, with a dash for an open axis.
pub(in super::super) fn shape(lengths: impl Iterator<Item = Option<u64>>) -> String {
    let axes: Vec<String> = lengths
        .map(|length| length.map_or_else(|| "–".to_string(), |length| length.to_string()))
        .collect();
    format!("[{}]", axes.join(", "))
}

fn ports(title: &str, ports: &[Port]) -> Markup {
    html! {
        @if !ports.is_empty() {
            h2 { (title) }
            (table(title, &["Name", "Type", "Shape", "Classes"], html! {
                @for port in ports {
                    tr {
                        th scope="row" { (name(&port.name)) }
                        td { (plain(&port.dtype)) }
                        td { (shape(port.shape.iter().copied())) }
                        td { @for (i, label) in port.labels.iter().take(24).enumerate() { @if i > 0 { ", " } (name(label)) }
                            @if port.labels.len() > 24 { " and " (port.labels.len() - 24) " more" } }
                    }
                }
            }))
        }
    }
}

fn identity(card: &Card, found: Option<&Examination>) -> Markup {
    let read = found.map(|found| &found.facts);
    let text = |text: &str| (!text.is_empty()).then(|| name(text));
    html! {
        h2 { "What it is" }
        (facts(&[
            ("Version's digest", Some(whole(&card.digest.to_string()))),
            ("Program", read.and_then(|read| read.program).map(|it| whole(&it.to_string()))),
            ("ONNX file", read.and_then(|read| read.source_sha256).map(|it| whole(&it.to_string()))),
            ("Compiled again here", found.and_then(|found| found.reproduced).map(|same| html! {
                @if same { "the same program" } @else { strong { "another program" } } })),
            ("Operators", read.filter(|read| !read.operators.is_empty()).map(|read| html! {
                @for (i, (operator, uses)) in read.operators.iter().enumerate() { @if i > 0 { ", " } (plain(operator)) " × " (uses) } })),
            ("Operator set", read.and_then(|read| read.opset).map(|it| html! { (it) })),
            ("Parameters", read.map(|read| html! { (read.parameters) })),
            ("Task", text(&card.about.task)),
            ("Licence", text(&card.about.licence)),
            ("Origin", text(&card.about.origin)),
            ("Size", Some(html! { (bytes(card.size)) })),
            ("Published", Some(time(card.published))),
        ]))
    }
}

fn signature(card: &Card) -> Markup {
    let report = &card.signature;
    html! {
        h2 { "Who signed it" }
        @if report.state == Signed::Absent { p { "Nobody: the files are not signed." } }
        @else {
            (facts(&[
                ("Method", report.method.as_ref().map(|it| name(it))),
                ("Signer", report.signer.as_ref().map(|it| name(it))),
                ("Key", report.key_sha256.map(|it| whole(&it.to_string()))),
                ("Files covered", Some(html! { (report.covered) })),
            ]))
            @if !report.checked.is_empty() { h3 { "Checked" } ul { @for item in &report.checked { li { (name(item)) } } } }
            @if !report.not_checked.is_empty() { h3 { "Not checked" } ul { @for item in &report.not_checked { li { (name(item)) } } } }
            @if !report.uncovered.is_empty() { p { (many(report.uncovered.len() as u64, "file is", "files are")) " not covered by the signature." } }
        }
    }
}

fn files(card: &Card) -> Markup {
    let repo = card.repo.to_string();
    html! {
        h2 { "Files" }
        @match &card.files {
            None => p { "Private: neither names nor files leave the hub." },
            Some(files) => {
                (table("Files", &["Name", "Size", "SHA-256"], html! {
                    @for file in files.iter().take(MAX_FILES) {
                        tr {
                            th scope="row" {
                                @if card.tombstone.is_some() { (name(file.path.as_str())) }
                                @else { a href={ "/" (repo) "/resolve/" (card.digest.to_string()) "/" (path_of(file.path.as_str())) } download { (name(file.path.as_str())) } }
                            }
                            td.number { (bytes(file.size)) }
                            td { (digest(&file.sha256.to_string())) }
                        }
                    }
                }))
                @if files.len() > MAX_FILES { p.quiet { (files.len() - MAX_FILES) " more are not listed here." } }
            }
        }
    }
}

fn path_of(path: &str) -> String {
    path.split('/').map(escaped).collect::<Vec<_>>().join("/")
}

fn history(repo: &str, card: &Card, versions: &[Record], tags: &[TagMove]) -> Markup {
    html! {
        h2 { "Versions" }
        (table("Versions", &["Version", "Tags", "Published", "Digest"], html! {
            @for one in versions.iter().rev().take(MAX_FILES) {
                tr {
                    th scope="row" {
                        @let version = one.manifest.version.as_str();
                        @if one.digest == card.digest { strong aria-current="true" { (plain(version)) } }
                        @else { a href={ "/models/" (repo) "/" (escaped(version)) } { (plain(version)) } }
                        @if one.tombstone.is_some() { " " span.tag.bad { "taken down" } }
                    }
                    td { @for tag in tags.iter().filter(|tag| tag.digest == one.digest) { span.tag.accent { (plain(tag.tag.as_str())) } " " } }
                    td { (time(one.published)) }
                    td { (digest(&one.digest.to_string())) }
                }
            }
        }))
    }
}
