//! An answer that is not streamed: read whole, looked at, passed on as it is or not at all.

use carat_receipt::Label;
use carat_receipt::courier::Tokens;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::borrow::Cow;

use super::ask::Endpoint;
use super::fault::CourierFault;
use super::passed;
use super::upstream::{Offer, Upstream};
use crate::outbound::Exchange;

/// An answer that may be passed on.
#[derive(Debug)]
pub struct Whole {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The model that it names.
    pub reported: Option<Label>,
    /// What it claims to have used.
    pub tokens: Option<Tokens>,
}

/// What is read of an answer. A field that is there twice is an error: readers would not agree on it.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    choices: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    data: Option<Vec<IgnoredAny>>,
}

/// Reads an answer to its end.
///
/// # Errors
/// See [`CourierFault`].
pub async fn read(
    upstream: &Upstream,
    offer: &Offer,
    endpoint: Endpoint,
    exchange: Exchange,
) -> Result<Whole, CourierFault> {
    let whole = exchange.whole().await;
    let bytes = whole.map_err(|fault| upstream.outbound(fault))?.body;
    upstream.withhold(&bytes)?;
    look(upstream, offer, endpoint, bytes)
}

fn look(
    upstream: &Upstream,
    offer: &Offer,
    endpoint: Endpoint,
    bytes: Vec<u8>,
) -> Result<Whole, CourierFault> {
    // Strings that nobody looks at are passed over by the parser without this.
    let text = std::str::from_utf8(&bytes).map_err(|_| upstream.garbled("it is not UTF-8"))?;
    let answer: Answer<'_> = serde_json::from_str(text)
        .map_err(|error| upstream.garbled(format!("it is no answer of the interface: {error}")))?;
    if let Some(error) = answer.error {
        return Err(said_error(upstream, &error));
    }
    let list = match endpoint {
        Endpoint::Chat | Endpoint::Completions => &answer.choices,
        Endpoint::Embeddings => &answer.data,
    };
    if list.is_none() {
        return Err(upstream.garbled(format!("it has no list \"{}\"", endpoint.list())));
    }
    let reported = upstream.named(offer, answer.model.as_deref())?;
    let tokens = answer.usage.as_ref().and_then(passed::tokens);
    Ok(Whole {
        bytes,
        reported,
        tokens,
    })
}

/// An error under a status that says that all is well.
pub(super) fn said_error(upstream: &Upstream, error: &Value) -> CourierFault {
    let words = error["message"].as_str().unwrap_or("it gave no reason");
    let words = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    CourierFault::Refused {
        upstream: upstream.name.to_string(),
        status: 200,
        message: words.take(1000).collect(),
        retry_after: None,
    }
}
