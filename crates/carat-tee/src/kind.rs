//! Kinds of evidence, and names of single machines.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A format of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// AWS Nitro Enclaves attestation document.
    Nitro,
    /// Intel TDX quote (DCAP), version 4 or 5.
    Tdx,
    /// Intel SGX quote (DCAP), version 3.
    Sgx,
    /// AMD SEV-SNP attestation report.
    Snp,
    /// NVIDIA GPU attestation report (SPDM), Hopper or Blackwell.
    Nvidia,
    /// Azure confidential VM on SEV-SNP: HCL report and vTPM quote.
    AzureSnp,
    /// Google Cloud Confidential Space PKI token.
    Gcp,
}

/// No kind has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no evidence of kind \"{0}\"; give nitro, tdx, sgx, snp, nvidia, azure-snp or gcp"
)]
pub struct UnknownKind(pub String);

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Nitro,
        Self::Tdx,
        Self::Sgx,
        Self::Snp,
        Self::Nvidia,
        Self::AzureSnp,
        Self::Gcp,
    ];

    /// The name on the command line and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nitro => "nitro",
            Self::Tdx => "tdx",
            Self::Sgx => "sgx",
            Self::Snp => "snp",
            Self::Nvidia => "nvidia",
            Self::AzureSnp => "azure-snp",
            Self::Gcp => "gcp",
        }
    }

    /// Whose signature a relying party believes: the atom is `vendor:NAME`.
    pub const fn vendor(self) -> &'static str {
        match self {
            Self::Nitro => "aws",
            Self::Tdx | Self::Sgx => "intel",
            Self::Snp => "amd",
            Self::Nvidia => "nvidia",
            Self::AzureSnp => "amd+microsoft",
            Self::Gcp => "google",
        }
    }

    /// Media type of the evidence inside a receipt.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Nitro => "application/vnd.carat.tee.nitro",
            Self::Tdx => "application/vnd.carat.tee.tdx",
            Self::Sgx => "application/vnd.carat.tee.sgx",
            Self::Snp => "application/vnd.carat.tee.snp",
            Self::Nvidia => "application/vnd.carat.tee.nvidia",
            Self::AzureSnp => "application/vnd.carat.tee.azure-snp",
            Self::Gcp => "application/vnd.carat.tee.gcp",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_string()))
    }
}

/// One machine or part, as `NAMESPACE:VALUE`: `snp-chip:HEX`, `tdx-ppid:HEX`, `intel-piid:HEX`, `gpu:HEX`, `nitro-module:NAME`.
/// Lower case. Allow lists and deny lists are made of these; a trailing `*` in a list matches any ending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlatformId(String);

/// A text is no [`PlatformId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" does not name a platform; write NAMESPACE:VALUE, such as snp-chip:0123abcd, in lower case"
)]
pub struct PlatformIdError(pub String);

impl PlatformId {
    /// Checks a text: visible ASCII without upper case, with a colon after a non-empty namespace, at most 256 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, PlatformIdError> {
        let text = text.into();
        let visible = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
        let split = text.split_once(':');
        let good = text.len() <= 256
            && text.bytes().all(visible)
            && split.is_some_and(|(space, value)| !space.is_empty() && !value.is_empty());
        if good {
            Ok(Self(text))
        } else {
            Err(PlatformIdError(text))
        }
    }

    /// A namespace and the hexadecimal form of bytes.
    pub fn of_bytes(namespace: &'static str, bytes: &[u8]) -> Self {
        Self(alloc::format!("{namespace}:{}", hex::encode(bytes)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this entry of a list means that platform.
    pub fn matches(&self, platform: &Self) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => platform.0.starts_with(start),
            None => self.0 == platform.0,
        }
    }
}

impl fmt::Display for PlatformId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PlatformId {
    type Error = PlatformIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<PlatformId> for String {
    fn from(id: PlatformId) -> Self {
        id.0
    }
}
