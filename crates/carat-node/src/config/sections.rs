//! Sections of the configuration that stand for themselves: TLS, encryption at rest, retention, traces, the web page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::period::Period;
use crate::store::seal::Keys;

/// TLS of the address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate in PEM, followed by those that issued it. With a key, the server speaks HTTPS and nothing else.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
    /// Seconds that a handshake may take.
    pub handshake_seconds: u64,
    /// Plain HTTP on an address that other machines reach is meant: a proxy in front speaks TLS.
    pub behind_proxy: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            handshake_seconds: 10,
            behind_proxy: false,
        }
    }
}

impl Tls {
    /// The files of certificate and key, where TLS is spoken.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.certificate.as_deref()?, self.key.as_deref()?))
    }

    pub(super) fn check(&self, listen: SocketAddr) -> Result<(), Failure> {
        let refuse = |message: String| Err(Failure::new(Exit::Usage, message));
        if self.certificate.is_some() != self.key.is_some() {
            return refuse("tls.certificate and tls.key are given together or not at all".into());
        }
        if self.files().is_some() && self.behind_proxy {
            return refuse(
                "tls.behind_proxy says that plain HTTP is meant, and there is a certificate: leave one of the two away".into(),
            );
        }
        if self.files().is_none() && !self.behind_proxy && !listen.ip().is_loopback() {
            return refuse(format!(
                "{listen} can be reached from other machines, and API keys would cross the network in the clear: give \
                 tls.certificate and tls.key, or say tls.behind_proxy = true where a proxy in front speaks TLS"
            ));
        }
        if !(1..=300).contains(&self.handshake_seconds) {
            return refuse("tls.handshake_seconds is 1 to 300".into());
        }
        Ok(())
    }
}

/// Encryption at rest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The key that what callers sent and got is sealed with: 32 bytes, or 64 hexadecimal digits. Without one it is kept in
    /// the clear.
    pub encryption_key_file: Option<PathBuf>,
    /// Keys that sealed before it, for what was sealed then.
    pub previous_key_files: Vec<PathBuf>,
}

impl Storage {
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.encryption_key_file.is_none() && !self.previous_key_files.is_empty() {
            let message = "storage.previous_key_files are for a change of keys: name the new one in storage.encryption_key_file";
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(())
    }

    /// Reads the keys.
    pub fn keys(&self) -> Result<Option<Arc<Keys>>, Failure> {
        self.encryption_key_file
            .as_deref()
            .map(|current| Keys::read(current, &self.previous_key_files).map(Arc::new))
            .transpose()
    }
}

/// How long what callers sent is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Inputs, outputs and salts. Without it they are kept until somebody erases them.
    pub openings: Option<Period>,
    /// Past decisions with their facts. Without it they are kept.
    pub decisions: Option<Period>,
}

/// Where traces go: a collector that takes OTLP over HTTP as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// The collector's address for traces, such as `http://127.0.0.1:4318/v1/traces`. Without one nothing is traced.
    pub endpoint: Option<String>,
    /// Authorities of an HTTPS endpoint, in PEM; without it those that this system trusts.
    pub ca: Option<PathBuf>,
    /// What the service is called.
    pub service: String,
    /// Of a hundred requests without a `traceparent`, how many are traced. With one, its flag decides.
    pub sample_percent: u64,
    /// Spans that wait for the collector; more are dropped and counted.
    pub queue: usize,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            ca: None,
            service: "carat".into(),
            sample_percent: 100,
            queue: 8192,
        }
    }
}

impl Traces {
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.sample_percent > 100 || !(1..=1 << 20).contains(&self.queue) {
            let message = "traces.sample_percent is 0 to 100, and traces.queue 1 to 1048576";
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(())
    }
}

/// The web page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageConfig {
    /// Whether there is one. It shows nobody more than the interface tells the same caller.
    pub enabled: bool,
    /// The folder of the verifier that browsers run, as `bindings/wasm/build` makes it. Default:
    /// `../share/carat/verifier` from the folder of the binary, where it is there.
    pub verifier: Option<PathBuf>,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            verifier: None,
        }
    }
}
