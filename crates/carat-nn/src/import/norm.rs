//! Normalisations and softmax.

use super::{
    ImportError, Outputs,
    ctx::{Ctx, Val},
    one,
};
use crate::graph::{Binary as B, Expr, Id, Unary as U};
use carat_program::Dtype;

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "Softmax" | "LogSoftmax" => softmax(c),
        "BatchNormalization" => batch_norm(c),
        "LayerNormalization" => layer_norm(c),
        "RMSNormalization" => rms_norm(c),
        "InstanceNormalization" => instance_norm(c),
        "GroupNormalization" => group_norm(c),
        "MeanVarianceNormalization" => {
            let x = c.x(0)?;
            let rank = c.rank(x);
            let axes = c.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
            let axes = c.axes(&axes, rank)?;
            let (d, v) = centre(c, x, &axes)?;
            one(standardise(c, d, v, 1e-9)?.0)
        }
        "LpNormalization" => {
            let x = c.x(0)?;
            let (dtype, p) = (c.dtype(x), c.int("p", 2));
            let axis = c.axis(c.int("axis", -1), c.rank(x))?;
            let powers = if p == 1 {
                c.unary(x, U::Abs)?
            } else {
                c.bin(B::Mul, x, x, dtype)?
            };
            let mut norm = c.sum(powers, &[axis], true)?;
            if p == 2 {
                norm = c.unary(norm, U::Sqrt)?;
            } else if p != 1 {
                return c.refuse("needs p = 1 or p = 2");
            }
            one(c.bin(B::Div, x, norm, dtype)?)
        }
        "LRN" => lrn(c),
        _ => Ok(None),
    }
}

fn softmax(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let (dims, dtype) = (c.dims(x), c.dtype(x));
    let axis = c.axis(c.int("axis", if c.opset < 13 { 1 } else { -1 }), dims.len())?;
    // Before version 13 all axes from `axis` on were one.
    let (work, axis) = if c.opset < 13 {
        (
            c.reshape(
                x,
                &[dims[..axis].iter().product(), dims[axis..].iter().product()],
            )?,
            1,
        )
    } else {
        (x, axis)
    };
    let m = c.max(work, &[axis], true)?;
    let d = c.linear(&[(work, 1.0), (m, -1.0)], 0.0, dtype)?;
    let e = c.unary(d, U::Exp)?;
    let s = c.sum(e, &[axis], true)?;
    let r = if c.op() == "Softmax" {
        c.bin(B::Div, e, s, dtype)?
    } else {
        let l = c.unary(s, U::Log)?;
        c.linear(&[(d, 1.0), (l, -1.0)], 0.0, dtype)?
    };
    one(c.reshape(r, &dims)?)
}

/// Deviation from the mean over axes, and the variance (axes kept with length one).
fn centre(c: &mut Ctx<'_>, x: Id, axes: &[usize]) -> Result<(Id, Id), ImportError> {
    let dtype = c.dtype(x);
    let n: usize = axes.iter().map(|&a| c.dims(x)[a]).product();
    let s = c.sum(x, axes, true)?;
    let mean = c.linear(&[(s, 1.0 / n as f64)], 0.0, dtype)?;
    let d = c.linear(&[(x, 1.0), (mean, -1.0)], 0.0, dtype)?;
    let squares = c.bin(B::Mul, d, d, dtype)?;
    let s = c.sum(squares, axes, true)?;
    Ok((d, c.linear(&[(s, 1.0 / n as f64)], 0.0, dtype)?))
}

/// `d / sqrt(v + epsilon)` and the inverse of the square root.
fn standardise(c: &mut Ctx<'_>, d: Id, v: Id, epsilon: f64) -> Result<(Id, Id), ImportError> {
    let dtype = c.dtype(d);
    let root = Expr::X.with(B::Add, epsilon).un(U::Sqrt);
    let inverse = c.func(v, Expr::C(1.0).bin(B::Div, root), dtype)?;
    Ok((c.bin(B::Mul, d, inverse, dtype)?, inverse))
}

/// `x * scale + bias`, both shaped to broadcast.
fn affine(c: &mut Ctx<'_>, x: Id, scale: Option<Id>, bias: Option<Id>) -> Result<Id, ImportError> {
    let dtype = c.dtype(x);
    let mut r = x;
    if let Some(s) = scale {
        r = c.bin(B::Mul, r, s, dtype)?;
    }
    if let Some(b) = bias {
        r = c.bin(B::Add, r, b, dtype)?;
    }
    Ok(r)
}

/// Operand `i` (one value per channel) shaped to broadcast over `[N, C, ...]`.
fn per_channel(c: &mut Ctx<'_>, i: usize, rank: usize) -> Result<Id, ImportError> {
    let v = c.x(i)?;
    let n = c.shape(v).elements();
    let mut dims = vec![1; rank.max(2)];
    dims[1] = n;
    c.reshape(v, &dims[..rank.max(2)])
}

fn batch_norm(c: &mut Ctx<'_>) -> Outputs {
    if c.int("training_mode", 0) != 0 || (c.opset < 7 && c.int("is_test", 0) == 0) {
        return c.refuse("in training mode is not supported");
    }
    let _ = (c.float("momentum", 0.9), c.ints("consumed_inputs"));
    if c.int("spatial", 1) != 1 {
        return c.refuse("with spatial = 0 is not supported");
    }
    let x = c.x(0)?;
    let (rank, dtype) = (c.rank(x), c.dtype(x));
    let epsilon = c.float("epsilon", f64::from(1e-5_f32));
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|i| per_channel(c, i, rank));
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    let inverse = c.func(
        variance,
        Expr::C(1.0).bin(B::Div, Expr::X.with(B::Add, epsilon).un(U::Sqrt)),
        dtype,
    )?;
    // One multiplication and one addition per element: x * k + (bias - mean * k).
    let k = c.bin(B::Mul, scale, inverse, dtype)?;
    let shift = c.bin(B::Mul, mean, k, dtype)?;
    let offset = c.bin(B::Sub, bias, shift, dtype)?;
    one(affine(c, x, Some(k), Some(offset))?)
}

fn layer_norm(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let (rank, dtype) = (c.rank(x), c.dtype(x));
    let axis = c.axis(c.int("axis", -1), rank)?;
    let epsilon = c.float("epsilon", f64::from(1e-5_f32));
    let _ = c.int("stash_type", 1);
    let axes: Vec<usize> = (axis..rank).collect();
    let (d, v) = centre(c, x, &axes)?;
    let (r, inverse) = standardise(c, d, v, epsilon)?;
    let scale = Some(c.x(1)?);
    let bias = if c.present(2) { Some(c.x(2)?) } else { None };
    let mut out = vec![Val::Node(affine(c, r, scale, bias)?)];
    if c.outputs() > 1 {
        let n: usize = axes.iter().map(|&a| c.dims(x)[a]).product();
        let s = c.sum(x, &axes, true)?;
        out.push(Val::Node(c.linear(&[(s, 1.0 / n as f64)], 0.0, dtype)?));
        out.push(Val::Node(inverse));
    }
    Ok(Some(out))
}

fn rms_norm(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let (rank, dtype) = (c.rank(x), c.dtype(x));
    let axis = c.axis(c.int("axis", -1), rank)?;
    let epsilon = c.float("epsilon", f64::from(1e-5_f32));
    let _ = c.int("stash_type", 1);
    let axes: Vec<usize> = (axis..rank).collect();
    let n: usize = axes.iter().map(|&a| c.dims(x)[a]).product();
    let squares = c.bin(B::Mul, x, x, dtype)?;
    let s = c.sum(squares, &axes, true)?;
    let v = c.linear(&[(s, 1.0 / n as f64)], 0.0, dtype)?;
    let (r, _) = standardise(c, x, v, epsilon)?;
    let scale = Some(c.x(1)?);
    one(affine(c, r, scale, None)?)
}

fn instance_norm(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let rank = c.rank(x);
    let epsilon = c.float("epsilon", f64::from(1e-5_f32));
    let _ = c.ints("consumed_inputs");
    let axes: Vec<usize> = (2..rank).collect();
    if axes.is_empty() {
        return c.refuse("needs an operand [N, C, spatial...]");
    }
    let (d, v) = centre(c, x, &axes)?;
    let (r, _) = standardise(c, d, v, epsilon)?;
    let (scale, bias) = (per_channel(c, 1, rank)?, per_channel(c, 2, rank)?);
    one(affine(c, r, Some(scale), Some(bias))?)
}

fn group_norm(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let groups = usize::try_from(c.int("num_groups", 0)).unwrap_or(0);
    let epsilon = c.float("epsilon", f64::from(1e-5_f32));
    let _ = c.int("stash_type", 1);
    if dims.len() < 3 || groups == 0 || !dims[1].is_multiple_of(groups) {
        return c.refuse("does not divide its channels into groups");
    }
    let rest: usize = dims[1..].iter().product::<usize>() / groups;
    let grouped = c.reshape(x, &[dims[0], groups, rest])?;
    let (d, v) = centre(c, grouped, &[2])?;
    let (r, _) = standardise(c, d, v, epsilon)?;
    if c.opset < 21 {
        // Version 18 had one scale per group.
        let n = c.x(1)?;
        if c.shape(n).elements() == groups && groups != dims[1] {
            let (scale, bias) = (per_channel(c, 1, 3)?, per_channel(c, 2, 3)?);
            let y = affine(c, r, Some(scale), Some(bias))?;
            return one(c.reshape(y, &dims)?);
        }
    }
    let r = c.reshape(r, &dims)?;
    let (scale, bias) = (
        per_channel(c, 1, dims.len())?,
        per_channel(c, 2, dims.len())?,
    );
    one(affine(c, r, Some(scale), Some(bias))?)
}

fn lrn(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let (dims, dtype): (Vec<usize>, Dtype) = (c.dims(x), c.dtype(x));
    let size = c.int("size", 0);
    let (alpha, beta, bias) = (
        c.float("alpha", f64::from(1e-4_f32)),
        c.float("beta", 0.75),
        c.float("bias", 1.0),
    );
    if dims.len() < 3 || size < 1 {
        return c.refuse("needs an operand [N, C, spatial...] and a positive size");
    }
    let squares = c.bin(B::Mul, x, x, dtype)?;
    // A banded matrix along the channels.
    let channels = dims[1] as i64;
    let (before, after) = ((size - 1) / 2, size / 2);
    let mut band = Vec::new();
    for i in 0..channels {
        for j in 0..channels {
            band.push(f64::from(u8::from(j >= i - before && j <= i + after)));
        }
    }
    let sums = super::reduce::along_axis(c, squares, 1, dims[1], band, dtype)?;
    let f = Expr::X
        .with(B::Mul, alpha / size as f64)
        .with(B::Add, bias)
        .with(B::Pow, -beta);
    let scale = c.func(sums, f, dtype)?;
    one(c.bin(B::Mul, x, scale, dtype)?)
}
