//! Receipts of the caller's tenant: the answer, the plan behind it, and the files.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use carat_policy::PLANNER;
use carat_policy::decision::Decision;
use carat_receipt::{Digest, Statement};
use maud::{Markup, html};
use serde_json::Value;

use super::frame::{Here, Page, digest, facts, note, time, whole};
use super::outcome;
use super::session::{Visitor, with};
use crate::access::Scope;
use crate::answer::Inline;
use crate::api::{OPENING, RECEIPT, Shared, bytes_response};
use crate::node::{Node, now};
use crate::planning;
use crate::problem::Problem;

pub(super) fn id(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::not_found("receipt"))
}

/// `GET /receipts/{id}`.
pub(super) async fn shown(
    State(node): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let caller = visitor.may(Scope::Read)?;
        let id = id(&name)?;
        // Whether it is there at all, and the caller's.
        let record = node.record(&caller.tenant, &id)?;
        let statement = record.signed.statement();
        let told = node
            .answered(&caller.tenant, &id)
            .and_then(|(answer, index)| {
                node.show(&caller.tenant, &answer, index, Inline::default(), now()?)
            });
        let title = match &told {
            Ok(told) => outcome::headline(&told.json["outputs"]),
            Err(_) => "Receipt".to_string(),
        };
        let body = html! {
            p.crumbs { a href="/run" { "Run" } " / " a href={ "/run/" (record.model) } { (super::frame::name(&record.model)) } }
            h1 { (super::frame::name(&title)) }
            @match &told {
                Ok(told) => (answered(&told.json)),
                Err(problem) => (note(problem)),
            }
            (links(&id))
            @if let Some(decision) = decided(&node, &id, statement) {
                h2 { "What was bought, and why" }
                (outcome::decision(&decision))
            }
            h2 { "The receipt" }
            (facts(&[
                ("Receipt", Some(whole(&id.to_string()))),
                ("Model", Some(html! { (super::frame::name(statement.model_name.as_str())) " " (super::frame::plain(statement.model_version.as_str())) })),
                ("Program", Some(digest(&statement.program.to_string()))),
                ("Issued", Some(time(statement.issued_at))),
                ("For", statement.optional.audience.as_ref().map(|it| super::frame::name(it.as_str()))),
                ("Log", told.as_ref().ok().map(|told| entry(&told.json["log"]))),
            ]))
        };
        Ok(Page::new(&title, Here::Run).with(visitor, body))
    })
}

/// What a caller is told about an answer.
pub(super) fn answered(json: &Value) -> Markup {
    html! {
        (outcome::good_for(&json["good_for"]))
        @if json["plan"]["proof_pending"] == true {
            div.note { p { "A proof was promised by "
                @if let Some(by) = json["plan"]["proof_by"].as_u64() { (time(by)) }
                ", and is not there yet: load the page again." } }
        }
        (outcome::outputs(&json["outputs"]))
    }
}

/// Where the files are.
pub(super) fn links(id: &Digest) -> Markup {
    html! {
        p.actions {
            a.button.first href={ "/inspect/" (id) } { "Inspect it" }
            a.button href={ "/receipts/" (id) "/file" } download={ (short(id)) ".carat" } { "Download the receipt" }
            a.button href={ "/receipts/" (id) "/opening" } download={ (short(id)) ".carat-open" } { "Download the opening" }
        }
        p.small.quiet { "The receipt may be shared. The opening holds input, output and salts: keep it." }
    }
}

fn entry(log: &Value) -> Markup {
    let index = log["index"].as_u64().unwrap_or_default();
    html! {
        @if log["pending"] == true { "entry " (index) ", under the next checkpoint" }
        @else { a href={ "/log?entry=" (index) } { "entry " (index) } }
    }
}

fn short(id: &Digest) -> String {
    id.to_string().chars().take(12).collect()
}

/// The decision that the Statement commits to, made again from the opening; `None`: there was none, or the opening is gone.
fn decided(node: &Node, id: &Digest, statement: &Statement) -> Option<Value> {
    let planner = statement.optional.planner.as_ref()?;
    // Another planner might decide otherwise.
    if planner.as_str() != PLANNER {
        return None;
    }
    let opening = node.opening(id).ok()?;
    let decision = Decision::decode(&opening.facts.as_ref()?.bytes).ok()?;
    let decided = decision.make().ok()?;
    Some(planning::json(&decision, &decided))
}

/// A file of a receipt, for saving.
fn saved(media: &'static str, bytes: Vec<u8>, id: &Digest, extension: &str) -> Response {
    let mut response = bytes_response(200, media, bytes);
    let name = format!("attachment; filename=\"{}.{extension}\"", short(id));
    if let Ok(name) = HeaderValue::from_str(&name) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// `GET /receipts/{id}/file`.
pub(super) async fn file(
    State(node): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let id = id(&name)?;
        let record = node.record(&tenant(visitor)?, &id)?;
        let file = node.receipt_file(record, now()?)?;
        Ok(saved(RECEIPT, file.encode(), &id, "carat"))
    })
}

/// `GET /receipts/{id}/opening`.
pub(super) async fn opening(
    State(node): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let id = id(&name)?;
        node.record(&tenant(visitor)?, &id)?;
        let bytes = node.opening(&id)?.encode();
        Ok(saved(OPENING, bytes.to_vec(), &id, "carat-open"))
    })
}

fn tenant(visitor: &Visitor) -> Result<String, Problem> {
    Ok(visitor.may(Scope::Read)?.tenant.clone())
}
