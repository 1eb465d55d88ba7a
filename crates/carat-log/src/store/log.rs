//! [`Log`]: opening, appending and publishing. Proofs are in `prove.rs`.

use super::disk::{Disk, TEMPORARY};
use super::error::StoreError;
use super::journal::{self, JOURNAL, Journal};
use super::layout::CHECKPOINT;
use super::publish::{self, Builder};
use super::queue::Queue;
use super::tail::{Entry, Tail};
use super::tiles::{self, Edge, TileCache};
use crate::MAX_LEAF_BYTES;
use crate::checkpoint::SignedCheckpoint;
use crate::hash::leaf_hash;
use crate::note::{NoteSigner, VerifierKey};
use crate::tree::TreeError;
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// The file that the writing process holds locked.
const LOCK: &str = "lock";

/// Limits of a log in memory and on disk. All have defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Entries after the last checkpoint beyond which an append first publishes
    /// one. Default 65,536.
    pub max_pending_entries: u64,
    /// The same in bytes of leaves. Default 64 MiB.
    pub max_pending_bytes: u64,
    /// Most bytes of leaves in one [`Log::append_batch`]. Default 32 MiB.
    pub max_batch_bytes: u64,
    /// Size at which publishing starts a new journal segment. Default 8 MiB.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_pending_entries: 65_536,
            max_pending_bytes: 64 << 20,
            max_batch_bytes: 32 << 20,
            segment_bytes: 8 << 20,
        }
    }
}

/// What a log counted since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Durable entries.
    pub entries: u64,
    /// Entries under the last checkpoint.
    pub published: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
}

/// The last checkpoint with the edge of its tree.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) signed: SignedCheckpoint,
    pub(super) edge: Edge,
}

/// A durable log, open for appending by this process alone. All methods take
/// `&self` and may be called from many threads.
#[derive(Debug)]
pub struct Log {
    pub(super) disk: Disk,
    pub(super) signer: NoteSigner,
    options: Options,
    queue: Queue,
    /// Locked in this order: builder, journal, tail, published.
    builder: Mutex<Builder>,
    journal: Mutex<Journal>,
    pub(super) tail: RwLock<Tail>,
    published: RwLock<Arc<Published>>,
    pub(super) cache: TileCache,
    /// Why nothing is written any more.
    stopped: OnceLock<String>,
    /// Held until the log is dropped.
    _lock: File,
}

/// All shared state is replaced whole or appended to, so a panic elsewhere
/// leaves it usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Opens the log in `dir`, or creates it when there is none.
    ///
    /// # Errors
    /// Those of [`Log::open`] and [`Log::create`].
    pub fn open_or_create(
        dir: &Path,
        signer: NoteSigner,
        options: Options,
    ) -> Result<Self, StoreError> {
        if dir.join(CHECKPOINT).exists() {
            Self::open(dir, signer, options)
        } else {
            Self::create(dir, signer, options)
        }
    }

    /// Creates an empty log. The directory is made if needed, and must be empty.
    ///
    /// The signer's name becomes the log's origin, for ever.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], [`StoreError::Locked`], and the disk's.
    pub fn create(dir: &Path, signer: NoteSigner, options: Options) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| StoreError::io("making directory", dir, error))?;
        let disk = Disk::new(dir);
        // A creation that was interrupted leaves these, and no checkpoint.
        if disk
            .list(Path::new(""))?
            .iter()
            .any(|name| ![LOCK, TEMPORARY, JOURNAL].contains(&name.as_str()))
        {
            return Err(StoreError::NotEmpty {
                path: dir.to_path_buf(),
            });
        }
        let held = take_lock(&disk)?;
        Self::create_in(disk, held, signer, options)
    }

    pub(super) fn create_in(
        disk: Disk,
        held: File,
        signer: NoteSigner,
        options: Options,
    ) -> Result<Self, StoreError> {
        disk.make_dir(Path::new(TEMPORARY))?;
        disk.clear_dir(Path::new(TEMPORARY), false)?;
        let origin = signer.name().as_str();
        if !journal::segments(&disk)?.is_empty() && !journal::recover(&disk, origin, 0)?.is_empty()
        {
            let path = disk.path(Path::new(CHECKPOINT));
            return Err(StoreError::corrupt(
                &path,
                "the journal has entries, but the checkpoint is gone",
            ));
        }
        // The journal first: a checkpoint without journal is a damaged log.
        let journal = Journal::start(&disk, origin, 0, [].into_iter())?;
        let builder = Builder::default();
        let signed = builder.sign(&disk, &signer)?;
        Ok(Self::assemble(
            disk,
            held,
            signer,
            options,
            builder,
            signed,
            journal,
            Tail::default(),
        ))
    }

    /// Opens an existing log and recovers what was acknowledged before it was
    /// closed, killed or cut off.
    ///
    /// Reads the checkpoint, the tiles of the right edge and the journal;
    /// [`super::audit()`] reads everything.
    ///
    /// # Errors
    /// [`StoreError::NotALog`], [`StoreError::Locked`], [`StoreError::WrongKey`],
    /// [`StoreError::Corrupt`], and the disk's.
    pub fn open(dir: &Path, signer: NoteSigner, options: Options) -> Result<Self, StoreError> {
        if !dir.join(CHECKPOINT).exists() {
            return Err(StoreError::NotALog {
                path: dir.to_path_buf(),
            });
        }
        let disk = Disk::new(dir);
        let held = take_lock(&disk)?;
        Self::open_in(disk, held, signer, options)
    }

    pub(super) fn open_in(
        disk: Disk,
        held: File,
        signer: NoteSigner,
        options: Options,
    ) -> Result<Self, StoreError> {
        disk.make_dir(Path::new(TEMPORARY))?;
        disk.clear_dir(Path::new(TEMPORARY), false)?;
        let path = disk.path(Path::new(CHECKPOINT));
        let bytes = disk.read(Path::new(CHECKPOINT))?;
        let signed = SignedCheckpoint::parse(&bytes)
            .map_err(|error| StoreError::corrupt(&path, error.to_string()))?;
        let checkpoint =
            signed
                .verify(&signer.verifier())
                .map_err(|source| StoreError::WrongKey {
                    path: path.clone(),
                    source,
                })?;
        let edge = tiles::read_edge(&disk, checkpoint.size())?;
        if edge.root() != checkpoint.root() {
            let what = format!(
                "its root is {}, its tiles give {}",
                checkpoint.root(),
                edge.root()
            );
            return Err(StoreError::corrupt(&path, what));
        }
        let builder = Builder::resume(&disk, edge)?;
        let entries = journal::recover(&disk, signer.name().as_str(), checkpoint.size())?;

        // What we just read may be in the kernel's memory only, if the process
        // before us died or lost a sync. It must be on disk before the journal
        // segments that also hold it are removed: so it is written again.
        publish::write_checkpoint(&disk, &signed)?;
        let leaves = entries.iter().map(Vec::as_slice);
        let journal = Journal::start(&disk, signer.name().as_str(), checkpoint.size(), leaves)?;
        journal::remove_others(&disk, &journal)?;

        let mut tail = Tail {
            base: checkpoint.size(),
            ..Tail::default()
        };
        for leaf in entries {
            tail.push(Entry {
                hash: leaf_hash(&leaf),
                leaf: leaf.into(),
            });
        }
        Ok(Self::assemble(
            disk, held, signer, options, builder, signed, journal, tail,
        ))
    }

    #[allow(clippy::too_many_arguments)] // the parts of the struct, named at both call sites
    fn assemble(
        disk: Disk,
        held: File,
        signer: NoteSigner,
        options: Options,
        builder: Builder,
        signed: SignedCheckpoint,
        journal: Journal,
        tail: Tail,
    ) -> Self {
        let published = Arc::new(Published {
            signed,
            edge: builder.edge().clone(),
        });
        Self {
            disk,
            signer,
            options,
            queue: Queue::default(),
            builder: Mutex::new(builder),
            journal: Mutex::new(journal),
            tail: RwLock::new(tail),
            published: RwLock::new(published),
            cache: TileCache::default(),
            stopped: OnceLock::new(),
            _lock: held,
        }
    }

    /// Appends one leaf and returns its index once it is durable: it then
    /// survives the process, the kernel and the power.
    ///
    /// The entry is *pending* until [`Log::publish`] puts it under a checkpoint.
    /// Equal leaves get an index each.
    ///
    /// # Errors
    /// [`StoreError::LeafTooLarge`], [`StoreError::DiskFull`] (nothing changed,
    /// try again), [`StoreError::Stopped`] (open the log again). After an error
    /// the entry may or may not be in the log; [`Log::index_of`] tells.
    pub fn append(&self, leaf: &[u8]) -> Result<u64, StoreError> {
        self.append_batch(&[leaf]).map(|range| range.start)
    }

    /// Appends leaves at consecutive indices with one sync; all or none.
    ///
    /// # Errors
    /// Those of [`Log::append`], and [`StoreError::BatchTooLarge`].
    pub fn append_batch(&self, leaves: &[impl AsRef<[u8]>]) -> Result<Range<u64>, StoreError> {
        let bytes: u64 = leaves.iter().map(|leaf| leaf.as_ref().len() as u64).sum();
        if let Some(long) = leaves
            .iter()
            .map(|leaf| leaf.as_ref().len())
            .find(|len| *len > MAX_LEAF_BYTES)
        {
            return Err(StoreError::LeafTooLarge { found: long });
        }
        let (entries, limit) = (leaves.len() as u64, self.options.max_pending_entries);
        if entries > limit {
            let key = "max_pending_entries";
            return Err(StoreError::BatchTooLarge {
                found: entries,
                unit: "entries",
                limit,
                key,
            });
        }
        let limit = self.options.max_batch_bytes;
        if bytes > limit {
            return Err(StoreError::BatchTooLarge {
                found: bytes,
                unit: "bytes",
                limit,
                key: "max_batch_bytes",
            });
        }
        self.check_running()?;
        if leaves.is_empty() {
            let next = self.len();
            return Ok(next..next);
        }
        // Hashed here, by every caller for itself, and not by the leader.
        let entry = |leaf: &[u8]| Entry {
            leaf: leaf.into(),
            hash: leaf_hash(leaf),
        };
        let entries = leaves.iter().map(|leaf| entry(leaf.as_ref())).collect();
        self.queue.submit(entries, |group| self.commit(group))
    }

    /// Makes a group durable. Only the queue's leader is here.
    fn commit(&self, group: &[Entry]) -> Result<u64, StoreError> {
        self.check_running()?;
        let bytes: u64 = group.iter().map(|entry| entry.leaf.len() as u64).sum();
        let full = {
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            let entries = tail.entries.len() as u64 + group.len() as u64;
            !tail.entries.is_empty()
                && (entries > self.options.max_pending_entries
                    || tail.bytes + bytes > self.options.max_pending_bytes)
        };
        if full {
            self.publish()?;
        }
        let mut journal = lock(&self.journal);
        let first = self.len();
        journal
            .append(&self.disk, first, group.iter().map(|entry| &*entry.leaf))
            .map_err(
                |(error, unknown)| {
                    if unknown { self.stop(error) } else { error }
                },
            )?;
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        group.iter().for_each(|entry| tail.push(entry.clone()));
        Ok(first)
    }

    /// Puts everything that is durable under a new checkpoint, and returns it
    /// once it and all its tiles are durable. Without new entries it returns
    /// the last one.
    ///
    /// Appends go on meanwhile. Call it once a second, or after each append
    /// whose proof is wanted at once: its cost is a handful of syncs.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`]: nothing changed, try again.
    /// [`StoreError::Stopped`]: open the log again.
    pub fn publish(&self) -> Result<SignedCheckpoint, StoreError> {
        let mut builder = lock(&self.builder);
        self.check_running()?;
        let old_size = builder.edge().size;
        let entries: Vec<Entry> = {
            let mut journal = lock(&self.journal);
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            if tail.next() == old_size {
                return Ok(self.checkpoint());
            }
            if journal.len() >= self.options.segment_bytes {
                let origin = self.signer.name().as_str();
                *journal = Journal::start(&self.disk, origin, tail.next(), [].into_iter())
                    .map_err(|error| self.stop_unless_full(error))?;
            }
            tail.entries.iter().cloned().collect()
        };
        // On a copy: after a failure the next attempt starts from here again.
        let mut next = builder.clone();
        for entry in &entries {
            next.push(&entry.leaf, entry.hash);
        }
        let signed = self
            .disk
            .place(&next.take_files())
            .and_then(|()| next.sign(&self.disk, &self.signer))
            .map_err(|error| self.stop_unless_full(error))?;
        let new_size = next.edge().size;
        {
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            let mut published = self
                .published
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *published = Arc::new(Published {
                signed: signed.clone(),
                edge: next.edge().clone(),
            });
            tail.published(new_size);
        }
        *builder = next;
        // Only space is at stake now, and the next publication or opening tries
        // again; the checkpoint stands whether or not this works.
        let _ = journal::remove_before(&self.disk, new_size, &lock(&self.journal));
        let _ = publish::remove_stale_partials(&self.disk, old_size, new_size);
        Ok(signed)
    }

    /// Takes over the cosignatures that witnesses put on the last checkpoint.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when it is not the last checkpoint of this log
    /// (a newer one was published meanwhile: ask the witnesses to sign that).
    pub fn set_cosigned(&self, cosigned: SignedCheckpoint) -> Result<(), StoreError> {
        let _builder = lock(&self.builder);
        self.check_running()?;
        let path = self.disk.path(Path::new(CHECKPOINT));
        cosigned
            .verify(&self.verifier())
            .map_err(|source| StoreError::WrongKey {
                path: path.clone(),
                source,
            })?;
        let published = self.published();
        if cosigned.unverified() != published.signed.unverified() {
            let asked = cosigned.unverified().size();
            return Err(TreeError::NoSuchSize {
                asked,
                have: published.edge.size,
            }
            .into());
        }
        publish::write_checkpoint(&self.disk, &cosigned)
            .map_err(|error| self.stop_unless_full(error))?;
        let next = Published {
            signed: cosigned,
            edge: published.edge.clone(),
        };
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// The last checkpoint.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        self.published().signed.clone()
    }

    /// The key that verifies checkpoints and promises of this log.
    pub fn verifier(&self) -> VerifierKey {
        self.signer.verifier()
    }

    /// Number of durable entries, published or pending.
    pub fn len(&self) -> u64 {
        self.tail
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    }

    /// Whether the log has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.len(),
            published: self.published().edge.size,
            syncs: self.disk.syncs(),
        }
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(
            &self
                .published
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn check_running(&self) -> Result<(), StoreError> {
        match self.stopped.get() {
            Some(reason) => Err(StoreError::Stopped {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Writes nothing any more; the first reason stays.
    fn stop(&self, error: StoreError) -> StoreError {
        let _ = self.stopped.set(error.to_string());
        error
    }

    /// A full disk passes, and files that were written aside are simply written
    /// again. Anything else means that we no longer know what is on disk.
    fn stop_unless_full(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::DiskFull { .. }) {
            error
        } else {
            self.stop(error)
        }
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }
}

/// Takes the log for this process. The system releases it when the process
/// ends, however it ends.
pub(super) fn take_lock(disk: &Disk) -> Result<File, StoreError> {
    let path: PathBuf = disk.path(Path::new(LOCK));
    let failed = |error| StoreError::io("locking", &path, error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: disk.path(Path::new("")),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
