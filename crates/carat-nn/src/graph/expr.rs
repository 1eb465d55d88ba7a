//! Real functions of one variable: what becomes a lookup table.

use carat_program::Dtype;
use std::sync::Arc;

/// A function of one operand.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum Unary {
    Neg,
    Abs,
    Exp,
    Log,
    Sqrt,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Floor,
    Ceil,
    /// To the nearest integer, halves to even.
    Round,
    /// Towards zero.
    Trunc,
    /// -1, 0 or 1.
    Sign,
    /// 1 for zero, 0 for anything else.
    Not,
    IsNan,
    IsInf {
        positive: bool,
        negative: bool,
    },
    /// To the nearest number of a narrower float format.
    ToFloat(Dtype),
    /// Modulo the width of an integer type.
    Wrap(Dtype),
}

/// A function of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// Quotient of integers, towards zero.
    IntDiv,
    Pow,
    Max,
    Min,
    Less,
    LessEqual,
    Equal,
    /// Remainder with the sign of the divisor.
    Mod,
    /// Remainder with the sign of the dividend.
    Fmod,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// An expression in one variable. Shared subtrees are shared in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// The variable.
    X,
    /// A constant.
    C(f64),
    /// A function of one expression.
    Un(Unary, Arc<Expr>),
    /// A function of two expressions.
    Bin(Binary, Arc<Expr>, Arc<Expr>),
    /// The second where the first is not zero, else the third.
    Select(Arc<Expr>, Arc<Expr>, Arc<Expr>),
}

/// `f(x)` in binary64. Transcendental functions come from the `libm` crate, never from the platform, so that tables are
/// the same everywhere.
#[must_use]
pub fn unary(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Abs => libm::fabs(x),
        Unary::Exp => libm::exp(x),
        Unary::Log => libm::log(x),
        Unary::Sqrt => libm::sqrt(x),
        Unary::Sin => libm::sin(x),
        Unary::Cos => libm::cos(x),
        Unary::Tan => libm::tan(x),
        Unary::Asin => libm::asin(x),
        Unary::Acos => libm::acos(x),
        Unary::Atan => libm::atan(x),
        Unary::Sinh => libm::sinh(x),
        Unary::Cosh => libm::cosh(x),
        Unary::Tanh => libm::tanh(x),
        Unary::Asinh => libm::asinh(x),
        Unary::Acosh => libm::acosh(x),
        Unary::Atanh => libm::atanh(x),
        Unary::Erf => libm::erf(x),
        Unary::Floor => libm::floor(x),
        Unary::Ceil => libm::ceil(x),
        Unary::Round => libm::rint(x),
        Unary::Trunc => libm::trunc(x),
        Unary::Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }
        Unary::Not => flag(x == 0.0),
        Unary::IsNan => flag(x.is_nan()),
        Unary::IsInf { positive, negative } => {
            flag(x.is_infinite() && ((positive && x > 0.0) || (negative && x < 0.0)))
        }
        Unary::ToFloat(dtype) => to_float(dtype, x),
        Unary::Wrap(dtype) => wrap(dtype, x),
    }
}

/// `f(a, b)` in binary64.
#[must_use]
pub fn binary(f: Binary, a: f64, b: f64) -> f64 {
    let int = |f: fn(i64, i64) -> i64| f(a as i64, b as i64) as f64;
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::IntDiv => libm::trunc(a / b),
        Binary::Pow => libm::pow(a, b),
        Binary::Max if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Max => a.max(b),
        Binary::Min if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Min => a.min(b),
        Binary::Less => flag(a < b),
        Binary::LessEqual => flag(a <= b),
        Binary::Equal => flag(a == b),
        Binary::Mod => {
            let r = libm::fmod(a, b);
            if r != 0.0 && (r < 0.0) != (b < 0.0) {
                r + b
            } else {
                r
            }
        }
        Binary::Fmod => libm::fmod(a, b),
        Binary::And => int(|a, b| a & b),
        Binary::Or => int(|a, b| a | b),
        Binary::Xor => int(|a, b| a ^ b),
        Binary::ShiftLeft => int(|a, b| {
            if (0..64).contains(&b) {
                ((a as u64) << b) as i64
            } else {
                0
            }
        }),
        Binary::ShiftRight => int(|a, b| {
            if (0..64).contains(&b) {
                ((a as u64) >> b) as i64
            } else {
                0
            }
        }),
    }
}

fn flag(b: bool) -> f64 {
    f64::from(u8::from(b))
}

/// Smallest and largest value of an integer type (64-bit types as their nearest binary64 numbers).
#[must_use]
pub fn dtype_range(dtype: Dtype) -> Option<(f64, f64)> {
    Some(match dtype {
        Dtype::I8 => (i8::MIN.into(), i8::MAX.into()),
        Dtype::I16 => (i16::MIN.into(), i16::MAX.into()),
        Dtype::I32 => (i32::MIN.into(), i32::MAX.into()),
        Dtype::I64 => (i64::MIN as f64, i64::MAX as f64),
        Dtype::U8 => (0.0, u8::MAX.into()),
        Dtype::U16 => (0.0, u16::MAX.into()),
        Dtype::U32 => (0.0, u32::MAX.into()),
        Dtype::U64 => (0.0, u64::MAX as f64),
        Dtype::Bool => (0.0, 1.0),
        _ => return None,
    })
}

fn wrap(dtype: Dtype, x: f64) -> f64 {
    let x = libm::trunc(x);
    match dtype_range(dtype) {
        Some((lo, hi)) if x < lo || x > hi => {
            let span = hi - lo + 1.0;
            let r = libm::fmod(x - lo, span);
            lo + if r < 0.0 { r + span } else { r }
        }
        _ => x,
    }
}

/// Rounds to a float format with `mantissa` explicit bits and exponents down to `min_exponent`, halves to even.
fn round_mantissa(x: f64, mantissa: i32, min_exponent: i32, max: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let (_, exponent) = libm::frexp(x);
    let unit = (exponent - 1).max(min_exponent) - mantissa;
    let y = libm::ldexp(libm::rint(libm::ldexp(x, -unit)), unit);
    if y.abs() > max {
        f64::INFINITY.copysign(x)
    } else {
        y
    }
}

fn to_float(dtype: Dtype, x: f64) -> f64 {
    match dtype {
        Dtype::F32 => f64::from(x as f32),
        Dtype::F16 => round_mantissa(x, 10, -14, 65504.0),
        Dtype::BF16 => round_mantissa(f64::from(x as f32), 7, -126, f64::from(f32::MAX)),
        _ => x,
    }
}

impl Expr {
    /// `f` of the variable.
    #[must_use]
    pub fn of(f: Unary) -> Self {
        Expr::Un(f, Arc::new(Expr::X))
    }

    /// `f(self)`.
    #[must_use]
    pub fn un(self, f: Unary) -> Self {
        Expr::Un(f, Arc::new(self))
    }

    /// `f(self, other)`.
    #[must_use]
    pub fn bin(self, f: Binary, other: Expr) -> Self {
        Expr::Bin(f, Arc::new(self), Arc::new(other))
    }

    /// `f(self, c)`.
    #[must_use]
    pub fn with(self, f: Binary, c: f64) -> Self {
        self.bin(f, Expr::C(c))
    }

    /// The value at `x`.
    #[must_use]
    pub fn eval(&self, x: f64) -> f64 {
        match self {
            Expr::X => x,
            Expr::C(c) => *c,
            Expr::Un(f, a) => unary(*f, a.eval(x)),
            Expr::Bin(f, a, b) => binary(*f, a.eval(x), b.eval(x)),
            Expr::Select(c, a, b) => {
                if c.eval(x) != 0.0 {
                    a.eval(x)
                } else {
                    b.eval(x)
                }
            }
        }
    }

    /// Replaces the variable: `self(inner(x))`.
    #[must_use]
    pub fn compose(&self, inner: &Arc<Expr>) -> Arc<Expr> {
        match self {
            Expr::X => inner.clone(),
            Expr::C(c) => Arc::new(Expr::C(*c)),
            Expr::Un(f, a) => Arc::new(Expr::Un(*f, a.compose(inner))),
            Expr::Bin(f, a, b) => Arc::new(Expr::Bin(*f, a.compose(inner), b.compose(inner))),
            Expr::Select(c, a, b) => Arc::new(Expr::Select(
                c.compose(inner),
                a.compose(inner),
                b.compose(inner),
            )),
        }
    }

    /// Number of function applications, counting shared subtrees as often as they are evaluated.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Expr::X | Expr::C(_) => 1,
            Expr::Un(_, a) => 1 + a.size(),
            Expr::Bin(_, a, b) => 1usize.saturating_add(a.size()).saturating_add(b.size()),
            Expr::Select(c, a, b) => 1usize
                .saturating_add(c.size())
                .saturating_add(a.size())
                .saturating_add(b.size()),
        }
    }

    /// `(lo, hi)` if this is `min(max(x, lo), hi)` with either bound possibly infinite.
    #[must_use]
    pub fn as_clamp(&self) -> Option<(f64, f64)> {
        match self {
            Expr::X => Some((f64::NEG_INFINITY, f64::INFINITY)),
            Expr::Bin(f @ (Binary::Max | Binary::Min), a, b) => {
                let (inner, c) = match (&**a, &**b) {
                    (inner, Expr::C(c)) | (Expr::C(c), inner) => (inner.as_clamp()?, *c),
                    _ => return None,
                };
                let (lo, hi) = inner;
                // A maximum applied after a minimum: the later one decides where they cross.
                Some(if *f == Binary::Max {
                    (lo.max(c), hi.max(c))
                } else {
                    (lo.min(c), hi.min(c))
                })
            }
            _ => None,
        }
    }
}
