//! What is accepted. Presets, and a TOML form that starts from a preset and changes it.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::Digest;
use serde::{Deserialize, Serialize};

use crate::PlatformId;
use crate::nvidia::reference::Bundle;

/// Largest policy file in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;

/// What is accepted. `strict` and `production` refuse debug evidence, firmware that the vendor calls out of date, and
/// guests below the highest privilege; `production` also refuses EPYC Milan, whose chip keys software could extract in
/// 2026; `dev` is `strict` that accepts debug evidence and says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Its name, for people.
    pub name: String,
    /// Accept evidence made in debug mode.
    pub allow_debug: bool,
    /// Demand a nonce or a binding, whatever the caller gives.
    pub require_nonce: bool,
    /// How old dated evidence may be, in seconds. Evidence without a date of its own is limited by its endorsements.
    pub max_age: u64,
    /// How far in the future evidence may be dated, in seconds: clocks differ.
    pub max_skew: u64,
    /// Machines that are refused.
    pub deny_platforms: Vec<PlatformId>,
    /// If not empty, the only machines that are accepted.
    pub allow_platforms: Vec<PlatformId>,
    /// If not empty, the measurements (`Facts::measurement`) that are accepted, whatever the kind.
    pub measurements: Vec<Digest>,
    /// Nitro.
    pub nitro: NitroPolicy,
    /// TDX and SGX.
    pub intel: IntelPolicy,
    /// SEV-SNP, also under Azure.
    pub snp: SnpPolicy,
    /// NVIDIA.
    pub nvidia: NvidiaPolicy,
    /// Confidential Space.
    pub gcp: GcpPolicy,
}

/// What is accepted of Nitro Enclaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NitroPolicy {
    /// If not empty: sets of expected PCRs (number, 48 bytes in hexadecimal), of which one must match entirely.
    pub pcrs: Vec<BTreeMap<String, String>>,
}

/// What is accepted of TDX and SGX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntelPolicy {
    /// TCB statuses that are accepted, as Intel writes them.
    pub tcb_status: Vec<String>,
    /// Smallest `tcbEvaluationDataNumber` of the collateral.
    pub min_tcb_evaluation_data_number: u32,
    /// Advisories that are refused; others are only listed.
    pub deny_advisories: Vec<String>,
    /// If not empty: MRTD (TDX) values that are accepted, hexadecimal.
    pub mr_td: Vec<String>,
    /// If not empty: MRENCLAVE (SGX) values that are accepted, hexadecimal.
    pub mr_enclave: Vec<String>,
    /// If not empty: MRSIGNER (SGX) values that are accepted, hexadecimal.
    pub mr_signer: Vec<String>,
}

/// What is accepted of SEV-SNP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnpPolicy {
    /// Products that are refused: `milan`, `genoa`, `turin`.
    pub deny_products: Vec<String>,
    /// Largest VMPL that is accepted.
    pub max_vmpl: u32,
    /// Accept guests that may be migrated by an agent.
    pub allow_migration: bool,
    /// Demand that the platform finished its check for aliased memory (BadRAM).
    pub require_alias_check: bool,
    /// Demand ciphertext hiding.
    pub require_ciphertext_hiding: bool,
    /// Smallest reported TCB by product.
    pub min_tcb: BTreeMap<String, SnpTcb>,
    /// If not empty: launch measurements that are accepted, hexadecimal.
    pub measurements: Vec<String>,
    /// If not empty: SHA-384 of keys, one of which must have signed the guest's ID block, hexadecimal.
    pub id_key_digests: Vec<String>,
}

/// Parts of an SEV-SNP firmware level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnpTcb {
    /// Boot loader.
    pub bootloader: u8,
    /// TEE.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
    /// FMC (Turin and later).
    pub fmc: u8,
}

/// What is accepted of NVIDIA GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NvidiaPolicy {
    /// Demand that the measurements equal reference values. Without it, missing reference values are only listed.
    pub require_reference: bool,
    /// Ed25519 keys whose bundles of reference values are accepted, hexadecimal.
    pub reference_keys: Vec<String>,
    /// Bundles of reference values that the policy brings itself, hexadecimal or base64. The policy vouches for them, so it does
    /// not matter who signed them, nor when they were made.
    pub references: Vec<String>,
    /// Ignore bytes after a report's signature. Nobody signed them; without this they are refused.
    pub allow_trailing_bytes: bool,
}

/// What is accepted of Confidential Space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcpPolicy {
    /// If not empty: audiences, one of which the token must name.
    pub audiences: Vec<String>,
    /// If not empty: image digests (`sha256:HEX`) that are accepted.
    pub image_digests: Vec<String>,
    /// Demand a supported image of this attribute; empty: none is demanded.
    pub support_attribute: String,
    /// Hardware models that are accepted.
    pub hwmodels: Vec<String>,
}

/// A text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Too long.
    #[error("the policy has {0} bytes; the limit is {MAX_POLICY_BYTES}")]
    TooLarge(usize),
    /// Not TOML, or not this schema.
    #[error("the policy cannot be read: {0}")]
    Syntax(String),
    /// No preset of that name.
    #[error("there is no preset \"{0}\"; give strict, production or dev")]
    Preset(String),
    /// A value makes no sense.
    #[error("policy, {place}: {reason}")]
    Value {
        /// Where.
        place: &'static str,
        /// Why.
        reason: String,
    },
}

impl Default for IntelPolicy {
    fn default() -> Self {
        Self {
            tcb_status: alloc::vec!["UpToDate".to_string()],
            min_tcb_evaluation_data_number: 0,
            deny_advisories: Vec::new(),
            mr_td: Vec::new(),
            mr_enclave: Vec::new(),
            mr_signer: Vec::new(),
        }
    }
}

impl Default for GcpPolicy {
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            image_digests: Vec::new(),
            support_attribute: "STABLE".to_string(),
            hwmodels: ["GCP_INTEL_TDX", "GCP_AMD_SEV_SNP", "GCP_AMD_SEV"]
                .map(ToString::to_string)
                .into(),
        }
    }
}

impl Default for Policy {
    /// `production`.
    fn default() -> Self {
        Self::production()
    }
}

impl Policy {
    /// Refuses debug, out-of-date firmware and low privilege; accepts every product.
    pub fn strict() -> Self {
        Self {
            name: "strict".to_string(),
            allow_debug: false,
            require_nonce: false,
            // A Nitro document may be as old as its leaf certificate lives, three hours.
            max_age: 10_800,
            max_skew: 300,
            deny_platforms: Vec::new(),
            allow_platforms: Vec::new(),
            measurements: Vec::new(),
            nitro: NitroPolicy::default(),
            intel: IntelPolicy::default(),
            snp: SnpPolicy::default(),
            nvidia: NvidiaPolicy::default(),
            gcp: GcpPolicy::default(),
        }
    }

    /// [`Policy::strict`] without EPYC Milan.
    pub fn production() -> Self {
        let mut policy = Self::strict();
        policy.name = "production".to_string();
        policy.snp.deny_products = alloc::vec!["milan".to_string()];
        policy
    }

    /// [`Policy::strict`] that accepts debug evidence.
    pub fn dev() -> Self {
        let mut policy = Self::strict();
        policy.name = "dev".to_string();
        policy.allow_debug = true;
        policy
    }

    /// A preset by name.
    pub fn preset(name: &str) -> Result<Self, PolicyError> {
        match name {
            "strict" => Ok(Self::strict()),
            "production" | "production-2026" => Ok(Self::production()),
            "dev" => Ok(Self::dev()),
            _ => Err(PolicyError::Preset(name.to_string())),
        }
    }

    /// Reads a policy file: TOML whose `preset` (default `production`) is where it starts from; everything else in it
    /// replaces the preset's value. See `docs/tee.md`.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge(text.len()));
        }
        let syntax = |error: toml::de::Error| PolicyError::Syntax(error.message().to_string());
        let mut changes: toml::Table = text.parse().map_err(syntax)?;
        let base = match changes.remove("preset") {
            None => Self::production(),
            Some(toml::Value::String(name)) => Self::preset(&name)?,
            Some(_) => return Err(PolicyError::Syntax("preset is a text".into())),
        };
        changes
            .entry("name")
            .or_insert_with(|| toml::Value::String("custom".into()));
        let base =
            toml::Table::try_from(&base).map_err(|error| PolicyError::Syntax(error.to_string()))?;
        let policy: Self = merge(base, changes).try_into().map_err(syntax)?;
        policy.check()?;
        Ok(policy)
    }

    /// The policy as TOML, complete: reading it gives the same policy.
    pub fn to_toml(&self) -> Result<String, PolicyError> {
        toml::to_string(self).map_err(|error| PolicyError::Syntax(error.to_string()))
    }

    /// SHA-256 over the complete TOML: what caches and appraisals name a policy by.
    pub fn digest(&self) -> Result<Digest, PolicyError> {
        Ok(Digest::of(
            "carat/tee-policy/v1",
            &[self.to_toml()?.as_bytes()],
        ))
    }

    /// Refuses values that could never match: a typing error must not look like a rule.
    fn check(&self) -> Result<(), PolicyError> {
        let bytes = |place: &'static str, list: &[String], len: usize| match list
            .iter()
            .find(|text| !is_hex(text, len))
        {
            Some(text) => Err(PolicyError::Value {
                place,
                reason: alloc::format!("\"{text}\" is not {len} bytes in hexadecimal"),
            }),
            None => Ok(()),
        };
        bytes("intel.mr_td", &self.intel.mr_td, 48)?;
        bytes("intel.mr_enclave", &self.intel.mr_enclave, 32)?;
        bytes("intel.mr_signer", &self.intel.mr_signer, 32)?;
        bytes("snp.measurements", &self.snp.measurements, 48)?;
        bytes("snp.id_key_digests", &self.snp.id_key_digests, 48)?;
        bytes("nvidia.reference_keys", &self.nvidia.reference_keys, 32)?;
        for text in &self.nvidia.references {
            Bundle::from_text(text).map_err(|error| PolicyError::Value {
                place: "nvidia.references",
                reason: error.to_string(),
            })?;
        }
        for set in &self.nitro.pcrs {
            let values: Vec<String> = set.values().cloned().collect();
            bytes("nitro.pcrs", &values, 48)?;
            let number = |text: &String| {
                text.parse::<u8>()
                    .is_ok_and(|number| number < 32 && number.to_string() == *text)
            };
            if set.is_empty() || !set.keys().all(number) {
                let reason =
                    "each set names at least one PCR, by a number from 0 to 31".to_string();
                return Err(PolicyError::Value {
                    place: "nitro.pcrs",
                    reason,
                });
            }
        }
        let unknown = self
            .snp
            .deny_products
            .iter()
            .chain(self.snp.min_tcb.keys())
            .find(|name| !PRODUCTS.contains(&name.as_str()));
        if let Some(name) = unknown {
            let reason =
                alloc::format!("there is no product \"{name}\"; give milan, genoa or turin");
            return Err(PolicyError::Value {
                place: "snp",
                reason,
            });
        }
        if self.max_age > i64::MAX as u64 || self.max_skew > 86_400 {
            let reason = "max_age fits in 63 bits, max_skew is at most a day".to_string();
            return Err(PolicyError::Value {
                place: "max_age, max_skew",
                reason,
            });
        }
        Ok(())
    }
}

const PRODUCTS: [&str; 3] = ["milan", "genoa", "turin"];

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == 2 * len && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `changes` over `base`: tables are merged, everything else is replaced.
fn merge(mut base: toml::Table, changes: toml::Table) -> toml::Table {
    for (name, change) in changes {
        let merged = match (base.remove(&name), change) {
            (Some(toml::Value::Table(base)), toml::Value::Table(change)) => {
                toml::Value::Table(merge(base, change))
            }
            (_, change) => change,
        };
        base.insert(name, merged);
    }
    base
}
