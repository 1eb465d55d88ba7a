//! Hashes of the Merkle tree (RFC 9162 section 2.1.1, the same as RFC 6962).

use crate::b64;
use alloc::string::{String, ToString};
use core::fmt;
use sha2::{Digest, Sha256};

/// A SHA-256 value in the tree: of a leaf, of a node or of a root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Wraps 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads canonical base64 of 32 bytes, the form of checkpoints and proofs.
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        b64::decode(text)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| HashError {
                found: shorten(text),
            })
    }

    /// Canonical base64, the form of checkpoints and proofs.
    pub fn to_base64(&self) -> String {
        b64::encode(&self.0)
    }
}

/// Keeps error messages of bounded size: at most 60 characters of the input.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => {
            let mut kept = text[..at].to_string();
            kept.push('…');
            kept
        }
        None => text.to_string(),
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// A text that is not the base64 of a SHA-256 value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not canonical base64 of 32 bytes; ask its sender for the original text")]
pub struct HashError {
    /// What stood there, shortened.
    pub found: String,
}

/// `MTH({d}) = SHA-256(0x00 || d)`: the hash of one leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0u8]);
    hasher.update(leaf);
    Hash(hasher.finalize().into())
}

/// `SHA-256(0x01 || left || right)`: the hash of an inner node.
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1u8]);
    hasher.update(left.0);
    hasher.update(right.0);
    Hash(hasher.finalize().into())
}

/// `MTH({}) = SHA-256("")`: the root of the tree without leaves.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}
