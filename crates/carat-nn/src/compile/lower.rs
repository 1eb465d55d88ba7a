//! One graph node at a time.

mod divide;
mod function;

use super::{CompileError, Compiler, TABLE_VALUES, builder::Q, scale};
use crate::graph::{Array, GraphOp, Id};
use carat_program::{Contraction, HALF, Op, PoolKind, Range, Shape};
use std::sync::Arc;

fn bits_of(r: Range) -> u8 {
    (64 - r.max_abs().unsigned_abs().leading_zeros()) as u8
}

impl Compiler<'_> {
    /// Largest absolute value of a graph node over the samples.
    fn largest(&self, id: Id) -> f64 {
        if let Some(c) = self.graph.constant(id) {
            return c.data.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        }
        let (lo, hi) = self.calibration.ranges[id];
        lo.abs().max(hi.abs())
    }

    /// The value of a node as it is; constants with at most `bits` bits.
    pub(super) fn value(&mut self, id: Id, bits: u8) -> Result<Q, CompileError> {
        if let Some(c) = self.graph.constant(id) {
            return self.constant(&c.clone(), bits);
        }
        self.values[id].ok_or_else(|| {
            CompileError::Internal(format!("value {id} is used before it is computed"))
        })
    }

    fn constant(&mut self, c: &Arc<Array>, bits: u8) -> Result<Q, CompileError> {
        let shape = Shape::new(&c.dims).map_err(|e| CompileError::Internal(e.to_string()))?;
        if c.data.iter().any(|v| !v.is_finite()) {
            return self.refuse("uses a constant that is infinite");
        }
        if !c.dtype.is_float() {
            if c.data.iter().any(|v| v.abs() > HALF as f64) {
                return self.refuse(format!("uses an integer constant beyond ±{HALF}"));
            }
            return Ok(self
                .b
                .constant(shape, c.data.iter().map(|&v| v as i32).collect(), 0));
        }
        let (data, exponent) = scale::quantise(&c.data, bits + 1);
        Ok(self.b.constant(shape, data, exponent))
    }

    /// A constant at a given exponent.
    fn constant_at(&mut self, c: &Arc<Array>, exponent: i32) -> Result<Q, CompileError> {
        let shape = Shape::new(&c.dims).map_err(|e| CompileError::Internal(e.to_string()))?;
        let data = c
            .data
            .iter()
            .map(|&v| {
                let q = libm::rint(libm::ldexp(v, exponent));
                if q.abs() <= HALF as f64 {
                    Ok(q as i32)
                } else {
                    self.refuse("uses a constant too large for its scale")
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.b.constant(shape, data, exponent))
    }

    /// A node's value in at most `bits` bits beside the sign, at the finest exponent that its calibrated range allows.
    pub(super) fn fit(&mut self, id: Id, bits: u8) -> Result<Q, CompileError> {
        let q = self.value(id, bits)?;
        let largest = self.largest(id);
        self.fit_value(q, largest, bits, self.is_real(id))
    }

    fn fit_value(&mut self, q: Q, largest: f64, bits: u8, real: bool) -> Result<Q, CompileError> {
        let range = self.b.range(q);
        if range.max_abs() < 1i64 << bits {
            return Ok(q);
        }
        if !real {
            return self.refuse(format!(
                "needs an integer operand of at most {bits} bits, but it has {}",
                bits_of(range)
            ));
        }
        let exponent = if largest > 0.0 {
            self.finest(largest, bits).min(q.exponent)
        } else {
            q.exponent
        };
        let coarse = self.coarse_enough(q, exponent);
        let bits = i32::from(bits) - (exponent - coarse);
        let top = (1i64 << bits.max(2)) - 1;
        self.at(q, coarse, Range::new(-top, top))
    }

    /// The finest exponent, at most the given one, at which the result of a shift takes few enough values.
    fn coarse_enough(&self, q: Q, mut exponent: i32) -> i32 {
        if !self.options.provable {
            return exponent;
        }
        let range = self.b.range_before_clamps(q);
        let values = |exponent: i32| {
            let bits = q.exponent - exponent;
            let at = |v: i64| match bits {
                ..=0 => v,
                1..=30 => carat_program::shift_round(v, bits as u8),
                _ => 0,
            };
            at(range.hi) - at(range.lo) + 1
        };
        while values(exponent) > TABLE_VALUES {
            exponent -= 1;
        }
        exponent
    }

    /// Shifts a value to a coarser exponent and clamps it.
    fn at(&mut self, q: Q, exponent: i32, clamp: Range) -> Result<Q, CompileError> {
        let key = (q, exponent, clamp);
        if let Some(&done) = self.fitted.get(&key) {
            return Ok(done);
        }
        let mut r = q;
        let mut left = q.exponent - exponent;
        let mut clamp = clamp;
        if (1..=30).contains(&left)
            && let Some((lo, hi, x)) = self.b.clamp_of(r)
        {
            // Rounding is monotone, so a clamp before it equals one after it: one clamp instead of two.
            let bits = left as u8;
            let (lo, hi) = (
                carat_program::shift_round(lo, bits),
                carat_program::shift_round(hi, bits),
            );
            clamp = Range::new(
                clamp.lo.max(lo).min(clamp.hi),
                clamp.hi.min(hi).max(clamp.lo),
            );
            r = Q {
                v: x,
                exponent: q.exponent,
            };
        }
        while left > 0 {
            let bits = left.min(30);
            r = self
                .b
                .add(Op::Shift { bits: bits as u8 }, &[r], r.exponent - bits)?;
            left -= bits;
        }
        let range = self.b.range(r);
        if range.lo < clamp.lo || range.hi > clamp.hi {
            r = self.b.add(
                Op::Clamp {
                    lo: clamp.lo,
                    hi: clamp.hi,
                },
                &[r],
                r.exponent,
            )?;
        }
        self.fitted.insert(key, r);
        Ok(r)
    }

    /// Multiplies a value to a finer exponent, exactly.
    fn finer(&mut self, q: Q, exponent: i32) -> Result<Q, CompileError> {
        let by = exponent - q.exponent;
        if by <= 0 {
            return Ok(q);
        }
        if by > 40 {
            return self.refuse("joins values of scales too far apart");
        }
        self.b.add(
            Op::Linear {
                coefficients: vec![1 << by],
                bias: 0,
            },
            &[q],
            exponent,
        )
    }

    /// Several nodes at one exponent, each within `bits` bits.
    fn align(&mut self, ids: &[Id], bits: u8) -> Result<Vec<Q>, CompileError> {
        let largest = ids.iter().map(|&i| self.largest(i)).fold(0.0, f64::max);
        if ids.iter().all(|&i| !self.is_real(i)) {
            return ids.iter().map(|&i| self.value(i, bits)).collect();
        }
        let mut exponent = i32::MIN;
        for &id in ids {
            exponent = exponent.max(self.value(id, bits.min(15))?.exponent);
        }
        let exponent = if largest > 0.0 {
            exponent.min(scale::exponent_for(largest, bits))
        } else {
            exponent
        };
        let top = (1i64 << bits) - 1;
        ids.iter()
            .map(|&id| {
                if let Some(c) = self.graph.constant(id) {
                    return self.constant_at(&c.clone(), exponent);
                }
                let q = self.value(id, bits)?;
                if q.exponent >= exponent {
                    self.at(q, exponent, Range::new(-top, top))
                } else {
                    // Make room for the multiplication first.
                    let room = top >> (exponent - q.exponent).min(60);
                    let q = self.at(q, q.exponent, Range::new(-room, room))?;
                    self.finer(q, exponent)
                }
            })
            .collect()
    }

    pub(super) fn lower(&mut self, id: Id) -> Result<Q, CompileError> {
        let node = &self.graph.nodes[id];
        let (op, inputs) = (node.op.clone(), node.inputs.clone());
        match &op {
            GraphOp::Input(_) | GraphOp::Const(_) => {
                Err(CompileError::Internal("not an operation".into()))
            }
            GraphOp::Linear { coefficients, bias } => self.linear(id, &inputs, coefficients, *bias),
            GraphOp::Pad {
                before,
                after,
                value,
            } => {
                let mut q = self.value(inputs[0], 15)?;
                let mut v = libm::ldexp(*value, q.exponent);
                if v.fract() != 0.0 || v.abs() > HALF as f64 {
                    q = self.fit(inputs[0], 15)?;
                    v = libm::rint(libm::ldexp(*value, q.exponent))
                        .clamp(-(HALF as f64), HALF as f64);
                }
                let op = Op::Pad {
                    before: before.clone(),
                    after: after.clone(),
                    value: v as i64,
                };
                self.b.add(op, &[q], q.exponent)
            }
            GraphOp::Func(f) => self.function(id, inputs[0], f),
            GraphOp::Div => self.divide(id, inputs[0], inputs[1]),
            GraphOp::IntDiv => self.integer_divide(inputs[0], inputs[1]),
            GraphOp::OneHot(depth) => self.one_hot(inputs[0], *depth),
            GraphOp::Prim(op) => self.prim(op, &inputs),
        }
    }

    fn prim(&mut self, op: &Op, inputs: &[Id]) -> Result<Q, CompileError> {
        match op {
            Op::Contract { spec, .. } => self.product(
                inputs,
                &|l1| Op::Contract {
                    spec: spec.clone(),
                    l1,
                },
                Some(spec),
            ),
            Op::Conv { geometry, .. } => self.product(
                inputs,
                &|l1| Op::Conv {
                    geometry: geometry.clone(),
                    l1,
                },
                None,
            ),
            Op::Mul => self.multiply(inputs[0], inputs[1]),
            Op::Max | Op::Concat { .. } => {
                // Narrow maxima where they are to be proven.
                let narrow = *op == Op::Max && self.options.provable;
                let bits = if narrow {
                    self.options.activation_bits
                } else {
                    22
                };
                let qs = self.align(inputs, bits)?;
                self.b.add(op.clone(), &qs, qs[0].exponent)
            }
            Op::Sum { axes } => {
                let q = self.value(inputs[0], 15)?;
                let shape = self.b.shape(q).clone();
                let n: u64 = axes.iter().map(|&a| shape.dim(a.into()) as u64).product();
                self.summed(op, inputs[0], n)
            }
            Op::Pool {
                kind: PoolKind::Sum,
                window,
            } => self.summed(
                op,
                inputs[0],
                window.kernel.iter().map(|&k| u64::from(k)).product(),
            ),
            Op::ArgMax { .. } => {
                let q = self.value(inputs[0], 15)?;
                self.b.add(op.clone(), &[q], 0)
            }
            Op::Gather { axis } => {
                let table = self.value(inputs[0], self.options.activation_bits)?;
                let mut index = self.value(inputs[1], 30)?;
                let n = self.b.shape(table).dim((*axis).into()) as i64;
                let r = self.b.range(index);
                if r.lo < 0 || r.hi >= n {
                    index = self.b.add(Op::Clamp { lo: 0, hi: n - 1 }, &[index], 0)?;
                }
                self.b.add(op.clone(), &[table, index], table.exponent)
            }
            _ => {
                let q = self.value(inputs[0], 15)?;
                self.b.add(op.clone(), &[q], q.exponent)
            }
        }
    }

    /// A sum of `n` elements of one operand.
    fn summed(&mut self, op: &Op, x: Id, n: u64) -> Result<Q, CompileError> {
        let q = self.value(x, 15)?;
        if self.b.range(q).max_abs().saturating_mul(n as i64) <= HALF {
            return self.b.add(op.clone(), &[q], q.exponent);
        }
        let room = (HALF as u64 / n.max(1)).max(1).ilog2() as u8;
        let q = self.fit(x, room.min(28))?;
        self.b.add(op.clone(), &[q], q.exponent)
    }

    /// A contraction or convolution.
    fn product(
        &mut self,
        inputs: &[Id],
        make: &dyn Fn(Option<u64>) -> Op,
        spec: Option<&Contraction>,
    ) -> Result<Q, CompileError> {
        let &[a, b] = inputs else {
            return Err(CompileError::Internal("a product of two".into()));
        };
        let constant = match (
            self.graph.constant(a).is_some(),
            self.graph.constant(b).is_some(),
        ) {
            (_, true) => Some((1, b, a)),
            (true, false) => Some((0, a, b)),
            _ => None,
        };
        let Some((side, w, x)) = constant else {
            return self.dynamic_product(a, b, make, spec);
        };
        let array = self
            .graph
            .constant(w)
            .cloned()
            .ok_or_else(|| CompileError::Internal("no constant".into()))?;
        let order = |x: Q, w: Q| if side == 1 { [x, w] } else { [w, x] };
        if !self.is_real(w) || !self.is_real(x) {
            let (x, w) = (self.value(x, 30)?, self.value(w, 30)?);
            let l1 = self.l1(make, side, w);
            return self.b.add(make(l1), &order(x, w), x.exponent + w.exponent);
        }
        // Weights and operand share the room below the overflow bound.
        let raw = self.value(x, 15)?;
        let own = bits_of(self.b.range(raw)).min(15);
        let widths = if self.options.precise {
            (4..=self.options.weight_bits).rev().collect()
        } else {
            vec![self.options.weight_bits]
        };
        let mut best: Option<(u8, Q, u64, u8)> = None;
        for width in widths {
            let (data, exponent) = scale::quantise(&array.data, width);
            let shape =
                Shape::new(&array.dims).map_err(|e| CompileError::Internal(e.to_string()))?;
            let wq = self.b.constant(shape, data, exponent);
            let l1 = self.l1(make, side, wq).unwrap_or(u64::MAX);
            let room = (HALF as u64 / l1.max(1)).max(1).ilog2() as u8;
            let bits = room.min(self.options.activation_bits).min(own.max(1));
            let score = bits.min(width - 1).min(own);
            if best.is_none_or(|(s, ..)| score > s) {
                best = Some((score, wq, l1, bits));
            }
        }
        let Some((_, wq, l1, bits)) = best else {
            return self.refuse("has no width that fits");
        };
        if bits < 4 && bits < own {
            return self.refuse(format!(
                "sums too many terms: only {bits} bits are left for its operand"
            ));
        }
        let xq = self.fit(x, bits)?;
        self.b
            .add(make(Some(l1)), &order(xq, wq), xq.exponent + wq.exponent)
    }

    fn l1(&self, make: &dyn Fn(Option<u64>) -> Op, side: usize, w: Q) -> Option<u64> {
        carat_program::weight_sum(&make(None), side, &self.b.shape(w).dims(), self.b.data(w))
    }

    fn dynamic_product(
        &mut self,
        a: Id,
        b: Id,
        make: &dyn Fn(Option<u64>) -> Op,
        spec: Option<&Contraction>,
    ) -> Result<Q, CompileError> {
        let (qa, qb) = (self.value(a, 15)?, self.value(b, 15)?);
        let depth: u64 = match spec {
            Some(spec) => {
                let shape = self.b.shape(qa);
                spec.a
                    .iter()
                    .enumerate()
                    .filter(|(_, l)| !spec.out.contains(l))
                    .map(|(i, _)| shape.dim(i) as u64)
                    .product()
            }
            None => self.b.shape(qb).dims()[1..]
                .iter()
                .map(|&n| n as u64)
                .product(),
        };
        let room = (HALF as u64 / depth.max(1)).max(1).ilog2() as u8;
        let (qa, qb) = self.share(a, qa, b, qb, room)?;
        self.b.add(make(None), &[qa, qb], qa.exponent + qb.exponent)
    }

    /// Fits two operands whose widths together must stay within `room` bits.
    fn share(&mut self, a: Id, qa: Q, b: Id, qb: Q, room: u8) -> Result<(Q, Q), CompileError> {
        let (na, nb) = (bits_of(self.b.range(qa)), bits_of(self.b.range(qb)));
        if na + nb <= room {
            return Ok((qa, qb));
        }
        let half = room / 2;
        let (wa, wb) = if na <= half {
            (na, room - na)
        } else if nb <= half {
            (room - nb, nb)
        } else {
            (half, room - half)
        };
        if a == b {
            let q = self.fit(a, half)?;
            return Ok((q, q));
        }
        Ok((self.fit(a, wa)?, self.fit(b, wb)?))
    }

    fn multiply(&mut self, a: Id, b: Id) -> Result<Q, CompileError> {
        let (qa, qb) = (self.value(a, 14)?, self.value(b, 14)?);
        let (qa, qb) = self.share(a, qa, b, qb, 29)?;
        self.b.add(Op::Mul, &[qa, qb], qa.exponent + qb.exponent)
    }

    fn linear(
        &mut self,
        id: Id,
        inputs: &[Id],
        coefficients: &[f64],
        bias: f64,
    ) -> Result<Q, CompileError> {
        let whole = |c: f64| c.fract() == 0.0 && c.abs() <= HALF as f64;
        if inputs.iter().all(|&i| !self.is_real(i))
            && coefficients.iter().all(|&c| whole(c))
            && whole(bias)
        {
            let qs = inputs
                .iter()
                .map(|&i| self.value(i, 30))
                .collect::<Result<Vec<_>, _>>()?;
            let op = Op::Linear {
                coefficients: coefficients.iter().map(|&c| c as i64).collect(),
                bias: bias as i64,
            };
            return self.b.add(op, &qs, 0);
        }
        if inputs.len() == 1
            && coefficients[0] > 0.0
            && bias == 0.0
            && self.graph.constant(inputs[0]).is_none()
        {
            let (mantissa, power) = libm::frexp(coefficients[0]);
            if mantissa == 0.5 {
                // A power of two changes the exponent alone.
                let q = self.value(inputs[0], 15)?;
                return Ok(Q {
                    v: q.v,
                    exponent: q.exponent - (power - 1),
                });
            }
        }
        // Try to keep everything exact; then narrow the operands until the sum fits.
        let dyadic = |c: f64| (0..12).any(|k| libm::ldexp(c, k).fract() == 0.0);
        let exact = coefficients.iter().all(|&c| dyadic(c));
        let widths: &[u8] = if exact {
            &[30, 27, 24, 22, 20, 18, 16, 15, 14, 13, 12]
        } else {
            &[16, 15, 14, 13, 12, 11, 10]
        };
        let mut last = None;
        for &bits in widths {
            match self.linear_at(id, inputs, coefficients, bias, bits, exact) {
                Ok(q) => return Ok(q),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or(CompileError::Internal("no width".into())))
    }

    fn linear_at(
        &mut self,
        id: Id,
        inputs: &[Id],
        coefficients: &[f64],
        bias: f64,
        bits: u8,
        exact: bool,
    ) -> Result<Q, CompileError> {
        let mut run_time = Vec::new();
        for (&x, &c) in inputs.iter().zip(coefficients) {
            if self.graph.constant(x).is_none() {
                run_time.push((self.fit(x, bits)?, c));
            }
        }
        // The exponent at which the coefficients become integers, or precise enough.
        let mut exponent = run_time.iter().map(|(q, _)| q.exponent).max().unwrap_or(0);
        if exact {
            while run_time
                .iter()
                .any(|(q, c)| libm::ldexp(*c, exponent - q.exponent).fract() != 0.0)
            {
                exponent += 1;
            }
            // A constant or bias needs resolution of its own where the operands are coarse.
            let constants = inputs
                .iter()
                .filter_map(|&x| self.graph.constant(x))
                .flat_map(|c| c.data.iter().copied());
            let fractions: Vec<f64> = constants.chain([bias]).filter(|v| *v != 0.0).collect();
            let largest = self
                .largest(id)
                .max(fractions.iter().fold(0.0, |m: f64, v| m.max(v.abs())));
            let fine = scale::exponent_for(largest, bits.min(16));
            while exponent < fine
                && fractions
                    .iter()
                    .any(|v| libm::ldexp(*v, exponent).fract() != 0.0)
            {
                exponent += 1;
            }
        } else {
            let total = |e: i32| -> f64 {
                run_time
                    .iter()
                    .map(|(q, c)| {
                        self.b.range(*q).max_abs() as f64 * libm::ldexp(c.abs(), e - q.exponent)
                    })
                    .sum()
            };
            // As much resolution for the coefficients as the bound leaves, less room for constants.
            while total(exponent + 1) < (1u64 << 28) as f64 && exponent < 60 {
                exponent += 1;
            }
            while total(exponent) >= (1u64 << 29) as f64 {
                exponent -= 1;
            }
        }
        let mut operands = Vec::new();
        let mut factors = Vec::new();
        for (q, c) in run_time {
            let f = libm::rint(libm::ldexp(c, exponent - q.exponent));
            if f.abs() > HALF as f64 {
                return self.refuse("joins values of scales too far apart");
            }
            operands.push(q);
            factors.push(f as i64);
        }
        let shape_of = |s: &Self, x: Id| s.graph.nodes[x].shape.clone();
        let mut offset = libm::ldexp(bias, exponent);
        for (&x, &c) in inputs.iter().zip(coefficients) {
            let Some(array) = self.graph.constant(x).cloned() else {
                continue;
            };
            if let (Some(v), true) = (
                array.uniform(),
                shape_of(self, x).elements() == 1 && !operands.is_empty(),
            ) {
                offset += libm::ldexp(v * c, exponent);
                continue;
            }
            let scaled = Array {
                dims: array.dims.clone(),
                data: array.data.iter().map(|v| v * c).collect(),
                dtype: array.dtype,
            };
            operands.push(self.constant_at(&Arc::new(scaled), exponent)?);
            factors.push(1);
        }
        let offset = libm::rint(offset);
        if offset.abs() > HALF as f64 {
            return self.refuse("adds a constant too large for its scale");
        }
        let q = self.b.add(
            Op::Linear {
                coefficients: factors,
                bias: offset as i64,
            },
            &operands,
            exponent,
        )?;
        // A scalar constant may have been what gave the result its shape.
        let shape = &self.graph.nodes[id].shape;
        if self.b.shape(q) == shape {
            Ok(q)
        } else {
            self.b.add(
                Op::Broadcast {
                    shape: shape.clone(),
                },
                &[q],
                exponent,
            )
        }
    }
}
