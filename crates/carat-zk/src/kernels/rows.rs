//! Work on a committed polynomial without copying it: sums of its rows, and vectors filled block by block.

use super::{GRAIN, P, Vector, WIDTH, eq_vector};
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
    let mut out = vec![P::ZERO; width];
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

/// A vector that sums of `eq` tables are added to, block by block.
pub(crate) struct Blocks {
    packed: Vec<P>,
    plain: Vec<E>,
}

impl Blocks {
    pub(crate) fn new(vars: usize) -> Self {
        let size = 1usize << vars;
        let packed = if size < 2 * WIDTH { 0 } else { size / WIDTH };
        Self {
            packed: vec![P::ZERO; packed],
            plain: vec![E::ZERO; if packed == 0 { size } else { 0 }],
        }
    }

    /// Adds `scale * eq(point, .)` to a block, at the listed positions only if there is a list.
    pub(crate) fn add(&mut self, block: Block, point: &[E], scale: E, mask: Option<&[usize]>) {
        let eq = eq_vector(point, scale);
        let range = block.range();
        if let (Vector::Packed(eq), None) = (&eq, mask)
            && !self.packed.is_empty()
        {
            let out = &mut self.packed[range.start / WIDTH..range.end / WIDTH];
            out.par_chunks_mut(GRAIN)
                .zip(eq.par_chunks(GRAIN))
                .for_each(|(out, eq)| {
                    for (o, &e) in out.iter_mut().zip(eq) {
                        *o += e;
                    }
                });
            return;
        }
        let eq = eq.unpack();
        let mut put = |i: usize, e: E| {
            let at = range.start + i;
            if self.packed.is_empty() {
                self.plain[at] += e;
            } else {
                self.packed[at / WIDTH].add_assign_lane(at % WIDTH, e);
            }
        };
        match mask {
            Some(positions) => positions.iter().for_each(|&i| put(i, eq[i])),
            None => eq.iter().enumerate().for_each(|(i, &e)| put(i, e)),
        }
    }

    pub(crate) fn finish(self) -> Vector {
        if self.packed.is_empty() {
            Vector::Plain(self.plain)
        } else {
            Vector::Packed(self.packed)
        }
    }
}
