//! A store written anew beside the old one: to seal what was in the clear, or to seal it with another key.
//!
//! The new one is complete and synced before it takes the old one's name, and the old one goes last. So whatever the moment at
//! which the process ends, the next start finds one whole store, and removes what is left of the other. Afterwards no file of
//! the store holds what the old one held; blocks that the disk has not written over are out of reach.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fjall::{Keyspace, PersistMode};

use super::seal::Kind;
use super::{Store, StoreFault, StoreOptions};
use crate::home;

/// Values in one batch.
const BATCH: usize = 1000;
/// Bytes after which a batch is written.
const BATCH_BYTES: usize = 32 << 20;

/// The names of a store that is being replaced.
struct Names {
    new: PathBuf,
    old: PathBuf,
}

impl Names {
    fn of(path: &Path) -> Self {
        Self {
            new: beside(path, ".rewriting"),
            old: beside(path, ".replaced"),
        }
    }
}

/// A path with something at the end of its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(end);
    name.into()
}

/// Syncs the directory that holds a path, so that a new name stays.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A directory that its owner alone reads.
fn private(path: &Path) -> Result<(), StoreFault> {
    home::make_private_dir(path)
        .map_err(|failure| StoreFault::io(path, io::Error::other(failure.message)))
}

impl Store {
    /// Opens a server's store: finishes a rewrite that was interrupted, and rewrites a store that does not have the form that is
    /// wanted. `anew`: rewrite it in any case, with the current key. The number is of values that were rewritten.
    ///
    /// # Errors
    /// As [`Store::open`]; and the disk may have no room for a second store, in which case the first is as it was.
    pub fn open_or_rewrite(
        path: &Path,
        options: &StoreOptions,
        anew: bool,
    ) -> Result<(Self, Option<u64>), StoreFault> {
        let names = Names::of(path);
        let failed = |error| StoreFault::io(path, error);
        // Between the two renames.
        if !path.exists() && names.new.exists() && names.old.exists() {
            fs::rename(&names.new, path).map_err(failed)?;
        }
        if !path.exists() {
            Self::make(path, options)?;
        }
        private(path)?;
        let store = match Self::open(path, options.clone()) {
            Err(StoreFault::InTheClear { .. }) => {
                let plain = StoreOptions {
                    keys: None,
                    ..options.clone()
                };
                Self::open(path, plain)?
            }
            store => store?,
        };
        // Whoever holds the store is alone here.
        for left in [&names.new, &names.old] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(failed)?;
            }
        }
        let sealed = store.seal.is_some();
        if sealed == options.keys.is_some() && !(anew && sealed) {
            return Ok((store, None));
        }
        let count = store.copy_to(&names.new, options)?;
        drop(store);
        fs::rename(path, &names.old).map_err(failed)?;
        fs::rename(&names.new, path).map_err(failed)?;
        sync_parent(path).map_err(failed)?;
        fs::remove_dir_all(&names.old).map_err(failed)?;
        Ok((Self::open(path, options.clone())?, Some(count)))
    }

    /// Makes an empty store under another name, and gives it its own when it is whole: the engine does not open one whose making
    /// was cut off.
    fn make(path: &Path, options: &StoreOptions) -> Result<(), StoreFault> {
        let failed = |error| StoreFault::io(path, error);
        let making = beside(path, &format!(".making-{}", std::process::id()));
        if making.exists() {
            fs::remove_dir_all(&making).map_err(failed)?;
        }
        private(&making)?;
        Self::open(&making, options.clone())?.sync()?;
        match fs::rename(&making, path) {
            // Somebody else was quicker, and has it.
            Err(_) if path.exists() => fs::remove_dir_all(&making).map_err(failed),
            renamed => renamed.and_then(|()| sync_parent(path)).map_err(failed),
        }
    }

    /// Copies everything into a new store, which seals with the current key.
    fn copy_to(&self, path: &Path, options: &StoreOptions) -> Result<u64, StoreFault> {
        private(path)?;
        let new = Self::open(path, options.clone())?;
        let mut count = 0;
        for (from, to) in self.sealed().into_iter().zip(new.sealed()) {
            count += self.copy(&new, from.0, to.0, Some(from.1))?;
        }
        for (from, to) in self.unsealed().into_iter().zip(new.unsealed()) {
            self.copy(&new, from, to, None)?;
        }
        new.sync()?;
        Ok(count)
    }

    fn copy(
        &self,
        new: &Self,
        from: &Keyspace,
        to: &Keyspace,
        kind: Option<Kind>,
    ) -> Result<u64, StoreFault> {
        let batch = || new.db.batch().durability(Some(PersistMode::Buffer));
        let (mut writing, mut held, mut bytes, mut count) = (batch(), 0, 0, 0);
        for entry in from.iter() {
            let (key, value) = entry.into_inner().map_err(self.of())?;
            let value = match kind {
                Some(kind) => new.shut(kind, &key, &self.unshut(kind, &key, value)?)?,
                None => value.to_vec(),
            };
            (held, bytes, count) = (held + 1, bytes + value.len(), count + 1);
            writing.insert(to, key, value);
            if held >= BATCH || bytes >= BATCH_BYTES {
                writing.commit().map_err(new.of())?;
                (writing, held, bytes) = (batch(), 0, 0);
            }
        }
        writing.commit().map_err(new.of())?;
        Ok(count)
    }
}
