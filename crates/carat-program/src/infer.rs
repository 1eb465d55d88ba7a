//! Shape rules: what a primitive's result looks like, or why its operands do not fit.

use crate::{Contraction, Op, PoolKind, Shape, ShapeError, ValueInfo, Window};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

pub(crate) fn shape(op: &Op, operands: &[ValueInfo<'_>]) -> Result<Shape, String> {
    let count = match op {
        Op::Contract { .. }
        | Op::Conv { .. }
        | Op::Mul
        | Op::Lut { .. }
        | Op::Max
        | Op::Quotient { .. }
        | Op::Gather { .. } => 2,
        Op::Linear { coefficients, .. } => coefficients.len(),
        Op::Concat { .. } => operands.len(),
        _ => 1,
    };
    if operands.len() != count || count == 0 {
        return Err(format!(
            "takes {} operands, not {}",
            count.max(1),
            operands.len()
        ));
    }
    let x = operands[0].shape;
    match op {
        Op::Contract { spec, .. } => contract(spec, x, operands[1].shape),
        Op::Conv { geometry, .. } => conv(
            &geometry.window,
            geometry.groups as usize,
            x,
            operands[1].shape,
        ),
        Op::Sum { axes } | Op::ReduceMax { axes } => remove(x, axes),
        Op::ArgMax { axis } => remove(x, &[*axis]),
        Op::Linear { .. } | Op::Mul | Op::Max | Op::Quotient { .. } => {
            operands[1..].iter().try_fold(x.clone(), |shape, v| {
                shape
                    .broadcast(v.shape)
                    .ok_or_else(|| format!("{shape} and {} do not broadcast", v.shape))
            })
        }
        Op::Shift { .. } | Op::Clamp { .. } | Op::InverseSqrt { .. } => Ok(x.clone()),
        Op::Lut { .. } => {
            let table = &operands[1];
            if !table.constant || table.shape.rank() != 1 || table.shape.elements() > 1 << 16 {
                return Err(
                    "needs a constant table of one axis and at most 65536 entries".to_string(),
                );
            }
            Ok(x.clone())
        }
        Op::Pool { kind, window } => {
            let mut dims = spatial_prefix(x, window)?;
            dims.extend(windows(window, &x.dims()[2..])?);
            // The kernel has no tensor behind it that would limit its size.
            make(
                &window
                    .kernel
                    .iter()
                    .map(|&k| k as usize)
                    .collect::<Vec<_>>(),
            )?;
            let shape = make(&dims)?;
            if *kind == PoolKind::Max
                && (0..window.kernel.len()).any(|i| misses(window, i, x.dim(i + 2)))
            {
                return Err("has a window that holds no element of its operand".to_string());
            }
            Ok(shape)
        }
        Op::Reshape { shape } => {
            if shape.elements() != x.elements() {
                return Err(format!("cannot give {x} the shape {shape}"));
            }
            Ok(shape.clone())
        }
        Op::Transpose { perm } => {
            let mut seen = [false; crate::MAX_RANK];
            for &p in perm {
                if usize::from(p) >= x.rank() || core::mem::replace(&mut seen[usize::from(p)], true)
                {
                    return Err("has no permutation of the axes".to_string());
                }
            }
            if perm.len() != x.rank() {
                return Err("has no permutation of the axes".to_string());
            }
            make(&perm.iter().map(|&p| x.dim(p.into())).collect::<Vec<_>>())
        }
        Op::Slice { start, step, len } => {
            if [start.len(), step.len(), len.len()] != [x.rank(); 3] {
                return Err("needs a start, a step and a length for each axis".to_string());
            }
            for (axis, ((&s, &d), &n)) in start.iter().zip(step).zip(len).enumerate() {
                let last = i64::from(s) + i64::from(d) * (i64::from(n) - 1);
                let dim = x.dim(axis) as i64;
                if d == 0 || n == 0 || i64::from(s) >= dim || !(0..dim).contains(&last) {
                    return Err(format!("leaves axis {axis} of length {dim}"));
                }
            }
            make(&len.iter().map(|&n| n as usize).collect::<Vec<_>>())
        }
        Op::Concat { axis } => {
            let axis = usize::from(*axis);
            if axis >= x.rank() {
                return Err(format!("has no axis {axis} in {x}"));
            }
            let mut dims = x.dims();
            for v in &operands[1..] {
                let other = v.shape.dims();
                if other.len() != dims.len()
                    || (0..dims.len()).any(|i| i != axis && dims[i] != other[i])
                {
                    return Err(format!("cannot join {x} and {} along axis {axis}", v.shape));
                }
                dims[axis] = dims[axis].saturating_add(other[axis]);
            }
            make(&dims)
        }
        Op::Pad { before, after, .. } => {
            if before.len() != x.rank() || after.len() != x.rank() {
                return Err("needs a width before and after for each axis".to_string());
            }
            let dims: Vec<_> = (0..x.rank())
                .map(|i| {
                    // A `usize` may have 32 bits.
                    x.dim(i)
                        .saturating_add(before[i] as usize)
                        .saturating_add(after[i] as usize)
                })
                .collect();
            make(&dims)
        }
        Op::Broadcast { shape } => match x.broadcast(shape) {
            Some(s) if s == *shape => Ok(s),
            _ => Err(format!("cannot broadcast {x} to {shape}")),
        },
        Op::Gather { axis } => {
            let axis = usize::from(*axis);
            if axis >= x.rank() {
                return Err(format!("has no axis {axis} in {x}"));
            }
            let mut dims = x.dims();
            dims.splice(axis..=axis, operands[1].shape.dims());
            make(&dims)
        }
    }
}

fn make(dims: &[usize]) -> Result<Shape, String> {
    Shape::new(dims).map_err(|e| e.to_string())
}

fn remove(x: &Shape, axes: &[u8]) -> Result<Shape, String> {
    if axes.is_empty()
        || !axes.is_sorted_by(|a, b| a < b)
        || axes.iter().any(|&a| usize::from(a) >= x.rank())
    {
        return Err(format!("needs distinct axes of {x} in order"));
    }
    let kept: Vec<_> = (0..x.rank())
        .filter(|&i| !axes.contains(&(i as u8)))
        .map(|i| x.dim(i))
        .collect();
    make(&kept)
}

fn contract(spec: &Contraction, a: &Shape, b: &Shape) -> Result<Shape, String> {
    if spec.a.len() != a.rank() || spec.b.len() != b.rank() {
        return Err("names a number of axes that its operands do not have".to_string());
    }
    let distinct = |labels: &[u8]| (0..labels.len()).all(|i| !labels[..i].contains(&labels[i]));
    if !distinct(&spec.a) || !distinct(&spec.b) || !distinct(&spec.out) {
        return Err("repeats a label within one tensor".to_string());
    }
    let length = |label: &u8| -> Result<usize, String> {
        let of =
            |labels: &[u8], s: &Shape| labels.iter().position(|l| l == label).map(|i| s.dim(i));
        match (of(&spec.a, a), of(&spec.b, b)) {
            (Some(m), Some(n)) if m != n => Err(format!(
                "an axis has length {m} in one operand and {n} in the other"
            )),
            (Some(n), _) | (_, Some(n)) => Ok(n),
            (None, None) => Err("the output names an axis that no operand has".to_string()),
        }
    };
    for label in spec.a.iter().chain(&spec.b) {
        length(label)?;
        let shared = spec.a.contains(label) && spec.b.contains(label);
        if !shared && !spec.out.contains(label) {
            return Err("sums over an axis of one operand only; use `sum` first".to_string());
        }
    }
    make(&spec.out.iter().map(length).collect::<Result<Vec<_>, _>>()?)
}

fn spatial_prefix(x: &Shape, window: &Window) -> Result<Vec<usize>, String> {
    if x.rank() < 3 || window.kernel.len() != x.rank() - 2 {
        return Err(format!(
            "needs an operand [N, C, spatial...] with {} spatial axes, not {x}",
            window.kernel.len()
        ));
    }
    Ok(x.dims()[..2].to_vec())
}

/// Number of window positions along each spatial axis.
fn windows(window: &Window, spatial: &[usize]) -> Result<Vec<usize>, String> {
    let n = window.kernel.len();
    if [
        window.stride.len(),
        window.dilation.len(),
        window.before.len(),
        window.after.len(),
    ] != [n; 4]
    {
        return Err("has window fields of different lengths".to_string());
    }
    (0..n)
        .map(|i| {
            let (k, s, d) = (
                window.kernel[i] as u64,
                window.stride[i] as u64,
                window.dilation[i] as u64,
            );
            let (before, after) = (window.before[i] as u64, window.after[i] as u64);
            if k == 0 || s == 0 || d == 0 {
                return Err("has a kernel, stride or dilation of zero".to_string());
            }
            let extent = d * (k - 1) + 1;
            let padded = spatial[i] as u64 + before + after;
            // A window wholly inside the padding has no meaning for a maximum and hides mistakes in a sum.
            if before >= extent || after >= extent {
                return Err("has padding as wide as its kernel".to_string());
            }
            let positions = padded
                .checked_sub(extent)
                .ok_or("has a kernel larger than its padded operand")?
                / s
                + 1;
            usize::try_from(positions).map_err(|_| ShapeError::Elements.to_string())
        })
        .collect()
}

/// Most window positions that start in the padding, where the dilation exceeds the axis.
const MAX_DILATED_STARTS: u64 = 256;

/// Whether some window position along a spatial axis of length `n` has all its taps in the padding. [`windows`] has
/// accepted the window, so only a position that starts in the padding and steps over the whole axis can. More than
/// [`MAX_DILATED_STARTS`] such positions to look at count as a miss: programs come from strangers, and checking one must
/// not take longer than reading it.
fn misses(window: &Window, axis: usize, n: usize) -> bool {
    let (stride, dilation) = (
        u64::from(window.stride[axis]),
        u64::from(window.dilation[axis]),
    );
    let (before, after) = (
        u64::from(window.before[axis]),
        u64::from(window.after[axis]),
    );
    let n = n as u64;
    let extent = dilation * (u64::from(window.kernel[axis]) - 1) + 1;
    let last = (n + before + after - extent) / stride;
    if dilation <= n {
        return false;
    }
    let starts = before.div_ceil(stride).min(last + 1);
    starts > MAX_DILATED_STARTS
        || (0..starts).map(|p| p * stride).any(|start| {
            // The first tap that is not before the axis. `before < extent` puts it within the kernel.
            let gap = (before - start) % dilation;
            gap != 0 && dilation - gap >= n
        })
}

fn conv(window: &Window, groups: usize, x: &Shape, w: &Shape) -> Result<Shape, String> {
    let prefix = spatial_prefix(x, window)?;
    if w.rank() != x.rank()
        || window
            .kernel
            .iter()
            .zip(&w.dims()[2..])
            .any(|(&k, &d)| k as usize != d)
    {
        return Err(format!("has a kernel that differs from its weights {w}"));
    }
    let (c, m) = (prefix[1], w.dim(0));
    if groups == 0 || c % groups != 0 || m % groups != 0 || w.dim(1) != c / groups {
        return Err(format!("cannot split {x} and {w} into {groups} groups"));
    }
    let mut dims = alloc::vec![prefix[0], m];
    dims.extend(windows(window, &x.dims()[2..])?);
    make(&dims)
}
