//! The lookup argument: every looked-up tuple is a row of its table.

use super::{Prover, Values, entry, gkr, positions};
use crate::{
    field::{E, F, int},
    graph::Id,
    kernels::{P, WIDTH, filled, fractions::Leaves, stripes::both},
    plan::Plan,
    share,
    steps::fingerprint,
};
use p3_field::{Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

type Packed = <F as Field>::Packing;

/// The denominators of one block, by the entries of its tuples.
struct Fill {
    first: Vec<F>,
    second: Option<Vec<F>>,
    /// What is left of the denominator when the tuple is zero.
    base: E,
}

fn residues(values: &[i32]) -> Vec<F> {
    let values = values.par_iter().with_min_len(1 << 13);
    values.map(|&v| F::from_i32(v)).collect()
}

/// Values at their padded positions.
pub(super) fn padded(values: &[i32], positions: Option<&[usize]>, size: usize) -> Vec<F> {
    let Some(positions) = positions else {
        return residues(values);
    };
    let mut out = F::zero_vec(size);
    for (&v, &at) in values.iter().zip(positions) {
        out[at] = F::from_i32(v);
    }
    out
}

/// The fractions of a lookup's elements. Numerators are zero before.
fn looked_up(
    plan: &Plan,
    values: &Values<'_>,
    index: usize,
    (alpha, mix): (E, E),
    numerators: &mut [F],
) -> Fill {
    let lookup = &plan.graph.lookups[index];
    let block = plan.leaves.blocks[index];
    let size = 1usize << block.vars;
    let positions = positions(&plan.graph.nodes[lookup.tuple[0]].dims);
    let column = |id| padded(values.get(id), positions.as_deref(), size);
    // In the padding the numerator is zero, and so is the tuple.
    match &positions {
        None => numerators.fill(F::ONE),
        Some(p) => p.iter().for_each(|&at| numerators[at] = F::ONE),
    }
    Fill {
        first: column(lookup.tuple[0]),
        second: lookup.tuple.get(1).map(|&id| column(id)),
        base: alpha - fingerprint(&[E::ZERO], lookup.table, mix),
    }
}

/// The fractions of a table's rows. Numerators are zero before.
fn tabled(
    plan: &Plan,
    values: &Values<'_>,
    index: usize,
    (alpha, mix): (E, E),
    numerators: &mut [F],
) -> Fill {
    let graph = &plan.graph;
    let table = &graph.tables[index];
    let block = plan.leaves.blocks[graph.lookups.len() + index];
    let size = 1usize << block.vars;
    let counts = values.get(graph.column_nodes[table.multiplicity]);
    let positions = positions(&table.dims);
    match &positions {
        None => (numerators.iter_mut().zip(counts)).for_each(|(n, &c)| *n = -F::from_i32(c)),
        Some(p) => (p.iter().zip(counts)).for_each(|(&at, &c)| numerators[at] = -F::from_i32(c)),
    }
    let (mut first, mut second) = (F::zero_vec(size), F::zero_vec(size));
    let out = (&mut first[..], &mut second[..]);
    share::each((0..size, out), 1 << 11, &|(rows, (first, second))| {
        for (t, (first, second)) in rows.zip(first.iter_mut().zip(second)) {
            [*first, *second] = entry(table, t).map(int);
        }
    });
    if let Some(id) = table.value {
        second = padded(values.get(id), positions.as_deref(), size);
    }
    Fill {
        first,
        second: Some(second),
        base: alpha - fingerprint(&[E::ZERO], index, mix),
    }
}

/// All fractions. Each block is filled where it lies, so nothing is held twice.
fn leaves(plan: &Plan, mix: E, fill: impl Fn(usize, &mut [F]) -> Fill + Sync) -> Leaves {
    let size = 1usize << plan.leaves.vars;
    let mut numerators = filled(F::ZERO, size);
    let registers = size.div_ceil(WIDTH);
    let mut denominators = both(registers / 2, |s| filled(P::ONE, (registers + 1 - s) / 2));
    let mut order: Vec<usize> = (0..plan.leaves.blocks.len()).collect();
    order.sort_by_key(|&i| plan.leaves.blocks[i].offset);
    let (long, short): (Vec<usize>, Vec<usize>) = order
        .into_iter()
        .partition(|&i| 1 << plan.leaves.blocks[i].vars >= 2 * WIDTH);
    let (mut n, mut at) = (&mut numerators[..], 0);
    let mut d = denominators.each_mut().map(|d| &mut d[..]);
    let mut parts = Vec::with_capacity(long.len());
    for i in long {
        let range = plan.leaves.blocks[i].range();
        let gap = range.start - at;
        let (own_n, rest_n) = core::mem::take(&mut n)[gap..].split_at_mut(range.len());
        // A block begins at a multiple of its length, so each stripe has half of it.
        let half = |len: usize| len / WIDTH / 2;
        let own_d = d.each_mut().map(|d| {
            let (own, rest) = core::mem::take(d)[half(gap)..].split_at_mut(half(range.len()));
            *d = rest;
            own
        });
        parts.push((i, own_n, own_d));
        (n, at) = (rest_n, range.end);
    }
    // The first are as large as all others together: each is a task of its own.
    share::each(&mut parts[..], 1, &|parts| {
        for (i, n, d) in parts {
            fill(*i, n).write(mix, d);
        }
    });
    for i in short {
        // Short blocks: lane by lane. What was there is one.
        let range = plan.leaves.blocks[i].range();
        let fill = fill(i, &mut numerators[range.clone()]);
        for (k, at) in range.enumerate() {
            let mut d = fill.base - fill.first[k];
            if let Some(second) = &fill.second {
                d -= mix * second[k];
            }
            let register = at / WIDTH;
            denominators[register % 2][register / 2].add_assign_lane(at % WIDTH, d - E::ONE);
        }
    }
    Leaves {
        numerators,
        denominators,
    }
}

impl Fill {
    /// Writes both stripes.
    fn write(&self, mix: E, [even, odd]: &mut [&mut [P]; 2]) {
        let (base, scale) = (P::from(self.base), P::from(mix));
        let first = Packed::pack_slice(&self.first);
        let second = self.second.as_deref().map(Packed::pack_slice);
        let stripe = |s: usize, out: &mut [P]| {
            share::each((0..out.len(), out), 1 << 9, &|(range, out)| {
                for (k, d) in range.zip(out) {
                    *d = base - first[2 * k + s];
                    if let Some(second) = second {
                        *d -= scale * second[2 * k + s];
                    }
                }
            });
        };
        share::join(|| stripe(0, even), || stripe(1, odd));
    }
}

impl Prover<'_, '_> {
    pub(super) fn lookups(&mut self) {
        let (plan, graph) = (self.plan, &self.plan.graph);
        if graph.lookups.is_empty() {
            return;
        }
        let mix = self.sink.transcript.challenge();
        let alpha = self.sink.transcript.challenge();
        let count = graph.lookups.len();
        let values = self.values;
        let fill = |i: usize, numerators: &mut [F]| {
            if i < count {
                looked_up(plan, values, i, (alpha, mix), numerators)
            } else {
                tabled(plan, values, i - count, (alpha, mix), numerators)
            }
        };
        let point = gkr::prove(&mut self.sink, leaves(plan, mix, fill));
        let points: Vec<Vec<E>> = (plan.leaves.blocks.iter())
            .map(|&block| plan.leaves.cut(block, &point).1.to_vec())
            .collect();
        // What each block sends, and whose claims that become.
        let ids: Vec<Vec<Id>> = (graph.lookups.iter().map(|lookup| lookup.tuple.clone()))
            .chain(graph.tables.iter().map(|table| {
                let counts = graph.column_nodes[table.multiplicity];
                [counts].into_iter().chain(table.value).collect()
            }))
            .collect();
        let prover = &*self;
        let mut sent: Vec<Vec<E>> = vec![Vec::new(); ids.len()];
        let blocks = (&ids[..], &points[..]);
        share::each((blocks, &mut sent[..]), 1, &|((ids, points), sent)| {
            for ((ids, own), sent) in ids.iter().zip(points).zip(sent) {
                sent.extend(ids.iter().map(|&id| prover.evaluate(id, own)));
            }
        });
        for (i, ((ids, own), sent)) in ids.iter().zip(points).zip(sent).enumerate() {
            if i < count {
                self.sink.send("looked up", &sent);
            } else {
                for (label, &v) in ["multiplicity", "table"].iter().zip(&sent) {
                    self.sink.send(label, &[v]);
                }
            }
            for (&id, &v) in ids.iter().zip(&sent) {
                self.claims.push(id, own.clone(), v);
            }
        }
    }
}
