//! Registration: a proof, once for a commitment that hides a model's constants, that they are what the bounds of the Program
//! rest on.

use crate::{Error, Ledger, ModelKey, Profile, Proof};
use carat_program::Program;

/// How many proofs may be made under one hiding commitment to a Program's constants, the registration included: each shows
/// some places of it, and so many places are independent of the constants.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has no such commitment.
pub fn hidden_weights_budget(program: &Program, profile: Profile) -> Result<u32, Error> {
    let _ = (program, profile);
    Err(Error::Unsupported("not yet".into()))
}

/// Checks that the constants under a key that hides them lie in the ranges that the Program gives them, and that their sums
/// of absolute values are within the bounds that it states.
///
/// # Errors
/// [`Error`] says what is wrong with the proof, or why the Program has none.
pub fn verify_registration(program: &Program, key: &ModelKey, proof: &Proof) -> Result<(), Error> {
    let _ = (program, key, proof);
    Err(Error::Unsupported("not yet".into()))
}

impl Ledger {
    /// The ledger of a registration.
    ///
    /// # Errors
    /// As for [`Ledger::new`].
    pub fn registration(program: &Program, profile: Profile) -> Result<Self, Error> {
        let _ = (program, profile);
        Err(Error::Unsupported("not yet".into()))
    }
}
