//! A caller's side: one request at a time to a server, over HTTP or HTTPS.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Method, Request, Response, Uri};
use zeroize::Zeroizing;

use crate::connect::{Broken, Target};
use crate::exit::{Exit, Failure};

/// Largest answer that is read: a receipt file.
const MAX_ANSWER: usize = carat_receipt::file::MAX_FILE_BYTES;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long sending or fetching a file may take.
const FILE_PATIENCE: Duration = Duration::from_secs(3600);
/// Bytes of a file that are read at a time.
const PIECE: usize = 256 << 10;

/// What is sent with a request.
#[derive(Debug, Clone, Copy)]
pub enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(&'a serde_json::Value),
    /// The bytes of a file.
    File(&'a Path),
}

/// The bytes of a file, read as they are sent. This side has one thread and nothing else to do meanwhile.
struct FileBody {
    file: File,
    left: u64,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(self.left).unwrap_or(PIECE))];
        let read = self.file.read_exact(&mut piece);
        Poll::Ready(Some(read.map(|()| {
            self.left -= piece.len() as u64;
            Frame::data(piece.into())
        })))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Sent<'_> {
    /// The body, and its media type.
    fn body(self) -> io::Result<(BoxBody<Bytes, io::Error>, Option<&'static str>)> {
        let full = |bytes: Vec<u8>| {
            Full::new(Bytes::from(bytes))
                .map_err(|never| match never {})
                .boxed()
        };
        match self {
            Self::Nothing => Ok((full(Vec::new()), None)),
            Self::Json(json) => Ok((
                full(json.to_string().into_bytes()),
                Some("application/json"),
            )),
            Self::File(path) => {
                let file = File::open(path)?;
                let left = file.metadata()?.len();
                Ok((
                    FileBody { file, left }.boxed(),
                    Some("application/octet-stream"),
                ))
            }
        }
    }
}

/// A server, and the key to call it with.
pub struct Client {
    target: Target,
    key: Option<Zeroizing<String>>,
    runtime: tokio::runtime::Runtime,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::new(Exit::Io, format!("the server's answer: {error}")))
    }

    /// The reply, where the server did what was asked.
    pub fn good(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let detail = self
            .json()
            .ok()
            .and_then(|json| json["detail"].as_str().map(str::to_string))
            .unwrap_or_else(|| "it gave no reason".into());
        // What the hub withholds is told by its own status, whoever is asked.
        let kind = self
            .json()
            .ok()
            .and_then(|json| json["kind"].as_str().map(str::to_string));
        let exit = match self.status {
            403 if kind.as_deref() == Some("private") => Exit::Withheld,
            410 if kind.as_deref() == Some("taken-down") => Exit::Withheld,
            422 if kind.as_deref() == Some("bad-signature") => Exit::Invalid,
            413 => Exit::TooLarge,
            422 => Exit::Refused,
            429 | 503 | 507 => Exit::Busy,
            500.. => Exit::Io,
            _ => Exit::Usage,
        };
        Err(Failure::new(
            exit,
            format!("the server answered {}: {detail}", self.status),
        ))
    }
}

impl Client {
    /// A client of `http://HOST[:PORT]` or `https://HOST[:PORT]`. `ca` names the authorities of the latter; without it they
    /// are those that this system trusts.
    pub fn new(
        server: &str,
        key: Option<Zeroizing<String>>,
        ca: Option<&Path>,
    ) -> Result<Self, Failure> {
        let usage =
            |why: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{server}: {why}"));
        let uri: Uri = server.parse().map_err(|error| usage(&error))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(usage(&"give the server alone, as https://HOST:PORT"));
        }
        let target = Target::new(&uri, ca)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Io, error))?;
        Ok(Self {
            target,
            key,
            runtime,
        })
    }

    /// Asks for what is at a path.
    pub fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.send("GET", path, Sent::Nothing)
    }

    /// Posts nothing to a path.
    pub fn post(&self, path: &str) -> Result<Reply, Failure> {
        self.send("POST", path, Sent::Nothing)
    }

    /// Posts nothing to a path, with headers.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.send_with("POST", path, headers, Sent::Nothing)
    }

    /// Sends a request and takes a small answer.
    pub fn send(&self, method: &str, path: &str, sent: Sent<'_>) -> Result<Reply, Failure> {
        self.send_with(method, path, &[], sent)
    }

    fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        sent: Sent<'_>,
    ) -> Result<Reply, Failure> {
        let patience = match sent {
            Sent::File(_) => FILE_PATIENCE,
            _ => PATIENCE,
        };
        self.wait(patience, async {
            let answer = self.exchange(method, path, headers, sent).await?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER)
                .collect()
                .await?;
            let body = body.to_bytes().to_vec();
            Ok(Ok(Reply { status, body }))
        })
    }

    /// Fetches what is at a path, piece by piece. An answer that is cut short is a failure.
    pub fn download(
        &self,
        path: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.wait(FILE_PATIENCE, async {
            let answer = self.exchange("GET", path, &[], Sent::Nothing).await?;
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            if !(200..300).contains(&status) {
                let body = Limited::new(body, MAX_ANSWER).collect().await?;
                let body = body.to_bytes().to_vec();
                return Ok(Reply { status, body }.good().map(drop));
            }
            while let Some(frame) = body.frame().await {
                if let Ok(bytes) = frame?.into_data()
                    && let Err(failure) = take(&bytes)
                {
                    return Ok(Err(failure));
                }
            }
            Ok(Ok(()))
        })
    }

    fn wait<T>(
        &self,
        patience: Duration,
        exchange: impl Future<Output = Result<Result<T, Failure>, Broken>>,
    ) -> Result<T, Failure> {
        let limited = async { tokio::time::timeout(patience, exchange).await };
        match self.runtime.block_on(limited) {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(Failure::new(
                Exit::Io,
                format!("asking {} failed: {error}", self.target.authority),
            )),
            Err(_) => Err(Failure::new(
                Exit::Io,
                format!(
                    "{} did not answer within {} s",
                    self.target.authority,
                    patience.as_secs()
                ),
            )),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        sent: Sent<'_>,
    ) -> Result<Response<Incoming>, Broken> {
        let (body, media_type) = sent.body()?;
        let mut sender = self.target.open().await?;
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(path)
            .header("host", &self.target.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.as_str()));
        }
        Ok(sender.send_request(request.body(body)?).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_server_and_nothing_more() {
        for good in [
            "http://127.0.0.1:8321",
            "http://node.example/",
            "http://[::1]:8321",
        ] {
            assert!(Client::new(good, None, None).is_ok(), "{good}");
        }
        for bad in [
            "ftp://node.example",
            "http://a:b@node.example",
            "http://node.example:99999",
            "http://node.example/x",
            "node",
        ] {
            assert!(Client::new(bad, None, None).is_err(), "{bad}");
        }
        // An authority says nothing about a server that proves nothing.
        let ca = Some(Path::new("ca.pem"));
        assert!(Client::new("http://127.0.0.1:8321", None, ca).is_err());
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let reply = Reply {
            status: 404,
            body: br#"{"detail":"there is no such receipt"}"#.to_vec(),
        };
        let failure = reply.good().expect_err("a problem");
        assert!(failure.message.contains("404") && failure.message.contains("no such receipt"));
    }
}
