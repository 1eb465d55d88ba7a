//! OpenAI's interface in front of upstreams: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`. Errors have OpenAI's form,
//! so that its clients understand them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use carat_receipt::courier::Ending;
use carat_receipt::{Digest, Label, Nonce};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::infer::{Found, asked, claimed, key};
use super::{Shared, body_of, bytes_response, caller, json_response, set};
use crate::access::Scope;
use crate::call;
use crate::courier::passed::{Passed, request_digest};
use crate::courier::stream::{Next, Stream, Tape};
use crate::courier::upstream::passed_on;
use crate::courier::{Ask, CourierFault, Endpoint, Offer, Upstream, fault, trailer, whole};
use crate::node::{Claim, Node, now};
use crate::problem::Problem;
use crate::store::Target;

/// Events between the upstream and a slow caller.
const IN_FLIGHT: usize = 16;
/// How long a caller may take to take the end of a stream.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// Media type of a stream.
const EVENTS: &str = "text/event-stream";

/// `POST /v1/chat/completions`.
pub(super) async fn chat(node: Shared, headers: HeaderMap, body: Body) -> Response {
    carry(node, Endpoint::Chat, headers, body).await
}

/// `POST /v1/completions`.
pub(super) async fn completions(node: Shared, headers: HeaderMap, body: Body) -> Response {
    carry(node, Endpoint::Completions, headers, body).await
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(node: Shared, headers: HeaderMap, body: Body) -> Response {
    carry(node, Endpoint::Embeddings, headers, body).await
}

/// The models that upstreams offer, as OpenAI's clients list them.
pub(super) fn offered(node: &Node) -> Vec<Value> {
    let offers = node.couriers.offers();
    offers
        .map(|(upstream, offer)| describe(upstream, offer))
        .collect()
}

fn describe(upstream: &Upstream, offer: &Offer) -> Value {
    json!({
        "id": offer.name,
        "object": "model",
        // Nobody says when it was made.
        "created": 0,
        "owned_by": upstream.name,
    })
}

/// `GET /v1/models/{name}`.
pub(super) async fn model(
    State(node): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = || {
        caller(&node, &headers, Scope::Infer)?;
        let (upstream, offer) = offer(&node, &name)?;
        Ok(json_response(200, &describe(upstream, offer)))
    };
    found().unwrap_or_else(error)
}

fn offer<'a>(node: &'a Node, name: &str) -> Result<(&'a Arc<Upstream>, &'a Offer), CourierFault> {
    node.couriers.find(name).ok_or_else(|| {
        let detail = if node.model(name).is_ok() {
            format!("the model {name} runs here: ask it at /v1/models/{name}/infer")
        } else {
            "no upstream offers that model; GET /v1/models lists those that there are".to_string()
        };
        Problem::new(404, "model_not_found", detail).into()
    })
}

/// An error in OpenAI's form.
fn error(fault: CourierFault) -> Response {
    let status = fault.status();
    if status >= 500 {
        tracing::error!(code = fault.code(), "{fault}");
    }
    let mut response = json_response(status, &fault.json());
    if let Some(seconds) = fault.retry_after() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if fault.is_lasting() {
        set(&mut response, "x-should-retry", "false");
    }
    response
}

/// A request on its way to an upstream.
struct Carriage {
    node: Arc<Node>,
    tenant: String,
    upstream: Arc<Upstream>,
    offer: Offer,
    endpoint: Endpoint,
    nonce: Option<Nonce>,
    audience: Option<Label>,
    policy: Option<Digest>,
    input: Bytes,
    sent: Bytes,
    started: Instant,
    key: Option<(Digest, Digest)>,
    /// Others with the same idempotency key wait for it.
    _claim: Option<Claim>,
    /// Its place among the requests to this upstream.
    _place: OwnedSemaphorePermit,
}

async fn carry(
    State(node): Shared,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let carried = async {
        let caller = caller(&node, &headers, Scope::Infer)?;
        let (nonce, audience) = asks(&headers)?;
        let body = body_of(&node, &headers, body).await?;
        let ask = Ask::read(endpoint, &body)?;
        let (upstream, offer) = offer(&node, &ask.model)?;
        let sent = Bytes::from(ask.sent(&body, offer.upstream_name.as_str())?);
        node.ready()?;
        let policy = node.permit_courier(&caller.tenant, upstream, offer)?;
        let request = request_digest(endpoint, nonce.as_ref(), audience.as_ref(), &body);
        let key = key(&headers, &caller)?.map(|key| (key, request));
        let claim = match claimed(&node, key).await? {
            Found::Known(Target::Receipt(id)) => return again(&node, &caller.tenant, &id),
            Found::Known(Target::Job(_)) => {
                let detail = "that Idempotency-Key was used for another request";
                return Err(Problem::new(409, "key-reused", detail).into());
            }
            Found::New(claim) => claim,
        };
        let carriage = Carriage {
            node: node.clone(),
            tenant: caller.tenant,
            upstream: upstream.clone(),
            offer: offer.clone(),
            endpoint,
            nonce,
            audience,
            policy,
            input: body,
            sent,
            started: Instant::now(),
            key,
            _claim: claim,
            _place: upstream.place()?,
        };
        let passed_on = passed_on(&headers);
        if ask.stream {
            carriage.stream(passed_on).await
        } else {
            carriage.whole(passed_on).await
        }
    };
    carried.await.unwrap_or_else(|fault: CourierFault| {
        node.metrics.courier_fault(fault.code());
        error(fault)
    })
}

/// What a caller asks for in headers. A plan is made for models that run here; nothing can be planned for an answer of others.
fn asks(headers: &HeaderMap) -> Result<(Option<Nonce>, Option<Label>), CourierFault> {
    let asked = asked(headers)?;
    if asked.at_stake.is_some() || asked.impact.is_some() || asked.facts.is_some() {
        let detail = "an upstream's answer is passed on and nothing can be bought for it: leave Carat-At-Stake, Carat-Impact and Carat-Facts away, or \
                      ask a model that runs here";
        return Err(Problem::new(422, "refused", detail).into());
    }
    let nonce = asked.nonce.as_deref().map(call::nonce).transpose()?;
    Ok((nonce, asked.audience))
}

impl Carriage {
    async fn whole(self, passed_on: Vec<(&'static str, String)>) -> Result<Response, CourierFault> {
        let (upstream, offer) = (&self.upstream, &self.offer);
        let exchange = upstream
            .ask(self.endpoint, self.sent.clone(), false, &passed_on)
            .await?;
        let whole = whole::read(upstream, offer, self.endpoint, exchange).await?;
        let marked = whole
            .reported
            .clone()
            .filter(|named| !offer.accepts(named.as_str()));
        let body = whole.bytes.clone();
        let tape = Tape {
            received: whole.bytes.clone(),
            output: whole.bytes,
            chunks: Vec::new(),
            reported: whole.reported,
            tokens: whole.tokens,
        };
        let id = self.keep(tape, false, Ending::Complete).await?;
        let mut response = bytes_response(200, "application/json", body);
        set(&mut response, "carat-receipt-id", &id.to_string());
        let good_for = self.node.good_for(&self.tenant, &id, now()?)?;
        let pending = self.node.pending_of(&self.tenant, &id)?;
        set(&mut response, "carat-good-for", &good_for.header(pending));
        if let Some(named) = marked {
            set(&mut response, "carat-upstream-model", named.as_str());
        }
        Ok(response)
    }

    async fn stream(
        self,
        passed_on: Vec<(&'static str, String)>,
    ) -> Result<Response, CourierFault> {
        let exchange = self
            .upstream
            .ask(self.endpoint, self.sent.clone(), true, &passed_on)
            .await?;
        let (caller, body) = mpsc::channel(IN_FLIGHT);
        let mut stream = Stream::new(self.upstream.clone(), self.offer.clone(), exchange);
        // Until the first event is there, what goes wrong can still be told by a status.
        let first = stream.next().await?;
        // A task of its own: it makes the receipt also where the caller leaves.
        tokio::spawn(self.finish(stream, first, caller));
        Ok(events(Body::new(Events(body))))
    }

    /// Passes the stream on, makes the receipt, and only then sends what ends the stream.
    async fn finish(self, mut stream: Stream, first: Next, caller: mpsc::Sender<Vec<u8>>) {
        let (ending, last) = stream.pump(first, &caller).await;
        if let Some(event) = &last {
            stream.passed(event);
        }
        let end = match self.keep(stream.tape(), true, ending).await {
            Ok(id) => [last.unwrap_or_default(), tail(ending, &id)].concat(),
            Err(problem) => {
                // Without a receipt there is no end: the caller must not take what it has for an answer.
                tracing::error!(
                    kind = problem.kind,
                    "a stream got no receipt: {}",
                    problem.detail
                );
                let error = CourierFault::from(problem).json();
                format!("data: {error}\n\n").into_bytes()
            }
        };
        if ending != Ending::Complete {
            self.node.metrics.courier_fault(ending.code_name());
        }
        // Whoever does not take it within this time has left.
        let _ = tokio::time::timeout(END_PATIENCE, caller.send(end)).await;
    }

    /// Makes the receipt durable; nobody sees it before.
    async fn keep(&self, tape: Tape, streamed: bool, ending: Ending) -> Result<Digest, Problem> {
        let passed = Passed {
            endpoint: self.endpoint,
            upstream: &self.upstream,
            offer: &self.offer,
            nonce: self.nonce.clone(),
            audience: self.audience.clone(),
            policy: self.policy,
            input: self.input.clone(),
            sent: self.sent.clone(),
            received: tape.received,
            output: tape.output,
            chunks: streamed.then_some(tape.chunks),
            ending,
            reported: tape.reported,
            tokens: tape.tokens,
            took: self.started.elapsed(),
        };
        let model = self.offer.name.as_str();
        self.node
            .keep_passed(passed, &self.tenant, model, self.key, self.started)
            .await
    }
}

/// What the courier adds at the end of a stream: an error where it was cut, and the receipt's id.
fn tail(ending: Ending, id: &Digest) -> Vec<u8> {
    let cut = match ending {
        Ending::Complete => String::new(),
        ending => fault::cut_event(ending),
    };
    format!("{cut}{}", trailer(id)).into_bytes()
}

/// An answer that was given before, from what is stored.
fn again(node: &Node, tenant: &str, id: &Digest) -> Result<Response, CourierFault> {
    let record = node.record(tenant, id)?;
    let pending = node.pending_of(tenant, id)?;
    let opening = node.opening(id)?;
    let Some(claims) = &record.signed.statement().optional.courier else {
        let detail = "that Idempotency-Key was used for another request";
        return Err(Problem::new(409, "key-reused", detail).into());
    };
    let mut body = opening.output.bytes.to_vec();
    let mut response = if record.signed.statement().optional.stream.is_some() {
        body.extend(tail(claims.ending, id));
        events(Body::from(body))
    } else {
        bytes_response(200, "application/json", body)
    };
    let good_for = node.good_for(tenant, id, now()?)?;
    set(&mut response, "carat-receipt-id", &id.to_string());
    set(&mut response, "carat-good-for", &good_for.header(pending));
    set(&mut response, "idempotent-replayed", "true");
    Ok(response)
}

fn events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body whose pieces come through a channel. It ends when the channel does.
struct Events(mpsc::Receiver<Vec<u8>>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}
