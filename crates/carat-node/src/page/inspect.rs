//! The inspector: a receipt is verified in the browser, by the same code as `carat verify`, and nothing is sent anywhere. The
//! page's policy forbids connections and forms, so that the browser itself holds the page to that.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use maud::{Markup, html};

use super::frame::{self, Here, Page};
use super::receipt;
use super::session::{Visitor, with};
use crate::access::Scope;
use crate::api::Shared;
use crate::call::base64;
use crate::node::{Node, now};

/// The module needs to be compiled, and nothing may be connected to.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
/// Most bytes of a receipt that stand in a page.
const MAX_INSIDE: usize = 16 << 20;

/// A receipt of this server that the page begins with.
struct Own {
    id: String,
    receipt: String,
    opening: Option<String>,
}

/// `GET /inspect`.
pub(super) async fn empty(State(node): Shared, headers: HeaderMap) -> Response {
    with(&node, &headers, |visitor| Ok(page(&node, visitor, None)))
}

/// `GET /inspect/{id}`: begins with a receipt of the caller's tenant, which stands in the page.
pub(super) async fn own(
    State(node): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let caller = visitor.may(Scope::Read)?;
        let id = receipt::id(&id)?;
        let record = node.record(&caller.tenant, &id)?;
        let bytes = node.receipt_file(record, now()?)?.encode();
        if bytes.len() > MAX_INSIDE {
            return Err(crate::problem::Problem::new(
                413,
                "too-large",
                "the receipt is too large to stand in a page: download it, and drop it on the inspector",
            ));
        }
        let opening = node
            .opening(&id)
            .ok()
            .map(|opening| base64(&opening.encode()));
        let own = Own {
            id: id.to_string(),
            receipt: base64(&bytes),
            opening: opening.filter(|opening| opening.len() <= MAX_INSIDE),
        };
        Ok(page(&node, visitor, Some(&own)))
    })
}

fn page(node: &Node, visitor: &Visitor, own: Option<&Own>) -> Response {
    let body = html! {
        h1 { "Inspect a receipt" }
        p.lead {
            "The receipt is verified here, in your browser, by the same code as " code { "carat verify" }
            ". Nothing is uploaded: this page is not allowed to connect to anything, and your browser enforces it."
        }
        @match &node.page.verifier {
            None => (missing()),
            Some(verifier) => {
                noscript {
                    div.note.warn {
                        p { "Verifying in the browser needs JavaScript and WebAssembly. Without them: "
                            code { "carat verify receipt.carat" } "." }
                    }
                }
                (tool(own))
                p.small.quiet { "The verifier is a WebAssembly module of " (frame::bytes(verifier.size as u64)) " that this server hands out. "
                    "Whoever distrusts this server takes " code { "carat verify" } " from elsewhere: it says the same about the same files." }
            }
        }
    };
    let mut page = Page::new("Inspect a receipt", Here::Inspect);
    if node.page.verifier.is_some() {
        page.script = Some("inspect.js");
    }
    let mut response = page.with(visitor, body);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    response
}

fn missing() -> Markup {
    html! {
        div.note.warn {
            p { strong { "This server has no verifier for browsers." } " Its operator makes one and names its folder:" }
            pre.code { "bindings/wasm/build\n\n[page]\nverifier = \"bindings/wasm/dist\"" }
            p { "Until then: " code { "carat verify receipt.carat --trust trust.toml" } "." }
        }
    }
}

fn tool(own: Option<&Own>) -> Markup {
    html! {
        div #tool .needs-script hidden {
            @if let Some(own) = own {
                p { "Receipt " (frame::digest(&own.id)) " of this server." }
            }
            // No form: the page may not send any.
            div #drop .drop data-receipt=[own.map(|own| &own.receipt)] data-opening=[own.and_then(|own| own.opening.as_ref())]
                data-name=[own.map(|own| &own.id)] {
                label for="receipt" { strong { "Receipt" } }
                input #receipt type="file" accept=".carat,.carat-open,.toml" multiple aria-describedby="drop-help";
                p #drop-help .small.quiet {
                    "Choose or drop a " code { ".carat" } " file. An opening (" code { ".carat-open" } ") and a Trust file ("
                    code { ".toml" } ") may be chosen with it, or later."
                }
                ul #files .files aria-label="Files in use" {}
            }
            details #question {
                summary { "Your question" }
                div.grid {
                    div.field {
                        label for="amount" { "How much hangs on it" }
                        input #amount type="text" inputmode="text" placeholder="500USD" autocomplete="off";
                    }
                    div.field {
                        label for="nonce" { "The nonce that you sent" }
                        input #nonce type="text" placeholder="00112233445566778899aabbccddeeff" autocomplete="off" spellcheck="false";
                    }
                    div.field {
                        label for="audience" { "For whom it is meant" }
                        input #audience type="text" placeholder="example.org" autocomplete="off" spellcheck="false";
                    }
                    div.field {
                        label for="owner" { "The key that the Trust file must be signed by" }
                        input #owner type="text" placeholder="ed25519:…" autocomplete="off" spellcheck="false";
                    }
                }
            }
            p { button #again .first type="button" disabled { "Verify" } }
            div #result aria-live="polite" {}
        }
    }
}
