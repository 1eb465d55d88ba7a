//! Polynomials over the base field: their values at points, and powers of places of a code.

use super::{Vector, WIDTH, compact};
use crate::field::{E, F};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

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
    let rows: Vec<Vec<F>> = places.par_iter().with_min_len(1 << 3).map(powers).collect();
    let rows: Vec<&[F]> = rows.iter().map(|row| &row[..]).collect();
    out.par_chunks_mut(RUN).enumerate().for_each(|(c, out)| {
        let first = (c * RUN * WIDTH) as u64;
        let scales = scales.iter().zip(places);
        let scales: Vec<E> = scales.map(|(&g, x)| g * x.exp_u64(first)).collect();
        compact::combine_wide(out, &rows, &scales);
    });
}
