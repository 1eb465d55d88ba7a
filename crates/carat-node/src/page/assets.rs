//! Styles, scripts and pictures: a handful of small files that are part of the binary, and the verifier where there is one.

use std::sync::OnceLock;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use carat_receipt::Digest;

use super::verifier::{LOADER, MODULE};
use crate::api::{Shared, problem};
use crate::problem::Problem;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file that browsers load.
#[derive(Clone)]
pub(super) struct Asset {
    media: &'static str,
    bytes: Bytes,
    tag: HeaderValue,
}

impl Asset {
    pub(super) fn new(media: &'static str, bytes: Bytes) -> Self {
        let tag = format!("\"{}\"", Digest::sha256(&bytes));
        Self {
            media,
            bytes,
            tag: HeaderValue::from_str(&tag)
                .unwrap_or_else(|_| HeaderValue::from_static("\"unknown\"")),
        }
    }

    pub(super) fn script(text: impl Into<Bytes>) -> Self {
        Self::new(SCRIPT, text.into())
    }

    /// The file, or that the browser has it already.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|tag| tag.trim() == self.tag))
        });
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.bytes.clone().into_response(),
        };
        let set = response.headers_mut();
        if !known {
            set.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media));
        }
        set.insert(header::ETAG, self.tag.clone());
        // Kept, and asked about each time: another binary may have others.
        set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// The files of the binary.
fn own() -> &'static [(&'static str, Asset); 5] {
    static OWN: OnceLock<[(&str, Asset); 5]> = OnceLock::new();
    OWN.get_or_init(|| {
        let file =
            |media, text: &'static str| Asset::new(media, Bytes::from_static(text.as_bytes()));
        [
            (
                "page.css",
                file("text/css; charset=utf-8", include_str!("assets/page.css")),
            ),
            (
                "mark.svg",
                file("image/svg+xml", include_str!("assets/mark.svg")),
            ),
            (
                "inspect.js",
                file(SCRIPT, include_str!("assets/inspect.js")),
            ),
            ("report.js", file(SCRIPT, include_str!("assets/report.js"))),
            ("live.js", file(SCRIPT, include_str!("assets/live.js"))),
        ]
    })
}

/// `GET /assets/{name}`. The same for everybody.
pub(super) async fn asset(
    State(node): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let verifier = node.page.verifier.as_ref();
    let found = match name.as_str() {
        LOADER => verifier.map(|verifier| &verifier.loader),
        MODULE => verifier.map(|verifier| &verifier.module),
        name => own()
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, asset)| asset),
    };
    match found {
        Some(asset) => asset.answer(&headers),
        None => problem(Problem::not_found("file")),
    }
}
