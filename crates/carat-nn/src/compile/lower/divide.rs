//! Quotients, reciprocals and inverse square roots.

use super::super::{CompileError, Compiler, builder::Q, scale};
use crate::graph::{Binary, Expr, Id, Unary};
use carat_program::{HALF, Op, Range, Rounding, Shape};

/// Fraction bits of a quotient: numerator (14 bits) and these stay below 2^28.
const QUOTIENT_BITS: u8 = 14;

/// Ratio of the ends of an operand's range from which on a reciprocal is not left to a table.
const STEEP: f64 = 16.0;

/// Additions and bounds that lead from the variable to an expression, in order; `false` if there is anything else.
fn chain(f: &Expr, steps: &mut Vec<(Binary, f64)>) -> bool {
    match f {
        Expr::X => true,
        Expr::Bin(op @ (Binary::Add | Binary::Max | Binary::Min), a, b) => match (&**a, &**b) {
            (inner, Expr::C(c)) | (Expr::C(c), inner) => {
                let known = chain(inner, steps);
                steps.push((*op, *c));
                known
            }
            _ => false,
        },
        // Fusion writes a sum as 0 + 1 * x + ...
        Expr::Bin(Binary::Mul, a, b) if **b == Expr::C(1.0) => chain(a, steps),
        _ => false,
    }
}

impl Compiler<'_> {
    /// A reciprocal or inverse square root whose operand spans a wide range: a table with even steps would be coarse
    /// where the function is steep, so the exact primitives are used. `None` where a table will do.
    pub(super) fn steep(&mut self, id: Id, x: Id, f: &Expr) -> Result<Option<Q>, CompileError> {
        let Expr::Bin(Binary::Div, numerator, denominator) = f else {
            return Ok(None);
        };
        let Expr::C(k) = **numerator else {
            return Ok(None);
        };
        let (inner, root) = match &**denominator {
            Expr::Un(Unary::Sqrt, inner) => (&**inner, true),
            inner => (inner, false),
        };
        let (lo, hi) = self.calibration.ranges[x];
        let ends = (inner.eval(lo), inner.eval(hi));
        let (low, high) = (ends.0.min(ends.1), ends.0.max(ends.1));
        if !(k > 0.0 && low > 0.0 && high > low * STEEP) {
            return Ok(None);
        }
        let mut steps = Vec::new();
        if !chain(inner, &mut steps) {
            return Ok(None);
        }
        // As fine as fits: 26 bits for the largest operand.
        let finest = scale::exponent_for(high, 26);
        let Some(mut q) = self.values[x] else {
            return Ok(None);
        };
        // Room for the multiplication that brings a coarser value to this exponent.
        let room = (1i64 << 27) >> (finest - q.exponent).clamp(0, 40);
        q = self.at(q, finest.min(q.exponent), Range::new(-room, room))?;
        q = self.finer(q, finest)?;
        for (step, c) in steps {
            let v =
                libm::rint(libm::ldexp(c, q.exponent)).clamp(-(HALF as f64), HALF as f64) as i64;
            let op = match step {
                Binary::Max => Op::Clamp { lo: v, hi: HALF },
                Binary::Min => Op::Clamp { lo: -HALF, hi: v },
                _ => Op::Linear {
                    coefficients: vec![1],
                    bias: v,
                },
            };
            q = self.b.add(op, &[q], q.exponent)?;
        }
        // Half of the smallest operand seen is the least that is told apart; below it the result saturates.
        let floor = libm::floor(libm::ldexp(low / 2.0, q.exponent)).max(1.0) as i64;
        q = self.b.add(
            Op::Clamp {
                lo: floor,
                hi: HALF,
            },
            &[q],
            q.exponent,
        )?;
        if !root {
            let (num, e) = scale::quantise(&[k], 15);
            let one = self.b.constant(Shape::scalar(), num, e);
            // Enough fraction bits for the largest result, within the bound of the quotient.
            let bits = QUOTIENT_BITS;
            let exponent = e + i32::from(bits) - q.exponent;
            if libm::ldexp(self.largest(id), exponent) < 4096.0 {
                return Ok(None);
            }
            let r = self.b.add(
                Op::Quotient {
                    bits,
                    rounding: Rounding::Nearest,
                },
                &[one, q],
                exponent,
            )?;
            return Ok(Some(r));
        }
        // 1 / sqrt(v) = sqrt(2^e / q) = r * 2^-((bits - e) / 2): the parities must agree.
        let bits = if (58 - q.exponent).rem_euclid(2) == 0 {
            58
        } else {
            57
        };
        let r = self.b.add(
            Op::InverseSqrt { bits: bits as u8 },
            &[q],
            (bits - q.exponent) / 2,
        )?;
        if k == 1.0 {
            return Ok(Some(r));
        }
        let fitted = self.fit_value(r, self.largest(id) / k, 15, true)?;
        let (num, e) = scale::quantise(&[k], 15);
        let factor = self.b.constant(Shape::scalar(), num, e);
        Ok(Some(self.b.add(
            Op::Mul,
            &[fitted, factor],
            fitted.exponent + e,
        )?))
    }

    pub(super) fn divide(&mut self, id: Id, a: Id, b: Id) -> Result<Q, CompileError> {
        let (lo, hi) = self.calibration.ranges[b];
        if self.graph.constant(b).is_none() && lo == 0.0 && hi == 0.0 {
            return self.refuse("divides by zero on every sample");
        }
        let mut num = self.fit(a, 14)?;
        // The widest denominator that still leaves thirteen bits to the quotient.
        let largest = self.largest(id);
        let mut den = self.fit(b, 14)?;
        for bits in [20, 18, 16] {
            let wide = self.fit(b, bits)?;
            let exponent = num.exponent - wide.exponent + i32::from(QUOTIENT_BITS);
            if libm::ldexp(largest, exponent) >= 8192.0 {
                den = wide;
                break;
            }
        }
        let exponent = num.exponent - den.exponent + i32::from(QUOTIENT_BITS);
        if self.b.range(den).lo < 1 {
            if lo > 0.0 {
                den = self
                    .b
                    .add(Op::Clamp { lo: 1, hi: HALF }, &[den], den.exponent)?;
            } else {
                let sign = self.sign(den)?;
                den = self.b.add(Op::Mul, &[den, sign], den.exponent)?;
                den = self
                    .b
                    .add(Op::Clamp { lo: 1, hi: HALF }, &[den], den.exponent)?;
                num = self.b.add(Op::Mul, &[num, sign], num.exponent)?;
            }
        }
        self.b.add(
            Op::Quotient {
                bits: QUOTIENT_BITS,
                rounding: Rounding::Nearest,
            },
            &[num, den],
            exponent,
        )
    }

    /// -1, 0 or 1.
    fn sign(&mut self, q: Q) -> Result<Q, CompileError> {
        self.b.add(Op::Clamp { lo: -1, hi: 1 }, &[q], 0)
    }

    /// Integers, towards zero: floor of the absolute values, with the product of the signs.
    pub(super) fn integer_divide(&mut self, a: Id, b: Id) -> Result<Q, CompileError> {
        let (a, b) = (self.value(a, 30)?, self.value(b, 30)?);
        let (sa, sb) = (self.sign(a)?, self.sign(b)?);
        let ma = self.b.add(Op::Mul, &[a, sa], 0)?;
        let mb = self.b.add(Op::Mul, &[b, sb], 0)?;
        let mb = self.b.add(Op::Clamp { lo: 1, hi: HALF }, &[mb], 0)?;
        let ma = self.b.add(Op::Clamp { lo: 0, hi: HALF }, &[ma], 0)?;
        let q = self.b.add(
            Op::Quotient {
                bits: 0,
                rounding: Rounding::Floor,
            },
            &[ma, mb],
            0,
        )?;
        let s = self.b.add(Op::Mul, &[sa, sb], 0)?;
        self.b.add(Op::Mul, &[q, s], 0)
    }
}
