//! Builds a program node by node, deriving shapes and ranges as it goes.

use super::CompileError;
use carat_program::{
    Constant, ConstantWidth, InputSpec, Node, Op, OutputEncoding, OutputSpec, PoolKind, Program,
    Range, Shape, ValueId, ValueInfo, Weights, constant_root,
};
use std::{collections::HashMap, sync::Arc};

/// A value while the program is built: constants may still be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum V {
    Input(usize),
    Const(usize),
    Node(usize),
}

impl V {
    /// An id that is distinct while building; only equality matters.
    fn provisional(self) -> ValueId {
        ValueId(match self {
            V::Input(i) => i as u32,
            V::Const(i) => (1 << 30) + i as u32,
            V::Node(i) => (1 << 31) + i as u32,
        })
    }
}

/// A value with its scale: the real number is `q * 2^-exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Q {
    pub(super) v: V,
    pub(super) exponent: i32,
}

#[derive(Default)]
pub(super) struct Builder {
    pub(super) inputs: Vec<InputSpec>,
    constants: Vec<Constant>,
    data: Vec<Vec<i32>>,
    nodes: Vec<(Op, Vec<V>, Shape, Range)>,
    pub(super) origins: Vec<(Arc<str>, i32)>,
    outputs: Vec<(OutputSpec, V)>,
    seen: HashMap<(Shape, carat_receipt::Digest), usize>,
    memo: HashMap<(Op, Vec<V>), V>,
    pub(super) origin: Arc<str>,
}

impl Builder {
    fn info(&self, v: V) -> ValueInfo<'_> {
        let (shape, range, constant) = match v {
            V::Input(i) => (&self.inputs[i].shape, self.inputs[i].range, false),
            V::Const(i) => (&self.constants[i].shape, self.constants[i].range, true),
            V::Node(i) => (&self.nodes[i].2, self.nodes[i].3, false),
        };
        ValueInfo {
            id: v.provisional(),
            shape,
            range,
            constant,
        }
    }

    pub(super) fn range(&self, q: Q) -> Range {
        self.info(q.v).range
    }

    pub(super) fn shape(&self, q: Q) -> &Shape {
        self.info(q.v).shape
    }

    /// Bounds and operand of a clamp.
    pub(super) fn clamp_of(&self, q: Q) -> Option<(i64, i64, V)> {
        let V::Node(i) = q.v else { return None };
        match self.nodes[i].0 {
            Op::Clamp { lo, hi } => Some((lo, hi, self.nodes[i].1[0])),
            _ => None,
        }
    }

    /// The range of what a shift of this value will be applied to once [`super::hoist`] has moved it up.
    pub(super) fn range_before_clamps(&self, q: Q) -> Range {
        let mut v = q.v;
        while let V::Node(i) = v {
            let (op, inputs, ..) = &self.nodes[i];
            match op {
                Op::Clamp { .. }
                | Op::ReduceMax { .. }
                | Op::Pool {
                    kind: PoolKind::Max,
                    ..
                }
                | Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Slice { .. }
                | Op::Broadcast { .. } => v = inputs[0],
                _ => break,
            }
        }
        self.info(v).range
    }

    /// What a node would record, without adding it.
    pub(super) fn derive(&self, op: &Op, inputs: &[Q]) -> Result<(Shape, Range), CompileError> {
        let operands: Vec<_> = inputs.iter().map(|q| self.info(q.v)).collect();
        Program::derive(self.nodes.len(), op, &operands).map_err(|error| CompileError::Bound {
            origin: self.origin.to_string(),
            error,
        })
    }

    /// Adds a node, or finds the same one.
    pub(super) fn add(&mut self, op: Op, inputs: &[Q], exponent: i32) -> Result<Q, CompileError> {
        let (shape, range) = self.derive(&op, inputs)?;
        let key = (op, inputs.iter().map(|q| q.v).collect::<Vec<_>>());
        if let Some(&v) = self.memo.get(&key) {
            return Ok(Q { v, exponent });
        }
        let v = V::Node(self.nodes.len());
        self.memo.insert(key.clone(), v);
        self.nodes.push((key.0, key.1, shape, range));
        self.origins.push((self.origin.clone(), exponent));
        Ok(Q { v, exponent })
    }

    /// Adds a constant, or finds the same one.
    pub(super) fn constant(&mut self, shape: Shape, data: Vec<i32>, exponent: i32) -> Q {
        let range = Range::of(&data).unwrap_or(Range::new(0, 0));
        let root = constant_root(&ConstantWidth::of(range).encode(&data), None);
        let next = self.constants.len();
        let index = *self.seen.entry((shape.clone(), root)).or_insert(next);
        if index == next {
            self.constants.push(Constant { shape, range, root });
            self.data.push(data);
        }
        Q {
            v: V::Const(index),
            exponent,
        }
    }

    pub(super) fn output(&mut self, spec: OutputSpec, q: Q) {
        self.outputs.push((spec, q.v));
    }

    pub(super) fn data(&self, q: Q) -> &[i32] {
        match q.v {
            V::Const(i) => &self.data[i],
            _ => &[],
        }
    }

    /// The finished program: unused nodes and constants removed, values numbered.
    pub(super) fn finish(self) -> (Program, Weights, Vec<(Arc<str>, i32)>) {
        let mut used = vec![false; self.nodes.len()];
        let mut stack: Vec<V> = self.outputs.iter().map(|(_, v)| *v).collect();
        let mut constants = std::collections::BTreeSet::new();
        while let Some(v) = stack.pop() {
            match v {
                V::Node(i) if !used[i] => {
                    used[i] = true;
                    stack.extend(&self.nodes[i].1);
                }
                V::Const(i) => {
                    constants.insert(i);
                }
                _ => {}
            }
        }
        let place: HashMap<usize, usize> = constants
            .iter()
            .enumerate()
            .map(|(new, &old)| (old, new))
            .collect();
        let mut node_place = HashMap::new();
        for (i, _) in used.iter().enumerate().filter(|(_, u)| **u) {
            let next = node_place.len();
            node_place.insert(i, next);
        }
        let (n_in, n_const) = (self.inputs.len(), constants.len());
        let id = |v: V| {
            ValueId(match v {
                V::Input(i) => i,
                V::Const(i) => n_in + place[&i],
                V::Node(i) => n_in + n_const + node_place[&i],
            } as u32)
        };
        let nodes = self
            .nodes
            .iter()
            .zip(&used)
            .filter(|(_, u)| **u)
            .map(|((op, inputs, shape, range), _)| Node {
                op: op.clone(),
                inputs: inputs.iter().map(|&v| id(v)).collect(),
                shape: shape.clone(),
                range: *range,
            })
            .collect();
        let outputs = self
            .outputs
            .iter()
            .map(|(spec, v)| OutputSpec {
                value: id(*v),
                ..spec.clone()
            })
            .collect();
        let weights = Weights {
            data: constants
                .iter()
                .map(|&i| self.data[i].clone().into())
                .collect(),
            salt: None,
        };
        let origins = self
            .origins
            .iter()
            .zip(&used)
            .filter(|(_, u)| **u)
            .map(|(o, _)| o.clone())
            .collect();
        let program = Program {
            inputs: self.inputs,
            constants: constants
                .iter()
                .map(|&i| self.constants[i].clone())
                .collect(),
            nodes,
            outputs,
        };
        (program, weights, origins)
    }
}

/// The encoding that an exponent stands for at the edge.
pub(super) fn fixed(exponent: i32) -> OutputEncoding {
    OutputEncoding::Fixed { exponent }
}
