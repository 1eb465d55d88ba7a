//! The lookup argument: every looked-up tuple is a row of its table.

use super::{
    Prover, entry,
    gkr::{self, Leaves},
    kernels::{P, WIDTH},
    positions,
};
use crate::{
    field::{E, F, int},
    plan::Block,
    verify::fingerprint,
};
use p3_field::{Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

type Packed = <F as Field>::Packing;

/// The fractions of one block: its numerators, and the entries of its tuples.
struct Fill {
    block: Block,
    numerators: Vec<F>,
    first: Vec<F>,
    second: Option<Vec<F>>,
    /// What is left of the denominator when the tuple is zero.
    base: E,
}

fn residues(values: &[i32]) -> Vec<F> {
    values.iter().map(|&v| F::from_i32(v)).collect()
}

/// Values at their padded positions.
fn padded(values: &[i32], positions: Option<&[usize]>, size: usize) -> Vec<F> {
    let Some(positions) = positions else {
        return residues(values);
    };
    let mut out = vec![F::ZERO; size];
    for (&v, &at) in values.iter().zip(positions) {
        out[at] = F::from_i32(v);
    }
    out
}

impl Prover<'_, '_> {
    fn looked_up(&self, index: usize, alpha: E, mix: E) -> Fill {
        let lookup = &self.plan.graph.lookups[index];
        let block = self.plan.leaves.blocks[index];
        let size = 1usize << block.vars;
        let positions = positions(self.dims(lookup.tuple[0]));
        let column = |id| padded(self.values.get(id), positions.as_deref(), size);
        // In the padding the numerator is zero, and so is the tuple.
        let numerators = match &positions {
            None => vec![F::ONE; size],
            Some(p) => {
                let mut out = vec![F::ZERO; size];
                p.iter().for_each(|&at| out[at] = F::ONE);
                out
            }
        };
        Fill {
            block,
            numerators,
            first: column(lookup.tuple[0]),
            second: lookup.tuple.get(1).map(|&id| column(id)),
            base: alpha - fingerprint(&[E::ZERO], lookup.table, mix),
        }
    }

    fn tabled(&self, index: usize, alpha: E, mix: E) -> Fill {
        let graph = &self.plan.graph;
        let table = &graph.tables[index];
        let block = self.plan.leaves.blocks[graph.lookups.len() + index];
        let size = 1usize << block.vars;
        let counts = self.values.get(graph.column_nodes[table.multiplicity]);
        let positions = positions(&table.dims);
        let mut numerators = padded(counts, positions.as_deref(), size);
        numerators.iter_mut().for_each(|n| *n = -*n);
        let (first, mut second): (Vec<F>, Vec<F>) = (0..size)
            .map(|t| {
                let [a, b] = entry(table, t);
                (int(a), int(b))
            })
            .unzip();
        if let Some(id) = table.value {
            second = padded(self.values.get(id), positions.as_deref(), size);
        }
        Fill {
            block,
            numerators,
            first,
            second: Some(second),
            base: alpha - fingerprint(&[E::ZERO], index, mix),
        }
    }

    pub(super) fn lookups(&mut self) {
        let (plan, graph) = (self.plan, &self.plan.graph);
        if graph.lookups.is_empty() {
            return;
        }
        let mix = self.sink.transcript.challenge();
        let alpha = self.sink.transcript.challenge();
        let size = 1usize << plan.leaves.vars;
        let mut numerators = vec![F::ZERO; size];
        let mut denominators = vec![P::ONE; size.div_ceil(WIDTH)];
        let count = graph.lookups.len();
        for i in 0..count + graph.tables.len() {
            let fill = if i < count {
                self.looked_up(i, alpha, mix)
            } else {
                self.tabled(i - count, alpha, mix)
            };
            let range = fill.block.range();
            numerators[range.clone()].copy_from_slice(&fill.numerators);
            if range.len() < WIDTH {
                // Blocks shorter than a register: lane by lane. What was there is one.
                for (k, at) in range.enumerate() {
                    let mut d = fill.base - fill.first[k];
                    if let Some(second) = &fill.second {
                        d -= mix * second[k];
                    }
                    denominators[at / WIDTH].add_assign_lane(at % WIDTH, d - E::ONE);
                }
                continue;
            }
            let (base, scale) = (P::from(fill.base), P::from(mix));
            let first = Packed::pack_slice(&fill.first);
            let second = fill.second.as_deref().map(Packed::pack_slice);
            denominators[range.start / WIDTH..range.end / WIDTH]
                .par_iter_mut()
                .with_min_len(1 << 9)
                .enumerate()
                .for_each(|(k, d)| {
                    *d = base - first[k];
                    if let Some(second) = second {
                        *d -= scale * second[k];
                    }
                });
        }
        let point = gkr::prove(
            &mut self.sink,
            Leaves {
                numerators,
                denominators,
            },
        );
        for (i, lookup) in graph.lookups.iter().enumerate() {
            let own = plan.leaves.cut(plan.leaves.blocks[i], &point).1.to_vec();
            let sent: Vec<E> = lookup
                .tuple
                .iter()
                .map(|&id| self.evaluate(id, &own))
                .collect();
            self.sink.send("looked up", &sent);
            for (&id, &v) in lookup.tuple.iter().zip(&sent) {
                self.claims.push(id, own.clone(), v);
            }
        }
        for (i, table) in graph.tables.iter().enumerate() {
            let block = plan.leaves.blocks[count + i];
            let own = plan.leaves.cut(block, &point).1.to_vec();
            let id = graph.column_nodes[table.multiplicity];
            let value = self.evaluate(id, &own);
            self.sink.send("multiplicity", &[value]);
            self.claims.push(id, own.clone(), value);
            if let Some(id) = table.value {
                let value = self.evaluate(id, &own);
                self.sink.send("table", &[value]);
                self.claims.push(id, own, value);
            }
        }
    }
}

/// Elements of a packed vector whose length may be below one register.
pub(super) fn unpack(values: &[P], len: usize) -> Vec<E> {
    (0..len)
        .map(|i| values[i / WIDTH].extract(i % WIDTH))
        .collect()
}

/// Base field elements as extension elements.
pub(super) fn lift(values: &[F]) -> Vec<P> {
    Packed::pack_slice(values)
        .iter()
        .map(|&v| P::from(v))
        .collect()
}
