//! Models of the hub: search, and the card of a version ([`card`]). What the hub's addresses tell everybody.

mod card;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_hub::search::{Found, Hit, Query};
use maud::{Markup, html};

use super::frame::{Here, Page, answer, bytes, many, micros, name, plain, refused};
use super::session::Visitor;
use crate::api::hub::{query, service};
use crate::api::{Shared, blocking, pairs};
use crate::node::Node;
use crate::problem::Problem;

pub(super) use self::card::{latest, shape, version};

/// Results on one page.
const SHOWN: usize = 20;

/// A choice of a facet: its parameter, what it is called, its values in order.
type Choice = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const CHOICES: [Choice; 3] = [
    (
        "execution",
        "Runs here",
        &[
            ("", "any"),
            ("runs", "yes"),
            ("refused", "no, with the reason"),
            ("pending", "not examined yet"),
        ],
    ),
    (
        "rung",
        "A receipt can rest on",
        &[
            ("", "anything"),
            ("zk", "a proof"),
            ("tee", "an attested machine"),
            ("replay", "a replay"),
            ("signature", "a signature"),
        ],
    ),
    (
        "sort",
        "Order",
        &[
            ("", "relevance"),
            ("newest", "newest"),
            ("name", "name"),
            ("size", "size"),
            ("cost", "cost"),
        ],
    ),
];

/// A handler for whoever asks, beside the threads that serve connections.
async fn shown(
    node: std::sync::Arc<Node>,
    headers: HeaderMap,
    work: impl FnOnce(&Node, &HeaderMap, &Visitor) -> Result<Response, Problem> + Send + 'static,
) -> Response {
    let visitor = match Visitor::of(&node, &headers) {
        Ok(visitor) => visitor,
        Err(problem) => return refused(&Visitor::nobody(&node), &problem),
    };
    let made = blocking(move || Ok(answer(&visitor, work(&node, &headers, &visitor))));
    match made.await {
        Ok(response) => response,
        Err(problem) => crate::api::problem(problem),
    }
}

/// `GET /models`.
pub(super) async fn search(
    State(node): Shared,
    RawQuery(asked): RawQuery,
    headers: HeaderMap,
) -> Response {
    shown(node, headers, move |node, _, visitor| {
        if node.hub.is_none() {
            return Ok(no_hub(node, visitor));
        }
        let service = service(node)?;
        let mut given = pairs(asked.as_deref())?;
        // A form sends what was left empty too.
        given.retain(|_, value| !value.trim().is_empty());
        let mut query = query(given)?;
        query.limit = Some(query.limit.unwrap_or(SHOWN).min(SHOWN));
        let found = service.hub.search(&query);
        Ok(Page::new("Models", Here::Models).with(visitor, results(&query, &found)))
    })
    .await
}

fn no_hub(node: &Node, visitor: &Visitor) -> Response {
    let body = html! {
        h1 { "Models" }
        p.lead { "This server has no hub, so there is nothing to search: its operator adds " code { "[hub]" } " to the configuration." }
        @if !node.models.is_empty() {
            p { "It serves " (many(node.models.len() as u64, "model", "models")) ": " a href="/run" { "run one" } "." }
        }
    };
    Page::new("Models", Here::Models).with(visitor, body)
}

fn results(query: &Query, found: &Found) -> Markup {
    html! {
        h1 { "Models" }
        (search_form(query))
        p role="status" {
            (many(found.total as u64, "model", "models"))
            @if !query.q.is_empty() { " for “" (name(&query.q)) "”" }
            "."
        }
        @if found.total == 0 {
            p.quiet { "Every word must occur, each as a word or as its beginning. Fewer words find more." }
        }
        ul.cards {
            @for hit in &found.hits { (card_of_hit(hit)) }
        }
        (pages(query, found))
        (narrower(query, found))
    }
}

fn search_form(query: &Query) -> Markup {
    let chosen = |parameter: &str| {
        let value = match parameter {
            "execution" => &query.execution,
            "rung" => &query.rung,
            _ => &query.sort,
        };
        value.as_deref().unwrap_or_default().to_string()
    };
    html! {
        form.search role="search" method="get" action="/models" {
            div.field.wide {
                label for="q" { "Words" }
                input #q name="q" type="search" value=(plain(&query.q)) maxlength=(carat_hub::search::MAX_QUERY) autocomplete="off";
            }
            @for (parameter, title, values) in CHOICES {
                div.field {
                    label for=(parameter) { (title) }
                    select id=(parameter) name=(parameter) {
                        @for (value, shown) in values {
                            option value=(value) selected[chosen(parameter) == *value] { (shown) }
                        }
                    }
                }
            }
            @for (parameter, value) in [("task", &query.task), ("licence", &query.licence), ("owner", &query.owner), ("operators", &query.operators)] {
                @if let Some(value) = value { input type="hidden" name=(parameter) value=(plain(value)); }
            }
            button.first type="submit" { "Search" }
        }
    }
}

fn card_of_hit(hit: &Hit) -> Markup {
    let repo = hit.repo.to_string();
    html! {
        li.card {
            h2 { a href={ "/models/" (repo) } { (name(&repo)) } " " span.version { (plain(hit.version.as_str())) } }
            @if !hit.summary.is_empty() { p { (name(&hit.summary)) } }
            p.tags {
                @match hit.execution.as_str() {
                    "runs" => span.tag.good { "runs here" },
                    "refused" => span.tag.bad { "does not run here" },
                    "pending" => span.tag { "not examined yet" },
                    _ => span.tag { "no model in it" },
                }
                @for rung in &hit.rungs {
                    span.tag { (rung_name(rung))
                        @if let Some(cost) = hit.cost_micros.get("zk").filter(|_| rung == "zk") { " in " (micros(*cost)) } }
                }
                @if hit.private { span.tag { "private" } }
                @if !hit.task.is_empty() { span.tag.plain { (plain(&hit.task)) } }
                @if !hit.licence.is_empty() { span.tag.plain { (plain(&hit.licence)) } }
                span.tag.plain { (bytes(hit.size)) }
            }
        }
    }
}

/// The query with one parameter more, less, or other, as an address.
fn address(query: &Query, changed: &str, value: Option<&str>) -> String {
    let offset = query.offset.to_string();
    let own = [
        ("q", Some(query.q.as_str()).filter(|q| !q.is_empty())),
        ("owner", query.owner.as_deref()),
        ("task", query.task.as_deref()),
        ("licence", query.licence.as_deref()),
        ("operators", query.operators.as_deref()),
        ("execution", query.execution.as_deref()),
        ("rung", query.rung.as_deref()),
        ("sort", query.sort.as_deref()),
        // Another question begins at its first answer.
        ("offset", (changed == "offset").then_some(offset.as_str())),
    ];
    let mut text = String::from("/models");
    let mut mark = '?';
    for (parameter, given) in own {
        let given = if parameter == changed { value } else { given };
        if let Some(given) = given {
            text.push(mark);
            text.push_str(parameter);
            text.push('=');
            text.push_str(&escaped(given));
            mark = '&';
        }
    }
    text
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn pages(query: &Query, found: &Found) -> Markup {
    let before = query.offset.saturating_sub(SHOWN).to_string();
    let after = query.offset.saturating_add(SHOWN);
    html! {
        @if query.offset > 0 || after < found.total {
            nav.pages aria-label="Pages of results" {
                @if query.offset > 0 {
                    a rel="prev" href=(address(query, "offset", Some(&before))) { "← Before" }
                }
                @if query.offset < found.total { span.quiet { (query.offset + 1) " to " (after.min(found.total)) } }
                @if after < found.total {
                    a rel="next" href=(address(query, "offset", Some(&after.to_string()))) { "Next →" }
                }
            }
        }
    }
}

/// Facets: what would narrow the search, and what narrows it now.
fn narrower(query: &Query, found: &Found) -> Markup {
    let list = [
        ("task", "task", "Task", &query.task),
        ("licence", "licence", "Licence", &query.licence),
        ("operators", "operator", "Operator", &query.operators),
    ];
    html! {
        @if found.total > 0 {
            h2 { "Narrow it" }
            div.columns {
                @for (parameter, facet, title, now) in list {
                    section {
                        h3 { (title) }
                        ul.plain {
                            @if let Some(now) = now {
                                li { strong { (name(now)) } " " a href=(address(query, parameter, None)) { "any " (title.to_lowercase()) } }
                            } @else {
                                @for (value, count) in found.facets.get(facet).into_iter().flatten().filter(|(value, _)| !value.is_empty()).take(8) {
                                    li { a href=(address(query, parameter, Some(value))) { (name(value)) } " " span.quiet { (count) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a rung is called where people read it.
pub(super) fn rung_name(rung: &str) -> &str {
    match rung {
        "signature" => "signature",
        "replay" => "replay",
        "tee" => "attested machine",
        "zk" => "proof",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_the_question_and_nothing_breaks_out_of_them() {
        let query = Query {
            q: "a&b=\"<script>".into(),
            task: Some("image classification".into()),
            offset: 40,
            ..Query::default()
        };
        assert_eq!(
            address(&query, "offset", Some("60")),
            "/models?q=a%26b%3D%22%3Cscript%3E&task=image%20classification&offset=60"
        );
        assert_eq!(
            address(&query, "task", None),
            "/models?q=a%26b%3D%22%3Cscript%3E"
        );
    }
}
