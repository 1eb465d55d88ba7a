//! Convolutions and pooling.

use super::{ImportError, Outputs, ctx::Ctx, linear::centred, one};
use crate::graph::{Array, Binary as B, Expr, GraphOp, Id, Unary as U};
use carat_program::{ConvGeometry, Dtype, Op, PoolKind, Window};

pub(super) fn lower(c: &mut Ctx<'_>) -> Outputs {
    match c.op() {
        "Conv" => {
            let (x, w) = (c.x(0)?, c.x(1)?);
            c.same_type(&[x, w])?;
            let dtype = c.dtype(x);
            let y = conv(c, x, w, dtype)?;
            one(add_bias(c, y, 2)?)
        }
        "ConvInteger" => {
            let (x, w) = (centred(c, 0, 2)?, centred_filter(c)?);
            one(conv(c, x, w, Dtype::I32)?)
        }
        "ConvTranspose" => conv_transpose(c),
        "MaxPool" => max_pool(c),
        "AveragePool" => average_pool(c),
        "LpPool" => lp_pool(c),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => global(c),
        _ => Ok(None),
    }
}

fn centred_filter(c: &mut Ctx<'_>) -> Result<Id, ImportError> {
    let w = c.x(1)?;
    if !c.present(3) {
        return c.retype(w, Dtype::I32);
    }
    let mut zero = c.x(3)?;
    let n = c.shape(zero).elements();
    let mut dims = vec![1; c.rank(w)];
    dims[0] = n;
    zero = c.reshape(zero, if n == 1 { &[] } else { &dims })?;
    c.linear(&[(w, 1.0), (zero, -1.0)], 0.0, Dtype::I32)
}

fn add_bias(c: &mut Ctx<'_>, y: Id, operand: usize) -> Result<Id, ImportError> {
    if !c.present(operand) {
        return Ok(y);
    }
    let bias = c.x(operand)?;
    let mut dims = vec![1; c.rank(y)];
    dims[1] = c.dims(y)[1];
    let bias = c.reshape(bias, &dims)?;
    let dtype = c.dtype(y);
    c.linear(&[(y, 1.0), (bias, 1.0)], 0.0, dtype)
}

pub(super) struct Geometry {
    pub(super) kernel: Vec<usize>,
    pub(super) stride: Vec<usize>,
    pub(super) dilation: Vec<usize>,
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
    /// Elements beyond the padded operand that `ceil_mode` lets the last window reach.
    pub(super) overhang: Vec<usize>,
}

impl Geometry {
    pub(super) fn window(&self) -> Window {
        let v = |v: &[usize]| v.iter().map(|&n| n as u32).collect();
        let after: Vec<usize> = self
            .after
            .iter()
            .zip(&self.overhang)
            .map(|(a, o)| a + o)
            .collect();
        Window {
            kernel: v(&self.kernel),
            stride: v(&self.stride),
            dilation: v(&self.dilation),
            before: v(&self.before),
            after: v(&after),
        }
    }
}

/// Reads `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad` and `ceil_mode`.
pub(super) fn geometry(
    c: &Ctx<'_>,
    spatial: &[usize],
    kernel: Vec<usize>,
) -> Result<Geometry, ImportError> {
    let n = spatial.len();
    let list = |name: &str| -> Result<Vec<usize>, ImportError> {
        let v = c.ints(name).unwrap_or_else(|| vec![1; n]);
        let v: Option<Vec<usize>> = v
            .iter()
            .map(|&i| usize::try_from(i).ok().filter(|&i| i > 0 && i < 1 << 24))
            .collect();
        v.filter(|v| v.len() == n)
            .ok_or_else(|| c.unsupported(format!("has {name} that are not {n} positive numbers")))
    };
    let (stride, dilation) = (list("strides")?, list("dilations")?);
    if kernel.len() != n || kernel.contains(&0) || kernel.iter().any(|&k| k > 1 << 24) {
        return c.refuse("has a kernel that does not fit its operand");
    }
    let extent: Vec<usize> = kernel
        .iter()
        .zip(&dilation)
        .map(|(k, d)| (k - 1) * d + 1)
        .collect();
    let (mut before, mut after) = (vec![0; n], vec![0; n]);
    let auto = c.text("auto_pad", "NOTSET");
    let pads = c.ints("pads");
    match auto.as_str() {
        "NOTSET" | "" => {
            if let Some(p) = pads {
                if p.len() != 2 * n || p.iter().any(|&v| !(0..1 << 24).contains(&v)) {
                    return c.refuse("has pads that are negative or too few");
                }
                for i in 0..n {
                    (before[i], after[i]) = (p[i] as usize, p[n + i] as usize);
                }
            }
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for i in 0..n {
                let out = spatial[i].div_ceil(stride[i]);
                let total = ((out - 1) * stride[i] + extent[i]).saturating_sub(spatial[i]);
                let small = total / 2;
                (before[i], after[i]) = if auto == "SAME_UPPER" {
                    (small, total - small)
                } else {
                    (total - small, small)
                };
            }
        }
        other => return c.refuse(format!("has an auto_pad `{other}` that is not understood")),
    }
    let mut overhang = vec![0; n];
    if c.int("ceil_mode", 0) != 0 && auto != "SAME_UPPER" && auto != "SAME_LOWER" {
        for i in 0..n {
            let padded = spatial[i] + before[i] + after[i];
            let Some(room) = padded.checked_sub(extent[i]) else {
                return c.refuse("has a kernel larger than its operand");
            };
            let mut positions = room.div_ceil(stride[i]) + 1;
            // A window may not start in the padding behind the operand.
            if (positions - 1) * stride[i] >= spatial[i] + before[i] {
                positions -= 1;
            }
            overhang[i] = ((positions - 1) * stride[i] + extent[i]).saturating_sub(padded);
        }
    }
    Ok(Geometry {
        kernel,
        stride,
        dilation,
        before,
        after,
        overhang,
    })
}

fn kernel_attribute(c: &Ctx<'_>) -> Option<Vec<usize>> {
    c.ints("kernel_shape")
        .map(|v| v.iter().map(|&k| usize::try_from(k).unwrap_or(0)).collect())
}

fn conv(c: &mut Ctx<'_>, x: Id, w: Id, dtype: Dtype) -> Result<Id, ImportError> {
    let (xd, wd) = (c.dims(x), c.dims(w));
    if xd.len() < 3 || wd.len() != xd.len() {
        return c
            .refuse("needs an operand [N, C, spatial...] and weights [M, C/groups, kernel...]");
    }
    let kernel = wd[2..].to_vec();
    if kernel_attribute(c).is_some_and(|k| k != kernel) {
        return c.refuse("has a kernel_shape that differs from its weights");
    }
    let g = geometry(c, &xd[2..], kernel)?;
    let groups = u32::try_from(c.int("group", 1)).unwrap_or(0);
    let geometry = ConvGeometry {
        window: g.window(),
        groups,
    };
    c.add(
        GraphOp::Prim(Op::Conv { geometry, l1: None }),
        vec![x, w],
        dtype,
    )
}

/// A transposed convolution is a convolution of the operand with zeros between its elements, by the flipped kernel.
fn conv_transpose(c: &mut Ctx<'_>) -> Outputs {
    let (mut x, w) = (c.x(0)?, c.x(1)?);
    let (xd, wd) = (c.dims(x), c.dims(w));
    if xd.len() < 3 || wd.len() != xd.len() {
        return c
            .refuse("needs an operand [N, C, spatial...] and weights [C, M/groups, kernel...]");
    }
    let n = xd.len() - 2;
    let groups = usize::try_from(c.int("group", 1)).unwrap_or(0);
    if groups == 0 || xd[1] != wd[0] || !xd[1].is_multiple_of(groups) {
        return c.refuse("has weights that do not fit its operand");
    }
    let kernel = wd[2..].to_vec();
    if kernel_attribute(c).is_some_and(|k| k != kernel) {
        return c.refuse("has a kernel_shape that differs from its weights");
    }
    let list = |c: &Ctx<'_>, name: &str, default: usize| -> Result<Vec<usize>, ImportError> {
        let v = c.ints(name).unwrap_or_else(|| vec![default as i64; n]);
        let v: Option<Vec<usize>> = v
            .iter()
            .map(|&i| usize::try_from(i).ok().filter(|&i| i < 1 << 16))
            .collect();
        v.filter(|v| v.len() == n)
            .ok_or_else(|| c.unsupported(format!("has {name} that are not {n} numbers")))
    };
    let (stride, dilation) = (list(c, "strides", 1)?, list(c, "dilations", 1)?);
    let extra = list(c, "output_padding", 0)?;
    if stride.contains(&0) || dilation.contains(&0) {
        return c.refuse("has a stride or dilation of zero");
    }
    let auto = c.text("auto_pad", "NOTSET");
    let pads = c.ints("pads").unwrap_or_else(|| vec![0; 2 * n]);
    let wanted = c.ints("output_shape");
    if pads.len() != 2 * n || wanted.as_ref().is_some_and(|o| o.len() != n) {
        return c.refuse("has pads or an output_shape of another number of axes");
    }
    let mut crop = Vec::new();
    for i in 0..n {
        let full =
            (stride[i] * (xd[2 + i] - 1) + extra[i] + (kernel[i] - 1) * dilation[i] + 1) as i64;
        let target = match (&wanted, auto.as_str()) {
            (Some(o), _) => Some(o[i]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some((xd[2 + i] * stride[i]) as i64),
            _ => None,
        };
        let cut = match target {
            None => (pads[i], pads[n + i]),
            Some(t) => {
                let total = full - t;
                if total < 0 {
                    // The output is larger than what the kernel reaches: the rest is empty, at the end.
                    crop.push((0, total));
                    continue;
                }
                let small = total / 2;
                // Without SAME_UPPER the larger half comes first, as the ONNX formula has it.
                if auto == "SAME_UPPER" {
                    (small, total - small)
                } else {
                    (total - small, small)
                }
            }
        };
        crop.push(cut);
    }
    // Zeros between the elements.
    for (i, &s) in stride.iter().enumerate() {
        if s > 1 {
            let axis = 2 + i;
            let dims = c.dims(x);
            let (mut split, mut zeros) = (dims.clone(), vec![0; dims.len() + 1]);
            split.insert(axis + 1, 1);
            zeros[axis + 1] = s - 1;
            let t = c.reshape(x, &split)?;
            let t = c.pad(t, &vec![0; dims.len() + 1], &zeros, 0.0)?;
            let mut joined = dims.clone();
            joined[axis] = dims[axis] * s;
            let t = c.reshape(t, &joined)?;
            x = c.slice(t, axis, 0, 1, (dims[axis] - 1) * s + 1)?;
        }
    }
    // A border as wide as the kernel reaches, less what is cropped.
    let (mut before, mut after) = (vec![0; n + 2], vec![0; n + 2]);
    let mut cuts = Vec::new();
    for i in 0..n {
        let reach = ((kernel[i] - 1) * dilation[i]) as i64;
        let (b, a) = (reach - crop[i].0, reach - crop[i].1 + extra[i] as i64);
        before[2 + i] = b.max(0) as usize;
        after[2 + i] = a.max(0) as usize;
        cuts.push(((-b).max(0) as usize, (-a).max(0) as usize));
    }
    x = c.pad(x, &before, &after, 0.0)?;
    for (i, (b, a)) in cuts.into_iter().enumerate() {
        let len = c.dims(x)[2 + i];
        if b + a > 0 {
            if b + a >= len {
                return c.refuse("crops everything away");
            }
            x = c.slice(x, 2 + i, b, 1, len - b - a)?;
        }
    }
    // [C, M/g, k...] -> [M, C/g, k...], each kernel axis reversed.
    let (cg, mg) = (xd[1] / groups, wd[1]);
    let mut split = vec![groups, cg, mg];
    split.extend(&kernel);
    let mut w = c.reshape(w, &split)?;
    let mut perm = vec![0, 2, 1];
    perm.extend(3..3 + n);
    w = c.transpose(w, &perm)?;
    let mut dims = vec![groups * mg, cg];
    dims.extend(&kernel);
    w = c.reshape(w, &dims)?;
    for (i, &k) in kernel.iter().enumerate() {
        w = c.slice(w, 2 + i, k - 1, -1, k)?;
    }
    let v = |v: &[usize]| v.iter().map(|&n| n as u32).collect::<Vec<_>>();
    let window = Window {
        kernel: v(&kernel),
        stride: vec![1; n],
        dilation: v(&dilation),
        before: vec![0; n],
        after: vec![0; n],
    };
    let dtype = c.dtype(x);
    let geometry = ConvGeometry {
        window,
        groups: groups as u32,
    };
    let y = c.add(
        GraphOp::Prim(Op::Conv { geometry, l1: None }),
        vec![x, w],
        dtype,
    )?;
    one(add_bias(c, y, 2)?)
}

fn pool_operand(c: &mut Ctx<'_>) -> Result<(Id, Geometry), ImportError> {
    let x = c.x(0)?;
    let dims = c.dims(x);
    if dims.len() < 3 {
        return c.refuse("needs an operand [N, C, spatial...]");
    }
    let kernel = kernel_attribute(c).unwrap_or_default();
    Ok((x, geometry(c, &dims[2..], kernel)?))
}

fn max_pool(c: &mut Ctx<'_>) -> Outputs {
    let _ = c.int("storage_order", 0);
    if c.wants_output(1) {
        return c.refuse("with an output of indices is not supported");
    }
    let (x, g) = pool_operand(c)?;
    one(c.prim(
        Op::Pool {
            kind: PoolKind::Max,
            window: g.window(),
        },
        vec![x],
    )?)
}

fn average_pool(c: &mut Ctx<'_>) -> Outputs {
    let include = c.int("count_include_pad", 0) != 0;
    let (x, g) = pool_operand(c)?;
    if include && g.overhang.iter().any(|&o| o > 0) {
        return c.refuse("counts padding in windows that reach beyond it, which releases of ONNX define differently");
    }
    let dtype = c.dtype(x);
    let sum = c.prim(
        Op::Pool {
            kind: PoolKind::Sum,
            window: g.window(),
        },
        vec![x],
    )?;
    // How many elements each window position counts.
    let (xd, od) = (c.dims(x), c.dims(sum));
    let mut counts = vec![1usize];
    for i in 0..g.kernel.len() {
        let along: Vec<usize> = (0..od[2 + i])
            .map(|p| {
                (0..g.kernel[i])
                    .filter(|&t| {
                        let at = (p * g.stride[i] + t * g.dilation[i]) as i64 - g.before[i] as i64;
                        let (lo, hi) = if include {
                            (-(g.before[i] as i64), xd[2 + i] + g.after[i])
                        } else {
                            (0, xd[2 + i])
                        };
                        (lo..hi as i64).contains(&at)
                    })
                    .count()
            })
            .collect();
        counts = counts
            .iter()
            .flat_map(|&n| along.iter().map(move |&m| n * m))
            .collect();
    }
    let inverse: Vec<f64> = counts.iter().map(|&n| 1.0 / n as f64).collect();
    if inverse.iter().any(|v| !v.is_finite()) {
        return c.refuse("has a window wholly inside the padding");
    }
    if let Some(&v) = inverse.first().filter(|v| inverse.iter().all(|w| w == *v)) {
        return one(c.linear(&[(sum, v)], 0.0, dtype)?);
    }
    let scale = c.array(Array {
        dims: od[2..].to_vec(),
        data: inverse,
        dtype,
    })?;
    one(c.bin(B::Mul, sum, scale, dtype)?)
}

fn power_sum(c: &mut Ctx<'_>, x: Id, p: i64) -> Result<Id, ImportError> {
    let dtype = c.dtype(x);
    match p {
        1 => c.unary(x, U::Abs),
        2 => c.bin(B::Mul, x, x, dtype),
        p => c.func(x, Expr::of(U::Abs).with(B::Pow, p as f64), dtype),
    }
}

fn root(c: &mut Ctx<'_>, x: Id, p: i64) -> Result<Id, ImportError> {
    let dtype = c.dtype(x);
    match p {
        1 => Ok(x),
        2 => c.unary(x, U::Sqrt),
        p => c.func(x, Expr::X.with(B::Pow, 1.0 / p as f64), dtype),
    }
}

fn lp_pool(c: &mut Ctx<'_>) -> Outputs {
    let p = c.int("p", 2);
    if p < 1 {
        return c.refuse("needs a positive p");
    }
    let (x, g) = pool_operand(c)?;
    let powers = power_sum(c, x, p)?;
    let sum = c.prim(
        Op::Pool {
            kind: PoolKind::Sum,
            window: g.window(),
        },
        vec![powers],
    )?;
    one(root(c, sum, p)?)
}

fn global(c: &mut Ctx<'_>) -> Outputs {
    let x = c.x(0)?;
    let dims = c.dims(x);
    if dims.len() < 3 {
        return c.refuse("needs an operand [N, C, spatial...]");
    }
    let axes: Vec<usize> = (2..dims.len()).collect();
    let dtype = c.dtype(x);
    match c.op() {
        "GlobalMaxPool" => one(c.max(x, &axes, true)?),
        "GlobalAveragePool" => {
            let count: usize = dims[2..].iter().product();
            let s = c.sum(x, &axes, true)?;
            one(c.linear(&[(s, 1.0 / count as f64)], 0.0, dtype)?)
        }
        _ => {
            let p = c.int("p", 2);
            let powers = power_sum(c, x, p)?;
            let s = c.sum(powers, &axes, true)?;
            one(root(c, s, p)?)
        }
    }
}
