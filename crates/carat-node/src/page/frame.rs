//! What every page has around it, and the small parts that pages are made of. Text of strangers goes through [`plain`].

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use carat_receipt::label::misleads;
use maud::{DOCTYPE, Markup, html};

use super::session::Visitor;
use crate::problem::Problem;

/// Where a visitor is, for the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Overview,
    Models,
    Run,
    Inspect,
    Log,
    Spend,
    Elsewhere,
}

const PLACES: [(Here, &str, &str); 5] = [
    (Here::Models, "/models", "Models"),
    (Here::Run, "/run", "Run"),
    (Here::Inspect, "/inspect", "Inspect"),
    (Here::Log, "/log", "Log"),
    (Here::Spend, "/spend", "Spend"),
];

/// A page before it is framed.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) here: Here,
    /// A module of [`super::assets`] that makes it nicer.
    pub(super) script: Option<&'static str>,
    /// Without JavaScript, loaded again after so many seconds.
    pub(super) again: Option<u32>,
}

impl<'a> Page<'a> {
    pub(super) fn new(title: &'a str, here: Here) -> Self {
        Self {
            title,
            here,
            script: None,
            again: None,
        }
    }

    /// The whole document.
    pub(super) fn with(self, visitor: &Visitor, body: Markup) -> Response {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (plain(self.title)) " · Carat" }
                    link rel="stylesheet" href="/assets/page.css";
                    link rel="icon" href="/assets/mark.svg" type="image/svg+xml";
                    @if let Some(script) = self.script { script type="module" src={ "/assets/" (script) } {} }
                    @if let Some(seconds) = self.again {
                        noscript { meta http-equiv="refresh" content=(seconds); }
                    }
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        a.brand href="/" aria-current=[(self.here == Here::Overview).then_some("page")] {
                            img src="/assets/mark.svg" alt="" width="22" height="22";
                            "Carat"
                        }
                        nav aria-label="Main" {
                            @for (place, address, name) in PLACES {
                                a href=(address) aria-current=[(self.here == place).then_some("page")] { (name) }
                            }
                        }
                        (who(visitor))
                    }
                    main id="content" tabindex="-1" { (body) }
                    footer.foot {
                        p {
                            "A receipt shows what ran. It never shows that a model is right, safe or fair, or that its input is true."
                        }
                    }
                }
            }
        };
        html_response(markup)
    }
}

/// Who is signed in, at the end of the navigation.
fn who(visitor: &Visitor) -> Markup {
    html! {
        @match visitor.tenant() {
            _ if visitor.open() => span.who title="access = \"open\": whoever reaches this address may do everything" { "open access" },
            Some(tenant) => a.who href="/sign-in" { (plain(tenant)) },
            None => a.who href="/sign-in" { "Sign in" },
        }
    }
}

/// HTML as an answer.
pub(super) fn html_response(markup: Markup) -> Response {
    let mut response = markup.into_string().into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
}

/// A page, or what went wrong as one.
pub(super) fn answer(visitor: &Visitor, result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(|problem| refused(visitor, &problem))
}

/// What went wrong, as a page: the same sentence that the interface gives.
pub(super) fn refused(visitor: &Visitor, problem: &Problem) -> Response {
    if problem.status >= 500 {
        tracing::error!(kind = problem.kind, "{}", problem.detail);
    }
    let title = match problem.status {
        401 => "A key is needed",
        403 => "Not with this key",
        404 => "There is no such thing",
        429 | 503 => "Not now",
        410 => "It is gone",
        _ => "That did not work",
    };
    let body = html! {
        h1 { (title) }
        (note(problem))
        @if problem.status == 401 { p { a.button href="/sign-in" { "Sign in with an API key" } } }
    };
    let mut response = Page::new(title, Here::Elsewhere).with(visitor, body);
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = problem.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A problem inside a page.
pub(super) fn note(problem: &Problem) -> Markup {
    html! {
        div.note.bad role="alert" {
            @for line in problem.detail.lines() { p { (plain(line.trim())) } }
            p.small.quiet { "Kind " code { (problem.kind) } ", status " (problem.status) "." }
        }
    }
}

/// Text that a stranger wrote: what is invisible, turns the direction of reading or drives a terminal is shown as what it
/// is. Escaping is done by the template.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if misleads(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The same over several lines.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// A name of a stranger: its direction of reading stays inside it.
pub(super) fn name(text: &str) -> Markup {
    html! { bdi { (plain(text)) } }
}

/// A digest: its beginning, and the whole of it for whoever asks.
pub(super) fn digest(text: &str) -> Markup {
    let short: String = text.chars().take(12).collect();
    html! { code.digest title=(text) { (short) @if text.len() > short.len() { "…" } } }
}

/// A digest, all of it.
pub(super) fn whole(text: &str) -> Markup {
    html! { code.long { (plain(text)) } }
}

/// A table that scrolls by itself where the screen is narrow; `what` names it for whoever cannot see it.
pub(super) fn table(what: &str, head: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(what) tabindex="0" {
            table {
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Pairs of a name and what stands for it; those that are empty are left out.
pub(super) fn facts(pairs: &[(&str, Option<Markup>)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in pairs {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// Unix seconds as a date and time.
pub(super) fn time(unix: u64) -> Markup {
    let text = carat_verify::time::to_text(unix);
    html! { time datetime=(text) { (text) } }
}

/// Bytes with a unit.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// Microseconds with a unit.
pub(super) fn micros(count: u64) -> String {
    match count {
        0..1000 => format!("{count} µs"),
        1000..1_000_000 => format!("{:.1} ms", count as f64 / 1000.0),
        _ => format!("{:.1} s", count as f64 / 1e6),
    }
}

/// A count with its noun.
pub(super) fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_write_is_text() {
        let hostile = "<script>alert(1)</script>\u{202e}\u{200b}\n&\"'";
        let shown = name(hostile).into_string();
        assert_eq!(
            shown,
            "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}\u{fffd}\u{fffd}&amp;&quot;'</bdi>"
        );
        let in_attribute = html! { a title=(hostile) {} }.into_string();
        assert!(!in_attribute.contains("\"'\""), "{in_attribute}");
        assert!(in_attribute.contains("&quot;"));
    }
}
