//! The integers behind every value of the graph.
//!
//! A value that the Program computes comes from the execution trace; the others are evaluated here, modulo p with
//! representatives of smallest absolute value.

use crate::{
    Error,
    field::{int, signed},
    graph::{Fill, Graph, Id, Kind, Lookup, Rows, Table},
    layout::{unflatten, vars},
    share,
};
use carat_program::{Elements, Program, Rounding, Tensor, Weights, shift_round};
use rayon::prelude::*;
use std::{borrow::Cow, sync::OnceLock};

/// What one execution gave: every value of the Program except the constants.
#[derive(Debug, Clone)]
pub struct Run {
    /// The inputs, in the Program's order.
    pub inputs: Vec<Tensor>,
    /// The result of each node, in the Program's order.
    pub nodes: Vec<Tensor>,
}

impl Run {
    /// Whether it has the Program's tensors.
    pub(super) fn check(&self, program: &Program) -> Result<(), Error> {
        let value = |i| program.value(program.node_value(i));
        let node = |(i, x): (usize, &Tensor)| value(i).is_some_and(|v| v.shape == x.shape());
        let same = self.inputs.len() == program.inputs.len()
            && self.nodes.len() == program.nodes.len()
            && (program.inputs.iter().zip(&self.inputs))
                .all(|(input, x)| input.shape == *x.shape())
            && self.nodes.iter().enumerate().all(node);
        if same {
            Ok(())
        } else {
            Err(Error::Values(
                "the trace does not belong to this Program: it has other tensors".into(),
            ))
        }
    }
}

/// Given a column's index and its honest values, what a dishonest prover commits to instead.
type Forger<'a> = dyn Fn(usize, &[i32]) -> Option<Vec<i32>> + Sync + 'a;

/// Values on demand.
pub(crate) struct Values<'a> {
    program: &'a Program,
    weights: &'a Weights,
    graph: &'a Graph,
    runs: &'a [Run],
    computed: Vec<OnceLock<Cow<'a, [i32]>>>,
    /// Columns that a dishonest prover of the tests puts in place of the honest ones; nothing then comes from the trace.
    forged: Option<&'a Forger<'a>>,
}

/// Elements that one task fills.
const TASK: usize = 1 << 13;

/// The representative of smallest absolute value modulo p.
fn residue(v: i128) -> i32 {
    let v = i64::try_from(v).unwrap_or_else(|_| (v % i128::from(carat_program::MODULUS)) as i64);
    signed(int(v)) as i32
}

impl<'a> Values<'a> {
    pub(crate) fn new(
        program: &'a Program,
        weights: &'a Weights,
        graph: &'a Graph,
        runs: &'a [Run],
    ) -> Self {
        Self {
            program,
            weights,
            graph,
            runs,
            computed: (0..graph.nodes.len()).map(|_| OnceLock::new()).collect(),
            forged: None,
        }
    }

    /// Replaces columns: given a column's index and its honest values, the forger may return others.
    #[cfg(test)]
    pub(crate) fn forge(mut self, forger: &'a Forger<'a>) -> Self {
        self.forged = Some(forger);
        self
    }

    /// The constant whose elements a value has, in their order.
    pub(crate) fn constant(&self, id: Id) -> Option<&'a Elements> {
        let value = self.graph.nodes[id].value?;
        let index = self.program.constant_index(value)?;
        Some(&self.weights.data[index])
    }

    /// The elements of a value in row-major order.
    pub(crate) fn get(&self, id: Id) -> &[i32] {
        let place = &self.computed[id];
        if place.get().is_none() {
            // Not `get_or_init`: a thread that waits there for parts of one value may begin another that needs the
            // first. Two that compute the same do so twice.
            let _ = place.set(self.compute(id));
        }
        place.get().map_or(&[], |values| values)
    }

    fn compute(&self, id: Id) -> Cow<'a, [i32]> {
        let node = &self.graph.nodes[id];
        let column = matches!(node.kind, Kind::Column(_));
        if let Some(value) = node.value
            && (self.forged.is_none() || matches!(node.kind, Kind::Constant(_)))
        {
            if let Some(constant) = self.constant(id) {
                return constant.wide();
            }
            let tensor = |run: &'a Run| -> &'a [i32] {
                let i = value.index();
                match run.inputs.get(i) {
                    Some(t) => t.data(),
                    None => run.nodes[i - self.program.inputs.len() - self.program.constants.len()]
                        .data(),
                }
            };
            return match self.runs {
                [one] => Cow::Borrowed(tensor(one)),
                many => Cow::Owned(many.iter().map(tensor).collect::<Vec<_>>().concat()),
            };
        }
        let values = self.evaluate(id);
        if column
            && let Some(forger) = self.forged
            && let Kind::Column(c) = node.kind
            && let Some(other) = forger(c, &values)
        {
            return Cow::Owned(other);
        }
        Cow::Owned(values)
    }

    fn evaluate(&self, id: Id) -> Vec<i32> {
        let node = &self.graph.nodes[id];
        match &node.kind {
            Kind::Column(c) => self.fill(self.graph.columns[*c].fill),
            Kind::Constant(c) => self.weights.data[*c].wide().into_owned(),
            Kind::Linear { terms, bias } => {
                let operands: Vec<(i64, &[i32])> =
                    terms.iter().map(|&(c, x)| (c, self.get(x))).collect();
                let small = node.lo > i64::from(i32::MIN) && node.hi < i64::from(i32::MAX);
                let mut out = vec![0; operands[0].1.len()];
                share::each((0..out.len(), &mut out[..]), TASK, &|(range, out)| {
                    linear(&operands, *bias, small, range.start, out);
                });
                out
            }
            Kind::Ramp { steps } => (0..node.dims.iter().product())
                .map(|flat| {
                    let at = unflatten(&node.dims, flat);
                    residue(
                        at.iter()
                            .zip(steps)
                            .map(|(&i, &s)| i as i128 * i128::from(s))
                            .sum(),
                    )
                })
                .collect(),
            Kind::Reshape(x) => self.get(*x).to_vec(),
            Kind::Axes { x, maps } => {
                let (from, x) = (&self.graph.nodes[*x].dims, self.get(*x));
                // One axis after the other, from the last.
                let mut data: Vec<i128> = x.iter().map(|&v| v.into()).collect();
                let mut dims = from.clone();
                for a in (0..dims.len()).rev() {
                    let (n, m) = (dims[a], node.dims[a]);
                    if maps[a].is_identity(n, m) {
                        continue;
                    }
                    let inner: usize = dims[a + 1..].iter().product();
                    let outer: usize = dims[..a].iter().product();
                    let mut next = vec![0i128; outer * m * inner];
                    for o in 0..outer {
                        for j in 0..m {
                            for t in 0..maps[a].taps {
                                let Some(i) = maps[a].source(j, t, n) else {
                                    continue;
                                };
                                let (to, at) = ((o * m + j) * inner, (o * n + i) * inner);
                                for k in 0..inner {
                                    next[to + k] += data[at + k];
                                }
                            }
                        }
                    }
                    dims[a] = m;
                    data = next;
                }
                data.into_iter().map(residue).collect()
            }
            Kind::Permute { x, perm } => {
                let (from, x) = (&self.graph.nodes[*x].dims, self.get(*x));
                let strides = strides(from);
                (0..x.len())
                    .map(|flat| {
                        let at = unflatten(&node.dims, flat);
                        x[at.iter()
                            .zip(perm)
                            .map(|(i, &p)| i * strides[p])
                            .sum::<usize>()]
                    })
                    .collect()
            }
            Kind::Sum { x, axes } => {
                let (from, x) = (&self.graph.nodes[*x].dims, self.get(*x));
                let strides = strides(&node.dims);
                let mut out = vec![0i128; node.dims.iter().product()];
                for (flat, &v) in x.iter().enumerate() {
                    let at = unflatten(from, flat);
                    let kept = at
                        .iter()
                        .enumerate()
                        .filter(|(a, _)| !axes.contains(a))
                        .map(|(_, &i)| i);
                    out[kept.zip(&strides).map(|(i, s)| i * s).sum::<usize>()] += i128::from(v);
                }
                out.into_iter().map(residue).collect()
            }
            Kind::Mul(a, b) => self
                .get(*a)
                .iter()
                .zip(self.get(*b))
                .map(|(&a, &b)| residue(i128::from(a) * i128::from(b)))
                .collect(),
            Kind::Contract {
                a,
                b,
                a_labels,
                b_labels,
                out_labels,
            } => {
                let (ad, bd) = (&self.graph.nodes[*a].dims, &self.graph.nodes[*b].dims);
                let (a, b) = (self.get(*a), self.get(*b));
                let summed: Vec<(u8, usize)> = a_labels
                    .iter()
                    .zip(ad)
                    .filter(|(l, _)| !out_labels.contains(l))
                    .map(|(&l, &d)| (l, d))
                    .collect();
                let depth: Vec<usize> = summed.iter().map(|&(_, d)| d).collect();
                let (sa, sb) = (strides(ad), strides(bd));
                (0..node.dims.iter().product())
                    .map(|flat| {
                        let at = unflatten(&node.dims, flat);
                        let sum: i128 = (0..depth.iter().product())
                            .map(|k| {
                                let k = unflatten(&depth, k);
                                let place = |l: &u8| match out_labels.iter().position(|o| o == l) {
                                    Some(i) => at[i],
                                    None => {
                                        k[summed
                                            .iter()
                                            .position(|(s, _)| s == l)
                                            .expect("kept or summed")]
                                    }
                                };
                                let offset = |labels: &[u8], strides: &[usize]| -> usize {
                                    labels.iter().zip(strides).map(|(l, s)| place(l) * s).sum()
                                };
                                i128::from(a[offset(a_labels, &sa)])
                                    * i128::from(b[offset(b_labels, &sb)])
                            })
                            .sum();
                        residue(sum)
                    })
                    .collect()
            }
            Kind::Conv { x, w, maps } => {
                let (xd, wd) = (&self.graph.nodes[*x].dims, &self.graph.nodes[*w].dims);
                let (x, w) = (self.get(*x), self.get(*w));
                let (sx, sw) = (strides(xd), strides(wd));
                let inner = &wd[2..];
                (0..node.dims.iter().product())
                    .map(|flat| {
                        let at = unflatten(&node.dims, flat);
                        let sum: i128 = (0..inner.iter().product())
                            .map(|k| {
                                let k = unflatten(inner, k);
                                let mut from =
                                    at[0] * sx[0] + at[1] * sx[1] + at[2] * sx[2] + k[0] * sx[3];
                                for (s, map) in maps.iter().enumerate() {
                                    let Some(i) = map.source(at[4 + s], k[1 + s], xd[4 + s]) else {
                                        return 0;
                                    };
                                    from += i * sx[4 + s];
                                }
                                let weight = at[2] * sw[0]
                                    + at[3] * sw[1]
                                    + k.iter().zip(&sw[2..]).map(|(i, s)| i * s).sum::<usize>();
                                i128::from(x[from]) * i128::from(w[weight])
                            })
                            .sum();
                        residue(sum)
                    })
                    .collect()
            }
        }
    }

    fn fill(&self, fill: Fill) -> Vec<i32> {
        match fill {
            Fill::Input(i) => {
                let each: Vec<&[i32]> = self.runs.iter().map(|r| r.inputs[i].data()).collect();
                each.concat()
            }
            Fill::Shift { x, bits } => self
                .get(x)
                .par_iter()
                .with_min_len(TASK)
                .map(|&v| shift_round(v.into(), bits) as i32)
                .collect(),
            Fill::Quotient {
                x,
                d,
                bits,
                rounding,
            } => (self.get(x).iter().zip(self.get(d)))
                .map(|(&x, &d)| {
                    // A forged divisor may be anything; no quotient is right then.
                    let (x, d) = (i128::from(x) << bits, i128::from(d).max(1));
                    let q = match rounding {
                        Rounding::Floor => x.div_euclid(d),
                        Rounding::Nearest => (2 * x + d).div_euclid(2 * d),
                    };
                    residue(q)
                })
                .collect(),
            Fill::High { x, bits } => {
                let x = self.get(x).par_iter().with_min_len(TASK);
                x.map(|&v| v >> bits).collect()
            }
            Fill::Table { x, table } => {
                let t = &self.graph.tables[table];
                let held = t.value.map_or(&[][..], |id| self.get(id));
                let entry = |v: i32| -> i32 {
                    let v = i64::from(v);
                    let out = match t.rows {
                        Rows::Range => v,
                        Rows::Step { .. } => i64::from(v >= 0),
                        Rows::Clamp { lo, hi, .. } => v.clamp(lo, hi),
                        Rows::Value { start } => usize::try_from(v - start)
                            .ok()
                            .and_then(|i| t.element(i))
                            .and_then(|i| held.get(i))
                            .map_or(0, |&y| y.into()),
                    };
                    out as i32
                };
                let x = self.get(x).par_iter().with_min_len(TASK);
                x.map(|&v| entry(v)).collect()
            }
            Fill::Multiplicity(table) => {
                let t = &self.graph.tables[table];
                let start = t.start();
                // By row, padding included: what element a row belongs to is asked once, not for each value.
                let rows = 1usize << vars(&t.dims);
                let count = |runs: &[&[i32]]| {
                    let mut counts = vec![0i32; rows];
                    for &v in runs.iter().copied().flatten() {
                        let row = usize::try_from(i64::from(v) - start);
                        if let Some(count) = row.ok().and_then(|row| counts.get_mut(row)) {
                            *count += 1;
                        }
                    }
                    counts
                };
                let looked_up = self.graph.lookups.iter().filter(|l| l.table == table);
                let runs: Vec<&[i32]> = looked_up
                    .flat_map(|l| self.get(l.tuple[0]).chunks(TASK))
                    .collect();
                let each = runs.len().div_ceil(rayon::current_num_threads()).max(1);
                let add = |mut a: Vec<i32>, b: Vec<i32>| {
                    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                    a
                };
                let counts = share::sum(&runs[..], each, &count, &add);
                let mut out = vec![0; t.dims.iter().product()];
                for (row, count) in counts.into_iter().enumerate() {
                    if let Some(element) = t.element(row) {
                        out[element] = count;
                    }
                }
                out
            }
        }
    }

    /// Fills all columns, several at once: one is little work. What counts others comes after them.
    fn fill_all(&self) {
        let counts = |&id: &Id| match self.graph.nodes[id].kind {
            Kind::Column(c) => matches!(self.graph.columns[c].fill, Fill::Multiplicity(_)),
            _ => false,
        };
        let (last, first): (Vec<Id>, Vec<Id>) =
            self.graph.column_nodes.iter().copied().partition(counts);
        let size = |&id: &Id| self.graph.nodes[id].dims.iter().product::<usize>();
        for ids in [first, last] {
            let total = ids.iter().map(size).sum::<usize>();
            let each = TASK * ids.len() / total.max(1) + 1;
            share::each(&ids[..], each, &|ids| {
                for &id in ids {
                    let _ = self.get(id);
                }
            });
        }
    }

    /// The elements of all columns, in order.
    pub(crate) fn columns(&self) -> Vec<&[i32]> {
        let ids = self.graph.column_nodes.iter();
        ids.map(|&id| self.get(id)).collect()
    }

    /// Checks that every looked-up value is in its table: false would be a fault of this crate or of the trace.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.fill_all();
        let looked_up = |lookup: &Lookup| {
            let t = &self.graph.tables[lookup.table];
            let runs = self.get(lookup.tuple[0]).chunks(TASK);
            runs.map(|run| (t, run)).collect::<Vec<_>>()
        };
        let runs: Vec<(&Table, &[i32])> = self.graph.lookups.iter().flat_map(looked_up).collect();
        let within = |&(t, run): &(&Table, &[i32])| {
            let start = t.start();
            if let [len] = t.dims[..] {
                // Without a way out, so that it becomes vector instructions.
                let row = |v: i32| (i64::from(v).wrapping_sub(start) as u64) < len as u64;
                return run.iter().fold(true, |all, &v| all & row(v));
            }
            let row = |v: i64| usize::try_from(v - start).is_ok_and(|i| t.element(i).is_some());
            run.iter().all(|&v| row(v.into()))
        };
        let all = |runs: &[_]| runs.iter().all(within);
        if share::sum(&runs[..], 1, &all, &|a, b| a & b) {
            Ok(())
        } else {
            Err(Error::Values(
                "the trace does not belong to this Program: a value leaves its table".into(),
            ))
        }
    }
}

/// Elements `first ..` of a sum of multiples, and a bias. Where all sums are small, they are tried with 64 bits.
fn linear(operands: &[(i64, &[i32])], bias: i64, small: bool, first: usize, out: &mut [i32]) {
    let range = first..first + out.len();
    let operands = operands.iter().map(|&(c, x)| (c, &x[range.clone()]));
    if small {
        let mut sums = [bias; TASK];
        for (c, x) in operands.clone() {
            for (s, &x) in sums.iter_mut().zip(x) {
                // A forged operand may be anything; checked arithmetic would not become vector instructions.
                *s = s.wrapping_add(c.wrapping_mul(x.into()));
            }
        }
        let sums = &sums[..out.len()];
        let half = carat_program::HALF as u64;
        if sums
            .iter()
            .fold(true, |all, s| all & (s.unsigned_abs() <= half))
        {
            out.iter_mut().zip(sums).for_each(|(o, &s)| *o = s as i32);
            return;
        }
    }
    for (i, o) in out.iter_mut().enumerate() {
        let products = operands
            .clone()
            .map(|(c, x)| i128::from(c) * i128::from(x[i]));
        *o = residue(products.sum::<i128>() + i128::from(bias));
    }
}

fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for a in (0..dims.len().saturating_sub(1)).rev() {
        strides[a] = strides[a + 1] * dims[a + 1];
    }
    strides
}
