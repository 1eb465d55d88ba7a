//! Reading a [`Log`]: leaves, look-up, proofs and promises.

use super::error::StoreError;
use super::layout::{Kind, TILE};
use super::log::{Log, Published};
use super::publish;
use super::tail::{HashIndex, Tail};
use super::tiles::{self, TileTree};
use crate::hash::{Hash, leaf_hash};
use crate::promise::{Promise, SignedPromise};
use crate::proof::{ConsistencyProof, InclusionProof};
use crate::tlog_proof::TlogProof;
use crate::tree::{NodeSource, TreeError, prove_consistency, prove_inclusion};
use std::path::Path;
use std::sync::PoisonError;

impl Log {
    /// The leaf at an index, published or pending.
    ///
    /// # Errors
    /// [`TreeError::NoSuchLeaf`], [`StoreError::Corrupt`].
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, StoreError> {
        let size = {
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = tail.get(index) {
                return Ok(entry.leaf.to_vec());
            }
            if index >= tail.next() {
                return Err(TreeError::NoSuchLeaf {
                    index,
                    size: tail.next(),
                }
                .into());
            }
            tail.base
        };
        let (number, at) = (index / TILE, (index % TILE) as usize);
        let (full, width) = Kind::Entries.widths(size);
        let width = if number < full { TILE as usize } else { width };
        let mut leaves = publish::read_bundle(&self.disk, number, width)?;
        let leaf = leaves.swap_remove(at);
        if self.published_hash(index)? != leaf_hash(&leaf) {
            let path = self.disk.path(&Kind::Entries.path(number, width));
            return Err(StoreError::corrupt(
                &path,
                format!("entry {index} does not have the hash of its tile"),
            ));
        }
        Ok(leaf)
    }

    /// The first index of a leaf with that hash.
    ///
    /// The first call reads all leaf tiles; from then on 20 to 40 bytes of
    /// memory are used for each entry.
    ///
    /// # Errors
    /// [`StoreError::UnknownLeaf`], [`StoreError::Corrupt`].
    pub fn index_of(&self, leaf: Hash) -> Result<u64, StoreError> {
        let candidates = {
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            if tail.by_hash.is_none() {
                let by_hash = self.build_index(&tail)?;
                tail.by_hash = Some(by_hash);
            }
            tail.by_hash
                .as_ref()
                .map(|index| index.candidates(&leaf))
                .unwrap_or_default()
        };
        for index in candidates {
            if self.hash_at(index)? == leaf {
                return Ok(index);
            }
        }
        Err(StoreError::UnknownLeaf { leaf })
    }

    fn build_index(&self, tail: &Tail) -> Result<HashIndex, StoreError> {
        let published = self.published();
        let mut by_hash = HashIndex::default();
        let (full, _) = Kind::Hashes(0).widths(tail.base);
        let mut index = 0;
        for number in 0..full {
            for hash in tiles::read_tile(&self.disk, 0, number, TILE as usize)? {
                by_hash.insert(&hash, index);
                index += 1;
            }
        }
        let edge = published.edge.levels.first().into_iter().flatten();
        for hash in edge
            .copied()
            .chain(tail.entries.iter().map(|entry| entry.hash))
        {
            by_hash.insert(&hash, index);
            index += 1;
        }
        Ok(by_hash)
    }

    /// Proves that entry `index` is in the tree of the first `size` entries,
    /// any size up to the last checkpoint's.
    ///
    /// The proof is checked before it is returned, so damage of a tile shows
    /// here and not at the verifier.
    ///
    /// # Errors
    /// [`StoreError::Pending`], [`StoreError::Tree`], [`StoreError::Corrupt`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<InclusionProof, StoreError> {
        let published = self.published();
        self.check_published(&published, size)?;
        let tree = self.tree(&published);
        let proof = prove_inclusion(&tree, index, size)?;
        let root = self.root_at(&published, size)?;
        proof
            .verify_root(tree.node(0, index)?, root)
            .map_err(|error| {
                StoreError::corrupt(
                    &self.disk.path(Path::new("tile")),
                    format!("the tiles of entry {index}: {error}"),
                )
            })?;
        Ok(proof)
    }

    /// Proves that entry `index` is under the last checkpoint, as one text that
    /// verifies offline.
    ///
    /// # Errors
    /// Those of [`Log::inclusion_proof`].
    pub fn tlog_proof(&self, index: u64) -> Result<TlogProof, StoreError> {
        let published = self.published();
        if index >= published.edge.size {
            let size = self.len();
            return Err(if index < size {
                StoreError::Pending {
                    index,
                    published: published.edge.size,
                }
            } else {
                TreeError::NoSuchLeaf { index, size }.into()
            });
        }
        let proof = self.inclusion_proof(index, published.edge.size)?;
        Ok(TlogProof {
            extra: None,
            index,
            path: proof.path,
            checkpoint: published.signed.clone(),
        })
    }

    /// Proves that the first `from` entries are a prefix of the first `to`, any
    /// sizes up to the last checkpoint's.
    ///
    /// # Errors
    /// Those of [`Log::inclusion_proof`].
    pub fn consistency_proof(&self, from: u64, to: u64) -> Result<ConsistencyProof, StoreError> {
        let published = self.published();
        self.check_published(&published, to)?;
        let proof = prove_consistency(&self.tree(&published), from, to)?;
        let (old, new) = (
            self.root_at(&published, from)?,
            self.root_at(&published, to)?,
        );
        proof.verify_roots(old, new).map_err(|error| {
            let what = format!("the tiles between sizes {from} and {to}: {error}");
            StoreError::corrupt(&self.disk.path(Path::new("tile")), what)
        })?;
        Ok(proof)
    }

    /// The root of the first `size` entries, any size up to the last checkpoint's.
    ///
    /// # Errors
    /// [`StoreError::Pending`], [`StoreError::Tree`], [`StoreError::Corrupt`].
    pub fn root(&self, size: u64) -> Result<Hash, StoreError> {
        let published = self.published();
        self.check_published(&published, size)?;
        self.root_at(&published, size)
    }

    /// Promises that entry `index`, which is durable, will be under every
    /// checkpoint from `include_by` on. Both times are POSIX seconds.
    ///
    /// Keeping the promise is the caller's part: publish by then.
    ///
    /// # Errors
    /// [`TreeError::NoSuchLeaf`], [`StoreError::Promise`].
    pub fn promise(
        &self,
        index: u64,
        time: u64,
        include_by: u64,
    ) -> Result<SignedPromise, StoreError> {
        let leaf = self.hash_at(index)?;
        let promise = Promise {
            origin: self.signer.name().clone(),
            index,
            leaf,
            time,
            include_by,
        };
        Ok(SignedPromise::sign(promise, &self.signer)?)
    }

    fn hash_at(&self, index: u64) -> Result<Hash, StoreError> {
        {
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = tail.get(index) {
                return Ok(entry.hash);
            }
            if index >= tail.next() {
                return Err(TreeError::NoSuchLeaf {
                    index,
                    size: tail.next(),
                }
                .into());
            }
        }
        self.published_hash(index)
    }

    fn published_hash(&self, index: u64) -> Result<Hash, StoreError> {
        let published = self.published();
        self.tree(&published).node(0, index)
    }

    fn tree<'a>(&'a self, published: &'a Published) -> TileTree<'a> {
        TileTree {
            disk: &self.disk,
            cache: &self.cache,
            edge: &published.edge,
        }
    }

    fn root_at(&self, published: &Published, size: u64) -> Result<Hash, StoreError> {
        if size == published.edge.size {
            Ok(published.signed.unverified().root())
        } else {
            self.tree(published).root(size)
        }
    }

    fn check_published(&self, published: &Published, size: u64) -> Result<(), StoreError> {
        let (have, durable) = (published.edge.size, self.len());
        if size <= have {
            Ok(())
        } else if size <= durable {
            Err(StoreError::Pending {
                index: size - 1,
                published: have,
            })
        } else {
            Err(TreeError::NoSuchSize { asked: size, have }.into())
        }
    }
}
