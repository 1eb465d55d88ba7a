//! Deterministic encoding, strict decoding, digest.

use crate::pinned::{self, PinnedProgram};
use crate::{InputEncoding, InputSpec, OutputEncoding, OutputSpec, Program, ProgramError};
use alloc::{string::ToString, vec::Vec};
use carat_receipt::Digest;

/// Largest encoding that is decoded.
pub const MAX_PROGRAM_BYTES: usize = 16 << 20;
const DOMAIN: &str = "carat/program/v1";
/// The numerics profile of exact integer programs.
pub const INTEGER_PROFILE: &str = "integer/v1";

/// The digest that names a program by its canonical encoding, whatever its profile.
pub(crate) fn program_digest(encoding: &[u8]) -> Digest {
    Digest::of(DOMAIN, &[encoding])
}

/// A weightless program of any profile, as a receipt carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyProgram {
    /// An exact integer program.
    Integer(Program),
    /// A float program under a pinned engine.
    Pinned(PinnedProgram),
}

impl AnyProgram {
    /// Decodes and validates what [`Program::encode`] or [`PinnedProgram::encode`] wrote; the profile that stands first says
    /// which.
    ///
    /// # Errors
    /// [`ProgramError`] saying what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProgramError> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let profile = match decoder.array() {
            Ok(Some(2)) => decoder.str().unwrap_or_default(),
            _ => "",
        };
        if pinned::is_pinned_profile(profile) {
            PinnedProgram::decode(bytes).map(Self::Pinned)
        } else {
            Program::decode(bytes).map(Self::Integer)
        }
    }

    /// The numerics profile.
    #[must_use]
    pub fn profile(&self) -> &str {
        match self {
            Self::Integer(_) => INTEGER_PROFILE,
            Self::Pinned(program) => &program.profile,
        }
    }

    /// Names the whole computation.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Integer(program) => program.digest(),
            Self::Pinned(program) => program.digest(),
        }
    }
}

impl Program {
    /// The canonical encoding: a deterministic CBOR array of the numerics profile and the program.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode((INTEGER_PROFILE, self), &mut out);
        out
    }

    /// Decodes and validates. Bytes that are not exactly what [`Program::encode`] writes are refused.
    ///
    /// # Errors
    /// [`ProgramError`] saying what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProgramError> {
        if bytes.len() > MAX_PROGRAM_BYTES {
            return Err(ProgramError::TooMany {
                what: "bytes",
                found: bytes.len(),
                limit: MAX_PROGRAM_BYTES,
            });
        }
        let (profile, program): (&str, Program) =
            minicbor::decode(bytes).map_err(|e| ProgramError::Encoding(e.to_string()))?;
        if profile != INTEGER_PROFILE {
            return Err(ProgramError::Encoding(alloc::format!(
                "numerics profile `{}` is not `{INTEGER_PROFILE}`",
                profile
                    .escape_default()
                    .take(64)
                    .collect::<alloc::string::String>()
            )));
        }
        if program.encode() != bytes {
            return Err(ProgramError::Encoding(
                "the bytes differ from their re-encoding".to_string(),
            ));
        }
        program.validate()?;
        Ok(program)
    }

    /// Names the whole computation: graph, shapes, tables, edges and weights.
    #[must_use]
    pub fn digest(&self) -> Digest {
        program_digest(&self.encode())
    }
}

impl InputSpec {
    pub(crate) fn check(&self) -> Result<(), ProgramError> {
        let fail = |reason: &str| {
            Err(ProgramError::Spec {
                name: self.name.clone(),
                reason: reason.to_string(),
            })
        };
        if !self.range.is_valid() {
            return fail("its range is empty or too wide");
        }
        match &self.encoding {
            InputEncoding::Exact => {}
            InputEncoding::Fixed { exponent } | InputEncoding::Affine { exponent, .. }
                if !exponent_fits(*exponent) =>
            {
                return fail("its exponent is absurd");
            }
            InputEncoding::Fixed { .. } => {}
            InputEncoding::Affine { offset, scale, .. } => {
                let n = offset.len();
                if n == 0 || scale.len() != n || !self.shape.elements().is_multiple_of(n) {
                    return fail("its offsets and scales do not fit its shape");
                }
                if offset
                    .iter()
                    .chain(scale)
                    .any(|&v| !f64::from(v).is_finite())
                {
                    return fail("an offset or scale is not finite");
                }
            }
        }
        if let Some(image) = &self.image
            && image.values() != self.shape.elements() as u128
        {
            return fail("its image mapping does not fill its shape");
        }
        Ok(())
    }
}

impl OutputSpec {
    pub(crate) fn check(&self) -> Result<(), ProgramError> {
        match self.encoding {
            OutputEncoding::Fixed { exponent } if !exponent_fits(exponent) => {
                Err(ProgramError::Spec {
                    name: self.name.clone(),
                    reason: "its exponent is absurd".to_string(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// Far beyond what binary64 distinguishes, and safe to negate.
fn exponent_fits(exponent: i32) -> bool {
    (-1000..=1000).contains(&exponent)
}
