//! Vectors filled block by block: what many claims on one polynomial become.

use super::{GRAIN, P, Vector, WIDTH, eq_vector, filled};
use crate::{field::E, layout::eq_table, plan::Block};
use p3_field::{PackedFieldExtension, PrimeCharacteristicRing};
use rayon::prelude::*;

/// Packed elements of a row of a term's kernel: it stays in the first-level cache.
const ROW: usize = 1 << 6;

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
    // The first are as large as all others together: each is a task of its own.
    let parts = parts.into_par_iter().with_max_len(1);
    parts.for_each(|(same, out)| {
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
        if self.mask.is_some() {
            return self.each(|i, e| out[i / WIDTH].add_assign_lane(i % WIDTH, e));
        }
        // Rows that are multiples of one: the kernel itself is never held.
        let row = out.len().min(ROW);
        let (head, tail) = self
            .point
            .split_at(self.block.vars - (row * WIDTH).ilog2() as usize);
        let rows: Vec<E> = eq_table(head).iter().map(|&e| e * self.scale).collect();
        let column = eq_vector(tail, E::ONE);
        let Vector::Packed(column) = &column else {
            // A single register.
            return column.unpack().iter().enumerate().for_each(|(i, &e)| {
                out[0].add_assign_lane(i, e * rows[0]);
            });
        };
        out.par_chunks_mut(row)
            .zip(&rows)
            .with_min_len(GRAIN / row)
            .for_each(|(out, &scale)| {
                out.iter_mut().zip(column).for_each(|(o, &c)| *o += c * scale);
            });
    }
}
