//! A request for an answer, read and checked: bytes become types once, here.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use carat_nn::edge::{self, Values};
use carat_policy::cel::Value as Fact;
use carat_policy::facts::{Facts, MAX_FACTS_BYTES};
use carat_policy::policy_file::IMPACTS;
use carat_receipt::cbor::{DecodeError, Reader, Writer};
use carat_receipt::{Amount, Digest, Label, Nonce};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::period::Period;
use crate::problem::Problem;
use crate::served::Served;

/// Domain of the digests that requests are compared by.
const REQUEST_DOMAIN: &str = "carat/request/v1";
/// Domain of the names of idempotency keys.
const KEY_DOMAIN: &str = "carat/idempotency-key/v1";
/// Longest idempotency key.
const MAX_KEY_BYTES: usize = 255;

/// How the input of a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON object with `inputs` and what is asked.
    Json,
    /// A NumPy file, which is the only input; what is asked stands in headers.
    Npy,
}

/// What a caller asks for besides the answer. From headers (`Carat-Nonce`, ...), or the fields of the same names in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// The caller's nonce, in hexadecimal: 8 to 64 bytes.
    pub nonce: Option<String>,
    /// For whom the receipt is.
    pub audience: Option<Label>,
    /// What a wrong answer could cost.
    pub at_stake: Option<Amount>,
    /// The same in words: `low`, `moderate` or `high`.
    pub impact: Option<String>,
    /// Facts of the request for the policy.
    pub facts: Option<Value>,
    /// How long the input may be kept, where that is shorter than the server keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<Period>,
}

/// The body of a JSON request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    inputs: Value,
    nonce: Option<String>,
    audience: Option<Label>,
    at_stake: Option<Amount>,
    impact: Option<String>,
    facts: Option<Value>,
    retain: Option<Period>,
}

/// A request for an answer.
pub struct Call {
    /// Who asks.
    pub tenant: String,
    /// The model.
    pub model: Arc<Served>,
    /// Its input.
    pub inputs: Vec<Values>,
    /// For whom the receipt is.
    pub audience: Option<Label>,
    /// The caller's nonce.
    pub nonce: Option<Nonce>,
    /// What a wrong answer could cost.
    pub at_stake: Option<Amount>,
    /// Facts for the policy.
    pub facts: Facts,
    /// How long the input may be kept.
    pub retain: Option<Period>,
    /// Whether anything was stated that a policy must judge, whether or not the operator has one.
    pub states: bool,
}

impl Asked {
    /// Joins what headers and body say; each thing is said once.
    fn and(self, other: Self) -> Result<Self, Problem> {
        fn one<T>(name: &str, a: Option<T>, b: Option<T>) -> Result<Option<T>, Problem> {
            match (a, b) {
                (Some(_), Some(_)) => Err(Problem::bad_request(format!(
                    "{name} is given in a header and in the body; give it once"
                ))),
                (a, b) => Ok(a.or(b)),
            }
        }
        Ok(Self {
            nonce: one("nonce", self.nonce, other.nonce)?,
            audience: one("audience", self.audience, other.audience)?,
            at_stake: one("at_stake", self.at_stake, other.at_stake)?,
            impact: one("impact", self.impact, other.impact)?,
            facts: one("facts", self.facts, other.facts)?,
            retain: one("retain", self.retain, other.retain)?,
        })
    }
}

impl Call {
    /// Reads a request.
    pub fn read(
        tenant: &str,
        model: Arc<Served>,
        form: Form,
        asked: Asked,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let bad = |error: &dyn ToString| Problem::new(422, "bad-input", error.to_string());
        match form {
            Form::Npy => {
                let values = edge::array_from_npy(body).map_err(|error| bad(&error))?;
                Self::new(tenant, model, vec![values], asked)
            }
            Form::Json => {
                let body: Body = serde_json::from_slice(body)
                    .map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
                let in_body = Asked {
                    nonce: body.nonce,
                    audience: body.audience,
                    at_stake: body.at_stake,
                    impact: body.impact,
                    facts: body.facts,
                    retain: body.retain,
                };
                let program = model.model.program();
                let inputs = program
                    .values_from_json(&body.inputs)
                    .map_err(|error| bad(&error))?;
                Self::new(tenant, model, inputs, asked.and(in_body)?)
            }
        }
    }

    /// A request whose input was read already.
    pub fn new(
        tenant: &str,
        model: Arc<Served>,
        inputs: Vec<Values>,
        asked: Asked,
    ) -> Result<Self, Problem> {
        let states = asked.at_stake.is_some_and(|amount| !amount.is_zero())
            || asked.impact.is_some()
            || asked.facts.is_some();
        let mut facts = match asked.facts {
            None => Facts::new(),
            Some(facts) => {
                // Who asks, and what runs, is not for the caller to say.
                if let Some(other) = facts
                    .as_object()
                    .and_then(|facts| facts.keys().find(|name| *name != "request"))
                {
                    return Err(Problem::bad_request(format!(
                        "the facts hold {other}; a caller states facts of the request only, under \"request\", and an amount \
                         beside the facts"
                    )));
                }
                let text = facts.to_string();
                if text.len() > MAX_FACTS_BYTES {
                    return Err(Problem::new(
                        413,
                        "too-large",
                        format!(
                            "the facts have {} bytes; the limit is {MAX_FACTS_BYTES}",
                            text.len()
                        ),
                    ));
                }
                Facts::from_json(&text).map_err(Problem::bad_request)?
            }
        };
        if let Some(impact) = asked.impact {
            if !IMPACTS.contains(&impact.as_str()) {
                return Err(Problem::bad_request(format!(
                    "impact is one of {}",
                    IMPACTS.join(", ")
                )));
            }
            facts.set(&["request", "impact"], Fact::Text(impact));
        }
        facts.set(&["tenant", "name"], Fact::Text(tenant.to_string()));
        let nonce = asked.nonce.map(|text| nonce(&text)).transpose()?;
        Ok(Self {
            tenant: tenant.to_string(),
            model,
            inputs,
            audience: asked.audience,
            nonce,
            at_stake: asked.at_stake,
            retain: asked.retain,
            facts,
            states,
        })
    }
}

/// A nonce in hexadecimal.
pub(crate) fn nonce(text: &str) -> Result<Nonce, Problem> {
    hex::decode(text)
        .ok()
        .and_then(|bytes| Nonce::new(bytes).ok())
        .ok_or_else(|| {
            Problem::bad_request("a nonce is 8 to 64 bytes in hexadecimal: 16 to 128 digits")
        })
}

/// A request as it came, for jobs that are run later and for comparing repeated requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Name of the model in the address.
    pub model: String,
    /// How the input is written.
    pub form: Form,
    /// What headers say.
    pub asked: Asked,
    /// The body.
    pub body: Vec<u8>,
}

impl Raw {
    /// The bytes that a job keeps.
    pub fn encode(&self) -> Result<Vec<u8>, Problem> {
        let asked = serde_json::to_string(&self.asked).map_err(Problem::bad_request)?;
        let mut w = Writer::new();
        w.array(4)
            .text(&self.model)
            .uint(match self.form {
                Form::Json => 0,
                Form::Npy => 1,
            })
            .text(&asked)
            .bytes(&self.body);
        Ok(w.into_bytes())
    }

    /// Strict decoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "request of a job";
        let wrong = |reason| DecodeError::Value { what: WHAT, reason };
        let r = &mut Reader::new(bytes);
        r.array(WHAT, 4, 4)?;
        let raw = Self {
            model: r.text(WHAT, 1, 100)?.to_string(),
            form: match r.uint(WHAT)? {
                0 => Form::Json,
                1 => Form::Npy,
                _ => return Err(wrong("an unknown form")),
            },
            asked: serde_json::from_str(r.text(WHAT, 2, 4 * MAX_FACTS_BYTES)?)
                .map_err(|_| wrong("headers that cannot be read"))?,
            body: r
                .bytes(WHAT, 0, carat_receipt::commit::MAX_VALUE_BYTES)?
                .to_vec(),
        };
        r.finish(WHAT)?;
        Ok(raw)
    }

    /// What repeated requests are compared by: model, form, body, and all that headers say, the nonce with it.
    pub fn digest(&self, kind: &str) -> Result<Digest, Problem> {
        Ok(Digest::of(
            REQUEST_DOMAIN,
            &[kind.as_bytes(), &self.encode()?],
        ))
    }
}

/// The name under which a tenant's idempotency key is kept.
pub fn key_name(tenant: &str, key: &str) -> Result<Digest, Problem> {
    if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(Problem::bad_request(format!(
            "an Idempotency-Key has 1 to {MAX_KEY_BYTES} characters"
        )));
    }
    Ok(Digest::of(KEY_DOMAIN, &[tenant.as_bytes(), key.as_bytes()]))
}

/// Bytes as JSON carries them.
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Bytes from JSON; `None`: it is no base64.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Raw {
        Raw {
            model: "digits".into(),
            form: Form::Npy,
            asked: Asked {
                nonce: Some("00112233445566778899".into()),
                facts: Some(serde_json::json!({"request": {"route": "/pay"}})),
                ..Asked::default()
            },
            body: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_kept_request_reads_back_and_its_digest_covers_everything() {
        let one = raw();
        let bytes = one.encode().expect("encodes");
        assert_eq!(Raw::decode(&bytes).as_ref(), Ok(&one));
        assert!((0..bytes.len()).all(|cut| Raw::decode(&bytes[..cut]).is_err()));
        let digest = one.digest("infer").expect("digest");
        let mut others = vec![raw(), raw(), raw(), raw(), raw()];
        others[4].asked.retain = "1h".parse().ok();
        others[0].model = "other".into();
        others[1].form = Form::Json;
        others[2].asked.nonce = Some("00112233445566778800".into());
        others[3].body.push(0);
        for other in others {
            assert_ne!(other.digest("infer").expect("digest"), digest);
        }
        assert_ne!(one.digest("v2").expect("digest"), digest);
    }

    #[test]
    fn keys_are_their_tenants() {
        let key = |tenant: &str, key: &str| key_name(tenant, key).expect("good");
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("a", "k"), key("b", "k"));
        assert!(key_name("a", "").is_err());
        assert!(key_name("a", &"x".repeat(256)).is_err());
    }
}
