#![no_main]
//! Checkpoints: whatever parses formats back to the same bytes, and nothing
//! verifies under a key whose signatures are not in the corpus.

use carat_log::{KeyKind, SignedCheckpoint, VerifierKey};
use libfuzzer_sys::fuzz_target;

// Key of golang.org/x/mod/sumdb/note's examples.
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fuzz_target!(|data: &[u8]| {
    if let Ok(signed) = SignedCheckpoint::parse(data) {
        assert_eq!(signed.to_text().as_bytes(), data, "a checkpoint has one form");
        let key = VerifierKey::from_vkey(KEY).expect("a constant");
        assert!(signed.verify(&key).is_err(), "a forged signature");
        let witness = key.with_kind(KeyKind::CosignatureV1);
        assert!(signed.cosignatures(&[witness]).map_or(true, |found| found.is_empty()), "a forged cosignature");
    }
});
