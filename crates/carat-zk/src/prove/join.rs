//! All claims on one commitment become one claim.

use super::{
    Prover,
    kernels::{Vector, eq_vector, product, product_base, products},
    positions,
    rows::{Blocks, combine_rows, dot_rows},
};
use crate::{
    field::{E, F},
    graph::Id,
    layout::{eq, eq_table},
    plan::row_vars,
    verify::powers,
};
use p3_field::PrimeCharacteristicRing;
use std::collections::BTreeMap;

impl Prover<'_, '_> {
    /// Joins all claims on the witness. Returns the point at which to open it.
    pub(super) fn join_witness(&mut self, polynomial: &[F]) -> Vec<E> {
        let packing = &self.plan.witness;
        let claims = self.claims.committed(&self.plan.graph, true);
        let gamma = self.sink.transcript.challenge();
        let powers = powers(gamma, claims.len());
        let values = claims.iter().map(|(_, _, c)| c.value);
        let sum = values.zip(&powers).map(|(v, &g)| v * g).sum();
        // Claims on one column at one point share their kernel.
        let mut shared: Vec<(usize, Id, &[E], E)> = Vec::new();
        for ((index, id, c), &g) in claims.iter().zip(&powers) {
            match shared.iter_mut().find(|s| s.0 == *index && s.2 == c.point) {
                Some(s) => s.3 += g,
                None => shared.push((*index, *id, &c.point, g)),
            }
        }
        let mut kernel = Blocks::new(packing.vars);
        for (index, id, point, g) in shared {
            let mask = positions(self.dims(id));
            kernel.add(packing.blocks[index], point, g, mask.as_deref());
        }
        let (at, value) = product_base(&mut self.sink, sum, polynomial, kernel.finish());
        self.sink.send("opened", &[value]);
        at
    }

    /// Joins all claims on the constants: first over the positions within a row, then over rows. Both parts work on
    /// sums of rows, so the large polynomial is read twice and never copied.
    pub(super) fn join_weights(&mut self, polynomial: &[F]) -> Vec<E> {
        let packing = &self.plan.weights;
        let claims = self.claims.committed(&self.plan.graph, false);
        let gamma = self.sink.transcript.challenge();
        let powers = powers(gamma, claims.len());
        let values = claims.iter().map(|(_, _, c)| c.value);
        let sum = values.zip(&powers).map(|(v, &g)| v * g).sum();
        let columns = row_vars(packing.vars);
        let width = 1usize << columns;
        let mut pairs = Vec::new();
        // Rows that several small blocks share, with their kernels.
        let mut small: BTreeMap<usize, Vec<E>> = BTreeMap::new();
        for ((index, _, c), &g) in claims.iter().zip(&powers) {
            let block = packing.blocks[*index];
            if block.vars >= columns {
                let (row, column) = c.point.split_at(block.vars - columns);
                let rows = combine_rows(&polynomial[block.range()], width, &eq_table(row));
                pairs.push((rows, eq_vector(column, g)));
            } else {
                let kernel = small
                    .entry(block.offset / width)
                    .or_insert_with(|| vec![E::ZERO; width]);
                let at = block.offset % width;
                for (k, e) in kernel[at..].iter_mut().zip(eq_table(&c.point)) {
                    *k += e * g;
                }
            }
        }
        for (&row, kernel) in &small {
            let values = &polynomial[row * width..(row + 1) * width];
            let values = values.iter().map(|&v| v.into()).collect();
            pairs.push((Vector::new(values), Vector::new(kernel.clone())));
        }
        let (column, left) = products(&mut self.sink, sum, pairs, columns);
        let weights = eq_table(&column);
        let rows = dot_rows(polynomial, &weights);
        let mut kernel = vec![E::ZERO; rows.len()];
        for ((index, _, c), &g) in claims.iter().zip(&powers) {
            let block = packing.blocks[*index];
            if block.vars >= columns {
                let (row, own) = c.point.split_at(block.vars - columns);
                let g = g * eq(own, &column);
                let first = block.offset / width;
                for (k, e) in kernel[first..].iter_mut().zip(eq_table(row)) {
                    *k += e * g;
                }
            }
        }
        for (&row, small) in &small {
            kernel[row] += small.iter().zip(&weights).map(|(&k, &w)| k * w).sum::<E>();
        }
        let (row, value, _) = product(&mut self.sink, left, Vector::new(rows), Vector::new(kernel));
        self.sink.send("opened", &[value]);
        [row, column].concat()
    }
}
