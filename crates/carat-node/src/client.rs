//! A caller's side: one request at a time to a server, over HTTP or HTTPS.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use zeroize::Zeroizing;

use crate::connect::{Broken, Target};
use crate::exit::{Exit, Failure};

/// Largest answer that is read: a receipt file.
const MAX_ANSWER: usize = carat_receipt::file::MAX_FILE_BYTES;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let exit = match self.status {
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
        self.request(Method::GET, path, &[])
    }

    /// Posts nothing to a path.
    pub fn post(&self, path: &str) -> Result<Reply, Failure> {
        self.request(Method::POST, path, &[])
    }

    /// Posts nothing to a path, with headers.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.request(Method::POST, path, headers)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        let exchange =
            async { tokio::time::timeout(PATIENCE, self.exchange(method, path, headers)).await };
        match self.runtime.block_on(exchange) {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(Failure::new(
                Exit::Io,
                format!("asking {} failed: {error}", self.target.authority),
            )),
            Err(_) => Err(Failure::new(
                Exit::Io,
                format!(
                    "{} did not answer within {} s",
                    self.target.authority,
                    PATIENCE.as_secs()
                ),
            )),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Broken> {
        let mut sender = self.target.open().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.target.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.as_str()));
        }
        let answer = sender
            .send_request(request.body(Full::new(Bytes::new()))?)
            .await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await?
            .to_bytes()
            .to_vec();
        Ok(Reply { status, body })
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
