//! The HTTP interface. Handlers read requests, ask the [`Node`], and write answers; nothing is decided here.

mod admin;
pub(crate) mod hub;
pub(crate) mod infer;
mod log;
mod openai;
mod openapi;
mod receipts;
mod v2;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use crate::access::{Caller, Scope, is_own_name};
use crate::config::Access;
use crate::node::{Node, now};
use crate::page;
use crate::problem::Problem;
use crate::trace::{self, Span};

/// Media type of receipts.
pub const RECEIPT: &str = "application/vnd.carat.receipt";
/// Media type of openings.
pub const OPENING: &str = "application/vnd.carat.opening";
/// Media type of problem documents (RFC 9457).
const PROBLEM: &str = "application/problem+json";
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The route of addresses that are none here.
const UNKNOWN: &str = "unknown";

pub(crate) type Shared = State<Arc<Node>>;

pub(crate) use hub::{blocking, pairs};

/// The routes.
pub fn router(node: Arc<Node>) -> Router {
    let page = match node.config.page.enabled {
        true => page::router(),
        false => Router::new(),
    };
    Router::new()
        .route("/v1/openapi.json", get(openapi::openapi))
        .route("/v1/models", get(infer::models))
        .route("/v1/models/{name}", get(openai::model))
        .route("/v1/models/{name}/infer", post(infer::infer))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/jobs/{id}", get(receipts::job))
        .route("/v1/receipts/{id}", get(receipts::receipt))
        .route("/v1/receipts/{id}/opening", get(receipts::opening))
        .route("/v1/receipts/{id}/opening", delete(receipts::erase))
        .route("/v1/receipts/{id}/quote", get(receipts::quote))
        .route("/v1/receipts/{id}/upgrade", post(receipts::upgrade))
        .route("/v1/admin/stats", get(admin::stats))
        .route("/v1/admin/entries/{index}", get(admin::entry))
        .route("/log/checkpoint", get(log::checkpoint))
        .route("/log/tile/{*path}", get(log::tile))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(v2::router())
        .merge(hub::router())
        .merge(page)
        .fallback(|| async { problem(Problem::not_found("address")) })
        .method_not_allowed_fallback(|| async {
            problem(Problem::new(
                405,
                "method-not-allowed",
                "that address does not take this method",
            ))
        })
        // Bodies are read by `body_of`, which knows the limit.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(node.clone(), own_names))
        .layer(middleware::from_fn_with_state(node.clone(), observe))
        .with_state(node)
}

/// Where access is open, being on this machine is what lets a caller in, and a browser is: a page of another site whose name was
/// made to point here would be of the same origin. Its name stands in `Host`. Behind a proxy, names are the proxy's to check.
async fn own_names(State(node): Shared, request: Request, next: Next) -> Response {
    let guarded = node.config.access == Access::Open && !node.config.tls.behind_proxy;
    let foreign = |host: &HeaderValue| !host.to_str().is_ok_and(is_own_name);
    if guarded && request.headers().get_all(header::HOST).iter().any(foreign) {
        return problem(Problem::new(
            403,
            "stranger",
            "access is open, and the header Host names another machine: call this server by 127.0.0.1 or localhost, or use API keys",
        ));
    }
    next.run(request).await
}

/// Counts and logs every request. Neither addresses nor headers are logged: they name receipts and hold keys.
async fn observe(State(node): Shared, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(UNKNOWN, MatchedPath::as_str)
        .to_string();
    let method = request.method().clone();
    let started = Instant::now();
    let mut span = request_span(&node, &method, &route, request.headers());
    let response = trace::within_async(span.context(), next.run(request)).await;
    let status = response.status().as_u16();
    span.set("http.response.status_code", u64::from(status));
    if status >= 500 {
        span.fail(&status.to_string());
    }
    span.end();
    node.metrics.request(&route, status);
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::error!(%method, route, status, micros, "request");
    } else {
        tracing::debug!(%method, route, status, micros, "request");
    }
    response
}

/// The span of a request. Its address is not in it, only the route: addresses name receipts.
fn request_span(node: &Node, method: &Method, route: &str, headers: &HeaderMap) -> Span {
    // Whoever looks whether the server is well is no work of it.
    let watched = route.starts_with("/health/") || route == "/metrics";
    let Some(tracer) = node.tracer.as_ref().filter(|_| !watched) else {
        return Span::none();
    };
    let known = [
        Method::GET,
        Method::POST,
        Method::DELETE,
        Method::PUT,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
    ];
    let name = if known.contains(method) {
        method.as_str()
    } else {
        "_OTHER"
    };
    // One that is given twice is none.
    let parent = text(headers, "traceparent").ok().flatten();
    let routed = route != UNKNOWN;
    let title = if routed {
        format!("{name} {route}")
    } else {
        name.to_string()
    };
    let mut span = tracer.request(parent, title);
    if span.context().is_some() {
        span.set("http.request.method", name);
        if routed {
            span.set("http.route", route);
        }
        span.set("network.protocol.version", "1.1");
        span.set(
            "url.scheme",
            if node.tls.is_some() { "https" } else { "http" },
        );
    }
    span
}

/// An answer with JSON.
pub(crate) fn json_response(status: u16, value: &Value) -> Response {
    bytes_response(status, "application/json", value.to_string().into_bytes())
}

pub(crate) fn bytes_response(status: u16, media_type: &'static str, bytes: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, bytes).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A problem document.
pub(crate) fn problem(problem: Problem) -> Response {
    if problem.status >= 500 {
        tracing::error!(kind = problem.kind, "{}", problem.detail);
    }
    let bytes = problem.json().to_string().into_bytes();
    let mut response = bytes_response(problem.status, PROBLEM, bytes);
    retry_after(&mut response, &problem);
    response
}

fn retry_after(response: &mut Response, problem: &Problem) {
    if let Some(seconds) = problem.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Sets a header; a value that cannot be one is left out.
pub(crate) fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
}

/// A header's text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::bad_request(format!("{name} is given twice")));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| Problem::bad_request(format!("{name} is not plain text")))
}

/// Who calls, within its rate.
fn caller(node: &Node, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
    let caller = node.gate.caller(text(headers, "authorization")?, now()?)?;
    node.gate.admit(&caller.tenant, Instant::now())?;
    caller.needs(scope)?;
    Ok(caller)
}

/// The body of a request, within the limit.
pub(crate) async fn body_of(
    node: &Node,
    headers: &HeaderMap,
    body: Body,
) -> Result<axum::body::Bytes, Problem> {
    // Nothing is unpacked here, so nothing can unpack to more than it is.
    if let Some(encoding) = text(headers, "content-encoding")?
        && encoding != "identity"
    {
        return Err(Problem::new(
            415,
            "unsupported-encoding",
            "send the body as it is: no Content-Encoding is taken",
        ));
    }
    let limit = node.config.limits.body_bytes;
    let too_large = || {
        Problem::new(
            413,
            "too-large",
            format!("the body is larger than limits.body_bytes = {limit} bytes"),
        )
    };
    let length = text(headers, "content-length")?.and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad_request("the body ended early")),
        Err(_) => Err(Problem::new(
            408,
            "slow-body",
            format!(
                "the body did not arrive within {} s",
                BODY_PATIENCE.as_secs()
            ),
        )),
    }
}

pub(crate) fn is_limit(error: &axum::Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

async fn live() -> Response {
    json_response(200, &json!({ "live": true }))
}

async fn ready(State(node): Shared) -> Response {
    match node.ready() {
        Ok(()) => json_response(200, &json!({ "ready": true })),
        Err(error) => problem(error),
    }
}

async fn metrics(State(node): Shared) -> Response {
    let text = node.metrics.text(node.levels());
    bytes_response(
        200,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        text.into_bytes(),
    )
}
