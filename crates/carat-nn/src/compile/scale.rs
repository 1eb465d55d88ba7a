//! Choosing exponents, and absorbing affine maps at the inputs.

use crate::graph::{Graph, GraphOp, Id, dtype_range};
use carat_program::{Dtype, Op, Range};
use std::collections::{BTreeMap, BTreeSet};

/// The largest exponent at which `largest` still fits `bits` bits beside the sign.
pub(super) fn exponent_for(largest: f64, bits: u8) -> i32 {
    if largest <= 0.0 || !largest.is_finite() {
        return i32::from(bits);
    }
    fitting(largest, f64::from((1u32 << bits) - 1))
}

/// The largest exponent at which `largest` exceeds `bits` bits beside the sign by at most one unit.
pub(super) fn exponent_saturating(largest: f64, bits: u8) -> i32 {
    if largest <= 0.0 || !largest.is_finite() {
        return i32::from(bits);
    }
    fitting(largest, f64::from(1u32 << bits))
}

/// The largest exponent at which `largest` is at most `top`.
fn fitting(largest: f64, top: f64) -> i32 {
    let (_, e) = libm::frexp(top / largest);
    // top / largest lies in [2^(e-1), 2^e).
    e - 1
}

/// The range of an integer input: its whole type where that is narrow, else the calibrated range widened to a power
/// of two. Values outside are refused when the program runs.
pub(super) fn integer_range(dtype: Dtype, lo: f64, hi: f64) -> Range {
    if let Some((a, b)) = dtype_range(dtype).filter(|(a, b)| b - a <= 255.0) {
        return Range::new(a as i64, b as i64);
    }
    let largest = lo.abs().max(hi.abs()).max(1.0);
    if largest > 1e15 {
        return Range::new(i64::MIN, i64::MAX);
    }
    let top = (largest as u64 + 1).next_power_of_two() as i64;
    let top = if top - 1 > carat_program::HALF && largest <= carat_program::HALF as f64 {
        carat_program::HALF
    } else {
        top - 1
    };
    Range::new(if lo < 0.0 { -top } else { 0 }, top)
}

/// The best power-of-two exponent for constants in `bits` bits (sign included), by squared error: clipping an outlier
/// can cost less than a coarser unit. Values that fit exactly are kept exact.
pub(super) fn quantise(data: &[f64], bits: u8) -> (Vec<i32>, i32) {
    let largest = data.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let top = f64::from((1u32 << (bits - 1)) - 1);
    if largest == 0.0 {
        return (vec![0; data.len()], 0);
    }
    let at = |e: i32| -> Vec<i32> {
        data.iter()
            .map(|&v| libm::rint(libm::ldexp(v, e)).clamp(-top, top) as i32)
            .collect()
    };
    let widest = exponent_for(largest, bits - 1);
    // Exact with a coarser unit?
    for e in (widest - i32::from(bits)).min(0)..=widest {
        if data.iter().all(|&v| libm::ldexp(v, e).fract() == 0.0) {
            return (at(e), e);
        }
    }
    let error = |e: i32| -> f64 {
        at(e)
            .iter()
            .zip(data)
            .map(|(&q, &v)| {
                let d = libm::ldexp(q.into(), -e) - v;
                d * d
            })
            .sum()
    };
    let e = if bits <= 10 && error(widest + 1) < error(widest) {
        widest + 1
    } else {
        widest
    };
    (at(e), e)
}

/// An affine map per feature, applied where the input is encoded.
pub(super) struct EdgeMap {
    /// The graph node whose value the encoded input is.
    pub(super) node: Id,
    /// `(x - offset) * scale`.
    pub(super) offset: Vec<f64>,
    pub(super) scale: Vec<f64>,
}

/// Inputs with a map of their own, and the graph nodes that it replaces.
#[derive(Default)]
pub(super) struct EdgeMaps {
    pub(super) maps: BTreeMap<Id, EdgeMap>,
    pub(super) inner: BTreeSet<Id>,
}

/// Which nodes use each node.
pub(super) fn users(graph: &Graph) -> Vec<Vec<Id>> {
    let mut users: Vec<Vec<Id>> = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for &x in &node.inputs {
            users[x].push(id);
        }
    }
    users
}

/// Finds real inputs whose only use is a chain of per-feature affine maps (standardisation): features of very different
/// scale would lose precision under one common exponent.
pub(super) fn edge_maps(graph: &Graph) -> EdgeMaps {
    let users = users(graph);
    let is_output = |id: Id| graph.outputs.iter().any(|o| o.node == id);
    let mut found = EdgeMaps::default();
    for input in &graph.inputs {
        let shape = &graph.nodes[input.node].shape;
        if !graph.nodes[input.node].dtype.is_float() {
            continue;
        }
        let n = shape.elements();
        let (mut scale, mut shift) = (vec![1.0; n], vec![0.0; n]);
        let (mut at, mut chain) = (input.node, Vec::new());
        while let [next] = users[at][..] {
            let node = &graph.nodes[next];
            if is_output(at) || node.shape != *shape {
                break;
            }
            let spread = |id: Id| -> Option<Vec<f64>> {
                let c = graph.constant(id)?;
                let strides = graph.nodes[id].shape.broadcast_strides(shape);
                let own = shape.strides();
                Some(
                    (0..n)
                        .map(|i| {
                            let k: usize = (0..shape.rank())
                                .map(|a| i / own[a] % shape.dim(a) * strides[a])
                                .sum();
                            c.data[k]
                        })
                        .collect(),
                )
            };
            let (k, add): (Vec<f64>, Vec<f64>) = match (&node.op, &node.inputs[..]) {
                (GraphOp::Linear { coefficients, bias }, &[_]) => {
                    (vec![coefficients[0]; n], vec![*bias; n])
                }
                (GraphOp::Linear { coefficients, bias }, &[a, b]) => {
                    let (other, cx, cc) = if a == at {
                        (b, coefficients[0], coefficients[1])
                    } else {
                        (a, coefficients[1], coefficients[0])
                    };
                    let Some(values) = spread(other) else { break };
                    (vec![cx; n], values.iter().map(|v| v * cc + bias).collect())
                }
                (GraphOp::Prim(Op::Mul), &[a, b]) => {
                    let Some(values) = spread(if a == at { b } else { a }) else {
                        break;
                    };
                    (values, vec![0.0; n])
                }
                _ => break,
            };
            for i in 0..n {
                scale[i] *= k[i];
                shift[i] = shift[i] * k[i] + add[i];
            }
            chain.push(at);
            at = next;
        }
        let usable =
            scale.iter().all(|s| *s != 0.0 && s.is_finite()) && shift.iter().all(|s| s.is_finite());
        let uniform = scale.iter().all(|s| *s == scale[0]) && shift.iter().all(|s| *s == shift[0]);
        if chain.is_empty() || !usable || uniform {
            continue;
        }
        let offset: Vec<f64> = shift.iter().zip(&scale).map(|(t, s)| -t / s).collect();
        // Store one period only.
        let period = (1..=n)
            .filter(|p| n.is_multiple_of(*p))
            .find(|&p| (0..n).all(|i| offset[i] == offset[i % p] && scale[i] == scale[i % p]));
        let p = period.unwrap_or(n);
        found.inner.extend(&chain);
        found.maps.insert(
            input.node,
            EdgeMap {
                node: at,
                offset: offset[..p].to_vec(),
                scale: scale[..p].to_vec(),
            },
        );
    }
    found
}
