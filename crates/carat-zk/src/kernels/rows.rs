//! Work on a committed polynomial without copying it: sums of its rows, and vectors filled block by block.

use super::{GRAIN, P, Vector, WIDTH, eq_vector, filled};
use crate::{
    field::{DEGREE, E, F},
    plan::Block,
};
use p3_field::{
    BasedVectorSpace, Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing,
};
use rayon::prelude::*;

type Packed = <F as Field>::Packing;

/// Products that are summed before they are reduced.
const BATCH: usize = 8;

/// The d-th coefficients of elements, for each d.
fn coefficients(elements: &[E]) -> [Vec<F>; DEGREE] {
    core::array::from_fn(|d| {
        elements
            .iter()
            .map(|e| {
                let c: &[F] = e.as_basis_coefficients_slice();
                c[d]
            })
            .collect()
    })
}

/// `out[k] = sum_i weights[i] * rows[i * width + k]` over rows of a committed polynomial.
pub(crate) fn combine_rows(rows: &[F], width: usize, weights: &[E]) -> Vector {
    if width < 2 * WIDTH {
        let mut out = vec![E::ZERO; width];
        for (row, &w) in rows.chunks_exact(width).zip(weights) {
            for (o, &v) in out.iter_mut().zip(row) {
                *o += w * v;
            }
        }
        return Vector::Plain(out);
    }
    /// Registers of columns handled together: their sums stay in the first-level cache.
    const TILE: usize = 64;
    let packed = Packed::pack_slice(rows);
    let width = width / WIDTH;
    let weights = coefficients(weights);
    let mut out = P::zero_vec(width);
    out.par_chunks_mut(TILE).enumerate().for_each(|(t, out)| {
        let at = t * TILE;
        let mut sums = [[Packed::ZERO; TILE]; DEGREE];
        let count = weights[0].len();
        for first in (0..count).step_by(BATCH) {
            // A last batch may be short: its other rows have weight zero.
            let row = |i: usize| {
                let from = (first + i).min(count - 1) * width + at;
                &packed[from..from + out.len()]
            };
            let batch: [&[Packed]; BATCH] = core::array::from_fn(row);
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                let w: [Packed; BATCH] = core::array::from_fn(|i| {
                    weights
                        .get(first + i)
                        .map_or(Packed::ZERO, |&w| Packed::from(w))
                });
                for (k, sum) in sums[..out.len()].iter_mut().enumerate() {
                    *sum += Packed::dot_product(&w, &core::array::from_fn(|i| batch[i][k]));
                }
            }
        }
        for (k, o) in out.iter_mut().enumerate() {
            *o = P::from_basis_coefficients_fn(|d| sums[d][k]);
        }
    });
    Vector::Packed(out)
}

/// `out[i] = sum_k rows[i * width + k] * weights[k]`, `weights` being one row long.
pub(crate) fn dot_rows(rows: &[F], weights: &[E]) -> Vec<E> {
    let width = weights.len();
    if width < BATCH * WIDTH {
        let dot = |row: &[F]| row.iter().zip(weights).map(|(&v, &w)| w * v).sum();
        return rows.chunks_exact(width).map(dot).collect();
    }
    let weights = coefficients(weights);
    let weights = weights
        .each_ref()
        .map(|w| Packed::pack_slice(w).as_chunks::<BATCH>().0);
    rows.par_chunks_exact(width)
        .with_min_len(((1 << 12) / width).max(1))
        .map(|row| {
            let row = Packed::pack_slice(row).as_chunks::<BATCH>().0;
            E::from_basis_coefficients_fn(|d: usize| -> F {
                let products = row.iter().zip(weights[d]);
                let sum: Packed = products.map(|(v, w)| Packed::dot_product(v, w)).sum();
                sum.as_slice().iter().copied().sum::<F>()
            })
        })
        .collect()
}

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
