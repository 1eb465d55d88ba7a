//! One request and its answer, within limits of time and size.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    USER_AGENT,
};
use hyper::{HeaderMap, Method};
use tokio::time::{Instant, timeout_at};

use super::{Connection, Destination, Fault};

/// Limits of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From there to the head of the answer.
    pub head: Duration,
    /// Between two pieces of the body.
    pub chunk: Duration,
    /// For all of it.
    pub total: Duration,
    /// Bytes of the body.
    pub bytes: usize,
}

/// What is asked.
pub struct Request<'a> {
    /// GET or POST.
    pub method: Method,
    /// Path after the destination's own; begins with a slash.
    pub path: &'a str,
    /// Media types that are taken.
    pub accept: &'static str,
    /// Media type of the body, where there is one.
    pub media_type: Option<&'static str>,
    /// The header `Authorization`, whole.
    pub authorization: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'static str, String)],
    /// The body.
    pub body: Bytes,
}

/// An answer whose head is there.
pub struct Exchange {
    /// HTTP status; never a redirect.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    body: Incoming,
    limits: Limits,
    deadline: Instant,
    taken: usize,
    _connection: Connection,
}

/// An answer with its body.
pub struct Whole {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// Waits no longer than a limit, nor beyond the deadline of the whole.
async fn within<T>(
    what: &'static str,
    limit: Duration,
    limits: &Limits,
    deadline: Instant,
    wait: impl Future<Output = T>,
) -> Result<T, Fault> {
    let own = Instant::now() + limit;
    let (until, what, limit) = if own <= deadline {
        (own, what, limit)
    } else {
        (deadline, "the whole answer", limits.total)
    };
    timeout_at(until, wait).await.map_err(|_| Fault::TimedOut {
        what,
        limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
    })
}

impl Destination {
    /// Asks, and waits for the head of the answer.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn ask(&self, request: Request<'_>, limits: Limits) -> Result<Exchange, Fault> {
        let deadline = Instant::now() + limits.total;
        let connect = self.connect();
        let mut connection =
            within("a connection", limits.connect, &limits, deadline, connect).await??;
        let mut head = hyper::Request::builder()
            .method(request.method)
            .uri(format!("{}{}", self.prefix, request.path))
            .header(HOST, &self.authority)
            .header(ACCEPT, request.accept)
            .header(ACCEPT_ENCODING, "identity")
            .header(USER_AGENT, concat!("carat/", env!("CARGO_PKG_VERSION")));
        if let Some(media_type) = request.media_type {
            head = head
                .header(CONTENT_TYPE, media_type)
                .header(CONTENT_LENGTH, request.body.len());
        }
        if let Some(authorization) = request.authorization {
            head = head.header(AUTHORIZATION, authorization);
        }
        for (name, value) in request.headers {
            head = head.header(*name, value);
        }
        let body = Body::from(request.body);
        let asked = head
            .body(body)
            .map_err(|error| Fault::Http(error.to_string()))?;
        let sent = connection.sender.send_request(asked);
        let answer = within(
            "the head of its answer",
            limits.head,
            &limits,
            deadline,
            sent,
        )
        .await?
        .map_err(|error| broken(&error))?;
        let (head, body) = answer.into_parts();
        let status = head.status.as_u16();
        if head.status.is_redirection() {
            return Err(Fault::Redirect(status));
        }
        let packed = head.headers.get_all(CONTENT_ENCODING).iter();
        if let Some(packed) = packed
            .map(|value| value.to_str().unwrap_or("unreadable"))
            .find(|value| *value != "identity")
        {
            return Err(Fault::Encoding(packed.chars().take(40).collect()));
        }
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limits.bytes as u64) {
            return Err(Fault::TooLarge(limits.bytes));
        }
        Ok(Exchange {
            status,
            headers: head.headers,
            body,
            limits,
            deadline,
            taken: 0,
            _connection: connection,
        })
    }
}

fn broken(error: &hyper::Error) -> Fault {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Fault::Cut
    } else {
        // A reset, or what is no HTTP.
        Fault::Http(error.to_string())
    }
}

impl Exchange {
    /// Until when the whole answer must be there.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The media type of the body, without parameters, in lower case.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE);
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
        let plain = value.split(';').next().unwrap_or("").trim();
        plain.to_ascii_lowercase()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`Fault::TimedOut`], [`Fault::TooLarge`], [`Fault::Cut`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = self.body.frame();
            let frame = within(
                "the next bytes of its answer",
                self.limits.chunk,
                &self.limits,
                self.deadline,
                frame,
            );
            let Some(frame) = frame.await? else {
                return Ok(None);
            };
            // Trailers say nothing that is used.
            let Ok(data) = frame.map_err(|_| Fault::Cut)?.into_data() else {
                continue;
            };
            self.taken = self.taken.saturating_add(data.len());
            if self.taken > self.limits.bytes {
                return Err(Fault::TooLarge(self.limits.bytes));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// Those of [`Exchange::next`].
    pub async fn whole(mut self) -> Result<Whole, Fault> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece);
        }
        Ok(Whole {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body,
        })
    }
}
