//! The journal: entries that are acknowledged but not yet in tiles.
//!
//! A directory of segments, each named by the index of its first entry:
//!
//! ```text
//! header  "carat-log-journal/v1\n" | salt[16] | SHA-256(origin)[32] | first u64 | check[16]
//! frame   "CLF1" | first u64 | entries u32 | bytes u32 | check[16] | check of entries[16] | entries, as in a bundle
//! frame   …
//! ```
//!
//! Integers are big-endian. `check` is the first half of SHA-256 over a domain
//! string, the salt and all fields. One group of appends is one frame, one
//! write and one sync; the next frame is written only after that sync returned.
//! So a frame that does not check is a torn last write, unless a good frame
//! follows it: then it was acknowledged, and the file is damaged. The salt is
//! random and secret, so no leaf can contain what looks like a frame.

use super::disk::Disk;
use super::error::StoreError;
use super::layout;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Directory of the segments.
pub(super) const JOURNAL: &str = "journal";

const MAGIC: &[u8; 21] = b"carat-log-journal/v1\n";
const FRAME: &[u8; 4] = b"CLF1";
const HEADER_DOMAIN: &[u8] = b"carat/log-journal-header/v1";
const HEAD_DOMAIN: &[u8] = b"carat/log-journal-frame-head/v1";
const BODY_DOMAIN: &[u8] = b"carat/log-journal-frame/v1";
const HEADER_BYTES: usize = 21 + 16 + 32 + 8 + 16;
const FRAME_BYTES: usize = 4 + 8 + 4 + 4 + 16 + 16;

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    salt: [u8; 16],
    /// Where the next frame goes; everything before is synced.
    end: u64,
}

fn segment_path(first: u64) -> PathBuf {
    Path::new(JOURNAL).join(format!("{first:020}"))
}

fn check(domain: &[u8], salt: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update(domain);
    hasher.update(salt);
    parts.iter().for_each(|part| hasher.update(part));
    let digest: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

fn header(origin: &str, salt: &[u8; 16], first: u64) -> Vec<u8> {
    let origin = Sha256::digest(origin.as_bytes());
    let first = first.to_be_bytes();
    let check = check(HEADER_DOMAIN, salt, &[&origin, &first]);
    [MAGIC.as_slice(), salt, &origin, &first, &check].concat()
}

/// Encodes one group of leaves.
fn frame<'a>(salt: &[u8; 16], first: u64, leaves: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_BYTES];
    let mut count = 0u32;
    for leaf in leaves {
        layout::push_entry(&mut bytes, leaf);
        count += 1;
    }
    let body = (bytes.len() - FRAME_BYTES) as u32; // bounded by the options' limits
    bytes[..4].copy_from_slice(FRAME);
    bytes[4..12].copy_from_slice(&first.to_be_bytes());
    bytes[12..16].copy_from_slice(&count.to_be_bytes());
    bytes[16..20].copy_from_slice(&body.to_be_bytes());
    let (fields, rest) = bytes.split_at_mut(20);
    let (head, rest) = rest.split_at_mut(16);
    let (sum, body) = rest.split_at_mut(16);
    head.copy_from_slice(&check(HEAD_DOMAIN, salt, &[fields]));
    sum.copy_from_slice(&check(BODY_DOMAIN, salt, &[fields, body]));
    bytes
}

/// One group: index of the first entry, and the entries.
type Group<'a> = (u64, Vec<&'a [u8]>);

/// A frame that checks, and the bytes after it.
fn read_frame<'a>(salt: &[u8; 16], bytes: &'a [u8]) -> Option<(Group<'a>, &'a [u8])> {
    let (fields, rest) = bytes.split_at_checked(20)?;
    let (head, rest) = rest.split_at_checked(16)?;
    let (sum, rest) = rest.split_at_checked(16)?;
    // First the fields alone: the search for frames behind a torn one must not
    // hash megabytes for each leaf that happens to contain "CLF1".
    if &fields[..4] != FRAME || head != check(HEAD_DOMAIN, salt, &[fields]) {
        return None;
    }
    let first = u64::from_be_bytes(fields[4..12].try_into().ok()?);
    let count = u32::from_be_bytes(fields[12..16].try_into().ok()?);
    let length = u32::from_be_bytes(fields[16..20].try_into().ok()?);
    let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    if sum != check(BODY_DOMAIN, salt, &[fields, body]) {
        return None;
    }
    let leaves = layout::read_bundle(body)?;
    (leaves.len() == count as usize).then_some(((first, leaves), rest))
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    /// Index of the first entry, by the header.
    pub(super) first: u64,
    /// All groups that check.
    pub(super) frames: Vec<Group<'a>>,
}

/// Reads a segment; an unfinished frame at the end is dropped.
///
/// # Errors
/// A sentence for [`StoreError::Corrupt`].
pub(super) fn read_segment<'a>(bytes: &'a [u8], origin: &str) -> Result<Segment<'a>, &'static str> {
    let Some((head, mut rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err("the journal segment is shorter than its header");
    };
    let salt: [u8; 16] = head[21..37]
        .try_into()
        .map_err(|_| "unreachable: a fixed range")?;
    let first = u64::from_be_bytes(
        head[69..77]
            .try_into()
            .map_err(|_| "unreachable: a fixed range")?,
    );
    if head != header(origin, &salt, first) {
        return Err("the header of the journal segment is damaged or of another log");
    }
    let mut frames: Vec<Group<'_>> = Vec::new();
    let mut next = first;
    while let Some(((start, leaves), after)) = read_frame(&salt, rest) {
        if start != next {
            return Err("the groups of the journal segment are not in sequence");
        }
        next = start
            .checked_add(leaves.len() as u64)
            .ok_or("the journal segment counts past 2^64")?;
        frames.push((start, leaves));
        rest = after;
    }
    // A torn write has nothing good behind it, since nothing is written before
    // the write in front of it was synced.
    let mut hidden = rest
        .windows(FRAME.len())
        .enumerate()
        .skip(1)
        .filter(|(_, window)| window == FRAME);
    if hidden.any(|(at, _)| read_frame(&salt, &rest[at..]).is_some()) {
        return Err("an acknowledged group of the journal segment is damaged");
    }
    Ok(Segment { first, frames })
}

impl Journal {
    /// Starts a segment that holds `leaves` already. It is durable, under its
    /// name, when this returns; an older segment of that name is replaced.
    pub(super) fn start<'a>(
        disk: &Disk,
        origin: &str,
        first: u64,
        leaves: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<Self, StoreError> {
        let path = segment_path(first);
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| {
            StoreError::io(
                "drawing a salt for",
                &disk.path(&path),
                std::io::Error::other(error),
            )
        })?;
        let mut bytes = header(origin, &salt, first);
        if leaves.len() > 0 {
            bytes.extend(frame(&salt, first, leaves));
        }
        let end = bytes.len() as u64;
        disk.place(&[(path.clone(), bytes)])?;
        Ok(Self {
            file: disk.open(&path)?,
            path,
            salt,
            end,
        })
    }

    /// Appends one group and syncs. When this fails before the sync, the
    /// segment is as before; `Err((error, true))` means that nobody knows.
    pub(super) fn append<'a>(
        &mut self,
        disk: &Disk,
        first: u64,
        leaves: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), (StoreError, bool)> {
        let bytes = frame(&self.salt, first, leaves);
        if let Err(error) = disk.write_at(&self.file, &self.path, self.end, &bytes) {
            let unknown = disk.truncate(&self.file, &self.path, self.end).is_err();
            return Err((error, unknown));
        }
        // After a failed sync the kernel may have dropped the pages and call
        // them clean: only a fresh start can tell what is on disk.
        disk.sync_file(&self.file, &self.path)
            .map_err(|error| (error, true))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Bytes in the segment.
    pub(super) fn len(&self) -> u64 {
        self.end
    }
}

/// Indices of the first entries of all segments, in order.
pub(super) fn segments(disk: &Disk) -> Result<Vec<u64>, StoreError> {
    let mut found = Vec::new();
    for name in disk.list(Path::new(JOURNAL))? {
        match name.parse::<u64>() {
            Ok(first) if name.len() == 20 => found.push(first),
            _ => {
                let path = disk.path(&Path::new(JOURNAL).join(name));
                return Err(StoreError::corrupt(
                    &path,
                    "no file of this name belongs into the journal",
                ));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// All entries of the journal from index `from` on.
///
/// Segments may overlap (recovery copies entries before it removes their old
/// segment), but must leave no gap.
///
/// # Errors
/// [`StoreError::Corrupt`] for damage, a gap, or two entries with one index.
pub(super) fn recover(disk: &Disk, origin: &str, from: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let segments = segments(disk)?;
    if segments.is_empty() {
        return Err(StoreError::corrupt(
            &disk.path(Path::new(JOURNAL)),
            "the journal is missing",
        ));
    }
    for first in segments {
        let path = segment_path(first);
        let bytes = disk.read(&path)?;
        let segment = read_segment(&bytes, origin)
            .map_err(|what| StoreError::corrupt(&disk.path(&path), what))?;
        if segment.first != first {
            return Err(StoreError::corrupt(
                &disk.path(&path),
                "its name does not fit its header",
            ));
        }
        let next = from + entries.len() as u64;
        if first > next {
            let what = format!(
                "entries {next} to {} are in no segment of the journal",
                first - 1
            );
            return Err(StoreError::corrupt(&disk.path(&path), what));
        }
        for (start, leaves) in segment.frames {
            for (index, leaf) in (start..).zip(leaves) {
                let Some(at) = index.checked_sub(from) else {
                    continue;
                };
                match entries.get(at as usize) {
                    Some(known) if known == leaf => {}
                    Some(_) => {
                        let what = format!("entry {index} is in the journal twice, and differs");
                        return Err(StoreError::corrupt(&disk.path(&path), what));
                    }
                    None => entries.push(leaf.to_vec()),
                }
            }
        }
    }
    Ok(entries)
}

/// Removes the segments that hold nothing from `from` on, apart from `keep`.
pub(super) fn remove_before(disk: &Disk, from: u64, keep: &Journal) -> Result<(), StoreError> {
    let segments = segments(disk)?;
    for pair in segments.windows(2) {
        let path = segment_path(pair[0]);
        if pair[1] <= from && path != keep.path {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

/// Removes every segment but `keep`, which holds all that they hold.
pub(super) fn remove_others(disk: &Disk, keep: &Journal) -> Result<(), StoreError> {
    for first in segments(disk)? {
        let path = segment_path(first);
        if path != keep.path {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "log.example/journal";
    const SALT: [u8; 16] = [9; 16];

    fn segment(groups: &[&[&[u8]]]) -> Vec<u8> {
        let mut bytes = header(ORIGIN, &SALT, 5);
        let mut next = 5;
        for group in groups {
            bytes.extend(frame(&SALT, next, group.iter().copied()));
            next += group.len() as u64;
        }
        bytes
    }

    fn entries(bytes: &[u8]) -> Result<usize, &'static str> {
        Ok(read_segment(bytes, ORIGIN)?
            .frames
            .iter()
            .map(|(_, leaves)| leaves.len())
            .sum())
    }

    #[test]
    fn torn_tail_at_every_byte() {
        let one = segment(&[&[b"a", b"b"]]).len();
        let bytes = segment(&[&[b"a", b"b"], &[b"c", b"", b"d"]]);
        for cut in 0..bytes.len() {
            let want = match cut {
                _ if cut < HEADER_BYTES => Err("the journal segment is shorter than its header"),
                _ if cut < one => Ok(0),
                _ => Ok(2),
            };
            assert_eq!(entries(&bytes[..cut]), want, "cut at {cut}");
        }
        assert_eq!(entries(&bytes), Ok(5));
        // Length extended, data not yet written: zeros.
        let zeros = [&bytes[..], &[0; 4096]].concat();
        assert_eq!(entries(&zeros), Ok(5));
    }

    /// Damage before the last frame is damage; in the last frame it cannot be
    /// told from a torn write.
    #[test]
    fn damage_at_every_byte() {
        let one = segment(&[&[b"a", b"b"]]).len();
        let bytes = segment(&[&[b"a", b"b"], &[b"c"]]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            if at < one {
                assert!(entries(&damaged).is_err(), "byte {at}");
            } else {
                assert_eq!(entries(&damaged), Ok(2), "byte {at}");
            }
        }
        assert!(read_segment(&bytes, "another/log").is_err());
    }

    /// A leaf that looks like a frame, in a torn group, is not taken for one.
    #[test]
    fn leaf_cannot_forge_a_frame() {
        let forged = frame(&[0; 16], 7, [b"evil".as_slice()].into_iter());
        let bytes = segment(&[&[b"a"], &[&forged, b"tail"]]);
        assert_eq!(entries(&bytes[..bytes.len() - 1]), Ok(1));
    }
}
