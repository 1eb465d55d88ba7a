//! The real-valued graph between ONNX and integers: few operations, static shapes, constants folded.
//!
//! Everything that ONNX spells in a hundred operators is spelled here with about twenty. Operations that mean the same
//! on real numbers as on integers are the program's own ([`carat_program::Op`]); the others are the real-valued ones
//! that the compiler replaces.

mod eval;
mod expr;
mod passes;

pub use eval::{EvalError, eval_op, run};
pub use expr::{Binary, Expr, Unary, binary, dtype_range, unary};
pub use passes::simplify;

use carat_program::{Dtype, Op, Range, Shape, ValueId, ValueInfo};
use std::sync::Arc;
use thiserror::Error;

/// A constant: may be empty, unlike a node's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Axis lengths.
    pub dims: Vec<usize>,
    /// Row-major values. Integers up to 2^53 are exact.
    pub data: Vec<f64>,
    /// Element type.
    pub dtype: Dtype,
}

impl Array {
    /// A constant without axes.
    #[must_use]
    pub fn scalar(value: f64, dtype: Dtype) -> Self {
        Self {
            dims: Vec::new(),
            data: vec![value],
            dtype,
        }
    }

    /// A constant of one axis.
    #[must_use]
    pub fn vector(data: Vec<f64>, dtype: Dtype) -> Self {
        Self {
            dims: vec![data.len()],
            data,
            dtype,
        }
    }

    /// The one value that all elements have.
    #[must_use]
    pub fn uniform(&self) -> Option<f64> {
        let first = *self.data.first()?;
        self.data
            .iter()
            .all(|v| v.to_bits() == first.to_bits())
            .then_some(first)
    }
}

/// Names a node.
pub type Id = usize;

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum GraphOp {
    /// Input number `n` of the graph.
    Input(usize),
    /// A constant.
    Const(Arc<Array>),
    /// The same as the program's primitive, on real numbers.
    Prim(Op),
    /// `coefficients[0]*x0 + ... + bias`.
    Linear {
        /// One per operand.
        coefficients: Vec<f64>,
        /// Added to each element.
        bias: f64,
    },
    /// A border of one value.
    Pad {
        /// Widths before, per axis.
        before: Vec<u32>,
        /// Widths after, per axis.
        after: Vec<u32>,
        /// The value.
        value: f64,
    },
    /// A function applied to each element.
    Func(Arc<Expr>),
    /// Elementwise quotient of real numbers.
    Div,
    /// Elementwise quotient of integers, towards zero.
    IntDiv,
    /// A new last axis of this length: 1 where its index equals the operand, else 0.
    OneHot(usize),
}

/// One node.
#[derive(Debug, Clone)]
pub struct GraphNode {
    /// The operation.
    pub op: GraphOp,
    /// Operands.
    pub inputs: Vec<Id>,
    /// Shape.
    pub shape: Shape,
    /// Element type: decides between real and integer meaning.
    pub dtype: Dtype,
    /// Name of the ONNX node that this comes from.
    pub origin: Arc<str>,
}

/// An input of the graph.
#[derive(Debug, Clone)]
pub struct GraphInput {
    /// Name.
    pub name: String,
    /// Its node.
    pub node: Id,
}

/// An output of the graph.
#[derive(Debug, Clone)]
pub struct GraphOutput {
    /// Name.
    pub name: String,
    /// Its node.
    pub node: Id,
}

/// The graph. Nodes are in an order in which they can be computed.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Nodes.
    pub nodes: Vec<GraphNode>,
    /// Inputs.
    pub inputs: Vec<GraphInput>,
    /// Outputs.
    pub outputs: Vec<GraphOutput>,
}

/// An operation that does not fit its operands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct GraphError(pub String);

impl GraphError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Graph {
    /// The constant behind a node.
    #[must_use]
    pub fn constant(&self, id: Id) -> Option<&Arc<Array>> {
        match &self.nodes[id].op {
            GraphOp::Const(c) => Some(c),
            _ => None,
        }
    }

    /// Adds a node without looking at it.
    pub fn push(
        &mut self,
        op: GraphOp,
        inputs: Vec<Id>,
        shape: Shape,
        dtype: Dtype,
        origin: &Arc<str>,
    ) -> Id {
        self.nodes.push(GraphNode {
            op,
            inputs,
            shape,
            dtype,
            origin: origin.clone(),
        });
        self.nodes.len() - 1
    }

    /// Adds a constant; it must not be empty.
    ///
    /// # Errors
    /// [`GraphError`] when it is empty or too large.
    pub fn add_constant(&mut self, value: Arc<Array>, origin: &Arc<str>) -> Result<Id, GraphError> {
        let shape = Shape::new(&value.dims).map_err(|e| GraphError(e.to_string()))?;
        let dtype = value.dtype;
        Ok(self.push(GraphOp::Const(value), Vec::new(), shape, dtype, origin))
    }

    /// Adds an operation: derives its shape, and folds it when all operands are constants.
    ///
    /// # Errors
    /// [`GraphError`] when the operands do not fit or a folded value is not a number that can be used.
    pub fn add(
        &mut self,
        op: GraphOp,
        inputs: Vec<Id>,
        dtype: Dtype,
        origin: &Arc<str>,
    ) -> Result<Id, GraphError> {
        let shapes: Vec<&Shape> = inputs.iter().map(|&i| &self.nodes[i].shape).collect();
        let shape = op_shape(&op, &shapes)?;
        if !inputs.is_empty() && inputs.iter().all(|&i| self.constant(i).is_some()) {
            let operands: Vec<(&Shape, &[f64])> = inputs
                .iter()
                .map(|&i| {
                    (
                        &self.nodes[i].shape,
                        self.constant(i).map_or(&[][..], |c| &c.data),
                    )
                })
                .collect();
            let data =
                eval_op(&op, &operands, &shape, dtype).map_err(|e| GraphError(e.to_string()))?;
            return self.add_constant(
                Arc::new(Array {
                    dims: shape.dims(),
                    data,
                    dtype,
                }),
                origin,
            );
        }
        Ok(self.push(op, inputs, shape, dtype, origin))
    }
}

/// The shape of an operation's result.
///
/// # Errors
/// [`GraphError`] when the operands do not fit.
pub fn op_shape(op: &GraphOp, operands: &[&Shape]) -> Result<Shape, GraphError> {
    let broadcast = || -> Result<Shape, GraphError> {
        let first = operands
            .first()
            .ok_or_else(|| GraphError::new("an operation without operands"))?;
        operands[1..].iter().try_fold((*first).clone(), |a, b| {
            a.broadcast(b)
                .ok_or_else(|| GraphError(format!("shapes {a} and {b} do not broadcast")))
        })
    };
    let prim = |op: &Op| -> Result<Shape, GraphError> {
        // Ranges do not matter for shapes; indices are checked where they are quantised.
        let infos: Vec<ValueInfo<'_>> = operands
            .iter()
            .enumerate()
            .map(|(i, shape)| ValueInfo {
                id: ValueId(i as u32),
                shape,
                range: Range::new(0, 0),
                constant: false,
            })
            .collect();
        op.infer_shape(&infos).map_err(GraphError)
    };
    match op {
        GraphOp::Input(_) | GraphOp::Const(_) => {
            Err(GraphError::new("inputs and constants have no operands"))
        }
        GraphOp::Prim(op) => prim(op),
        GraphOp::Linear { .. } | GraphOp::Div | GraphOp::IntDiv => broadcast(),
        GraphOp::Pad { before, after, .. } => prim(&Op::Pad {
            before: before.clone(),
            after: after.clone(),
            value: 0,
        }),
        GraphOp::Func(_) => broadcast(),
        GraphOp::OneHot(depth) => {
            let mut dims = operands.first().map(|s| s.dims()).unwrap_or_default();
            dims.push(*depth);
            Shape::new(&dims).map_err(|e| GraphError(e.to_string()))
        }
    }
}
