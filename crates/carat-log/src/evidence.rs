//! Evidence against a log: what two signed statements of its own show, without
//! any trust in whoever presents them.

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::hash::Hash;
use crate::note::VerifierKey;
use crate::promise::{PromiseError, SignedPromise};
use crate::tlog_proof::TlogProof;
use core::fmt;

/// Two checkpoints of one log and one size with different roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    first: SignedCheckpoint,
    second: SignedCheckpoint,
}

/// Compares two checkpoints of the log with that key. `None` when they are of
/// different sizes (then a consistency proof decides) or agree.
///
/// # Errors
/// [`CheckpointError`] when either is not signed by the log: what the log did
/// not sign is no evidence against it.
pub fn find_equivocation(
    first: &SignedCheckpoint,
    second: &SignedCheckpoint,
    log: &VerifierKey,
) -> Result<Option<Equivocation>, CheckpointError> {
    let (one, other) = (first.verify(log)?, second.verify(log)?);
    let forked = one.size() == other.size() && one.root() != other.root();
    Ok(forked.then(|| Equivocation {
        first: first.clone(),
        second: second.clone(),
    }))
}

impl Equivocation {
    /// The checkpoint that was given first.
    pub fn first(&self) -> &SignedCheckpoint {
        &self.first
    }

    /// The checkpoint that was given second.
    pub fn second(&self) -> &SignedCheckpoint {
        &self.second
    }
}

/// Both notes, whole, so that any reader with the log's key can check them.
impl fmt::Display for Equivocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoint = self.first.unverified();
        writeln!(
            f,
            "The log {} signed two different trees of {} leaves. Both checkpoints follow; \
             its key verifies each, so it showed different histories to different people.",
            checkpoint.origin(),
            checkpoint.size()
        )?;
        for (title, signed) in [("first", &self.first), ("second", &self.second)] {
            write!(f, "\n--- {title} checkpoint ---\n{}", signed.to_text())?;
        }
        Ok(())
    }
}

/// A promise, and a proof by the same log of another leaf in the promised place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPromise {
    promise: SignedPromise,
    other_leaf: Hash,
    proof: TlogProof,
}

impl BrokenPromise {
    /// Checks the evidence; `None` when the proof shows the promised leaf, or
    /// speaks about another index, and so proves nothing against the log.
    ///
    /// # Errors
    /// [`PromiseError`] when the promise is not signed by the log or the proof
    /// does not hold.
    pub fn find(
        promise: &SignedPromise,
        other_leaf: Hash,
        proof: &TlogProof,
        log: &VerifierKey,
    ) -> Result<Option<Self>, PromiseError> {
        let promised = promise.verify_signature(log)?;
        proof.verify(other_leaf, log)?;
        let broken = promised.index == proof.index && promised.leaf != other_leaf;
        Ok(broken.then(|| Self {
            promise: promise.clone(),
            other_leaf,
            proof: proof.clone(),
        }))
    }
}

/// Promise and proof, whole.
impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promise = self.promise.unverified();
        write!(
            f,
            "The log {} promised leaf {} at index {}, but proves leaf {} there.\n\
             \n--- promise ---\n{}\n--- proof ---\n{}",
            promise.origin,
            promise.leaf,
            promise.index,
            self.other_leaf,
            self.promise.to_text(),
            self.proof.to_text()
        )
    }
}
