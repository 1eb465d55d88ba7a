//! `[[platform]]`: trusted execution environments that a relying party accepts, and `[[denied_platform]]`.

use alloc::string::ToString;
use alloc::vec::Vec;

use carat_receipt::{Amount, Digest, Label};
use carat_tee::{Attested, Kind, PlatformId, Policy};
use serde::Deserialize;

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

impl PolicyName {
    /// The policy.
    pub fn policy(self) -> Policy {
        match self {
            Self::Strict => Policy::strict(),
            Self::Production => Policy::production(),
        }
    }

    const fn as_str(self) -> &'static str {
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
    cap: Amount,
    break_cost: Option<Amount>,
}

pub(super) fn read(file: FilePlatform) -> Result<Platform, TrustError> {
    let FilePlatform {
        name,
        kind,
        measurement,
        product,
        policy,
        cap,
        break_cost,
    } = file;
    Ok(Platform {
        name,
        kind,
        measurement,
        product,
        policy,
        cap,
        break_cost,
    })
}

pub(super) fn write(t: &mut Text, platforms: &[Platform]) {
    for platform in platforms {
        t.table("[[platform]]");
        t.text("name", &platform.name);
        t.text("kind", platform.kind);
        t.text("measurement", platform.measurement);
        if let Some(product) = &platform.product {
            t.text("product", product);
        }
        t.text("policy", platform.policy.as_str());
        t.text("cap", platform.cap);
        if let Some(cost) = platform.break_cost {
            t.text("break_cost", cost);
        }
    }
}

/// Rules: unique names, amounts in the file's currency, a GPU only with its CPU.
pub(super) fn check(content: &Content) -> Result<(), TrustError> {
    let mut names: Vec<&Label> = content
        .platforms
        .iter()
        .map(|platform| &platform.name)
        .collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(TrustError::value(
            "platform",
            alloc::format!("the name {} stands there twice", pair[0]),
        ));
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
