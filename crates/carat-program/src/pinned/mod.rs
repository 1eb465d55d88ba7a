//! Pinned float programs: an ONNX model under one named engine, version and instruction set.
//!
//! Where an exact integer program would cost fidelity, a model runs as it is, in floating point, by an engine whose every
//! choice is pinned by the profile `tract/<version>/<isa>`. That two honest machines give the same bits is then a tested
//! property of that engine (docs/pinned-float.md), not a theorem about the program, and no proof of it exists.

mod tensor;

pub use tensor::{Bits, BitsError, bytes_of, decode_bits, encode_bits, width};

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use carat_receipt::Digest;
use minicbor::{Decode, Encode};

use crate::codec::{MAX_PROGRAM_BYTES, program_digest};
use crate::program::{MAX_EDGES, MAX_LABELS, MAX_NAME};
use crate::{Dtype, ImageMap, MAX_RANK, ProgramError};

/// What every profile of this kind begins with.
const ENGINE: &str = "tract/";
/// Longest profile.
const MAX_PROFILE: usize = 64;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct PinnedInput {
    /// Name in the ONNX model.
    #[n(0)]
    pub name: String,
    /// Element type.
    #[n(1)]
    pub dtype: Dtype,
    /// Axis lengths.
    #[n(2)]
    pub dims: Vec<u32>,
    /// How an image becomes values, where it can.
    #[n(3)]
    pub image: Option<ImageMap>,
}

/// An input of the ONNX model that is no input of the program: it has this value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Bound {
    /// Name in the ONNX model.
    #[n(0)]
    pub name: String,
    /// The value: [`encode_bits`] of one tensor.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct PinnedOutput {
    /// Name in the ONNX model.
    #[n(0)]
    pub name: String,
    /// Element type.
    #[n(1)]
    pub dtype: Dtype,
    /// Axis lengths; `None` where they depend on the values of the input.
    #[n(2)]
    pub dims: Option<Vec<u32>>,
    /// Names of the classes along the last axis; empty where the output is not a classification.
    #[n(3)]
    pub labels: Vec<String>,
}

/// A float program: which ONNX model, under which profile, with which inputs and outputs. The model's bytes travel
/// separately, as weights do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PinnedProgram {
    /// The profile, `tract/<version>/<isa>`.
    pub profile: String,
    /// What it runs, and on what.
    pub body: PinnedBody,
}

/// A [`PinnedProgram`] without its profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct PinnedBody {
    /// SHA-256 of the ONNX file.
    #[n(0)]
    pub source: Digest,
    /// Inputs, in the order in which tensors are given.
    #[n(1)]
    pub inputs: Vec<PinnedInput>,
    /// Inputs of the ONNX model with a fixed value.
    #[n(2)]
    pub bound: Vec<Bound>,
    /// Outputs.
    #[n(3)]
    pub outputs: Vec<PinnedOutput>,
}

/// Whether a text names a profile of this kind: `tract/<version>/<isa>`, of plain characters.
#[must_use]
pub fn is_pinned_profile(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
    };
    text.len() <= MAX_PROFILE
        && text
            .strip_prefix(ENGINE)
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(version, isa)| plain(version) && plain(isa))
}

impl PinnedProgram {
    /// The canonical encoding: a deterministic CBOR array of the profile and the body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode((&self.profile, &self.body), &mut out);
        out
    }

    /// Decodes and validates. Bytes that are not exactly what [`PinnedProgram::encode`] writes are refused.
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
        let (profile, body): (String, PinnedBody) =
            minicbor::decode(bytes).map_err(|e| ProgramError::Encoding(e.to_string()))?;
        let program = Self { profile, body };
        program.validate()?;
        if program.encode() != bytes {
            return Err(ProgramError::Encoding(
                "the bytes differ from their re-encoding".to_string(),
            ));
        }
        Ok(program)
    }

    /// Names the whole computation: engine, instruction set, model, edges.
    #[must_use]
    pub fn digest(&self) -> Digest {
        program_digest(&self.encode())
    }

    /// Checks names, counts, shapes and bound values.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn validate(&self) -> Result<(), ProgramError> {
        if !is_pinned_profile(&self.profile) {
            return Err(ProgramError::Encoding(format!(
                "numerics profile `{}` is not `tract/<version>/<isa>`",
                self.profile
                    .escape_default()
                    .take(MAX_PROFILE)
                    .collect::<String>()
            )));
        }
        let PinnedBody {
            inputs,
            bound,
            outputs,
            ..
        } = &self.body;
        for (what, found) in [
            ("inputs", inputs.len()),
            ("bound inputs", bound.len()),
            ("outputs", outputs.len()),
        ] {
            if found > MAX_EDGES {
                return Err(ProgramError::TooMany {
                    what,
                    found,
                    limit: MAX_EDGES,
                });
            }
        }
        if outputs.is_empty() {
            return Err(ProgramError::Encoding("it has no output".to_string()));
        }
        let mut names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        names.extend(bound.iter().map(|bound| bound.name.as_str()));
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(spec(twice[0], "two inputs have this name"));
        }
        for input in inputs {
            check_edge(&input.name, input.dtype, &input.dims)?;
            if let Some(image) = &input.image {
                let values = image.values();
                let elements: u128 = input.dims.iter().map(|&n| u128::from(n)).product();
                if !input.dtype.is_float() || values != elements {
                    return Err(spec(
                        &input.name,
                        "its image mapping does not fill a float tensor of its shape",
                    ));
                }
            }
        }
        for Bound { name, value } in bound {
            check_name(name)?;
            match decode_bits(value) {
                Ok(tensors) if tensors.len() == 1 => {}
                Ok(_) => return Err(spec(name, "its value is not one tensor")),
                Err(error) => return Err(spec(name, &error.to_string())),
            }
        }
        for output in outputs {
            check_edge(
                &output.name,
                output.dtype,
                output.dims.as_deref().unwrap_or_default(),
            )?;
            let classes = output.dims.as_ref().and_then(|dims| dims.last().copied());
            let named = output.labels.len();
            if named > MAX_LABELS || output.labels.iter().any(|label| label.len() > MAX_NAME) {
                return Err(spec(&output.name, "its labels are too many or too long"));
            }
            if named > 0 && classes.map(|n| n as usize) != Some(named) {
                return Err(spec(
                    &output.name,
                    "its labels are not as many as its classes",
                ));
            }
        }
        Ok(())
    }
}

fn spec(name: &str, reason: &str) -> ProgramError {
    ProgramError::Spec {
        name: name.to_string(),
        reason: reason.to_string(),
    }
}

fn check_name(name: &str) -> Result<(), ProgramError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(spec(name, "its name is empty or too long"));
    }
    Ok(())
}

fn check_edge(name: &str, dtype: Dtype, dims: &[u32]) -> Result<(), ProgramError> {
    check_name(name)?;
    if dims.len() > MAX_RANK {
        return Err(spec(name, &BitsError::Rank(dims.len()).to_string()));
    }
    let dims: Vec<usize> = dims.iter().map(|&n| n as usize).collect();
    bytes_of(dtype, &dims)
        .map(|_| ())
        .map_err(|error| spec(name, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn program() -> PinnedProgram {
        PinnedProgram {
            profile: "tract/0.23.9/x86-64-v3".into(),
            body: PinnedBody {
                source: Digest::sha256(b"a model"),
                inputs: vec![PinnedInput {
                    name: "x".into(),
                    dtype: Dtype::F32,
                    dims: vec![1, 4],
                    image: None,
                }],
                bound: vec![Bound {
                    name: "axes".into(),
                    value: encode_bits(&[Bits::new(Dtype::I64, &[1], vec![0; 8]).expect("fits")]),
                }],
                outputs: vec![PinnedOutput {
                    name: "y".into(),
                    dtype: Dtype::F32,
                    dims: Some(vec![1, 2]),
                    labels: vec!["no".into(), "yes".into()],
                }],
            },
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_profile_is_part_of_the_digest() {
        let program = program();
        assert_eq!(
            PinnedProgram::decode(&program.encode()),
            Ok(program.clone())
        );
        let mut other = program.clone();
        other.profile = "tract/0.23.9/x86-64-v4".into();
        assert_ne!(other.digest(), program.digest());
        // Neither kind is read as the other.
        assert!(crate::Program::decode(&program.encode()).is_err());
        let integer = crate::Program {
            inputs: vec![],
            constants: vec![],
            nodes: vec![],
            outputs: vec![],
        };
        assert!(PinnedProgram::decode(&integer.encode()).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        type Change = fn(&mut PinnedProgram);
        let changes: [(&str, Change); 9] = [
            ("profile", |p| p.profile = "tract/0.23.9".into()),
            ("profile", |p| p.profile = "integer/v1".into()),
            ("no output", |p| p.body.outputs.clear()),
            ("two inputs", |p| p.body.bound[0].name = "x".into()),
            ("axes;", |p| p.body.inputs[0].dims = vec![1; 9]),
            ("elements", |p| p.body.inputs[0].dims = vec![1 << 20; 2]),
            ("canonical", |p| p.body.bound[0].value.truncate(20)),
            ("classes", |p| {
                p.body.outputs[0].labels.truncate(1);
            }),
            ("name", |p| p.body.outputs[0].name.clear()),
        ];
        for (words, change) in changes {
            let mut changed = program();
            change(&mut changed);
            let error = PinnedProgram::decode(&changed.encode()).expect_err(words);
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
        let mut bytes = program().encode();
        bytes.push(0);
        assert!(PinnedProgram::decode(&bytes).is_err());
    }

    #[test]
    fn profiles_have_one_form() {
        for good in ["tract/0.23.9/x86-64-v3", "tract/1/generic"] {
            assert!(is_pinned_profile(good), "{good}");
        }
        for bad in [
            "",
            "tract",
            "tract/",
            "tract//x",
            "tract/1/",
            "tract/1/a/b",
            "ort/1/a",
            "tract/1/A",
        ] {
            assert!(!is_pinned_profile(bad), "{bad}");
        }
    }
}
