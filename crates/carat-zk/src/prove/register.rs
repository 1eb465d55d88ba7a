//! The prover of registrations.

use super::{Options, ProvingKey};
use crate::{Error, Proof};
use carat_program::{Program, Weights};

/// Proves, without showing the constants under a hiding key, that they are within the Program's bounds. It counts as one of
/// the proofs that may be made under the key.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has none, [`Error::Values`] for a key that hides nothing, [`Error::Memory`],
/// [`Error::Cancelled`].
pub fn register(
    program: &Program,
    weights: &Weights,
    key: &ProvingKey,
    options: &Options<'_>,
) -> Result<Proof, Error> {
    let _ = (program, weights, key, options);
    Err(Error::Unsupported("not yet".into()))
}
