//! Interval arithmetic over whole tensors: the static proof that nothing wraps.

use crate::{HALF, Op, PoolKind, Rounding, ValueInfo, Window};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use minicbor::{Decode, Encode};

/// An inclusive interval that holds every element of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Range {
    /// Smallest value.
    #[n(0)]
    pub lo: i64,
    /// Largest value.
    #[n(1)]
    pub hi: i64,
}

impl Range {
    /// The interval `lo..=hi`.
    #[must_use]
    pub fn new(lo: i64, hi: i64) -> Self {
        Self { lo, hi }
    }

    /// The smallest interval that holds the given values; `None` for no values.
    #[must_use]
    pub fn of(values: &[i32]) -> Option<Self> {
        let (first, rest) = values.split_first()?;
        let init = Self::new((*first).into(), (*first).into());
        Some(rest.iter().fold(init, |r, &v| {
            Self::new(r.lo.min(v.into()), r.hi.max(v.into()))
        }))
    }

    /// Not empty, and within ±[`HALF`].
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.lo <= self.hi && self.lo >= -HALF && self.hi <= HALF
    }

    /// Largest absolute value.
    #[must_use]
    pub fn max_abs(self) -> i64 {
        self.lo.saturating_abs().max(self.hi.saturating_abs())
    }

    /// Whether a value lies inside.
    #[must_use]
    pub fn contains(self, v: i64) -> bool {
        self.lo <= v && v <= self.hi
    }

    /// The smallest interval that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self::new(self.lo.min(other.lo), self.hi.max(other.hi))
    }

    fn symmetric(bound: i64) -> Self {
        Self::new(bound.saturating_neg(), bound)
    }

    fn scale(self, c: i64) -> Self {
        let (a, b) = (self.lo.saturating_mul(c), self.hi.saturating_mul(c));
        Self::new(a.min(b), a.max(b))
    }

    fn times(self, other: Self) -> Self {
        let p = [
            self.lo.saturating_mul(other.lo),
            self.lo.saturating_mul(other.hi),
            self.hi.saturating_mul(other.lo),
            self.hi.saturating_mul(other.hi),
        ];
        Self::new(
            p.into_iter().fold(i64::MAX, i64::min),
            p.into_iter().fold(i64::MIN, i64::max),
        )
    }
}

/// Integer square root, rounded down.
pub(crate) fn isqrt(n: u64) -> u64 {
    n.isqrt()
}

/// `floor((x + 2^(bits-1)) / 2^bits)`, the rule of [`Op::Shift`], for 1 to 30 bits.
#[must_use]
pub fn shift_round(x: i64, bits: u8) -> i64 {
    (x + (1i64 << (bits - 1))) >> bits
}

pub(crate) fn range(op: &Op, operands: &[ValueInfo<'_>]) -> Result<Range, String> {
    let x = operands.first().ok_or("has no operands")?.range;
    Ok(match op {
        Op::Contract { spec, l1 } => {
            let (a, b) = (&operands[0], &operands[1]);
            let depth = spec
                .a
                .iter()
                .enumerate()
                .filter(|(_, label)| !spec.out.contains(label))
                .map(|(axis, _)| a.shape.dim(axis) as u64)
                .product();
            product_sum(a, b, depth, *l1)?
        }
        Op::Conv { l1, .. } => {
            let (x, w) = (&operands[0], &operands[1]);
            let depth = (1..w.shape.rank())
                .map(|axis| w.shape.dim(axis) as u64)
                .product();
            product_sum(x, w, depth, *l1)?
        }
        Op::Sum { axes } => {
            let n: i64 = axes
                .iter()
                .map(|&axis| operands[0].shape.dim(axis.into()) as i64)
                .product();
            x.scale(n)
        }
        Op::Linear { coefficients, bias } => linear(operands, coefficients, *bias),
        Op::Mul if operands[0].id == operands[1].id => {
            let square = x.times(x);
            if x.contains(0) {
                Range::new(0, square.hi)
            } else {
                square
            }
        }
        Op::Mul => x.times(operands[1].range),
        Op::Shift { bits } => {
            if !(1..=30).contains(bits) {
                return Err(format!("shifts by {bits} bits; 1 to 30 are possible"));
            }
            Range::new(shift_round(x.lo, *bits), shift_round(x.hi, *bits))
        }
        Op::Clamp { lo, hi } => {
            if lo > hi {
                return Err("clamps to an empty interval".to_string());
            }
            Range::new(x.lo.clamp(*lo, *hi), x.hi.clamp(*lo, *hi))
        }
        Op::Lut { offset } => {
            let table = &operands[1];
            let last = offset.saturating_add(table.shape.elements() as i64 - 1);
            if x.lo < *offset || x.hi > last {
                return Err(format!(
                    "index range {}..={} leaves the table {offset}..={last}",
                    x.lo, x.hi
                ));
            }
            table.range
        }
        Op::Max => {
            let y = operands[1].range;
            Range::new(x.lo.max(y.lo), x.hi.max(y.hi))
        }
        Op::ReduceMax { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Broadcast { .. } => x,
        Op::ArgMax { axis } => Range::new(0, operands[0].shape.dim((*axis).into()) as i64 - 1),
        Op::Pool {
            kind: PoolKind::Max,
            ..
        } => x,
        Op::Pool {
            kind: PoolKind::Sum,
            window,
        } => {
            // A window at the border may hold fewer elements, down to none.
            let full = window
                .kernel
                .iter()
                .fold(1i64, |n, &k| n.saturating_mul(k.into()));
            let r = x.scale(full);
            if pads(window) {
                r.union(x).union(Range::new(0, 0))
            } else {
                r
            }
        }
        Op::Quotient { bits, rounding } => quotient(x, operands[1].range, *bits, *rounding)?,
        Op::InverseSqrt { bits } => {
            if *bits > 58 {
                return Err(format!("has {bits} fraction bits; at most 58 are possible"));
            }
            if x.lo < 1 {
                return Err(format!("needs a positive operand, but it can be {}", x.lo));
            }
            let at = |v: i64| isqrt((1u64 << bits) / v as u64) as i64;
            Range::new(at(x.hi), at(x.lo))
        }
        Op::Concat { .. } => operands[1..].iter().fold(x, |r, v| r.union(v.range)),
        Op::Pad { value, .. } => x.union(Range::new(*value, *value)),
        Op::Gather { axis } => {
            let (index, n) = (
                operands[1].range,
                operands[0].shape.dim((*axis).into()) as i64,
            );
            if index.lo < 0 || index.hi >= n {
                return Err(format!(
                    "index range {}..={} leaves the axis of length {n}",
                    index.lo, index.hi
                ));
            }
            x
        }
    })
}

fn product_sum(
    a: &ValueInfo<'_>,
    b: &ValueInfo<'_>,
    depth: u64,
    l1: Option<u64>,
) -> Result<Range, String> {
    match l1 {
        Some(l1) => {
            let x = match (a.constant, b.constant) {
                (true, false) => b.range,
                (false, true) => a.range,
                _ => {
                    return Err(
                        "gives a weight sum without exactly one constant operand".to_string()
                    );
                }
            };
            let l1 = i64::try_from(l1).map_err(|_| "weight sum is absurd".to_string())?;
            Ok(Range::symmetric(l1.saturating_mul(x.max_abs())))
        }
        None => {
            let product = a.range.times(b.range);
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            // Zero stands for window positions that fall into the padding.
            Ok(product.scale(depth).union(Range::new(0, 0)))
        }
    }
}

/// In 128 bits: saturated terms of opposite signs could cancel to a bound that looks harmless.
fn linear(operands: &[ValueInfo<'_>], coefficients: &[i64], bias: i64) -> Range {
    let (mut lo, mut hi) = (i128::from(bias), i128::from(bias));
    for (v, &c) in operands.iter().zip(coefficients) {
        let (a, b) = (
            i128::from(v.range.lo) * i128::from(c),
            i128::from(v.range.hi) * i128::from(c),
        );
        lo += a.min(b);
        hi += a.max(b);
    }
    let narrow = |v: i128| v.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    Range::new(narrow(lo), narrow(hi))
}

fn quotient(num: Range, den: Range, bits: u8, rounding: Rounding) -> Result<Range, String> {
    if bits > 30 {
        return Err(format!("has {bits} fraction bits; at most 30 are possible"));
    }
    if den.lo < 1 {
        return Err(format!(
            "needs a positive denominator, but it can be {}",
            den.lo
        ));
    }
    let corners: Vec<i64> = [num.lo, num.hi]
        .into_iter()
        .flat_map(|n| [den.lo, den.hi].map(|d| divide(n, d, bits, rounding)))
        .collect();
    let zero = if num.contains(0) { 0 } else { corners[0] };
    Ok(corners
        .iter()
        .fold(Range::new(zero, zero), |r, &v| r.union(Range::new(v, v))))
}

/// The quotient as [`Op::Quotient`] defines it; exact for |n| <= 2^30, d >= 1, bits <= 30.
pub(crate) fn divide(n: i64, d: i64, bits: u8, rounding: Rounding) -> i64 {
    let scaled = n << bits;
    match rounding {
        Rounding::Floor => scaled.div_euclid(d),
        Rounding::Nearest => (2 * scaled + d).div_euclid(2 * d),
    }
}

fn pads(window: &Window) -> bool {
    window.before.iter().chain(&window.after).any(|&p| p > 0)
}
