//! Verifying inclusion and consistency (RFC 9162 sections 2.1.3.2, 2.1.4.2).
//!
//! Sizes and the leaf hash come from the verifier's side (a checkpoint whose
//! signature was checked, a receipt that is at hand); only the path is taken
//! from whoever sent the proof.

use crate::checkpoint::VerifiedCheckpoint;
use crate::hash::{Hash, empty_root, node_hash};
use alloc::vec::Vec;

/// The hashes that lead from one leaf to the root of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Zero-based index of the leaf.
    pub index: u64,
    /// Number of leaves of the tree that the proof speaks about.
    pub size: u64,
    /// From the leaf's sibling up to the root's child; at most 64 hashes.
    pub path: Vec<Hash>,
}

/// The hashes that show that one tree is a prefix of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Number of leaves of the older tree.
    pub from: u64,
    /// Number of leaves of the newer tree.
    pub to: u64,
    /// In the order of RFC 9162 section 2.1.4.1; at most 65 hashes.
    pub path: Vec<Hash>,
}

/// Why a proof does not hold. Whoever made the proof is at fault, unless the
/// verifier paired it with the wrong leaf or checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf lies outside the tree.
    #[error(
        "the proof is for leaf {index}, but the tree has {size} leaves; ask the log for a proof against a checkpoint of at least {} leaves",
        index.saturating_add(1)
    )]
    IndexOutsideTree {
        /// Claimed index.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The proof was made for a tree of another size than the checkpoint's.
    #[error(
        "the proof is for a tree of {proof} leaves, the checkpoint has {checkpoint}; pair them as the log sent them"
    )]
    SizeMismatch {
        /// Size that the proof names.
        proof: u64,
        /// Size of the checkpoint.
        checkpoint: u64,
    },
    /// The older tree is larger than the newer one.
    #[error(
        "the older tree has {from} leaves and the newer {to}; swap them, or the log has shrunk, which no honest log does"
    )]
    SizesReversed {
        /// Size of the older tree.
        from: u64,
        /// Size of the newer tree.
        to: u64,
    },
    /// Too many or too few hashes for the sizes.
    #[error(
        "the proof has {found} hashes, which does not fit its index and sizes; ask the log for it again"
    )]
    WrongLength {
        /// Number of hashes in the proof.
        found: usize,
    },
    /// The path leads to another root than the checkpoint's.
    #[error(
        "the proof leads to root {computed}, the checkpoint says {expected}: the leaf, the proof or the log is wrong"
    )]
    RootMismatch {
        /// Root that follows from leaf and path.
        computed: Hash,
        /// Root that was signed.
        expected: Hash,
    },
    /// The path does not start from the older root.
    #[error(
        "the proof leads to {computed} for the older tree, whose checkpoint says {expected}: the log rewrote what it had signed, or the proof is wrong"
    )]
    OldRootMismatch {
        /// Root that follows from the path.
        computed: Hash,
        /// Root that was signed.
        expected: Hash,
    },
}

impl InclusionProof {
    /// Checks that the leaf is in the tree of a verified checkpoint.
    ///
    /// # Errors
    /// [`ProofError`] when sizes differ, the index lies outside, the number of
    /// hashes is wrong or the root does not follow.
    pub fn verify(&self, leaf: Hash, checkpoint: &VerifiedCheckpoint) -> Result<(), ProofError> {
        if self.size != checkpoint.size() {
            return Err(ProofError::SizeMismatch {
                proof: self.size,
                checkpoint: checkpoint.size(),
            });
        }
        self.verify_root(leaf, checkpoint.root())
    }

    /// The same against a bare root, for callers that hold one they trust.
    ///
    /// # Errors
    /// See [`InclusionProof::verify`].
    pub fn verify_root(&self, leaf: Hash, root: Hash) -> Result<(), ProofError> {
        let computed = self.root(leaf)?;
        if computed == root {
            Ok(())
        } else {
            Err(ProofError::RootMismatch {
                computed,
                expected: root,
            })
        }
    }

    /// The root that leaf and path lead to (RFC 9162 section 2.1.3.2).
    ///
    /// # Errors
    /// [`ProofError::IndexOutsideTree`] or [`ProofError::WrongLength`].
    pub fn root(&self, leaf: Hash) -> Result<Hash, ProofError> {
        if self.index >= self.size {
            return Err(ProofError::IndexOutsideTree {
                index: self.index,
                size: self.size,
            });
        }
        let wrong_length = ProofError::WrongLength {
            found: self.path.len(),
        };
        let (mut node, mut last) = (self.index, self.size - 1);
        let mut root = leaf;
        for &hash in &self.path {
            if last == 0 {
                return Err(wrong_length);
            }
            if node & 1 == 1 || node == last {
                root = node_hash(hash, root);
                // A right edge without sibling: climb to where it has one.
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                root = node_hash(root, hash);
            }
            node >>= 1;
            last >>= 1;
        }
        if last == 0 {
            Ok(root)
        } else {
            Err(wrong_length)
        }
    }
}

impl ConsistencyProof {
    /// Checks that the tree of `old` is a prefix of the tree of `new`.
    ///
    /// # Errors
    /// [`ProofError`] when sizes differ from the checkpoints', are reversed, or
    /// a root does not follow.
    pub fn verify(
        &self,
        old: &VerifiedCheckpoint,
        new: &VerifiedCheckpoint,
    ) -> Result<(), ProofError> {
        for (proof, checkpoint) in [(self.from, old.size()), (self.to, new.size())] {
            if proof != checkpoint {
                return Err(ProofError::SizeMismatch { proof, checkpoint });
            }
        }
        self.verify_roots(old.root(), new.root())
    }

    /// The same against bare roots (RFC 9162 section 2.1.4.2).
    ///
    /// The RFC leaves the empty tree out. Here it is a prefix of every tree,
    /// with an empty proof, and only its own root is accepted for it.
    ///
    /// # Errors
    /// See [`ConsistencyProof::verify`].
    pub fn verify_roots(&self, old: Hash, new: Hash) -> Result<(), ProofError> {
        let wrong_length = ProofError::WrongLength {
            found: self.path.len(),
        };
        if self.from > self.to {
            return Err(ProofError::SizesReversed {
                from: self.from,
                to: self.to,
            });
        }
        if self.from == 0 && old != empty_root() {
            return Err(ProofError::OldRootMismatch {
                computed: empty_root(),
                expected: old,
            });
        }
        if self.from == 0 || self.from == self.to {
            if !self.path.is_empty() {
                return Err(wrong_length);
            }
            if self.from == self.to && old != new {
                return Err(ProofError::RootMismatch {
                    computed: old,
                    expected: new,
                });
            }
            return Ok(());
        }
        // A complete older tree is itself the first node of the path, so the
        // log leaves it out.
        let (start, rest) = if self.from.is_power_of_two() {
            (old, self.path.as_slice())
        } else {
            match self.path.split_first() {
                Some((first, rest)) => (*first, rest),
                None => return Err(wrong_length),
            }
        };
        if rest.is_empty() {
            return Err(wrong_length);
        }
        let (mut node, mut last) = (self.from - 1, self.to - 1);
        while node & 1 == 1 {
            node >>= 1;
            last >>= 1;
        }
        let (mut old_root, mut new_root) = (start, start);
        for &hash in rest {
            if last == 0 {
                return Err(wrong_length);
            }
            if node & 1 == 1 || node == last {
                old_root = node_hash(hash, old_root);
                new_root = node_hash(hash, new_root);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                new_root = node_hash(new_root, hash);
            }
            node >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(wrong_length);
        }
        if old_root != old {
            return Err(ProofError::OldRootMismatch {
                computed: old_root,
                expected: old,
            });
        }
        if new_root != new {
            return Err(ProofError::RootMismatch {
                computed: new_root,
                expected: new,
            });
        }
        Ok(())
    }
}
