//! Entries that are durable but not yet published, and the index by leaf hash.

use crate::hash::Hash;
use std::collections::{HashMap, VecDeque, hash_map};
use std::sync::Arc;

/// A leaf with its hash, shared between journal, tail and publisher.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) leaf: Arc<[u8]>,
    pub(super) hash: Hash,
}

/// The entries after the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Size of the last checkpoint.
    pub(super) base: u64,
    /// Entries `base..base + entries.len()`.
    pub(super) entries: VecDeque<Entry>,
    /// Bytes in their leaves.
    pub(super) bytes: u64,
    /// Built when first asked for.
    pub(super) by_hash: Option<HashIndex>,
}

impl Tail {
    /// Index of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let index = self.next();
        if let Some(by_hash) = &mut self.by_hash {
            by_hash.insert(&entry.hash, index);
        }
        self.bytes += entry.leaf.len() as u64;
        self.entries.push_back(entry);
    }

    /// The entry at an index, when it is here.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries
            .get(usize::try_from(index.checked_sub(self.base)?).ok()?)
    }

    /// Drops what a checkpoint of `size` covers.
    pub(super) fn published(&mut self, size: u64) {
        while self.base < size {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= entry.leaf.len() as u64;
            self.base += 1;
        }
    }
}

/// Candidates for a leaf hash, by its first eight bytes: 16 bytes an entry
/// instead of 40. Whoever asks compares the whole hash with the tree's.
#[derive(Debug, Default)]
pub(super) struct HashIndex {
    first: HashMap<u64, u64>,
    /// Later entries with the same eight bytes: equal leaves, or chance.
    more: HashMap<u64, Vec<u64>>,
}

impl HashIndex {
    fn key(hash: &Hash) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    pub(super) fn insert(&mut self, hash: &Hash, index: u64) {
        let key = Self::key(hash);
        match self.first.entry(key) {
            hash_map::Entry::Vacant(vacant) => drop(vacant.insert(index)),
            hash_map::Entry::Occupied(_) => self.more.entry(key).or_default().push(index),
        }
    }

    /// In the order of insertion.
    pub(super) fn candidates(&self, hash: &Hash) -> Vec<u64> {
        let key = Self::key(hash);
        let first = self.first.get(&key).into_iter();
        first
            .chain(self.more.get(&key).into_iter().flatten())
            .copied()
            .collect()
    }
}
