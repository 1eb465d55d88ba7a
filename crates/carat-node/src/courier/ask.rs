//! What a caller asks for, found in the bytes of the request.

use std::ops::Range;

use serde::Deserialize;

use super::fault::CourierFault;

/// An interface of OpenAI's that is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Completions, Self::Embeddings];

    /// Its path at the node, as receipts name it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// Its path below an upstream's address, which ends with the version.
    pub fn upstream_path(self) -> &'static str {
        self.path().trim_start_matches("/v1")
    }

    /// The list that an answer holds.
    pub const fn list(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions => "choices",
            Self::Embeddings => "data",
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The model, by the node's name for it.
    pub model: String,
    /// Where its name stands in the request, without the quotes.
    place: Range<usize>,
    /// Whether a stream is asked for.
    pub stream: bool,
}

/// What is read of a request. Borrowed: a name that is written with escapes is not one, and a field that is there twice is an error.
#[derive(Deserialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(default)]
    stream: Option<bool>,
}

impl Ask {
    /// Reads a request. Nothing but the model and `stream` is looked at.
    ///
    /// # Errors
    /// [`CourierFault::Request`].
    pub fn read(endpoint: Endpoint, body: &[u8]) -> Result<Self, CourierFault> {
        let refuse = |why: String| CourierFault::Request(why);
        let said: Body<'_> = serde_json::from_slice(body).map_err(|error| {
            refuse(format!(
                "the body is to be a JSON object with \"model\", a name without escapes: {error}"
            ))
        })?;
        let stream = said.stream.unwrap_or(false);
        if stream && endpoint == Endpoint::Embeddings {
            return Err(refuse("embeddings are not streamed".into()));
        }
        // The name is a part of the body, so where it begins follows from where the two are.
        let start = (said.model.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
        let place = start..start + said.model.len();
        if body.get(place.clone()) != Some(said.model.as_bytes()) {
            return Err(refuse(
                "the model's name cannot be found in the body".into(),
            ));
        }
        Ok(Self {
            model: said.model.to_string(),
            place,
            stream,
        })
    }

    /// The request as the upstream gets it: the same bytes, with the upstream's name for the model in place of the node's.
    ///
    /// # Errors
    /// [`CourierFault::Request`] where the key "model" is written in a way that whoever checks the receipt could not follow.
    pub fn sent(&self, body: &[u8], upstream_name: &str) -> Result<Vec<u8>, CourierFault> {
        let (before, after) = (&body[..self.place.start], &body[self.place.end..]);
        let sent = [before, upstream_name.as_bytes(), after].concat();
        if carat_receipt::courier::renamed(body, &sent, (&self.model, upstream_name)) {
            Ok(sent)
        } else {
            Err(CourierFault::Request(
                "write the key \"model\" without escapes".into(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_name_is_replaced_and_nothing_else() {
        let body = br#"{ "messages":[{"role":"user","content":"mini \"model\":\"mini\""}],"model" :"mini","stream":true, "x":1.50 }"#;
        let ask = Ask::read(Endpoint::Chat, body).expect("good");
        assert!(ask.stream);
        let sent = ask.sent(body, "gpt-4o-mini").expect("good");
        assert_eq!(
            sent,
            br#"{ "messages":[{"role":"user","content":"mini \"model\":\"mini\""}],"model" :"gpt-4o-mini","stream":true, "x":1.50 }"#
        );
        assert_eq!(ask.sent(body, "mini").expect("the same"), body);
    }

    #[test]
    fn what_cannot_be_passed_on_as_it_is_is_refused() {
        for body in [
            &b"not json"[..],
            br#"[]"#,
            br#"{"messages":[]}"#,
            br#"{"model":7}"#,
            br#"{"model":"a","model":"b"}"#,
            br#"{"model":"\u0061"}"#,
            br#"{"model":"a","stream":"yes"}"#,
            br#"{"model":"a"} trailing"#,
        ] {
            let error = Ask::read(Endpoint::Chat, body).expect_err("refused");
            assert_eq!(error.status(), 400, "{error}");
        }
        assert!(Ask::read(Endpoint::Embeddings, br#"{"model":"a","stream":true}"#).is_err());
        let escaped = br#"{"mode\u006c":"a"}"#;
        let ask = Ask::read(Endpoint::Chat, escaped).expect("it reads");
        assert!(ask.sent(escaped, "b").is_err());
        assert!(ask.sent(escaped, "a").is_ok(), "nothing is replaced");
    }
}
