#![no_main]
//! Promises: whatever parses formats back to the same bytes, and is no checkpoint.

use carat_log::{SignedCheckpoint, SignedPromise};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(promise) = SignedPromise::parse(data) {
        assert_eq!(promise.to_text().as_bytes(), data, "a promise has one form");
        assert!(SignedCheckpoint::parse(data).is_err(), "a promise passes for a checkpoint");
    }
});
