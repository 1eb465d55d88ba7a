//! Sends spans to a collector: OTLP over HTTP, as JSON. A collector that is slow or gone costs spans and nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Uri};
use serde_json::json;

use super::{Record, Value};
use crate::config::Traces;
use crate::connect::{Broken, Target};
use crate::exit::{Exit, Failure};
use crate::keeper::named;
use crate::metrics::Metrics;
use crate::queue::Queue;

/// Spans in one request to the collector.
const BATCH: usize = 512;
/// How long spans wait for others to be sent with.
const LINGER: Duration = Duration::from_millis(200);
/// How long one request to the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a server that ends waits for the collector, in all.
const LAST: Duration = Duration::from_secs(2);
/// Largest answer of a collector that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A collector's address.
pub struct Endpoint {
    target: Target,
    path: String,
}

impl Endpoint {
    /// Reads the configuration; `None`: nothing is traced.
    pub fn read(traces: &Traces) -> Result<Option<Self>, Failure> {
        let Some(text) = &traces.endpoint else {
            return Ok(None);
        };
        let refuse = |why: String| Failure::new(Exit::Usage, format!("traces.endpoint: {why}"));
        let uri: Uri = text
            .parse()
            .map_err(|error| refuse(format!("{text}: {error}")))?;
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            // What every collector listens for, where nothing else is said.
            "/" => "/v1/traces".to_string(),
            path => path.to_string(),
        };
        let ca: Option<&Path> = traces.ca.as_deref();
        let target = Target::new(&uri, ca).map_err(|failure| refuse(failure.message))?;
        Ok(Some(Self { target, path }))
    }
}

/// Takes spans, and sends them from a thread of its own.
pub struct Tracer {
    queue: Queue<Record>,
    sample_percent: u64,
    closing: AtomicBool,
    metrics: Arc<Metrics>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Tracer {
    /// Starts the thread.
    pub fn start(
        endpoint: Endpoint,
        traces: &Traces,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Io, error))?;
        let tracer = Arc::new(Self {
            queue: Queue::new(traces.queue),
            sample_percent: traces.sample_percent,
            closing: AtomicBool::new(false),
            metrics,
            thread: Mutex::new(None),
        });
        let mut exporter = Exporter {
            tracer: tracer.clone(),
            resource: resource(&traces.service),
            endpoint,
            runtime: Some(runtime),
            sender: None,
            failing: false,
        };
        let thread = named("carat-traces", move || exporter.run())?;
        *tracer.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(tracer)
    }

    pub(super) fn sample_percent(&self) -> u64 {
        self.sample_percent
    }

    /// Takes a span that ended. Where there is no room it is dropped and counted: whoever works waits for no collector.
    pub(super) fn take(&self, record: Record) {
        if self.queue.try_push(record).is_err() {
            self.metrics.spans(0, 1);
        }
    }

    /// Sends what is left, for a short time, and ends the thread.
    pub(crate) fn finish(&self) {
        self.closing.store(true, Ordering::Release);
        self.queue.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Exporter {
    tracer: Arc<Tracer>,
    resource: serde_json::Value,
    endpoint: Endpoint,
    runtime: Option<tokio::runtime::Runtime>,
    sender: Option<SendRequest<Full<Bytes>>>,
    failing: bool,
}

impl Exporter {
    fn run(&mut self) {
        let mut last: Option<Instant> = None;
        while let Some(mut batch) = self.tracer.queue.take(BATCH) {
            let closing = self.tracer.closing.load(Ordering::Acquire);
            if batch.len() < BATCH && !closing {
                // A server that ends wakes this up.
                std::thread::park_timeout(LINGER);
                if !self.tracer.queue.is_empty() {
                    let more = self.tracer.queue.take(BATCH - batch.len());
                    batch.extend(more.unwrap_or_default());
                }
            }
            let patience = if self.tracer.closing.load(Ordering::Acquire) {
                let until = *last.get_or_insert_with(|| Instant::now() + LAST);
                until.saturating_duration_since(Instant::now())
            } else {
                PATIENCE
            };
            let count = batch.len() as u64;
            let sent = if patience.is_zero() {
                Err("the server ended".into())
            } else {
                self.send(&batch, patience)
            };
            self.note(sent, count);
        }
        if let Some(runtime) = self.runtime.take() {
            // A look-up of a name may still hang; nobody waits for it.
            runtime.shutdown_background();
        }
    }

    fn note(&mut self, sent: Result<(), Broken>, count: u64) {
        match sent {
            Ok(()) => {
                self.tracer.metrics.spans(count, 0);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the trace collector takes spans again");
                }
            }
            Err(error) => {
                self.sender = None;
                self.tracer.metrics.spans(0, count);
                // Once, not for every batch.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, collector = self.endpoint.target.authority, "spans are dropped: the trace collector does not take them");
                }
            }
        }
    }

    fn send(&mut self, batch: &[Record], patience: Duration) -> Result<(), Broken> {
        let body = Bytes::from(document(&self.resource, batch).to_string());
        let (endpoint, sender, tracer) = (&self.endpoint, &mut self.sender, &self.tracer);
        let runtime = self.runtime.as_ref().ok_or("the exporter ended")?;
        runtime.block_on(async {
            tokio::select! {
                sent = tokio::time::timeout(patience, post(endpoint, sender, body)) => {
                    sent.map_err(|_| format!("no answer within {} ms", patience.as_millis()))?
                }
                () = ended(tracer) => Err("no answer before the server ended".into()),
            }
        })
    }
}

/// Ends a while after the server began to.
async fn ended(tracer: &Tracer) {
    while !tracer.closing.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(LAST).await;
}

async fn post(
    endpoint: &Endpoint,
    kept: &mut Option<SendRequest<Full<Bytes>>>,
    body: Bytes,
) -> Result<(), Broken> {
    let usable = match kept {
        Some(sender) => sender.ready().await.is_ok(),
        None => false,
    };
    let mut sender = match kept.take().filter(|_| usable) {
        Some(sender) => sender,
        // The collector closed the old one, or there is none.
        None => endpoint.target.open().await?,
    };
    let request = Request::post(&endpoint.path)
        .header("host", &endpoint.target.authority)
        .header("content-type", "application/json")
        .header("user-agent", concat!("carat/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await?;
    if !status.is_success() {
        return Err(format!("it answered {}", status.as_u16()).into());
    }
    *kept = Some(sender);
    Ok(())
}

fn resource(service: &str) -> serde_json::Value {
    let mut instance = [0; 8];
    // Without randomness it is the same for all; nothing rests on it.
    let _ = getrandom::fill(&mut instance);
    attributes(&[
        ("service.name", service.into()),
        ("service.version", env!("CARGO_PKG_VERSION").into()),
        ("service.instance.id", hex::encode(instance).into()),
    ])
}

/// An `ExportTraceServiceRequest` in OTLP's JSON: identifiers in hexadecimal, 64-bit numbers as text.
fn document(resource: &serde_json::Value, batch: &[Record]) -> serde_json::Value {
    let spans: Vec<_> = batch.iter().map(span).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": "carat-node", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
}

fn span(record: &Record) -> serde_json::Value {
    let mut json = json!({
        "traceId": hex::encode(record.context.trace),
        "spanId": hex::encode(record.context.span),
        "name": record.name,
        "kind": record.role as u8,
        "startTimeUnixNano": record.start.to_string(),
        "endTimeUnixNano": record.end.to_string(),
        "attributes": attributes(&record.attributes),
        "status": if record.failed { json!({ "code": 2 }) } else { json!({}) },
    });
    if let Some(parent) = record.parent {
        json["parentSpanId"] = json!(hex::encode(parent));
    }
    json
}

fn attributes(attributes: &[(&'static str, Value)]) -> serde_json::Value {
    attributes
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::Text(text) => json!({ "stringValue": text }),
                Value::Int(number) => json!({ "intValue": number.to_string() }),
                Value::Bool(yes) => json!({ "boolValue": yes }),
            };
            json!({ "key": key, "value": value })
        })
        .collect()
}
