//! Showing part of a streamed answer: chunks, or the first k of them, against the root that a Statement commits to.
//!
//! The tree is that of RFC 9162 over salted leaves ([`carat_receipt::courier::chunk_leaf`]), so what is not shown stays hidden. A
//! prefix is shown by its chunks and a consistency proof: the tree of the first k leaves is a prefix of the whole tree.

use alloc::vec::Vec;

use carat_log::{ConsistencyProof, Hash, MemoryTree, ProofError, TreeError, leaf_hash};
use carat_receipt::courier::{chunk_leaf, chunk_salt, split};
use carat_receipt::statement::Stream;
use carat_receipt::{Digest, Opening, Salt};

/// The first chunks of a streamed answer, with what shows that they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The chunks in order, each with its salt.
    pub chunks: Vec<(Salt, Vec<u8>)>,
    /// That their tree is a prefix of the whole.
    pub proof: ConsistencyProof,
}

/// A prefix cannot be made, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// The opening is not that of a streamed answer.
    #[error("the opening holds no chunks, or their lengths do not fit the output")]
    NoChunks,
    /// More chunks were asked for than there are.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The sizes are not those of the Statement.
    #[error(
        "{shown} chunks of {of} are shown; the proof speaks of {from} and the Statement of {chunks}"
    )]
    Sizes {
        /// Chunks shown.
        shown: u64,
        /// Of how many, as the proof says.
        of: u64,
        /// For how many the proof was made.
        from: u64,
        /// Chunks of the Statement.
        chunks: u64,
    },
    /// The chunks are not the first ones of that stream.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// The tree over chunks, given the salt of the whole output.
pub fn tree<'a>(output_salt: &Salt, chunks: impl IntoIterator<Item = &'a [u8]>) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for (index, chunk) in (0..).zip(chunks) {
        let leaf = chunk_leaf(&chunk_salt(output_salt, index), chunk);
        tree.push(leaf_hash(leaf.as_bytes()));
    }
    tree
}

/// What a Statement says of a stream of chunks.
///
/// # Errors
/// None in fact: a tree has the root of its own size.
pub fn stream(tree: &MemoryTree, complete: bool) -> Result<Stream, TreeError> {
    let chunks = tree.size();
    Ok(Stream {
        root: Digest::from_bytes(*tree.root(chunks)?.as_bytes()),
        chunks,
        complete,
    })
}

/// Whether the opening's chunks are those of the Statement.
pub(crate) fn holds(opening: &Opening, lengths: &[u64], stream: &Stream) -> bool {
    let Some(chunks) = split(&opening.output.bytes, lengths) else {
        return false;
    };
    let tree = tree(&opening.output.salt, chunks);
    self::stream(&tree, stream.complete).as_ref() == Ok(stream)
}

impl Prefix {
    /// The first `count` chunks of an opened stream.
    ///
    /// # Errors
    /// [`PrefixError::NoChunks`], [`PrefixError::Tree`].
    pub fn of(opening: &Opening, count: u64) -> Result<Self, PrefixError> {
        let lengths = (opening.carried.as_ref()).and_then(|carried| carried.chunks.as_deref());
        let chunks = lengths
            .and_then(|lengths| split(&opening.output.bytes, lengths))
            .ok_or(PrefixError::NoChunks)?;
        let salt = &opening.output.salt;
        let tree = tree(salt, chunks.iter().copied());
        let proof = tree.prove_consistency(count, tree.size())?;
        let shown = (0..count)
            .zip(chunks)
            .map(|(index, chunk)| (chunk_salt(salt, index), chunk.to_vec()))
            .collect();
        Ok(Self {
            chunks: shown,
            proof,
        })
    }

    /// Checks that these are the first chunks of the stream that a Statement commits to.
    ///
    /// # Errors
    /// [`PrefixError::Sizes`], [`PrefixError::Proof`].
    pub fn verify(&self, stream: &Stream) -> Result<(), PrefixError> {
        let shown = self.chunks.len() as u64;
        if (shown, stream.chunks) != (self.proof.from, self.proof.to) {
            return Err(PrefixError::Sizes {
                shown,
                of: self.proof.to,
                from: self.proof.from,
                chunks: stream.chunks,
            });
        }
        let mut tree = MemoryTree::new();
        for (salt, chunk) in &self.chunks {
            tree.push(leaf_hash(chunk_leaf(salt, chunk).as_bytes()));
        }
        let whole = Hash::new(*stream.root.as_bytes());
        Ok(self.proof.verify_roots(tree.root(shown)?, whole)?)
    }
}
