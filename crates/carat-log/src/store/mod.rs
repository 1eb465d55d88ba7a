//! The log on disk: one directory, one writer, C2SP `tlog-tiles` files.
//!
//! An append is acknowledged when it is in the journal and the journal is
//! synced. A checkpoint is published when every tile under it is. `docs/log.md`
//! gives the order of all writes and what a crash leaves behind each of them.

mod audit;
mod disk;
mod error;
mod journal;
mod layout;
mod log;
mod prove;
mod publish;
mod queue;
mod tail;
mod tiles;

#[cfg(test)]
mod crash_tests;

pub use audit::{AuditReport, Finding, audit};
pub use error::StoreError;
pub use log::{Log, Options, Stats};

/// Reads a journal segment as recovery does, for fuzzing: it must neither
/// panic nor loop, whatever the bytes.
#[doc(hidden)]
pub fn fuzz_journal(bytes: &[u8]) {
    let _ = journal::read_segment(bytes, "log.example/fuzz");
}

/// Reads an entry bundle as the audit does, for fuzzing.
#[doc(hidden)]
pub fn fuzz_bundle(bytes: &[u8]) {
    if let Some(leaves) = layout::read_bundle(bytes) {
        let mut again = Vec::new();
        leaves
            .iter()
            .for_each(|leaf| layout::push_entry(&mut again, leaf));
        assert_eq!(again, bytes, "a bundle has one form");
    }
}
