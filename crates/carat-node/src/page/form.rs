//! Forms: what a browser sends, read within limits. Every form of the page is `multipart/form-data`, so that files work
//! without JavaScript and one reader is enough.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, header};

use crate::api::{body_of, text};
use crate::node::Node;
use crate::problem::Problem;

/// Most fields of a form.
const MOST: usize = 64;
/// Longest form of a few words, in bytes.
const FEW: usize = 16 << 10;
/// Longest name of a field or of a file.
const MAX_NAME: usize = 255;

/// A file that was chosen.
pub(super) struct Chosen {
    /// Its name, in the words of whoever sent it.
    pub(super) name: String,
    /// What is in it.
    pub(super) bytes: Bytes,
}

/// What a form holds.
#[derive(Default)]
pub(super) struct Fields {
    texts: BTreeMap<String, String>,
    files: BTreeMap<String, Chosen>,
}

impl Fields {
    /// The text of a field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The text of a field that was filled in.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.text(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// A file that was chosen.
    pub(super) fn file(&self, name: &str) -> Option<&Chosen> {
        self.files.get(name)
    }
}

/// Reads a form that a page of this server sent.
///
/// # Errors
/// 403 where another site sent it, 413 where it is too large, 400 where it cannot be read.
pub(super) async fn read(node: &Node, headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    from_here(headers)?;
    let bytes = body_of(node, headers, body).await?;
    let bad = |error: &dyn std::fmt::Display| Problem::bad_request(format!("the form: {error}"));
    let mut request = Request::new(Body::from(bytes));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.clone());
    }
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|error| bad(&error))?;
    let mut fields = Fields::default();
    while let Some(part) = parts.next_field().await.map_err(|error| bad(&error))? {
        let name = part.name().unwrap_or_default().to_string();
        let file = part.file_name().map(str::to_string);
        if name.len() > MAX_NAME || file.as_ref().is_some_and(|file| file.len() > MAX_NAME) {
            return Err(bad(&"a name in it is too long"));
        }
        if fields.texts.len() + fields.files.len() >= MOST {
            return Err(bad(&format!("it has more than {MOST} fields")));
        }
        let bytes = part.bytes().await.map_err(|error| bad(&error))?;
        let twice = match file {
            // Browsers send an empty file where none was chosen.
            Some(_) if bytes.is_empty() => false,
            Some(file) => fields
                .files
                .insert(name, Chosen { name: file, bytes })
                .is_some(),
            None => {
                let text = String::from_utf8(bytes.to_vec())
                    .map_err(|_| bad(&"a field holds what is no text"))?;
                fields.texts.insert(name, text).is_some()
            }
        };
        if twice {
            return Err(bad(&"a field is there twice"));
        }
    }
    Ok(fields)
}

/// As [`read`], for forms of a few words: whoever is not known yet sends no more than that.
///
/// # Errors
/// Those of [`read`]; 413 where the form is longer than [`FEW`] or does not say how long it is.
pub(super) async fn read_few(
    node: &Node,
    headers: &HeaderMap,
    body: Body,
) -> Result<Fields, Problem> {
    let length = text(headers, "content-length")?.and_then(|length| length.parse::<usize>().ok());
    if length.is_none_or(|length| length > FEW) {
        return Err(Problem::new(413, "too-large", "the form is too long"));
    }
    read(node, headers, body).await
}

/// Refuses what a page of another site sent. Browsers say where a form comes from; what says nothing is no browser, and has no
/// cookie that it did not bring itself.
fn from_here(headers: &HeaderMap) -> Result<(), Problem> {
    let elsewhere = || {
        Problem::new(
            403,
            "forbidden",
            "another site sent this form; open the page of this server and send it from there",
        )
    };
    match text(headers, "sec-fetch-site")? {
        // A proxy in front may have another name than this server knows itself by; no page can set this header.
        Some("same-origin") => return Ok(()),
        Some("none") | None => {}
        Some(_) => return Err(elsewhere()),
    }
    let Some(origin) = text(headers, "origin")? else {
        return Ok(());
    };
    let host = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    match (host, text(headers, "host")?) {
        (Some(from), Some(host)) if from.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(elsewhere()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_pages_of_this_server_send_forms() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            from_here(&headers).is_ok()
        };
        let host = ("host", "127.0.0.1:8321");
        assert!(with(&[host]));
        assert!(with(&[host, ("origin", "http://127.0.0.1:8321")]));
        assert!(with(&[host, ("origin", "https://127.0.0.1:8321")]));
        assert!(with(&[
            ("host", "inside:80"),
            ("origin", "https://carat.example"),
            ("sec-fetch-site", "same-origin")
        ]));
        for bad in [
            ("origin", "null"),
            ("origin", "http://127.0.0.1:8322"),
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:8321.evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!with(&[host, bad]), "{bad:?}");
        }
    }
}
