//! Rules that a Trust file must keep, and whether it may be relied on now.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use carat_log::KeyKind;
use carat_receipt::statement::MAX_TIME;
use carat_receipt::{Amount, PublicKey};

use super::{Content, MAX_ENTRIES, Trust, TrustError};
use crate::time::DAY;

/// Whether a Trust file's signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No file: what this software assumes where its user gave none. See [`Trust::built_in`].
    BuiltIn,
    /// Signed by the owner's key.
    Signed,
    /// Not signed.
    Unsigned,
    /// There is a signature and it does not verify: the file was changed after signing.
    Broken,
}

/// Whether a Trust file may be relied on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Within its age limit.
    Fresh,
    /// Older than its age limit.
    Stale {
        /// The last second at which it could be relied on.
        until: u64,
    },
    /// Its `as_of` lies in the future.
    FromTheFuture,
}

/// Clocks of honest machines may differ by this much.
pub(crate) const CLOCK_SKEW: u64 = 300;

impl Trust {
    /// Whether the file may be relied on at `now`.
    pub fn freshness(&self, now: u64) -> Freshness {
        let content = &self.content;
        if content.as_of > now.saturating_add(CLOCK_SKEW) {
            return Freshness::FromTheFuture;
        }
        let until = content
            .as_of
            .saturating_add(content.max_age_days.saturating_mul(DAY));
        if now > until {
            Freshness::Stale { until }
        } else {
            Freshness::Fresh
        }
    }
}

/// Checks what the types do not express.
pub(super) fn content(content: &Content) -> Result<(), TrustError> {
    counts(content)?;
    unique_keys(content)?;
    unique_names(content)?;
    amounts(content)?;
    times(content)?;
    super::platform::check(content)?;
    if let Some(audits) = &content.audits
        && carat_policy::rules::eta(audits.kappa).is_none()
    {
        return Err(TrustError::value(
            "audits.kappa",
            "kappa lies between 0 and 1, without them; 0.8 is usual",
        ));
    }
    if let Some(days) = content
        .audits
        .as_ref()
        .and_then(|audits| audits.horizon_days)
        && !(1..=super::deterrence::MAX_HORIZON_DAYS).contains(&days)
    {
        return Err(TrustError::value(
            "audits.horizon_days",
            "from 1 to 3650 days",
        ));
    }
    for log in &content.logs {
        if log.key.kind() != KeyKind::Ed25519 {
            return Err(TrustError::value(
                "log",
                "the key is a witness's; a log signs with type 0x01",
            ));
        }
    }
    for witness in &content.witnesses {
        if witness.key.kind() != KeyKind::CosignatureV1 {
            return Err(TrustError::value(
                "witness",
                "the key is not a cosignature key (type 0x04)",
            ));
        }
    }
    let revocations = content
        .issuers
        .iter()
        .flat_map(|issuer| &issuer.keys)
        .filter_map(|key| key.revoked.as_ref());
    for revoked in revocations {
        if !content
            .logs
            .iter()
            .any(|log| log.key.name().as_str() == revoked.log.as_str())
        {
            let reason = format!("the file names no log {}; add it", revoked.log);
            return Err(TrustError::value("issuer.key.revoked_in_log", reason));
        }
    }
    // A name that is misspelt must not pass for a restriction that nobody meets, nor be noticed only when money is at stake.
    for upstream in &content.upstreams {
        let stranger = |name: &&carat_receipt::Label| {
            content.issuers.iter().all(|issuer| issuer.name != **name)
        };
        if let Some(name) = upstream.couriers.iter().find(stranger) {
            let reason = format!("the file names no issuer {name}; add it");
            return Err(TrustError::value("upstream.couriers", reason));
        }
    }
    if content.witness_quorum > content.witnesses.len() as u64 {
        return Err(TrustError::value(
            "witness_quorum",
            "it asks for more witnesses than the file names",
        ));
    }
    if content.version == 0 {
        return Err(TrustError::value("version", "versions start at 1"));
    }
    Ok(())
}

fn counts(content: &Content) -> Result<(), TrustError> {
    let lists = [
        ("issuer", content.issuers.len()),
        (
            "model.proof_keys",
            (content.models.iter().map(|model| model.proof_keys.len())).sum(),
        ),
        ("model", content.models.len()),
        ("log", content.logs.len()),
        ("witness", content.witnesses.len()),
        ("auditor", content.auditors.len()),
        ("bond", content.bonds.len()),
        ("platform", content.platforms.len()),
        ("denied_platform", content.denied_platforms.len()),
        ("upstream", content.upstreams.len()),
        (
            "upstream.models",
            (content.upstreams.iter().map(|entry| entry.models.len())).sum(),
        ),
        (
            "upstream.couriers",
            (content.upstreams.iter().map(|entry| entry.couriers.len())).sum(),
        ),
        (
            "issuer.key",
            content.issuers.iter().map(|issuer| issuer.keys.len()).sum(),
        ),
    ];
    match lists.iter().find(|(_, len)| *len > MAX_ENTRIES) {
        Some((place, len)) => Err(TrustError::value(
            place,
            format!("{len} entries; the limit is {MAX_ENTRIES}"),
        )),
        None => Ok(()),
    }
}

/// One key, one role: a key that two organisations share would make one of them answer for the other, and an auditor
/// with an issuer's key would audit itself. The owner may issue receipts under its own key, but is no third party to itself.
fn unique_keys(content: &Content) -> Result<(), TrustError> {
    let mut keys: Vec<(PublicKey, &str)> = Vec::new();
    for issuer in &content.issuers {
        if issuer.keys.is_empty() {
            return Err(TrustError::value(
                format!("issuer {}", issuer.name),
                "has no key",
            ));
        }
        keys.extend(
            issuer
                .keys
                .iter()
                .map(|key| (key.key, issuer.name.as_str())),
        );
    }
    keys.extend(
        content
            .auditors
            .iter()
            .map(|auditor| (auditor.key, auditor.name.as_str())),
    );
    keys.sort();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let reason = format!(
            "the key {} stands for {} and for {}; a key belongs to one of them only",
            pair[0].0, pair[0].1, pair[1].1
        );
        return Err(TrustError::value("keys", reason));
    }
    if let Some(auditor) = content
        .auditors
        .iter()
        .find(|auditor| auditor.key == content.owner)
    {
        let reason =
            "an auditor with the owner's own key is no third party; replay first-hand instead";
        return Err(TrustError::value(
            format!("auditor {}", auditor.name),
            reason,
        ));
    }
    // Logs and witnesses: one public key under two names would count as two.
    let log_keys = content.logs.iter().map(|log| log.key.public());
    let mut note_keys: Vec<_> = log_keys
        .chain(content.witnesses.iter().map(|witness| witness.key.public()))
        .collect();
    note_keys.sort();
    if note_keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(TrustError::value(
            "log, witness",
            "one key stands there twice, perhaps under two names",
        ));
    }
    Ok(())
}

fn unique_names(content: &Content) -> Result<(), TrustError> {
    let lists: [(&str, Vec<&str>); 5] = [
        (
            "issuer",
            content
                .issuers
                .iter()
                .map(|issuer| issuer.name.as_str())
                .collect(),
        ),
        (
            "auditor",
            content
                .auditors
                .iter()
                .map(|auditor| auditor.name.as_str())
                .collect(),
        ),
        (
            "upstream",
            content
                .upstreams
                .iter()
                .map(|upstream| upstream.name.as_str())
                .collect(),
        ),
        (
            "log",
            content
                .logs
                .iter()
                .map(|log| log.key.name().as_str())
                .collect(),
        ),
        (
            "witness",
            content
                .witnesses
                .iter()
                .map(|witness| witness.key.name().as_str())
                .collect(),
        ),
    ];
    for (place, mut names) in lists {
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TrustError::value(
                place,
                format!("the name {} stands there twice", pair[0]),
            ));
        }
    }
    let mut programs: Vec<_> = content.models.iter().map(|model| model.program).collect();
    programs.sort_unstable();
    if let Some(pair) = programs.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(TrustError::value(
            "model",
            format!("the program {} stands there twice", pair[0]),
        ));
    }
    for model in &content.models {
        let mut keys = model.proof_keys.clone();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TrustError::value(
                format!("model {}", model.name),
                format!("the proof key {} stands there twice", pair[0]),
            ));
        }
    }
    Ok(())
}

fn amounts(content: &Content) -> Result<(), TrustError> {
    let amounts = content
        .implementation_cap
        .iter()
        .map(|cap| ("caps.implementation", cap))
        .chain(
            content
                .auditors
                .iter()
                .map(|auditor| ("auditor.cap", &auditor.cap)),
        )
        .chain(
            content
                .bonds
                .iter()
                .map(|bond| ("bond.amount", &bond.amount)),
        );
    let amounts = amounts
        .chain(
            content
                .bonds
                .iter()
                .filter_map(|bond| Some(("bond.withheld", bond.withheld.as_ref()?))),
        )
        .chain(
            content
                .replication
                .iter()
                .map(|replication| ("replication.epsilon", &replication.epsilon)),
        )
        .chain(
            content
                .upstreams
                .iter()
                .map(|upstream| ("upstream.cap", &upstream.cap)),
        );
    for (place, amount) in amounts {
        Amount::zero(content.currency)
            .compare(amount)
            .map_err(|error| TrustError::value(place, error.to_string()))?;
    }
    Ok(())
}

fn times(content: &Content) -> Result<(), TrustError> {
    let too_late = |time: Option<u64>| time.is_some_and(|time| time > MAX_TIME);
    let keys = content.issuers.iter().flat_map(|issuer| &issuer.keys);
    let bonds = content.bonds.iter();
    if too_late(Some(content.as_of))
        || keys
            .clone()
            .any(|key| too_late(key.not_before) || too_late(key.not_after))
        || bonds
            .clone()
            .any(|bond| too_late(Some(bond.as_of)) || too_late(Some(bond.expiry)))
    {
        return Err(TrustError::value(
            "times",
            "a time lies beyond the year 9999",
        ));
    }
    for key in keys {
        if let (Some(first), Some(last)) = (key.not_before, key.not_after)
            && first > last
        {
            return Err(TrustError::value(
                format!("key {}", key.key),
                "not_before lies after not_after",
            ));
        }
    }
    if !(1..=36_500).contains(&content.max_age_days) {
        return Err(TrustError::value("max_age_days", "give 1 to 36500 days"));
    }
    // TOML integers are signed.
    let revoked = content
        .issuers
        .iter()
        .flat_map(|issuer| &issuer.keys)
        .filter_map(|key| key.revoked.as_ref());
    let largest = revoked
        .map(|revoked| revoked.from_index)
        .chain([content.version, content.witness_quorum])
        .max();
    if largest.is_some_and(|number| i64::try_from(number).is_err()) {
        return Err(TrustError::value(
            "numbers",
            "a number does not fit in 63 bits",
        ));
    }
    Ok(())
}
