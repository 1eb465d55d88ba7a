//! Verified packages, remembered.
//!
//! A receipt key is attested once and signs many receipts; the chain behind it is verified once and then looked up. An entry
//! is named by a digest over every byte that was verified, the key, the policy and the time bucket, so a hit says what
//! verifying again would say: any other byte, key, policy or bucket is a miss, and so is a
//! time before the verification or after the end of any validity.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use carat_receipt::evidence::Attestation;
use carat_receipt::{Digest, PublicKey};

use crate::package::{PackageError, Verdict};
use crate::{Package, Policy, Rejected};

/// Length of a time bucket in seconds.
pub const BUCKET: u64 = 300;
/// Most entries; the oldest buckets are dropped first.
pub const MAX_ENTRIES: usize = 4096;

/// Verified packages. Only what was accepted is remembered.
#[derive(Debug, Default)]
pub struct Cache {
    /// By bucket, then name: the time of verification, and what came of it.
    entries: BTreeMap<(u64, Digest), (u64, Verdict)>,
}

/// A policy with its digest, so that looking up costs no printing.
#[derive(Debug, Clone)]
pub struct NamedPolicy {
    policy: Policy,
    digest: Digest,
}

/// A package was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// Not attestation evidence of this version.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl NamedPolicy {
    /// Names a policy by its content.
    pub fn new(policy: Policy) -> Result<Self, crate::PolicyError> {
        let digest = policy.digest()?;
        Ok(Self { policy, digest })
    }
}

impl Cache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }

    /// Verifies an attestation for a key at a time, or looks up that the same was verified in the same bucket.
    pub fn verify(
        &mut self,
        attestation: &Attestation,
        key: &PublicKey,
        policy: &NamedPolicy,
        now: u64,
    ) -> Result<&Verdict, CacheError> {
        let name = (now / BUCKET, name(attestation, key, policy));
        let known = self
            .entries
            .get(&name)
            .is_some_and(|(at, verdict)| stands(verdict, *at, now));
        if !known {
            let verdict = Package::read(attestation)?.verify(key, &policy.policy, now)?;
            while self.entries.len() >= MAX_ENTRIES {
                self.entries.pop_first();
            }
            self.entries.insert(name, (now, verdict));
        }
        // Present: found or inserted above.
        self.entries
            .get(&name)
            .map(|(_, verdict)| verdict)
            .ok_or(CacheError::Package(PackageError::NoBinding))
    }

    /// How many packages are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Whether what held at `at` holds at `now`: validity is an interval, so anything between `at` and its end does.
fn stands(verdict: &Verdict, at: u64, now: u64) -> bool {
    let good = |attested: &crate::Attested| match attested.facts().valid_until {
        Some(until) => (at..=until).contains(&now),
        None => now == at,
    };
    match verdict {
        Verdict::Hardware { cpu, gpus } => good(cpu) && gpus.iter().all(|gpu| good(gpu)),
        Verdict::Simulated(simulated) => good(simulated),
    }
}

fn name(attestation: &Attestation, key: &PublicKey, policy: &NamedPolicy) -> Digest {
    let mut parts: Vec<&[u8]> = alloc::vec![
        policy.digest.as_bytes(),
        key.as_bytes(),
        attestation.media_type.as_str().as_bytes(),
        &attestation.evidence,
    ];
    for (label, bytes) in &attestation.endorsements {
        parts.push(label.as_str().as_bytes());
        parts.push(bytes);
    }
    Digest::of("carat/tee-cache/v1", &parts)
}
