//! `carat serve` in a process of its own, and a caller that speaks HTTP/1.1 by hand.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Sandbox;

/// A server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// How a server ended that was to start: its status, and what it said on standard error.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name} in {self:?}"))
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        self
    }
}

impl Server {
    /// Starts one on a free port, with the model `tumor` and more configuration before it.
    pub(crate) fn start(sandbox: &Sandbox, more: &str) -> Self {
        let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
        let text = format!("listen = \"127.0.0.1:0\"\n{more}\n{model}");
        std::fs::write(sandbox.path("serve.toml"), text).expect("write the configuration");
        Self::again(sandbox)
    }

    /// Starts one with the configuration that is there.
    pub(crate) fn again(sandbox: &Sandbox) -> Self {
        let command = sandbox.command(&["serve", "--config", "serve.toml"]);
        let log = sandbox.path("server.log");
        Self::spawn(&log, command).unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    /// Starts a command that serves, with a file for its log. The error: how it ended instead.
    pub(crate) fn spawn(path: &Path, mut command: Command) -> Result<Self, Ended> {
        let before = std::fs::metadata(path).map_or(0, |log| log.len());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("a file for its log");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start carat serve");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("its address");
        let line = line.trim();
        let address = line
            .strip_prefix("listening on http://")
            .or_else(|| line.strip_prefix("listening on https://"));
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Self { child, address }),
            None => {
                let code = child.wait().expect("reaped").code();
                let log = std::fs::read(path).unwrap_or_default();
                let log = String::from_utf8_lossy(&log[before as usize..]).into_owned();
                Err(Ended { code, log })
            }
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end");
    }

    /// SIGTERM.
    pub(crate) fn tell_to_end(&self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.expect("kill").success());
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("reaped");
    }

    /// SIGTERM, and the status that it ends with.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.tell_to_end();
        self.ended()
    }

    /// One request; a connection that broke is an error.
    pub(crate) fn try_ask(
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let wrong = || std::io::Error::other("no answer");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        let end = all
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or_else(wrong)?;
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(wrong)?;
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
            .collect();
        let body = all[end + 4..].to_vec();
        let length = headers.get("content-length").and_then(|n| n.parse().ok());
        if length.is_some_and(|length: usize| length != body.len()) {
            return Err(wrong());
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        Self::try_ask(self.address, method, path, headers, body).expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], &[])
    }

    /// Asks the model `tumor` with JSON.
    pub(crate) fn infer(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        let body = body.to_string();
        self.ask("POST", "/v1/models/tumor/infer", &all, body.as_bytes())
    }

    /// The number after a name in the metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics").expect(200).body).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok())
            .unwrap_or_else(|| panic!("{name} in {text}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
