//! `/v1/models/{name}/infer` through the proxy: answers of models that run at the node.
//!
//! The receipt commits to tensors and not to the bytes of HTTP, so the answer is made here, from what the receipt opens: nothing of
//! what the node wrote is passed on.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_nn::edge;
use carat_program::AnyProgram;
use carat_receipt::{Digest, ReceiptFile};
use serde_json::{Value, json};

use super::Proxy;
use super::check::{Held, nonce};
use super::fault::ProxyFault;
use super::openai::{of_header, receipt_of};
use super::serve::{answer, body_of, segment};
use crate::model::Computation;

const JSON: &str = "application/json";
const NPY: &str = "application/x-npy";
/// What a caller may not say itself: the proxy says it.
const OWN: [&str; 2] = ["nonce", "audience"];

impl Proxy {
    /// Asks the node to run a model, and gives its answer where its receipt is good for enough.
    pub(super) async fn infer(
        &self,
        name: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ProxyFault> {
        let body = body_of(body, self.config.body_bytes).await?;
        let form = headers.get("content-type");
        let form = form.and_then(|form| form.to_str().ok()).unwrap_or("");
        let media_type = match form.split(';').next().unwrap_or("").trim() {
            JSON => JSON,
            NPY | "application/octet-stream" => NPY,
            _ => {
                let why = "send application/json, or a NumPy file as application/x-npy";
                return Err(ProxyFault::Request(why.into()));
            }
        };
        let said = said(media_type, &body)?;
        let meant = self.meant(name)?;
        let nonce = nonce()?;
        let mut asks = vec![
            ("carat-nonce", hex::encode(nonce.as_bytes())),
            ("carat-audience", self.audience.to_string()),
        ];
        // What every answer must be good for is at stake, unless the caller says more of it.
        match headers.get("carat-at-stake") {
            Some(stake) => {
                let stake = stake
                    .to_str()
                    .map_err(|_| ProxyFault::Request("Carat-At-Stake is not plain text".into()))?;
                asks.push(("carat-at-stake", stake.to_string()));
            }
            None if said.get("at_stake").is_some() => {}
            None => asks.push(("carat-at-stake", self.config.min_good_for.to_string())),
        }
        let authorization = self.authorization(headers);
        let authorization = authorization.as_deref();
        let path = format!("/v1/models/{}/infer", segment(name));
        let whole = self
            .post(&path, media_type, JSON, authorization, &asks, body.clone())
            .await?;
        let evidence = self.evidence(&of_header(&whole)?, authorization).await?;
        let unreadable = |what: &str, error: &dyn ToString| {
            ProxyFault::Uncheckable(format!("{what}: {}", error.to_string()))
        };
        let receipt = ReceiptFile::decode(&evidence.receipt)
            .map_err(|error| unreadable("its receipt", &error))?;
        // That this is the Program of the receipt is for the appraisal to say; here it only says how the question is written.
        let bytes = receipt.program.as_deref().unwrap_or(&[]);
        let program =
            AnyProgram::decode(bytes).map_err(|error| unreadable("its Program", &error))?;
        let program = Computation::of(&program);
        let input = input(program, media_type, &said, &body)?;
        let stated = receipt.signed.statement().program;
        let held = Held {
            input: &input,
            // Whichever of the programs under that name: another one is not what is meant.
            model: (meant.iter().find(|program| **program == stated))
                .or(meant.first())
                .copied(),
            ..Held::default()
        };
        let appraisal = self.appraise(&evidence, &nonce, &held)?;
        let id = receipt_of(&appraisal)?;
        self.keep(&evidence, &id)?;
        let outputs = program
            .decode(&evidence.opening.output.bytes)
            .map_err(|error| unreadable("its output", &error))?;
        let outputs = program.show(&outputs).ok_or_else(|| {
            let why = "another number of outputs than the Program's";
            unreadable("its output", &why)
        })?;
        let statement = receipt.signed.statement();
        let json = json!({
            "receipt_id": id,
            "model": {
                "name": name,
                "version": statement.model_version,
                "program": statement.program,
            },
            "outputs": outputs,
            "good_for": {
                "amount": appraisal.best,
                "verdict": appraisal.verdict,
                "trust": appraisal.trust,
                "sets": appraisal.good_for,
            },
        });
        Ok(answer(JSON, json.to_string().into_bytes(), &appraisal, &id))
    }

    /// The Programs that the Trust file means by a name. A node could otherwise answer with another model that is accepted too.
    fn meant(&self, name: &str) -> Result<Vec<Digest>, ProxyFault> {
        let models = &self.config.trust.content().models;
        let meant: Vec<Digest> = models
            .iter()
            .filter(|model| model.name.as_str() == name)
            .map(|model| model.program)
            .collect();
        if meant.is_empty() {
            return Err(ProxyFault::Request(format!(
                "your Trust file names no model {name}, so nothing says which program that is: carat trust add FILE model {name} MODEL"
            )));
        }
        Ok(meant)
    }
}

/// The body as JSON, where it is JSON.
fn said(media_type: &str, body: &Bytes) -> Result<Value, ProxyFault> {
    if media_type == NPY {
        return Ok(Value::Null);
    }
    let said: Value = serde_json::from_slice(body)
        .map_err(|error| ProxyFault::Request(format!("the body: {error}")))?;
    match OWN.into_iter().find(|name| said.get(name).is_some()) {
        Some(name) => Err(ProxyFault::Request(format!(
            "leave {name} away: the proxy gives its own"
        ))),
        None => Ok(said),
    }
}

/// The question as the receipt commits to it.
fn input(
    program: Computation<'_>,
    media_type: &str,
    said: &Value,
    body: &Bytes,
) -> Result<Vec<u8>, ProxyFault> {
    let bad = |error: &dyn ToString| {
        let why = error.to_string();
        ProxyFault::Uncheckable(format!("the question does not fit the Program: {why}"))
    };
    let values = if media_type == NPY {
        vec![edge::array_from_npy(body).map_err(|error| bad(&error))?]
    } else {
        program
            .values_from_json(&said["inputs"])
            .map_err(|error| bad(&error))?
    };
    let tensors = program
        .encode_values(&values)
        .map_err(|error| bad(&error))?;
    Ok(tensors.canonical())
}
