//! Files by their SHA-256. A file is written beside its name, hashed on the way, synced and renamed; when it is read, each
//! piece is compared with the hash that was taken when the whole matched its digest.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use carat_receipt::Digest;
use sha2::{Digest as _, Sha256};

use crate::HubError;

/// Bytes that are read, checked and given out at a time.
pub const CHUNK_BYTES: usize = 1 << 20;

/// What is known of a file in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of each [`CHUNK_BYTES`] of it, in order.
    pub chunks: Vec<[u8; 32]>,
}

impl Stored {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        self.chunks
            .iter()
            .for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, chunks) = bytes.split_at_checked(8)?;
        let size = u64::from_be_bytes(size.try_into().ok()?);
        let (chunks, rest) = chunks.as_chunks::<32>();
        let fits = rest.is_empty() && chunks.len() as u64 == size.div_ceil(CHUNK_BYTES as u64);
        fits.then(|| Self {
            size,
            chunks: chunks.to_vec(),
        })
    }
}

/// The folder of files.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    blobs: PathBuf,
    incoming: PathBuf,
}

impl Folder {
    /// Opens it; what was left of uploads that never ended is removed.
    pub(crate) fn open(root: &Path) -> Result<Self, HubError> {
        let folder = Self {
            blobs: root.join("blobs"),
            incoming: root.join("incoming"),
        };
        for dir in [&folder.blobs, &folder.incoming] {
            fs::create_dir_all(dir).map_err(HubError::io("making the directory", dir))?;
        }
        let incoming = &folder.incoming;
        let list = fs::read_dir(incoming).map_err(HubError::io("reading", incoming))?;
        for entry in list {
            let path = entry.map_err(HubError::io("reading", incoming))?.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(HubError::io("removing", &path))?;
        }
        Ok(folder)
    }

    /// A new name among what is incoming; it does not outlast the process.
    pub(crate) fn scratch(&self) -> Result<PathBuf, HubError> {
        scratch_in(&self.incoming)
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.blobs.join(&name[..2]).join(name)
    }

    /// Begins a file of at most `limit` bytes.
    pub(crate) fn begin(&self, limit: u64) -> Result<Upload, HubError> {
        let path = self.scratch()?;
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(HubError::io("writing", &path))?;
        Ok(Upload {
            file,
            path,
            whole: Sha256::new(),
            chunk: Sha256::new(),
            in_chunk: 0,
            stored: Stored {
                size: 0,
                chunks: Vec::new(),
            },
            limit,
        })
    }

    /// Gives a finished file its name.
    pub(crate) fn place(&self, sealed: &Sealed) -> Result<(), HubError> {
        let path = self.path(&sealed.digest);
        let dir = path.parent().unwrap_or(&self.blobs);
        if !dir.exists() {
            fs::create_dir_all(dir).map_err(HubError::io("making the directory", dir))?;
            sync_dir(&self.blobs)?;
        }
        fs::rename(&sealed.path, &path).map_err(HubError::io("writing", &path))?;
        sync_dir(dir)
    }

    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), HubError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(HubError::io("removing", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// All files that are there.
    pub(crate) fn list(&self) -> Result<Vec<Digest>, HubError> {
        let mut found = Vec::new();
        let read = |dir: &Path| fs::read_dir(dir).map_err(HubError::io("reading", dir));
        for dir in read(&self.blobs)? {
            let dir = dir.map_err(HubError::io("reading", &self.blobs))?.path();
            for file in read(&dir)? {
                let name = file.map_err(HubError::io("reading", &dir))?.file_name();
                // Nothing else is written there; what somebody put there is left alone.
                found.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
            }
        }
        Ok(found)
    }

    /// Opens a file for reading.
    pub(crate) fn read(&self, digest: &Digest, stored: Stored) -> Result<FileReader, HubError> {
        let path = self.path(digest);
        let damaged = |what: String| HubError::Damaged {
            digest: *digest,
            what,
        };
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged("it is gone".into()),
            _ => HubError::io("reading", &path)(error),
        })?;
        let size = file
            .metadata()
            .map_err(HubError::io("reading", &path))?
            .len();
        if size != stored.size {
            return Err(damaged(format!(
                "it has {size} bytes instead of {}",
                stored.size
            )));
        }
        Ok(FileReader {
            digest: *digest,
            file,
            at: 0,
            end: stored.size,
            stored,
            path,
        })
    }
}

/// A new name among what is incoming, before the folder was opened.
pub(crate) fn aside(root: &Path) -> Result<PathBuf, HubError> {
    let incoming = root.join("incoming");
    fs::create_dir_all(&incoming).map_err(HubError::io("making the directory", &incoming))?;
    scratch_in(&incoming)
}

fn scratch_in(incoming: &Path) -> Result<PathBuf, HubError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| HubError::Io {
        action: "naming a file in",
        path: incoming.to_path_buf(),
        source: io::Error::other("the operating system gave no randomness"),
    })?;
    Ok(incoming.join(hex::encode(random)))
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), HubError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(HubError::io("writing", dir))
}

/// A file on its way in. What is dropped before it is finished leaves nothing.
#[derive(Debug)]
pub struct Upload {
    file: File,
    path: PathBuf,
    whole: Sha256,
    chunk: Sha256,
    in_chunk: usize,
    stored: Stored,
    limit: u64,
}

impl Upload {
    /// Takes more bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), HubError> {
        let size = self.stored.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            return Err(HubError::TooLarge {
                what: "the file".into(),
                bytes: size,
                limit: self.limit,
                key: "hub.file_bytes",
            });
        }
        self.file
            .write_all(bytes)
            .map_err(HubError::io("writing", &self.path))?;
        self.stored.size = size;
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.in_chunk));
            self.chunk.update(now);
            self.in_chunk += now.len();
            if self.in_chunk == CHUNK_BYTES {
                self.end_chunk();
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_chunk(&mut self) {
        let chunk = std::mem::take(&mut self.chunk).finalize();
        self.stored.chunks.push(chunk.into());
        self.in_chunk = 0;
    }

    /// Syncs it. It has no name yet.
    pub(crate) fn seal(mut self) -> Result<Sealed, HubError> {
        if self.in_chunk > 0 {
            self.end_chunk();
        }
        self.file
            .sync_all()
            .map_err(HubError::io("writing", &self.path))?;
        let digest = std::mem::take(&mut self.whole).finalize();
        Ok(Sealed {
            digest: Digest::from_bytes(digest.into()),
            stored: self.stored.clone(),
            path: self.path.clone(),
            _upload: self,
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone already when it was given its name.
        let _ = fs::remove_file(&self.path);
    }
}

/// A whole file on disk, without its name.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) digest: Digest,
    pub(crate) stored: Stored,
    path: PathBuf,
    _upload: Upload,
}

/// Reads a file, or a range of it, piece by piece; what does not match is not given out.
#[derive(Debug)]
pub struct FileReader {
    digest: Digest,
    file: File,
    path: PathBuf,
    stored: Stored,
    at: u64,
    end: u64,
}

impl FileReader {
    /// Size of the whole file, in bytes.
    pub fn size(&self) -> u64 {
        self.stored.size
    }

    /// Reads from `start` up to and without `end` only.
    #[must_use]
    pub fn range(mut self, start: u64, end: u64) -> Self {
        self.end = end.min(self.stored.size);
        self.at = start.min(self.end);
        self
    }

    /// The next piece; `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, HubError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let chunk = CHUNK_BYTES as u64;
        let index = self.at / chunk;
        let start = index * chunk;
        let size = chunk.min(self.stored.size - start) as usize;
        let mut bytes = vec![0; size];
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(HubError::io("reading", &self.path))?;
        let found: [u8; 32] = Sha256::digest(&bytes).into();
        if self.stored.chunks.get(index as usize) != Some(&found) {
            return Err(HubError::Damaged {
                digest: self.digest,
                what: format!("bytes {start} to {} changed", start + size as u64),
            });
        }
        let stop = (self.end - start).min(size as u64) as usize;
        bytes.truncate(stop);
        bytes.drain(..(self.at - start) as usize);
        self.at = start + stop as u64;
        Ok(Some(bytes))
    }

    /// All of it, at once, compared with its digest as well.
    pub fn read_all(mut self) -> Result<Vec<u8>, HubError> {
        let whole = self.at == 0 && self.end == self.stored.size;
        let mut bytes = Vec::new();
        while let Some(piece) = self.next_piece()? {
            bytes.extend_from_slice(&piece);
        }
        let found = Digest::sha256(&bytes);
        if whole && found != self.digest {
            return Err(HubError::Damaged {
                digest: self.digest,
                what: format!("its bytes have the digest {found}"),
            });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(folder: &Folder, bytes: &[u8]) -> (Digest, Stored) {
        let mut upload = folder.begin(1 << 30).expect("begun");
        for part in bytes.chunks(700_001) {
            upload.write(part).expect("written");
        }
        let sealed = upload.seal().expect("synced");
        folder.place(&sealed).expect("named");
        (sealed.digest, sealed.stored.clone())
    }

    #[test]
    fn ranges_are_the_bytes_and_every_changed_byte_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("opened");
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 17)
            .map(|i| (i * 7 + i / 251) as u8)
            .collect();
        let (digest, about) = stored(&folder, &bytes);
        assert_eq!(digest, Digest::sha256(&bytes));
        assert_eq!(about.chunks.len(), 3);
        assert_eq!(Stored::decode(&about.encode()), Some(about.clone()));
        let read = |start, end| {
            let reader = folder.read(&digest, about.clone()).expect("opened");
            reader.range(start, end).read_all()
        };
        let len = bytes.len() as u64;
        for (start, end) in [
            (0, len),
            (0, 1),
            (5, 5),
            (CHUNK_BYTES as u64 - 1, CHUNK_BYTES as u64 + 2),
            (len - 3, len + 9),
        ] {
            let want = &bytes[start as usize..end.min(len) as usize];
            assert_eq!(read(start, end).expect("read"), want, "{start}..{end}");
        }
        // One bit, in the last piece: the pieces before it are still good, and nothing of it is given out.
        let path = folder.path(&digest);
        let mut changed = bytes.clone();
        *changed.last_mut().expect("bytes") ^= 1;
        fs::write(&path, &changed).expect("damaged");
        assert!(read(0, 10).is_ok());
        assert!(matches!(read(0, len), Err(HubError::Damaged { .. })));
        fs::write(&path, &bytes[1..]).expect("cut");
        assert!(matches!(
            folder.read(&digest, about.clone()),
            Err(HubError::Damaged { .. })
        ));
        // Sent again it is whole again.
        stored(&folder, &bytes);
        assert_eq!(read(0, len).expect("healed"), bytes);
    }

    #[test]
    fn an_upload_that_does_not_end_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("opened");
        let mut upload = folder.begin(10).expect("begun");
        upload.write(b"12345").expect("written");
        assert!(matches!(
            upload.write(b"123456"),
            Err(HubError::TooLarge { .. })
        ));
        drop(upload);
        fs::write(dir.path().join("incoming/left"), b"by a crash").expect("written");
        let folder = Folder::open(dir.path()).expect("opened");
        assert_eq!(
            fs::read_dir(dir.path().join("incoming"))
                .expect("a folder")
                .count(),
            0
        );
        assert!(folder.list().expect("listed").is_empty());
    }
}
