#![no_main]
//! Signed notes: whatever parses formats back to the same bytes.

use carat_log::SignedNote;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(note) = SignedNote::parse(data) {
        assert_eq!(note.to_text().as_bytes(), data, "a note has one form");
    }
});
