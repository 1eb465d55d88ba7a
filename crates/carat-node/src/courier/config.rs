//! `[[upstreams]]` of the server's configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use carat_receipt::commit::MAX_VALUE_BYTES;
use carat_receipt::{Label, LabelError};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// Longest limit on time: a day, in milliseconds.
const MAX_MS: u64 = 86_400_000;

/// An upstream service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamEntry {
    /// Its name in receipts, and in Trust files of those who rely on them.
    pub name: String,
    /// Where it is: `https://api.example/v1`. Paths such as `/chat/completions` follow.
    pub url: String,
    /// Environment variable that holds the key for it.
    #[serde(default)]
    pub key_env: Option<String>,
    /// File that holds the key for it, on its first line; nobody but its owner and their group may read it.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Authorities of its certificate, in PEM; without it those that this system trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Addresses that are refused unless they are named here: link-local ones, metadata services.
    #[serde(default)]
    pub allow_addresses: Vec<IpAddr>,
    /// Plain HTTP outside this machine and private networks is meant.
    #[serde(default)]
    pub plain_http: bool,
    /// Requests at a time.
    #[serde(default = "concurrent")]
    pub concurrent: usize,
    /// Milliseconds until there is a connection, TLS included.
    #[serde(default = "connect_ms")]
    pub connect_ms: u64,
    /// Milliseconds from there to the head of the answer.
    #[serde(default = "head_ms")]
    pub head_ms: u64,
    /// Milliseconds between two pieces of the answer.
    #[serde(default = "chunk_ms")]
    pub chunk_ms: u64,
    /// Milliseconds for the whole answer.
    #[serde(default = "total_ms")]
    pub total_ms: u64,
    /// Largest answer in bytes.
    #[serde(default = "answer_bytes")]
    pub answer_bytes: usize,
    /// Largest event of a stream in bytes.
    #[serde(default = "event_bytes")]
    pub event_bytes: usize,
    /// What to do where the answer names another model than the one asked for: `refuse`, or `mark` it in the receipt.
    #[serde(default)]
    pub model_mismatch: Mismatch,
    /// The models that are offered.
    pub models: Vec<OfferEntry>,
}

/// A model of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferEntry {
    /// What callers call it.
    pub name: String,
    /// What the upstream calls it; without it the same.
    #[serde(default)]
    pub upstream_name: Option<String>,
    /// Names that the upstream's answers may give besides, such as a dated one.
    #[serde(default)]
    pub answers_as: Vec<String>,
}

/// What to do where an answer names another model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mismatch {
    /// Nothing of it is passed on.
    #[default]
    Refuse,
    /// It is passed on, and the receipt names that model.
    Mark,
}

const fn concurrent() -> usize {
    64
}
const fn connect_ms() -> u64 {
    5_000
}
const fn head_ms() -> u64 {
    60_000
}
const fn chunk_ms() -> u64 {
    30_000
}
const fn total_ms() -> u64 {
    600_000
}
const fn answer_bytes() -> usize {
    16 << 20
}
const fn event_bytes() -> usize {
    1 << 20
}

/// Rules of the list, beside the models that run here.
///
/// # Errors
/// [`Exit::Usage`] with what is wrong.
pub fn check(upstreams: &[UpstreamEntry], local: &[&str]) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(Exit::Usage, message));
    let mut offered: Vec<&str> = local.to_vec();
    for (i, upstream) in upstreams.iter().enumerate() {
        let name = &upstream.name;
        if let Err(error) = Label::new(name) {
            return refuse(format!("upstreams, name {name:?}: {error}"));
        }
        if upstreams[..i].iter().any(|other| other.name == *name) {
            return refuse(format!("two upstreams are named {name:?}"));
        }
        if upstream.key_env.is_some() && upstream.key_file.is_some() {
            return refuse(format!(
                "upstream {name}: give key_env or key_file, not both"
            ));
        }
        for (key, value) in [
            ("connect_ms", upstream.connect_ms),
            ("head_ms", upstream.head_ms),
            ("chunk_ms", upstream.chunk_ms),
            ("total_ms", upstream.total_ms),
        ] {
            if !(1..=MAX_MS).contains(&value) {
                return refuse(format!("upstream {name}: {key} is 1 to {MAX_MS}"));
            }
        }
        for (key, value) in [
            ("answer_bytes", upstream.answer_bytes),
            ("event_bytes", upstream.event_bytes),
        ] {
            if !(1..=MAX_VALUE_BYTES).contains(&value) {
                return refuse(format!("upstream {name}: {key} is 1 to {MAX_VALUE_BYTES}"));
            }
        }
        if upstream.concurrent == 0 {
            return refuse(format!("upstream {name}: concurrent is at least 1"));
        }
        if upstream.models.is_empty() {
            return refuse(format!("upstream {name}: it offers no models"));
        }
        for model in &upstream.models {
            let names = [&model.name].into_iter().chain(&model.upstream_name);
            for text in names.chain(&model.answers_as) {
                if let Err(why) = model_name(text) {
                    return refuse(format!("upstream {name}, model name {text:?}: {why}"));
                }
            }
            if offered.contains(&model.name.as_str()) {
                return refuse(format!("two models are named {:?}", model.name));
            }
            offered.push(&model.name);
        }
    }
    Ok(())
}

/// A model's name goes into JSON, and back out of it, as it stands.
fn model_name(text: &str) -> Result<Label, String> {
    if text.contains(['"', '\\']) {
        return Err("a model's name has no quotes and no backslashes".into());
    }
    Label::new(text).map_err(|error: LabelError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        upstreams: Vec<UpstreamEntry>,
    }

    fn read(text: &str) -> Result<Vec<UpstreamEntry>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        check(&file.upstreams, &["digits"]).map_err(|failure| failure.message)?;
        Ok(file.upstreams)
    }

    const GOOD: &str = "[[upstreams]]\nname = \"up\"\nurl = \"http://127.0.0.1:1/v1\"\nmodels = [{ name = \"m\" }]\n";

    #[test]
    fn what_is_wrong_is_refused_and_named() {
        let found = read(GOOD).expect("good");
        assert_eq!(found[0].model_mismatch, Mismatch::Refuse);
        let with = |more: &str| {
            format!(
                "[[upstreams]]\n{more}\n{}",
                &GOOD["[[upstreams]]\n".len()..]
            )
        };
        for (text, part) in [
            (with("nonsense = 1"), "nonsense"),
            (with("head_ms = 0"), "head_ms"),
            (with("event_bytes = 0"), "event_bytes"),
            (with("answer_bytes = 999999999999"), "answer_bytes"),
            (with("concurrent = 0"), "concurrent"),
            (with("key_env = \"A\"\nkey_file = \"b\""), "key_env"),
            (with("model_mismatch = \"maybe\""), "maybe"),
            (GOOD.replace("\"up\"", "\" up\""), "name"),
            (GOOD.replace("\"m\"", "\"m\\\"x\""), "quotes"),
            (GOOD.replace("\"m\"", "\"digits\""), "two models"),
            (GOOD.replace("[{ name = \"m\" }]", "[]"), "no models"),
            (format!("{GOOD}{GOOD}"), "two upstreams"),
        ] {
            let error = read(&text).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }

    /// Every key stands in the page about couriers.
    #[test]
    fn every_key_is_documented() {
        let page = include_str!("../../../../docs/courier.md");
        let mut full = read(GOOD).expect("good").remove(0);
        full.key_env = Some("A".into());
        full.key_file = Some("b".into());
        full.ca_file = Some("c".into());
        full.models[0].upstream_name = Some("n".into());
        let table = toml::Table::try_from(&full).expect("a table");
        let models = table["models"][0].as_table().expect("a table");
        let inner = models.keys().map(|key| format!("models.{key}"));
        let names: Vec<String> = table.keys().cloned().chain(inner).collect();
        assert!(names.len() > 18, "{names:?}");
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
