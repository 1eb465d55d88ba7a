//! Work on a committed polynomial without copying it: sums of its rows, and vectors filled block by block.

use super::kernels::{GRAIN, P, Vector, WIDTH, eq_vector, horizontal};
use crate::{
    field::{E, F},
    plan::Block,
};
use p3_field::{Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

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
    let packed = <F as Field>::Packing::pack_slice(rows);
    let width = width / WIDTH;
    let run = |first: usize, count: usize| {
        let mut out = vec![P::ZERO; width];
        for i in first..first + count {
            let w = P::from(weights[i]);
            for (o, &v) in out.iter_mut().zip(&packed[i * width..(i + 1) * width]) {
                *o += w * v;
            }
        }
        out
    };
    let count = weights.len();
    // Enough rows that the sums of a task are worth adding up.
    let task = count.div_ceil(rayon::current_num_threads()).max(16);
    let sums = (0..count.div_ceil(task))
        .into_par_iter()
        .map(|c| run(c * task, task.min(count - c * task)))
        .reduce_with(|mut a, b| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        });
    Vector::Packed(sums.unwrap_or_else(|| vec![P::ZERO; width]))
}

/// `out[i] = sum_k rows[i * width + k] * weights[k]`, `weights` being one row long.
pub(crate) fn dot_rows(rows: &[F], weights: &[E]) -> Vec<E> {
    let width = weights.len();
    if width < 2 * WIDTH {
        let dot = |row: &[F]| row.iter().zip(weights).map(|(&v, &w)| w * v).sum();
        return rows.chunks_exact(width).map(dot).collect();
    }
    let weights: Vec<P> = weights.chunks_exact(WIDTH).map(P::from_ext_slice).collect();
    rows.par_chunks_exact(width)
        .map(|row| {
            let row = <F as Field>::Packing::pack_slice(row);
            let mut sum = P::ZERO;
            for (&w, &v) in weights.iter().zip(row) {
                sum += w * v;
            }
            horizontal(sum)
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
