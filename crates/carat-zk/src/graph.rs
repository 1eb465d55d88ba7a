//! The proof graph: a Program rewritten into few kinds of linear and bilinear steps, committed columns and lookups.

use crate::layout::{AxisMap, bits, vars};
use alloc::vec::Vec;
use carat_program::{Rounding, ValueId};

/// A value of the graph. Values are numbered in an order in which operands come first.
pub(crate) type Id = usize;

/// How a value follows from others. Every value is zero outside its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A column of the witness commitment.
    Column(usize),
    /// A constant of the Program, in the weights commitment.
    Constant(usize),
    /// `sum c * x + bias`, all of the same shape.
    Linear { terms: Vec<(i64, Id)>, bias: i64 },
    /// One [`AxisMap`] per axis: `y[j] = sum of x[i]` over the i that every axis's map reads.
    Axes { x: Id, maps: Vec<AxisMap> },
    /// The same elements in row-major order.
    Reshape(Id),
    /// Axis i of the result is axis `perm[i]` of x.
    Permute { x: Id, perm: Vec<usize> },
    /// Sum over axes, which disappear.
    Sum { x: Id, axes: Vec<usize> },
    /// Elementwise product.
    Mul(Id, Id),
    /// Contraction in index notation (labels as in [`carat_program::Contraction`]).
    Contract {
        a: Id,
        b: Id,
        a_labels: Vec<u8>,
        b_labels: Vec<u8>,
        out_labels: Vec<u8>,
    },
    /// `sum over the axes of steps[a] * i_a` at the element (i_0, i_1, ..): places, known to everyone.
    Ramp { steps: Vec<i64> },
    /// Convolution: x `[lead, n, g, C, spatial..]`, w `[g, M, C, kernel..]`, out `[lead, n, g, M, spatial..]`. One map
    /// per spatial axis, with the kernel's taps.
    Conv { x: Id, w: Id, maps: Vec<AxisMap> },
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) dims: Vec<usize>,
    /// Static range.
    pub(crate) lo: i64,
    pub(crate) hi: i64,
    /// The Program's value with the same elements in row-major order, where there is one.
    pub(crate) value: Option<ValueId>,
}

impl Node {
    pub(crate) fn vars(&self) -> usize {
        vars(&self.dims)
    }
}

/// How the honest prover fills a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// An input of the Program.
    Input(usize),
    /// `floor((x + 2^(bits-1)) / 2^bits)`.
    Shift { x: Id, bits: u8 },
    /// `x 2^bits / d`, rounded.
    Quotient {
        x: Id,
        d: Id,
        bits: u8,
        rounding: Rounding,
    },
    /// `floor(x / 2^bits)`.
    High { x: Id, bits: u8 },
    /// What a table holds for x.
    Table { x: Id, table: usize },
    /// How often each entry of a table is looked up.
    Multiplicity(usize),
}

/// A column of the witness commitment.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) dims: Vec<usize>,
    pub(crate) fill: Fill,
}

/// What a table holds. Row t is the tuple given here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rows {
    /// `(t)`
    Range,
    /// `(t + start, 1 if t + start >= 0 else 0)`
    Step { start: i64 },
    /// `(t + start, clamp(t + start, lo, hi))`
    Clamp { start: i64, lo: i64, hi: i64 },
    /// `(t + start, T[t])` for a value T of the graph, at the positions t of its padded shape.
    Value { start: i64 },
}

/// A lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) rows: Rows,
    /// The shape of its column of multiplicities: of one axis, or that of its value.
    pub(crate) dims: Vec<usize>,
    /// Its column of multiplicities.
    pub(crate) multiplicity: usize,
    /// The value that it holds, for [`Rows::Value`].
    pub(crate) value: Option<Id>,
}

impl Table {
    /// The first entry of row 0, where it counts rows.
    #[cfg(any(test, feature = "prover"))]
    pub(crate) fn start(&self) -> i64 {
        match self.rows {
            Rows::Range => 0,
            Rows::Step { start } | Rows::Clamp { start, .. } | Rows::Value { start } => start,
        }
    }

    /// One more than the position of the last row.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().fold(0, |at, &d| at << bits(d) | (d - 1)) + 1
    }

    /// The element of the column of multiplicities, and of the value, that a position belongs to; none in the padding.
    #[cfg(any(test, feature = "prover"))]
    pub(crate) fn element(&self, position: usize) -> Option<usize> {
        if let [len] = self.dims[..] {
            return (position < len).then_some(position);
        }
        let (mut rest, mut element, mut stride) = (position, 0, 1);
        for &d in self.dims.iter().rev() {
            let i = rest & ((1 << bits(d)) - 1);
            if i >= d {
                return None;
            }
            element += i * stride;
            (rest, stride) = (rest >> bits(d), stride * d);
        }
        (rest == 0).then_some(element)
    }
}

/// The claim that every element of a tuple of tensors of one shape is an entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) table: usize,
    pub(crate) tuple: Vec<Id>,
}

/// The whole graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) columns: Vec<Column>,
    /// The value of each column.
    pub(crate) column_nodes: Vec<Id>,
    pub(crate) tables: Vec<Table>,
    pub(crate) lookups: Vec<Lookup>,
    /// The values of the Program's inputs.
    pub(crate) inputs: Vec<Id>,
    /// The values of the Program's outputs.
    pub(crate) outputs: Vec<Id>,
}
