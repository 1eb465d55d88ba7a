//! The recorded evidence, which others made. It lies outside the repository; where it is absent, tests say so and how
//! many files they did not read.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/evidence")
}

/// A file of the corpus, or nothing and a line that says so.
pub(crate) fn read(path: &str) -> Option<Vec<u8>> {
    match fs::read(folder().join(path)) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
            eprintln!("SKIPPED: evidence/{path} is not there; {count} files not read so far");
            None
        }
    }
}

/// Reads a file of the corpus or returns from the test.
#[macro_export]
macro_rules! corpus {
    ($path:expr) => {
        match common::evidence::read($path) {
            Some(bytes) => bytes,
            None => return,
        }
    };
}
