//! The web page: what the interface tells, for people.
//!
//! Everything is made here, on the server, from what the other modules of this crate say; a page never shows more than the
//! interface would tell the same caller. Templates escape whatever is put into them ([`frame`]). Nothing is loaded from
//! elsewhere, nothing is inline, and every page but the inspector works without JavaScript. The inspector verifies in the
//! browser and may connect to nothing at all.

mod assets;
mod charts;
mod form;
mod frame;
mod history;
mod inspect;
mod log;
mod models;
mod outcome;
mod overview;
mod receipt;
mod run;
mod session;
mod spend;
mod verifier;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use crate::exit::Failure;
use crate::node::Node;

use history::History;
use session::Sessions;
pub(crate) use verifier::Verifier;

/// What a page may do unless it says otherwise: load scripts, styles and pictures from here, and send forms here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages need besides the node.
pub(crate) struct State {
    /// Who is signed in.
    pub(crate) sessions: Sessions,
    /// The verifier that browsers run, where there is one.
    pub(crate) verifier: Option<Verifier>,
    /// Past decisions that were read.
    pub(crate) history: History,
}

impl State {
    /// With a verifier for browsers, where there is one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(crate) fn new(verifier: Option<Verifier>) -> Result<Self, Failure> {
        Ok(Self {
            sessions: Sessions::new()?,
            verifier,
            history: History::default(),
        })
    }
}

/// The routes.
pub(crate) fn router() -> Router<Arc<Node>> {
    Router::new()
        .route("/", get(overview::overview))
        .route("/models", get(models::search))
        .route("/models/{owner}/{name}", get(models::latest))
        .route("/models/{owner}/{name}/{revision}", get(models::version))
        .route("/run", get(run::list))
        .route("/run/{name}", get(run::form).post(run::run))
        .route("/run/{name}/plan", post(run::plan))
        .route("/receipts/{id}", get(receipt::shown))
        .route("/receipts/{id}/file", get(receipt::file))
        .route("/receipts/{id}/opening", get(receipt::opening))
        .route("/inspect", get(inspect::empty))
        .route("/inspect/{id}", get(inspect::own))
        .route("/log", get(log::log))
        .route("/spend", get(spend::spend))
        .route("/spend/live", get(spend::live))
        .route("/sign-in", get(session::form).post(session::begin))
        .route("/sign-out", post(session::end))
        .route("/assets/{name}", get(assets::asset))
        .route_layer(middleware::from_fn(guard))
}

/// Puts what protects a page into its answer.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` browsers would send forms without their origin, which is checked.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers
            .entry(name)
            .or_insert_with(|| HeaderValue::from_static(value));
    }
    response
}
