//! Registration: a proof, once for a commitment that hides a model's constants, that they are what the bounds of the Program
//! rest on.

use crate::{
    Error, Ledger, ModelKey, Profile, Proof,
    hide::{self, weights},
    key::Hidden,
    plan::Plan,
    transcript::Transcript,
};
use alloc::vec::Vec;
use carat_program::Program;

/// What a registration hides.
pub(crate) const HIDDEN: Hidden = Hidden {
    values: false,
    weights: true,
};

/// How many proofs may be made under one key that hides a Program's constants, the registration included: each shows some places
/// of one of its commitments, and so many places are independent of the constants.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has no such commitment.
pub fn hidden_weights_budget(program: &Program, profile: Profile) -> Result<u32, Error> {
    let scheme = weights::Scheme::new(profile, &weights::store(program)?)?;
    Ok(scheme.budget() as u32)
}

/// Checks that the constants under a key that hides them lie in the ranges that the Program gives them, and that their sums
/// of absolute values are within the bounds that it states.
///
/// That is all that proofs of the Program take for granted of constants. It does not show that they are those whose hashes
/// the Program holds. As for [`crate::verify()`], what is *not* checked here is that the argument has the profile's bits
/// ([`Ledger::registration`]); and whoever relies on proofs under the key relies on both arguments.
///
/// # Errors
/// [`Error`] says what is wrong with the proof, or why the Program has none.
pub fn verify_registration(program: &Program, key: &ModelKey, proof: &Proof) -> Result<(), Error> {
    if key.program != program.digest() {
        return Err(Error::Check("the key's program"));
    }
    let plan = Plan::registration(program)?;
    hide::verify_from(statement(key), &plan, key, HIDDEN, Vec::new(), &[], proof)
}

/// Everything public, absorbed before the first message.
pub(crate) fn statement(key: &ModelKey) -> Transcript {
    let mut t = Transcript::new("carat/zk/v1 registration");
    t.bytes("profile", key.profile.name().as_bytes());
    t.bytes("program", key.program.as_bytes());
    t.bytes("weights", &key.root.0);
    t
}

impl Ledger {
    /// The ledger of a registration.
    ///
    /// # Errors
    /// As for [`Ledger::new`].
    pub fn registration(program: &Program, profile: Profile) -> Result<Self, Error> {
        Self::of(
            &Plan::registration(program)?,
            profile,
            crate::Mode::Zk(HIDDEN),
        )
    }
}
