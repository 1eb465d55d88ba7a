//! The prover of registrations.

use super::{Options, Phase, ProvingKey, Values, memory, prove_from};
use crate::{
    Error, Proof,
    aside::on_pool,
    key::Mode,
    plan::Plan,
    registration::{HIDDEN, statement},
};
use carat_program::{Program, Weights};

/// Proves, without showing the constants under a hiding key, that they are within the Program's bounds. It counts as one of
/// the proofs that may be made under the key. Of the options, the mode and the seeds do not matter.
///
/// # Errors
/// [`Error::Unsupported`] for a Program that has none, [`Error::Values`] for a key that hides nothing or was used before, [`Error::Memory`],
/// [`Error::Cancelled`].
pub fn register(
    program: &Program,
    weights: &Weights,
    key: &ProvingKey,
    options: &Options<'_>,
) -> Result<Proof, Error> {
    if !key.hides() {
        return Err(Error::Values(
            "a key that hides nothing is not registered".into(),
        ));
    }
    let options = Options {
        mode: Mode::Zk(HIDDEN),
        seeds: &[],
        ..*options
    };
    let plan = Plan::registration(program)?;
    options.fits(memory(&plan, options.mode)?)?;
    key.spend()?;
    on_pool(|| {
        options.begin(Phase::Witness)?;
        let values = Values::new(program, weights, &plan.graph, &[]);
        values.check()?;
        prove_registration(&plan, key, &values, &options)
    })
}

pub(crate) fn prove_registration(
    plan: &Plan,
    key: &ProvingKey,
    values: &Values<'_>,
    options: &Options<'_>,
) -> Result<Proof, Error> {
    prove_from(statement(key.key()), plan, key, &[], values, options)
}
