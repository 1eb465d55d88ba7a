//! All claims on one commitment become one claim per polynomial.

use super::{Prover, ahead::Rows};
use crate::{
    claims::ValueClaim,
    field::E,
    graph::Id,
    hide::pin::Pin,
    kernels::{
        Vector,
        compact::{Values, dot_rows},
        eq_vector, product, product_base, products,
        terms::{Term, sum_terms},
    },
    layout::{eq, eq_table, padded_positions},
    plan::{Block, row_vars},
    steps::powers,
    store::Store,
};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The claims on one commitment, the powers of a challenge that combine them, and the combination's part in each of the
/// commitment's polynomials.
pub(super) struct Join {
    claims: Vec<(usize, Id, ValueClaim)>,
    powers: Vec<E>,
    parts: Vec<E>,
    /// What is said of the polynomial as a whole, at a point.
    pin: Option<(E, Vec<E>)>,
}

impl Join {
    /// The kernel of all claims on one polynomial, box by box.
    fn terms(&self, prover: &Prover<'_, '_>, store: &Store) -> Vec<Term> {
        // Claims on one tensor at one point share their kernel.
        let mut shared: Vec<(usize, Id, &[E], E)> = Vec::new();
        for ((index, id, c), &g) in self.claims.iter().zip(&self.powers) {
            match shared.iter_mut().find(|s| s.0 == *index && s.2 == c.point) {
                Some(s) => s.3 += g,
                None => shared.push((*index, *id, &c.point, g)),
            }
        }
        let mut out = Vec::new();
        if let Some((power, point)) = &self.pin {
            out.push(Term {
                block: Block {
                    offset: 0,
                    vars: store.vars,
                },
                point: point.clone(),
                scale: *power,
                mask: None,
            });
        }
        for (index, id, point, g) in shared {
            for piece in store.of_tensor(index) {
                let (weight, own) = piece.restrict(prover.dims(id), point);
                out.push(Term {
                    block: piece.block,
                    point: own,
                    scale: g * weight,
                    mask: (!piece.is_full()).then(|| padded_positions(&piece.dims())),
                });
            }
        }
        out
    }
}

impl Prover<'_, '_> {
    /// Takes all claims on a commitment, and sends how their combination divides among its polynomials.
    pub(super) fn join(
        &mut self,
        witness: bool,
        polynomials: &[Values<'_>],
        pin: Option<&Pin>,
    ) -> Join {
        let claims = self.claims.committed(&self.plan.graph, witness);
        let gamma = self.sink.transcript.challenge();
        let mut powers = powers(gamma, claims.len() + usize::from(pin.is_some()));
        let pin = pin.and_then(|pin| Some((powers.pop()?, pin)));
        let values = claims.iter().map(|(_, _, c)| c.value);
        let mut sum: E = values.zip(&powers).map(|(v, &g)| v * g).sum();
        sum += pin.map_or(E::ZERO, |(power, pin)| power * pin.value);
        let mut join = Join {
            claims,
            powers,
            parts: Vec::new(),
            pin: pin.map(|(power, pin)| (power, pin.point.clone())),
        };
        let mut rest = Vec::new();
        for (i, polynomial) in polynomials.iter().enumerate().skip(1) {
            let terms = join.terms(self, &self.plan.weights[i]);
            rest.push(terms.iter().map(|t| kernel_sum(t, *polynomial)).sum::<E>());
        }
        self.sink.send("parts", &rest);
        join.parts = vec![sum - rest.iter().copied().sum::<E>()];
        join.parts.extend(rest);
        join
    }

    /// Joins the claims on the witness. Returns the point at which to open it.
    pub(super) fn open_witness(&mut self, polynomial: Values<'_>) -> Vec<E> {
        let join = self.join(true, &[polynomial], None);
        let store = &self.plan.witness;
        let polynomial = polynomial.field(0..1 << store.vars);
        let kernel = sum_terms(store.vars, join.terms(self, store));
        let (at, value) = product_base(&mut self.sink, join.parts[0], &polynomial, kernel);
        self.sink.send("opened", &[value]);
        at
    }

    /// Joins the claims on one polynomial of constants: first over the positions within a row, then over rows. Both
    /// parts work on sums of rows, so the large polynomial is read twice and never copied. Returns the point and the value there.
    pub(super) fn open_weights(
        &mut self,
        join: &mut Join,
        part: usize,
        polynomial: Values<'_>,
    ) -> (Vec<E>, E) {
        let store = &self.plan.weights[part];
        let columns = row_vars(store.vars);
        let width = 1usize << columns;
        let terms = join.terms(self, store);
        let (large, small): (Vec<&Term>, Vec<&Term>) = terms
            .iter()
            .partition(|t| t.block.vars >= columns && t.mask.is_none());
        // Kernels of boxes that are shorter than a row or hold padding, row by row.
        let mut dense: BTreeMap<usize, Vec<E>> = BTreeMap::new();
        for t in small {
            let mut add = |i: usize, e: E| {
                let at = t.block.offset + i;
                dense
                    .entry(at / width)
                    .or_insert_with(|| vec![E::ZERO; width])[at % width] += e * t.scale;
            };
            let table = eq_table(&t.point);
            match &t.mask {
                Some(slots) => slots.iter().for_each(|&i| add(i, table[i])),
                None => table.iter().enumerate().for_each(|(i, &e)| add(i, e)),
            }
        }
        let taken: Vec<Option<Rows>> = (large.iter())
            .map(|t| {
                let row = &t.point[..t.block.vars - columns];
                self.ahead.take(part, t.block, row)
            })
            .collect();
        let combine = |(t, rows): (&&Term, Option<Rows>)| {
            let (row, column) = t.point.split_at(t.block.vars - columns);
            let rows = rows.unwrap_or_else(|| Rows::new(polynomial, t.block.offset, columns, row));
            (rows.weights, (rows.sum, eq_vector(column, t.scale)))
        };
        let (row_weights, mut pairs): (Vec<Vec<E>>, Vec<(Vector, Vector)>) =
            large.par_iter().zip(taken).map(combine).unzip();
        for (&row, kernel) in &dense {
            let values = polynomial.field(row * width..(row + 1) * width);
            let values = values.iter().map(|&v| v.into()).collect();
            pairs.push((Vector::new(values), Vector::new(kernel.clone())));
        }
        let (column, left) = products(&mut self.sink, join.parts[part], pairs, columns);
        let weights = eq_table(&column);
        let rows = dot_rows(polynomial, &weights);
        let mut kernel = vec![E::ZERO; rows.len()];
        for (t, weights) in large.into_iter().zip(row_weights) {
            let own = &t.point[t.block.vars - columns..];
            let scale = t.scale * eq(own, &column);
            let first = t.block.offset / width;
            for (k, e) in kernel[first..].iter_mut().zip(weights) {
                *k += e * scale;
            }
        }
        for (&row, dense) in &dense {
            let sum: E = dense.iter().zip(&weights).map(|(&k, &w)| k * w).sum();
            kernel[row] += sum;
        }
        let (row, value, _) = product(&mut self.sink, left, Vector::new(rows), Vector::new(kernel));
        ([row, column].concat(), value)
    }
}

/// The sum over a box of its kernel times the polynomial.
fn kernel_sum(term: &Term, polynomial: Values<'_>) -> E {
    let values = polynomial.field(term.block.range());
    let table = eq_table(&term.point);
    let sum: E = match &term.mask {
        Some(slots) => slots.iter().map(|&i| table[i] * values[i]).sum(),
        None => table.iter().zip(&*values).map(|(&e, &v)| e * v).sum(),
    };
    sum * term.scale
}
