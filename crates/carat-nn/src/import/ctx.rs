//! What a lowering sees of one ONNX node, and the building blocks that it composes.

use super::{ImportError, schema as pb};
use crate::graph::{Array, Binary, Expr, Graph, GraphError, GraphOp, Id, Unary, dtype_range};
use carat_program::{Dtype, Op, Shape};
use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

/// A value during import.
#[derive(Debug, Clone)]
pub(crate) enum Val {
    /// Computed at run time, or a constant inside the graph.
    Node(Id),
    /// A constant, possibly empty.
    Const(Arc<Array>),
    /// An omitted optional operand.
    Absent,
}

/// An integer of a model, brought into a range where sums and products of a few never overflow. No length, index or
/// count that is accepted anywhere comes near the ends, and ends of slices mean "as far as possible".
fn tame(v: i64) -> i64 {
    const FAR: i64 = 1 << 40;
    v.clamp(-FAR, FAR)
}

pub(crate) struct Ctx<'a> {
    pub(crate) g: &'a mut Graph,
    node: &'a pb::NodeProto,
    name: String,
    pub(crate) opset: i64,
    inputs: Vec<Val>,
    origin: Arc<str>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Ctx<'a> {
    pub(crate) fn new(
        g: &'a mut Graph,
        node: &'a pb::NodeProto,
        name: String,
        opset: i64,
        inputs: Vec<Val>,
    ) -> Self {
        let origin = format!("{} ({})", name, node.op_type).into();
        Self {
            g,
            node,
            name,
            opset,
            inputs,
            origin,
            used: RefCell::default(),
        }
    }

    pub(crate) fn op(&self) -> &'a str {
        &self.node.op_type
    }

    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> ImportError {
        ImportError::Unsupported {
            node: self.name.clone(),
            op: self.node.op_type.clone(),
            reason: reason.into(),
        }
    }

    pub(crate) fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, ImportError> {
        Err(self.unsupported(reason))
    }

    fn wrap<T>(&self, r: Result<T, GraphError>) -> Result<T, ImportError> {
        r.map_err(|e| self.unsupported(format!("cannot be used here: {e}")))
    }

    pub(crate) fn all_attributes_used(&self) -> Result<(), ImportError> {
        let used = self.used.borrow();
        match self.node.attribute.iter().find(|a| !used.contains(&a.name)) {
            Some(a) => self.refuse(format!(
                "has an attribute `{}` that is not understood",
                a.name
            )),
            None => Ok(()),
        }
    }

    // ---- attributes ----

    fn attr(&self, name: &str) -> Option<&'a pb::AttributeProto> {
        self.used.borrow_mut().insert(name.to_string());
        self.node
            .attribute
            .iter()
            .find(|a| a.name == name && a.ref_attr_name.is_empty())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attr(name).is_some()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attr(name).map_or(default, |a| tame(a.i))
    }

    pub(crate) fn float(&self, name: &str, default: f64) -> f64 {
        self.attr(name).map_or(default, |a| a.f.into())
    }

    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        self.attr(name).map_or(default.to_string(), |a| {
            String::from_utf8_lossy(&a.s).into_owned()
        })
    }

    pub(crate) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attr(name)
            .map(|a| a.ints.iter().map(|&v| tame(v)).collect())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.attr(name)
            .map(|a| a.floats.iter().map(|&v| v.into()).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Arc<Array>>, ImportError> {
        match self.attr(name).and_then(|a| a.t.as_ref()) {
            Some(t) => Ok(Some(Arc::new(super::proto::array_from_tensor(t)?))),
            None => Ok(None),
        }
    }

    // ---- operands ----

    pub(crate) fn count(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.node.output.len()
    }

    pub(crate) fn wants_output(&self, i: usize) -> bool {
        self.node.output.get(i).is_some_and(|n| !n.is_empty())
    }

    pub(crate) fn present(&self, i: usize) -> bool {
        !matches!(self.inputs.get(i), None | Some(Val::Absent))
    }

    /// Operand `i` as a node.
    pub(crate) fn x(&mut self, i: usize) -> Result<Id, ImportError> {
        match self.inputs.get(i).cloned() {
            Some(Val::Node(id)) => Ok(id),
            Some(Val::Const(c)) => {
                let r = self.g.add_constant(c, &self.origin);
                r.map_err(|e| {
                    let name = self.node.input.get(i).map_or("", String::as_str);
                    self.unsupported(format!("cannot use `{name}`: {e}"))
                })
            }
            _ => self.refuse(format!("has no operand {i}")),
        }
    }

    pub(crate) fn try_constant(&self, i: usize) -> Option<Arc<Array>> {
        match self.inputs.get(i)? {
            Val::Const(c) => Some(c.clone()),
            Val::Node(id) => self.g.constant(*id).cloned(),
            Val::Absent => None,
        }
    }

    /// Operand `i`, which must be known at compile time.
    pub(crate) fn constant(&self, i: usize) -> Result<Arc<Array>, ImportError> {
        self.try_constant(i)
            .ok_or_else(|| ImportError::NotConstant {
                node: self.name.clone(),
                op: self.node.op_type.clone(),
                value: self.node.input.get(i).cloned().unwrap_or_default(),
            })
    }

    pub(crate) fn integers(&self, i: usize) -> Result<Vec<i64>, ImportError> {
        // `as` saturates, which is what ONNX means by INT64_MAX as an end.
        Ok(self
            .constant(i)?
            .data
            .iter()
            .map(|&v| tame(v as i64))
            .collect())
    }

    pub(crate) fn optional_integers(&self, i: usize) -> Result<Option<Vec<i64>>, ImportError> {
        if self.present(i) {
            Ok(Some(self.integers(i)?))
        } else {
            Ok(None)
        }
    }

    /// Axis numbers of an operand with `rank` axes: negative ones count from the end; sorted, distinct.
    pub(crate) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, ImportError> {
        let mut out = axes
            .iter()
            .map(|&a| self.axis(a, rank))
            .collect::<Result<Vec<_>, _>>()?;
        out.sort_unstable();
        let n = out.len();
        out.dedup();
        if out.len() != n {
            self.refuse("names an axis twice")
        } else {
            Ok(out)
        }
    }

    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Result<usize, ImportError> {
        let a = if axis < 0 { axis + rank as i64 } else { axis };
        if (0..rank as i64).contains(&a) {
            Ok(a as usize)
        } else {
            self.refuse(format!("names axis {axis} of {rank}"))
        }
    }

    /// Refuses operands of different element types.
    pub(crate) fn same_type(&self, ids: &[Id]) -> Result<(), ImportError> {
        match ids.iter().find(|&&i| self.dtype(i) != self.dtype(ids[0])) {
            Some(&i) => self.refuse(format!(
                "joins {} and {}",
                self.dtype(ids[0]).name(),
                self.dtype(i).name()
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn shape(&self, id: Id) -> &Shape {
        &self.g.nodes[id].shape
    }

    pub(crate) fn dims(&self, id: Id) -> Vec<usize> {
        self.g.nodes[id].shape.dims()
    }

    pub(crate) fn rank(&self, id: Id) -> usize {
        self.g.nodes[id].shape.rank()
    }

    pub(crate) fn dtype(&self, id: Id) -> Dtype {
        self.g.nodes[id].dtype
    }

    /// The one value of a constant, where it does not enlarge the shape of `other` by broadcasting.
    pub(crate) fn uniform(&self, id: Id, other: Id) -> Option<f64> {
        let v = self.g.constant(id)?.uniform()?;
        (self.shape(other).broadcast(self.shape(id)).as_ref() == Some(self.shape(other)))
            .then_some(v)
    }

    // ---- building blocks ----

    pub(crate) fn add(
        &mut self,
        op: GraphOp,
        inputs: Vec<Id>,
        dtype: Dtype,
    ) -> Result<Id, ImportError> {
        let r = self.g.add(op, inputs, dtype, &self.origin);
        self.wrap(r)
    }

    pub(crate) fn prim(&mut self, op: Op, inputs: Vec<Id>) -> Result<Id, ImportError> {
        let dtype = self.dtype(inputs[0]);
        self.add(GraphOp::Prim(op), inputs, dtype)
    }

    pub(crate) fn array(&mut self, array: Array) -> Result<Id, ImportError> {
        let r = self.g.add_constant(Arc::new(array), &self.origin);
        self.wrap(r)
    }

    pub(crate) fn func(&mut self, x: Id, f: Expr, dtype: Dtype) -> Result<Id, ImportError> {
        self.add(GraphOp::Func(Arc::new(f)), vec![x], dtype)
    }

    pub(crate) fn unary(&mut self, x: Id, f: Unary) -> Result<Id, ImportError> {
        let dtype = self.dtype(x);
        self.func(x, Expr::of(f), dtype)
    }

    pub(crate) fn linear(
        &mut self,
        terms: &[(Id, f64)],
        bias: f64,
        dtype: Dtype,
    ) -> Result<Id, ImportError> {
        let (inputs, coefficients) = terms.iter().copied().unzip();
        self.add(GraphOp::Linear { coefficients, bias }, inputs, dtype)
    }

    /// The same elements under another element type, which must be able to hold them.
    pub(crate) fn retype(&mut self, x: Id, dtype: Dtype) -> Result<Id, ImportError> {
        if self.dtype(x) == dtype {
            Ok(x)
        } else {
            self.linear(&[(x, 1.0)], 0.0, dtype)
        }
    }

    pub(crate) fn reshape(&mut self, x: Id, dims: &[usize]) -> Result<Id, ImportError> {
        if self.dims(x) == dims {
            return Ok(x);
        }
        let shape = self.wrap(Shape::new(dims).map_err(|e| GraphError(e.to_string())))?;
        self.prim(Op::Reshape { shape }, vec![x])
    }

    pub(crate) fn transpose(&mut self, x: Id, perm: &[usize]) -> Result<Id, ImportError> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        self.prim(
            Op::Transpose {
                perm: perm.iter().map(|&p| p as u8).collect(),
            },
            vec![x],
        )
    }

    pub(crate) fn broadcast(&mut self, x: Id, dims: &[usize]) -> Result<Id, ImportError> {
        if self.dims(x) == dims {
            return Ok(x);
        }
        let shape = self.wrap(Shape::new(dims).map_err(|e| GraphError(e.to_string())))?;
        self.prim(Op::Broadcast { shape }, vec![x])
    }

    /// `start..start+len` with a step, along one axis.
    pub(crate) fn slice(
        &mut self,
        x: Id,
        axis: usize,
        start: usize,
        step: i32,
        len: usize,
    ) -> Result<Id, ImportError> {
        let dims = self.dims(x);
        let mut op = (
            vec![0u32; dims.len()],
            vec![1i32; dims.len()],
            dims.iter().map(|&d| d as u32).collect::<Vec<_>>(),
        );
        (op.0[axis], op.1[axis], op.2[axis]) = (start as u32, step, len as u32);
        self.prim(
            Op::Slice {
                start: op.0,
                step: op.1,
                len: op.2,
            },
            vec![x],
        )
    }

    pub(crate) fn concat(&mut self, parts: Vec<Id>, axis: usize) -> Result<Id, ImportError> {
        if parts.len() == 1 {
            Ok(parts[0])
        } else {
            self.prim(Op::Concat { axis: axis as u8 }, parts)
        }
    }

    pub(crate) fn pad(
        &mut self,
        x: Id,
        before: &[usize],
        after: &[usize],
        value: f64,
    ) -> Result<Id, ImportError> {
        if before.iter().chain(after).all(|&n| n == 0) {
            return Ok(x);
        }
        let dtype = self.dtype(x);
        let width = |v: &[usize]| v.iter().map(|&n| n as u32).collect();
        self.add(
            GraphOp::Pad {
                before: width(before),
                after: width(after),
                value,
            },
            vec![x],
            dtype,
        )
    }

    /// Rows along an axis, by constant indices.
    pub(crate) fn take(
        &mut self,
        x: Id,
        axis: usize,
        indices: &[usize],
    ) -> Result<Id, ImportError> {
        let index = self.array(Array::vector(
            indices.iter().map(|&i| i as f64).collect(),
            Dtype::I64,
        ))?;
        self.prim(Op::Gather { axis: axis as u8 }, vec![x, index])
    }

    /// Any rearrangement: element `i` of the result (with axes `dims`) is element `indices[i]` of the operand.
    pub(crate) fn select(
        &mut self,
        x: Id,
        indices: &[usize],
        dims: &[usize],
    ) -> Result<Id, ImportError> {
        let n = self.shape(x).elements();
        let flat = self.reshape(x, &[n])?;
        let taken = self.take(flat, 0, indices)?;
        self.reshape(taken, dims)
    }

    /// Sum over axes; `keep` leaves them with length one.
    pub(crate) fn sum(&mut self, x: Id, axes: &[usize], keep: bool) -> Result<Id, ImportError> {
        self.reduce(x, axes, keep, |axes| Op::Sum { axes })
    }

    /// Maximum over axes.
    pub(crate) fn max(&mut self, x: Id, axes: &[usize], keep: bool) -> Result<Id, ImportError> {
        self.reduce(x, axes, keep, |axes| Op::ReduceMax { axes })
    }

    fn reduce(
        &mut self,
        x: Id,
        axes: &[usize],
        keep: bool,
        op: impl Fn(Vec<u8>) -> Op,
    ) -> Result<Id, ImportError> {
        if axes.is_empty() {
            return Ok(x);
        }
        let dims = self.dims(x);
        let r = self.prim(op(axes.iter().map(|&a| a as u8).collect()), vec![x])?;
        if keep {
            let kept: Vec<_> = dims
                .iter()
                .enumerate()
                .map(|(i, &d)| if axes.contains(&i) { 1 } else { d })
                .collect();
            self.reshape(r, &kept)
        } else {
            Ok(r)
        }
    }

    /// A function of two operands, in the cheapest form: linear where it is, a table of one operand where the other is
    /// a constant, a table of both where both are narrow integers.
    pub(crate) fn bin(&mut self, f: Binary, a: Id, b: Id, dtype: Dtype) -> Result<Id, ImportError> {
        let (ca, cb) = (self.uniform(a, b), self.uniform(b, a));
        let real = self.dtype(a).is_float();
        match f {
            Binary::Add | Binary::Sub => {
                let sign = if f == Binary::Add { 1.0 } else { -1.0 };
                match (ca, cb) {
                    (None, Some(c)) => self.linear(&[(a, 1.0)], sign * c, dtype),
                    (Some(c), None) => self.linear(&[(b, sign)], c, dtype),
                    _ => self.linear(&[(a, 1.0), (b, sign)], 0.0, dtype),
                }
            }
            Binary::Mul => match (ca, cb) {
                (None, Some(c)) => self.linear(&[(a, c)], 0.0, dtype),
                (Some(c), None) => self.linear(&[(b, c)], 0.0, dtype),
                _ => self.add(GraphOp::Prim(Op::Mul), vec![a, b], dtype),
            },
            Binary::Div if real => match (ca, cb) {
                (None, Some(c)) if c != 0.0 => self.linear(&[(a, 1.0 / c)], 0.0, dtype),
                (Some(c), None) => self.func(b, Expr::C(c).bin(Binary::Div, Expr::X), dtype),
                _ if self.g.constant(b).is_some() => {
                    let inverse = self.func(b, Expr::C(1.0).bin(Binary::Div, Expr::X), dtype)?;
                    self.bin(Binary::Mul, a, inverse, dtype)
                }
                _ => self.add(GraphOp::Div, vec![a, b], dtype),
            },
            Binary::Div | Binary::IntDiv => match cb {
                Some(c) if c != 0.0 => self.func(a, Expr::X.with(Binary::IntDiv, c), dtype),
                Some(_) => self.refuse("divides an integer by zero"),
                None => self.add(GraphOp::IntDiv, vec![a, b], dtype),
            },
            Binary::Max | Binary::Min => match (ca, cb) {
                (None, Some(c)) => self.func(a, Expr::X.with(f, c), dtype),
                (Some(c), None) => self.func(b, Expr::X.with(f, c), dtype),
                _ if f == Binary::Max => self.add(GraphOp::Prim(Op::Max), vec![a, b], dtype),
                _ => {
                    // min(a, b) = -max(-a, -b), in a type that holds the negation of every integer.
                    let wide = if real { dtype } else { Dtype::I64 };
                    let (na, nb) = (
                        self.linear(&[(a, -1.0)], 0.0, wide)?,
                        self.linear(&[(b, -1.0)], 0.0, wide)?,
                    );
                    let m = self.add(GraphOp::Prim(Op::Max), vec![na, nb], wide)?;
                    self.linear(&[(m, -1.0)], 0.0, dtype)
                }
            },
            Binary::Less | Binary::LessEqual | Binary::Equal => {
                let (x, right) = if real {
                    if let Some(c) = cb {
                        return self.func(a, Expr::X.with(f, c), dtype);
                    }
                    if let Some(c) = ca {
                        return self.func(b, Expr::C(c).bin(f, Expr::X), dtype);
                    }
                    (self.linear(&[(a, 1.0), (b, -1.0)], 0.0, Dtype::F64)?, 0.0)
                } else {
                    let d = self.linear(&[(a, 1.0), (b, -1.0)], 0.0, Dtype::I64)?;
                    let clamp = Expr::X.with(Binary::Max, -1.0).with(Binary::Min, 1.0);
                    (self.func(d, clamp, Dtype::I64)?, 0.0)
                };
                self.func(x, Expr::X.with(f, right), dtype)
            }
            Binary::And | Binary::Or | Binary::Xor if self.dtype(a) == Dtype::Bool => match f {
                Binary::And => self.add(GraphOp::Prim(Op::Mul), vec![a, b], dtype),
                Binary::Or => self.add(GraphOp::Prim(Op::Max), vec![a, b], dtype),
                _ => {
                    let s = self.linear(&[(a, 1.0), (b, 1.0)], 0.0, Dtype::I64)?;
                    self.func(s, Expr::X.with(Binary::Equal, 1.0), dtype)
                }
            },
            _ => match (ca, cb) {
                (_, Some(c)) => self.func(a, Expr::X.with(f, c), dtype),
                (Some(c), _) => self.func(b, Expr::C(c).bin(f, Expr::X), dtype),
                _ => self.pair(f, a, b, dtype),
            },
        }
    }

    /// A table over both operands, for element types of at most eight bits.
    fn pair(&mut self, f: Binary, a: Id, b: Id, dtype: Dtype) -> Result<Id, ImportError> {
        let range = |t: Dtype| dtype_range(t).filter(|(lo, hi)| hi - lo <= 255.0);
        let (Some((la, _)), Some((lb, hb))) = (range(self.dtype(a)), range(self.dtype(b))) else {
            return self
                .refuse("needs one constant operand, unless both are integers of at most 8 bits");
        };
        let span = hb - lb + 1.0;
        let index = self.linear(&[(a, span), (b, 1.0)], -la * span - lb, Dtype::I64)?;
        let first = Expr::X.with(Binary::IntDiv, span).with(Binary::Add, la);
        let second = Expr::X.with(Binary::Mod, span).with(Binary::Add, lb);
        self.func(index, first.bin(f, second), dtype)
    }
}
