//! The data of a program's constants, and the hash trees that bind it.

use crate::{Elements, Ints, Op, Program, ProgramError, Range, ValueId};
use alloc::{format, string::ToString, vec::Vec};
use carat_receipt::Digest;
use sha2::{Digest as _, Sha256};

const CHUNK: usize = 4096;

/// Bytes per element in the encoding of a constant: the narrowest of 1, 2 and 4 that its range needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConstantWidth(u8);

impl ConstantWidth {
    /// The width for a range.
    #[must_use]
    pub fn of(range: Range) -> Self {
        let fits = |lo: i64, hi: i64| lo <= range.lo && range.hi <= hi;
        Self(if fits(i8::MIN.into(), i8::MAX.into()) {
            1
        } else if fits(i16::MIN.into(), i16::MAX.into()) {
            2
        } else {
            4
        })
    }

    /// Bytes per element.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0.into()
    }

    /// Little-endian two's complement.
    #[must_use]
    pub fn encode<'a>(self, data: impl Into<Ints<'a>>) -> Vec<u8> {
        let data = data.into();
        let mut out = Vec::with_capacity(data.len() * self.bytes());
        for v in data.iter() {
            out.extend_from_slice(&v.to_le_bytes()[..self.bytes()]);
        }
        out
    }

    /// The inverse of [`ConstantWidth::encode`]; `None` if the length is no multiple of the width.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<Elements> {
        if !bytes.len().is_multiple_of(self.bytes()) {
            return None;
        }
        let wide: Vec<i32> = match self.0 {
            1 => {
                let bytes: Vec<i8> = bytes.iter().map(|b| b.cast_signed()).collect();
                return Some(bytes.into());
            }
            2 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&c| i32::from(i16::from_le_bytes(c)))
                .collect(),
            _ => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&c| i32::from_le_bytes(c))
                .collect(),
        };
        Some(wide.into())
    }
}

/// Root of a constant's hash tree: RFC 9162 section 2.1.1 over 4096-byte chunks of its encoding, each leaf prefixed by
/// the salt where there is one (private models).
#[must_use]
pub fn constant_root(bytes: &[u8], salt: Option<&[u8; 32]>) -> Digest {
    let leaf = |chunk: &[u8]| -> [u8; 32] {
        let mut h = Sha256::new();
        h.update([0u8]);
        if let Some(salt) = salt {
            h.update(salt);
        }
        h.update(chunk);
        h.finalize().into()
    };
    fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let half = many.len().next_power_of_two() / 2;
                let mut h = Sha256::new();
                h.update([1u8]);
                h.update(root(&many[..half]));
                h.update(root(&many[half..]));
                h.finalize().into()
            }
        }
    }
    Digest::from_bytes(root(&bytes.chunks(CHUNK).map(leaf).collect::<Vec<_>>()))
}

/// The data of all constants of a program, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Weights {
    /// The elements of each constant, shared by whoever computes with them.
    pub data: Vec<Elements>,
    /// Salt of the hash trees of a private model.
    pub salt: Option<[u8; 32]>,
}

impl Weights {
    /// Checks that this is the data that a program names: lengths, ranges, hash-tree roots, and the weight sums that
    /// its overflow bounds rest on.
    ///
    /// # Errors
    /// [`ProgramError::Constant`] or [`ProgramError::WrongRecord`] naming what does not match.
    pub fn check(&self, program: &Program) -> Result<(), ProgramError> {
        let wrong = |index, reason: &str| {
            Err(ProgramError::Constant {
                index,
                reason: reason.to_string(),
            })
        };
        if self.data.len() != program.constants.len() {
            return wrong(
                self.data.len(),
                &format!("the program has {} constants", program.constants.len()),
            );
        }
        for (i, (c, data)) in program.constants.iter().zip(&self.data).enumerate() {
            if data.len() != c.shape.elements() {
                return wrong(i, "its data has another length than its shape");
            }
            if data.range() != Some(c.range) {
                return wrong(i, "its values do not span the recorded range");
            }
            if constant_root(&ConstantWidth::of(c.range).encode(data), self.salt.as_ref()) != c.root
            {
                return wrong(i, "its data does not hash to the recorded root");
            }
        }
        for (i, node) in program.nodes.iter().enumerate() {
            let (Op::Contract { l1, .. } | Op::Conv { l1, .. }) = &node.op else {
                continue;
            };
            let Some(l1) = l1 else { continue };
            if self.l1(program, &node.op, &node.inputs) != Some(*l1) {
                return Err(ProgramError::WrongRecord {
                    node: i,
                    op: node.op.name(),
                    what: "a weight sum",
                });
            }
        }
        Ok(())
    }

    /// Largest sum of absolute weights that meets in one output element of a contraction or convolution with exactly
    /// one constant operand; `None` for anything else.
    #[must_use]
    pub fn l1(&self, program: &Program, op: &Op, inputs: &[ValueId]) -> Option<u64> {
        let &[a, b] = inputs else { return None };
        let (side, index) = match (program.constant_index(a), program.constant_index(b)) {
            (Some(i), None) => (0, i),
            (None, Some(i)) => (1, i),
            _ => return None,
        };
        let shape = &program.constants.get(index)?.shape;
        weight_sum(op, side, &shape.dims(), self.data.get(index)?)
    }
}

/// The weight sum of a constant operand (`side` 0 or 1) with the given axis lengths.
#[must_use]
pub fn weight_sum<'a>(
    op: &Op,
    side: usize,
    dims: &[usize],
    data: impl Into<Ints<'a>>,
) -> Option<u64> {
    // Which axes of the constant select an output row; all others are summed over.
    let kept: Vec<bool> = match op {
        Op::Conv { .. } if side == 1 => (0..dims.len()).map(|axis| axis == 0).collect(),
        Op::Contract { spec, .. } => {
            let labels = if side == 0 { &spec.a } else { &spec.b };
            labels.iter().map(|l| spec.out.contains(l)).collect()
        }
        _ => return None,
    };
    let rows: usize = dims
        .iter()
        .zip(&kept)
        .filter(|(_, k)| **k)
        .map(|(n, _)| n)
        .product();
    let mut sums = alloc::vec![0u64; rows];
    let mut index = alloc::vec![0usize; dims.len()];
    for v in data.into().iter() {
        let row = index
            .iter()
            .zip(dims)
            .zip(&kept)
            .filter(|(_, k)| **k)
            .fold(0, |r, ((i, n), _)| r * n + i);
        sums[row] += u64::from(v.unsigned_abs());
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    sums.into_iter().max()
}
