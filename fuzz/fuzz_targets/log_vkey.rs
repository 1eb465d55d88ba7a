#![no_main]
//! Verifier keys: whatever parses formats back to the same text.

use carat_log::VerifierKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = VerifierKey::from_vkey(text) {
        assert_eq!(key.to_vkey().as_deref(), Some(text), "a key has one form");
    }
});
