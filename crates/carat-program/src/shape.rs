//! Tensor shapes with the limits that every parser and executor can rely on.

use alloc::vec::Vec;
use core::fmt;
use minicbor::{Decode, Encode};
use thiserror::Error;

/// Largest number of axes of a tensor.
pub const MAX_RANK: usize = 8;
/// Largest number of elements of one tensor (2^28: one GiB of 32-bit integers).
pub const MAX_ELEMENTS: usize = 1 << 28;

/// A shape that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// More axes than [`MAX_RANK`].
    #[error("the shape has rank {0}; at most {MAX_RANK} axes are supported")]
    Rank(usize),
    /// An axis of length zero: nothing can be computed, and every reduction over it is undefined.
    #[error("axis {0} has length zero; empty tensors are not supported")]
    Empty(usize),
    /// More elements than [`MAX_ELEMENTS`].
    #[error("the shape has more than {MAX_ELEMENTS} elements")]
    Elements,
}

/// The lengths of a tensor's axes: at most [`MAX_RANK`] of them, none zero, at most [`MAX_ELEMENTS`] elements in all.
#[derive(Clone, PartialEq, Eq, Hash, Default, Encode)]
#[cbor(transparent)]
pub struct Shape(#[n(0)] Vec<u32>);

impl<'b, C> Decode<'b, C> for Shape {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let dims = Vec::<u32>::decode(d, ctx)?;
        Shape::new(&dims.iter().map(|&n| n as usize).collect::<Vec<_>>())
            .map_err(minicbor::decode::Error::custom)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Shape {
    /// Checks the limits and makes a shape. The empty slice is the shape of a scalar.
    ///
    /// # Errors
    /// [`ShapeError`] when a limit is exceeded or an axis is empty.
    pub fn new(dims: &[usize]) -> Result<Self, ShapeError> {
        if dims.len() > MAX_RANK {
            return Err(ShapeError::Rank(dims.len()));
        }
        let mut elements = 1usize;
        for (axis, &n) in dims.iter().enumerate() {
            if n == 0 {
                return Err(ShapeError::Empty(axis));
            }
            elements = elements
                .checked_mul(n)
                .filter(|&e| e <= MAX_ELEMENTS)
                .ok_or(ShapeError::Elements)?;
        }
        Ok(Self(dims.iter().map(|&n| n as u32).collect()))
    }

    /// The shape of a scalar.
    #[must_use]
    pub fn scalar() -> Self {
        Self(Vec::new())
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.0.iter().map(|&n| n as usize).product()
    }

    /// Length of one axis. Panics if there is no such axis.
    #[must_use]
    pub fn dim(&self, axis: usize) -> usize {
        self.0[axis] as usize
    }

    /// The axis lengths.
    #[must_use]
    pub fn dims(&self) -> Vec<usize> {
        self.0.iter().map(|&n| n as usize).collect()
    }

    /// Row-major strides, in elements.
    #[must_use]
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = alloc::vec![1usize; self.rank()];
        for axis in (0..self.rank().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * self.dim(axis + 1);
        }
        strides
    }

    /// The shape that two operands broadcast to under NumPy's rule, if there is one.
    #[must_use]
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let mut dims = alloc::vec![1usize; rank];
        for (i, out) in dims.iter_mut().enumerate() {
            let of = |s: &Shape| {
                (i + s.rank())
                    .checked_sub(rank)
                    .map_or(1, |axis| s.dim(axis))
            };
            let (a, b) = (of(self), of(other));
            *out = match (a, b) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Shape::new(&dims).ok()
    }

    /// Strides that walk this shape as if it were broadcast to `target`: zero along repeated axes.
    #[must_use]
    pub fn broadcast_strides(&self, target: &Shape) -> Vec<usize> {
        let own = self.strides();
        (0..target.rank())
            .map(|i| match (i + self.rank()).checked_sub(target.rank()) {
                Some(axis) if self.dim(axis) != 1 => own[axis],
                _ => 0,
            })
            .collect()
    }
}
