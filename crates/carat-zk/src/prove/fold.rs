//! Binding some axes of an integer tensor to a point: the work that a proof of a contraction consists of.

use crate::{
    field::{DEGREE, E, F},
    layout::{bits, eq_table, split},
};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use rayon::prelude::*;

/// What happens to an axis.
#[derive(Debug, Clone)]
pub(crate) enum Axis<'a> {
    /// Its variables stay.
    Keep,
    /// Its variables are bound to this point.
    Bind(&'a [E]),
    /// The axis is replaced by one entry per weight vector (shorter vectors are zero beyond).
    Map(Vec<Vec<E>>),
}

/// Coefficients of an element, each of smallest absolute value.
fn limbs(e: E) -> [i32; DEGREE] {
    let c: &[F] = e.as_basis_coefficients_slice();
    core::array::from_fn(|i| crate::field::signed(c[i]) as i32)
}

fn join(sums: [i64; DEGREE]) -> E {
    E::from_basis_coefficients_fn(|i| crate::field::int(sums[i]))
}

/// `out[o][j][k] = sum_i weights[j][i] * x[o][i][k]` over integers.
fn combine_int(x: &[i32], n: usize, inner: usize, weights: &[Vec<E>]) -> Vec<E> {
    // |x| <= 2^30 and |limb| <= 2^30: so many products fit 63 bits.
    let largest = x.iter().fold(1u32, |m, v| m.max(v.unsigned_abs()));
    let rows = (1usize << (32 - (32 - largest.leading_zeros()).min(31))).clamp(4, 1 << 20);
    let outer = x.len() / (n * inner).max(1);
    let limbs: Vec<Vec<[i32; DEGREE]>> = weights
        .iter()
        .map(|w| w.iter().map(|&e| limbs(e)).collect())
        .collect();
    if inner == 1 {
        let mut out = Vec::with_capacity(outer * weights.len());
        for o in 0..outer {
            for w in &limbs {
                let mut total = E::ZERO;
                for (xs, ws) in x[o * n..(o + 1) * n].chunks(rows).zip(w.chunks(rows)) {
                    let mut sums = [0i64; DEGREE];
                    for (&v, l) in xs.iter().zip(ws) {
                        for d in 0..DEGREE {
                            sums[d] =
                                sums[d].wrapping_add(i64::from(v).wrapping_mul(i64::from(l[d])));
                        }
                    }
                    total += join(sums);
                }
                out.push(total);
            }
        }
        return out;
    }
    /// Positions handled together: their sums stay in the first-level cache.
    const TILE: usize = 256;
    let tiles = inner.div_ceil(TILE);
    let tile = |index: usize, out: &mut [E]| {
        let (o, at) = (index / (limbs.len() * tiles), index % tiles * TILE);
        let w = &limbs[index / tiles % limbs.len()];
        let width = out.len();
        let mut sums = [[0i64; TILE]; DEGREE];
        for first in (0..w.len().min(n)).step_by(rows) {
            for s in &mut sums {
                s[..width].fill(0);
            }
            let last = (first + rows).min(w.len()).min(n);
            for (k, weight) in w[first..last].iter().enumerate() {
                if *weight == [0; DEGREE] {
                    continue;
                }
                let from = (o * n + first + k) * inner + at;
                accumulate(&mut sums, &x[from..from + width], weight);
            }
            for (k, t) in out.iter_mut().enumerate() {
                *t += join(core::array::from_fn(|d| sums[d][k]));
            }
        }
    };
    let mut out = vec![E::ZERO; outer * limbs.len() * inner];
    let work = x.len() * limbs.len();
    let mut parts: Vec<&mut [E]> = out
        .chunks_mut(inner)
        .flat_map(|row| row.chunks_mut(TILE))
        .collect();
    if work > 1 << 14 {
        parts
            .par_iter_mut()
            .enumerate()
            .for_each(|(i, part)| tile(i, part));
    } else {
        parts
            .iter_mut()
            .enumerate()
            .for_each(|(i, part)| tile(i, part));
    }
    drop(parts);
    out
}

/// `sums[d][k] += l[d] * row[k]`, in a form that becomes widening vector multiplications.
#[inline]
fn accumulate<const T: usize>(sums: &mut [[i64; T]; DEGREE], row: &[i32], l: &[i32; DEGREE]) {
    for d in 0..DEGREE {
        let factor = i64::from(l[d]);
        for (s, &v) in sums[d].iter_mut().zip(row) {
            // Cannot overflow (see `rows` in the caller); checked arithmetic would not become vector instructions.
            *s = s.wrapping_add(factor.wrapping_mul(i64::from(v)));
        }
    }
}

fn combine_ext(x: &[E], n: usize, inner: usize, weights: &[Vec<E>]) -> Vec<E> {
    let outer = x.len() / (n * inner).max(1);
    let mut out = Vec::with_capacity(outer * weights.len() * inner);
    for o in 0..outer {
        for w in weights {
            let mut row = vec![E::ZERO; inner];
            for (i, &e) in w.iter().enumerate().take(n) {
                if e == E::ZERO {
                    continue;
                }
                for (r, &v) in row.iter_mut().zip(&x[(o * n + i) * inner..]) {
                    *r += v * e;
                }
            }
            out.extend(row);
        }
    }
    out
}

/// Applies one [`Axis`] per axis. The result is padded to powers of two along kept and mapped axes, most significant
/// first.
pub(crate) fn fold(dims: &[usize], data: &[i32], axes: &[Axis<'_>]) -> Vec<E> {
    let mut dims = dims.to_vec();
    let mut values: Option<Vec<E>> = None;
    // The axis that shrinks the tensor most goes first, while elements are still integers.
    let mut order: Vec<usize> = (0..dims.len())
        .filter(|&a| !matches!(axes[a], Axis::Keep))
        .collect();
    let outputs = |a: usize| match &axes[a] {
        Axis::Keep => dims[a],
        Axis::Bind(_) => 1,
        Axis::Map(m) => m.len(),
    };
    order.sort_by(|&a, &b| {
        (dims[b] * outputs(a))
            .cmp(&(dims[a] * outputs(b)))
            .then(a.cmp(&b))
    });
    for a in order {
        let inner: usize = dims[a + 1..].iter().product();
        let weights = match &axes[a] {
            Axis::Keep => continue,
            Axis::Bind(point) => {
                let mut table = eq_table(point);
                table.truncate(dims[a]);
                vec![table]
            }
            Axis::Map(m) => m.clone(),
        };
        // An axis without variables bound to nothing is a copy.
        if weights.len() == 1 && dims[a] == 1 && weights[0].first() == Some(&E::ONE) {
            continue;
        }
        values = Some(match &values {
            None => combine_int(data, dims[a], inner, &weights),
            Some(v) => combine_ext(v, dims[a], inner, &weights),
        });
        dims[a] = weights.len();
    }
    let values = values.unwrap_or_else(|| {
        data.iter()
            .map(|&v| E::from(crate::field::int(v.into())))
            .collect()
    });
    pad(&dims, &values)
}

/// Puts elements at their padded positions.
pub(crate) fn pad(dims: &[usize], values: &[E]) -> Vec<E> {
    if dims.iter().all(|d| d.is_power_of_two()) {
        return values.to_vec();
    }
    let mut out = vec![E::ZERO; 1 << dims.iter().map(|&d| bits(d)).sum::<usize>()];
    for (&v, at) in values.iter().zip(crate::layout::padded_positions(dims)) {
        out[at] = v;
    }
    out
}

/// [`fold`] with every axis bound: the value of the tensor at a point.
pub(crate) fn evaluate(dims: &[usize], data: &[i32], point: &[E]) -> E {
    let axes: Vec<Axis<'_>> = split(dims, point).into_iter().map(Axis::Bind).collect();
    fold(dims, data, &axes)[0]
}

#[allow(dead_code, reason = "the bound on limbs rests on it")]
const _: () = assert!(F::ORDER_U32 < 1 << 31);
