//! Entries of a log directory, checked against its signed checkpoint.
//!
//! Reads the published files alone (C2SP `tlog-tiles`), so it works on anybody's copy, without the log's lock, and while it
//! is being written.

use std::path::{Path, PathBuf};

use carat_log::{Hash, MemoryTree, SignedCheckpoint, VerifierKey, leaf_hash};

use crate::exit::{Exit, Failure};
use crate::files;

/// Entries in a full bundle.
const BUNDLE: u64 = 256;
/// Largest bundle: 256 entries of 65,535 bytes with their lengths.
const MAX_BUNDLE_BYTES: u64 = BUNDLE * (2 + carat_log::MAX_LEAF_BYTES as u64);
/// Most entries that are read at once; their hashes are kept in memory.
const MAX_ENTRIES: u64 = 10_000_000;

/// What a log has published.
pub struct Entries {
    /// The signed checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The entries under it.
    pub leaves: Vec<Vec<u8>>,
    tree: MemoryTree,
}

impl Entries {
    /// Reads and checks a log: the key signed the checkpoint, and the entries give its root.
    pub fn read(dir: &Path, key: &VerifierKey) -> Result<Self, Failure> {
        let path = dir.join("checkpoint");
        let damaged = |path: &Path, what: &dyn ToString| {
            let message = format!(
                "{}: {}; `carat log audit` says what is wrong",
                path.display(),
                what.to_string()
            );
            Failure::new(Exit::Store, message)
        };
        let bytes = files::read_capped(&path, "a checkpoint", carat_log::MAX_NOTE_BYTES as u64)?;
        let signed = SignedCheckpoint::parse(&bytes).map_err(|error| damaged(&path, &error))?;
        signed.verify(key).map_err(|error| damaged(&path, &error))?;
        let size = signed.unverified().size();
        if size > MAX_ENTRIES {
            let message = format!("the log has {size} entries; at most {MAX_ENTRIES} are read");
            return Err(Failure::new(Exit::TooLarge, message));
        }
        let mut leaves = Vec::new();
        let mut tree = MemoryTree::new();
        for number in 0..size.div_ceil(BUNDLE) {
            let width = (size - number * BUNDLE).min(BUNDLE) as usize;
            let path = bundle(dir, number, width);
            let bytes = files::read_capped(&path, "a bundle of entries", MAX_BUNDLE_BYTES)?;
            let entries = split(&bytes).filter(|entries| entries.len() >= width);
            let entries =
                entries.ok_or_else(|| damaged(&path, &"it does not hold whole entries"))?;
            for leaf in &entries[..width] {
                tree.push(leaf_hash(leaf));
                leaves.push(leaf.to_vec());
            }
        }
        let entries = Self {
            checkpoint: signed,
            leaves,
            tree,
        };
        if entries.root(size) != Some(entries.checkpoint.unverified().root()) {
            return Err(damaged(&path, &"the entries do not give its root"));
        }
        Ok(entries)
    }

    /// Root over the first entries; `None` beyond the checkpoint.
    pub fn root(&self, size: u64) -> Option<Hash> {
        self.tree.root(size).ok()
    }
}

/// The file of a bundle: of that width, or the full one where the partial one is gone.
fn bundle(dir: &Path, number: u64, width: usize) -> PathBuf {
    // 1234067 is x001/x234/067.
    let mut groups = vec![format!("{:03}", number % 1000)];
    let mut rest = number / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    let full = dir.join("tile/entries").join(groups.join("/"));
    let mut partial = full.clone().into_os_string();
    partial.push(format!(".p/{width}"));
    let partial = PathBuf::from(partial);
    if partial.is_file() { partial } else { full }
}

/// Entries of a bundle: a big-endian 16-bit length and the bytes, each.
fn split(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        leaves.push(leaf);
        bytes = rest;
    }
    Some(leaves)
}
