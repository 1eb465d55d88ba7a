//! The mode that hides: what a proof shows depends on nothing but what is public (`docs/protocol-zk.md`).
//!
//! Every element that the succinct prover would send is sent under a pad of its own, which is committed to beforehand. The
//! columns of the witness are under a commitment that shows nothing of them ([`witness`]). The verifier's checks become
//! equations about pads ([`tape`]), which a small proof of their own settles ([`equations`]).

pub(crate) mod code;
pub(crate) mod equations;
pub(crate) mod io;
mod masks;
pub(crate) mod pin;
#[cfg(feature = "prover")]
pub(crate) mod random;
pub(crate) mod tape;
pub(crate) mod weights;
pub(crate) mod witness;

use crate::{
    Error, Instance, Profile, Proof,
    field::E,
    graph::Kind,
    io::Table,
    key::{Hidden, Mode, ModelKey},
    pcs::{Root, Use, Whir},
    plan::Plan,
    transcript::{Source, Transcript},
    verify::{Verifier, read_root, statement, weights_roots},
};
use alloc::vec::Vec;
use carat_receipt::Digest;
use equations::Shape;
use p3_field::Field;
use pin::Pin;
use tape::{From, Tape};

#[cfg(feature = "prover")]
use crate::transcript::Script;

/// Bits of the challenge field, rounded down.
pub(crate) fn field_bits() -> usize {
    E::bits() - 1
}

/// The shape of the equations of a plan, without any proof.
pub(crate) fn shape(plan: &Plan, profile: Profile, hidden: Hidden) -> Result<Shape, Error> {
    let store = plan.weights.first().filter(|_| hidden.weights);
    let pin = store.map(|store| Pin::nothing(store.vars));
    let tape = trace(plan, profile, hidden, pin, From::Nothing)?;
    Ok(Shape::of(&tape, profile))
}

/// The equations about what a prover has just said.
#[cfg(feature = "prover")]
pub(crate) fn retrace(
    plan: &Plan,
    profile: Profile,
    hidden: Hidden,
    pin: Option<Pin>,
    script: Script,
) -> Result<Tape<'static>, Error> {
    trace(plan, profile, hidden, pin, From::Script(script, 0, 0))
}

/// The argument from its first message to its last, without anything that is no equation.
fn trace(
    plan: &Plan,
    profile: Profile,
    hidden: Hidden,
    pin: Option<Pin>,
    from: From<'static>,
) -> Result<Tape<'static>, Error> {
    let zeros = alloc::vec![Digest::from_bytes([0; 32]); plan.statements];
    let roots = Roots {
        program: Digest::from_bytes([0; 32]),
        witness: Root([0; 32]),
        weights: match pin {
            Some(pin) => Weights::Hidden(pin),
            None => Weights::Public(alloc::vec![Root([0; 32]); plan.weights.len()]),
        },
        io: if hidden.values { zeros } else { Vec::new() },
    };
    argument(plan, profile, &roots, &[], Tape::new(from))
}

/// Everything that was committed to before the argument.
struct Roots {
    program: Digest,
    witness: Root,
    weights: Weights,
    /// Of each statement, where values are hidden.
    io: Vec<Digest>,
}

/// The commitment to constants.
enum Weights {
    /// The root of each polynomial.
    Public(Vec<Root>),
    Hidden(Pin),
}

/// The table under each statement's `io/v1` commitment.
pub(crate) fn table(plan: &Plan) -> Result<Table, Error> {
    let edges = plan.graph.inputs.iter().chain(&plan.graph.outputs);
    Table::new(edges.map(|&id| {
        let node = &plan.graph.nodes[id];
        match node.kind {
            Kind::Constant(_) => &node.dims[..],
            // Without the axis of statements.
            _ => &node.dims[1..],
        }
    }))
}

/// [`crate::verify()`] for a proof that hides something. The instances and the key have been looked at.
pub(crate) fn verify(
    plan: &Plan,
    key: &ModelKey,
    hidden: Hidden,
    instances: &[Instance<'_>],
    proof: &Proof,
) -> Result<(), Error> {
    let io = if hidden.values {
        let root = |i: &Instance<'_>| {
            i.io.ok_or_else(|| Error::Values("a statement has no io/v1 commitment".into()))
        };
        instances.iter().map(root).collect::<Result<Vec<_>, _>>()?
    } else {
        Vec::new()
    };
    let transcript = statement(Mode::Zk(hidden), key, instances);
    verify_from(transcript, plan, key, hidden, io, instances, proof)
}

/// [`verify`] after what is public, as the transcript has it.
pub(crate) fn verify_from(
    transcript: Transcript,
    plan: &Plan,
    key: &ModelKey,
    hidden: Hidden,
    io: Vec<Digest>,
    instances: &[Instance<'_>],
    proof: &Proof,
) -> Result<(), Error> {
    let profile = key.profile;
    let mut source = Source::new(transcript, &proof.bytes);
    let weights = match &plan.weights[..] {
        [store] if hidden.weights => {
            let (levels, _) = weights::commitments(store.vars);
            Weights::Hidden(Pin::read(&mut source, key, store.vars, levels)?)
        }
        _ => Weights::Public(weights_roots(&mut source, plan, key)?),
    };
    let pads = read_root(&mut source, "pads")?;
    let roots = Roots {
        program: key.program,
        witness: read_root(&mut source, "witness")?,
        weights,
        io,
    };
    let tape = Tape::new(From::Proof(source));
    let mut tape = argument(plan, profile, &roots, instances, tape)?;
    Shape::of(&tape, profile).verify(&pads, &mut tape)?;
    match tape.into_source() {
        Some(source) => source.finish(),
        None => unreachable!("the tape reads a proof"),
    }
}

/// Every message up to the last one that an equation is about.
fn argument<'p>(
    plan: &Plan,
    profile: Profile,
    roots: &Roots,
    instances: &[Instance<'_>],
    tape: Tape<'p>,
) -> Result<Tape<'p>, Error> {
    let mut v = Verifier::new(tape, plan);
    if !roots.io.is_empty() {
        v.keep_ties();
    }
    v.reduce(instances)?;
    let (point, value) = v.open_witness()?;
    let scheme = witness::Scheme::new(profile, plan.witness.vars);
    scheme.verify(&roots.witness, &point, value, &mut v.checks)?;
    if plan.has_constants() {
        match &roots.weights {
            Weights::Public(roots) => {
                let join = v.join(plan.weights.len(), false, None)?;
                for (i, (store, root)) in plan.weights.iter().zip(roots).enumerate() {
                    let (point, value) = v.open_weights(&join, i)?;
                    if let Some(source) = v.checks.source() {
                        let whir = Whir::new(profile, store.vars, Use::Weights)?;
                        whir.verify(root, &point, value, source)?;
                    }
                }
            }
            Weights::Hidden(pin) => {
                let join = v.join(1, false, Some(pin))?;
                let (point, value) = v.open_hidden_weights(&join)?;
                let scheme = weights::Scheme::new(profile, &plan.weights[0])?;
                scheme.verify(&pin.opened, &point, value, &mut v.checks)?;
            }
        }
    }
    v.done()?;
    if let Some(ties) = v.ties.take() {
        let table = table(plan)?;
        for (claims, root) in ties.iter().zip(&roots.io) {
            io::verify(profile, &roots.program, root, &table, claims, &mut v.checks)?;
        }
    }
    Ok(v.checks)
}
