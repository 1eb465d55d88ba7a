//! The mode that hides: what a proof shows depends on nothing but what is public (`docs/protocol-zk.md`).
//!
//! Every element that the succinct prover would send is sent under a pad of its own, which is committed to beforehand. The
//! columns of the witness are under a commitment that shows nothing of them ([`witness`]). The verifier's checks become
//! equations about pads ([`tape`]), which a small proof of their own settles ([`equations`]).

pub(crate) mod code;
pub(crate) mod equations;
#[cfg(feature = "prover")]
pub(crate) mod random;
pub(crate) mod tape;
pub(crate) mod witness;

use crate::{
    Error, Instance, Proof,
    field::E,
    key::{Mode, ModelKey},
    pcs::{Use, Whir},
    plan::Plan,
    transcript::Source,
    verify::{Verifier, read_root, statement, weights_roots},
};
use equations::Shape;
use p3_field::Field;
use tape::{From, Tape};

#[cfg(feature = "prover")]
use crate::{Profile, pcs::Root, transcript::Script};

/// Bits of the challenge field, rounded down.
pub(crate) fn field_bits() -> usize {
    E::bits() - 1
}

/// The shape of the equations of a plan, without any proof.
#[cfg(feature = "prover")]
pub(crate) fn shape(plan: &Plan, profile: Profile) -> Result<Shape, Error> {
    Ok(Shape::of(&trace(plan, profile, From::Nothing)?, profile))
}

/// The equations about what a prover has just said.
#[cfg(feature = "prover")]
pub(crate) fn retrace(plan: &Plan, profile: Profile, script: Script) -> Result<Tape<'static>, Error> {
    trace(plan, profile, From::Script(script, 0, 0))
}

#[cfg(feature = "prover")]
fn trace(plan: &Plan, profile: Profile, from: From<'static>) -> Result<Tape<'static>, Error> {
    let nothing = Root([0; 32]);
    let mut v = Verifier::new(Tape::new(from), plan);
    v.reduce(&[])?;
    let (point, value) = v.open_witness()?;
    let scheme = witness::Scheme::new(profile, plan.witness.vars);
    scheme.verify(&nothing, &point, value, &mut v.checks)?;
    if plan.has_constants() {
        let join = v.join(plan.weights.len(), false)?;
        for i in 0..plan.weights.len() {
            let _ = v.open_weights(&join, i)?;
        }
    }
    Ok(v.checks)
}

/// [`crate::verify()`] for a proof that hides the witness. The instances and the key have been looked at.
pub(crate) fn verify(
    plan: &Plan,
    key: &ModelKey,
    instances: &[Instance<'_>],
    proof: &Proof,
) -> Result<(), Error> {
    let profile = key.profile;
    let mut source = Source::new(statement(Mode::Zk, key, instances), &proof.bytes);
    let roots = weights_roots(&mut source, plan, key)?;
    let pads = read_root(&mut source, "pads")?;
    let root = read_root(&mut source, "witness")?;
    let mut v = Verifier::new(Tape::new(From::Proof(source)), plan);
    v.reduce(instances)?;
    let (point, value) = v.open_witness()?;
    witness::Scheme::new(profile, plan.witness.vars).verify(
        &root,
        &point,
        value,
        &mut v.checks,
    )?;
    if plan.has_constants() {
        let join = v.join(plan.weights.len(), false)?;
        for (i, (store, root)) in plan.weights.iter().zip(&roots).enumerate() {
            let (point, value) = v.open_weights(&join, i)?;
            let Some(source) = v.checks.source() else {
                unreachable!("the tape reads a proof");
            };
            Whir::new(profile, store.vars, Use::Weights)?.verify(root, &point, value, source)?;
        }
    }
    v.done()?;
    let mut tape = v.checks;
    Shape::of(&tape, profile).verify(&pads, &mut tape)?;
    match tape.into_source() {
        Some(source) => source.finish(),
        None => unreachable!("the tape reads a proof"),
    }
}
