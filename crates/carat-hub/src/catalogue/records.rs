//! What the catalogue keeps.

use carat_receipt::Digest;
use serde::{Deserialize, Serialize};

use crate::card::Examination;
use crate::manifest::Manifest;
use crate::name::{RepoId, Tag, Version};
use crate::signing::SignatureReport;

/// Why and when a version was taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Why.
    pub reason: String,
    /// When, in Unix seconds.
    pub at: u64,
    /// By whom.
    pub by: String,
}

/// A version, as the catalogue knows it. All but `tombstone` and `examination` never change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it consists of.
    pub manifest: Manifest,
    /// Digest of the manifest.
    pub digest: Digest,
    /// When it was published, in Unix seconds.
    pub published: u64,
    /// Grows with every publication of the hub.
    pub sequence: u64,
    /// Who published it.
    pub by: String,
    /// What is known of its signature.
    pub signature: SignatureReport,
    /// Why and when it was taken down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<Tombstone>,
    /// What examining it found; `None`: not done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examination: Option<Examination>,
}

/// Where a tag stands, or stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMove {
    /// The tag.
    pub tag: Tag,
    /// The version.
    pub version: Version,
    /// Its digest.
    pub digest: Digest,
    /// When it was put there, in Unix seconds.
    pub at: u64,
    /// By whom.
    pub by: String,
    /// Grows with every move in the hub.
    pub sequence: u64,
}

/// A file that was sent and is in no version yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) at: u64,
    pub(super) size: u64,
}

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publisher {
    /// Whoever has the hub's folder: may write in every namespace.
    Operator,
    /// A tenant: may write in the namespace of its name.
    Tenant(String),
}

impl Publisher {
    /// What records call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => "operator",
            Self::Tenant(name) => name,
        }
    }

    /// Refuses other tenants' namespaces.
    pub(super) fn owns(&self, repo: &RepoId) -> Result<(), crate::HubError> {
        match self {
            Self::Tenant(name) if name != repo.owner() => Err(crate::HubError::NotYours {
                owner: repo.owner().into(),
                tenant: name.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// What a hub takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// Largest version, in bytes.
    pub version_bytes: u64,
    /// Most bytes of one namespace.
    pub tenant_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 2 << 30,
            version_bytes: 4 << 30,
            tenant_bytes: 64 << 30,
        }
    }
}
