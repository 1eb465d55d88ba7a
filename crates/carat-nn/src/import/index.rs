//! Operators that select elements by index.

use super::{ImportError, Outputs, ctx::Ctx, one};
use crate::graph::{Array, Binary as B, Expr, GraphOp, Id};
use carat_program::{Dtype, Op};

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "Gather" => {
            let x = c.x(0)?;
            let axis = c.axis(c.int("axis", 0), c.rank(x))?;
            let n = c.dims(x)[axis];
            let index = normalised(c, 1, n)?;
            one(c.prim(Op::Gather { axis: axis as u8 }, vec![x, index])?)
        }
        "GatherElements" => gather_elements(c),
        "GatherND" => gather_nd(c),
        "ScatterElements" | "Scatter" => scatter_elements(c),
        "ScatterND" => scatter_nd(c),
        "OneHot" => one_hot(c),
        "Compress" => compress(c),
        _ => Ok(None),
    }
}

/// Operand `i` as indices into an axis of length `n`: negative ones count from the end. A run-time index is clamped
/// into the axis; ONNX leaves its meaning open beyond.
fn normalised(c: &mut Ctx<'_>, i: usize, n: usize) -> Result<Id, ImportError> {
    if let Some(a) = c.try_constant(i) {
        let data = a
            .data
            .iter()
            .map(|&v| {
                let at = if v < 0.0 { v + n as f64 } else { v };
                if (0.0..n as f64).contains(&at) {
                    Ok(at)
                } else {
                    c.refuse(format!("has an index {v} outside an axis of length {n}"))
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        return c.array(Array {
            dims: a.dims.clone(),
            data,
            dtype: Dtype::I64,
        });
    }
    let x = c.x(i)?;
    let n = n as f64;
    let clamped = c.func(
        x,
        Expr::X.with(B::Max, -n).with(B::Min, n - 1.0),
        Dtype::I64,
    )?;
    let negative = Expr::X.with(B::Less, 0.0);
    c.func(
        clamped,
        Expr::Select(
            negative.into(),
            Expr::X.with(B::Add, n).into(),
            Expr::X.into(),
        ),
        Dtype::I64,
    )
}

fn gather_elements(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let axis = c.axis(c.int("axis", 0), dims.len())?;
    let index = normalised(c, 1, dims[axis])?;
    let out = c.dims(index);
    if out.len() != dims.len() || (0..dims.len()).any(|i| i != axis && out[i] > dims[i]) {
        return c.refuse("has indices that do not fit its operand");
    }
    // Flat position = index * stride(axis) + the other coordinates.
    let strides = c.shape(x).strides();
    let base = positions(&out, |coordinates| {
        coordinates
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != axis)
            .map(|(i, &v)| v * strides[i])
            .sum()
    });
    let base = c.array(Array {
        dims: out.clone(),
        data: base,
        dtype: Dtype::I64,
    })?;
    let flat_index = c.linear(
        &[(index, strides[axis] as f64), (base, 1.0)],
        0.0,
        Dtype::I64,
    )?;
    let n = c.shape(x).elements();
    let flat = c.reshape(x, &[n])?;
    one(c.prim(Op::Gather { axis: 0 }, vec![flat, flat_index])?)
}

/// `f(coordinates)` for each element of a tensor with these axes.
fn positions(dims: &[usize], f: impl Fn(&[usize]) -> usize) -> Vec<f64> {
    let total: usize = dims.iter().product();
    let mut at = vec![0usize; dims.len()];
    let mut out = Vec::with_capacity(total);
    for _ in 0..total {
        out.push(f(&at) as f64);
        for axis in (0..dims.len()).rev() {
            at[axis] += 1;
            if at[axis] < dims[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    out
}

fn gather_nd(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let batch = usize::try_from(c.int("batch_dims", 0)).unwrap_or(usize::MAX);
    let index = c.constant(1)?;
    let Some((&depth, prefix)) = index.dims.split_last() else {
        return c.refuse("has an index without axes");
    };
    if batch > prefix.len() || batch + depth > dims.len() || prefix[..batch] != dims[..batch] {
        return c.refuse("has indices that do not fit its operand");
    }
    let strides = c.shape(x).strides();
    let inner: usize = dims[batch + depth..].iter().product();
    let per_batch: usize = prefix[batch..].iter().product();
    let batch_stride: usize = dims[batch..].iter().product();
    let mut picks = Vec::new();
    for (row, coordinates) in index.data.chunks(depth.max(1)).enumerate() {
        let mut at = (row / per_batch.max(1)) * batch_stride;
        for (k, &v) in coordinates.iter().take(depth).enumerate() {
            at += coordinate(c, v, dims[batch + k])? * strides[batch + k];
        }
        picks.extend((0..inner).map(|i| at + i));
    }
    let mut out = prefix.to_vec();
    out.extend(&dims[batch + depth..]);
    one(c.select(x, &picks, &out)?)
}

fn coordinate(c: &Ctx<'_>, v: f64, n: usize) -> Result<usize, ImportError> {
    let at = if v < 0.0 { v + n as f64 } else { v };
    if (0.0..n as f64).contains(&at) {
        Ok(at as usize)
    } else {
        c.refuse(format!("has an index {v} outside an axis of length {n}"))
    }
}

/// Replaces elements of `x` at flat positions by elements of `updates`, in order: the last one wins.
fn place(c: &mut Ctx<'_>, x: Id, updates: Id, targets: &[usize]) -> Result<Id, ImportError> {
    let reduction = c.text("reduction", "none");
    let (n, m) = (c.shape(x).elements(), c.shape(updates).elements());
    let dims = c.dims(x);
    let flat_x = c.reshape(x, &[n])?;
    let flat_u = c.reshape(updates, &[m])?;
    if reduction != "none" {
        let f = match reduction.as_str() {
            "add" => B::Add,
            "mul" => B::Mul,
            "max" => B::Max,
            "min" => B::Min,
            other => return c.refuse(format!("has a reduction `{other}` that is not supported")),
        };
        // Apply the updates in rounds, each touching an element at most once.
        let mut r = flat_x;
        let mut left: Vec<(usize, usize)> = targets.iter().copied().enumerate().collect();
        while !left.is_empty() {
            let mut seen = vec![None; n];
            let mut later = Vec::new();
            for (u, t) in left {
                if seen[t].is_none() {
                    seen[t] = Some(u)
                } else {
                    later.push((u, t))
                }
            }
            let dtype = c.dtype(x);
            let picks: Vec<usize> = seen.iter().map(|s| s.unwrap_or(0)).collect();
            let aligned = c.take(flat_u, 0, &picks)?;
            let combined = c.bin(f, r, aligned, dtype)?;
            let both = c.concat(vec![r, combined], 0)?;
            let choose: Vec<usize> = seen
                .iter()
                .enumerate()
                .map(|(i, s)| if s.is_some() { n + i } else { i })
                .collect();
            r = c.take(both, 0, &choose)?;
            left = later;
        }
        return c.reshape(r, &dims);
    }
    let both = c.concat(vec![flat_x, flat_u], 0)?;
    let mut source: Vec<usize> = (0..n).collect();
    for (u, &t) in targets.iter().enumerate() {
        source[t] = n + u;
    }
    let r = c.take(both, 0, &source)?;
    c.reshape(r, &dims)
}

fn scatter_elements(c: &mut Ctx<'_>) -> Outputs {
    let (x, updates) = (c.x(0)?, c.x(2)?);
    let dims = c.dims(x);
    let axis = c.axis(c.int("axis", 0), dims.len())?;
    let index = c.constant(1)?;
    if index.dims != c.dims(updates)
        || index.dims.len() != dims.len()
        || (0..dims.len()).any(|i| i != axis && index.dims[i] > dims[i])
    {
        return c.refuse("has indices that do not fit its operand");
    }
    let strides = c.shape(x).strides();
    let base = positions(&index.dims, |at| {
        at.iter()
            .enumerate()
            .filter(|(i, _)| *i != axis)
            .map(|(i, &v)| v * strides[i])
            .sum()
    });
    let targets = base
        .iter()
        .zip(&index.data)
        .map(|(&b, &v)| Ok(b as usize + coordinate(c, v, dims[axis])? * strides[axis]))
        .collect::<Result<Vec<_>, ImportError>>()?;
    one(place(c, x, updates, &targets)?)
}

fn scatter_nd(c: &mut Ctx<'_>) -> Outputs {
    let (x, updates) = (c.x(0)?, c.x(2)?);
    let dims = c.dims(x);
    let index = c.constant(1)?;
    let Some((&depth, prefix)) = index.dims.split_last() else {
        return c.refuse("has an index without axes");
    };
    if depth > dims.len() || depth == 0 {
        return c.refuse("has indices that do not fit its operand");
    }
    let inner: usize = dims[depth..].iter().product();
    if prefix.iter().product::<usize>() * inner != c.shape(updates).elements() {
        return c.refuse("has updates that do not fit its indices");
    }
    let strides = c.shape(x).strides();
    let mut targets = Vec::new();
    for row in index.data.chunks(depth) {
        let mut at = 0;
        for (k, &v) in row.iter().enumerate() {
            at += coordinate(c, v, dims[k])? * strides[k];
        }
        targets.extend((0..inner).map(|i| at + i));
    }
    one(place(c, x, updates, &targets)?)
}

fn one_hot(c: &mut Ctx<'_>) -> Outputs {
    let depth = c.constant(1)?.data.first().copied().unwrap_or(0.0);
    let values = c.constant(2)?;
    let (&[off, on], dtype) = (values.data.as_slice(), values.dtype) else {
        return c.refuse("needs an off value and an on value");
    };
    if !(1.0..=65536.0).contains(&depth) {
        return c.refuse(format!("has a depth of {depth}"));
    }
    let depth = depth as usize;
    let x = c.x(0)?;
    let rank = c.rank(x);
    let axis = c.axis(c.int("axis", -1), rank + 1)?;
    // Indices -depth..depth-1 are valid, anything else is off: map it to `depth`, then drop that column.
    let n = depth as f64;
    let (x, low, high) = if c.dtype(x).is_float() {
        (
            c.func(x, Expr::of(crate::graph::Unary::Trunc), Dtype::I64)?,
            -n - 1.0,
            n,
        )
    } else {
        (x, -n - 1.0, n)
    };
    let clamped = c.func(x, Expr::X.with(B::Max, low).with(B::Min, high), Dtype::I64)?;
    let wrapped = Expr::Select(
        Expr::X.with(B::Less, -n).into(),
        Expr::C(n).into(),
        Expr::Select(
            Expr::X.with(B::Less, 0.0).into(),
            Expr::X.with(B::Add, n).into(),
            Expr::X.into(),
        )
        .into(),
    );
    let index = c.func(clamped, wrapped, Dtype::I64)?;
    let hot = c.add(GraphOp::OneHot(depth), vec![index], Dtype::I64)?;
    let scaled = c.linear(&[(hot, on - off)], off, dtype)?;
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.insert(axis, rank);
    one(c.transpose(scaled, &perm)?)
}

fn compress(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let keep: Vec<usize> = c
        .constant(1)?
        .data
        .iter()
        .enumerate()
        .filter(|(_, v)| **v != 0.0)
        .map(|(i, _)| i)
        .collect();
    let dims = c.dims(x);
    if keep.is_empty() {
        return c.refuse("selects nothing; empty tensors are not supported");
    }
    if c.has("axis") {
        let axis = c.axis(c.int("axis", 0), dims.len())?;
        if keep.iter().any(|&i| i >= dims[axis]) {
            return c.refuse("has a condition longer than its operand");
        }
        return one(c.take(x, axis, &keep)?);
    }
    if keep.iter().any(|&i| i >= c.shape(x).elements()) {
        return c.refuse("has a condition longer than its operand");
    }
    one(c.select(x, &keep, &[keep.len()])?)
}
