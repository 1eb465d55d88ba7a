//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use carat_receipt::DecodeError;

use crate::exit::{Exit, Failure};

/// An error of the store. Each says who can do something about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// No room. What was acknowledged is safe; the store writes nothing more until it is opened again.
    #[error("no space left in {}: free space and start the server again; everything acknowledged so far is safe", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("the store {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An earlier write failed, so what the disk holds is unknown until the store is opened again.
    #[error("the store {} stopped after a failed write: check the disk and start the server again, which recovers everything acknowledged", path.display())]
    Stopped {
        /// The directory.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the store {} is open in another process: stop that one, or use another data directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Files contradict each other or themselves.
    #[error("the store {} is damaged: {what}; change nothing, and restore the data directory from a copy", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It is encrypted, and not with a key that was given.
    #[error("the store {} is encrypted with key {wanted}, and {given}: name its file in storage.encryption_key_file, or in storage.previous_key_files after a change of keys (other commands: --store-key FILE)", path.display())]
    Key {
        /// The directory.
        path: PathBuf,
        /// The key that is wanted, by its id.
        wanted: String,
        /// What was given instead.
        given: String,
    },
    /// It is in the clear, and a key was given.
    #[error("the store {} is in the clear: carat serve encrypts it at its first start with storage.encryption_key_file; until then leave the key away", path.display())]
    InTheClear {
        /// The directory.
        path: PathBuf,
    },
    /// Written by other software.
    #[error("the store {} has schema {found}, this software knows up to {known}: use the release that wrote it, or a newer one", path.display())]
    Schema {
        /// The directory.
        path: PathBuf,
        /// The version on disk.
        found: u32,
        /// The newest version that this software knows.
        known: u32,
    },
}

impl StoreFault {
    pub(super) fn damaged(path: &Path, what: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            what: what.to_string(),
        }
    }

    pub(super) fn decode(path: &Path) -> impl Fn(DecodeError) -> Self {
        move |error| Self::damaged(path, error)
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{AlreadyExists, InvalidData, InvalidInput, NotFound, UnexpectedEof};
        // A file that ends early, is gone, or is where none belongs is not the system's fault.
        if matches!(
            source.kind(),
            InvalidData | UnexpectedEof | NotFound | AlreadyExists | InvalidInput
        ) {
            return Self::damaged(path, source);
        }
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }

    /// Sorts an error of the engine.
    pub(super) fn of(path: &Path, error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(source) => Self::io(path, source),
            // The engine wraps the system's errors of its tables.
            fjall::Error::Storage(fjall::LsmError::Io(source)) => Self::io(path, source),
            fjall::Error::Poisoned => Self::Stopped {
                path: path.to_path_buf(),
            },
            fjall::Error::Locked => Self::Locked {
                path: path.to_path_buf(),
            },
            other => Self::damaged(path, other),
        }
    }
}

impl From<StoreFault> for Failure {
    fn from(fault: StoreFault) -> Self {
        let exit = match &fault {
            StoreFault::Full { .. } => Exit::DiskFull,
            StoreFault::Io { .. } => Exit::Io,
            StoreFault::Locked { .. } => Exit::Busy,
            StoreFault::Key { .. } | StoreFault::InTheClear { .. } => Exit::Usage,
            StoreFault::Stopped { .. } | StoreFault::Damaged { .. } | StoreFault::Schema { .. } => {
                Exit::Store
            }
        };
        Self::new(exit, fault)
    }
}
