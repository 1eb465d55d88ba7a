//! From claims on computed values to claims on committed ones, step by step.

use super::{
    Options, Prover,
    fold::{Axis, fold, pad},
    lookups::padded,
    positions,
};
use crate::{
    Error,
    claims::ValueClaim,
    field::{E, int},
    graph::{Id, Kind},
    kernels::{Vector, eq_products, eq_vector, product, product_base, triple},
    layout::{AxisMap, bits, eq_table, flat_eq, reshape_groups, split, valid, vars},
    share,
    steps::{ContractShape, permuted, powers, summed},
};
use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

impl<'a> Prover<'a, '_> {
    pub(super) fn walk(
        &mut self,
        options: &Options<'_>,
        scope: &rayon::Scope<'a>,
    ) -> Result<(), Error> {
        for id in (0..self.plan.graph.nodes.len()).rev() {
            options.check()?;
            let node = &self.plan.graph.nodes[id];
            if matches!(node.kind, Kind::Column(_) | Kind::Constant(_)) {
                continue;
            }
            let mut claims = self.claims.take(id);
            let claim = match claims.len() {
                0 => continue,
                1 => claims.remove(0),
                _ => self.merge(id, &claims),
            };
            self.settle(id, &claim);
            self.begin_rows(scope);
        }
        Ok(())
    }

    fn merge(&mut self, id: Id, claims: &[ValueClaim]) -> ValueClaim {
        let gamma = self.sink.transcript.challenge();
        let powers = powers(gamma, claims.len());
        let sum = claims.iter().zip(&powers).map(|(c, &g)| c.value * g).sum();
        let positions = positions(self.dims(id));
        let size = 1 << vars(self.dims(id));
        let elements = self.values.get(id);
        let kernel = || {
            let mut kernels: Vec<Vector> = claims
                .par_iter()
                .zip(&powers)
                .map(|(c, &g)| eq_vector(&c.point, g))
                .collect();
            let mut sum = kernels.swap_remove(0);
            kernels
                .iter()
                .for_each(|k| crate::kernels::add(&mut sum, k));
            sum
        };
        let (values, kernel) = share::join(|| padded(elements, positions.as_deref(), size), kernel);
        let (point, value) = product_base(&mut self.sink, sum, &values, kernel);
        self.sink.send("merged", &[value]);
        ValueClaim { point, value }
    }

    fn settle(&mut self, id: Id, claim: &ValueClaim) {
        let plan = self.plan;
        let node = &plan.graph.nodes[id];
        let (point, value) = (&claim.point, claim.value);
        match &node.kind {
            Kind::Column(_) | Kind::Constant(_) => unreachable!("committed values are opened"),
            Kind::Linear { terms, bias } => {
                // The last one follows from the claim, unless its factor is zero.
                let last = terms.last().map(|&(c, _)| int(c).try_inverse());
                let known = terms.len() - usize::from(matches!(last, Some(Some(_))));
                let at = |&(_, x): &(i64, Id)| self.evaluate(x, point);
                let mut sent: Vec<E> = terms[..known].par_iter().map(at).collect();
                if let Some(Some(inverse)) = last {
                    let known = terms.iter().zip(&sent).map(|(&(c, _), &v)| v * int(c));
                    let bias = valid(&node.dims, point) * int(*bias);
                    sent.push((value - bias - known.sum::<E>()) * inverse);
                }
                self.sink.send("terms", &sent);
                for (&(_, x), &v) in terms.iter().zip(&sent) {
                    self.claims.push(x, point.clone(), v);
                }
            }
            // The verifier knows it.
            Kind::Ramp { .. } => {}
            Kind::Axes { x, maps } => self.axes(*x, maps, &node.dims, point, value),
            Kind::Reshape(x) => self.reshape(*x, &node.dims, point, value),
            Kind::Permute { x, perm } => {
                self.claims
                    .push(*x, permuted(&node.dims, perm, point), value)
            }
            Kind::Sum { x, axes } => {
                let (point, scale) = summed(self.dims(*x), axes, point);
                self.claims.push(*x, point, value * scale);
            }
            Kind::Mul(a, b) => {
                let whole = |id: Id| {
                    let keep = vec![Axis::Keep; self.dims(id).len()];
                    Vector::new(fold(self.dims(id), self.ints(id), &keep))
                };
                let factors = vec![[whole(*a), whole(*b)]];
                let (at, ends) = eq_products(&mut self.sink, value, point, factors);
                self.sink.send("factors", &ends[0]);
                self.claims.push(*a, at.clone(), ends[0][0]);
                self.claims.push(*b, at, ends[0][1]);
            }
            Kind::Contract {
                a,
                b,
                a_labels,
                b_labels,
                out_labels,
            } => {
                let shape = ContractShape::new(self.dims(*a), a_labels, b_labels, out_labels);
                let out = split(&node.dims, point);
                // Each operand with its own axes bound, and its shared axes in the common order.
                let operand = |id: Id, labels: &[u8]| -> Vec<E> {
                    let axes: Vec<Axis<'_>> = labels
                        .iter()
                        .map(|l| match out_labels.iter().position(|o| o == l) {
                            Some(i) if !shape.shared.iter().any(|(s, _)| s == l) => {
                                Axis::Bind(out[i])
                            }
                            _ => Axis::Keep,
                        })
                        .collect();
                    let folded = fold(self.dims(id), self.ints(id), &axes);
                    let kept: Vec<(u8, usize)> = labels
                        .iter()
                        .zip(self.dims(id))
                        .filter(|(l, _)| shape.shared.iter().any(|(s, _)| s == *l))
                        .map(|(&l, &d)| (l, d))
                        .collect();
                    reorder(folded, &kept, &shape.shared)
                };
                let (va, vb) = share::join(|| operand(*a, a_labels), || operand(*b, b_labels));
                let (at, ea, eb) = if shape.batched() {
                    let batch: Vec<&[E]> = shape.shared[..shape.batch]
                        .iter()
                        .map(|(l, _)| {
                            out_labels
                                .iter()
                                .position(|o| o == l)
                                .map_or(&[][..], |i| out[i])
                        })
                        .collect();
                    let inner = vars(&shape.dims()[shape.batch..]);
                    let weights = eq_table(&batch.concat())
                        .into_iter()
                        .flat_map(|e| core::iter::repeat_n(e, 1 << inner))
                        .collect();
                    triple(&mut self.sink, value, weights, va, vb)
                } else {
                    product(&mut self.sink, value, Vector::new(va), Vector::new(vb))
                };
                self.sink.send("operands", &[ea, eb]);
                let pa = shape.operand(a_labels, self.dims(*a), out_labels, &node.dims, point, &at);
                let pb = shape.operand(b_labels, self.dims(*b), out_labels, &node.dims, point, &at);
                self.claims.push(*a, pa, ea);
                self.claims.push(*b, pb, eb);
            }
            Kind::Conv { x, w, maps } => self.conv(*x, *w, maps, &node.dims, point, value),
        }
    }

    fn axes(&mut self, x: Id, maps: &[AxisMap], to: &[usize], point: &[E], value: E) {
        let from = self.dims(x).to_vec();
        let out = split(to, point);
        let moved = |a: usize| !maps[a].is_identity(from[a], to[a]);
        let axes: Vec<Axis<'_>> = (0..from.len())
            .map(|a| {
                if moved(a) {
                    Axis::Keep
                } else {
                    Axis::Bind(out[a])
                }
            })
            .collect();
        let values = fold(&from, self.ints(x), &axes);
        let mut kernel = vec![E::ONE];
        for a in (0..from.len()).filter(|&a| moved(a)) {
            let mut k = maps[a].kernel(
                from[a],
                to[a],
                &eq_table(out[a]),
                &vec![E::ONE; maps[a].taps],
            );
            k.resize(1 << bits(from[a]), E::ZERO);
            kernel = tensor(&kernel, &k);
        }
        let (at, sent, _) = product(
            &mut self.sink,
            value,
            Vector::new(values),
            Vector::new(kernel),
        );
        self.sink.send("mapped", &[sent]);
        let (mut next, mut used) = (Vec::new(), 0);
        for a in 0..from.len() {
            if moved(a) {
                next.extend_from_slice(&at[used..used + bits(from[a])]);
                used += bits(from[a]);
            } else {
                next.extend_from_slice(out[a]);
            }
        }
        self.claims.push(x, next, sent);
    }

    fn reshape(&mut self, x: Id, to: &[usize], point: &[E], value: E) {
        let from = self.dims(x).to_vec();
        let groups = reshape_groups(&from, to);
        let out = split(to, point);
        if groups
            .iter()
            .all(|g| g.free || vars(&from[g.from.clone()]) == 0)
        {
            self.claims.push(x, point.to_vec(), value);
            return;
        }
        let mut kernel = vec![E::ONE];
        let mut bound: Vec<(Vec<usize>, Vec<E>)> = Vec::new();
        let mut axes = Vec::new();
        for g in &groups {
            let part = out[g.to.clone()].concat();
            let dims = &from[g.from.clone()];
            if g.free {
                bound.push((dims.to_vec(), part));
            } else {
                let flat = flat_eq(&to[g.to.clone()], &part);
                kernel = tensor(&kernel, &pad(dims, flat));
            }
        }
        let mut free = bound.iter();
        for g in &groups {
            if g.free {
                let (dims, part) = free.next().expect("one entry per free group");
                axes.extend(split(dims, part).into_iter().map(Axis::Bind));
            } else {
                axes.extend(g.from.clone().map(|_| Axis::Keep));
            }
        }
        let values = fold(&from, self.ints(x), &axes);
        let (at, sent, _) = product(
            &mut self.sink,
            value,
            Vector::new(values),
            Vector::new(kernel),
        );
        self.sink.send("reshaped", &[sent]);
        let (mut next, mut used, mut free) = (Vec::new(), 0, bound.iter());
        for g in &groups {
            if g.free {
                next.extend_from_slice(&free.next().expect("one entry per free group").1);
            } else {
                let n = vars(&from[g.from.clone()]);
                next.extend_from_slice(&at[used..used + n]);
                used += n;
            }
        }
        self.claims.push(x, next, sent);
    }

    fn conv(&mut self, x: Id, w: Id, maps: &[AxisMap], to: &[usize], point: &[E], value: E) {
        let (xd, wd) = (self.dims(x).to_vec(), self.dims(w).to_vec());
        let out = split(to, point);
        let inner: Vec<usize> = core::iter::once(wd[0])
            .chain(wd[2..].iter().copied())
            .collect();
        // The kernel with its output channels bound, and the window sums of the input for each tap.
        let mut weight_axes = vec![Axis::Keep, Axis::Bind(out[3])];
        weight_axes.extend(wd[2..].iter().map(|_| Axis::Keep));
        let mut axes = vec![
            Axis::Bind(out[0]),
            Axis::Bind(out[1]),
            Axis::Keep,
            Axis::Keep,
        ];
        for (a, map) in maps.iter().enumerate() {
            let eq = eq_table(out[4 + a]);
            let taps = (0..map.taps)
                .map(|t| {
                    let only: Vec<E> = (0..map.taps)
                        .map(|s| if s == t { E::ONE } else { E::ZERO })
                        .collect();
                    map.kernel(xd[4 + a], to[4 + a], &eq, &only)
                })
                .collect();
            axes.push(Axis::Map(taps));
        }
        let (kernels, image) = (self.ints(w), self.ints(x));
        let (weights, windows) = share::join(
            || fold(&wd, kernels, &weight_axes),
            || fold(&xd, image, &axes),
        );
        let (at, ew, ex) = if wd[0] > 1 {
            let rest = vars(&inner[1..]);
            let eq = eq_table(out[2])
                .into_iter()
                .flat_map(|e| core::iter::repeat_n(e, 1 << rest))
                .collect();
            triple(&mut self.sink, value, eq, weights, windows)
        } else {
            product(
                &mut self.sink,
                value,
                Vector::new(weights),
                Vector::new(windows),
            )
        };
        self.sink.send("kernel and window", &[ew, ex]);
        let parts = split(&inner, &at);
        self.claims
            .push(w, [parts[0], out[3], &parts[1..].concat()].concat(), ew);
        // Over positions, with everything else bound.
        let mut axes = vec![
            Axis::Bind(out[0]),
            Axis::Bind(out[1]),
            Axis::Bind(parts[0]),
            Axis::Bind(parts[1]),
        ];
        axes.extend(maps.iter().map(|_| Axis::Keep));
        let image = fold(&xd, self.ints(x), &axes);
        let mut kernel = vec![E::ONE];
        for (a, map) in maps.iter().enumerate() {
            let mut k = map.kernel(
                xd[4 + a],
                to[4 + a],
                &eq_table(out[4 + a]),
                &eq_table(parts[2 + a]),
            );
            k.resize(1 << bits(xd[4 + a]), E::ZERO);
            kernel = tensor(&kernel, &k);
        }
        let (at, sent, _) = product(&mut self.sink, ex, Vector::new(image), Vector::new(kernel));
        self.sink.send("window", &[sent]);
        self.claims
            .push(x, [out[0], out[1], parts[0], parts[1], &at].concat(), sent);
    }
}

fn tensor(a: &[E], b: &[E]) -> Vec<E> {
    a.iter()
        .flat_map(|&x| b.iter().map(move |&y| x * y))
        .collect()
}

/// Moves padded axes into another order.
fn reorder(values: Vec<E>, have: &[(u8, usize)], want: &[(u8, usize)]) -> Vec<E> {
    if have == want {
        return values;
    }
    let sizes: Vec<usize> = have.iter().map(|&(_, d)| 1 << bits(d)).collect();
    let mut strides = vec![1usize; have.len()];
    for a in (0..have.len().saturating_sub(1)).rev() {
        strides[a] = strides[a + 1] * sizes[a + 1];
    }
    let order: Vec<(usize, usize)> = want
        .iter()
        .filter_map(|w| have.iter().position(|h| h == w))
        .map(|i| (sizes[i], strides[i]))
        .collect();
    let mut positions = vec![0usize];
    for (size, stride) in order {
        positions = positions
            .iter()
            .flat_map(|&p| (0..size).map(move |i| p + i * stride))
            .collect();
    }
    positions.into_iter().map(|p| values[p]).collect()
}
