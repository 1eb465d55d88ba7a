//! Binding some axes of an integer tensor to a point: the work that a proof of a contraction consists of.

use crate::{
    field::{DEGREE, E, F},
    kernels::compact::{Halves, ROWS, SPAN, Sums, TILE, element, halves, whole},
    layout::{bits, eq_index, eq_table, split},
    share,
};
use carat_program::Ints;
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

/// Elements of a vector for which a table of its own would take most of the time.
const LONG: usize = 1 << 10;

/// Coefficients of elements, each of smallest absolute value: all first ones, all second ones, ...
type Limbs = [Vec<i32>; DEGREE];

fn limbs(elements: &[E]) -> Limbs {
    core::array::from_fn(|d| {
        elements
            .iter()
            .map(|e| {
                let c: &[F] = e.as_basis_coefficients_slice();
                crate::field::signed(c[d]) as i32
            })
            .collect()
    })
}

/// The largest absolute value, or one.
fn magnitude(x: &[i32]) -> u32 {
    x.iter().fold(1, |m, v| m.max(v.unsigned_abs()))
}

/// `out[o][j][k] = sum_i weights[j][i] * x[o][i][k]` over integers.
fn combine_int(x: &[i32], n: usize, inner: usize, weights: &[Vec<E>]) -> Vec<E> {
    // |x| <= 2^30 and |limb| <= 2^30: so many products fit 63 bits.
    let largest = share::sum(x, 2 * TASK, &magnitude, &u32::max);
    let rows = (1usize << (32 - (32 - largest.leading_zeros()).min(31))).clamp(ROWS, 1 << 20);
    let outer = x.len() / (n * inner).max(1);
    let limbs: Vec<Limbs> = weights.iter().map(|w| limbs(w)).collect();
    let mut out = E::zero_vec(outer * limbs.len() * inner);
    if inner == 1 {
        let dot = |(index, out): (usize, &mut E)| {
            let x = &x[index / limbs.len() * n..][..n];
            let w = &limbs[index % limbs.len()];
            for (first, x) in x.chunks(rows).enumerate() {
                *out += element(core::array::from_fn(|d| {
                    let products = x.iter().zip(w[d].get(first * rows..).unwrap_or(&[]));
                    products.fold(0i64, |sum, (&v, &l)| {
                        // Cannot overflow; checked arithmetic would not become vector instructions.
                        sum.wrapping_add(i64::from(v).wrapping_mul(i64::from(l)))
                    })
                }));
            }
        };
        let all = 0..out.len();
        share::each((all, &mut out[..]), TASK / n.max(1) + 1, &|(range, out)| {
            range.zip(out).for_each(dot);
        });
        return out;
    }
    each_tile(&mut out, n, inner, |row, at, out| {
        let (o, w) = (row / limbs.len(), &limbs[row % limbs.len()]);
        let width = out.len();
        let count = w[0].len().min(n);
        let mut sums = [[0i64; TILE]; DEGREE];
        for first in (0..count).step_by(rows) {
            for s in &mut sums {
                s[..width].fill(0);
            }
            for k in (first..(first + rows).min(count)).step_by(ROWS) {
                // A last batch may be short: its other rows have weight zero.
                let row = |i: usize| &x[(o * n + (k + i).min(count - 1)) * inner + at..][..width];
                let l = core::array::from_fn(|d| {
                    core::array::from_fn(|i| w[d][..count].get(k + i).copied().unwrap_or(0))
                });
                if l != [[0; ROWS]; DEGREE] {
                    accumulate(&mut sums, core::array::from_fn(row), &l);
                }
            }
            for (k, t) in out.iter_mut().enumerate() {
                *t += element(core::array::from_fn(|d| sums[d][k]));
            }
        }
    });
    out
}

/// [`combine_int`] for bytes.
fn combine_bytes(x: &[i8], n: usize, inner: usize, weights: &[Vec<E>]) -> Vec<E> {
    if inner == 1 {
        return dot_bytes(x, n, weights);
    }
    if inner < LEAST {
        let wide: Vec<i32> = x.iter().map(|&v| v.into()).collect();
        return combine_int(&wide, n, inner, weights);
    }
    let outer = x.len() / (n * inner).max(1);
    let mut out = E::zero_vec(outer * weights.len() * inner);
    let factors: Vec<Vec<Halves>> = (weights.iter())
        .map(|w| w.iter().take(n).map(halves).collect())
        .collect();
    each_tile(&mut out, n, inner, |row, at, out| {
        let (o, factors) = (row / factors.len(), &factors[row % factors.len()]);
        let mut sums = Sums::new(out.len());
        let row = |i: usize| &x[(o * n + i) * inner + at..][..out.len()];
        let rows: Vec<(&[i8], &Halves)> = (factors.iter().enumerate())
            .map(|(i, factor)| (row(i), factor))
            .collect();
        rows.chunks(ROWS).for_each(|rows| sums.add_some(rows));
        let sums = sums.finish();
        for (k, t) in out.iter_mut().enumerate() {
            *t = E::from_basis_coefficients_fn(|d| sums[d][k]);
        }
    });
    out
}

/// Fewer positions than this are not worth sums of their own.
const LEAST: usize = 16;

/// `out[o][j] = sum_i weights[j][i] * x[o][i]`
fn dot_bytes(x: &[i8], n: usize, weights: &[Vec<E>]) -> Vec<E> {
    let factors: Vec<[Vec<i16>; 2 * DEGREE]> = (weights.iter())
        .map(|w| {
            let all: Vec<Halves> = w.iter().take(n).map(halves).collect();
            core::array::from_fn(|d| all.iter().map(|h| h[d]).collect())
        })
        .collect();
    let mut out = E::zero_vec(x.len() / n.max(1) * weights.len());
    let all = 0..out.len();
    share::each((all, &mut out[..]), TASK / n.max(1) + 1, &|(range, out)| {
        for (index, out) in range.zip(out) {
            let x = &x[index / factors.len() * n..][..n];
            let sums = factors[index % factors.len()].each_ref().map(|f| {
                // So many products fit 32 bits.
                let parts = x.chunks(SPAN).zip(f.chunks(SPAN));
                parts.map(|(x, f)| i64::from(dot(x, f))).sum::<i64>()
            });
            *out = element(core::array::from_fn(|d| whole(sums[d], sums[DEGREE + d])));
        }
    });
    out
}

fn dot(x: &[i8], f: &[i16]) -> i32 {
    x.iter().zip(f).fold(0, |sum: i32, (&v, &f)| {
        // Checked arithmetic would not become vector instructions.
        sum.wrapping_add(i32::from(v).wrapping_mul(f.into()))
    })
}

/// Calls `tile(row, at, part)` for every part `out[row * inner + at ..]` of at most [`TILE`] elements; each costs `n`
/// products for each element.
fn each_tile(out: &mut [E], n: usize, inner: usize, tile: impl Fn(usize, usize, &mut [E]) + Sync) {
    let tiles = inner.div_ceil(TILE);
    let mut parts: Vec<&mut [E]> = out
        .chunks_mut(inner.max(1))
        .flat_map(|row| row.chunks_mut(TILE))
        .collect();
    let most = TASK / (n * inner.min(TILE)).max(1) + 1;
    share::each((0..parts.len(), &mut parts[..]), most, &|(range, parts)| {
        for (i, part) in range.zip(parts) {
            tile(i / tiles, i % tiles * TILE, part);
        }
    });
}

/// Products that are worth a task of their own.
const TASK: usize = 1 << 13;

/// `sums[d][k] += sum_i l[d][i] * rows[i][k]`, in a form that becomes widening vector multiplications.
#[inline]
fn accumulate(sums: &mut [[i64; TILE]; DEGREE], rows: [&[i32]; ROWS], l: &[[i32; ROWS]; DEGREE]) {
    let [a, b, c, d] = rows;
    for (sums, l) in sums.iter_mut().zip(l) {
        let l = l.map(i64::from);
        for ((((s, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            // Cannot overflow (see `rows` in the caller); checked arithmetic would not become vector instructions.
            let product = |v: i32, l: i64| i64::from(v).wrapping_mul(l);
            let low = product(a, l[0]).wrapping_add(product(b, l[1]));
            let high = product(c, l[2]).wrapping_add(product(d, l[3]));
            *s = s.wrapping_add(low.wrapping_add(high));
        }
    }
}

fn combine_ext(x: &[E], n: usize, inner: usize, weights: &[Vec<E>]) -> Vec<E> {
    let outer = x.len() / (n * inner).max(1);
    let mut out = E::zero_vec(outer * weights.len() * inner);
    if out.is_empty() {
        return out;
    }
    let row = |(index, row): (usize, &mut [E])| {
        let (o, w) = (index / weights.len(), &weights[index % weights.len()]);
        for (i, &e) in w.iter().enumerate().take(n) {
            if e == E::ZERO {
                continue;
            }
            for (r, &v) in row.iter_mut().zip(&x[(o * n + i) * inner..]) {
                *r += v * e;
            }
        }
    };
    // At least so many products for each task.
    let least = (1 << 10) / (n * inner).max(1) + 1;
    out.par_chunks_mut(inner)
        .enumerate()
        .with_min_len(least)
        .for_each(row);
    out
}

/// Applies one [`Axis`] per axis. The result is padded to powers of two along kept and mapped axes, most significant
/// first.
pub(crate) fn fold(dims: &[usize], data: Ints<'_>, axes: &[Axis<'_>]) -> Vec<E> {
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
            None => match data {
                Ints::Wide(data) => combine_int(data, dims[a], inner, &weights),
                Ints::Bytes(data) => combine_bytes(data, dims[a], inner, &weights),
            },
            Some(v) => combine_ext(v, dims[a], inner, &weights),
        });
        dims[a] = weights.len();
    }
    let values = values.unwrap_or_else(|| match data {
        Ints::Wide(data) => lift(data, F::from_i32),
        Ints::Bytes(data) => lift(data, F::from_i8),
    });
    pad(&dims, values)
}

fn lift<T: Copy + Sync>(data: &[T], residue: impl Fn(T) -> F + Sync + Send) -> Vec<E> {
    let data = data.par_iter().with_min_len(TASK);
    data.map(|&v| E::from(residue(v))).collect()
}

/// Puts elements at their padded positions.
pub(crate) fn pad(dims: &[usize], values: Vec<E>) -> Vec<E> {
    if dims.iter().all(|d| d.is_power_of_two()) {
        return values;
    }
    let mut out = E::zero_vec(1 << dims.iter().map(|&d| bits(d)).sum::<usize>());
    for (v, at) in values
        .into_iter()
        .zip(crate::layout::padded_positions(dims))
    {
        out[at] = v;
    }
    out
}

/// [`fold`] with every axis bound: the value of the tensor at a point.
pub(crate) fn evaluate(dims: &[usize], data: Ints<'_>, point: &[E]) -> E {
    if let [n] = *dims
        && n >= LONG
    {
        // As a matrix, whose two short tables are all that is needed, and what is left of a row.
        let (head, tail) = point.split_at(point.len() / 2);
        let width = 1 << tail.len();
        let (rows, rest) = (n / width, n % width);
        let axes = [Axis::Bind(head), Axis::Bind(tail)];
        let whole = fold(&[rows, width], data.range(0..n - rest), &axes)[0];
        if rest == 0 {
            return whole;
        }
        let last = fold(&[rest], data.range(n - rest..n), &[Axis::Bind(tail)]);
        return whole + last[0] * eq_index(head, rows);
    }
    let axes: Vec<Axis<'_>> = split(dims, point).into_iter().map(Axis::Bind).collect();
    fold(dims, data, &axes)[0]
}

/// [`evaluate`] for each of several tensors of one shape, which lie one after the other.
pub(crate) fn evaluate_each(dims: &[usize], data: &[i32], point: &[E]) -> Vec<E> {
    let size: usize = dims.iter().product();
    let count = data.len() / size.max(1);
    if count == 1 || matches!(*dims, [n] if n >= LONG) {
        let each = data.par_chunks(size).with_min_len(TASK / size + 1);
        return each.map(|x| evaluate(dims, Ints::Wide(x), point)).collect();
    }
    // One table of an axis serves all.
    let bound = split(dims, point).into_iter().map(Axis::Bind);
    let axes: Vec<Axis<'_>> = core::iter::once(Axis::Keep).chain(bound).collect();
    let mut values = fold(&[&[count], dims].concat(), Ints::Wide(data), &axes);
    values.truncate(count);
    values
}

#[allow(dead_code, reason = "the bound on limbs rests on it")]
const _: () = assert!(F::ORDER_U32 < 1 << 31);
