//! Quantised operators. Their scales are arbitrary real numbers, so a result may differ by one unit where the exact
//! quotient lies within the table's resolution of a tie; the compiler measures that and refuses where it matters.

use super::{ImportError, Outputs, ctx::Ctx, linear, one, proto};
use crate::graph::{Array, Binary as B, Expr, Id, Unary as U, dtype_range};
use carat_program::Dtype;
use std::sync::Arc;

/// Most channels with scales of their own that a quantisation splits into.
const MAX_CHANNELS: usize = 256;

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "QuantizeLinear" => quantize(c),
        "DequantizeLinear" => dequantize(c),
        "QLinearMatMul" => {
            let (a, b) = (centred_by(c, 0, 2)?, centred_by(c, 3, 5)?);
            let acc = linear::matmul(c, a, b, Dtype::I32)?;
            let scale = scalar(c, 1)? * scalar(c, 4)? / scalar(c, 6)?;
            one(requantize(c, acc, scale, 7)?)
        }
        _ => Ok(None),
    }
}

fn scalar(c: &Ctx<'_>, i: usize) -> Result<f64, ImportError> {
    match c.constant(i)?.data.as_slice() {
        [v] if *v > 0.0 => Ok(*v),
        [_] => c.refuse("has a scale that is not positive"),
        _ => c.refuse("with a scale per row or column is not supported"),
    }
}

fn centred_by(c: &mut Ctx<'_>, i: usize, z: usize) -> Result<Id, ImportError> {
    let x = c.x(i)?;
    let zero = c.constant(z)?;
    match zero.data.as_slice() {
        [v] => {
            let v = *v;
            c.linear(&[(x, 1.0)], -v, Dtype::I32)
        }
        _ => c.refuse("with a zero point per row or column is not supported"),
    }
}

/// `saturate(round(x * scale) + zero)` in the element type of the zero point (operand `z`).
fn requantize(c: &mut Ctx<'_>, x: Id, scale: f64, z: usize) -> Result<Id, ImportError> {
    let zero = c.constant(z)?;
    let Some((lo, hi)) = dtype_range(zero.dtype) else {
        return c.refuse("has a zero point that is no integer");
    };
    let zp = zero.data.first().copied().unwrap_or(0.0);
    let f = Expr::X
        .with(B::Mul, scale)
        .un(U::Round)
        .with(B::Add, zp)
        .with(B::Max, lo)
        .with(B::Min, hi);
    c.func(x, f, zero.dtype)
}

fn quantize(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let scale = c.constant(1)?;
    let zero = if c.present(2) {
        Some(c.constant(2)?)
    } else {
        None
    };
    let code = c.int("output_dtype", 0);
    let _ = (c.int("saturate", 1), c.int("precision", 0));
    if c.int("block_size", 0) != 0 {
        return c.refuse("with blocks is not supported");
    }
    let dtype = match (&zero, code) {
        (Some(z), _) => z.dtype,
        (None, 0) => Dtype::U8,
        (None, code) => match proto::dtype_of(code as i32) {
            Some(d) => d,
            None => {
                return c.refuse(format!(
                    "to {} is not supported",
                    proto::dtype_name(code as i32)
                ));
            }
        },
    };
    let Some((lo, hi)) = dtype_range(dtype) else {
        return c.refuse("to a float format is not supported");
    };
    let table = |s: f64, z: f64| {
        // The quotient is rounded to binary32 first, as ONNX defines it.
        let q = Expr::X
            .with(B::Div, s)
            .un(U::ToFloat(Dtype::F32))
            .un(U::Round);
        q.with(B::Add, z).with(B::Max, lo).with(B::Min, hi)
    };
    let zero_at = |i: usize| {
        zero.as_ref().map_or(0.0, |z| {
            z.data.get(i).or(z.data.first()).copied().unwrap_or(0.0)
        })
    };
    if scale.data.iter().any(|s| *s <= 0.0) {
        return c.refuse("has a scale that is not positive");
    }
    if let [s] = scale.data.as_slice() {
        return one(c.func(x, table(*s, zero_at(0)), dtype)?);
    }
    let axis = c.axis(c.int("axis", 1), c.rank(x))?;
    let n = c.dims(x)[axis];
    if scale.data.len() != n || n > MAX_CHANNELS {
        return c.refuse("has scales that do not fit its operand");
    }
    let mut parts = Vec::new();
    for (i, &s) in scale.data.iter().enumerate() {
        let part = c.slice(x, axis, i, 1, 1)?;
        parts.push(c.func(part, table(s, zero_at(i)), dtype)?);
    }
    one(c.concat(parts, axis)?)
}

fn dequantize(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let scale = c.constant(1)?;
    let rank = c.rank(x);
    if c.int("block_size", 0) != 0 {
        return c.refuse("with blocks is not supported");
    }
    let axis = c.int("axis", 1);
    let _ = c.int("output_dtype", 0);
    let dtype = scale.dtype;
    let placed = |c: &mut Ctx<'_>, a: &Arc<Array>| -> Result<Id, ImportError> {
        let mut dims = vec![1; rank];
        if a.data.len() != 1 {
            let axis = c.axis(axis, rank)?;
            dims[axis] = a.data.len();
        }
        c.array(Array {
            dims,
            data: a.data.clone(),
            dtype: a.dtype,
        })
    };
    let mut d = c.retype(x, Dtype::I32)?;
    if c.present(2) {
        let zero = c.constant(2)?;
        let zero = placed(c, &zero)?;
        d = c.linear(&[(d, 1.0), (zero, -1.0)], 0.0, Dtype::I32)?;
    }
    let real = c.linear(&[(d, 1.0)], 0.0, dtype)?;
    let scale = placed(c, &scale)?;
    one(c.bin(B::Mul, real, scale, dtype)?)
}
