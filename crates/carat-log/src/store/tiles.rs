//! Reading hashes of complete subtrees from tiles.

use super::disk::Disk;
use super::error::StoreError;
use super::layout::{self, Kind, TILE};
use crate::hash::{Hash, node_hash};
use crate::tree::{NodeSource, TreeError, root_of};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Full tiles kept in memory: 1,024 of 8 KiB.
const CACHED_TILES: usize = 1024;

/// The hashes of the partial tile of each level: the right edge of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    /// Number of leaves.
    pub(super) size: u64,
    /// `levels[l]` is the partial tile of level `l`, with fewer than 256 hashes.
    pub(super) levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// Root of the tree that ends in this edge.
    pub(super) fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for hashes in &self.levels {
            // Complete subtrees from right to left: the small ones first.
            let mut end = hashes.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let subtree = subtree_root(&hashes[end - width..end]);
                root = Some(root.map_or(subtree, |right| node_hash(subtree, right)));
                end -= width;
            }
        }
        root.unwrap_or_else(crate::hash::empty_root)
    }
}

/// Root of 1, 2, 4, … 256 hashes.
pub(super) fn subtree_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| node_hash(pair[0], pair[pair.len() - 1]))
            .collect();
    }
    row.first().copied().unwrap_or_else(crate::hash::empty_root)
}

/// The hashes of one tile.
type Tile = Arc<Vec<Hash>>;

/// Full tiles, read when asked for and kept for a while. They never change.
#[derive(Debug, Default)]
pub(super) struct TileCache {
    tiles: Mutex<HashMap<(u8, u64), Tile>>,
}

impl TileCache {
    pub(super) fn full(
        &self,
        disk: &Disk,
        level: u8,
        number: u64,
    ) -> Result<Arc<Vec<Hash>>, StoreError> {
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tile) = tiles.get(&(level, number)) {
            return Ok(Arc::clone(tile));
        }
        let tile = Arc::new(read_tile(disk, level, number, TILE as usize)?);
        if tiles.len() >= CACHED_TILES {
            tiles.clear();
        }
        tiles.insert((level, number), Arc::clone(&tile));
        Ok(tile)
    }
}

/// Reads a tile of exactly that width.
pub(super) fn read_tile(
    disk: &Disk,
    level: u8,
    number: u64,
    width: usize,
) -> Result<Vec<Hash>, StoreError> {
    let path = Kind::Hashes(level).path(number, width);
    let bytes = match disk.read(&path) {
        Err(error) if error.is_not_found() => {
            return Err(StoreError::corrupt(
                &disk.path(&path),
                "the tile is missing",
            ));
        }
        bytes => bytes?,
    };
    layout::read_hashes(&bytes)
        .filter(|hashes| hashes.len() == width)
        .ok_or_else(|| {
            let what = format!(
                "the tile has {} bytes instead of {}",
                bytes.len(),
                32 * width
            );
            StoreError::corrupt(&disk.path(&path), what)
        })
}

/// The tree of one published size: tiles on disk and the edge in memory.
pub(super) struct TileTree<'a> {
    pub(super) disk: &'a Disk,
    pub(super) cache: &'a TileCache,
    pub(super) edge: &'a Edge,
}

impl NodeSource for TileTree<'_> {
    type Error = StoreError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, StoreError> {
        // Subtrees of height 8l + h start at hash (index << h) of tile level l.
        let (tile_level, height) = (level / 8, level % 8);
        let number = index >> (8 - height);
        let start = ((index << height) % TILE) as usize;
        let (full, _) = Kind::Hashes(tile_level).widths(self.edge.size);
        let beyond = || TreeError::NoSuchSize {
            asked: index
                .saturating_add(1)
                .checked_shl(level.into())
                .unwrap_or(u64::MAX),
            have: self.edge.size,
        };
        let width = 1usize << height;
        if number < full {
            let tile = self.cache.full(self.disk, tile_level, number)?;
            return Ok(subtree_root(&tile[start..start + width]));
        }
        let partial = self
            .edge
            .levels
            .get(usize::from(tile_level))
            .filter(|_| number == full);
        let hashes = partial
            .and_then(|hashes| hashes.get(start..start + width))
            .ok_or_else(beyond)?;
        Ok(subtree_root(hashes))
    }
}

impl TileTree<'_> {
    /// Root of the first `size` leaves, recomputed from tiles.
    pub(super) fn root(&self, size: u64) -> Result<Hash, StoreError> {
        root_of(self, size)
    }
}

/// Reads the edge of a tree of `size` leaves from its partial tiles.
pub(super) fn read_edge(disk: &Disk, size: u64) -> Result<Edge, StoreError> {
    let mut edge = Edge {
        size,
        levels: Vec::new(),
    };
    for level in 0.. {
        let (full, width) = Kind::Hashes(level).widths(size);
        if full == 0 && width == 0 {
            break;
        }
        edge.levels.push(if width == 0 {
            Vec::new()
        } else {
            match read_tile(disk, level, full, width) {
                // A log that published more and lost its checkpoint since: the
                // full tile begins with the partial one.
                Err(StoreError::Corrupt { .. })
                    if disk.path(&Kind::Hashes(level).full(full)).exists() =>
                {
                    let mut tile = read_tile(disk, level, full, TILE as usize)?;
                    tile.truncate(width);
                    tile
                }
                tile => tile?,
            }
        });
    }
    Ok(edge)
}

#[cfg(test)]
mod tests {
    use crate::{MemoryTree, leaf_hash};

    #[test]
    fn edge_root_is_the_tree_root() {
        let mut tree = MemoryTree::new();
        let mut edge = super::super::publish::Builder::default();
        for i in 0..700u64 {
            assert_eq!(
                edge.edge().root(),
                tree.root(i).expect("in range"),
                "size {i}"
            );
            tree.push(leaf_hash(&i.to_be_bytes()));
            edge.push(&i.to_be_bytes(), leaf_hash(&i.to_be_bytes()));
        }
    }
}
