//! The graph on real numbers: reference for calibration and for folding constants.
//!
//! Plain binary64 in a fixed order, one thread per sample: the same bits on every machine.

use super::{Graph, GraphOp, expr, expr::Unary};
use carat_program::{Contraction, ConvGeometry, Dtype, Op, PoolKind, Shape, Window};
use thiserror::Error;

/// A graph that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EvalError {
    /// A value became infinite or not a number.
    #[error("`{origin}` gives {value}, which no integer can stand for")]
    NotFinite {
        /// The ONNX node.
        origin: String,
        /// The value.
        value: f64,
    },
    /// An operation has no meaning on these values.
    #[error("{0}")]
    Domain(String),
    /// An input is missing or has another shape.
    #[error("input {index} needs {expected} values, not {found}")]
    Input {
        /// Which input.
        index: usize,
        /// Elements of its shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
}

/// Evaluates the whole graph; calls `see(node, values)` for each node, then drops values that nothing needs any more.
///
/// # Errors
/// [`EvalError`].
pub fn run(
    graph: &Graph,
    inputs: &[Vec<f64>],
    mut see: impl FnMut(usize, &[f64]),
) -> Result<Vec<Vec<f64>>, EvalError> {
    let mut last_use = vec![0usize; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        for &x in &node.inputs {
            last_use[x] = i;
        }
    }
    for out in &graph.outputs {
        last_use[out.node] = usize::MAX;
    }
    let mut values: Vec<Option<Vec<f64>>> = vec![None; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        let value = match &node.op {
            GraphOp::Const(_) => continue,
            GraphOp::Input(index) => {
                let found = inputs.get(*index).map_or(0, Vec::len);
                if found != node.shape.elements() {
                    return Err(EvalError::Input {
                        index: *index,
                        expected: node.shape.elements(),
                        found,
                    });
                }
                inputs[*index].clone()
            }
            op => {
                let operands: Vec<(&Shape, &[f64])> = node
                    .inputs
                    .iter()
                    .map(|&x| {
                        let data = match graph.constant(x) {
                            Some(c) => c.data.as_slice(),
                            None => values[x].as_deref().unwrap_or(&[]),
                        };
                        (&graph.nodes[x].shape, data)
                    })
                    .collect();
                eval_op(op, &operands, &node.shape, node.dtype).map_err(|e| match e {
                    EvalError::Domain(text) => {
                        EvalError::Domain(format!("`{}`: {text}", node.origin))
                    }
                    other => other,
                })?
            }
        };
        if let Some(&bad) = value.iter().find(|v| !v.is_finite()) {
            return Err(EvalError::NotFinite {
                origin: node.origin.to_string(),
                value: bad,
            });
        }
        see(i, &value);
        values[i] = Some(value);
        for &x in &node.inputs {
            if last_use[x] == i {
                values[x] = None;
            }
        }
    }
    Ok(graph
        .outputs
        .iter()
        .map(|o| match graph.constant(o.node) {
            Some(c) => c.data.clone(),
            None => values[o.node].clone().unwrap_or_default(),
        })
        .collect())
}

/// Evaluates one operation.
///
/// # Errors
/// [`EvalError::Domain`] for an index out of range or an integer beyond 2^53.
pub fn eval_op(
    op: &GraphOp,
    operands: &[(&Shape, &[f64])],
    out: &Shape,
    dtype: Dtype,
) -> Result<Vec<f64>, EvalError> {
    let zip = |f: &dyn Fn(f64, f64) -> f64| {
        let mut result = broadcast(operands[0], out);
        for &operand in &operands[1..] {
            for (r, v) in result.iter_mut().zip(broadcast(operand, out)) {
                *r = f(*r, v);
            }
        }
        result
    };
    let (shape, x) = operands.first().copied().unwrap_or((out, &[]));
    let mut result = match op {
        GraphOp::Input(_) | GraphOp::Const(_) => {
            return Err(EvalError::Domain(
                "inputs and constants are not operations".into(),
            ));
        }
        GraphOp::Linear { coefficients, bias } => {
            let mut result = vec![*bias; out.elements()];
            for (&operand, &c) in operands.iter().zip(coefficients) {
                for (r, v) in result.iter_mut().zip(broadcast(operand, out)) {
                    *r += c * v;
                }
            }
            result
        }
        GraphOp::Func(f) => x.iter().map(|&v| f.eval(v)).collect(),
        GraphOp::Div => zip(&|a, b| a / b),
        GraphOp::IntDiv => {
            let result = zip(&|a, b| libm::trunc(a / b));
            if result.iter().any(|v| !v.is_finite()) {
                return Err(EvalError::Domain("integer division by zero".into()));
            }
            result
        }
        GraphOp::OneHot(depth) => x
            .iter()
            .flat_map(|&v| (0..*depth).map(move |i| f64::from(u8::from(v == i as f64))))
            .collect(),
        GraphOp::Pad {
            before,
            after: _,
            value,
        } => pad(shape, x, before, *value, out),
        GraphOp::Prim(op) => prim(op, operands, out)?,
    };
    if arithmetic(op) && !dtype.is_float() {
        for v in &mut result {
            if v.abs() > 9_007_199_254_740_992.0 {
                return Err(EvalError::Domain(
                    "an integer beyond 2^53, where calibration is not exact".into(),
                ));
            }
            *v = expr::unary(Unary::Wrap(dtype), *v);
        }
    }
    Ok(result)
}

/// Whether an operation on integers can leave its element type, and then wraps.
pub(crate) fn arithmetic(op: &GraphOp) -> bool {
    matches!(
        op,
        GraphOp::Linear { .. }
            | GraphOp::IntDiv
            | GraphOp::Prim(Op::Mul | Op::Sum { .. } | Op::Contract { .. } | Op::Conv { .. })
    )
}

/// Calls `f(output index, operand offset)` for each output element, walking the operand with the given strides.
fn walk(out: &[usize], strides: &[isize], start: isize, mut f: impl FnMut(isize)) {
    let mut index = vec![0usize; out.len()];
    let mut at = start;
    let total: usize = out.iter().product();
    for _ in 0..total {
        f(at);
        for axis in (0..out.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < out[axis] {
                break;
            }
            at -= strides[axis] * out[axis] as isize;
            index[axis] = 0;
        }
    }
}

fn broadcast((shape, data): (&Shape, &[f64]), out: &Shape) -> Vec<f64> {
    if shape == out {
        return data.to_vec();
    }
    let strides: Vec<isize> = shape
        .broadcast_strides(out)
        .iter()
        .map(|&s| s as isize)
        .collect();
    let mut result = Vec::with_capacity(out.elements());
    walk(&out.dims(), &strides, 0, |at| {
        result.push(data[at as usize])
    });
    result
}

fn pad(shape: &Shape, x: &[f64], before: &[u32], value: f64, out: &Shape) -> Vec<f64> {
    let mut result = vec![value; out.elements()];
    let strides: Vec<isize> = out.strides().iter().map(|&s| s as isize).collect();
    let start = strides
        .iter()
        .zip(before)
        .map(|(s, &b)| s * b as isize)
        .sum();
    let mut values = x.iter();
    walk(&shape.dims(), &strides, start, |at| {
        if let Some(&v) = values.next() {
            result[at as usize] = v;
        }
    });
    result
}

fn prim(op: &Op, operands: &[(&Shape, &[f64])], out: &Shape) -> Result<Vec<f64>, EvalError> {
    let (shape, x) = operands[0];
    let strides = || {
        shape
            .strides()
            .iter()
            .map(|&s| s as isize)
            .collect::<Vec<_>>()
    };
    Ok(match op {
        Op::Contract { spec, .. } => contract(spec, operands[0], operands[1], out),
        Op::Conv { geometry, .. } => conv(geometry, operands[0], operands[1], out),
        Op::Sum { axes } => reduce(shape, x, axes, 0.0, |a, b| a + b),
        Op::ReduceMax { axes } => reduce(shape, x, axes, f64::NEG_INFINITY, f64::max),
        Op::ArgMax { axis } => {
            let axis = usize::from(*axis);
            let inner: usize = shape.dims()[axis + 1..].iter().product();
            let n = shape.dim(axis);
            let mut result = Vec::with_capacity(out.elements());
            for o in 0..shape.elements() / (n * inner) {
                for i in 0..inner {
                    let at = |k: usize| x[(o * n + k) * inner + i];
                    let best = (1..n).fold(0, |best, k| if at(k) > at(best) { k } else { best });
                    result.push(best as f64);
                }
            }
            result
        }
        Op::Mul | Op::Max => {
            let mut result = broadcast(operands[0], out);
            for (r, v) in result.iter_mut().zip(broadcast(operands[1], out)) {
                *r = if *op == Op::Mul { *r * v } else { r.max(v) };
            }
            result
        }
        Op::Pool { kind, window } => pool(*kind, window, shape, x, out),
        Op::Reshape { .. } => x.to_vec(),
        Op::Broadcast { .. } => broadcast(operands[0], out),
        Op::Transpose { perm } => {
            let own = strides();
            let strides: Vec<isize> = perm.iter().map(|&p| own[usize::from(p)]).collect();
            let mut result = Vec::with_capacity(x.len());
            walk(&out.dims(), &strides, 0, |at| result.push(x[at as usize]));
            result
        }
        Op::Slice { start, step, .. } => {
            let own = strides();
            let first = own.iter().zip(start).map(|(s, &b)| s * b as isize).sum();
            let strides: Vec<isize> = own.iter().zip(step).map(|(s, &d)| s * d as isize).collect();
            let mut result = Vec::with_capacity(out.elements());
            walk(&out.dims(), &strides, first, |at| {
                result.push(x[at as usize])
            });
            result
        }
        Op::Concat { axis } => {
            let axis = usize::from(*axis);
            let outer: usize = out.dims()[..axis].iter().product();
            let mut result = Vec::with_capacity(out.elements());
            for o in 0..outer {
                for (s, data) in operands {
                    let chunk = s.elements() / outer;
                    result.extend_from_slice(&data[o * chunk..(o + 1) * chunk]);
                }
            }
            result
        }
        Op::Gather { axis } => {
            let axis = usize::from(*axis);
            let (n, inner) = (
                shape.dim(axis),
                shape.dims()[axis + 1..].iter().product::<usize>(),
            );
            let outer: usize = shape.dims()[..axis].iter().product();
            let mut result = Vec::with_capacity(out.elements());
            for o in 0..outer {
                for &i in operands[1].1 {
                    if !(0.0..n as f64).contains(&i) {
                        return Err(EvalError::Domain(format!(
                            "index {i} outside an axis of length {n}"
                        )));
                    }
                    let at = (o * n + i as usize) * inner;
                    result.extend_from_slice(&x[at..at + inner]);
                }
            }
            result
        }
        other => {
            return Err(EvalError::Domain(format!(
                "`{}` has no real meaning",
                other.name()
            )));
        }
    })
}

fn reduce(
    shape: &Shape,
    x: &[f64],
    axes: &[u8],
    init: f64,
    f: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let dims = shape.dims();
    let kept: usize = (0..dims.len())
        .filter(|&a| !axes.contains(&(a as u8)))
        .map(|a| dims[a])
        .product();
    let mut strides = vec![0isize; dims.len()];
    let mut step = 1;
    for axis in (0..dims.len()).rev() {
        if !axes.contains(&(axis as u8)) {
            strides[axis] = step;
            step *= dims[axis] as isize;
        }
    }
    let mut result = vec![init; kept];
    let mut values = x.iter();
    walk(&dims, &strides, 0, |at| {
        if let Some(&v) = values.next() {
            let r = &mut result[at as usize];
            *r = f(*r, v);
        }
    });
    result
}

fn contract(spec: &Contraction, a: (&Shape, &[f64]), b: (&Shape, &[f64]), out: &Shape) -> Vec<f64> {
    // Strides of every label in both operands; output labels outside, summed labels inside.
    let stride = |labels: &[u8], shape: &Shape, label: u8| -> isize {
        labels
            .iter()
            .position(|&l| l == label)
            .map_or(0, |axis| shape.strides()[axis] as isize)
    };
    let summed: Vec<u8> = spec
        .a
        .iter()
        .copied()
        .filter(|l| !spec.out.contains(l))
        .collect();
    let of = |labels: &[u8]| -> (Vec<isize>, Vec<isize>) {
        (
            labels.iter().map(|&l| stride(&spec.a, a.0, l)).collect(),
            labels.iter().map(|&l| stride(&spec.b, b.0, l)).collect(),
        )
    };
    let (outer_a, outer_b) = of(&spec.out);
    let (inner_a, inner_b) = of(&summed);
    let inner_dims: Vec<usize> = summed
        .iter()
        .map(|&l| a.0.dim(spec.a.iter().position(|&x| x == l).unwrap_or(0)))
        .collect();
    let offsets = |strides: &[isize]| {
        let mut v = Vec::new();
        walk(&inner_dims, strides, 0, |at| v.push(at));
        v
    };
    let (in_a, in_b) = (offsets(&inner_a), offsets(&inner_b));
    let (mut starts_a, mut starts_b) = (Vec::new(), Vec::new());
    walk(&out.dims(), &outer_a, 0, |at| starts_a.push(at));
    walk(&out.dims(), &outer_b, 0, |at| starts_b.push(at));
    starts_a
        .iter()
        .zip(&starts_b)
        .map(|(&sa, &sb)| {
            in_a.iter()
                .zip(&in_b)
                .map(|(&i, &j)| a.1[(sa + i) as usize] * b.1[(sb + j) as usize])
                .sum()
        })
        .collect()
}

/// Calls `f(position, tap, offset into the plane)` for each tap of each window position that lies inside the operand.
fn taps(
    window: &Window,
    spatial: &[usize],
    positions: &[usize],
    mut f: impl FnMut(usize, usize, usize),
) {
    let rank = spatial.len();
    let kernel: Vec<usize> = window.kernel.iter().map(|&k| k as usize).collect();
    let (count, size): (usize, usize) = (positions.iter().product(), kernel.iter().product());
    for p in 0..count {
        for t in 0..size {
            let (mut rest_p, mut rest_t, mut at, mut step, mut inside) =
                (p, t, 0usize, 1usize, true);
            for axis in (0..rank).rev() {
                let (pi, ti) = (rest_p % positions[axis], rest_t % kernel[axis]);
                rest_p /= positions[axis];
                rest_t /= kernel[axis];
                let i = (pi * window.stride[axis] as usize + ti * window.dilation[axis] as usize)
                    as i64
                    - i64::from(window.before[axis]);
                if i < 0 || i >= spatial[axis] as i64 {
                    inside = false;
                    break;
                }
                at += i as usize * step;
                step *= spatial[axis];
            }
            if inside {
                f(p, t, at);
            }
        }
    }
}

fn conv(
    geometry: &ConvGeometry,
    x: (&Shape, &[f64]),
    w: (&Shape, &[f64]),
    out: &Shape,
) -> Vec<f64> {
    let (xd, wd, od) = (x.0.dims(), w.0.dims(), out.dims());
    let (spatial, positions) = (&xd[2..], &od[2..]);
    let (plane, area): (usize, usize) = (spatial.iter().product(), positions.iter().product());
    let size: usize = wd[2..].iter().product();
    let (groups, m_group) = (geometry.groups as usize, wd[0] / geometry.groups as usize);
    // Runs of positions that one tap reads contiguously: (tap, first position, first offset, length).
    let mut runs: Vec<(usize, usize, usize, usize)> = Vec::new();
    let mut list = Vec::new();
    taps(&geometry.window, spatial, positions, |p, t, at| {
        list.push((t, p, at))
    });
    list.sort_unstable();
    for (t, p, at) in list {
        match runs.last_mut() {
            Some(r) if r.0 == t && r.1 + r.3 == p && r.2 + r.3 == at => r.3 += 1,
            _ => runs.push((t, p, at, 1)),
        }
    }
    let mut result = vec![0.0; out.elements()];
    for n in 0..xd[0] {
        for g in 0..groups {
            for m in g * m_group..(g + 1) * m_group {
                let row = &mut result[(n * wd[0] + m) * area..][..area];
                for c in 0..wd[1] {
                    let xs = &x.1[(n * xd[1] + g * wd[1] + c) * plane..][..plane];
                    let ws = &w.1[(m * wd[1] + c) * size..][..size];
                    for &(t, p, at, len) in &runs {
                        let weight = ws[t];
                        for (r, v) in row[p..p + len].iter_mut().zip(&xs[at..at + len]) {
                            *r += v * weight;
                        }
                    }
                }
            }
        }
    }
    result
}

fn pool(kind: PoolKind, window: &Window, shape: &Shape, x: &[f64], out: &Shape) -> Vec<f64> {
    let (xd, od) = (shape.dims(), out.dims());
    let (plane, area): (usize, usize) = (xd[2..].iter().product(), od[2..].iter().product());
    let init = if kind == PoolKind::Max {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    let mut result = vec![init; out.elements()];
    taps(window, &xd[2..], &od[2..], |p, _, at| {
        for channel in 0..xd[0] * xd[1] {
            let (r, v) = (&mut result[channel * area + p], x[channel * plane + at]);
            *r = if kind == PoolKind::Max {
                r.max(v)
            } else {
                *r + v
            };
        }
    });
    result
}
