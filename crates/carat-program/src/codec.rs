//! Deterministic encoding, strict decoding, digest.

use crate::{InputEncoding, InputSpec, OutputEncoding, OutputSpec, Program, ProgramError};
use alloc::{string::ToString, vec::Vec};
use carat_receipt::Digest;

/// Largest encoding that is decoded.
const MAX_PROGRAM_BYTES: usize = 16 << 20;
const DOMAIN: &str = "carat/program/v1";
const PROFILE: &str = "integer/v1";

impl Program {
    /// The canonical encoding: a deterministic CBOR array of the numerics profile and the program.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode((PROFILE, self), &mut out);
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
        if profile != PROFILE {
            return Err(ProgramError::Encoding(alloc::format!(
                "numerics profile `{}` is not `{PROFILE}`",
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
        Digest::of(DOMAIN, &[&self.encode()])
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
        if let Some(image) = &self.image {
            let channels: u128 = if image.mode == crate::ImageMode::Gray {
                1
            } else {
                3
            };
            // Three factors of up to 32 bits: 64 are not enough.
            let values = u128::from(image.width) * u128::from(image.height) * channels;
            if values != self.shape.elements() as u128 {
                return fail("its image mapping does not fill its shape");
            }
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
