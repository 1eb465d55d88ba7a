//! What can go wrong with a log directory.

use crate::checkpoint::CheckpointError;
use crate::promise::PromiseError;
use crate::tree::TreeError;
use crate::{Hash, MAX_LEAF_BYTES};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An error of the durable log. Each says who can do something about it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room. Nothing that was acknowledged is affected; the operator frees
    /// space and the caller repeats the call.
    #[error("no space left while {action} {}: free space on that file system and try again; everything acknowledged so far is safe", path.display())]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {} failed: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Another process has the log open for writing.
    #[error("the log {} is open in another process: stop that one, or send your entries to it", path.display())]
    Locked {
        /// Directory of the log.
        path: PathBuf,
    },
    /// There is no log in that directory.
    #[error("{} holds no log: create one there first, or check the path", path.display())]
    NotALog {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is taken.
    #[error("{} already holds a log or other files: open it, or choose an empty directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The checkpoint on disk is not by the key that was given.
    #[error("the checkpoint {} does not fit the given key: {source}; open the log with the key it was created with", path.display())]
    WrongKey {
        /// The checkpoint file.
        path: PathBuf,
        /// What does not fit.
        source: CheckpointError,
    },
    /// The files contradict each other. Nothing was changed.
    #[error("the log is damaged at {}: {what}; change nothing, run `carat log audit` on a copy, and restore the directory from a copy that passes it and is at least as long", path.display())]
    Corrupt {
        /// The file that is wrong.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A leaf is too long. The caller is at fault.
    #[error(
        "a leaf has {found} bytes, the limit of the format is {MAX_LEAF_BYTES}; log a hash of it instead"
    )]
    LeafTooLarge {
        /// Its length.
        found: usize,
    },
    /// A batch is too large. The caller is at fault.
    #[error(
        "a batch has {found} {unit}, the limit is {limit} (`{key}` in the log's options); send smaller batches"
    )]
    BatchTooLarge {
        /// Its size.
        found: u64,
        /// Entries or bytes.
        unit: &'static str,
        /// The limit.
        limit: u64,
        /// The option that sets it.
        key: &'static str,
    },
    /// The entry is durable, but no checkpoint covers it yet.
    #[error(
        "entry {index} is pending: the last checkpoint covers {published} entries; publish a checkpoint, or ask again after the next"
    )]
    Pending {
        /// Index, or tree size minus one, asked about.
        index: u64,
        /// Size of the last checkpoint.
        published: u64,
    },
    /// No leaf has that hash.
    #[error("no entry of the log has leaf hash {leaf}; check that it was sent to this log")]
    UnknownLeaf {
        /// The hash asked for.
        leaf: Hash,
    },
    /// An index or size that the log does not have. The caller is at fault.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A promise that cannot be made.
    #[error(transparent)]
    Promise(#[from] PromiseError),
    /// A sync failed earlier, so what the disk holds is unknown until the log
    /// is opened again.
    #[error(
        "the log stopped because {reason}; check the disk, then open the log again, which recovers everything acknowledged"
    )]
    Stopped {
        /// The first failure.
        reason: String,
    },
}

impl StoreError {
    /// Sorts a system error: no space is an answer of its own.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { action, path },
            _ => Self::Io {
                action,
                path,
                source: Arc::new(source),
            },
        }
    }

    pub(super) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }

    /// Whether a file that was to be read is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
