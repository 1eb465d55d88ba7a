//! A float model as it is stored: its Program, the ONNX file that the Program names, and what its publisher says.

use std::collections::BTreeMap;

use carat_nn::model::Metadata;
use carat_program::pinned::{Bound, PinnedProgram};
use carat_program::{ImageMap, MAX_MODEL_BYTES, ProgramError};
use carat_receipt::Digest;
use serde_json::json;
use thiserror::Error;

use crate::protocol::OpenShape;
use crate::{Worker, WorkerError};

const MAGIC: &[u8] = b"carat-model-float/v1\n";

/// A float model.
///
/// Layout of its file: the magic line, then three sections, each a little-endian `u64` length and as many bytes: the Program
/// in its canonical encoding, the ONNX file, and the card, a JSON text that the digest does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatModel {
    /// The Program.
    pub program: PinnedProgram,
    /// Its digest.
    pub digest: Digest,
    /// The ONNX file.
    pub onnx: Vec<u8>,
    /// The model card: JSON text. Descriptive only; nothing in it decides anything.
    pub card: String,
}

/// A file that is no float model, or one that cannot be made.
#[derive(Debug, Error)]
pub enum FloatModelError {
    /// Not a float model at all.
    #[error(
        "this is not a compiled float model; make one with `carat model compile --profile tract`"
    )]
    Magic,
    /// The file ends early, or goes on too long.
    #[error("the model file is damaged: {0}")]
    Damaged(&'static str),
    /// The Program in it is refused.
    #[error("the model file is refused: {0}")]
    Program(#[from] ProgramError),
    /// The ONNX file in it is not the one that the Program names.
    #[error("the model file is refused: its ONNX file is not the one that its Program names")]
    Source,
    /// The metadata do not fit the model.
    #[error("the model metadata: {0}")]
    Metadata(String),
    /// The engine does not run it.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// Whether bytes begin as a float model's file.
#[must_use]
pub fn is_float_model(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// What a float model is made from.
#[derive(Debug, Clone, Default)]
pub struct Source<'a> {
    /// The ONNX file.
    pub onnx: &'a [u8],
    /// The publisher's words.
    pub metadata: Metadata,
    /// Shapes of inputs that the model leaves open.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Inputs that get a fixed value.
    pub bound: Vec<Bound>,
}

impl FloatModel {
    /// Makes a model: the engine says which inputs and outputs it has, the metadata what they mean. Pure: the same ONNX file,
    /// shapes and metadata give the same digest under the same profile.
    ///
    /// # Errors
    /// [`FloatModelError::Worker`] where the engine refuses it, [`FloatModelError::Metadata`].
    pub fn compile(source: &Source<'_>, worker: &mut Worker) -> Result<Self, FloatModelError> {
        let mut shapes = Vec::new();
        for (name, dims) in &source.shapes {
            let dims: Result<Vec<u32>, _> = dims.iter().map(|&n| u32::try_from(n)).collect();
            let dims =
                dims.map_err(|_| FloatModelError::Metadata(format!("the shape of {name}")))?;
            let name = name.clone();
            shapes.push(OpenShape { name, dims });
        }
        let mut program = worker.examine(source.onnx, &shapes, &source.bound)?;
        apply(&mut program, &source.metadata)?;
        program.validate()?;
        let card = json!({
            "metadata": source.metadata,
            "source_sha256": program.body.source,
            "profile": program.profile,
        });
        Ok(Self {
            digest: program.digest(),
            program,
            onnx: source.onnx.to_vec(),
            card: card.to_string(),
        })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::from(MAGIC);
        for section in [&self.program.encode(), &self.onnx, self.card.as_bytes()] {
            out.extend((section.len() as u64).to_le_bytes());
            out.extend(section);
        }
        out
    }

    /// Reads a file and checks what can be checked without the engine: a canonical Program, and that the ONNX file is its own.
    ///
    /// # Errors
    /// [`FloatModelError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FloatModelError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(FloatModelError::Magic)?;
        if bytes.len() as u64 > MAX_MODEL_BYTES {
            return Err(FloatModelError::Damaged("it is too large"));
        }
        let mut section = || -> Result<&[u8], FloatModelError> {
            let early = FloatModelError::Damaged("it ends early");
            let Some((head, tail)) = rest.split_first_chunk::<8>() else {
                return Err(early);
            };
            let length = usize::try_from(u64::from_le_bytes(*head)).ok();
            let Some((body, tail)) = length.and_then(|n| tail.split_at_checked(n)) else {
                return Err(early);
            };
            rest = tail;
            Ok(body)
        };
        let program = PinnedProgram::decode(section()?)?;
        let onnx = section()?.to_vec();
        let card = std::str::from_utf8(section()?)
            .map_err(|_| FloatModelError::Damaged("its card is not UTF-8"))?
            .to_string();
        if !rest.is_empty() {
            return Err(FloatModelError::Damaged("bytes follow its end"));
        }
        if Digest::sha256(&onnx) != program.body.source {
            return Err(FloatModelError::Source);
        }
        Ok(Self {
            digest: program.digest(),
            program,
            onnx,
            card,
        })
    }
}

/// Labels and image mappings become part of the Program, and so of its digest.
fn apply(program: &mut PinnedProgram, metadata: &Metadata) -> Result<(), FloatModelError> {
    let fail = |text: String| Err(FloatModelError::Metadata(text));
    if let (false, Some(output)) = (metadata.labels.is_empty(), program.body.outputs.first_mut()) {
        output.labels = metadata.labels.clone();
    }
    for (name, about) in &metadata.input {
        let Some(input) = program.body.inputs.iter_mut().find(|i| i.name == *name) else {
            return fail(format!("the model has no input `{name}`"));
        };
        let image: Option<ImageMap> = about
            .image_map(name)
            .map_err(|error| FloatModelError::Metadata(error.to_string()))?;
        input.image = image;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat_program::Dtype;
    use carat_program::pinned::{PinnedBody, PinnedOutput};

    fn model() -> FloatModel {
        let onnx = b"not really".to_vec();
        let program = PinnedProgram {
            profile: crate::profile::X86_64_V3.name.into(),
            body: PinnedBody {
                source: Digest::sha256(&onnx),
                inputs: vec![],
                bound: vec![],
                outputs: vec![PinnedOutput {
                    name: "y".into(),
                    dtype: Dtype::F32,
                    dims: None,
                    labels: vec![],
                }],
            },
        };
        FloatModel {
            digest: program.digest(),
            program,
            onnx,
            card: "{}".into(),
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_refused() {
        let model = model();
        let bytes = model.encode();
        assert_eq!(FloatModel::decode(&bytes).expect("its own"), model);
        assert!(is_float_model(&bytes));
        for cut in 0..bytes.len() {
            assert!(FloatModel::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // Another ONNX file than the Program names.
        let mut other = model.clone();
        other.onnx[0] ^= 1;
        assert!(matches!(
            FloatModel::decode(&other.encode()),
            Err(FloatModelError::Source)
        ));
        let mut longer = bytes;
        longer.push(0);
        assert!(FloatModel::decode(&longer).is_err());
    }
}
