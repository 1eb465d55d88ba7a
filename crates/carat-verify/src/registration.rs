//! Whether the registration of a key that hides weights holds: looked at once, before a Trust file lists the key.
//!
//! What holds then is that the constants under the key are of the lengths, in the ranges and within the sums that the Program
//! states, on which everything rests that a proof under the key says about numbers. *Which* constants they are it does not
//! say: nothing ties the key to the plain hashes in the Program, so for whoever relies on the key, the key is the model.

use carat_program::{Program, ProgramError};
use carat_receipt::{Label, Registration};
use carat_zk::pcs::Root;
use carat_zk::{Ledger, ModelKey, Profile, Proof, verify_registration};

/// A registration that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The key that was registered.
    pub key: ModelKey,
    /// The Program that it is for, without its constants.
    pub program: Program,
    /// Bits of soundness of the registration, rounded down.
    pub bits: u64,
}

/// Why a registration shows nothing. Whoever made the file is at fault, or whoever changed it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The Program is none.
    #[error("the registration holds no Program in good order: {0}")]
    Program(#[from] ProgramError),
    /// The profile is not one of this version.
    #[error(
        "the registration is for the security profile {0}, which this version does not know; use a newer one"
    )]
    Profile(Label),
    /// The proof does not hold.
    #[error("the registration does not hold, do not list its key: {0}")]
    Proof(#[from] carat_zk::Error),
}

/// Checks a registration.
///
/// # Errors
/// [`RegistrationError`]; then the key is worth nothing.
pub fn check_registration(registration: &Registration) -> Result<Registered, RegistrationError> {
    let program = Program::decode(&registration.program)?;
    let profile = Profile::named(registration.profile.as_str())
        .ok_or_else(|| RegistrationError::Profile(registration.profile.clone()))?;
    let key = ModelKey {
        program: program.digest(),
        profile,
        root: Root(*registration.weights_root.as_bytes()),
    };
    let proof = Proof {
        bytes: registration.proof.clone(),
    };
    verify_registration(&program, &key, &proof)?;
    let bits = Ledger::registration(&program, profile)?.bits as u64;
    Ok(Registered { key, program, bits })
}
