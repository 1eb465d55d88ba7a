//! The upstreams, ready to be asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use carat_receipt::Label;
use hyper::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::ask::Endpoint;
use super::config::{Mismatch, OfferEntry, UpstreamEntry};
use super::fault::CourierFault;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::outbound::{Destination, Exchange, Fault, Limits, Permits, Request};

/// Largest error of an upstream that is read.
const MAX_ERROR: usize = 64 * 1024;
/// Longest words of an upstream in an error.
const MAX_WORDS: usize = 1000;
/// Longest file of a key.
const MAX_KEY: u64 = 4096;
/// Headers of callers that are passed on: names for a request, which change nothing of its answer.
pub const PASSED_ON: [&str; 2] = ["x-client-request-id", "traceparent"];

/// An upstream service.
pub struct Upstream {
    /// Its name in receipts.
    pub name: Label,
    destination: Destination,
    /// The header `Authorization`, whole.
    authorization: Option<Zeroizing<String>>,
    /// The key alone, which must never come back.
    key: Option<Zeroizing<String>>,
    limits: Limits,
    /// Largest event of a stream in bytes.
    pub event_bytes: usize,
    mismatch: Mismatch,
    places: Arc<Semaphore>,
    concurrent: usize,
    offers: Vec<Offer>,
}

/// A model that an upstream offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What callers call it.
    pub name: Label,
    /// What the upstream calls it.
    pub upstream_name: Label,
    answers_as: Vec<String>,
}

/// All of them.
#[derive(Default)]
pub struct Couriers {
    upstreams: Vec<Arc<Upstream>>,
}

impl Couriers {
    /// Reads keys and certificates. Nothing is asked of any upstream.
    ///
    /// # Errors
    /// What is wrong with an entry.
    pub fn prepare(entries: &[UpstreamEntry]) -> Result<Self, Failure> {
        let upstreams = entries
            .iter()
            .map(|entry| Upstream::prepare(entry).map(Arc::new));
        Ok(Self {
            upstreams: upstreams.collect::<Result<_, _>>()?,
        })
    }

    /// Every model with its upstream.
    pub fn offers(&self) -> impl Iterator<Item = (&Arc<Upstream>, &Offer)> {
        self.upstreams
            .iter()
            .flat_map(|upstream| upstream.offers.iter().map(move |offer| (upstream, offer)))
    }

    /// The upstream of a model, by the node's name for it.
    pub fn find(&self, model: &str) -> Option<(&Arc<Upstream>, &Offer)> {
        self.offers()
            .find(|(_, offer)| offer.name.as_str() == model)
    }
}

impl Upstream {
    fn prepare(entry: &UpstreamEntry) -> Result<Self, Failure> {
        let place = |failure: Failure| {
            let message = format!("upstream {}: {}", entry.name, failure.message);
            Failure::new(failure.exit, message)
        };
        let permits = Permits {
            addresses: &entry.allow_addresses,
            plain_http: entry.plain_http,
            authorities: entry.ca_file.as_deref(),
        };
        let key = key(entry).map_err(place)?;
        let ms = Duration::from_millis;
        Ok(Self {
            name: label(&entry.name)?,
            destination: Destination::new(&entry.url, &permits).map_err(place)?,
            authorization: key
                .as_ref()
                .map(|key| Zeroizing::new(format!("Bearer {}", key.as_str()))),
            key,
            limits: Limits {
                connect: ms(entry.connect_ms),
                head: ms(entry.head_ms),
                chunk: ms(entry.chunk_ms),
                total: ms(entry.total_ms),
                bytes: entry.answer_bytes,
            },
            event_bytes: entry.event_bytes,
            mismatch: entry.model_mismatch,
            places: Arc::new(Semaphore::new(entry.concurrent.min(Semaphore::MAX_PERMITS))),
            concurrent: entry.concurrent,
            offers: entry
                .models
                .iter()
                .map(Offer::of)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Keeps a place for a request until it is dropped.
    ///
    /// # Errors
    /// [`CourierFault::Busy`].
    pub fn place(&self) -> Result<OwnedSemaphorePermit, CourierFault> {
        self.places
            .clone()
            .try_acquire_owned()
            .map_err(|_| CourierFault::Busy {
                upstream: self.name.to_string(),
                limit: self.concurrent,
            })
    }

    /// Asks, and gives the answer's head where it is an answer of the kind asked for.
    ///
    /// # Errors
    /// See [`CourierFault`].
    pub async fn ask(
        &self,
        endpoint: Endpoint,
        sent: Bytes,
        stream: bool,
        headers: &[(&'static str, String)],
    ) -> Result<Exchange, CourierFault> {
        let accept = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let request = Request {
            method: Method::POST,
            path: endpoint.upstream_path(),
            accept,
            media_type: Some("application/json"),
            authorization: self.authorization.as_ref().map(|value| value.as_str()),
            headers,
            body: sent,
        };
        let asked = self.destination.ask(request, self.limits).await;
        let exchange = asked.map_err(|fault| self.outbound(fault))?;
        if exchange.status != 200 {
            return Err(self.refused(exchange).await);
        }
        let media_type = exchange.media_type();
        if media_type != accept {
            let told: String = media_type.chars().take(60).collect();
            return Err(self.garbled(format!("its answer is {told:?} and not {accept}")));
        }
        Ok(exchange)
    }

    /// What an upstream says that refuses.
    async fn refused(&self, mut exchange: Exchange) -> CourierFault {
        let status = exchange.status;
        let retry_after = exchange.headers.get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Ok(Some(piece)) = exchange.next().await {
            body.extend_from_slice(&piece);
            if body.len() > MAX_ERROR {
                break;
            }
        }
        let json = serde_json::from_slice::<Value>(&body).ok();
        let words = json
            .as_ref()
            .and_then(|json| json["error"]["message"].as_str());
        let words: String = words
            .unwrap_or("it gave no reason")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_WORDS)
            .collect();
        if self.holds_key(words.as_bytes()) {
            return CourierFault::KeyInAnswer {
                upstream: self.name.to_string(),
            };
        }
        CourierFault::Refused {
            upstream: self.name.to_string(),
            status,
            message: words,
            retry_after,
        }
    }

    /// Whether bytes hold the key that the upstream is called with.
    fn holds_key(&self, bytes: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|key| {
            let key = key.as_bytes();
            bytes.windows(key.len()).any(|window| window == key)
        })
    }

    /// Withholds bytes that hold the key.
    pub(super) fn withhold(&self, bytes: &[u8]) -> Result<(), CourierFault> {
        if self.holds_key(bytes) {
            return Err(CourierFault::KeyInAnswer {
                upstream: self.name.to_string(),
            });
        }
        Ok(())
    }

    pub(super) fn outbound(&self, fault: Fault) -> CourierFault {
        CourierFault::Outbound {
            upstream: self.name.to_string(),
            fault,
        }
    }

    pub(super) fn garbled(&self, why: impl ToString) -> CourierFault {
        CourierFault::Garbled {
            upstream: self.name.to_string(),
            why: why.to_string(),
        }
    }

    /// Judges the model that an answer names.
    ///
    /// # Errors
    /// [`CourierFault::OtherModel`], unless the operator wants it marked.
    pub(super) fn named(
        &self,
        offer: &Offer,
        named: Option<&str>,
    ) -> Result<Option<Label>, CourierFault> {
        // Some services begin a stream with an empty name.
        let named = named.filter(|named| !named.is_empty());
        let name = named
            .map(|named| {
                Label::new(named).map_err(|error| self.garbled(format!("\"model\": {error}")))
            })
            .transpose()?;
        let expected = named.is_some_and(|named| offer.accepts(named));
        if !expected && self.mismatch == Mismatch::Refuse {
            return Err(CourierFault::OtherModel {
                upstream: self.name.to_string(),
                asked: offer.upstream_name.to_string(),
                named: name.map_or_else(|| "none".to_string(), |name| name.to_string()),
            });
        }
        Ok(name)
    }
}

impl Offer {
    fn of(entry: &OfferEntry) -> Result<Self, Failure> {
        Ok(Self {
            name: label(&entry.name)?,
            upstream_name: label(entry.upstream_name.as_ref().unwrap_or(&entry.name))?,
            answers_as: entry.answers_as.clone(),
        })
    }

    /// Whether an answer may name its model so.
    pub fn accepts(&self, named: &str) -> bool {
        named == self.upstream_name.as_str() || self.answers_as.iter().any(|other| other == named)
    }
}

fn label(text: &str) -> Result<Label, Failure> {
    Label::new(text).map_err(|error| Failure::new(Exit::Usage, format!("{text:?}: {error}")))
}

fn key(entry: &UpstreamEntry) -> Result<Option<Zeroizing<String>>, Failure> {
    let (text, place) = match (&entry.key_env, &entry.key_file) {
        (None, None) => return Ok(None),
        (Some(name), _) => {
            let value = std::env::var(name).map_err(|_| {
                let message =
                    format!("the environment variable {name} (key_env) is not set, or is no text");
                Failure::new(Exit::Usage, message)
            })?;
            (Zeroizing::new(value), name.clone())
        }
        (None, Some(path)) => {
            refuse_public(path)?;
            let text = files::read_text(path, "the key of an upstream", MAX_KEY)?;
            (Zeroizing::new(text), path.display().to_string())
        }
    };
    let key = text.lines().next().unwrap_or("").trim();
    // Short ones would be found in every answer, and are no keys.
    if key.len() < 8 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message =
            format!("{place} holds no key: 8 or more printable characters without spaces");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(Some(Zeroizing::new(key.to_string())))
}

/// A key that everybody on the machine can read is no secret.
fn refuse_public(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let about =
        std::fs::metadata(path).map_err(|error| files::io_failure("reading", path, &error))?;
    if about.permissions().mode() & 0o007 != 0 {
        let message = format!(
            "{} can be read by everybody on this machine: chmod 0600",
            path.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(())
}

/// The headers of a caller that are passed on.
pub fn passed_on(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    PASSED_ON
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            let fits = value.len() <= 256 && value.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| (name, value.to_string()))
        })
        .collect()
}
