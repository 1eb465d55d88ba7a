//! Tensors as multilinear polynomials.
//!
//! A tensor of shape `[d0, d1, ...]` becomes a polynomial in `bits(d0) + bits(d1) + ...` variables, axis after axis,
//! most significant bit first. Along an axis whose length is no power of two the missing positions hold zero; every
//! tensor of the protocol is zero there *by definition*, not by a promise of the prover (see `docs/protocol.md`).

use crate::field::{E, F, int};
use alloc::{vec, vec::Vec};
use p3_field::PrimeCharacteristicRing;

/// Variables of an axis of length `n`: the smallest b with 2^b >= n.
#[must_use]
pub(crate) fn bits(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

/// Variables of a tensor.
#[must_use]
pub(crate) fn vars(dims: &[usize]) -> usize {
    dims.iter().map(|&d| bits(d)).sum()
}

/// A point cut into one part per axis. The point must have [`vars`] coordinates.
pub(crate) fn split<'a>(dims: &[usize], mut point: &'a [E]) -> Vec<&'a [E]> {
    dims.iter()
        .map(|&d| {
            let (head, rest) = point.split_at(bits(d));
            point = rest;
            head
        })
        .collect()
}

/// `eq(point, x)` for every boolean x, in index order.
#[must_use]
pub(crate) fn eq_table(point: &[E]) -> Vec<E> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(E::ONE);
    for &r in point {
        // Later variables are less significant: each entry splits in place.
        let mut next = Vec::with_capacity(table.len() * 2);
        for &v in &table {
            let high = v * r;
            next.push(v - high);
            next.push(high);
        }
        table = next;
    }
    table
}

/// `scale eq(point, x)` for every boolean x, in index order.
#[must_use]
pub(crate) fn scaled_eq(point: &[E], scale: E) -> Vec<E> {
    eq_table(point).into_iter().map(|e| e * scale).collect()
}

/// `eq(a, b)`: the product of `a_i b_i + (1 - a_i)(1 - b_i)`.
pub(crate) fn eq(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&x, &y)| one_eq(x, y)).product()
}

fn one_eq(x: E, y: E) -> E {
    let xy = x * y;
    E::ONE - x - y + xy + xy
}

fn bit(n: usize, len: usize, i: usize) -> bool {
    n >> (len - 1 - i) & 1 == 1
}

/// `eq(point, index)` for a boolean index.
pub(crate) fn eq_index(point: &[E], index: usize) -> E {
    point
        .iter()
        .enumerate()
        .map(|(i, &r)| {
            if bit(index, point.len(), i) {
                r
            } else {
                E::ONE - r
            }
        })
        .product()
}

/// Sum of `eq(point, i)` over `i < n`.
pub(crate) fn below(point: &[E], n: usize) -> E {
    if n >= 1 << point.len() {
        return E::ONE;
    }
    let (mut sum, mut prefix) = (E::ZERO, E::ONE);
    for (i, &r) in point.iter().enumerate() {
        if bit(n, point.len(), i) {
            sum += prefix * (E::ONE - r);
            prefix *= r;
        } else {
            prefix *= E::ONE - r;
        }
    }
    sum
}

/// Sum of `i * eq(point, i)` over `i < n`.
pub(crate) fn weighted_below(point: &[E], n: usize) -> E {
    // free[k] = sum over the last k variables of value times eq = their identity polynomial.
    let len = point.len();
    let mut free = vec![E::ZERO; len + 1];
    for k in 1..=len {
        free[k] = free[k - 1] + point[len - k] * F::from_u64(1 << (k - 1));
    }
    if n >= 1 << len {
        return free[len];
    }
    let (mut sum, mut prefix, mut value) = (E::ZERO, E::ONE, 0u64);
    for (i, &r) in point.iter().enumerate() {
        if bit(n, len, i) {
            let rest = len - 1 - i;
            sum += prefix * (E::ONE - r) * (free[rest] + F::from_u64(value));
            prefix *= r;
            value += 1 << rest;
        } else {
            prefix *= E::ONE - r;
        }
    }
    sum
}

/// Sum of `eq(a, i) eq(b, i)` over `i < n`.
pub(crate) fn eq_below(a: &[E], b: &[E], n: usize) -> E {
    let len = a.len();
    if n >= 1 << len {
        return eq(a, b);
    }
    let mut suffix = vec![E::ONE; len + 1];
    for i in (0..len).rev() {
        suffix[i] = suffix[i + 1] * one_eq(a[i], b[i]);
    }
    let (mut sum, mut prefix) = (E::ZERO, E::ONE);
    for i in 0..len {
        let zero = (E::ONE - a[i]) * (E::ONE - b[i]);
        if bit(n, len, i) {
            sum += prefix * zero * suffix[i + 1];
            prefix *= a[i] * b[i];
        } else {
            prefix *= zero;
        }
    }
    sum
}

/// The polynomial that is one on a tensor's elements and zero on its padding.
pub(crate) fn valid(dims: &[usize], point: &[E]) -> E {
    dims.iter()
        .zip(split(dims, point))
        .map(|(&d, p)| below(p, d))
        .product()
}

/// The polynomial of `sum of steps[a] * i_a` on a tensor's elements.
pub(crate) fn ramp(dims: &[usize], steps: &[i64], point: &[E]) -> E {
    let parts = split(dims, point);
    let sums: Vec<E> = (dims.iter().zip(&parts))
        .map(|(&d, p)| below(p, d))
        .collect();
    (0..dims.len())
        .map(|a| {
            let others: E = (0..dims.len())
                .filter(|&b| b != a)
                .map(|b| sums[b])
                .product();
            weighted_below(parts[a], dims[a]) * int(steps[a]) * others
        })
        .sum()
}

/// The value at a point of the tensor with these row-major elements.
pub(crate) fn evaluate(dims: &[usize], data: &[i32], point: &[E]) -> E {
    let parts = split(dims, point);
    let mut values: Option<Vec<E>> = None;
    for (axis, part) in parts.iter().enumerate().rev() {
        let (d, weights) = (dims[axis], eq_table(part));
        values = Some(match values {
            None => data
                .chunks(d)
                .map(|row| {
                    row.iter()
                        .zip(&weights)
                        .map(|(&v, &w)| w * int(v.into()))
                        .sum()
                })
                .collect(),
            Some(v) => v
                .chunks(d)
                .map(|row| row.iter().zip(&weights).map(|(&v, &w)| w * v).sum())
                .collect(),
        });
    }
    values.map_or_else(|| E::from(int(data[0].into())), |v| v[0])
}

/// Where an output position along one axis reads from: `i = step * j + start + t * dilation` for each tap t, where that
/// lies on the input's axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AxisMap {
    pub(crate) step: i64,
    pub(crate) start: i64,
    pub(crate) taps: usize,
    pub(crate) dilation: i64,
}

impl AxisMap {
    pub(crate) fn identity() -> Self {
        Self::affine(1, 0)
    }

    pub(crate) fn affine(step: i64, start: i64) -> Self {
        Self {
            step,
            start,
            taps: 1,
            dilation: 1,
        }
    }

    /// Whether it copies an axis of this length to an axis of the same length.
    pub(crate) fn is_identity(&self, from: usize, to: usize) -> bool {
        from == to && self.step == 1 && self.start == 0 && self.taps == 1
    }

    pub(crate) fn source(&self, j: usize, tap: usize, from: usize) -> Option<usize> {
        let i = self.step * j as i64 + self.start + tap as i64 * self.dilation;
        usize::try_from(i).ok().filter(|&i| i < from)
    }

    /// `k[i] = sum over (j, tap) that read i of out[j] * tap[tap]`, the kernel along one axis.
    pub(crate) fn kernel(&self, from: usize, to: usize, out: &[E], tap: &[E]) -> Vec<E> {
        let mut k = vec![E::ZERO; from];
        for (j, &o) in out.iter().enumerate().take(to) {
            for (t, &w) in tap.iter().enumerate().take(self.taps) {
                if let Some(i) = self.source(j, t, from) {
                    k[i] += o * w;
                }
            }
        }
        k
    }
}

/// Inner product of a short vector with `eq(point, .)`.
pub(crate) fn dot_eq(values: &[E], point: &[E]) -> E {
    values
        .iter()
        .zip(eq_table(point))
        .map(|(&v, e)| e * v)
        .sum()
}

/// A run of axes on both sides of a reshape that hold the same elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) from: core::ops::Range<usize>,
    pub(crate) to: core::ops::Range<usize>,
    /// Whether the variables of both sides are the same, one after the other.
    pub(crate) free: bool,
}

/// Cuts a reshape into the smallest groups of axes with equal numbers of elements.
pub(crate) fn reshape_groups(from: &[usize], to: &[usize]) -> Vec<Group> {
    let (mut groups, mut i, mut j) = (Vec::new(), 0, 0);
    while i < from.len() || j < to.len() {
        let (i0, j0) = (i, j);
        let (mut a, mut b) = (1usize, 1usize);
        // Take at least one axis where there is one, then balance.
        if i < from.len() && (j >= to.len() || from[i] == 1) {
            a = from[i];
            i += 1;
        } else if j < to.len() && (i >= from.len() || to[j] == 1) {
            b = to[j];
            j += 1;
        } else {
            a = from[i];
            b = to[j];
            i += 1;
            j += 1;
        }
        while a != b {
            if a < b {
                a *= from[i];
                i += 1;
            } else {
                b *= to[j];
                j += 1;
            }
        }
        let inner_exact = |dims: &[usize]| {
            // Axes of length one have no variables; the first other axis may have any length.
            let mut real = dims.iter().filter(|&&d| d != 1);
            real.next();
            real.all(|d| d.is_power_of_two())
        };
        groups.push(Group {
            from: i0..i,
            to: j0..j,
            free: inner_exact(&from[i0..i]) && inner_exact(&to[j0..j]),
        });
    }
    groups
}

/// Per-axis indices of a flat row-major position.
#[cfg(feature = "prover")]
pub(crate) fn unflatten(dims: &[usize], mut flat: usize) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        at[axis] = flat % dims[axis];
        flat /= dims[axis];
    }
    at
}

/// Position in the padded index space of each element, in row-major order.
pub(crate) fn padded_positions(dims: &[usize]) -> Vec<usize> {
    let mut positions = vec![0usize];
    for &d in dims {
        let b = bits(d);
        positions = positions
            .iter()
            .flat_map(|&p| (0..d).map(move |i| p << b | i))
            .collect();
    }
    positions
}

/// `sum over flat of eq(to, idx_to(flat)) eq(from, idx_from(flat))`: the kernel of one reshape group at two points.
pub(crate) fn reshape_kernel(from: &[usize], from_point: &[E], to: &[usize], to_point: &[E]) -> E {
    let (a, b) = (flat_eq(from, from_point), flat_eq(to, to_point));
    a.iter().zip(&b).map(|(&x, &y)| x * y).sum()
}

/// `eq(point, idx(flat))` for each element in row-major order.
pub(crate) fn flat_eq(dims: &[usize], point: &[E]) -> Vec<E> {
    let mut out = vec![E::ONE];
    for (&d, part) in dims.iter().zip(split(dims, point)) {
        let table = eq_table(part);
        out = out
            .iter()
            .flat_map(|&v| table[..d].iter().map(move |&t| v * t))
            .collect();
    }
    out
}
