//! Asking the node, fetching what it says of its answer, and appraising that before anything is passed on.

use axum::body::Bytes;
use carat_receipt::commit::MAX_OPENING_BYTES;
use carat_receipt::file::MAX_FILE_BYTES;
use carat_receipt::{Digest, Nonce, Opening};
use carat_verify::{Appraisal, CourierAsked, Question, Remembered, Verdict, appraise_bytes};
use hyper::{HeaderMap, Method};
use serde_json::Value;

use super::Proxy;
use super::fault::ProxyFault;
use crate::files::{self, Mode};
use crate::home;
use crate::outbound::{Limits, Request, Whole};

/// Longest words of a node in an error.
const MAX_WORDS: usize = 1000;

/// What the node says of an answer: fetched, not believed.
pub(super) struct Evidence {
    /// The receipt file.
    pub(super) receipt: Vec<u8>,
    /// What opens it.
    pub(super) opening: Opening,
    opening_bytes: Vec<u8>,
}

/// What an answer is held against.
#[derive(Default)]
pub(super) struct Held<'a> {
    /// The bytes of the input as the receipt commits to them.
    pub(super) input: &'a [u8],
    /// The bytes of the answer.
    pub(super) output: Option<&'a [u8]>,
    /// What was asked of an upstream.
    pub(super) courier: Option<CourierAsked<'a>>,
    /// The Program that is meant.
    pub(super) model: Option<Digest>,
}

/// 32 bytes that nobody has seen before.
pub(super) fn nonce() -> Result<Nonce, ProxyFault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| ProxyFault::Internal("the operating system gave no randomness".into()))?;
    Nonce::new(bytes).map_err(|error| ProxyFault::Internal(error.to_string()))
}

impl Proxy {
    /// The header `Authorization` for the node: the proxy's own key, else the caller's.
    pub(super) fn authorization(&self, headers: &HeaderMap) -> Option<String> {
        match &self.config.api_key {
            Some(key) => Some(format!("Bearer {}", key.as_str())),
            None => Some(headers.get("authorization")?.to_str().ok()?.to_string()),
        }
    }

    /// Posts to the node; an answer other than 200 is an error in the node's words.
    pub(super) async fn post(
        &self,
        path: &str,
        media_type: &'static str,
        accept: &'static str,
        authorization: Option<&str>,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Whole, ProxyFault> {
        let request = Request {
            method: Method::POST,
            path,
            accept,
            media_type: Some(media_type),
            authorization,
            headers,
            body,
        };
        good(self.node.ask(request, self.limits).await?.whole().await?)
    }

    /// Gets something from the node.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &'static str,
        authorization: Option<&str>,
        bytes: usize,
    ) -> Result<Whole, ProxyFault> {
        let request = Request {
            method: Method::GET,
            path,
            accept,
            media_type: None,
            authorization,
            headers: &[],
            body: Bytes::new(),
        };
        let limits = Limits {
            bytes,
            ..self.limits
        };
        good(self.node.ask(request, limits).await?.whole().await?)
    }

    /// The receipt of an answer and its opening.
    pub(super) async fn evidence(
        &self,
        id: &Digest,
        authorization: Option<&str>,
    ) -> Result<Evidence, ProxyFault> {
        // An opening holds the answer, the question, and both once more.
        let most = MAX_OPENING_BYTES.min(
            (self
                .config
                .answer_bytes
                .saturating_add(self.config.body_bytes))
            .saturating_mul(4)
            .saturating_add(1 << 20),
        );
        let path = format!("/v1/receipts/{id}");
        let any = "application/octet-stream";
        let receipt = self.get(&path, any, authorization, MAX_FILE_BYTES).await?;
        let path = format!("{path}/opening");
        let opening = self.get(&path, any, authorization, most).await?;
        let opened = Opening::decode(&opening.body)
            .map_err(|error| ProxyFault::Uncheckable(format!("its opening: {error}")))?;
        Ok(Evidence {
            receipt: receipt.body,
            opening: opened,
            opening_bytes: opening.body,
        })
    }

    /// Appraises. Only an answer that is good for what is asked of every answer comes through.
    pub(super) fn appraise(
        &self,
        evidence: &Evidence,
        nonce: &Nonce,
        held: &Held<'_>,
    ) -> Result<Appraisal, ProxyFault> {
        let internal = |error: &dyn ToString| ProxyFault::Internal(error.to_string());
        let asked = self.config.min_good_for;
        let question = Question {
            now: home::clock().map_err(|failure| internal(&failure.message))?,
            trust: Some(&self.config.trust),
            trust_owner: self.config.trust_owner,
            nonce: Some(nonce.as_bytes()),
            audience: Some(&self.audience),
            amount: Some(asked),
            opening: Some(&evidence.opening),
            input: Some(held.input),
            output: held.output,
            courier: held.courier,
            model: held.model,
            remembered: Remembered {
                trust_version: self.config.trust_version,
                ..Remembered::default()
            },
            ..Question::default()
        };
        let appraisal =
            appraise_bytes(&evidence.receipt, &question).map_err(|error| internal(&error))?;
        if appraisal.verdict != Verdict::Good {
            return Err(ProxyFault::NotGood(asked, Box::new(appraisal)));
        }
        Ok(appraisal)
    }

    /// Keeps receipt and opening of an answer that is passed on.
    pub(super) fn keep(&self, evidence: &Evidence, id: &Digest) -> Result<(), ProxyFault> {
        let Some(folder) = &self.config.keep else {
            return Ok(());
        };
        let receipt = folder.join(format!("{id}.carat"));
        let opening = folder.join(format!("{id}.carat-open"));
        let write = |path, bytes: &[u8]| {
            files::write_atomic(path, bytes, Mode::Private)
                .map_err(|failure| ProxyFault::Internal(failure.message))
        };
        write(&opening, &evidence.opening_bytes)?;
        write(&receipt, &evidence.receipt)
    }
}

fn good(whole: Whole) -> Result<Whole, ProxyFault> {
    if whole.status == 200 {
        return Ok(whole);
    }
    let json = serde_json::from_slice::<Value>(&whole.body).unwrap_or(Value::Null);
    // OpenAI's form, or a problem document.
    let words = [&json["error"]["message"], &json["detail"], &json["error"]]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or("it gave no reason");
    let words = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    let retry_after = whole.headers.get("retry-after");
    Err(ProxyFault::Refused {
        status: whole.status,
        message: words.take(MAX_WORDS).collect(),
        retry_after: retry_after.and_then(|value| value.to_str().ok()?.parse().ok()),
    })
}
