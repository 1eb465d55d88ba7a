//! OpenAI's interface through the proxy.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use carat_receipt::Digest;
use carat_verify::{Appraisal, CourierAsked};

use super::Proxy;
use super::check::{Held, nonce};
use super::fault::ProxyFault;
use super::serve::{answer, body_of};
use crate::courier::{Ask, Endpoint, TRAILER, trailer};
use crate::outbound::Whole;

impl Proxy {
    /// Asks the node, and gives its answer where its receipt is good for enough.
    pub(super) async fn carry(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ProxyFault> {
        let body: Bytes = body_of(body, self.config.body_bytes).await?;
        let ask = Ask::read(endpoint, &body)?;
        let nonce = nonce()?;
        let asks = [
            ("carat-nonce", hex::encode(nonce.as_bytes())),
            ("carat-audience", self.audience.to_string()),
        ];
        let media_type = if ask.stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let authorization = self.authorization(headers);
        let authorization = authorization.as_deref();
        let path = endpoint.path();
        let whole = self
            .post(
                path,
                "application/json",
                media_type,
                authorization,
                &asks,
                body.clone(),
            )
            .await?;
        let (id, given) = if ask.stream {
            of_stream(&whole.body)?
        } else {
            (of_header(&whole)?, whole.body.as_slice())
        };
        let evidence = self.evidence(&id, authorization).await?;
        let held = Held {
            input: &body,
            output: Some(given),
            courier: Some(CourierAsked {
                endpoint: path,
                model: &ask.model,
            }),
            model: None,
        };
        let appraisal = self.appraise(&evidence, &nonce, &held)?;
        let id = receipt_of(&appraisal)?;
        self.keep(&evidence, &id)?;
        let end = if ask.stream {
            trailer(&id)
        } else {
            String::new()
        };
        let bytes = [given, end.as_bytes()].concat();
        Ok(answer(media_type, bytes, &appraisal, &id))
    }
}

/// The receipt that was appraised.
pub(super) fn receipt_of(appraisal: &Appraisal) -> Result<Digest, ProxyFault> {
    let receipt = appraisal.receipt.as_ref();
    receipt
        .map(|receipt| receipt.receipt_id)
        .ok_or_else(|| ProxyFault::Internal("an appraisal without a receipt".into()))
}

/// Where the node says that the receipt is.
pub(super) fn of_header(whole: &Whole) -> Result<Digest, ProxyFault> {
    let id = whole.headers.get("carat-receipt-id");
    id.and_then(|id| id.to_str().ok()?.parse().ok())
        .ok_or_else(|| ProxyFault::Uncheckable("it names no receipt; is it a Carat node?".into()))
}

/// A stream ends with the comment that names its receipt; what is before it is what the receipt is about.
fn of_stream(body: &[u8]) -> Result<(Digest, &[u8]), ProxyFault> {
    let named = || {
        let length = TRAILER.len() + 64 + 2;
        let at = body.len().checked_sub(length)?;
        let line = std::str::from_utf8(&body[at..]).ok()?;
        let id: Digest = line.strip_prefix(TRAILER)?.trim_end().parse().ok()?;
        (line == trailer(&id)).then_some((id, &body[..at]))
    };
    named().ok_or_else(|| {
        ProxyFault::Uncheckable("its stream does not end with the name of its receipt".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_split_where_its_receipt_is_named_and_nowhere_else() {
        let id = Digest::sha256(b"receipt");
        let body = format!("data: {{}}\n\ndata: [DONE]\n\n{}", trailer(&id));
        let (found, given) = of_stream(body.as_bytes()).expect("good");
        assert_eq!(found, id);
        assert_eq!(given, b"data: {}\n\ndata: [DONE]\n\n");
        for bad in [
            String::new(),
            "data: [DONE]\n\n".into(),
            format!("{body}data: {{}}\n\n"),
            body.trim_end().to_string(),
            body.to_uppercase(),
        ] {
            assert!(of_stream(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
