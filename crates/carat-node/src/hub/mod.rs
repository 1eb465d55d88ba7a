//! The hub, as commands and server use it: what is published is gathered and examined here, and served by [`crate::api`].
//!
//! Examining runs what strangers published: compiling, running and proving happen in a process of their own ([`worker`]), with
//! bounds on time and memory, so that a bad model costs its own examination and nothing else.

pub mod examine;
pub mod gather;
pub mod import;
pub mod remote;
pub mod service;
pub mod worker;

use carat_hub::{Hub, HubError, Limits};

use crate::exit::{Exit, Failure};
use crate::home::{self, Home};
use crate::problem::Problem;

/// The hub's folder in a data directory.
pub const FOLDER: &str = "hub";

/// Opens the hub of a data directory, or makes it.
pub fn open(home: &Home, limits: Limits) -> Result<Hub, Failure> {
    home.make()?;
    Ok(Hub::open(&home.path(FOLDER), limits, home::clock()?)?)
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let exit = match &error {
            HubError::Name { .. }
            | HubError::NotFound { .. }
            | HubError::Exists { .. }
            | HubError::NotYours { .. }
            | HubError::Manifest(_) => Exit::Usage,
            HubError::Gone { .. } | HubError::Private(_) => Exit::Withheld,
            HubError::Missing { .. } | HubError::Mismatch { .. } => Exit::Mismatch,
            HubError::Signature(_) => Exit::Invalid,
            HubError::TooLarge { .. } => Exit::TooLarge,
            HubError::Damaged { .. } | HubError::Store { .. } => Exit::Store,
            HubError::Io { .. } => Exit::Io,
            HubError::Full(_) => Exit::DiskFull,
            HubError::Locked(_) => Exit::Busy,
            _ => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<HubError> for Problem {
    fn from(error: HubError) -> Self {
        let (status, kind) = match &error {
            HubError::Name { .. } | HubError::Manifest(_) => (400, "bad-request"),
            HubError::NotFound { .. } => (404, "not-found"),
            HubError::Exists { .. } => (409, "exists"),
            HubError::NotYours { .. } => (403, "forbidden"),
            HubError::Private(_) => (403, "private"),
            HubError::Gone { .. } => (410, "taken-down"),
            HubError::Missing { .. } => (422, "missing-file"),
            HubError::Mismatch { .. } => (422, "digest-mismatch"),
            HubError::Signature(_) => (422, "bad-signature"),
            HubError::TooLarge { .. } => (413, "too-large"),
            HubError::Full(_) => (507, "disk-full"),
            // Paths of the server are nobody's business; its log has them.
            _ => {
                tracing::error!(%error, "the hub");
                return Self::new(
                    500,
                    "damaged",
                    "the hub cannot read or write what this needs; its operator's log says why",
                );
            }
        };
        Self::new(status, kind, error)
    }
}
