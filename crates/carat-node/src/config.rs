//! The server's configuration: one TOML file, and environment variables over it.
//!
//! Every key of the file has a variable: `CARAT_SERVE_` and the key in capitals, with `__` for the dot, such as
//! `CARAT_SERVE_LISTEN` or `CARAT_SERVE_LIMITS__BODY_BYTES`. Models are named in the file alone. `docs/operations.md` has all
//! keys; a test compares them.

mod sections;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::attesting;
use crate::courier::{self, UpstreamEntry};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::spending::{self, Budget, Tenant};
use crate::store::StoreOptions;

pub use sections::{PageConfig, Retention, Storage, Tls, Traces};

/// Longest times, in days.
const MAX_DAYS: u64 = 36_500;
/// Largest configuration file.
const MAX_CONFIG: u64 = 1 << 20;
/// What the variables begin with.
const PREFIX: &str = "CARAT_SERVE_";

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may call: `keys` (API keys of `api-keys.toml`) or `open` (anybody who reaches it, as the tenant `local`; on a
    /// loopback address only).
    pub access: Access,
    /// The policy; without one, requests that state what is at stake are judged by the policy that ships, and the others are
    /// served without a plan. Default: `policy.toml` in the server's directory, where there is one.
    pub policy: Option<PathBuf>,
    /// A Trust file. What a receipt is good for is appraised under it and told to the caller; without one no amount is told.
    pub trust: Option<PathBuf>,
    /// Threads that run models; 0: one for each processor.
    pub workers: usize,
    /// Threads that one run of a large model may use.
    pub run_threads: usize,
    /// Proofs that are made at a time.
    pub provers: usize,
    /// Hours for which an idempotency key is remembered.
    pub idempotency_hours: u64,
    /// Days in which an upgrade of a receipt may be asked for; Statements say so. 0: upgrades are not offered.
    pub upgrade_days: u64,
    /// Milliseconds between two checkpoints of the log.
    pub checkpoint_ms: u64,
    /// Seconds that a shutdown waits for what was accepted.
    pub drain_seconds: u64,
    /// Log lines: `text` or `json`.
    pub log: LogFormat,
    /// TLS.
    pub tls: Tls,
    /// Encryption at rest.
    pub storage: Storage,
    /// How long what callers sent is kept.
    pub retention: Retention,
    /// Where traces go.
    pub traces: Traces,
    /// Limits.
    pub limits: Limits,
    /// Attestation evidence for the key that signs receipts.
    pub attestation: attesting::Config,
    /// What all tenants together may spend on verification.
    pub budget: Budget,
    /// What is stated about tenants, by name; `*` is everybody without an entry.
    pub tenants: BTreeMap<String, Tenant>,
    /// The hub; without this table the server has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubConfig>,
    /// The web page.
    pub page: PageConfig,
    /// The models that are served.
    pub model: Vec<ModelEntry>,
    /// Services whose answers are passed on: `docs/courier.md`.
    pub upstreams: Vec<UpstreamEntry>,
}

/// The hub of a server. Each limit is named in the error that it causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubConfig {
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// Largest version, in bytes.
    pub version_bytes: u64,
    /// Most bytes of one namespace.
    pub tenant_bytes: u64,
    /// Seconds that examining a version may take; 0: nothing is examined.
    pub examine_seconds: u64,
    /// Memory that examining a version may take, in bytes.
    pub examine_bytes: u64,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            file_bytes: 2 << 30,
            version_bytes: 4 << 30,
            tenant_bytes: 64 << 30,
            examine_seconds: 60,
            examine_bytes: 4 << 30,
        }
    }
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Whoever has an API key.
    Keys,
    /// Anybody who reaches the address.
    Open,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A model that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Name in addresses: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// A compiled model, or a folder, relative to the configuration file; or `hub:OWNER/NAME@REVISION`, a version of the hub.
    pub path: PathBuf,
    /// Facts for the policy, under `model`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl ModelEntry {
    /// The version of the hub that it names, if it names one.
    pub fn in_hub(&self) -> Option<&str> {
        self.path.to_str()?.strip_prefix("hub:")
    }
}

/// Limits. Each is named in the error that it causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest body of a request, in bytes.
    pub body_bytes: usize,
    /// Requests that wait for a thread.
    pub queue: usize,
    /// Jobs that wait, of all tenants.
    pub jobs: usize,
    /// Jobs that wait, of one tenant.
    pub jobs_per_tenant: usize,
    /// Requests of one tenant in a second, on average; 0: no limit.
    pub requests_per_second: u64,
    /// Requests of one tenant at once, above the average.
    pub burst: u64,
    /// Seconds after which a caller that waits is told to ask for the job instead.
    pub request_seconds: u64,
    /// Seconds in which the head of a request must arrive; a connection without a request is closed after them.
    pub header_seconds: u64,
    /// Memory that one proof may take, in bytes.
    pub proof_bytes: u64,
    /// Receipts that one proof may cover.
    pub proof_batch: usize,
    /// Free bytes on the disk below which nothing is accepted.
    pub free_bytes: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Seconds that one write may take before nothing more is accepted; after ten times as long the process ends.
    pub stall_seconds: u64,
    /// Memory for parts of the store that were read, in bytes.
    pub cache_bytes: u64,
    /// What each table of the store keeps in memory before it is written out, in bytes; fixed when the store is made.
    pub table_bytes: u64,
    /// Seconds that a float model may take for one answer; its process is ended after them.
    pub float_seconds: u64,
    /// Memory of a process that runs a float model, in bytes.
    pub float_bytes: u64,
    /// How often a job is started that does not end because the process does.
    pub job_starts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            queue: 1024,
            jobs: 10_000,
            jobs_per_tenant: 1000,
            requests_per_second: 0,
            burst: 100,
            request_seconds: 30,
            header_seconds: 30,
            proof_bytes: 4 << 30,
            proof_batch: 16,
            free_bytes: 256 << 20,
            connections: 1024,
            stall_seconds: 30,
            cache_bytes: StoreOptions::default().cache_bytes,
            table_bytes: StoreOptions::default().table_bytes,
            float_seconds: 25,
            float_bytes: 4 << 30,
            job_starts: 5,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8321)),
            access: Access::Keys,
            policy: None,
            trust: None,
            workers: 0,
            run_threads: 1,
            provers: 1,
            idempotency_hours: 24,
            upgrade_days: 30,
            checkpoint_ms: 1000,
            drain_seconds: 30,
            log: LogFormat::Text,
            tls: Tls::default(),
            storage: Storage::default(),
            retention: Retention::default(),
            traces: Traces::default(),
            limits: Limits::default(),
            attestation: attesting::Config::default(),
            budget: Budget::default(),
            tenants: BTreeMap::new(),
            hub: None,
            page: PageConfig::default(),
            model: Vec::new(),
            upstreams: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file, with the environment's variables over it.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = files::read_text(path, "the server's configuration", MAX_CONFIG)?;
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.to_str()?.strip_prefix(PREFIX)?.to_string();
            Some((name, value.to_string_lossy().into_owned()))
        });
        let base = path.parent().unwrap_or(Path::new(""));
        Self::read(&text, base, variables).map_err(|failure| {
            Failure::new(
                failure.exit,
                format!("{}: {}", path.display(), failure.message),
            )
        })
    }

    /// Reads a configuration; relative paths start at `base`.
    pub fn read(
        text: &str,
        base: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let line = |error: &toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|text| 1 + text.bytes().filter(|byte| *byte == b'\n').count());
            let place = line.map_or(String::new(), |line| format!("line {line}: "));
            format!("{place}{}", error.message().replace('\n', " "))
        };
        // Once as it stands, for errors with their line.
        toml::from_str::<Self>(text).map_err(|error| usage(line(&error)))?;
        let mut table: toml::Table = toml::from_str(text).map_err(|error| usage(line(&error)))?;
        for (name, value) in variables {
            let keys: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
            set(&mut table, &keys, parse(&value))
                .ok_or_else(|| usage(format!("{PREFIX}{name}: no key has that name")))?;
        }
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| {
            usage(format!(
                "with the environment's {PREFIX}* variables: {}",
                error.message()
            ))
        })?;
        let place = |path: &mut PathBuf| *path = base.join(&*path);
        config.policy.iter_mut().for_each(place);
        config.trust.iter_mut().for_each(place);
        config.tls.certificate.iter_mut().for_each(place);
        config.tls.key.iter_mut().for_each(place);
        config.traces.ca.iter_mut().for_each(place);
        let storage = &mut config.storage;
        storage.encryption_key_file.iter_mut().for_each(place);
        storage.previous_key_files.iter_mut().for_each(place);
        config.attestation.place(base);
        config.page.verifier.iter_mut().for_each(place);
        config
            .model
            .iter_mut()
            .filter(|entry| entry.in_hub().is_none())
            .for_each(|entry| place(&mut entry.path));
        for upstream in &mut config.upstreams {
            upstream.key_file.iter_mut().for_each(place);
            upstream.ca_file.iter_mut().for_each(place);
        }
        config.check()?;
        Ok(config)
    }

    /// What is limited, for counting.
    pub fn budgets(&self) -> spending::Limits {
        spending::Limits {
            budget: self.budget.clone(),
            tenants: self.tenants.clone(),
        }
    }

    /// The rules that span keys.
    fn check(&self) -> Result<(), Failure> {
        let refuse = |message: String| Err(Failure::new(Exit::Usage, message));
        if self.access == Access::Open && !self.listen.ip().is_loopback() {
            return refuse(format!(
                "access = \"open\" on {} would let anybody in: listen on 127.0.0.1, or use API keys",
                self.listen
            ));
        }
        self.tls.check(self.listen)?;
        self.storage.check()?;
        self.traces.check()?;
        // A server may be a hub, or in front of upstreams, and nothing else.
        if self.model.is_empty() && self.upstreams.is_empty() && self.hub.is_none() {
            return refuse("no model is served: add [[model]] with name and path".into());
        }
        let local: Vec<&str> = self.model.iter().map(|entry| entry.name.as_str()).collect();
        courier::config::check(&self.upstreams, &local)?;
        for (i, entry) in self.model.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let fits = (1..=100).contains(&entry.name.len())
                && entry.name.chars().all(plain)
                && !entry.name.starts_with('.');
            if !fits {
                return refuse(format!(
                    "model name {:?}: 1 to 100 letters, digits, -, _ and ., not beginning with a dot",
                    entry.name
                ));
            }
            if entry.in_hub().is_some() && self.hub.is_none() {
                return refuse(format!(
                    "the model {:?} is in the hub, and there is no hub: add [hub]",
                    entry.name
                ));
            }
            if self.model[..i].iter().any(|other| other.name == entry.name) {
                return refuse(format!("two models are named {:?}", entry.name));
            }
        }
        let Limits {
            body_bytes,
            queue,
            request_seconds,
            header_seconds,
            burst,
            proof_batch,
            connections,
            stall_seconds,
            cache_bytes,
            table_bytes,
            float_seconds,
            float_bytes,
            job_starts,
            ..
        } = self.limits;
        for (name, value) in [
            ("limits.body_bytes", body_bytes as u64),
            ("limits.queue", queue as u64),
            ("limits.request_seconds", request_seconds),
            ("limits.header_seconds", header_seconds),
            ("limits.burst", burst),
            ("limits.proof_batch", proof_batch as u64),
            ("limits.connections", connections as u64),
            ("limits.stall_seconds", stall_seconds),
            ("limits.float_seconds", float_seconds),
            ("limits.float_bytes", float_bytes),
            ("limits.job_starts", job_starts.into()),
            ("run_threads", self.run_threads as u64),
            ("provers", self.provers as u64),
            ("checkpoint_ms", self.checkpoint_ms),
            ("idempotency_hours", self.idempotency_hours),
        ] {
            if value == 0 {
                return refuse(format!("{name} is 0; it is at least 1"));
            }
        }
        for (name, value, most) in [
            ("upgrade_days", self.upgrade_days, MAX_DAYS),
            ("idempotency_hours", self.idempotency_hours, 24 * MAX_DAYS),
            ("drain_seconds", self.drain_seconds, 86_400),
            ("limits.stall_seconds", stall_seconds, 86_400),
            ("limits.float_seconds", float_seconds, 86_400),
        ] {
            if value > most {
                return refuse(format!("{name} is {value}; it is at most {most}"));
            }
        }
        crate::facts::check(self)?;
        self.attestation.check()?;
        if proof_batch > carat_receipt::evidence::MAX_PROOF_STATEMENTS {
            return refuse(format!(
                "limits.proof_batch: one proof covers at most {} receipts",
                carat_receipt::evidence::MAX_PROOF_STATEMENTS
            ));
        }
        for (name, value, least) in [
            ("limits.cache_bytes", cache_bytes, 1 << 20),
            ("limits.table_bytes", table_bytes, 64 << 10),
        ] {
            if !(least..=4 << 30).contains(&value) {
                return refuse(format!(
                    "{name} is {value}; it is {least} to {}",
                    4u64 << 30
                ));
            }
        }
        if body_bytes > carat_receipt::commit::MAX_VALUE_BYTES {
            return refuse(format!(
                "limits.body_bytes: at most {}, which is what an opening holds",
                carat_receipt::commit::MAX_VALUE_BYTES
            ));
        }
        if self.checkpoint_ms > 1000 * crate::issue::INCLUDE_WITHIN / 2 {
            return refuse(format!(
                "checkpoint_ms: at most {}, since promises say that a checkpoint covers an entry within {} s",
                1000 * crate::issue::INCLUDE_WITHIN / 2,
                crate::issue::INCLUDE_WITHIN
            ));
        }
        Ok(())
    }
}

/// A variable's value: a TOML value where it is one, else text.
fn parse(value: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_string()))
}

fn set(table: &mut toml::Table, keys: &[String], value: toml::Value) -> Option<()> {
    match keys {
        [] => None,
        [last] => {
            table.insert(last.clone(), value);
            Some(())
        }
        [first, rest @ ..] => {
            let inner = table
                .entry(first.clone())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            set(inner.as_table_mut()?, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[model]]\nname = \"digits\"\npath = \"models/digits\"\n";

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Config::read(text, Path::new("/srv"), variables).map_err(|failure| failure.message)
    }

    #[test]
    fn variables_override_the_file_and_paths_start_at_it() {
        let config = read(
            TEXT,
            &[
                ("LISTEN", "127.0.0.1:9000"),
                ("LIMITS__QUEUE", "7"),
                ("ACCESS", "open"),
            ],
        )
        .expect("good");
        assert_eq!(config.listen.port(), 9000);
        assert_eq!(config.limits.queue, 7);
        assert_eq!(config.access, Access::Open);
        assert_eq!(config.model[0].path, Path::new("/srv/models/digits"));
    }

    /// Every key, in tables and outside, with a default or without.
    #[test]
    fn every_key_is_documented() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = std::fs::read_to_string(root.join("docs/operations.md")).expect("the page");
        let full = Config {
            policy: Some("p".into()),
            trust: Some("t".into()),
            tls: Tls {
                certificate: Some("c".into()),
                key: Some("k".into()),
                ..Tls::default()
            },
            storage: Storage {
                encryption_key_file: Some("s".into()),
                ..Storage::default()
            },
            retention: Retention {
                openings: "30d".parse().ok(),
                decisions: "30d".parse().ok(),
            },
            traces: Traces {
                endpoint: Some("e".into()),
                ca: Some("c".into()),
                ..Traces::default()
            },
            attestation: attesting::Config {
                source: Some(attesting::Source::File),
                file: Some("f".into()),
                ..attesting::Config::default()
            },
            budget: Budget {
                day: Some("1USD".parse().expect("an amount")),
                month: Some("1USD".parse().expect("an amount")),
            },
            hub: Some(HubConfig::default()),
            page: PageConfig {
                verifier: Some("v".into()),
                ..PageConfig::default()
            },
            ..Config::default()
        };
        let table = toml::Table::try_from(&full).expect("a table");
        let mut count = 0;
        for (name, value) in &table {
            let names: Vec<String> = match value {
                toml::Value::Table(inner) => {
                    inner.keys().map(|key| format!("{name}.{key}")).collect()
                }
                _ => vec![name.clone()],
            };
            for name in names {
                assert!(page.contains(&format!("| `{name}` |")), "{name}");
                count += 1;
            }
        }
        assert!(count > 20, "{count}");
        let example = root.join("examples/serve.toml");
        Config::load(&example).expect("the example is good");
    }

    #[test]
    fn what_is_wrong_is_refused_and_named() {
        let cases = [
            ("", "no model"),
            ("nonsense = 1\n", "nonsense"),
            ("workers = \"x\"\n", "line 1"),
            ("access = \"open\"\nlisten = \"0.0.0.0:1\"\n", "anybody"),
            ("checkpoint_ms = 0\n", "checkpoint_ms"),
            ("checkpoint_ms = 60000\n", "checkpoint_ms"),
            ("upgrade_days = 40000\n", "upgrade_days"),
            ("[limits]\nqueue = 0\n", "limits.queue"),
            ("listen = \"0.0.0.0:1\"\n", "tls.behind_proxy"),
            ("[tls]\nkey = \"k\"\n", "together"),
            (
                "[tls]\nkey = \"k\"\ncertificate = \"c\"\nbehind_proxy = true\n",
                "behind_proxy",
            ),
            ("[tls]\nhandshake_seconds = 0\n", "handshake_seconds"),
            (
                "[storage]\nprevious_key_files = [\"k\"]\n",
                "encryption_key_file",
            ),
            ("[retention]\nopenings = \"soon\"\n", "45s, 90m"),
            ("[traces]\nsample_percent = 101\n", "sample_percent"),
            ("[limits]\ncache_bytes = 5\n", "limits.cache_bytes"),
            ("[hub]\nnonsense = 1\n", "nonsense"),
            ("[page]\nenabled = 1\n", "line 2"),
            ("[[model]]\nname = \"x\"\npath = \"hub:acme/x\"\n", "no hub"),
        ];
        for (text, part) in cases {
            let text = if text.is_empty() {
                String::new()
            } else {
                format!("{text}{TEXT}")
            };
            let error = read(&text, &[]).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        for name in ["../etc", "", ".hidden", "a/b"] {
            let text = format!("[[model]]\nname = {name:?}\npath = \"x\"\n");
            assert!(read(&text, &[]).is_err(), "{name}");
        }
        // Said by name, plain HTTP is served to other machines.
        let proxy = [("LISTEN", "0.0.0.0:1"), ("TLS__BEHIND_PROXY", "true")];
        assert!(read(TEXT, &proxy).is_ok());
        let error = read(TEXT, &[("LIMITS__NONSENSE", "1")]).expect_err("unknown");
        assert!(error.contains("nonsense"), "{error}");
    }
}
