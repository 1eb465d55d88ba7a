//! Vectors filled block by block: what many claims on one polynomial become.

use super::{GRAIN, P, Vector, WIDTH, eq_vector, filled, stripes::both};
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
    if size < 4 * WIDTH {
        let mut out = E::zero_vec(size);
        for t in &terms {
            t.each(|i, e| out[t.block.offset + i] += e);
        }
        return Vector::new(out);
    }
    let mut out = both(|_| filled(P::ZERO, size / WIDTH / 2));
    terms.sort_by_key(|t| t.block.offset);
    // Blocks that fill registers of both stripes have stretches of their own; shorter ones are few elements.
    let (long, short): (Vec<&Term>, Vec<&Term>) =
        terms.iter().partition(|t| 1 << t.block.vars >= 2 * WIDTH);
    let (mut rest, mut at) = (out.each_mut().map(|v| &mut v[..]), 0);
    let mut parts = Vec::new();
    for same in long.chunk_by(|a, b| a.block == b.block) {
        let range = same[0].block.range();
        // A block begins at a multiple of its length, so each stripe has half of it.
        let (from, to) = (range.start / WIDTH / 2, range.end / WIDTH / 2);
        let own = rest.each_mut().map(|rest| {
            let (own, after) = core::mem::take(rest)[from - at..].split_at_mut(to - from);
            *rest = after;
            own
        });
        parts.push((same, own));
        at = to;
    }
    // The first are as large as all others together: each is a task of its own.
    let parts = parts.into_par_iter().with_max_len(1);
    parts.for_each(|(same, [even, odd])| {
        for t in same {
            t.add_to([&mut *even, &mut *odd]);
        }
    });
    for t in short {
        t.each(|i, e| add(&mut out, t.block.offset + i, e));
    }
    Vector::Striped(out)
}

/// Adds to an element of a striped vector.
fn add(out: &mut [impl AsMut<[P]>; 2], at: usize, e: E) {
    let register = at / WIDTH;
    out[register % 2].as_mut()[register / 2].add_assign_lane(at % WIDTH, e);
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

    /// Adds to both stripes of its block, which has two registers at least.
    fn add_to(&self, mut out: [&mut [P]; 2]) {
        if self.mask.is_some() {
            return self.each(|i, e| add(&mut out, i, e));
        }
        // Rows that are multiples of one: the kernel itself is never held.
        let row = (2 * out[0].len()).min(ROW);
        let (head, tail) = self
            .point
            .split_at(self.block.vars - (row * WIDTH).ilog2() as usize);
        let rows: Vec<E> = eq_table(head).iter().map(|&e| e * self.scale).collect();
        let Vector::Packed(column) = eq_vector(tail, E::ONE) else {
            unreachable!("two registers or more are packed");
        };
        let stripe = |s: usize, out: &mut [P]| {
            out.par_chunks_mut(row / 2)
                .zip(&rows)
                .with_min_len(GRAIN / row)
                .for_each(|(out, &scale)| {
                    for (i, o) in out.iter_mut().enumerate() {
                        *o += column[2 * i + s] * scale;
                    }
                });
        };
        let [even, odd] = out;
        rayon::join(|| stripe(0, even), || stripe(1, odd));
    }
}
