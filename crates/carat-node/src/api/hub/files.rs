//! Bytes in and out: streamed, within limits, and never more in memory than a few pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use carat_hub::manifest::commit;
use carat_hub::{FileReader, HubError};
use carat_receipt::Digest;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use serde_json::json;
use tokio::sync::mpsc;

use super::layout::refused;
use super::{answer, blocking, publisher, service};
use crate::api::{Shared, json_response, set, text};
use crate::node::now;
use crate::problem::Problem;

/// How long the next bytes of an upload may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces between disk and socket.
const PIECES: usize = 2;

pub(super) async fn upload(
    State(node): Shared,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let done = async {
        let by = publisher(&node, &headers)?;
        let service = service(&node)?;
        let expected: Digest = sha256.parse().map_err(Problem::bad_request)?;
        if text(&headers, "content-encoding")?.is_some_and(|encoding| encoding != "identity") {
            return Err(Problem::new(
                415,
                "unsupported-encoding",
                "send the file as it is: no Content-Encoding is taken",
            ));
        }
        let limit = service.hub.limits().file_bytes;
        let length =
            text(&headers, "content-length")?.and_then(|length| length.parse::<u64>().ok());
        if let Some(bytes) = length.filter(|length| *length > limit) {
            return Err(HubError::TooLarge {
                what: "the file".into(),
                bytes,
                limit,
                key: "hub.file_bytes",
            }
            .into());
        }
        let (send, mut receive) = mpsc::channel::<Bytes>(PIECES);
        let hub = service.clone();
        let writing = tokio::spawn(blocking(move || {
            let mut upload = hub.hub.begin_upload(now()?)?;
            while let Some(bytes) = receive.blocking_recv() {
                upload.write(&bytes)?;
            }
            Ok(upload)
        }));
        // A body that breaks off drops what was written with it.
        let arrived = forward(body, &send).await;
        drop(send);
        let upload = writing
            .await
            .unwrap_or_else(|_| Err(Problem::new(500, "internal", "a fault of the server")))?;
        arrived?;
        blocking(move || {
            service.hub.finish_upload(upload, &expected, &by, now()?)?;
            Ok(json_response(201, &json!({ "sha256": expected })))
        })
        .await
    };
    answer(done.await)
}

/// Hands a body on, piece by piece.
async fn forward(mut body: Body, send: &mpsc::Sender<Bytes>) -> Result<(), Problem> {
    loop {
        match tokio::time::timeout(PATIENCE, body.frame()).await {
            Err(_) => {
                let detail = format!("no bytes arrived for {} s", PATIENCE.as_secs());
                return Err(Problem::new(408, "slow-body", detail));
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => return Err(Problem::bad_request("the body ended early")),
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data()
                    && send.send(bytes).await.is_err()
                {
                    // The writer ended; its reason is told by whoever waits for it.
                    return Ok(());
                }
            }
        }
    }
}

/// A file on its way out. What is damaged breaks the connection off, so that nobody takes half of it for the whole.
struct Pieces {
    receive: mpsc::Receiver<Result<Bytes, io::Error>>,
    left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.receive.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                piece.map(|bytes| {
                    self.left = self.left.saturating_sub(bytes.len() as u64);
                    Frame::data(bytes)
                })
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn stream(mut reader: FileReader, length: u64) -> Body {
    let (send, receive) = mpsc::channel(PIECES);
    // Ends when the caller goes away: nobody receives any more.
    tokio::task::spawn_blocking(move || {
        loop {
            let piece = match reader.next_piece() {
                Ok(None) => return,
                Ok(Some(bytes)) => Ok(bytes.into()),
                Err(error) => {
                    tracing::error!(%error, "the hub");
                    Err(io::Error::other("the file is damaged on the server"))
                }
            };
            let last = piece.is_err();
            if send.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    Body::new(Pieces {
        receive,
        left: length,
    })
}

/// The part that a header `Range` asks for; `None`: the whole. Several parts at once are answered with the whole.
fn range(header: Option<&str>, size: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some(part) = header.and_then(|header| header.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = part.split_once('-').filter(|_| !part.contains(',')) else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let found = match (number(first), number(last)) {
        (None, Some(count)) if first.trim().is_empty() => (size.saturating_sub(count), size),
        (Some(start), None) if last.trim().is_empty() => (start, size),
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(size)),
        _ => return Ok(None),
    };
    if found.0 < found.1 {
        Ok(Some(found))
    } else {
        Err(())
    }
}

pub(super) async fn resolve(
    State(node): Shared,
    Path((owner, name, revision, path)): Path<(String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let opened = blocking(move || {
        let service = service(&node)?;
        let found = (|| {
            let repo = carat_hub::RepoId::new(&owner, &name)?;
            let record = service.hub.live(&repo, &revision)?;
            let file = record.manifest.file(&path).cloned();
            match service.hub.open_file(&record, &path) {
                Ok(reader) => Ok((record.digest, file, Ok(reader))),
                Err(error) => Ok((record.digest, None, Err(error))),
            }
        })();
        Ok(found)
    });
    let (digest, file, reader) = match opened.await {
        Err(problem) => return answer(Err(problem)),
        Ok(Err(error)) => return refused(error, None),
        Ok(Ok(found)) => found,
    };
    let commit = commit(&digest);
    let (file, reader) = match (file, reader) {
        (Some(file), Ok(reader)) => (file, reader),
        (_, Err(error)) => return refused(error, Some(&commit)),
        (None, Ok(_)) => {
            return refused(
                HubError::Manifest("a file without an entry".into()),
                Some(&commit),
            );
        }
    };
    let etag = format!("\"{}\"", file.sha256);
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let same = |value: &str| {
        value
            .split(',')
            .any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == etag)
    };
    let part = match get("if-range") {
        Some(known) if known != etag => Ok(None),
        _ => range(get("range"), file.size),
    };
    let mut response = if get("if-none-match").is_some_and(same) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let (status, start, end) = match part {
            Ok(None) => (200, 0, file.size),
            Ok(Some((start, end))) => (206, start, end),
            Err(()) => (416, 0, 0),
        };
        let mut response = if method == Method::HEAD || status == 416 {
            Response::new(Body::empty())
        } else {
            Response::new(stream(reader.range(start, end), end - start))
        };
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        set(&mut response, "content-length", &(end - start).to_string());
        match status {
            206 => set(
                &mut response,
                "content-range",
                &format!("bytes {start}-{}/{}", end - 1, file.size),
            ),
            416 => set(
                &mut response,
                "content-range",
                &format!("bytes */{}", file.size),
            ),
            _ => {}
        }
        response
    };
    for (name, value) in [
        ("etag", etag.as_str()),
        ("accept-ranges", "bytes"),
        ("x-repo-commit", &commit),
        ("x-linked-etag", &etag),
        ("x-linked-size", &file.size.to_string()),
        ("content-type", "application/octet-stream"),
        // What a stranger published never runs as a page of this server.
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
    ] {
        set(&mut response, name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_as_rfc_9110_has_them() {
        for (header, want) in [
            ("bytes=0-", Ok(Some((0, 10)))),
            ("bytes=3-4", Ok(Some((3, 5)))),
            ("bytes=3-400", Ok(Some((3, 10)))),
            ("bytes=-3", Ok(Some((7, 10)))),
            ("bytes=-30", Ok(Some((0, 10)))),
            ("bytes=10-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("lines=0-1", Ok(None)),
            ("bytes=x-y", Ok(None)),
        ] {
            assert_eq!(range(Some(header), 10), want, "{header}");
        }
        assert_eq!(range(None, 10), Ok(None));
        assert_eq!(range(Some("bytes=0-"), 0), Err(()));
    }
}
