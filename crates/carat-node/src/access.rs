//! Who may call: API keys with scopes and tenants, and how often.
//!
//! A key is `carat_`, eight digits that name it, `_`, and 32 random bytes in hexadecimal. The file keeps the SHA-256 of the
//! whole text: the secret is uniformly random, so nobody finds it from its hash, and no slow hash is needed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use carat_receipt::{Digest, Label};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::files::{self, Mode};
use crate::problem::Problem;

/// Name of the file in the server's directory.
pub const KEYS_FILE: &str = "api-keys.toml";
/// The tenant of everybody where access is open.
pub const LOCAL: &str = "local";
const MAX_KEYS_FILE: u64 = 4 << 20;
const SCHEMA: &str = "carat-api-keys/v1";
const PREFIX: &str = "carat_";
/// Domain of the hashes.
const DOMAIN: &str = "carat/api-key/v1";
/// Most tenants whose rate is tracked at once.
const MAX_BUCKETS: usize = 100_000;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Asking for answers, and for the jobs of one's own.
    Infer,
    /// Reading receipts and openings of one's tenant.
    Read,
    /// Asking for stronger evidence, which costs.
    Upgrade,
    /// Erasing openings.
    Erase,
    /// Publishing models in the tenant's namespace of the hub.
    Publish,
    /// The operator's: statistics and audits, over all tenants.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Infer,
        Self::Read,
        Self::Upgrade,
        Self::Erase,
        Self::Publish,
        Self::Admin,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Read => "read",
            Self::Upgrade => "upgrade",
            Self::Erase => "erase",
            Self::Publish => "publish",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                "the scopes are infer, read, upgrade, erase, publish and admin".to_string()
            })
    }
}

/// Whether a header `Host` names this machine by its loopback address. A page in a browser could make its own name point here; it
/// could not make the browser say another name.
pub(crate) fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Eight hexadecimal digits that name it.
    pub id: String,
    /// Whose it is.
    pub tenant: Label,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Hash of the key's text.
    pub hash: Digest,
    /// Unix seconds after which it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    schema: String,
    #[serde(default)]
    key: Vec<ApiKey>,
}

/// Reads the keys; none where there is no file.
pub fn read_keys(path: &Path) -> Result<Vec<ApiKey>, Failure> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = files::read_text(path, "API keys", MAX_KEYS_FILE)?;
    parse_keys(&text)
        .map_err(|message| Failure::new(Exit::Store, format!("{}: {message}", path.display())))
}

/// Reads the text of a keys file.
pub fn parse_keys(text: &str) -> Result<Vec<ApiKey>, String> {
    // The message of the parser may quote the file; the file holds no secret, only hashes.
    let file: KeysFile =
        toml::from_str(text).map_err(|error| error.message().replace('\n', " "))?;
    if file.schema != SCHEMA {
        return Err(format!("this software reads schema = \"{SCHEMA}\" only"));
    }
    for (i, key) in file.key.iter().enumerate() {
        if file.key[..i].iter().any(|other| other.id == key.id) {
            return Err(format!("two keys have the id {:?}", key.id));
        }
    }
    Ok(file.key)
}

/// Writes the keys.
pub fn write_keys(path: &Path, keys: &[ApiKey]) -> Result<(), Failure> {
    let file = KeysFile {
        schema: SCHEMA.into(),
        key: keys.to_vec(),
    };
    let text = toml::to_string(&file).map_err(Failure::of(Exit::Internal))?;
    files::write_atomic(path, text.as_bytes(), Mode::Private)
}

/// Makes a key. The text is shown once and not kept.
pub fn new_key(
    tenant: Label,
    scopes: Vec<Scope>,
    expires: Option<u64>,
) -> Result<(ApiKey, Zeroizing<String>), Failure> {
    let mut id = [0; 4];
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut id)
        .and_then(|()| getrandom::fill(&mut *secret))
        .map_err(|_| Failure::new(Exit::Io, "the operating system gave no randomness"))?;
    let id = hex::encode(id);
    let text = Zeroizing::new(format!("{PREFIX}{id}_{}", hex::encode(*secret)));
    let key = ApiKey {
        id,
        tenant,
        scopes,
        hash: hash(&text),
        expires,
    };
    Ok((key, text))
}

fn hash(text: &str) -> Digest {
    Digest::of(DOMAIN, &[text.as_bytes()])
}

/// Whoever calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its tenant.
    pub tenant: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Anybody, where access is open.
    pub fn local() -> Self {
        Self {
            tenant: LOCAL.into(),
            scopes: Scope::ALL.to_vec(),
        }
    }

    /// Refuses what its key does not allow.
    pub fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::new(
            403,
            "forbidden",
            format!("the API key lacks the scope {}", scope.as_str()),
        ))
    }
}

/// The keys in force.
#[derive(Debug)]
pub struct Gate {
    /// `None`: access is open.
    keys: Option<RwLock<HashMap<String, ApiKey>>>,
    rate: Rate,
}

impl Gate {
    /// A gate for keys, or an open one.
    pub fn new(keys: Option<Vec<ApiKey>>, per_second: u64, burst: u64) -> Self {
        Self {
            keys: keys.map(|keys| RwLock::new(by_id(keys))),
            rate: Rate {
                per_second,
                burst,
                buckets: Mutex::default(),
            },
        }
    }

    /// Replaces the keys at once.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        if let Some(place) = &self.keys {
            *place.write().unwrap_or_else(PoisonError::into_inner) = by_id(keys);
        }
    }

    /// Who calls, by the header `Authorization`.
    pub fn caller(&self, authorization: Option<&str>, now: u64) -> Result<Caller, Problem> {
        let Some(keys) = &self.keys else {
            return Ok(Caller::local());
        };
        // One answer for all that is wrong with a key: nothing is told about which part.
        let refused = || {
            Problem::new(
                401,
                "unauthorized",
                "give a valid API key: Authorization: Bearer carat_...",
            )
        };
        let text = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .ok_or_else(refused)?;
        let id = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.get(..8))
            .ok_or_else(refused)?;
        let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(id).ok_or_else(refused)?;
        // Both sides are hashes of what the caller cannot choose to be near the right one: the time of comparing tells nothing.
        if key.hash != hash(text) || key.expires.is_some_and(|expires| now >= expires) {
            return Err(refused());
        }
        Ok(Caller {
            tenant: key.tenant.to_string(),
            scopes: key.scopes.clone(),
        })
    }

    /// Takes one request out of a tenant's allowance.
    pub fn admit(&self, tenant: &str, now: Instant) -> Result<(), Problem> {
        self.rate.admit(tenant, now)
    }
}

fn by_id(keys: Vec<ApiKey>) -> HashMap<String, ApiKey> {
    keys.into_iter().map(|key| (key.id.clone(), key)).collect()
}

/// A token bucket for each tenant, in millionths of a request.
#[derive(Debug)]
struct Rate {
    per_second: u64,
    burst: u64,
    buckets: Mutex<HashMap<String, (u64, Instant)>>,
}

impl Rate {
    fn admit(&self, tenant: &str, now: Instant) -> Result<(), Problem> {
        const ONE: u64 = 1_000_000;
        if self.per_second == 0 {
            return Ok(());
        }
        let full = self.burst.max(1).saturating_mul(ONE);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(tenant) {
            buckets.retain(|_, (_, at)| now.saturating_duration_since(*at).as_secs() < 60);
        }
        let (left, at) = buckets
            .entry(tenant.to_string())
            .or_insert_with(|| (full, now));
        let micros = now.saturating_duration_since(*at).as_micros();
        let earned = u64::try_from(micros)
            .unwrap_or(u64::MAX)
            .saturating_mul(self.per_second);
        *left = left.saturating_add(earned).min(full);
        *at = now;
        if *left >= ONE {
            *left -= ONE;
            return Ok(());
        }
        let wait = (ONE - *left)
            .div_ceil(self.per_second.saturating_mul(ONE))
            .max(1);
        Err(Problem::overloaded(
            &format!(
                "more than limits.requests_per_second = {} requests of one tenant",
                self.per_second
            ),
            wait,
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn label(text: &str) -> Label {
        Label::new(text).expect("a name")
    }

    #[test]
    fn a_key_is_its_tenants_and_nothing_else_passes() {
        let (key, text) = new_key(label("acme"), vec![Scope::Infer], Some(100)).expect("made");
        let (other, _) = new_key(label("other"), Scope::ALL.to_vec(), None).expect("made");
        let gate = Gate::new(Some(vec![key.clone(), other.clone()]), 0, 1);
        let bearer = format!("Bearer {}", *text);
        let caller = gate.caller(Some(&bearer), 99).expect("known");
        assert_eq!(caller.tenant, "acme");
        assert!(caller.needs(Scope::Infer).is_ok());
        assert_eq!(caller.needs(Scope::Read).expect_err("lacks").status, 403);
        let mixed = format!("Bearer {PREFIX}{}{}", other.id, &text[PREFIX.len() + 8..]);
        let cut = &bearer[..bearer.len() - 1];
        for (header, now) in [
            (None, 0),
            (Some(cut), 0),
            (Some(mixed.as_str()), 0),
            (Some(&bearer[7..]), 0),
            (Some("Bearer carat_\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"), 0),
            (Some(bearer.as_str()), 100),
        ] {
            assert_eq!(gate.caller(header, now).expect_err("refused").status, 401);
        }
        gate.replace(vec![other]);
        assert!(gate.caller(Some(&bearer), 0).is_err());
    }

    #[test]
    fn the_file_keeps_no_secret_and_reads_back() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(KEYS_FILE);
        let (key, text) = new_key(label("acme"), Scope::ALL.to_vec(), None).expect("made");
        write_keys(&path, std::slice::from_ref(&key)).expect("written");
        let kept = std::fs::read_to_string(&path).expect("read");
        assert!(!kept.contains(&text[PREFIX.len() + 9..]));
        assert_eq!(read_keys(&path).expect("read"), [key]);
        assert!(parse_keys("schema = \"other\"").is_err());
    }

    #[test]
    fn a_tenants_rate_is_its_own() {
        let gate = Gate::new(None, 2, 3);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(gate.admit("a", start).is_ok());
        }
        let refused = gate.admit("a", start).expect_err("spent");
        assert_eq!((refused.status, refused.retry_after), (429, Some(1)));
        assert!(gate.admit("b", start).is_ok());
        let later = start + Duration::from_millis(500);
        assert!(gate.admit("a", later).is_ok());
        assert!(gate.admit("a", later).is_err());
    }
}
