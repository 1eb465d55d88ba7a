//! The proxy on a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use carat_receipt::Digest;
use carat_receipt::commit::MAX_OPENING_BYTES;
use carat_receipt::file::MAX_FILE_BYTES;
use carat_verify::Appraisal;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Proxy;
use super::fault::ProxyFault;
use crate::api::{OPENING, RECEIPT};
use crate::courier::Endpoint;
use crate::exit::{Exit, Failure};

/// How long the head of a request, or its body, may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a shutdown waits for answers on their way.
const DRAIN: Duration = Duration::from_secs(30);
/// Largest list of models.
const MAX_LIST: usize = 4 << 20;

type Shared = State<Arc<Proxy>>;

/// The routes.
pub fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route(Endpoint::Chat.path(), post(chat))
        .route(Endpoint::Completions.path(), post(completions))
        .route(Endpoint::Embeddings.path(), post(embeddings))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .route("/v1/models/{name}/infer", post(infer))
        .route("/v1/receipts/{id}", get(receipt))
        .route("/v1/receipts/{id}/opening", get(opening))
        .fallback(|| async {
            error(&ProxyFault::Refused {
                status: 404,
                message: "there is no such address".into(),
                retry_after: None,
            })
        })
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(proxy.clone(), guard))
        .with_state(proxy)
}

/// Turns away pages in a browser: one that any site can make, and one whose name points here.
async fn guard(State(proxy): Shared, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if headers.contains_key(header::ORIGIN) {
        return error(&ProxyFault::Stranger(
            "requests of pages in a browser are not taken",
        ));
    }
    if !host.is_some_and(|host| proxy.is_own_name(host)) {
        return error(&ProxyFault::Stranger(
            "the header Host names another machine; call the proxy by 127.0.0.1 or localhost",
        ));
    }
    next.run(request).await
}

async fn chat(State(proxy): Shared, headers: HeaderMap, body: Body) -> Response {
    told(proxy.carry(Endpoint::Chat, &headers, body).await)
}

async fn completions(State(proxy): Shared, headers: HeaderMap, body: Body) -> Response {
    told(proxy.carry(Endpoint::Completions, &headers, body).await)
}

async fn embeddings(State(proxy): Shared, headers: HeaderMap, body: Body) -> Response {
    told(proxy.carry(Endpoint::Embeddings, &headers, body).await)
}

async fn infer(
    State(proxy): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    told(proxy.infer(&name, &headers, body).await)
}

/// Lists are no answers: they are passed on as the node gives them.
async fn models(State(proxy): Shared, headers: HeaderMap) -> Response {
    told(
        proxy
            .list("/v1/models", "application/json", &headers, MAX_LIST)
            .await,
    )
}

async fn model(State(proxy): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let path = format!("/v1/models/{}", segment(&name));
    told(
        proxy
            .list(&path, "application/json", &headers, MAX_LIST)
            .await,
    )
}

async fn receipt(State(proxy): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    told(proxy.file(&id, "", RECEIPT, &headers, MAX_FILE_BYTES).await)
}

async fn opening(State(proxy): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    told(
        proxy
            .file(&id, "/opening", OPENING, &headers, MAX_OPENING_BYTES)
            .await,
    )
}

/// A name as a part of a path (RFC 3986 section 2.3): it came out of one, decoded.
pub(super) fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

impl Proxy {
    async fn list(
        &self,
        path: &str,
        media_type: &'static str,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Response, ProxyFault> {
        let authorization = self.authorization(headers);
        let whole = self
            .get(path, media_type, authorization.as_deref(), most)
            .await?;
        Ok(plain(200, media_type, whole.body))
    }

    /// Receipts are for whoever wants to verify them again.
    async fn file(
        &self,
        id: &str,
        after: &str,
        media_type: &'static str,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Response, ProxyFault> {
        let id: Digest = id
            .parse()
            .map_err(|_| ProxyFault::Request("a receipt's id is 64 hexadecimal digits".into()))?;
        let path = format!("/v1/receipts/{id}{after}");
        self.list(&path, media_type, headers, most).await
    }
}

/// The body of a request, within the limit.
pub(super) async fn body_of(body: Body, limit: usize) -> Result<Bytes, ProxyFault> {
    match tokio::time::timeout(PATIENCE, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if crate::api::is_limit(&error) => Err(ProxyFault::TooLarge(limit)),
        Ok(Err(_)) => Err(ProxyFault::Request("the body ended early".into())),
        Err(_) => Err(ProxyFault::Request(format!(
            "the body did not arrive within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

fn plain(status: u16, media_type: &'static str, bytes: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, bytes).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer that was found good enough.
pub(super) fn answer(
    media_type: &'static str,
    bytes: Vec<u8>,
    appraisal: &Appraisal,
    id: &Digest,
) -> Response {
    let mut response = plain(200, media_type, bytes);
    let good_for = appraisal.best.map(|best| best.to_string());
    let headers = response.headers_mut();
    for (name, value) in [
        ("carat-receipt-id", id.to_string()),
        ("carat-good-for", good_for.unwrap_or_default()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

fn told(result: Result<Response, ProxyFault>) -> Response {
    result.unwrap_or_else(|fault| error(&fault))
}

fn error(fault: &ProxyFault) -> Response {
    tracing::warn!(code = fault.code(), "{fault}");
    let bytes = fault.json().to_string().into_bytes();
    let mut response = plain(fault.status(), "application/json", bytes);
    let headers = response.headers_mut();
    if let Some(seconds) = fault.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if fault.is_lasting() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// Serves until a signal. `listening` is told the address once requests are taken.
///
/// # Errors
/// What the system refuses.
pub fn listen(proxy: Proxy, listening: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::new(Exit::Io, error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("carat-proxy")
        .build()
        .map_err(io)?;
    let address = proxy.config.listen;
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(|error| {
            Failure::new(Exit::Io, format!("listening on {address} failed: {error}"))
        })?;
    listening(listener.local_addr().map_err(io)?);
    runtime.block_on(accept(Arc::new(proxy), listener));
    runtime.shutdown_background();
    Ok(())
}

async fn accept(proxy: Arc<Proxy>, listener: TcpListener) {
    let mut told = crate::serve::told();
    let places = Arc::new(Semaphore::new(
        proxy.config.connections.min(Semaphore::MAX_PERMITS),
    ));
    let app = TowerToHyperService::new(router(proxy));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let open = GracefulShutdown::new();
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = told.wait_for(|told| *told) => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), app.clone()));
        tokio::spawn(async move {
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = open.shutdown() => {}
        () = tokio::time::sleep(DRAIN) => {}
    }
}
