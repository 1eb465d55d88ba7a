//! The first page: what this server is, and where to go.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use carat_hub::search::Query;
use maud::html;

use super::frame::{Here, Page, many, name};
use super::run::summary;
use super::session::with;
use crate::api::Shared;

/// `GET /`.
pub(super) async fn overview(State(node): Shared, headers: HeaderMap) -> Response {
    with(&node, &headers, |visitor| {
        let entries = node.log.stats().published;
        let one = Query {
            limit: Some(0),
            ..Query::default()
        };
        let hub = node
            .hub
            .as_ref()
            .map(|service| service.hub.search(&one).total as u64);
        let body = html! {
            h1 { "Answers with receipts" }
            p.lead {
                "This server runs models. Each answer gets a receipt that says which exact program ran, without showing input or output, "
                "and what it is good for in money, under which assumptions."
            }
            @if let Err(problem) = node.ready() { div.note.warn { p { (problem.detail) } } }
            ul.doors {
                li.card { h2 { a href="/run" { "Run a model" } }
                    p { (many(node.models.len() as u64, "model", "models")) " here. See the plan, and why that much evidence is bought, before you run." } }
                li.card { h2 { a href="/inspect" { "Inspect a receipt" } }
                    p { "Verified in your browser. Nothing is uploaded." } }
                li.card { h2 { a href="/models" { "Find a model" } }
                    p { @match hub { Some(count) => { (many(count, "model", "models")) " in the hub, with what was measured and what nobody checked." }, None => "This server has no hub." } } }
                li.card { h2 { a href="/log" { "Look into the log" } }
                    p { (many(entries, "entry", "entries")) ", each with a proof that it is there; audits, and what they found." } }
                li.card { h2 { a href="/spend" { "Spend against guarantee" } }
                    p { "What checking costs here, and what that covers." } }
            }
            @if !node.models.is_empty() {
                h2 { "Served here" }
                ul.cards { @for served in &node.models { (summary(served)) } }
            }
            h2 { "For programs" }
            p { "The same over HTTP: " a href="/v1/openapi.json" { "the OpenAPI document" } " has every address. Its log is called "
                strong { (name(node.log.checkpoint().unverified().origin())) } "." }
        };
        Ok(Page::new("Answers with receipts", Here::Overview).with(visitor, body))
    })
}
