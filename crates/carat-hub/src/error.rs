//! What can go wrong, who erred, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use carat_receipt::Digest;

/// An error of the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name breaks a rule.
    #[error("{what} {given:?}: {rule}")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        given: String,
        /// The rule.
        rule: &'static str,
    },
    /// There is no such thing.
    #[error("there is no {what} {name}")]
    NotFound {
        /// What is missing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It was taken down.
    #[error("{name} was taken down at {at} (Unix seconds): {reason}")]
    Gone {
        /// Its name.
        name: String,
        /// When, in Unix seconds.
        at: u64,
        /// Why.
        reason: String,
    },
    /// Private: nothing of it leaves.
    #[error("{0} is private: its card is shown, and its files do not leave this hub, whoever asks")]
    Private(String),
    /// A version is published once.
    #[error(
        "{name} is published already with other content (digest {digest}); versions never change: choose another version"
    )]
    Exists {
        /// Its name.
        name: String,
        /// The digest that it has.
        digest: Digest,
    },
    /// Somebody else's namespace.
    #[error("the namespace {owner} is not {tenant}'s: publish as {tenant}/NAME")]
    NotYours {
        /// The namespace.
        owner: String,
        /// Who asked.
        tenant: String,
    },
    /// A manifest breaks a rule.
    #[error("the manifest: {0}")]
    Manifest(String),
    /// A file that was not sent.
    #[error("the file {path} ({digest}) was not uploaded by this publisher: send it first")]
    Missing {
        /// Its name in the manifest.
        path: String,
        /// Its digest.
        digest: Digest,
    },
    /// More than is allowed.
    #[error("{what} has {bytes} bytes; {key} allows {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// The key of the configuration that sets it.
        key: &'static str,
    },
    /// What was sent is not what was named.
    #[error("the bytes that arrived have the digest {found}, not {expected}: send the file again")]
    Mismatch {
        /// The digest that was named.
        expected: Digest,
        /// The digest of what arrived.
        found: Digest,
    },
    /// A file on the hub's disk changed.
    #[error(
        "the file {digest} is damaged on the hub's disk: {what}; nothing of it was given out; restore it from a copy, or publish it again"
    )]
    Damaged {
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// A signature does not hold.
    #[error("the signature model.sig: {0}")]
    Signature(String),
    /// The operating system refused.
    #[error("{action} {} failed: {source}", path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No room.
    #[error("no space left in {}: free space; what was published is safe", .0.display())]
    Full(PathBuf),
    /// Another process has it open.
    #[error(
        "the hub {} is open in another process: stop that one, or talk to it with --server", .0.display()
    )]
    Locked(PathBuf),
    /// The catalogue is damaged.
    #[error(
        "the catalogue of the hub {} is damaged: {what}; change nothing, and restore the folder from a copy", path.display()
    )]
    Store {
        /// The hub's folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl HubError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(path),
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    pub(crate) fn engine(path: &Path) -> impl Fn(fjall::Error) -> Self + '_ {
        move |error| match error {
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                Self::io("writing the catalogue of", path)(source)
            }
            fjall::Error::Locked => Self::Locked(path.to_path_buf()),
            other => Self::Store {
                path: path.to_path_buf(),
                what: other.to_string(),
            },
        }
    }

    pub(crate) fn none(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }
}
