//! What both halves know of steps: how claims combine, what a table's tuples are at a point, where the operands of a
//! transposition, a sum and a contraction are claimed.

use crate::{
    field::{E, F, int},
    graph::{Rows, Table},
    layout::{self, below, eq, split, vars, weighted_below},
};
use alloc::{vec, vec::Vec};
use p3_field::{Field, PrimeCharacteristicRing};

/// `1, g, g^2, ...`
pub(crate) fn powers(g: E, n: usize) -> Vec<E> {
    core::iter::successors(Some(E::ONE), |&p| Some(p * g))
        .take(n)
        .collect()
}

/// One field element for a tuple of a table: `v0 + mix v1 + mix^2 (table + 1)`.
pub(crate) fn fingerprint(values: &[E], table: usize, mix: E) -> E {
    let second = values.get(1).copied().unwrap_or(E::ZERO);
    values[0] + mix * (second + mix * F::from_usize(table + 1))
}

/// The tuple polynomial of a table at a point.
pub(crate) fn row(table: &Table, point: &[E]) -> Vec<E> {
    let all = 1usize << point.len();
    let index = |start: i64| weighted_below(point, all) + int(start);
    match table.rows {
        Rows::Range => vec![index(0)],
        Rows::Step { start } => {
            let negative = (-start).clamp(0, all as i64) as usize;
            vec![index(start), E::ONE - below(point, negative)]
        }
        Rows::Clamp { start, lo, hi } => {
            // lo before `first`, then t + start, then hi from `end` on.
            let first = (lo - start).clamp(0, all as i64) as usize;
            let end = (hi - start + 1).clamp(first as i64, all as i64) as usize;
            let (a, b) = (below(point, first), below(point, end));
            let linear =
                weighted_below(point, end) - weighted_below(point, first) + (b - a) * int(start);
            vec![index(start), a * int(lo) + linear + (E::ONE - b) * int(hi)]
        }
        // What a value holds is not here.
        Rows::Value { start } => vec![index(start), E::ZERO],
    }
}

/// The operand's point of a transposed claim.
pub(crate) fn permuted(to: &[usize], perm: &[usize], point: &[E]) -> Vec<E> {
    let parts = split(to, point);
    let mut from: Vec<&[E]> = vec![&[]; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        from[p] = parts[i];
    }
    from.concat()
}

/// Summing over a cube is `2^n` times the value at (1/2, .., 1/2): the operand's point, and what to scale the claim by.
pub(crate) fn summed(from: &[usize], axes: &[usize], point: &[E]) -> (Vec<E>, E) {
    let half = E::from(F::from_u32(2).inverse());
    let (mut next, mut rest, mut scale) = (Vec::new(), point, E::ONE);
    for (a, &d) in from.iter().enumerate() {
        let n = layout::bits(d);
        if axes.contains(&a) {
            next.extend(core::iter::repeat_n(half, n));
            scale *= half.exp_u64(n as u64);
        } else {
            let (head, tail) = rest.split_at(n);
            next.extend_from_slice(head);
            rest = tail;
        }
    }
    (next, scale)
}

/// The axes of a contraction: which are shared, and where each label's coordinates come from.
pub(crate) struct ContractShape {
    /// Shared labels with their lengths, those of the output first.
    pub(crate) shared: Vec<(u8, usize)>,
    /// How many of them are in the output.
    pub(crate) batch: usize,
}

impl ContractShape {
    pub(crate) fn new(a_dims: &[usize], a: &[u8], b: &[u8], out: &[u8]) -> Self {
        let both = |kept: bool| {
            a.iter()
                .zip(a_dims)
                .filter(move |(l, _)| b.contains(l) && out.contains(l) == kept)
                .map(|(&l, &d)| (l, d))
        };
        let shared: Vec<_> = both(true).chain(both(false)).collect();
        Self {
            batch: both(true).count(),
            shared,
        }
    }

    /// Whether an output label with variables is shared.
    pub(crate) fn batched(&self) -> bool {
        self.shared[..self.batch].iter().any(|&(_, d)| d > 1)
    }

    pub(crate) fn dims(&self) -> Vec<usize> {
        self.shared.iter().map(|&(_, d)| d).collect()
    }

    pub(crate) fn vars(&self) -> usize {
        vars(&self.dims())
    }

    /// An operand's point: shared labels from the sumcheck, the others from the output's point.
    pub(crate) fn operand(
        &self,
        labels: &[u8],
        dims: &[usize],
        out_labels: &[u8],
        out_dims: &[usize],
        out: &[E],
        at: &[E],
    ) -> Vec<E> {
        let (out, shared) = (split(out_dims, out), self.dims());
        let at = split(&shared, at);
        debug_assert_eq!(labels.len(), dims.len());
        labels
            .iter()
            .flat_map(|l| match self.shared.iter().position(|(s, _)| s == l) {
                Some(i) => at[i],
                None => out_labels
                    .iter()
                    .position(|o| o == l)
                    .map_or(&[][..], |i| out[i]),
            })
            .copied()
            .collect()
    }

    /// `eq` over the shared labels of the output.
    pub(crate) fn batch_eq(&self, out_labels: &[u8], out_dims: &[usize], out: &[E], at: &[E]) -> E {
        let (out, shared) = (split(out_dims, out), self.dims());
        let at = split(&shared, at);
        (0..self.batch)
            .map(|i| {
                let o = out_labels.iter().position(|&l| l == self.shared[i].0);
                o.map_or(E::ONE, |o| eq(out[o], at[i]))
            })
            .product()
    }
}
