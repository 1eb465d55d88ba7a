//! `[[platform]]`: trusted execution environments that a relying party accepts, `[[gpu_reference]]`: what the firmware of their
//! GPUs must measure, and `[[denied_platform]]`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str::FromStr;

use carat_receipt::{Amount, Digest, Label};
use carat_tee::nvidia::reference::Bundle;
use carat_tee::{Attested, Kind, PlatformId, Policy};
use serde::Deserialize;

/// Most `[[gpu_reference]]` entries: each GPU of a receipt is compared with all of them.
pub const MAX_GPU_REFERENCES: usize = 64;

use super::write::Text;
use super::{Content, DeniedPlatform, TrustError};

/// Measured code on a kind of hardware, and what its evidence is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// What the relying party calls it; unique in the file. The assumption is `measured-code:NAME`.
    pub name: Label,
    /// Kind of evidence.
    pub kind: Kind,
    /// The measurement of the code, as `carat tee verify` prints it.
    pub measurement: Digest,
    /// If given, the only product that is accepted, such as `genoa`.
    pub product: Option<Label>,
    /// The policy that the evidence must pass.
    pub policy: PolicyName,
    /// What is asked of the firmware of GPUs that the evidence names.
    pub gpu_firmware: GpuFirmware,
    /// What the evidence is good for at most, under {vendor, measured-code, no-physical-attack}.
    pub cap: Amount,
    /// What it costs to break one such machine; counts beside a bond where answers are audited.
    pub break_cost: Option<Amount>,
}

/// A policy by name. Debug evidence is worth nothing, so `dev` is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    /// [`Policy::strict`].
    Strict,
    /// [`Policy::production`].
    #[default]
    Production,
}

/// What is asked of the firmware of GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuFirmware {
    /// Driver and VBIOS measure what a `[[gpu_reference]]` of the file says.
    #[default]
    Reference,
    /// Whatever NVIDIA signed: an assumption of its own.
    Any,
}

/// What the firmware of GPUs must measure: a bundle that `tools/python/nvidia_rim.py` made of NVIDIA's manifests. The
/// file's owner vouches for it, whoever signed the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuReference {
    /// What the relying party calls it; unique in the file.
    pub name: Label,
    /// The bundle.
    pub bundle: Vec<u8>,
}

/// No policy has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy \"{0}\" for receipts; give strict or production")]
pub struct UnknownPolicy(pub String);

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "strict" => Ok(Self::Strict),
            "production" => Ok(Self::Production),
            _ => Err(UnknownPolicy(text.to_string())),
        }
    }
}

impl PolicyName {
    /// The policy.
    pub fn policy(self) -> Policy {
        match self {
            Self::Strict => Policy::strict(),
            Self::Production => Policy::production(),
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Production => "production",
        }
    }
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePlatform {
    name: Label,
    kind: Kind,
    measurement: Digest,
    product: Option<Label>,
    #[serde(default)]
    policy: PolicyName,
    #[serde(default)]
    gpu_firmware: GpuFirmware,
    cap: Amount,
    break_cost: Option<Amount>,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileGpuReference {
    name: Label,
    bundle: String,
}

pub(super) fn read_reference(file: FileGpuReference) -> Result<GpuReference, TrustError> {
    let FileGpuReference { name, bundle } = file;
    let lower = !bundle.bytes().any(|byte| byte.is_ascii_uppercase());
    match hex::decode(&bundle) {
        Ok(bundle) if lower => Ok(GpuReference { name, bundle }),
        _ => Err(TrustError::value(
            "gpu_reference.bundle",
            "lowercase hexadecimal digits are expected",
        )),
    }
}

pub(super) fn read(file: FilePlatform) -> Result<Platform, TrustError> {
    let FilePlatform {
        name,
        kind,
        measurement,
        product,
        policy,
        gpu_firmware,
        cap,
        break_cost,
    } = file;
    Ok(Platform {
        name,
        kind,
        measurement,
        product,
        policy,
        gpu_firmware,
        cap,
        break_cost,
    })
}

pub(super) fn write(t: &mut Text, content: &Content) {
    for platform in &content.platforms {
        t.table("[[platform]]");
        t.text("name", &platform.name);
        t.text("kind", platform.kind);
        t.text("measurement", platform.measurement);
        if let Some(product) = &platform.product {
            t.text("product", product);
        }
        t.text("policy", platform.policy.as_str());
        if platform.gpu_firmware == GpuFirmware::Any {
            t.text("gpu_firmware", "any");
        }
        t.text("cap", platform.cap);
        if let Some(cost) = platform.break_cost {
            t.text("break_cost", cost);
        }
    }
    for reference in &content.gpu_references {
        t.table("[[gpu_reference]]");
        t.text("name", &reference.name);
        t.text("bundle", hex::encode(&reference.bundle));
    }
}

fn unique<'a>(place: &str, names: impl Iterator<Item = &'a Label>) -> Result<(), TrustError> {
    let mut names: Vec<&Label> = names.collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(TrustError::value(
            place,
            alloc::format!("the name {} stands there twice", pair[0]),
        )),
        None => Ok(()),
    }
}

/// Rules: unique names, amounts in the file's currency, a GPU only with its CPU, bundles that can be read, vendors that
/// exist.
pub(super) fn check(content: &Content) -> Result<(), TrustError> {
    let platforms = content.platforms.iter();
    unique("platform", platforms.map(|platform| &platform.name))?;
    let references = content.gpu_references.iter();
    unique("gpu_reference", references.map(|reference| &reference.name))?;
    if content.gpu_references.len() > MAX_GPU_REFERENCES {
        let reason = alloc::format!("the limit is {MAX_GPU_REFERENCES} entries");
        return Err(TrustError::value("gpu_reference", reason));
    }
    for reference in &content.gpu_references {
        Bundle::decode(&reference.bundle).map_err(|error| {
            TrustError::value(alloc::format!("gpu_reference {}", reference.name), error)
        })?;
    }
    // A misspelt vendor would refuse nobody.
    let vendors = || {
        Kind::ALL
            .into_iter()
            .flat_map(|kind| kind.vendor().split('+'))
    };
    for denied in &content.denied_platforms {
        if !vendors().any(|vendor| vendor.eq_ignore_ascii_case(denied.vendor.as_str())) {
            let reason = alloc::format!(
                "there is no vendor {}; give aws, intel, amd, nvidia, microsoft or google",
                denied.vendor
            );
            return Err(TrustError::value("denied_platform.vendor", reason));
        }
    }
    for platform in &content.platforms {
        for amount in core::iter::once(&platform.cap).chain(&platform.break_cost) {
            Amount::zero(content.currency)
                .compare(amount)
                .map_err(|error| {
                    TrustError::value("platform.cap, platform.break_cost", error.to_string())
                })?;
        }
        if platform.kind == Kind::Nvidia {
            let reason =
                "a GPU's evidence stands for nothing without the CPU's; name the CPU's kind";
            return Err(TrustError::value("platform.kind", reason));
        }
    }
    Ok(())
}

/// What evidence must pass for the entries that ask for this policy and this of GPU firmware.
pub(crate) fn policy(content: &Content, name: PolicyName, firmware: GpuFirmware) -> Policy {
    let mut policy = name.policy();
    if firmware == GpuFirmware::Reference {
        policy.nvidia.require_reference = true;
        let bundles = content.gpu_references.iter();
        policy.nvidia.references = bundles.map(|one| hex::encode(&one.bundle)).collect();
    }
    policy
}

impl Platform {
    /// Whether evidence is of this kind, product and code.
    pub fn covers(&self, attested: &Attested) -> bool {
        let facts = attested.facts();
        let product = self
            .product
            .as_ref()
            .is_none_or(|wanted| facts.product.as_deref() == Some(wanted.as_str()));
        self.kind == attested.kind() && self.measurement == facts.measurement && product
    }
}

impl DeniedPlatform {
    /// Whether evidence is of a platform that this entry refuses: of that vendor, with that name of a machine (a trailing
    /// `*` matches any ending), product or measurement.
    pub fn covers(&self, attested: &Attested) -> bool {
        let facts = attested.facts();
        let vendor = attested
            .kind()
            .vendor()
            .split('+')
            .any(|vendor| vendor.eq_ignore_ascii_case(self.vendor.as_str()));
        let id = self.id.as_str().to_ascii_lowercase();
        let named = PlatformId::new(id.clone())
            .is_ok_and(|entry| facts.platforms.iter().any(|name| entry.matches(name)));
        // The value alone, without its namespace, is how vendors print chip ids.
        let bare = facts.platforms.iter().any(|name| {
            name.as_str()
                .split_once(':')
                .is_some_and(|(_, value)| value == id)
        });
        let product = facts.product.as_deref() == Some(id.as_str());
        vendor && (named || bare || product || facts.measurement.to_string() == id)
    }
}
