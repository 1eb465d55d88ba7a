//! Elementwise operators.

use super::{
    ImportError, Outputs,
    ctx::{Ctx, Val},
    one, proto,
};
use crate::graph::{Binary as B, Expr, Id, Unary as U};
use carat_program::Dtype;

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    if let Some(f) = plain_unary(c.op()) {
        let x = c.x(0)?;
        if !c.dtype(x).is_float() && !matches!(f, U::Neg | U::Abs | U::Sign) {
            return one(x); // Rounding an integer changes nothing.
        }
        if f == U::Neg {
            let dtype = c.dtype(x);
            return one(c.linear(&[(x, -1.0)], 0.0, dtype)?);
        }
        if f == U::Abs && !c.dtype(x).is_float() {
            let dtype = c.dtype(x);
            let n = c.linear(&[(x, -1.0)], 0.0, Dtype::I64)?;
            let wide = c.retype(x, Dtype::I64)?;
            let m = c.bin(B::Max, wide, n, Dtype::I64)?;
            return one(c.retype(m, dtype)?);
        }
        return one(c.unary(x, f)?);
    }
    if let Some(f) = activation(c) {
        let x = c.x(0)?;
        let dtype = c.dtype(x);
        return one(c.func(x, f, dtype)?);
    }
    if let Some((f, boolean)) = arithmetic(c) {
        refuse_old_broadcast(c)?;
        let (a, b) = (c.x(0)?, c.x(1)?);
        if f != B::Pow {
            c.same_type(&[a, b])?;
        }
        let dtype = if boolean { Dtype::Bool } else { c.dtype(a) };
        return one(c.bin(f, a, b, dtype)?);
    }
    match c.op() {
        "Identity" => pass(c),
        "Dropout" => {
            // At inference it passes its operand on; the mask, where asked for, is all true.
            if c.present(2) && c.constant(2)?.data.iter().any(|&v| v != 0.0) {
                return c.refuse("in training mode is not supported");
            }
            let _ = (c.float("ratio", 0.5), c.int("seed", 0), c.int("is_test", 0));
            if c.wants_output(1) {
                return c.refuse("with a mask output is not supported");
            }
            pass(c)
        }
        "Max" | "Min" | "Sum" | "Mean" => variadic(c),
        "GreaterOrEqual" | "Greater" => {
            refuse_old_broadcast(c)?;
            let (a, b) = (c.x(0)?, c.x(1)?);
            let f = if c.op() == "Greater" {
                B::Less
            } else {
                B::LessEqual
            };
            one(c.bin(f, b, a, Dtype::Bool)?)
        }
        "Not" => {
            let x = c.x(0)?;
            one(c.linear(&[(x, -1.0)], 1.0, Dtype::Bool)?)
        }
        "BitwiseNot" => {
            let x = c.x(0)?;
            let dtype = c.dtype(x);
            let bias = match dtype {
                Dtype::U8 => 255.0,
                Dtype::U16 => 65535.0,
                Dtype::U32 | Dtype::U64 => {
                    return c.refuse("of a 32-bit or 64-bit unsigned integer is not supported");
                }
                _ => -1.0,
            };
            one(c.linear(&[(x, -1.0)], bias, dtype)?)
        }
        "IsNaN" | "IsInf" => {
            let f = match c.op() {
                "IsNaN" => U::IsNan,
                _ => U::IsInf {
                    positive: c.int("detect_positive", 1) != 0,
                    negative: c.int("detect_negative", 1) != 0,
                },
            };
            let x = c.x(0)?;
            one(c.func(x, Expr::of(f), Dtype::Bool)?)
        }
        "Clip" => clip(c),
        "PRelu" => {
            let (x, slope) = (c.x(0)?, c.x(1)?);
            let dtype = c.dtype(x);
            // x = max(x, 0) + slope * min(x, 0)
            let positive = c.func(x, Expr::X.with(B::Max, 0.0), dtype)?;
            let negative = c.func(x, Expr::X.with(B::Min, 0.0), dtype)?;
            let scaled = c.bin(B::Mul, negative, slope, dtype)?;
            one(c.linear(&[(positive, 1.0), (scaled, 1.0)], 0.0, dtype)?)
        }
        "Where" => {
            let (cond, a, b) = (c.x(0)?, c.x(1)?, c.x(2)?);
            c.same_type(&[a, b])?;
            let dtype = c.dtype(a);
            if let (Some(va), Some(vb)) = (c.uniform(a, cond), c.uniform(b, cond)) {
                let f = Expr::X.with(B::Mul, va - vb).with(B::Add, vb);
                return one(c.func(cond, f, dtype)?);
            }
            let wide = if dtype.is_float() { dtype } else { Dtype::I64 };
            let difference = c.linear(&[(a, 1.0), (b, -1.0)], 0.0, wide)?;
            let cond = c.retype(cond, wide)?;
            let chosen = c.bin(B::Mul, cond, difference, wide)?;
            one(c.linear(&[(chosen, 1.0), (b, 1.0)], 0.0, dtype)?)
        }
        "Cast" => {
            let code = c.int("to", 0);
            let _ = c.int("saturate", 1);
            let _ = c.text("round_mode", "up");
            let Some(to) = proto::dtype_of(code as i32) else {
                return c.refuse(format!(
                    "to {} is not supported",
                    proto::dtype_name(code as i32)
                ));
            };
            let x = c.x(0)?;
            one(cast(c, x, to)?)
        }
        "CastLike" => {
            let _ = c.int("saturate", 1);
            let _ = c.text("round_mode", "up");
            let (x, like) = (c.x(0)?, c.x(1)?);
            let to = c.dtype(like);
            one(cast(c, x, to)?)
        }
        _ => Ok(None),
    }
}

fn pass(c: &mut Ctx<'_>) -> Outputs {
    Ok(Some(vec![match c.try_constant(0) {
        Some(v) => Val::Const(v),
        None => Val::Node(c.x(0)?),
    }]))
}

/// Before version 7, broadcasting was an attribute with another meaning.
fn refuse_old_broadcast(c: &Ctx<'_>) -> Result<(), ImportError> {
    if c.opset < 7 && (c.int("broadcast", 0) != 0 || c.has("axis")) {
        return c.refuse("with the broadcasting of operator sets before 7 is not supported");
    }
    let _ = c.ints("consumed_inputs");
    Ok(())
}

fn plain_unary(op: &str) -> Option<U> {
    Some(match op {
        "Neg" => U::Neg,
        "Abs" => U::Abs,
        "Exp" => U::Exp,
        "Log" => U::Log,
        "Sqrt" => U::Sqrt,
        "Sin" => U::Sin,
        "Cos" => U::Cos,
        "Tan" => U::Tan,
        "Asin" => U::Asin,
        "Acos" => U::Acos,
        "Atan" => U::Atan,
        "Sinh" => U::Sinh,
        "Cosh" => U::Cosh,
        "Tanh" => U::Tanh,
        "Asinh" => U::Asinh,
        "Acosh" => U::Acosh,
        "Atanh" => U::Atanh,
        "Erf" => U::Erf,
        "Floor" => U::Floor,
        "Ceil" => U::Ceil,
        "Round" => U::Round,
        "Sign" => U::Sign,
        _ => return None,
    })
}

fn sigmoid(x: Expr) -> Expr {
    // 1 / (1 + exp(-x)), written so that neither end overflows.
    Expr::C(1.0).bin(B::Div, x.un(U::Neg).un(U::Exp).with(B::Add, 1.0))
}

fn softplus(x: Expr) -> Expr {
    // max(x, 0) + log(1 + exp(-|x|))
    let tail = x
        .clone()
        .un(U::Abs)
        .un(U::Neg)
        .un(U::Exp)
        .with(B::Add, 1.0)
        .un(U::Log);
    x.with(B::Max, 0.0).bin(B::Add, tail)
}

/// Activations are one table each, whatever their formula.
fn activation(c: &mut Ctx<'_>) -> Option<Expr> {
    let x = || Expr::X;
    let positive = || Expr::C(0.0).bin(B::LessEqual, Expr::X);
    let select = |cond: Expr, a: Expr, b: Expr| Expr::Select(cond.into(), a.into(), b.into());
    Some(match c.op() {
        "Relu" => {
            let _ = c.ints("consumed_inputs");
            x().with(B::Max, 0.0)
        }
        "Sigmoid" => sigmoid(x()),
        "Reciprocal" => Expr::C(1.0).bin(B::Div, x()),
        "LeakyRelu" => {
            let alpha = c.float("alpha", 0.009_999_999_776_482_582);
            select(positive(), x(), x().with(B::Mul, alpha))
        }
        "ThresholdedRelu" => {
            let alpha = c.float("alpha", 1.0);
            select(Expr::C(alpha).bin(B::Less, Expr::X), x(), Expr::C(0.0))
        }
        "Elu" => {
            let alpha = c.float("alpha", 1.0);
            select(
                positive(),
                x(),
                x().un(U::Exp).with(B::Sub, 1.0).with(B::Mul, alpha),
            )
        }
        "Celu" => {
            let alpha = c.float("alpha", 1.0);
            let low = x()
                .with(B::Div, alpha)
                .un(U::Exp)
                .with(B::Sub, 1.0)
                .with(B::Mul, alpha);
            select(positive(), x(), low)
        }
        "Selu" => {
            let alpha = c.float("alpha", f64::from(1.673_263_2_f32));
            let gamma = c.float("gamma", f64::from(1.050_701_f32));
            let low = x().un(U::Exp).with(B::Sub, 1.0).with(B::Mul, alpha);
            select(positive(), x(), low).with(B::Mul, gamma)
        }
        "HardSigmoid" => {
            let (alpha, beta) = (c.float("alpha", f64::from(0.2_f32)), c.float("beta", 0.5));
            x().with(B::Mul, alpha)
                .with(B::Add, beta)
                .with(B::Max, 0.0)
                .with(B::Min, 1.0)
        }
        "HardSwish" => {
            let gate = x()
                .with(B::Mul, 1.0 / 6.0)
                .with(B::Add, 0.5)
                .with(B::Max, 0.0)
                .with(B::Min, 1.0);
            x().bin(B::Mul, gate)
        }
        "Softplus" => softplus(x()),
        "Softsign" => x().bin(B::Div, x().un(U::Abs).with(B::Add, 1.0)),
        "Mish" => x().bin(B::Mul, softplus(x()).un(U::Tanh)),
        "Swish" => {
            let alpha = c.float("alpha", 1.0);
            x().bin(B::Mul, sigmoid(x().with(B::Mul, alpha)))
        }
        "Gelu" => {
            if c.text("approximate", "none") == "tanh" {
                let cubic = x()
                    .bin(B::Mul, x())
                    .bin(B::Mul, x())
                    .with(B::Mul, 0.044_715);
                let inner = x().bin(B::Add, cubic).with(B::Mul, 0.797_884_560_802_865_4);
                x().with(B::Mul, 0.5)
                    .bin(B::Mul, inner.un(U::Tanh).with(B::Add, 1.0))
            } else {
                let inner = x()
                    .with(B::Mul, core::f64::consts::FRAC_1_SQRT_2)
                    .un(U::Erf);
                x().with(B::Mul, 0.5).bin(B::Mul, inner.with(B::Add, 1.0))
            }
        }
        "Shrink" => {
            let (lambd, bias) = (c.float("lambd", 0.5), c.float("bias", 0.0));
            let low = select(
                x().with(B::Less, -lambd),
                x().with(B::Add, bias),
                Expr::C(0.0),
            );
            select(
                Expr::C(lambd).bin(B::Less, Expr::X),
                x().with(B::Sub, bias),
                low,
            )
        }
        _ => return None,
    })
}

fn arithmetic(c: &Ctx<'_>) -> Option<(B, bool)> {
    Some(match c.op() {
        "Add" => (B::Add, false),
        "Sub" => (B::Sub, false),
        "Mul" => (B::Mul, false),
        "Div" => (B::Div, false),
        "Pow" => (B::Pow, false),
        "Mod" => (
            if c.int("fmod", 0) != 0 {
                B::Fmod
            } else {
                B::Mod
            },
            false,
        ),
        "And" => (B::And, true),
        "Or" => (B::Or, true),
        "Xor" => (B::Xor, true),
        "Less" => (B::Less, true),
        "LessOrEqual" => (B::LessEqual, true),
        "Equal" => (B::Equal, true),
        "BitwiseAnd" => (B::And, false),
        "BitwiseOr" => (B::Or, false),
        "BitwiseXor" => (B::Xor, false),
        "BitShift" => (
            if c.text("direction", "") == "LEFT" {
                B::ShiftLeft
            } else {
                B::ShiftRight
            },
            false,
        ),
        _ => return None,
    })
}

fn variadic(c: &mut Ctx<'_>) -> Outputs {
    let _ = c.ints("consumed_inputs");
    let n = c.count();
    let operands = (0..n).map(|i| c.x(i)).collect::<Result<Vec<Id>, _>>()?;
    if operands.is_empty() {
        return c.refuse("has no operands");
    }
    c.same_type(&operands)?;
    let dtype = c.dtype(operands[0]);
    match c.op() {
        "Sum" | "Mean" => {
            let weight = if c.op() == "Mean" {
                1.0 / n as f64
            } else {
                1.0
            };
            let terms: Vec<_> = operands.iter().map(|&x| (x, 1.0)).collect();
            let total = c.linear(&terms, 0.0, dtype)?;
            one(if n == 1 || weight == 1.0 {
                total
            } else {
                c.linear(&[(total, weight)], 0.0, dtype)?
            })
        }
        op => {
            let f = if op == "Max" { B::Max } else { B::Min };
            let mut r = operands[0];
            for &x in &operands[1..] {
                r = c.bin(f, r, x, dtype)?;
            }
            one(r)
        }
    }
}

fn clip(c: &mut Ctx<'_>) -> Outputs {
    let mut x = c.x(0)?;
    let dtype = c.dtype(x);
    if c.opset < 11 {
        let _ = c.ints("consumed_inputs");
        let (lo, hi) = (
            c.float("min", f64::NEG_INFINITY),
            c.float("max", f64::INFINITY),
        );
        let mut f = Expr::X;
        if lo > f64::NEG_INFINITY {
            f = f.with(B::Max, lo);
        }
        if hi < f64::INFINITY {
            f = f.with(B::Min, hi);
        }
        return one(c.func(x, f, dtype)?);
    }
    for (i, f) in [(1, B::Max), (2, B::Min)] {
        if c.present(i) {
            if c.try_constant(i)
                .is_some_and(|v| v.data.iter().all(|v| v.is_infinite()))
            {
                continue;
            }
            let bound = c.x(i)?;
            x = c.bin(f, x, bound, dtype)?;
        }
    }
    one(x)
}

pub(super) fn cast(c: &mut Ctx<'_>, x: Id, to: Dtype) -> Result<Id, ImportError> {
    let from = c.dtype(x);
    if from == to {
        return Ok(x);
    }
    let width = |t: Dtype| match t {
        Dtype::F64 => 3,
        Dtype::F32 => 2,
        _ => 1,
    };
    if to == Dtype::Bool {
        return if from.is_float() {
            c.func(x, Expr::of(U::Not).un(U::Not), to)
        } else {
            let clamp = Expr::X.with(B::Max, -1.0).with(B::Min, 1.0);
            let x = c.func(x, clamp, Dtype::I64)?;
            c.func(x, Expr::of(U::Not).un(U::Not), to)
        };
    }
    match (from.is_float(), to.is_float()) {
        // A narrower float format rounds; a wider one changes nothing.
        (true, true) if width(to) > width(from) => c.linear(&[(x, 1.0)], 0.0, to),
        (true, true) if to == Dtype::F32 => c.linear(&[(x, 1.0)], 0.0, to),
        (true, true) => c.func(x, Expr::of(U::ToFloat(to)), to),
        (true, false) => c.func(x, Expr::of(U::Trunc).un(U::Wrap(to)), to),
        // Linear wraps to its element type by itself.
        (false, _) => c.linear(&[(x, 1.0)], 0.0, to),
    }
}
