//! A server that misbehaves as it is told, and a caller that takes streams. HTTP/1.1 by hand, so that bytes are what they are.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What a fake server does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Writes bytes.
    Write(Vec<u8>),
    /// Waits.
    Wait(u64),
}

/// A server in a thread. It serves one request a connection, and ends with the process.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Starts one that answers as `answer` says.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let _ = Self::serve(stream, &seen, &*answer);
                });
            }
        });
        Self { address, asked }
    }

    fn serve(
        mut stream: TcpStream,
        seen: &Mutex<Vec<Asked>>,
        answer: &dyn Fn(&Asked) -> Vec<Act>,
    ) -> std::io::Result<()> {
        let (head, mut body) = until_head(&mut stream)?;
        let (first, headers) = lines(&head);
        let length = headers.get("content-length").and_then(|n| n.parse().ok());
        let mut rest = vec![0; length.unwrap_or(0_usize).saturating_sub(body.len())];
        stream.read_exact(&mut rest)?;
        body.extend(rest);
        let mut words = first.split(' ').map(str::to_string);
        let asked = Asked {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers,
            body,
        };
        seen.lock().expect("lock").push(asked.clone());
        for act in answer(&asked) {
            match act {
                Act::Write(bytes) => {
                    stream.write_all(&bytes)?;
                    stream.flush()?;
                }
                Act::Wait(ms) => std::thread::sleep(Duration::from_millis(ms)),
            }
        }
        Ok(())
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// An answer with its length.
pub(crate) fn whole(status: u16, media_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The head of a stream; its end is the connection's.
pub(crate) fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n".to_vec()
}

/// What a caller got.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    /// The body, without the framing of its chunks.
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The code of an error in OpenAI's form.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"]["message"].is_string(), "{json}");
        json["error"]["code"].as_str().expect("a code").to_string()
    }

    /// The receipt of an answer: in a header, or at the end of a stream.
    pub(crate) fn receipt(&self) -> String {
        if let Some(id) = self.headers.get("carat-receipt-id") {
            return id.clone();
        }
        let text = self.text();
        let line = text.trim_end().lines().last().unwrap_or_default();
        line.strip_prefix(": carat-receipt ")
            .unwrap_or_else(|| panic!("no receipt in {text}"))
            .to_string()
    }
}

/// Asks, and reads to the end.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Got {
    let mut stream = begin(address, method, path, headers, body);
    let (head, mut body) = until_head(&mut stream).expect("a head");
    stream.read_to_end(&mut body).expect("a body");
    let (first, headers) = lines(&head);
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        body = unchunked(&body);
    }
    Got {
        status: first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        headers,
        body,
    }
}

/// Asks, and leaves the answer to be read.
pub(crate) fn begin(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a limit");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    let host = ("host", "127.0.0.1");
    let own_host = headers.iter().any(|(name, _)| *name == "host");
    for (name, value) in headers.iter().chain((!own_host).then_some(&host)) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .expect("sent");
    stream
}

fn until_head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = all.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&all[..end]).into_owned(), body));
        }
        match stream.read(&mut piece)? {
            0 => return Err(std::io::Error::other("no head")),
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

fn lines(head: &str) -> (String, HashMap<String, String>) {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_string();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    (first, headers)
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let end = body
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("a chunk's length");
        let text = std::str::from_utf8(&body[..end]).expect("text");
        let length = usize::from_str_radix(text, 16).expect("a length");
        if length == 0 {
            return all;
        }
        all.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 2 + length + 2..];
    }
}
