//! Roots and proofs from stored subtree hashes (RFC 9162 sections 2.1.1,
//! 2.1.3.1, 2.1.4.1), over any storage that can name a complete subtree.

use crate::hash::{Hash, empty_root, leaf_hash, node_hash};
use crate::proof::{ConsistencyProof, InclusionProof};
use alloc::vec::Vec;

/// Where hashes of complete subtrees come from.
pub trait NodeSource {
    /// What can go wrong while fetching.
    type Error: From<TreeError>;

    /// `MTH(D[index * 2^level : (index + 1) * 2^level])`.
    ///
    /// # Errors
    /// When the source does not hold it.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// A question about a tree that cannot be answered. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Asked for a leaf beyond the end.
    #[error("leaf {index} is not in a tree of {size} leaves; ask for an index below {size}")]
    NoSuchLeaf {
        /// Index asked for.
        index: u64,
        /// Size of the tree asked about.
        size: u64,
    },
    /// Asked for a tree larger than the source.
    #[error("the tree has {have} leaves, not {asked}; ask for at most {have}")]
    NoSuchSize {
        /// Size asked for.
        asked: u64,
        /// Size at hand.
        have: u64,
    },
    /// Asked for consistency from a larger to a smaller tree.
    #[error("a tree of {from} leaves is no prefix of one of {to}; ask with the smaller size first")]
    SizesReversed {
        /// Older size asked for.
        from: u64,
        /// Newer size asked for.
        to: u64,
    },
}

/// Largest power of two below `count` (the `k` of RFC 9162), for `count >= 2`.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// `MTH(D[lo:hi])` for a non-empty range whose start is a multiple of the
/// power of two that covers its length, which all ranges in proofs are.
fn range_root<S: NodeSource>(source: &S, lo: u64, hi: u64) -> Result<Hash, S::Error> {
    let (mut start, mut left) = (lo, hi - lo);
    let mut complete = Vec::new();
    while left > 0 {
        let level = 63 - left.leading_zeros();
        complete.push(source.node(level as u8, start >> level)?);
        start += 1 << level;
        left -= 1 << level;
    }
    Ok(complete
        .into_iter()
        .rev()
        .reduce(|right, left| node_hash(left, right))
        .unwrap_or_else(empty_root))
}

/// The root of the first `size` leaves.
///
/// # Errors
/// Those of the source.
pub fn root_of<S: NodeSource>(source: &S, size: u64) -> Result<Hash, S::Error> {
    range_root(source, 0, size)
}

/// Proves that leaf `index` is among the first `size` leaves.
///
/// # Errors
/// [`TreeError::NoSuchLeaf`], and those of the source.
pub fn prove_inclusion<S: NodeSource>(
    source: &S,
    index: u64,
    size: u64,
) -> Result<InclusionProof, S::Error> {
    if index >= size {
        return Err(TreeError::NoSuchLeaf { index, size }.into());
    }
    let (mut lo, mut hi) = (0, size);
    let mut path = Vec::new();
    while hi - lo > 1 {
        let middle = lo + split(hi - lo);
        if index < middle {
            path.push(range_root(source, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_root(source, lo, middle)?);
            lo = middle;
        }
    }
    path.reverse();
    Ok(InclusionProof { index, size, path })
}

/// Proves that the first `from` leaves are a prefix of the first `to`.
///
/// # Errors
/// [`TreeError::SizesReversed`], and those of the source.
pub fn prove_consistency<S: NodeSource>(
    source: &S,
    from: u64,
    to: u64,
) -> Result<ConsistencyProof, S::Error> {
    if from > to {
        return Err(TreeError::SizesReversed { from, to }.into());
    }
    let (mut lo, mut hi) = (0, to);
    let mut path = Vec::new();
    if from > 0 {
        while hi != from {
            let middle = lo + split(hi - lo);
            if from <= middle {
                path.push(range_root(source, middle, hi)?);
                hi = middle;
            } else {
                path.push(range_root(source, lo, middle)?);
                lo = middle;
            }
        }
        // The verifier knows this subtree only when it is the whole old tree.
        if lo != 0 {
            path.push(range_root(source, lo, hi)?);
        }
    }
    path.reverse();
    Ok(ConsistencyProof { from, to, path })
}

/// A tree in memory: every complete subtree of every level.
///
/// For tests, examples and small batches; a log on disk is `store::Log`.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    /// `levels[l][i]` is the hash of subtree `i` of height `l`.
    levels: Vec<Vec<Hash>>,
}

impl MemoryTree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of these leaves.
    pub fn from_leaves<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut tree = Self::new();
        for leaf in leaves {
            tree.push(leaf_hash(leaf));
        }
        tree
    }

    /// Appends one leaf, given its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(row[row.len() - 2], row[row.len() - 1]);
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |row| row.len() as u64)
    }

    /// Root of the first `size` leaves.
    ///
    /// # Errors
    /// [`TreeError::NoSuchSize`].
    pub fn root(&self, size: u64) -> Result<Hash, TreeError> {
        self.check(size)?;
        root_of(self, size)
    }

    /// See [`prove_inclusion`].
    ///
    /// # Errors
    /// [`TreeError::NoSuchSize`], [`TreeError::NoSuchLeaf`].
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, TreeError> {
        self.check(size)?;
        prove_inclusion(self, index, size)
    }

    /// See [`prove_consistency`].
    ///
    /// # Errors
    /// [`TreeError::NoSuchSize`], [`TreeError::SizesReversed`].
    pub fn prove_consistency(&self, from: u64, to: u64) -> Result<ConsistencyProof, TreeError> {
        self.check(to)?;
        prove_consistency(self, from, to)
    }

    fn check(&self, asked: u64) -> Result<(), TreeError> {
        let have = self.size();
        if asked > have {
            Err(TreeError::NoSuchSize { asked, have })
        } else {
            Ok(())
        }
    }
}

impl NodeSource for MemoryTree {
    type Error = TreeError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, TreeError> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.levels.get(usize::from(level))?.get(index).copied())
            .ok_or(TreeError::NoSuchSize {
                asked: index
                    .saturating_add(1)
                    .checked_shl(level.into())
                    .unwrap_or(u64::MAX),
                have: self.size(),
            })
    }
}
