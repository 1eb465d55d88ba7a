//! What a proof is about: the model, and the statements.

use crate::{
    Error,
    pcs::{Profile, Root},
};
use alloc::{format, string::String, vec::Vec};
use carat_program::{Program, Tensor};
use carat_receipt::Digest;

/// Names a model for the proof rung: the Program, the security profile, and the commitment to the constants under it.
///
/// Anyone who holds the model can recompute it, unless it hides the constants: then its maker's secret is needed too, and a
/// registration ([`crate::verify_registration`]) takes the place of that. Under a key that is only its publisher's word a proof shows nothing: its
/// root may be that of no constants at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelKey {
    /// Digest of the Program, which holds plain hashes of the constants.
    pub program: Digest,
    /// The security profile that the commitment was made under.
    pub profile: Profile,
    /// Commitment to all constants.
    pub root: Root,
}

impl ModelKey {
    /// One digest for all three: what a Trust file lists.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(
            "carat/model-key/v1",
            &[
                self.program.as_bytes(),
                self.profile.name().as_bytes(),
                &self.root.0,
            ],
        )
    }
}

/// The integers behind a statement.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// One tensor per input of the Program.
    pub inputs: &'a [Tensor],
    /// One tensor per output of the Program.
    pub outputs: &'a [Tensor],
}

/// One of the statements that a proof covers.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    /// Digest of the Statement, or of the values where there is no Statement ([`Instance::of_values`]).
    pub statement: Digest,
    /// The values, where they are known here.
    pub values: Option<Values<'a>>,
    /// Where values are hidden, the `io/v1` commitment to them ([`crate::io`]), as the Statement carries it.
    pub io: Option<Digest>,
}

impl<'a> Instance<'a> {
    /// An instance without a Statement around it: its digest is over the values themselves.
    #[must_use]
    pub fn of_values(inputs: &'a [Tensor], outputs: &'a [Tensor]) -> Self {
        let encode = carat_program::encode_tensors;
        Self {
            statement: Digest::of("carat/zk-values/v1", &[&encode(inputs), &encode(outputs)]),
            values: Some(Values { inputs, outputs }),
            io: None,
        }
    }

    /// Shapes of all values and ranges of the inputs, as the Program has them.
    pub(crate) fn check(&self, program: &Program) -> Result<(), Error> {
        let Some(values) = &self.values else {
            return Ok(());
        };
        let fail = |why: String| Err(Error::Values(why));
        if values.inputs.len() != program.inputs.len()
            || values.outputs.len() != program.outputs.len()
        {
            return fail(format!(
                "{} inputs and {} outputs for a Program with {} and {}",
                values.inputs.len(),
                values.outputs.len(),
                program.inputs.len(),
                program.outputs.len()
            ));
        }
        for (spec, x) in program.inputs.iter().zip(values.inputs) {
            if *x.shape() != spec.shape {
                return fail(format!(
                    "input `{}` has shape {}, not {}",
                    spec.name,
                    x.shape(),
                    spec.shape
                ));
            }
            let outside = |v: i32| !spec.range.contains(v.into());
            // First without a way out, so that it becomes vector instructions.
            if x.data().iter().fold(false, |any, &v| any | outside(v))
                && let Some(v) = x.data().iter().find(|&&v| outside(v))
            {
                return fail(format!(
                    "input `{}` holds {v}, outside {}..={}",
                    spec.name, spec.range.lo, spec.range.hi
                ));
            }
        }
        for (spec, y) in program.outputs.iter().zip(values.outputs) {
            let shape = program.value(spec.value).map(|v| v.shape.clone());
            if Some(y.shape()) != shape.as_ref() {
                return fail(format!("output `{}` has shape {}", spec.name, y.shape()));
            }
        }
        Ok(())
    }
}

/// What a proof lets be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Short, and not hiding: parts of the witness are shown.
    #[default]
    Succinct,
    /// Zero-knowledge: nothing is shown that does not follow from what is public. What lies between input and output is
    /// never shown.
    Zk(Hidden),
}

/// What is not public, besides what lies between input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hidden {
    /// Inputs and outputs: the proof is about the values under the statements' `io/v1` commitments.
    pub values: bool,
    /// Constants: the ModelKey's root hides them, and a registration proof shows what the bounds rest on.
    pub weights: bool,
}

impl Mode {
    /// What it hides besides what lies between input and output.
    #[must_use]
    pub fn hidden(self) -> Hidden {
        match self {
            Self::Succinct => Hidden::default(),
            Self::Zk(hidden) => hidden,
        }
    }

    /// The name that evidence and reports carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succinct => "succinct",
            Self::Zk(_) => "zk",
        }
    }
}

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The prover's messages, one after the other, without any structure of their own.
    pub bytes: Vec<u8>,
}
