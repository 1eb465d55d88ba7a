//! Offline proofs of logging as one text (C2SP `tlog-proof`, version 1):
//! index, inclusion path and the signed checkpoint.

use crate::b64;
use crate::checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint, parse_decimal};
use crate::hash::{Hash, HashError};
use crate::note::{MAX_NOTE_BYTES, VerifierKey};
use crate::proof::{InclusionProof, ProofError};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Longest inclusion path of any tree with fewer than 2^64 leaves.
pub const MAX_PATH: usize = 64;

/// Why a proof text was refused. Its author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// Not the lines of a proof.
    #[error("not a tlog-proof: {what}; ask the log for the proof again")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A path line is no hash.
    #[error("a path line of the proof is wrong: {0}")]
    Path(#[from] HashError),
    /// The checkpoint inside is wrong.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the leaf to the checkpoint.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// That a leaf is in a log, in one text that needs no network to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data beside the proof. **Not authenticated.**
    pub extra: Option<Vec<u8>>,
    /// Zero-based index of the leaf.
    pub index: u64,
    /// From the leaf's sibling up to the root's child; at most [`MAX_PATH`].
    pub path: Vec<Hash>,
    /// The checkpoint that it leads to, with all cosignatures.
    pub checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// Reads a proof of at most [`MAX_NOTE_BYTES`].
    ///
    /// # Errors
    /// [`TlogProofError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        let malformed = |what| TlogProofError::Malformed { what };
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(malformed("it is larger than any honest proof"));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or_else(|| malformed("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("the first line is not 'c2sp.org/tlog-proof@v1'"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(encoded) => {
                lines.next();
                Some(
                    b64::decode(encoded)
                        .ok_or_else(|| malformed("the extra data is not canonical base64"))?,
                )
            }
            None => None,
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .ok_or_else(|| malformed("there is no index line"))?;
        let index =
            parse_decimal(index).map_err(|_| malformed("the index is no decimal number"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == MAX_PATH {
                return Err(malformed("the path has more than 64 hashes"));
            }
            path.push(Hash::from_base64(line)?);
        }
        Ok(Self {
            extra,
            index,
            path,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        })
    }

    /// The text, exactly that which [`TlogProof::parse`] read.
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_string();
        if let Some(extra) = &self.extra {
            text.push_str("\nextra ");
            text.push_str(&b64::encode(extra));
        }
        text.push_str(&alloc::format!("\nindex {}\n", self.index));
        for hash in &self.path {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.to_text());
        text
    }

    /// Checks that the log signed the checkpoint and that the leaf is in it.
    /// Witnesses are a second question: [`SignedCheckpoint::cosignatures`].
    ///
    /// # Errors
    /// [`TlogProofError::Checkpoint`], [`TlogProofError::Proof`].
    pub fn verify(
        &self,
        leaf: Hash,
        log: &VerifierKey,
    ) -> Result<VerifiedCheckpoint, TlogProofError> {
        let checkpoint = self.checkpoint.verify(log)?;
        self.inclusion().verify(leaf, &checkpoint)?;
        Ok(checkpoint)
    }

    /// The inclusion proof, for the size that the checkpoint claims.
    pub fn inclusion(&self) -> InclusionProof {
        InclusionProof {
            index: self.index,
            size: self.checkpoint.unverified().size(),
            path: self.path.clone(),
        }
    }
}
