//! The log of Carat: an append-only Merkle tree whose checkpoints, proofs and
//! files follow public formats, so that strangers can check them with tools
//! that we did not write.
//!
//! The crate has two halves:
//!
//! * **Verifying** (always built; `no_std + alloc`, no clock, no files):
//!   [`struct@Hash`] and the tree of RFC 9162 section 2.1, [`InclusionProof`],
//!   [`ConsistencyProof`], [`SignedNote`] (C2SP `signed-note`),
//!   [`SignedCheckpoint`] (C2SP `tlog-checkpoint`), [`Cosignature`] (C2SP
//!   `tlog-cosignature`, the Ed25519 form), [`TlogProof`] (C2SP `tlog-proof`),
//!   [`SignedPromise`] and the evidence against a log that lies:
//!   [`Equivocation`] and [`BrokenPromise`].
//! * **Keeping** (feature `store`): [`store::Log`], a durable log in one
//!   directory in the layout of C2SP `tlog-tiles`; [`store::audit()`], which
//!   recomputes such a directory from its entries; and
//!   [`bench::bench_appends`].
//!
//! Leaves are opaque bytes here. What a leaf says is the receipt's business.
//!
//! ```
//! use carat_log::{NoteSigner, SignedCheckpoint, Checkpoint, MemoryTree, leaf_hash};
//!
//! // A log of two leaves, and what a stranger needs to check the first one.
//! let signer = NoteSigner::new("log.example/receipts", &[7; 32])?;
//! let tree = MemoryTree::from_leaves([b"first".as_slice(), b"second"]);
//! let checkpoint = Checkpoint::new("log.example/receipts", tree.size(), tree.root(tree.size())?)?;
//! let signed = SignedCheckpoint::sign(checkpoint, &signer)?;
//! let text = signed.to_text();
//! let proof = tree.prove_inclusion(0, 2)?;
//!
//! let checked = SignedCheckpoint::parse(text.as_bytes())?.verify(&signer.verifier())?;
//! proof.verify(leaf_hash(b"first"), &checked)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "store"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod b64;
mod checkpoint;
mod evidence;
mod hash;
mod note;
mod promise;
mod proof;
mod tlog_proof;
mod tree;

#[cfg(feature = "store")]
pub mod bench;
#[cfg(feature = "store")]
pub mod store;

#[cfg(all(feature = "store", not(unix)))]
compile_error!(
    "the durable log (feature `store`) needs a Unix system: syncing directories and flock"
);

pub use checkpoint::{
    Checkpoint, CheckpointError, Cosignature, SignedCheckpoint, VerifiedCheckpoint,
};
pub use evidence::{BrokenPromise, Equivocation, find_equivocation};
pub use hash::{Hash, HashError, empty_root, leaf_hash, node_hash};
pub use note::{
    KeyId, KeyKind, KeyName, MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, NoteSignature, NoteSigner,
    SignedNote, VerifierKey,
};
pub use promise::{PROMISE_DOMAIN, Promise, PromiseError, SignedPromise};
pub use proof::{ConsistencyProof, InclusionProof, ProofError};
pub use tlog_proof::{MAX_PATH, TlogProof, TlogProofError};
pub use tree::{MemoryTree, NodeSource, TreeError, prove_consistency, prove_inclusion, root_of};

/// The longest leaf, in bytes.
///
/// C2SP `tlog-tiles` puts a 16-bit length before each entry of a bundle, so
/// 65,535 and not 65,536 is the end of the format.
pub const MAX_LEAF_BYTES: usize = u16::MAX as usize;
