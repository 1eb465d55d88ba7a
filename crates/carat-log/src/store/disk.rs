//! Every touch of the file system, so that syncs are counted, tests can make
//! each step fail, and a simulated power cut can replay what was synced.

use super::error::StoreError;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where unfinished files live until they are renamed into place.
pub(super) const TEMPORARY: &str = "tmp";

/// Most threads that sync files at once.
const SYNC_THREADS: usize = 8;

/// Fewest files that are worth a thread.
const SYNC_SHARE: usize = 16;

/// One change of the file system; paths are relative to the log's directory.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(super) enum Step {
    MakeDir(PathBuf),
    Create(PathBuf),
    Write {
        path: PathBuf,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        len: u64,
    },
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
}

/// The log's directory.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    syncs: AtomicU64,
    temporary: AtomicU64,
    #[cfg(test)]
    pub(super) trace: std::sync::Mutex<Vec<Step>>,
    /// Steps until every further one fails, as if the process had died.
    #[cfg(test)]
    pub(super) steps_left: AtomicU64,
    /// Syncs are recorded, but the real disk is not waited for.
    #[cfg(test)]
    pub(super) pretend_sync: std::sync::atomic::AtomicBool,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            syncs: AtomicU64::new(0),
            temporary: AtomicU64::new(0),
            #[cfg(test)]
            trace: std::sync::Mutex::default(),
            #[cfg(test)]
            steps_left: AtomicU64::new(u64::MAX),
            #[cfg(test)]
            pretend_sync: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Absolute path of a file of the log.
    pub(super) fn path(&self, relative: &Path) -> PathBuf {
        self.root.join(relative)
    }

    /// Number of file and directory syncs so far.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Records a step, and fails it when the test's budget is used up.
    #[cfg(test)]
    pub(super) fn step(&self, step: impl FnOnce() -> Step) -> std::io::Result<()> {
        let left = self.steps_left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(std::io::Error::other("the test stopped the disk"));
        }
        if left != u64::MAX {
            self.steps_left.store(left - 1, Ordering::SeqCst);
        }
        self.trace
            .lock()
            .expect("no test panicked here")
            .push(step());
        Ok(())
    }

    /// Runs one step, turning its error into ours.
    fn run<T>(
        &self,
        action: &'static str,
        path: &Path,
        #[cfg(test)] step: Step,
        operation: impl FnOnce(&Path) -> std::io::Result<T>,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        self.step(|| step)
            .map_err(|error| StoreError::io(action, path, error))?;
        let absolute = self.path(path);
        operation(&absolute).map_err(|error| StoreError::io(action, &absolute, error))
    }

    /// Reads a whole file.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let absolute = self.path(path);
        fs::read(&absolute).map_err(|error| StoreError::io("reading", &absolute, error))
    }

    /// Names in a directory; none when it does not exist.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<String>, StoreError> {
        let absolute = self.path(path);
        let failed = |error| StoreError::io("listing", &absolute, error);
        let entries = match fs::read_dir(&absolute) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        entries
            .map(|entry| {
                entry
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .map_err(failed)
            })
            .collect()
    }

    /// Makes missing directories; returns the directories that got a new name.
    fn make_dirs(&self, path: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
        if path.as_os_str().is_empty() || self.path(path).is_dir() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.make_dirs(parent, changed)?;
        self.run(
            "making directory",
            path,
            #[cfg(test)]
            Step::MakeDir(path.to_path_buf()),
            |absolute| match fs::create_dir(absolute) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                result => result,
            },
        )?;
        changed.insert(parent.to_path_buf());
        Ok(())
    }

    /// Makes a directory and syncs whatever got a new name.
    pub(super) fn make_dir(&self, path: &Path) -> Result<(), StoreError> {
        let mut changed = BTreeSet::new();
        self.make_dirs(path, &mut changed)?;
        changed.iter().try_for_each(|dir| self.sync_dir(dir))
    }

    /// Puts whole files under their names so that each is complete or absent
    /// whatever happens: written aside, synced, renamed, directories synced.
    /// The files are durable when this returns.
    ///
    /// All are written before the first is synced: the file system then has
    /// one large transaction to write instead of many small ones.
    pub(super) fn place(&self, files: &[(PathBuf, Vec<u8>)]) -> Result<(), StoreError> {
        let mut aside = Vec::with_capacity(files.len());
        let placed = self.place_inner(files, &mut aside);
        if placed.is_err() {
            // Leave no debris that would keep a full disk full. Whatever
            // cannot be removed now is removed when the log is next opened.
            for path in &aside {
                let _ = fs::remove_file(self.path(path));
            }
        }
        placed
    }

    fn place_inner(
        &self,
        files: &[(PathBuf, Vec<u8>)],
        aside: &mut Vec<PathBuf>,
    ) -> Result<(), StoreError> {
        let mut written = Vec::with_capacity(files.len());
        for (_, bytes) in files {
            let number = self.temporary.fetch_add(1, Ordering::Relaxed);
            let path = Path::new(TEMPORARY).join(number.to_string());
            aside.push(path.clone());
            let file = self.create(&path)?;
            self.write_at(&file, &path, 0, bytes)?;
            written.push((file, path));
        }
        self.sync_files(&written)?;
        let mut changed = BTreeSet::new();
        for (to, _) in files {
            let parent = to.parent().unwrap_or(Path::new(""));
            self.make_dirs(parent, &mut changed)?;
            changed.insert(parent.to_path_buf());
        }
        for ((_, from), (to, _)) in written.iter().zip(files) {
            self.run(
                "renaming into place",
                to,
                #[cfg(test)]
                Step::Rename {
                    from: from.clone(),
                    to: to.clone(),
                },
                |absolute| fs::rename(self.path(from), absolute),
            )?;
        }
        // Children before parents, so that no name leads to an unsynced directory.
        changed.iter().rev().try_for_each(|dir| self.sync_dir(dir))
    }

    /// Syncs many files; from several threads at once when there are many, as
    /// the file system then commits them together instead of one by one.
    fn sync_files(&self, files: &[(File, PathBuf)]) -> Result<(), StoreError> {
        let share = files.len().div_ceil(SYNC_THREADS).max(SYNC_SHARE);
        let sync = |files: &[(File, PathBuf)]| {
            files
                .iter()
                .try_for_each(|(file, path)| self.sync_file(file, path))
        };
        if files.len() <= share {
            return sync(files);
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = files
                .chunks(share)
                .map(|files| scope.spawn(move || sync(files)))
                .collect();
            let mut outcome = Ok(());
            for thread in threads {
                let synced = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                outcome = outcome.and(synced);
            }
            outcome
        })
    }

    fn create(&self, path: &Path) -> Result<File, StoreError> {
        self.run(
            "creating",
            path,
            #[cfg(test)]
            Step::Create(path.to_path_buf()),
            |absolute| {
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(absolute)
            },
        )
    }

    /// Opens an existing file for writing.
    pub(super) fn open(&self, path: &Path) -> Result<File, StoreError> {
        let absolute = self.path(path);
        OpenOptions::new()
            .write(true)
            .open(&absolute)
            .map_err(|error| StoreError::io("opening", &absolute, error))
    }

    /// Writes at a position.
    pub(super) fn write_at(
        &self,
        file: &File,
        path: &Path,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.run(
            "writing",
            path,
            #[cfg(test)]
            Step::Write {
                path: path.to_path_buf(),
                at,
                bytes: bytes.to_vec(),
            },
            |_| file.write_all_at(bytes, at),
        )
    }

    /// Cuts a file.
    pub(super) fn truncate(&self, file: &File, path: &Path, len: u64) -> Result<(), StoreError> {
        self.run(
            "truncating",
            path,
            #[cfg(test)]
            Step::Truncate {
                path: path.to_path_buf(),
                len,
            },
            |_| file.set_len(len),
        )
    }

    #[cfg(test)]
    fn pretends(&self) -> bool {
        self.pretend_sync.load(Ordering::SeqCst)
    }

    #[cfg(not(test))]
    fn pretends(&self) -> bool {
        false
    }

    /// Syncs a file's data and length.
    pub(super) fn sync_file(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.run(
            "syncing",
            path,
            #[cfg(test)]
            Step::SyncFile(path.to_path_buf()),
            // fdatasync: data and whatever metadata is needed to read it back.
            |_| {
                if self.pretends() {
                    Ok(())
                } else {
                    file.sync_data()
                }
            },
        )
    }

    /// Syncs the names in a directory.
    pub(super) fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.run(
            "syncing directory",
            path,
            #[cfg(test)]
            Step::SyncDir(path.to_path_buf()),
            |absolute| {
                if self.pretends() {
                    Ok(())
                } else {
                    File::open(absolute)?.sync_all()
                }
            },
        )
    }

    /// Removes a file; one that is gone is no error.
    pub(super) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.run(
            "removing",
            path,
            #[cfg(test)]
            Step::Remove(path.to_path_buf()),
            |absolute| match fs::remove_file(absolute) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                result => result,
            },
        )
    }

    /// Removes the files in a directory and, where asked, the directory.
    pub(super) fn clear_dir(&self, path: &Path, and_itself: bool) -> Result<(), StoreError> {
        for name in self.list(path)? {
            self.remove(&path.join(name))?;
        }
        if and_itself && self.path(path).is_dir() {
            self.run(
                "removing directory",
                path,
                #[cfg(test)]
                Step::Remove(path.to_path_buf()),
                |absolute| fs::remove_dir(absolute),
            )?;
        }
        Ok(())
    }
}
