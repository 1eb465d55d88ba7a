//! Vectors filled block by block: what many claims on one polynomial become.

use super::{GRAIN, P, Vector, WIDTH, eq_vector, filled};
use crate::{field::E, plan::Block};
use p3_field::{PackedFieldExtension, PrimeCharacteristicRing};
use rayon::prelude::*;

/// `scale * eq(point, .)` on one block.
pub(crate) struct Term {
    pub(crate) block: Block,
    pub(crate) point: Vec<E>,
    pub(crate) scale: E,
    /// The only slots of the block that count, where not all do.
    pub(crate) mask: Option<Vec<usize>>,
}

/// The sum of terms, as a vector of `2^vars` elements. Two terms have the same block, or blocks that do not meet.
pub(crate) fn sum_terms(vars: usize, mut terms: Vec<Term>) -> Vector {
    let size = 1usize << vars;
    if size < 2 * WIDTH {
        let mut out = E::zero_vec(size);
        for t in &terms {
            t.each(|i, e| out[t.block.offset + i] += e);
        }
        return Vector::Plain(out);
    }
    let mut out = filled(P::ZERO, size / WIDTH);
    terms.sort_by_key(|t| t.block.offset);
    // Blocks that fill registers have a stretch of their own; shorter ones are few elements.
    let (long, short): (Vec<&Term>, Vec<&Term>) =
        terms.iter().partition(|t| 1 << t.block.vars >= WIDTH);
    let (mut rest, mut at) = (&mut out[..], 0);
    let mut parts = Vec::new();
    for same in long.chunk_by(|a, b| a.block == b.block) {
        let range = same[0].block.range();
        let (from, to) = (range.start / WIDTH, range.end / WIDTH);
        let (own, after) = core::mem::take(&mut rest)[from - at..].split_at_mut(to - from);
        parts.push((same, own));
        (rest, at) = (after, to);
    }
    parts.into_par_iter().for_each(|(same, out)| {
        for t in same {
            t.add_to(out);
        }
    });
    for t in short {
        t.each(|i, e| {
            let at = t.block.offset + i;
            out[at / WIDTH].add_assign_lane(at % WIDTH, e);
        });
    }
    Vector::Packed(out)
}

impl Term {
    /// Position in the block, and element, one after the other.
    fn each(&self, mut put: impl FnMut(usize, E)) {
        let eq = eq_vector(&self.point, self.scale).unpack();
        match &self.mask {
            Some(slots) => slots.iter().for_each(|&i| put(i, eq[i])),
            None => eq.into_iter().enumerate().for_each(|(i, e)| put(i, e)),
        }
    }

    fn add_to(&self, out: &mut [P]) {
        match (eq_vector(&self.point, self.scale), &self.mask) {
            (Vector::Packed(eq), None) => out
                .par_chunks_mut(GRAIN)
                .zip(eq.par_chunks(GRAIN))
                .for_each(|(out, eq)| out.iter_mut().zip(eq).for_each(|(o, &e)| *o += e)),
            _ => self.each(|i, e| out[i / WIDTH].add_assign_lane(i % WIDTH, e)),
        }
    }
}
