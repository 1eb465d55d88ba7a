//! Polynomials over the base field: their values at points, and powers of places of a code.

use super::{P, Vector, WIDTH, compact};
use crate::{
    field::{DEGREE, E, F},
    share,
};
use p3_field::{BasedVectorSpace, Field, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

type Packed = <F as Field>::Packing;

/// Packed products that one task sums.
const TASK: usize = 1 << 9;

/// The value of a base field polynomial at a point.
pub(crate) fn evaluate_base(values: &[F], point: &[E]) -> E {
    let columns = point.len().div_ceil(2);
    let (row, column) = point.split_at(point.len() - columns);
    let weights = crate::layout::eq_table(column);
    compact::dot_rows(compact::Values::Plain(values), &weights)
        .iter()
        .zip(crate::layout::eq_table(row))
        .map(|(&v, w)| v * w)
        .sum()
}

/// The values of rows, each as long as the weights: `out[i] = sum_k values[i * width + k] * weights[k]`.
pub(crate) fn dot_base(values: &[F], weights: &Vector) -> Vec<E> {
    /// Products that are summed before they are reduced.
    const BATCH: usize = 8;
    let width = weights.len();
    let Vector::Packed(weights) = weights else {
        let weights = weights.unpack();
        let dot = |row: &[F]| row.iter().zip(&weights).map(|(&v, &w)| w * v).sum();
        return values.chunks_exact(width).map(dot).collect();
    };
    let dot = |row: &[F]| {
        let mut sums = [Packed::ZERO; DEGREE];
        let row = Packed::pack_slice(row).chunks(BATCH);
        for (v, w) in row.zip(weights.chunks(BATCH)) {
            let at = |i: usize| v.get(i).copied().unwrap_or_default();
            let v: [Packed; BATCH] = core::array::from_fn(at);
            for (d, sum) in sums.iter_mut().enumerate() {
                let of = |w: &P| w.as_basis_coefficients_slice()[d];
                let w = core::array::from_fn(|i| w.get(i).map_or(Packed::ZERO, of));
                *sum += Packed::dot_product(&w, &v);
            }
        }
        E::from_basis_coefficients_fn(|d: usize| sums[d].as_slice().iter().copied().sum::<F>())
    };
    let rows = values.par_chunks_exact(width);
    rows.with_min_len((TASK / weights.len()).max(1))
        .map(dot)
        .collect()
}

/// A combination of rows, each `width` long: `out[k] = sum_i weights[i] * values[i * width + k]`.
pub(crate) fn combine_base(values: &[F], width: usize, weights: &[E]) -> Vector {
    /// Registers that are summed together: their sums stay in the first-level cache.
    const TILE: usize = 1 << 4;
    if width < 2 * WIDTH {
        return compact::combine_rows(compact::Values::Plain(values), 0, width, weights);
    }
    let mut out = super::filled(P::ZERO, width / WIDTH);
    let mut tiles: Vec<(usize, &mut [P])> = out.chunks_mut(TILE).enumerate().collect();
    let most = TASK / (TILE * weights.len());
    share::each(&mut tiles[..], most, &|tiles| {
        for (t, out) in tiles {
            let from = *t * TILE * WIDTH;
            let row = |row: usize| &values[row * width + from..][..out.len() * WIDTH];
            let rows: Vec<&[F]> = (0..weights.len()).map(row).collect();
            compact::combine_wide(out, &rows, weights);
        }
    });
    Vector::Packed(out)
}

/// Adds `sum_k scales[k] * places[k]^i` to element i.
pub(crate) fn add_powers(out: &mut Vector, places: &[F], scales: &[E]) {
    let Vector::Packed(out) = out else {
        let Vector::Plain(out) = out else { return };
        for (&x, &g) in places.iter().zip(scales) {
            let mut power = g;
            for o in out.iter_mut() {
                *o += power;
                power *= x;
            }
        }
        return;
    };
    /// Registers of a run: the first powers of all places stay in the second-level cache.
    const RUN: usize = 1 << 6;
    // Of each place, the first powers; those of a run are a multiple of them.
    let powers = |x: &F| -> Vec<F> { x.powers().take(RUN.min(out.len()) * WIDTH).collect() };
    let mut rows: Vec<Vec<F>> = vec![Vec::new(); places.len()];
    share::each((places, &mut rows[..]), 1 << 3, &|(places, rows)| {
        let each = rows.iter_mut().zip(places);
        each.for_each(|(row, x)| *row = powers(x));
    });
    let rows: Vec<&[F]> = rows.iter().map(|row| &row[..]).collect();
    let mut runs: Vec<(usize, &mut [P])> = out.chunks_mut(RUN).enumerate().collect();
    share::each(&mut runs[..], 1, &|runs| {
        for (c, out) in runs {
            let first = (*c * RUN * WIDTH) as u64;
            let scales = scales.iter().zip(places);
            let scales: Vec<E> = scales.map(|(&g, x)| g * x.exp_u64(first)).collect();
            compact::combine_wide(out, &rows, &scales);
        }
    });
}
