//! Operators that move elements without changing them.

use super::{
    ImportError, Outputs,
    ctx::{Ctx, Val},
    one,
};
use crate::graph::{Array, Id};
use carat_program::Dtype;
use std::sync::Arc;

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "Constant" => constant(c),
        "ConstantOfShape" => constant_of_shape(c),
        "Shape" => shape(c),
        "Size" => {
            let x = c.x(0)?;
            let n = c.shape(x).elements() as f64;
            literal(Array::scalar(n, Dtype::I64))
        }
        "Range" => range(c),
        "EyeLike" => eye_like(c),
        "Reshape" => reshape(c),
        "Flatten" => {
            let x = c.x(0)?;
            let dims = c.dims(x);
            let axis = c.int("axis", 1);
            let axis = if axis == dims.len() as i64 {
                dims.len()
            } else {
                c.axis(axis, dims.len())?
            };
            one(c.reshape(
                x,
                &[dims[..axis].iter().product(), dims[axis..].iter().product()],
            )?)
        }
        "Squeeze" => squeeze(c),
        "Unsqueeze" => unsqueeze(c),
        "Transpose" => {
            let x = c.x(0)?;
            let rank = c.rank(x);
            let perm = match c.ints("perm") {
                Some(p) => p
                    .iter()
                    .map(|&a| c.axis(a, rank))
                    .collect::<Result<Vec<_>, _>>()?,
                None => (0..rank).rev().collect(),
            };
            one(c.transpose(x, &perm)?)
        }
        "Concat" => concat(c),
        "Split" => split(c),
        "Slice" => slice(c),
        "Expand" => {
            let x = c.x(0)?;
            let target = c.integers(1)?;
            let target = sizes(c, &target)?;
            let own = c.dims(x);
            let rank = own.len().max(target.len());
            let at = |v: &[usize], i: usize| (i + v.len()).checked_sub(rank).map_or(1, |a| v[a]);
            let dims: Vec<_> = (0..rank)
                .map(|i| {
                    if at(&target, i) == 1 {
                        at(&own, i)
                    } else {
                        at(&target, i)
                    }
                })
                .collect();
            one(c.broadcast(x, &dims)?)
        }
        "Tile" => tile(c),
        "Pad" => pad(c),
        "CenterCropPad" => center_crop_pad(c),
        "DepthToSpace" | "SpaceToDepth" => blocks(c),
        "Trilu" => trilu(c),
        "ReverseSequence" => reverse_sequence(c),
        _ => Ok(None),
    }
}

fn literal(a: Array) -> Outputs {
    Ok(Some(vec![Val::Const(Arc::new(a))]))
}

fn sizes(c: &Ctx<'_>, values: &[i64]) -> Result<Vec<usize>, ImportError> {
    values
        .iter()
        .map(|&v| {
            if (0..1 << 32).contains(&v) {
                Ok(v as usize)
            } else {
                c.refuse(format!("names an axis length of {v}"))
            }
        })
        .collect()
}

fn constant(c: &mut Ctx<'_>) -> Outputs {
    if let Some(t) = c.tensor("value")? {
        return Ok(Some(vec![Val::Const(t)]));
    }
    if c.has("value_float") {
        return literal(Array::scalar(c.float("value_float", 0.0), Dtype::F32));
    }
    if c.has("value_int") {
        return literal(Array::scalar(c.int("value_int", 0) as f64, Dtype::I64));
    }
    if let Some(v) = c.floats("value_floats").filter(|v| !v.is_empty()) {
        return literal(Array::vector(v, Dtype::F32));
    }
    if let Some(v) = c.ints("value_ints").filter(|v| !v.is_empty()) {
        return literal(Array::vector(
            v.iter().map(|&v| v as f64).collect(),
            Dtype::I64,
        ));
    }
    c.refuse("holds something other than numbers")
}

fn filled(c: &Ctx<'_>, dims: &[usize], value: f64, dtype: Dtype) -> Outputs {
    let n = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= 1 << 28);
    match n {
        Some(n) => literal(Array {
            dims: dims.to_vec(),
            data: vec![value; n],
            dtype,
        }),
        None => c.refuse("makes a tensor that is too large"),
    }
}

fn constant_of_shape(c: &mut Ctx<'_>) -> Outputs {
    let dims = sizes(c, &c.integers(0)?)?;
    let value = c.tensor("value")?;
    let (v, dtype) = match &value {
        Some(t) => (t.uniform(), t.dtype),
        None => (Some(0.0), Dtype::F32),
    };
    match v {
        Some(v) => filled(c, &dims, v, dtype),
        None => c.refuse("has no value"),
    }
}

fn shape(c: &mut Ctx<'_>) -> Outputs {
    let dims = match c.try_constant(0) {
        Some(a) => a.dims.clone(),
        None => {
            let x = c.x(0)?;
            c.dims(x)
        }
    };
    let rank = dims.len() as i64;
    let clamp = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clamp(c.int("start", 0)), clamp(c.int("end", rank)));
    let kept = if start < end { &dims[start..end] } else { &[] };
    literal(Array::vector(
        kept.iter().map(|&d| d as f64).collect(),
        Dtype::I64,
    ))
}

fn range(c: &mut Ctx<'_>) -> Outputs {
    let [start, limit, delta] = [c.constant(0)?, c.constant(1)?, c.constant(2)?];
    let value = |a: &Array| a.data.first().copied().unwrap_or(0.0);
    let (s, l, d) = (value(&start), value(&limit), value(&delta));
    let n = libm::ceil((l - s) / d).max(0.0);
    if !n.is_finite() || n > 1e8 {
        return c.refuse("counts too far");
    }
    literal(Array::vector(
        (0..n as usize).map(|i| s + i as f64 * d).collect(),
        start.dtype,
    ))
}

fn eye_like(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let k = c.int("k", 0);
    let code = c.int("dtype", 0);
    let dtype = if code == 0 {
        Some(c.dtype(x))
    } else {
        super::proto::dtype_of(code as i32)
    };
    let (Some(dtype), &[rows, columns]) = (dtype, dims.as_slice()) else {
        return c.refuse("needs a matrix and a supported element type");
    };
    let cell = |i: usize, j: usize| f64::from(u8::from(j as i64 == i as i64 + k));
    let data = (0..rows)
        .flat_map(|i| (0..columns).map(move |j| cell(i, j)))
        .collect();
    literal(Array { dims, data, dtype })
}

fn reshape(c: &mut Ctx<'_>) -> Outputs {
    let target = match c.ints("shape") {
        Some(s) if c.opset < 5 => s,
        _ => c.integers(1)?,
    };
    let allow_zero = c.int("allowzero", 0) != 0;
    // A constant may be empty; then only its shape changes.
    if let Some(a) = c.try_constant(0) {
        let dims = resolve(c, &a.dims, &target, allow_zero)?;
        return literal(Array {
            dims,
            data: a.data.clone(),
            dtype: a.dtype,
        });
    }
    let x = c.x(0)?;
    let dims = resolve(c, &c.dims(x), &target, allow_zero)?;
    one(c.reshape(x, &dims)?)
}

fn resolve(
    c: &Ctx<'_>,
    own: &[usize],
    target: &[i64],
    allow_zero: bool,
) -> Result<Vec<usize>, ImportError> {
    let total: usize = own.iter().product();
    let mut dims = Vec::new();
    let mut open = None;
    for (i, &t) in target.iter().enumerate() {
        dims.push(match t {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 if !allow_zero => *own
                .get(i)
                .ok_or_else(|| c.unsupported("copies an axis that its operand does not have"))?,
            t if (0..1 << 32).contains(&t) => t as usize,
            t => return c.refuse(format!("names an axis length of {t}")),
        });
    }
    let known = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .unwrap_or(usize::MAX);
    if let Some(i) = open {
        if known == 0 || !total.is_multiple_of(known) {
            return c.refuse(format!("cannot give {total} elements the shape {target:?}"));
        }
        dims[i] = total / known;
    } else if known != total {
        return c.refuse(format!("cannot give {total} elements the shape {target:?}"));
    }
    Ok(dims)
}

fn axes_operand(c: &Ctx<'_>) -> Result<Option<Vec<i64>>, ImportError> {
    match c.ints("axes") {
        Some(a) => Ok(Some(a)),
        None => c.optional_integers(1),
    }
}

fn squeeze(c: &mut Ctx<'_>) -> Outputs {
    let axes = axes_operand(c)?;
    if let Some(a) = c.try_constant(0) {
        let dims = squeezed(c, &a.dims, axes.as_deref())?;
        return literal(Array {
            dims,
            data: a.data.clone(),
            dtype: a.dtype,
        });
    }
    let x = c.x(0)?;
    let dims = squeezed(c, &c.dims(x), axes.as_deref())?;
    one(c.reshape(x, &dims)?)
}

fn squeezed(c: &Ctx<'_>, dims: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, ImportError> {
    let gone = match axes {
        Some(a) => c.axes(a, dims.len())?,
        None => (0..dims.len()).filter(|&i| dims[i] == 1).collect(),
    };
    if gone.iter().any(|&i| dims[i] != 1) {
        return c.refuse("removes an axis that is longer than one");
    }
    Ok((0..dims.len())
        .filter(|i| !gone.contains(i))
        .map(|i| dims[i])
        .collect())
}

fn unsqueeze(c: &mut Ctx<'_>) -> Outputs {
    let axes = axes_operand(c)?.ok_or_else(|| c.unsupported("names no axes"))?;
    let expand = |c: &Ctx<'_>, dims: &[usize]| -> Result<Vec<usize>, ImportError> {
        let mut out = dims.to_vec();
        for axis in c.axes(&axes, dims.len() + axes.len())? {
            out.insert(axis, 1);
        }
        Ok(out)
    };
    if let Some(a) = c.try_constant(0) {
        let dims = expand(c, &a.dims)?;
        return literal(Array {
            dims,
            data: a.data.clone(),
            dtype: a.dtype,
        });
    }
    let x = c.x(0)?;
    let dims = expand(c, &c.dims(x))?;
    one(c.reshape(x, &dims)?)
}

fn concat(c: &mut Ctx<'_>) -> Outputs {
    let axis = c.int("axis", 1);
    let mut parts = Vec::new();
    for i in 0..c.count() {
        // An empty constant adds nothing.
        if c.try_constant(i).is_some_and(|a| a.data.is_empty()) {
            continue;
        }
        parts.push(c.x(i)?);
    }
    let Some(&first) = parts.first() else {
        return c.refuse("joins nothing but empty tensors");
    };
    if c.opset >= 4 && !c.has("axis") {
        return c.refuse("needs its attribute `axis`");
    }
    c.same_type(&parts)?;
    let axis = c.axis(axis, c.rank(first))?;
    one(c.concat(parts, axis)?)
}

fn split(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let axis = c.axis(c.int("axis", 0), c.rank(x))?;
    let n = c.dims(x)[axis];
    let parts = c.outputs();
    let explicit = match c.ints("split") {
        Some(s) => Some(s),
        None => c.optional_integers(1)?,
    };
    let lengths = match explicit {
        Some(s) => sizes(c, &s)?,
        None => {
            let count = usize::try_from(c.int("num_outputs", parts as i64)).unwrap_or(0);
            if count == 0 || count > n {
                return c.refuse(format!("splits {n} elements into {count} parts"));
            }
            let chunk = n.div_ceil(count);
            (0..count)
                .map(|i| chunk.min(n.saturating_sub(i * chunk)))
                .collect()
        }
    };
    if lengths.iter().sum::<usize>() != n || lengths.contains(&0) || lengths.len() < parts {
        return c.refuse(format!(
            "splits {n} elements into {lengths:?}; empty parts are not supported"
        ));
    }
    let mut start = 0;
    let mut out = Vec::new();
    for len in lengths {
        out.push(Val::Node(c.slice(x, axis, start, 1, len)?));
        start += len;
    }
    Ok(Some(out))
}

fn slice(c: &mut Ctx<'_>) -> Outputs {
    let mut x = c.x(0)?;
    let rank = c.rank(x);
    let (starts, ends, axes, steps) = if c.opset < 10 {
        (
            c.ints("starts").unwrap_or_default(),
            c.ints("ends").unwrap_or_default(),
            c.ints("axes"),
            None,
        )
    } else {
        (
            c.integers(1)?,
            c.integers(2)?,
            c.optional_integers(3)?,
            c.optional_integers(4)?,
        )
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return c.refuse("has starts, ends, axes and steps of different lengths");
    }
    for i in 0..starts.len() {
        let axis = c.axis(axes[i], rank)?;
        let n = c.dims(x)[axis] as i64;
        let step = steps[i];
        if step == 0 || step.abs() > i64::from(i32::MAX) {
            return c.refuse(format!("has a step of {step}"));
        }
        let place = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (start, end) = if step > 0 {
            (place(starts[i]).clamp(0, n), place(ends[i]).clamp(0, n))
        } else {
            (
                place(starts[i]).clamp(0, n - 1),
                place(ends[i]).clamp(-1, n - 1),
            )
        };
        let len = if step > 0 {
            (end - start + step - 1) / step
        } else {
            (start - end - step - 1) / -step
        };
        if len <= 0 {
            return c.refuse("selects nothing; empty tensors are not supported");
        }
        x = c.slice(x, axis, start as usize, step as i32, len as usize)?;
    }
    one(x)
}

fn tile(c: &mut Ctx<'_>) -> Outputs {
    let mut x = c.x(0)?;
    let repeats = sizes(c, &c.integers(1)?)?;
    if repeats.len() != c.rank(x) || repeats.contains(&0) {
        return c.refuse("needs one positive repeat per axis");
    }
    for (axis, &r) in repeats.iter().enumerate() {
        if r > 1 {
            if r > 1 << 16 {
                return c.refuse(format!("repeats an axis {r} times"));
            }
            let n = c.dims(x)[axis];
            let index: Vec<usize> = (0..n * r).map(|i| i % n).collect();
            x = c.take(x, axis, &index)?;
        }
    }
    one(x)
}

fn pad(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let rank = c.rank(x);
    let mode = c.text("mode", "constant");
    let pads = match c.ints("pads").or_else(|| c.ints("paddings")) {
        Some(p) => p,
        None => c.integers(1)?,
    };
    let value = if c.has("value") {
        c.float("value", 0.0)
    } else if c.present(2) {
        c.constant(2)?.data.first().copied().unwrap_or(0.0)
    } else {
        0.0
    };
    let axes = match c.optional_integers(3)? {
        Some(a) => a
            .iter()
            .map(|&a| c.axis(a, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return c.refuse("has another number of paddings than axes");
    }
    let mut widths = vec![(0i64, 0i64); rank];
    for (i, &axis) in axes.iter().enumerate() {
        widths[axis] = (pads[i], pads[axes.len() + i]);
    }
    if widths.iter().any(|w| w.0.abs().max(w.1.abs()) > 1 << 24) {
        return c.refuse("has an absurd width");
    }
    one(pad_axes(c, x, &widths, &mode, value)?)
}

/// Pads (or, with negative widths, crops) every axis.
fn pad_axes(
    c: &mut Ctx<'_>,
    x: Id,
    widths: &[(i64, i64)],
    mode: &str,
    value: f64,
) -> Result<Id, ImportError> {
    let mut x = x;
    for (axis, &(before, after)) in widths.iter().enumerate() {
        let n = c.dims(x)[axis] as i64;
        let crop = (before.min(0).abs(), after.min(0).abs());
        if crop != (0, 0) {
            if crop.0 + crop.1 >= n {
                return c.refuse("crops everything away");
            }
            x = c.slice(x, axis, crop.0 as usize, 1, (n - crop.0 - crop.1) as usize)?;
        }
        let (before, after) = (before.max(0), after.max(0));
        if (before, after) == (0, 0) {
            continue;
        }
        let n = c.dims(x)[axis] as i64;
        if mode == "constant" {
            let mut w = (vec![0usize; widths.len()], vec![0usize; widths.len()]);
            (w.0[axis], w.1[axis]) = (before as usize, after as usize);
            x = c.pad(x, &w.0, &w.1, value)?;
            continue;
        }
        let index = (-before..n + after)
            .map(|i| match mode {
                "edge" => Ok(i.clamp(0, n - 1) as usize),
                "wrap" => Ok(i.rem_euclid(n) as usize),
                "reflect" => {
                    let period = (2 * (n - 1)).max(1);
                    let i = i.rem_euclid(period);
                    Ok(if i < n { i } else { period - i } as usize)
                }
                other => c.refuse(format!("has a mode `{other}` that is not supported")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        x = c.take(x, axis, &index)?;
    }
    Ok(x)
}

fn center_crop_pad(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let target = sizes(c, &c.integers(1)?)?;
    let axes = match c.ints("axes") {
        Some(a) => a
            .iter()
            .map(|&a| c.axis(a, dims.len()))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).collect(),
    };
    if axes.len() != target.len() {
        return c.refuse("has another number of axes than lengths");
    }
    let mut widths = vec![(0, 0); dims.len()];
    for (&axis, &t) in axes.iter().zip(&target) {
        let (n, t) = (dims[axis] as i64, t as i64);
        // Half of the difference before, rounded towards the start; the rest after.
        let before = if t >= n { (t - n) / 2 } else { -((n - t) / 2) };
        widths[axis] = (before, t - n - before);
    }
    one(pad_axes(c, x, &widths, "constant", 0.0)?)
}

fn blocks(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let b = usize::try_from(c.int("blocksize", 0)).unwrap_or(0);
    let &[n, ch, h, w] = dims.as_slice() else {
        return c.refuse("needs four axes");
    };
    if b == 0 || b > 1 << 12 {
        return c.refuse("has no valid block size");
    }
    if c.op() == "SpaceToDepth" {
        let _ = c.text("mode", "DCR");
        if h % b != 0 || w % b != 0 {
            return c.refuse("does not divide its operand into blocks");
        }
        let t = c.reshape(x, &[n, ch, h / b, b, w / b, b])?;
        let t = c.transpose(t, &[0, 3, 5, 1, 2, 4])?;
        return one(c.reshape(t, &[n, ch * b * b, h / b, w / b])?);
    }
    if ch % (b * b) != 0 {
        return c.refuse("does not divide its channels into blocks");
    }
    let (shape, perm) = match c.text("mode", "DCR").as_str() {
        "DCR" => ([n, b, b, ch / (b * b), h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, ch / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3]),
        other => return c.refuse(format!("has a mode `{other}` that is not supported")),
    };
    let t = c.reshape(x, &shape)?;
    let t = c.transpose(t, &perm)?;
    one(c.reshape(t, &[n, ch / (b * b), h * b, w * b])?)
}

fn trilu(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let upper = c.int("upper", 1) != 0;
    let k = c
        .optional_integers(1)?
        .and_then(|v| v.first().copied())
        .unwrap_or(0);
    let [.., rows, columns] = dims[..] else {
        return c.refuse("needs at least two axes");
    };
    let mut mask = Vec::with_capacity(rows * columns);
    for i in 0..rows as i64 {
        for j in 0..columns as i64 {
            mask.push(f64::from(u8::from(if upper {
                j - i >= k
            } else {
                j - i <= k
            })));
        }
    }
    let dtype = c.dtype(x);
    let mask = c.array(Array {
        dims: vec![rows, columns],
        data: mask,
        dtype,
    })?;
    one(c.bin(crate::graph::Binary::Mul, x, mask, dtype)?)
}

fn reverse_sequence(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    let lengths = sizes(c, &c.integers(1)?)?;
    let (batch, time) = (
        c.axis(c.int("batch_axis", 1), dims.len())?,
        c.axis(c.int("time_axis", 0), dims.len())?,
    );
    if batch == time || lengths.len() != dims[batch] || lengths.iter().any(|&l| l > dims[time]) {
        return c.refuse("has lengths that do not fit its operand");
    }
    let strides = c.shape(x).strides();
    let index: Vec<usize> = (0..c.shape(x).elements())
        .map(|i| {
            let (b, t) = (
                i / strides[batch] % dims[batch],
                i / strides[time] % dims[time],
            );
            let source = if t < lengths[b] {
                lengths[b] - 1 - t
            } else {
                t
            };
            i - t * strides[time] + source * strides[time]
        })
        .collect();
    one(c.select(x, &index, &dims)?)
}
