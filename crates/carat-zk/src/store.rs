//! Where tensors lie in a committed polynomial.
//!
//! A tensor is cut into boxes whose sides are powers of two, by the binary digits of each axis length, so that nothing
//! but the last rounding to a power of two is padding. A claim about the tensor is then a sum of claims about its
//! boxes: along each axis, the leading coordinates select the box and the others lie within it.

use crate::{
    Error,
    field::E,
    layout::{bits, eq_below, eq_index, split, vars},
    plan::{Block, Packing},
};
use alloc::{collections::BTreeMap, vec, vec::Vec};
use p3_field::PrimeCharacteristicRing;

/// Most boxes of one tensor.
const MAX_BOXES: usize = 64;

/// A box is not made smaller than this many positions on average: each costs the verifier some multiplications.
const LEAST_BOX: usize = 1 << 8;

/// A stretch of an axis: positions `start .. start + len` in `2^vars` slots. `start` is a multiple of `2^vars`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) start: usize,
    pub(crate) vars: usize,
    pub(crate) len: usize,
}

/// A box of a tensor, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) tensor: usize,
    pub(crate) sides: Vec<Side>,
    pub(crate) block: Block,
}

impl Piece {
    /// Whether every slot holds an element.
    #[cfg(feature = "prover")]
    pub(crate) fn is_full(&self) -> bool {
        self.sides.iter().all(|s| s.len == 1 << s.vars)
    }

    /// Lengths of the sides.
    #[cfg(feature = "prover")]
    pub(crate) fn dims(&self) -> Vec<usize> {
        self.sides.iter().map(|s| s.len).collect()
    }

    /// A claim's point on the tensor, cut for the box: what selects it, and the coordinates within.
    pub(crate) fn restrict(&self, dims: &[usize], point: &[E]) -> (E, Vec<E>) {
        let (mut weight, mut own) = (E::ONE, Vec::new());
        for (part, side) in split(dims, point).into_iter().zip(&self.sides) {
            let (head, tail) = part.split_at(part.len() - side.vars);
            weight *= eq_index(head, side.start >> side.vars);
            own.extend_from_slice(tail);
        }
        (weight, own)
    }

    /// The kernel of a claim at a point of the whole polynomial.
    pub(crate) fn kernel(&self, dims: &[usize], claim: &[E], space: usize, at: &[E]) -> E {
        let (weight, own) = self.restrict(dims, claim);
        let (prefix, within) = at.split_at(space - self.block.vars);
        let mut value = weight * eq_index(prefix, Packing::prefix(self.block));
        let (mut own, mut within) = (&own[..], within);
        for side in &self.sides {
            let ((a, ra), (b, rb)) = (own.split_at(side.vars), within.split_at(side.vars));
            value *= eq_below(a, b, side.len);
            (own, within) = (ra, rb);
        }
        value
    }
}

/// The boxes of one polynomial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) vars: usize,
    /// The boxes of each tensor. There may be many tensors, with many claims on each.
    of_tensor: BTreeMap<usize, Vec<usize>>,
}

impl Store {
    /// All tensors in one polynomial.
    pub(crate) fn one(tensors: &[Vec<usize>]) -> Result<Self, Error> {
        let pieces = cut(tensors);
        Self::of(pieces)
    }

    /// All tensors in one polynomial, or in two where a little more than a power of two would double the first: what is
    /// over then lies in a small second one.
    pub(crate) fn split(tensors: &[Vec<usize>]) -> Result<Vec<Self>, Error> {
        let mut pieces = cut(tensors);
        // In 64 bits whatever a `usize` has, and at least one: there may be no tensors at all, or far too many.
        let total: u64 = pieces
            .iter()
            .map(|p| 1u64 << p.block.vars.min(40))
            .fold(0, u64::saturating_add)
            .max(1);
        let floor = total.ilog2();
        let over = total - (1 << floor);
        if floor >= usize::BITS - 1 {
            return Ok(vec![Self::of(pieces)?]);
        }
        if floor < 13 || over == 0 || over > 1 << (floor - 3) {
            return Ok(vec![Self::of(pieces)?]);
        }
        // Largest first, boxes fill the first polynomial to the last slot.
        pieces.sort_by_key(|p| core::cmp::Reverse(p.block.vars));
        let mut filled = 0usize;
        let (first, second) = pieces.into_iter().partition(|p| {
            filled += 1 << p.block.vars;
            filled <= 1 << floor
        });
        Ok(vec![Self::of(first)?, Self::of(second)?])
    }

    fn of(mut pieces: Vec<Piece>) -> Result<Self, Error> {
        let sizes: Vec<usize> = pieces.iter().map(|p| p.block.vars).collect();
        let packing = Packing::of(&sizes)?;
        let mut of_tensor: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, (piece, block)) in pieces.iter_mut().zip(packing.blocks).enumerate() {
            piece.block = block;
            of_tensor.entry(piece.tensor).or_default().push(i);
        }
        Ok(Self {
            pieces,
            vars: packing.vars,
            of_tensor,
        })
    }

    /// Slots up to the end of the last box.
    pub(crate) fn used(&self) -> usize {
        let ends = (self.pieces.iter()).map(|p| p.block.offset + (1 << p.block.vars));
        ends.max().unwrap_or(0)
    }

    /// The slots of the elements of a tensor of one axis.
    #[cfg(feature = "prover")]
    pub(crate) fn slots_of(&self, tensor: usize) -> impl Iterator<Item = usize> {
        (self.of_tensor(tensor)).flat_map(|piece| {
            let len: usize = piece.sides.iter().map(|s| s.len).product();
            (0..len).map(move |i| piece.block.offset + i)
        })
    }

    /// Slots of the largest box. Each box begins at a multiple of its own size.
    #[cfg(feature = "prover")]
    pub(crate) fn largest(&self) -> usize {
        let sizes = self.pieces.iter().map(|piece| 1 << piece.block.vars);
        sizes.max().unwrap_or(1)
    }

    /// The boxes of a tensor.
    pub(crate) fn of_tensor(&self, tensor: usize) -> impl Iterator<Item = &Piece> {
        let boxes = self.of_tensor.get(&tensor).into_iter().flatten();
        boxes.map(|&i| &self.pieces[i])
    }
}

fn cut(tensors: &[Vec<usize>]) -> Vec<Piece> {
    let mut out = Vec::new();
    for (tensor, dims) in tensors.iter().enumerate() {
        let mut axes: Vec<Vec<Side>> = dims.iter().map(|&d| digits(d)).collect();
        let padded = 1usize << vars(dims).min(usize::BITS as usize - 1);
        let most = (padded / LEAST_BOX).clamp(1, MAX_BOXES);
        while axes.iter().map(Vec::len).product::<usize>() > most {
            // The two shortest stretches of the axis with the most become one, padded.
            let Some(axis) = axes.iter_mut().max_by_key(|a| a.len()) else {
                break;
            };
            let (Some(last), Some(before)) = (axis.pop(), axis.pop()) else {
                break;
            };
            let len = before.len + last.len;
            axis.push(Side {
                start: before.start,
                vars: bits(len),
                len,
            });
        }
        let mut boxes = vec![Vec::new()];
        for axis in &axes {
            boxes = boxes
                .iter()
                .flat_map(|b: &Vec<Side>| {
                    axis.iter().map(move |&s| {
                        let mut b = b.clone();
                        b.push(s);
                        b
                    })
                })
                .collect();
        }
        out.extend(boxes.into_iter().map(|sides| Piece {
            tensor,
            block: Block {
                offset: 0,
                vars: sides.iter().map(|s| s.vars).sum(),
            },
            sides,
        }));
    }
    out
}

/// An axis by its binary digits, longest stretch first.
fn digits(n: usize) -> Vec<Side> {
    let (mut out, mut start) = (Vec::new(), 0);
    for v in (0..usize::BITS as usize).rev() {
        if n >> v & 1 == 1 {
            out.push(Side {
                start,
                vars: v,
                len: 1 << v,
            });
            start += 1 << v;
        }
    }
    out
}
