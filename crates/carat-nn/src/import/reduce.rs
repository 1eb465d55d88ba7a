//! Reductions over axes, arg-max, cumulative sums.

use super::{ImportError, Outputs, ctx::Ctx, one};
use crate::graph::{Array, Binary as B, Expr, GraphOp, Id, Unary as U};
use carat_program::{Contraction, Dtype, Op};

/// Longest product that is unrolled.
const MAX_PRODUCT: usize = 64;

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "ArgMax" | "ArgMin" => arg(c),
        "CumSum" => cumsum(c),
        "Hardmax" => hardmax(c),
        op if op.starts_with("Reduce") => reduce(c),
        _ => Ok(None),
    }
}

fn reduce(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let rank = c.rank(x);
    let keep = c.int("keepdims", 1) != 0;
    let attribute = c.ints("axes");
    let input = c.optional_integers(1)?;
    let no_op = c.int("noop_with_empty_axes", 0) != 0;
    let axes = match attribute.or(input) {
        Some(a) if !a.is_empty() => c.axes(&a, rank)?,
        _ if no_op => {
            return one(after(c, x, c.dtype(x))?);
        }
        _ => (0..rank).collect(),
    };
    if rank == 0 {
        return one(after(c, x, c.dtype(x))?);
    }
    let dtype = c.dtype(x);
    let count: usize = axes.iter().map(|&a| c.dims(x)[a]).product();
    let r = match c.op() {
        "ReduceSum" | "ReduceLogSum" => c.sum(x, &axes, keep)?,
        "ReduceMean" => {
            let s = c.sum(x, &axes, keep)?;
            if dtype.is_float() {
                c.linear(&[(s, 1.0 / count as f64)], 0.0, dtype)?
            } else {
                c.func(s, Expr::X.with(B::IntDiv, count as f64), dtype)?
            }
        }
        "ReduceMax" => c.max(x, &axes, keep)?,
        "ReduceMin" => {
            let wide = if dtype.is_float() { dtype } else { Dtype::I64 };
            let n = c.linear(&[(x, -1.0)], 0.0, wide)?;
            let m = c.max(n, &axes, keep)?;
            c.linear(&[(m, -1.0)], 0.0, dtype)?
        }
        "ReduceL1" => {
            let a = absolute(c, x)?;
            c.sum(a, &axes, keep)?
        }
        "ReduceL2" | "ReduceSumSquare" => {
            let s = c.bin(B::Mul, x, x, dtype)?;
            c.sum(s, &axes, keep)?
        }
        "ReduceLogSumExp" => {
            let m = c.max(x, &axes, true)?;
            let d = c.linear(&[(x, 1.0), (m, -1.0)], 0.0, dtype)?;
            let e = c.unary(d, U::Exp)?;
            let s = c.sum(e, &axes, true)?;
            let l = c.unary(s, U::Log)?;
            let r = c.linear(&[(l, 1.0), (m, 1.0)], 0.0, dtype)?;
            if keep { r } else { drop_axes(c, r, &axes)? }
        }
        "ReduceProd" => product(c, x, &axes, keep)?,
        _ => return Ok(None),
    };
    one(after(c, r, dtype)?)
}

/// What follows the sum, for the reductions that end in a function.
fn after(c: &mut Ctx<'_>, x: Id, dtype: Dtype) -> Result<Id, ImportError> {
    match c.op() {
        "ReduceLogSum" => c.func(x, Expr::of(U::Log), dtype),
        "ReduceL2" => c.func(x, Expr::of(U::Sqrt), dtype),
        _ => Ok(x),
    }
}

fn absolute(c: &mut Ctx<'_>, x: Id) -> Result<Id, ImportError> {
    let dtype = c.dtype(x);
    let n = c.linear(&[(x, -1.0)], 0.0, dtype)?;
    c.bin(B::Max, x, n, dtype)
}

fn drop_axes(c: &mut Ctx<'_>, x: Id, axes: &[usize]) -> Result<Id, ImportError> {
    let dims: Vec<_> = c
        .dims(x)
        .into_iter()
        .enumerate()
        .filter(|(i, _)| !axes.contains(i))
        .map(|(_, d)| d)
        .collect();
    c.reshape(x, &dims)
}

fn product(c: &mut Ctx<'_>, x: Id, axes: &[usize], keep: bool) -> Result<Id, ImportError> {
    let mut r = x;
    for &axis in axes {
        let n = c.dims(r)[axis];
        if n > MAX_PRODUCT {
            return c.refuse(format!(
                "multiplies {n} elements; at most {MAX_PRODUCT} are supported"
            ));
        }
        let mut parts = (0..n)
            .map(|i| c.slice(r, axis, i, 1, 1))
            .collect::<Result<Vec<_>, _>>()?;
        let dtype = c.dtype(x);
        while parts.len() > 1 {
            let mut next = Vec::new();
            for pair in parts.chunks(2) {
                next.push(match *pair {
                    [a, b] => c.bin(B::Mul, a, b, dtype)?,
                    _ => pair[0],
                });
            }
            parts = next;
        }
        r = parts[0];
    }
    if keep { Ok(r) } else { drop_axes(c, r, axes) }
}

fn arg(c: &mut Ctx<'_>) -> Outputs {
    let mut x = c.x(0)?;
    let rank = c.rank(x);
    let axis = c.axis(c.int("axis", 0), rank)?;
    let keep = c.int("keepdims", 1) != 0;
    let last = c.int("select_last_index", 0) != 0;
    let dims = c.dims(x);
    let n = dims[axis];
    if c.op() == "ArgMin" {
        let wide = if c.dtype(x).is_float() {
            c.dtype(x)
        } else {
            Dtype::I64
        };
        x = c.linear(&[(x, -1.0)], 0.0, wide)?;
    }
    if last {
        x = c.slice(x, axis, n - 1, -1, n)?;
    }
    let mut r = c.add(
        GraphOp::Prim(Op::ArgMax { axis: axis as u8 }),
        vec![x],
        Dtype::I64,
    )?;
    if last {
        r = c.linear(&[(r, -1.0)], (n - 1) as f64, Dtype::I64)?;
    }
    if keep {
        let mut kept = dims;
        kept[axis] = 1;
        r = c.reshape(r, &kept)?;
    }
    one(r)
}

fn cumsum(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let axis = c.integers(1)?.first().copied().unwrap_or(0);
    let axis = c.axis(axis, c.rank(x))?;
    let (exclusive, reverse) = (c.int("exclusive", 0) != 0, c.int("reverse", 0) != 0);
    let n = c.dims(x)[axis];
    // A contraction with a triangular matrix of ones: element j adds to sum i.
    let mut data = Vec::with_capacity(n * n);
    for i in 0..n {
        for j in 0..n {
            let (i, j) = if reverse {
                (n - 1 - i, n - 1 - j)
            } else {
                (i, j)
            };
            data.push(f64::from(u8::from(if exclusive { j < i } else { j <= i })));
        }
    }
    let dtype = c.dtype(x);
    one(along_axis(c, x, axis, n, data, dtype)?)
}

/// Multiplies a constant matrix `[m, n]` (row-major) into one axis of length `n`.
pub(super) fn along_axis(
    c: &mut Ctx<'_>,
    x: Id,
    axis: usize,
    m: usize,
    matrix: Vec<f64>,
    dtype: Dtype,
) -> Result<Id, ImportError> {
    let rank = c.rank(x);
    let n = c.dims(x)[axis];
    let w = c.array(Array {
        dims: vec![m, n],
        data: matrix,
        dtype,
    })?;
    let a: Vec<u8> = (0..rank as u8).collect();
    let mut out = a.clone();
    out[axis] = 100;
    let spec = Contraction {
        a,
        b: vec![100, axis as u8],
        out,
    };
    c.add(
        GraphOp::Prim(Op::Contract { spec, l1: None }),
        vec![x, w],
        dtype,
    )
}

fn hardmax(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let (dims, dtype) = (c.dims(x), c.dtype(x));
    let axis = c.axis(c.int("axis", if c.opset < 13 { 1 } else { -1 }), dims.len())?;
    let (work, axis) = if c.opset < 13 {
        let outer: usize = dims[..axis].iter().product();
        (c.reshape(x, &[outer, dims[axis..].iter().product()])?, 1)
    } else {
        (x, axis)
    };
    let n = c.dims(work)[axis];
    let index = c.add(
        GraphOp::Prim(Op::ArgMax { axis: axis as u8 }),
        vec![work],
        Dtype::I64,
    )?;
    let hot = c.add(GraphOp::OneHot(n), vec![index], dtype)?;
    // The new axis is last; bring it back to its place.
    let rank = c.rank(work);
    let mut perm: Vec<usize> = (0..rank - 1).collect();
    perm.insert(axis, rank - 1);
    let placed = c.transpose(hot, &perm)?;
    one(c.reshape(placed, &dims)?)
}
