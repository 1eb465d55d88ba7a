//! Names and contents of the files of C2SP `tlog-tiles`.

use crate::hash::Hash;
use std::path::PathBuf;

/// The signed checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// Hashes in a full tile.
pub(super) const TILE: u64 = 256;

/// The kinds of tiles: of hashes, by level, and of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Hashes of subtrees of height `8 * level`.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

impl Kind {
    /// How many full tiles, and how many items in the partial one after them,
    /// a tree of `size` leaves has.
    pub(super) fn widths(self, size: u64) -> (u64, usize) {
        let items = match self {
            Self::Entries => size,
            Self::Hashes(level) => size.checked_shr(8 * u32::from(level)).unwrap_or(0),
        };
        (items / TILE, (items % TILE) as usize)
    }

    /// Path of a full tile.
    pub(super) fn full(self, number: u64) -> PathBuf {
        let mut path = PathBuf::from("tile");
        match self {
            Self::Hashes(level) => path.push(level.to_string()),
            Self::Entries => path.push("entries"),
        }
        // 1234067 is x001/x234/067.
        let mut groups = vec![format!("{:03}", number % 1000)];
        let mut rest = number / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        path.extend(groups.iter().rev());
        path
    }

    /// Directory of the partial tiles with that number.
    pub(super) fn partials(self, number: u64) -> PathBuf {
        let mut name = self.full(number).into_os_string();
        name.push(".p");
        PathBuf::from(name)
    }

    /// Path of a tile of that width, 1 to 256.
    pub(super) fn path(self, number: u64, width: usize) -> PathBuf {
        if width as u64 == TILE {
            self.full(number)
        } else {
            self.partials(number).join(width.to_string())
        }
    }
}

/// Bytes of a hash tile.
pub(super) fn write_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Hashes of a tile; `None` when the length is not that of whole hashes.
pub(super) fn read_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty()
        .then(|| hashes.iter().copied().map(Hash::new).collect())
}

/// Adds an entry to a bundle: a big-endian 16-bit length and the bytes.
/// `leaf` has at most [`crate::MAX_LEAF_BYTES`], checked where it enters.
pub(super) fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) {
    bundle.extend_from_slice(&(leaf.len() as u16).to_be_bytes());
    bundle.extend_from_slice(leaf);
}

/// The entries of a bundle; `None` when the lengths do not add up.
pub(super) fn read_bundle(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        leaves.push(leaf);
        bytes = rest;
    }
    Some(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification.
    #[test]
    fn specification_examples() {
        assert_eq!(
            Kind::Hashes(0).full(1_234_067),
            PathBuf::from("tile/0/x001/x234/067")
        );
        assert_eq!(
            Kind::Entries.path(0, 7),
            PathBuf::from("tile/entries/000.p/7")
        );
        assert_eq!(
            Kind::Hashes(3).path(1000, 256),
            PathBuf::from("tile/3/x001/000")
        );
        let widths = |size| [0, 1, 2].map(|level| Kind::Hashes(level).widths(size));
        assert_eq!(widths(70_000), [(273, 112), (1, 17), (0, 1)]);
        assert_eq!(widths(256), [(1, 0), (0, 1), (0, 0)]);
        assert_eq!(Kind::Hashes(63).widths(u64::MAX), (0, 0));
    }

    /// `tlog_tiles` names the same tiles the same way.
    #[test]
    fn agrees_with_tlog_tiles() {
        for size in [1u64, 255, 256, 257, 70_000, 300_000] {
            for level in 0..3u8 {
                let (full, width) = Kind::Hashes(level).widths(size);
                for (number, width) in [(full.saturating_sub(1), 256), (full, width)] {
                    if width == 0 || (width == 256 && full == 0) {
                        continue;
                    }
                    let theirs =
                        tlog_tiles::Tile::new(8, level, number, width as u32, false).path();
                    // Theirs names the height first: tile/8/0/…
                    let theirs = theirs.replacen("tile/8/", "tile/", 1);
                    assert_eq!(
                        Kind::Hashes(level).path(number, width),
                        PathBuf::from(theirs)
                    );
                }
            }
        }
    }

    #[test]
    fn bundles() {
        let mut bundle = Vec::new();
        let long = vec![7; crate::MAX_LEAF_BYTES];
        for leaf in [b"".as_slice(), b"one", &long] {
            push_entry(&mut bundle, leaf);
        }
        assert_eq!(
            read_bundle(&bundle),
            Some(vec![b"".as_slice(), b"one", &long])
        );
        assert_eq!(read_bundle(&bundle[..bundle.len() - 1]), None);
        assert_eq!(read_bundle(&bundle[..1]), None);
        assert_eq!(read_bundle(&[]), Some(vec![]));
        assert_eq!(read_hashes(&[0; 33]), None);
    }
}
