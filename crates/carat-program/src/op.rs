//! The primitive operations.

use crate::Shape;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

/// A two-operand contraction in index notation, as in `einsum("bik,bkj->bij")`.
///
/// Labels are small integers. A label in both operands and the output is a batch axis; in both operands and not in the
/// output, it is summed over; in one operand, it must be in the output. No label repeats within one operand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Contraction {
    /// Labels of the first operand's axes.
    #[n(0)]
    pub a: Vec<u8>,
    /// Labels of the second operand's axes.
    #[n(1)]
    pub b: Vec<u8>,
    /// Labels of the output's axes.
    #[n(2)]
    pub out: Vec<u8>,
}

/// A sliding window over the trailing (spatial) axes.
///
/// Along each spatial axis of length `n`, the output has `(n + before + after - dilation*(kernel-1) - 1) / stride + 1`
/// positions, rounded down. Positions that fall into the padding contribute nothing: zero to a sum, never to a maximum.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Window {
    /// Kernel length per spatial axis.
    #[n(0)]
    pub kernel: Vec<u32>,
    /// Stride per spatial axis, at least 1.
    #[n(1)]
    pub stride: Vec<u32>,
    /// Distance between kernel taps per spatial axis, at least 1.
    #[n(2)]
    pub dilation: Vec<u32>,
    /// Padding before, per spatial axis.
    #[n(3)]
    pub before: Vec<u32>,
    /// Padding after, per spatial axis.
    #[n(4)]
    pub after: Vec<u32>,
}

/// Geometry of a convolution: operands `x [N, C, spatial...]` and `w [M, C/groups, kernel...]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct ConvGeometry {
    /// The window; its kernel equals the trailing axes of `w`.
    #[n(0)]
    pub window: Window,
    /// Number of groups; divides both C and M.
    #[n(1)]
    pub groups: u32,
}

/// What a pooling window computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PoolKind {
    /// Sum of the elements in the window.
    #[n(0)]
    Sum,
    /// Maximum of the elements in the window; every window must hold at least one element.
    #[n(1)]
    Max,
}

/// How a quotient is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Rounding {
    /// Towards minus infinity.
    #[n(0)]
    Floor,
    /// To the nearest integer, halves up: floor(x + 1/2), the same rule as [`Op::Shift`].
    #[n(1)]
    Nearest,
}

/// One primitive. Elementwise primitives broadcast under NumPy's rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Op {
    /// `out = sum a * b` in index notation.
    #[n(0)]
    Contract {
        /// The index notation.
        #[n(0)]
        spec: Contraction,
        /// With one constant operand: the largest sum of absolute weights that meets in one output element. Tightens
        /// the overflow bound; checked against the weights by [`crate::Weights::check`].
        #[n(1)]
        l1: Option<u64>,
    },
    /// Convolution (cross-correlation, as in ONNX) without bias.
    #[n(1)]
    Conv {
        /// Window and groups.
        #[n(0)]
        geometry: ConvGeometry,
        /// As in [`Op::Contract`].
        #[n(1)]
        l1: Option<u64>,
    },
    /// Sum over some axes, which disappear from the shape.
    #[n(2)]
    Sum {
        /// Axes summed over, strictly increasing.
        #[n(0)]
        axes: Vec<u8>,
    },
    /// `coefficients[0]*x0 + coefficients[1]*x1 + ... + bias`, one coefficient per operand.
    #[n(3)]
    Linear {
        /// One per operand.
        #[n(0)]
        coefficients: Vec<i64>,
        /// Added to every element.
        #[n(1)]
        bias: i64,
    },
    /// Elementwise product of two operands.
    #[n(4)]
    Mul,
    /// `floor((x + 2^(bits-1)) / 2^bits)`: the one rounding rule. `bits` is 1 to 30.
    #[n(5)]
    Shift {
        /// Number of bits dropped.
        #[n(0)]
        bits: u8,
    },
    /// `min(max(x, lo), hi)`.
    #[n(6)]
    Clamp {
        /// Lower end.
        #[n(0)]
        lo: i64,
        /// Upper end.
        #[n(1)]
        hi: i64,
    },
    /// `table[x - offset]`. Operands: `x`, and a constant of rank 1 with at most 2^16 entries. The whole static range
    /// of `x` must lie inside the table; saturation is written into the table or done by a clamp before.
    #[n(7)]
    Lut {
        /// The value of `x` that selects the first entry.
        #[n(0)]
        offset: i64,
    },
    /// Elementwise maximum of two operands.
    #[n(8)]
    Max,
    /// Maximum over some axes, which disappear from the shape.
    #[n(9)]
    ReduceMax {
        /// Axes, strictly increasing.
        #[n(0)]
        axes: Vec<u8>,
    },
    /// Index of the maximum along one axis, which disappears; the lowest index on ties.
    #[n(10)]
    ArgMax {
        /// The axis.
        #[n(0)]
        axis: u8,
    },
    /// Sliding window over the trailing axes of `x [N, C, spatial...]`.
    #[n(11)]
    Pool {
        /// What the window computes.
        #[n(0)]
        kind: PoolKind,
        /// The window.
        #[n(1)]
        window: Window,
    },
    /// `round(numerator * 2^bits / denominator)` for a positive denominator.
    #[n(12)]
    Quotient {
        /// Fraction bits added to the numerator.
        #[n(0)]
        bits: u8,
        /// How to round.
        #[n(1)]
        rounding: Rounding,
    },
    /// The largest `r >= 0` with `r * r * x <= 2^bits`, for positive `x`: an inverse square root. `bits` is at most 58.
    #[n(13)]
    InverseSqrt {
        /// Fraction bits.
        #[n(0)]
        bits: u8,
    },
    /// The same elements in row-major order under another shape.
    #[n(14)]
    Reshape {
        /// The new shape, with the same number of elements.
        #[n(0)]
        shape: Shape,
    },
    /// Axis `i` of the output is axis `perm[i]` of the operand.
    #[n(15)]
    Transpose {
        /// A permutation of the axes.
        #[n(0)]
        perm: Vec<u8>,
    },
    /// Elements `start, start+step, ...` along each axis. A negative step walks backwards.
    #[n(16)]
    Slice {
        /// First index per axis.
        #[n(0)]
        start: Vec<u32>,
        /// Step per axis, not zero.
        #[n(1)]
        step: Vec<i32>,
        /// Number of elements per axis.
        #[n(2)]
        len: Vec<u32>,
    },
    /// Operands one after the other along an axis.
    #[n(17)]
    Concat {
        /// The axis.
        #[n(0)]
        axis: u8,
    },
    /// A border of one value.
    #[n(18)]
    Pad {
        /// Elements added before, per axis.
        #[n(0)]
        before: Vec<u32>,
        /// Elements added after, per axis.
        #[n(1)]
        after: Vec<u32>,
        /// The value of the border.
        #[n(2)]
        value: i64,
    },
    /// Repeats axes of length one, and adds leading axes, up to a shape.
    #[n(19)]
    Broadcast {
        /// The shape to reach.
        #[n(0)]
        shape: Shape,
    },
    /// Rows of the first operand along `axis`, selected by the second operand. Every index must lie within the axis by
    /// its static range. The axis is replaced by the axes of the index.
    #[n(20)]
    Gather {
        /// The axis selected from.
        #[n(0)]
        axis: u8,
    },
}

impl Op {
    /// The shape of the result. Ranges of the operands are not looked at.
    ///
    /// # Errors
    /// A sentence fragment that says why the operands do not fit.
    pub fn infer_shape(
        &self,
        operands: &[crate::ValueInfo<'_>],
    ) -> Result<Shape, alloc::string::String> {
        crate::infer::shape(self, operands)
    }

    /// Short lower-case name, used in messages and inspection.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Contract { .. } => "contract",
            Op::Conv { .. } => "conv",
            Op::Sum { .. } => "sum",
            Op::Linear { .. } => "linear",
            Op::Mul => "mul",
            Op::Shift { .. } => "shift",
            Op::Clamp { .. } => "clamp",
            Op::Lut { .. } => "lut",
            Op::Max => "max",
            Op::ReduceMax { .. } => "reduce-max",
            Op::ArgMax { .. } => "arg-max",
            Op::Pool {
                kind: PoolKind::Sum,
                ..
            } => "pool-sum",
            Op::Pool {
                kind: PoolKind::Max,
                ..
            } => "pool-max",
            Op::Quotient { .. } => "quotient",
            Op::InverseSqrt { .. } => "inverse-sqrt",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Slice { .. } => "slice",
            Op::Concat { .. } => "concat",
            Op::Pad { .. } => "pad",
            Op::Broadcast { .. } => "broadcast",
            Op::Gather { .. } => "gather",
        }
    }
}
