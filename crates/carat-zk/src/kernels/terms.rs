//! Vectors filled block by block: what many claims on one polynomial become.

use super::{
    GRAIN, P, Vector, WIDTH, eq_vector, filled,
    stripes::{Stripes, both, eq_stripe},
};
use crate::{
    field::{E, F},
    layout::eq_table,
    plan::Block,
    share,
};
use p3_field::{Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing};
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
    terms.sort_by_key(|t| t.block.offset);
    // Blocks that fill registers of both stripes have stretches of their own. Shorter ones are few elements.
    let (long, rest): (Vec<&Term>, Vec<&Term>) =
        (terms.iter()).partition(|t| 1 << t.block.vars >= 2 * WIDTH);
    let long: Vec<Long<'_>> = (long.into_par_iter().with_max_len(1))
        .map(Long::of)
        .collect();
    // A stripe is written by the thread that will read it.
    let mut out = both(size / WIDTH / 2, |s| {
        let mut out = filled(P::ZERO, size / WIDTH / 2);
        let (mut after, mut at) = (&mut out[..], 0);
        let mut parts = Vec::new();
        for same in long.chunk_by(|a, b| a.term.block == b.term.block) {
            let range = same[0].term.block.range();
            // A block begins at a multiple of its length, so each stripe has half of it.
            let (from, to) = (range.start / WIDTH / 2, range.end / WIDTH / 2);
            let (own, others) = core::mem::take(&mut after)[from - at..].split_at_mut(to - from);
            parts.push((same, own));
            (after, at) = (others, to);
        }
        // The first are as large as all others together: each is a task of its own.
        share::each(&mut parts[..], 1, &|parts| {
            for (same, own) in parts {
                same.iter().for_each(|t| t.add_to(s, own));
            }
        });
        out
    });
    for t in rest {
        t.each(|i, e| add(&mut out, t.block.offset + i, e));
    }
    Vector::Striped(out)
}

/// Adds to an element of a striped vector.
fn add(out: &mut Stripes, at: usize, e: E) {
    let register = at / WIDTH;
    out[register % 2][register / 2].add_assign_lane(at % WIDTH, e);
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
}

/// A term whose block fills registers of both stripes.
struct Long<'a> {
    term: &'a Term,
    /// One where a slot counts, zero elsewhere, if not all do.
    factors: Option<Vec<F>>,
}

impl<'a> Long<'a> {
    fn of(term: &'a Term) -> Self {
        let factors = term.mask.as_ref().map(|slots| {
            let mut out = F::zero_vec(1 << term.block.vars);
            slots.iter().for_each(|&i| out[i] = F::ONE);
            out
        });
        Self { term, factors }
    }

    /// Adds to a stripe of its block.
    fn add_to(&self, s: usize, out: &mut [P]) {
        let factors = (self.factors.as_deref()).map(<F as Field>::Packing::pack_slice);
        // Rows that are multiples of one: the kernel itself is never held.
        let row = (2 * out.len()).min(ROW);
        let Term {
            block,
            point,
            scale,
            ..
        } = self.term;
        let (head, tail) = point.split_at(block.vars - (row * WIDTH).ilog2() as usize);
        let rows: Vec<E> = eq_table(head).iter().map(|&e| e * *scale).collect();
        let column = eq_stripe(tail, E::ONE, s);
        out.par_chunks_mut(row / 2)
            .zip(&rows)
            .with_min_len(GRAIN / row)
            .enumerate()
            .for_each(|(i, (out, &scale))| {
                let kernel = column.iter().map(|&c| c * scale);
                match factors {
                    None => out.iter_mut().zip(kernel).for_each(|(o, e)| *o += e),
                    Some(factors) => {
                        let own = factors[i * row..][s..].iter().step_by(2);
                        let kernel = kernel.zip(own).map(|(e, &f)| e * f);
                        out.iter_mut().zip(kernel).for_each(|(o, e)| *o += e);
                    }
                }
            });
    }
}
