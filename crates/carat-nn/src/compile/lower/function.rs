//! Functions of one value: clamps and tables.

use super::super::{CompileError, Compiler, TABLE_VALUES, builder::Q, scale};
use super::bits_of;
use crate::graph::{Expr, GraphOp, Id};
use carat_program::{HALF, Op, PoolKind, Range, Shape};
use std::sync::Arc;

impl Compiler<'_> {
    /// Whether all that uses a node is a product with constants, which takes narrow operands, maybe after maxima and
    /// layout.
    fn narrowed_later(&self, id: Id) -> bool {
        let mut stack = vec![id];
        // Every node is looked at once: an id is only pushed from operands before it.
        let mut seen = std::collections::BTreeSet::new();
        while let Some(at) = stack.pop() {
            if !seen.insert(at) {
                continue;
            }
            let users = &self.users[at];
            if users.is_empty() || self.graph.outputs.iter().any(|o| o.node == at) {
                return false;
            }
            for &user in users {
                let node = &self.graph.nodes[user];
                match &node.op {
                    GraphOp::Prim(Op::Conv { .. } | Op::Contract { .. })
                        if node
                            .inputs
                            .iter()
                            .any(|&x| self.graph.constant(x).is_some()) => {}
                    GraphOp::Prim(
                        Op::ReduceMax { .. }
                        | Op::Pool {
                            kind: PoolKind::Max,
                            ..
                        }
                        | Op::Reshape { .. }
                        | Op::Transpose { .. }
                        | Op::Slice { .. }
                        | Op::Broadcast { .. },
                    )
                    | GraphOp::Pad { .. } => stack.push(user),
                    _ => return false,
                }
            }
        }
        true
    }

    /// A function of one value: a clamp where it is one, else a table.
    pub(super) fn function(&mut self, id: Id, x: Id, f: &Arc<Expr>) -> Result<Q, CompileError> {
        let real_out = self.is_real(id);
        let real_in = self.is_real(x);
        if let Some((lo, hi)) = f.as_clamp() {
            let mut q = self.value(x, 15)?;
            let split = |q: Q, v: f64| v.is_finite() && libm::ldexp(v, q.exponent).fract() != 0.0;
            if real_in && (split(q, lo) || split(q, hi)) && self.b.range(q).max_abs() < 1 << 12 {
                let by = i32::from(14 - bits_of(self.b.range(q)));
                q = self.finer(q, q.exponent + by)?;
            }
            let r = self.b.range(q);
            let place = |v: f64, open: i64| {
                if v.is_finite() {
                    libm::rint(libm::ldexp(v, q.exponent)).clamp(-1e15, 1e15) as i64
                } else {
                    open
                }
            };
            let (lo, hi) = (place(lo, r.lo.min(r.hi)), place(hi, r.hi));
            // The clamp may lie wholly on one side of the static range.
            let (lo, hi) = (lo.min(hi.max(lo)), hi.max(lo));
            let q = self.b.add(Op::Clamp { lo, hi }, &[q], q.exponent)?;
            if self.options.provable && real_out && !self.narrowed_later(id) {
                // A clamp of a wide value alone would be several look-ups; with a shift it is one.
                let output = self.graph.outputs.iter().any(|o| o.node == id);
                let bits = if output {
                    15
                } else {
                    self.options.activation_bits
                };
                let range = self.b.range_before_clamps(q);
                if range.hi - range.lo >= TABLE_VALUES {
                    return self.fit_value(q, self.largest(id), bits, true);
                }
            }
            return Ok(q);
        }
        if real_in && let Some(q) = self.steep(id, x, f)? {
            return Ok(q);
        }
        let mut q = self.value(x, 15)?;
        let r = self.b.range(q);
        let (lo, hi) = self.calibration.ranges[x];
        let room = (1i64 << self.options.index_bits) - 1;
        if r.hi - r.lo > room {
            if !real_in {
                return self.refuse(format!(
                    "applies a function to an integer that can take {} values; tables hold at most {}",
                    r.hi - r.lo + 1,
                    room + 1
                ));
            }
            // The finest exponent at which the calibrated interval, with an eighth to spare, fits the table.
            let width = (hi - lo).max(f64::MIN_POSITIVE) * 1.125;
            let (_, e) = libm::frexp(room as f64 / width);
            let exponent = self.coarse_enough(q, (e - 1).min(q.exponent));
            let middle = libm::rint(libm::ldexp((lo + hi) / 2.0, exponent)) as i64;
            q = self.at(
                q,
                exponent,
                Range::new(middle - room / 2, middle + room / 2),
            )?;
        }
        let range = self.b.range(q);
        let function = |v: f64| f.eval(v);
        if !real_out {
            return self.table(q, 0, range, &function);
        }
        let exponent = self.table_exponent(id, q, range, &function);
        self.table(q, exponent, range, &function)
    }

    /// The output exponent of a table: exact where few bits hold all its values, else as fine as its width allows.
    fn table_exponent(&self, id: Id, q: Q, range: Range, f: &dyn Fn(f64) -> f64) -> i32 {
        let finest = scale::exponent_for(self.largest(id), self.options.activation_bits);
        (0..=finest.clamp(0, 8))
            .find(|&e| {
                (range.lo..=range.hi).all(|i| {
                    let v = f(libm::ldexp(i as f64, -q.exponent));
                    v.is_finite()
                        && libm::ldexp(v, e).fract() == 0.0
                        && libm::ldexp(v.abs(), e) < 32768.0
                })
            })
            .unwrap_or(finest)
    }

    /// A table over the static range of `q`. Where the function has no finite value, the nearest one that it has; where
    /// a value exceeds what calibration saw by far, the largest that the width holds.
    pub(in super::super) fn table(
        &mut self,
        q: Q,
        exponent: i32,
        range: Range,
        f: &dyn Fn(f64) -> f64,
    ) -> Result<Q, CompileError> {
        let top = ((1i64 << self.options.activation_bits) - 1) as f64;
        let mut values: Vec<Option<i32>> = Vec::with_capacity((range.hi - range.lo + 1) as usize);
        for i in range.lo..=range.hi {
            let v = libm::ldexp(f(libm::ldexp(i as f64, -q.exponent)), exponent);
            values.push(if v.is_nan() {
                None
            } else if exponent == 0 && v.fract() == 0.0 && v.abs() <= HALF as f64 {
                Some(v as i32) // An integer table keeps integers of any width.
            } else {
                Some(libm::rint(v.clamp(-top, top)) as i32)
            });
        }
        let mut last = values.iter().flatten().next().copied().unwrap_or(0);
        let data: Vec<i32> = values
            .into_iter()
            .map(|v| {
                last = v.unwrap_or(last);
                last
            })
            .collect();
        let shape = Shape::new(&[data.len()]).map_err(|e| CompileError::Internal(e.to_string()))?;
        let table = self.b.constant(shape, data, exponent);
        self.b
            .add(Op::Lut { offset: range.lo }, &[q, table], exponent)
    }

    pub(super) fn one_hot(&mut self, x: Id, depth: usize) -> Result<Q, CompileError> {
        let q = self.value(x, 30)?;
        let internal = |e: carat_program::ShapeError| CompileError::Internal(e.to_string());
        let mut dims = self.b.shape(q).dims();
        dims.push(1);
        let column = self.b.add(
            Op::Reshape {
                shape: Shape::new(&dims).map_err(internal)?,
            },
            &[q],
            0,
        )?;
        let iota = self.b.constant(
            Shape::new(&[depth]).map_err(internal)?,
            (0..depth as i32).collect(),
            0,
        );
        let d = self.b.add(
            Op::Linear {
                coefficients: vec![1, -1],
                bias: 0,
            },
            &[column, iota],
            0,
        )?;
        let d = self.b.add(Op::Clamp { lo: -1, hi: 1 }, &[d], 0)?;
        let r = self.b.range(d);
        self.table(d, 0, r, &|v| f64::from(u8::from(v == 0.0)))
    }
}
