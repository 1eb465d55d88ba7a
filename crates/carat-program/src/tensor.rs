//! Integer tensors and the one byte encoding that commitments are made over.

use crate::{HALF, Shape, ShapeError};
use alloc::vec::Vec;
use thiserror::Error;

/// A dense tensor of signed integers in row-major order, each within ±[`HALF`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    shape: Shape,
    data: Vec<i32>,
}

/// A tensor that cannot be built or decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The shape breaks a limit.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The number of values is not the number of elements of the shape.
    #[error("{found} values for a shape of {expected} elements")]
    Length {
        /// Elements of the shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A value outside ±[`HALF`].
    #[error("value {0} is outside the exact range of ±{HALF}")]
    Range(i64),
    /// Bytes that are not the canonical encoding.
    #[error("not a canonical tensor encoding: {0}")]
    Encoding(&'static str),
}

impl Tensor {
    /// Makes a tensor after checking length and range.
    ///
    /// # Errors
    /// [`TensorError::Length`] or [`TensorError::Range`].
    pub fn new(shape: Shape, data: Vec<i32>) -> Result<Self, TensorError> {
        if data.len() != shape.elements() {
            return Err(TensorError::Length {
                expected: shape.elements(),
                found: data.len(),
            });
        }
        if let Some(&v) = data.iter().find(|&&v| i64::from(v).abs() > HALF) {
            return Err(TensorError::Range(v.into()));
        }
        Ok(Self { shape, data })
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The values, row-major.
    #[must_use]
    pub fn data(&self) -> &[i32] {
        &self.data
    }

    /// Takes the values out.
    #[must_use]
    pub fn into_data(self) -> Vec<i32> {
        self.data
    }
}

const MAGIC: &[u8; 8] = b"caratT1\0";

/// Canonical bytes of a list of tensors: what input and output commitments are computed over.
///
/// Layout, all integers little-endian: 8-byte magic, `u32` count, then for each tensor `u32` rank, `u32` per axis and
/// `i32` per element. Fixed-width on purpose: an independent reader needs ten lines.
#[must_use]
pub fn encode_tensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Vec::from(MAGIC.as_slice());
    out.extend((tensors.len() as u32).to_le_bytes());
    for t in tensors {
        out.extend((t.shape.rank() as u32).to_le_bytes());
        for n in t.shape.dims() {
            out.extend((n as u32).to_le_bytes());
        }
        for v in &t.data {
            out.extend(v.to_le_bytes());
        }
    }
    out
}

/// Decodes what [`encode_tensors`] wrote; refuses everything else, trailing bytes included.
///
/// # Errors
/// [`TensorError`] naming what is wrong. Never allocates more than the input's own length.
pub fn decode_tensors(bytes: &[u8]) -> Result<Vec<Tensor>, TensorError> {
    fn word(bytes: &mut &[u8]) -> Result<u32, TensorError> {
        let (head, tail) = bytes
            .split_first_chunk::<4>()
            .ok_or(TensorError::Encoding("truncated"))?;
        *bytes = tail;
        Ok(u32::from_le_bytes(*head))
    }
    let mut rest = bytes
        .strip_prefix(MAGIC.as_slice())
        .ok_or(TensorError::Encoding("wrong magic"))?;
    let count = word(&mut rest)?;
    let mut tensors = Vec::new();
    for _ in 0..count {
        let rank = word(&mut rest)? as usize;
        if rank > crate::MAX_RANK {
            return Err(ShapeError::Rank(rank).into());
        }
        let mut dims = Vec::with_capacity(rank);
        for _ in 0..rank {
            dims.push(word(&mut rest)? as usize);
        }
        let shape = Shape::new(&dims)?;
        let length = shape.elements() * 4;
        if rest.len() < length {
            return Err(TensorError::Encoding("truncated"));
        }
        let (body, tail) = rest.split_at(length);
        rest = tail;
        let data = body
            .as_chunks::<4>()
            .0
            .iter()
            .map(|c| i32::from_le_bytes(*c))
            .collect();
        tensors.push(Tensor::new(shape, data)?);
    }
    if rest.is_empty() {
        Ok(tensors)
    } else {
        Err(TensorError::Encoding("trailing bytes"))
    }
}
