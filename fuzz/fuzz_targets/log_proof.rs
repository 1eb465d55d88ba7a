#![no_main]
//! Offline proofs: whatever parses formats back to the same bytes; following
//! the path ends, whatever index and size are claimed.

use carat_log::{ConsistencyProof, TlogProof, leaf_hash};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_text().as_bytes(), data, "a proof has one form");
        let _ = proof.inclusion().root(leaf_hash(b"leaf"));
        let (from, to) = (proof.index, proof.checkpoint.unverified().size());
        let root = proof.checkpoint.unverified().root();
        let _ = ConsistencyProof { from, to, path: proof.path }.verify_roots(root, root);
    }
});
