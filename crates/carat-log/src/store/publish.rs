//! Turning entries into tiles, bundles and a checkpoint.

use super::disk::Disk;
use super::error::StoreError;
use super::layout::{self, CHECKPOINT, Kind, TILE};
use super::tiles::{Edge, subtree_root};
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::hash::{Hash, leaf_hash};
use crate::note::NoteSigner;
use std::path::{Path, PathBuf};

/// The right edge of the tree with the entries of its last bundle.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    edge: Edge,
    /// The partial bundle, encoded.
    bundle: Vec<u8>,
    /// Files of full tiles, not yet written.
    full: Vec<(PathBuf, Vec<u8>)>,
}

impl Builder {
    /// Continues from an edge; reads the partial bundle and checks it against
    /// the edge.
    pub(super) fn resume(disk: &Disk, edge: Edge) -> Result<Self, StoreError> {
        let (full, width) = Kind::Entries.widths(edge.size);
        let mut bundle = Vec::new();
        if width > 0 {
            let leaves = read_bundle(disk, full, width)?;
            let hashes = edge.levels.first().map_or(&[][..], Vec::as_slice);
            for (leaf, hash) in leaves.iter().zip(hashes) {
                if leaf_hash(leaf) != *hash {
                    let path = disk.path(&Kind::Entries.path(full, width));
                    return Err(StoreError::corrupt(
                        &path,
                        "an entry does not have the hash that its tile says",
                    ));
                }
                layout::push_entry(&mut bundle, leaf);
            }
        }
        Ok(Self {
            edge,
            bundle,
            full: Vec::new(),
        })
    }

    pub(super) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Adds one entry.
    pub(super) fn push(&mut self, leaf: &[u8], hash: Hash) {
        let number = self.edge.size / TILE;
        layout::push_entry(&mut self.bundle, leaf);
        self.edge.size += 1;
        if self.edge.size.is_multiple_of(TILE) {
            self.full
                .push((Kind::Entries.full(number), std::mem::take(&mut self.bundle)));
        }
        let mut hash = hash;
        for level in 0u8.. {
            let at = usize::from(level);
            if self.edge.levels.len() == at {
                self.edge.levels.push(Vec::with_capacity(TILE as usize));
            }
            self.edge.levels[at].push(hash);
            if (self.edge.levels[at].len() as u64) < TILE {
                return;
            }
            let tile = std::mem::take(&mut self.edge.levels[at]);
            let (full, _) = Kind::Hashes(level).widths(self.edge.size);
            self.full.push((
                Kind::Hashes(level).full(full - 1),
                layout::write_hashes(&tile),
            ));
            hash = subtree_root(&tile);
        }
    }

    /// All files that the tree of this size adds: full tiles since the last
    /// call, and the partial tiles of the edge.
    pub(super) fn take_files(&mut self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = std::mem::take(&mut self.full);
        let (number, width) = Kind::Entries.widths(self.edge.size);
        if width > 0 {
            files.push((Kind::Entries.path(number, width), self.bundle.clone()));
        }
        for (level, hashes) in (0u8..).zip(&self.edge.levels) {
            if !hashes.is_empty() {
                let (number, _) = Kind::Hashes(level).widths(self.edge.size);
                files.push((
                    Kind::Hashes(level).path(number, hashes.len()),
                    layout::write_hashes(hashes),
                ));
            }
        }
        files
    }

    /// Hash tiles that became full since the last call, and drops the bundles:
    /// for the audit, which has the bundles already.
    pub(super) fn take_full(&mut self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = std::mem::take(&mut self.full);
        files.retain(|(path, _)| !path.starts_with("tile/entries"));
        files
    }

    /// Signs the tree of this size and makes the checkpoint durable.
    pub(super) fn sign(
        &self,
        disk: &Disk,
        signer: &NoteSigner,
    ) -> Result<SignedCheckpoint, StoreError> {
        let signed = Checkpoint::new(signer.name().as_str(), self.edge.size, self.edge.root())
            .and_then(|checkpoint| SignedCheckpoint::sign(checkpoint, signer))
            .map_err(|source| StoreError::WrongKey {
                path: disk.path(Path::new(CHECKPOINT)),
                source,
            })?;
        write_checkpoint(disk, &signed)?;
        Ok(signed)
    }
}

/// Makes a checkpoint the current one, durably.
pub(super) fn write_checkpoint(disk: &Disk, signed: &SignedCheckpoint) -> Result<(), StoreError> {
    disk.place(&[(PathBuf::from(CHECKPOINT), signed.to_text().into_bytes())])
}

/// The entries of the bundle of that number, `width` of them; from the full
/// bundle where the partial one is gone.
pub(super) fn read_bundle(
    disk: &Disk,
    number: u64,
    width: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let path = Kind::Entries.path(number, width);
    let (path, bytes) = match disk.read(&path) {
        Err(error) if error.is_not_found() => {
            let full = Kind::Entries.full(number);
            match disk.read(&full) {
                Err(error) if error.is_not_found() => {
                    return Err(StoreError::corrupt(
                        &disk.path(&path),
                        "the entry bundle is missing",
                    ));
                }
                bytes => (full, bytes?),
            }
        }
        bytes => (path, bytes?),
    };
    let leaves = layout::read_bundle(&bytes).filter(|leaves| leaves.len() >= width);
    let leaves = leaves.ok_or_else(|| {
        StoreError::corrupt(
            &disk.path(&path),
            format!("the entry bundle does not hold {width} entries"),
        )
    })?;
    Ok(leaves.into_iter().take(width).map(<[u8]>::to_vec).collect())
}

/// Removes the partial tiles of those that became full when a tree grew.
/// Nothing needs them: the full tile begins with the same bytes.
pub(super) fn remove_stale_partials(
    disk: &Disk,
    old_size: u64,
    new_size: u64,
) -> Result<(), StoreError> {
    let levels = (0u8..8).map(Kind::Hashes).chain([Kind::Entries]);
    for kind in levels {
        let ((old_full, old_width), (new_full, _)) = (kind.widths(old_size), kind.widths(new_size));
        if old_width > 0 && new_full > old_full {
            disk.clear_dir(&kind.partials(old_full), true)?;
        }
    }
    Ok(())
}
