//! The model file: a program, the data of its constants, and what its publisher says about it.

use crate::{ConstantWidth, Program, ProgramError, Weights};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use thiserror::Error;

/// Largest model file that is read (4 GiB).
pub const MAX_MODEL_BYTES: u64 = 4 << 30;
const MAGIC: &[u8] = b"carat-model/v1\n";

/// A compiled model as it is stored and published.
///
/// Layout: the magic line, then four sections, each a little-endian `u64` length and as many bytes: the program in its
/// canonical encoding, the constants one after the other (narrowest width that each range needs), the salt (empty or
/// 32 bytes), and the card, a JSON text that the digest does not cover.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The program.
    pub program: Program,
    /// Its constants.
    pub weights: Weights,
    /// The model card: JSON text. Descriptive only; nothing in it decides anything.
    pub card: String,
}

/// A model file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelFileError {
    /// Not a model file at all.
    #[error("this is not a compiled Carat model; make one with `carat model compile`")]
    Magic,
    /// The file ends early, or goes on too long.
    #[error("the model file is damaged: {0}")]
    Damaged(&'static str),
    /// The program in it is refused, or its weights are not its own.
    #[error("the model file is refused: {0}")]
    Program(#[from] ProgramError),
}

impl ModelFile {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::from(MAGIC);
        let mut section = |bytes: &[u8]| {
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        };
        section(&self.program.encode());
        let mut constants = Vec::new();
        for (c, data) in self.program.constants.iter().zip(&self.weights.data) {
            constants.extend(ConstantWidth::of(c.range).encode(data));
        }
        section(&constants);
        section(self.weights.salt.as_ref().map_or(&[], |s| s.as_slice()));
        section(self.card.as_bytes());
        out
    }

    /// Reads a file and checks everything: canonical program, static rules, weights against their roots.
    ///
    /// # Errors
    /// [`ModelFileError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ModelFileError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(ModelFileError::Magic)?;
        let mut section = || -> Result<&[u8], ModelFileError> {
            let (head, tail) = rest
                .split_first_chunk::<8>()
                .ok_or(ModelFileError::Damaged("it ends early"))?;
            let length = usize::try_from(u64::from_le_bytes(*head))
                .ok()
                .filter(|&n| n <= tail.len());
            let (body, tail) =
                tail.split_at(length.ok_or(ModelFileError::Damaged("it ends early"))?);
            rest = tail;
            Ok(body)
        };
        let program = Program::decode(section()?)?;
        let mut constants = section()?;
        let salt = match section()? {
            [] => None,
            s => Some(
                <[u8; 32]>::try_from(s)
                    .map_err(|_| ModelFileError::Damaged("its salt is not 32 bytes"))?,
            ),
        };
        let card = core::str::from_utf8(section()?)
            .map_err(|_| ModelFileError::Damaged("its card is not UTF-8"))?;
        let card = card.to_string();
        if !rest.is_empty() {
            return Err(ModelFileError::Damaged("bytes follow its end"));
        }
        let mut data = Vec::with_capacity(program.constants.len());
        for c in &program.constants {
            let width = ConstantWidth::of(c.range);
            let length = c.shape.elements() * width.bytes();
            if constants.len() < length {
                return Err(ModelFileError::Damaged(
                    "it holds fewer weights than its program names",
                ));
            }
            let (head, tail) = constants.split_at(length);
            constants = tail;
            data.extend(width.decode(head));
        }
        if !constants.is_empty() {
            return Err(ModelFileError::Damaged(
                "it holds more weights than its program names",
            ));
        }
        let weights = Weights { data, salt };
        weights.check(&program)?;
        Ok(Self {
            program,
            weights,
            card,
        })
    }
}
