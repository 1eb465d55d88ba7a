//! Rewrites that make a graph cheaper and more exact to compile. None changes its real meaning.

use super::{Array, Expr, Graph, GraphError, GraphOp, Id};
use carat_program::{Op, Shape};
use std::{collections::HashMap, sync::Arc};

/// Largest expression that fusion builds.
const MAX_EXPR: usize = 400;

/// All rewrites, then removal of what nothing needs.
///
/// # Errors
/// [`GraphError`] when folding weights gives a value that cannot be used.
pub fn simplify(graph: Graph) -> Result<Graph, GraphError> {
    let graph = fold_scales(graph)?;
    let graph = one_hot_products(graph);
    let graph = fuse_pointwise(graph);
    Ok(sweep(graph))
}

fn uses(graph: &Graph) -> Vec<usize> {
    let mut n = vec![0; graph.nodes.len()];
    for node in &graph.nodes {
        for &x in &node.inputs {
            n[x] += 1;
        }
    }
    for out in &graph.outputs {
        n[out.node] += 1;
    }
    n
}

/// `conv(x, w) * k` with a constant `k` per output channel becomes `conv(x, w * k)`; likewise for matrix products, and
/// through one addition of a constant: `(conv(x, w) + b) * k = conv(x, w * k) + b * k`.
fn fold_scales(mut graph: Graph) -> Result<Graph, GraphError> {
    let count = uses(&graph);
    for id in 0..graph.nodes.len() {
        let (x, k) = match (&graph.nodes[id].op, &graph.nodes[id].inputs[..]) {
            (GraphOp::Prim(Op::Mul), &[a, b])
                if graph.constant(b).is_some() && graph.constant(a).is_none() =>
            {
                (a, Scale::Array(b))
            }
            (GraphOp::Prim(Op::Mul), &[a, b])
                if graph.constant(a).is_some() && graph.constant(b).is_none() =>
            {
                (b, Scale::Array(a))
            }
            (
                GraphOp::Linear {
                    coefficients,
                    bias: 0.0,
                },
                &[a],
            ) if coefficients[0] != 1.0 => (a, Scale::Uniform(coefficients[0])),
            _ => continue,
        };
        if count[x] != 1
            || !graph.nodes[id].dtype.is_float()
            || graph.nodes[x].shape != graph.nodes[id].shape
        {
            continue;
        }
        // Look through one addition of a constant.
        let (product, addend) = match (&graph.nodes[x].op, &graph.nodes[x].inputs[..]) {
            (
                GraphOp::Linear {
                    coefficients,
                    bias: 0.0,
                },
                &[p, b],
            ) if coefficients[..] == [1.0, 1.0] && graph.constant(b).is_some() && count[p] == 1 => {
                (p, Some(b))
            }
            _ => (x, None),
        };
        let Some(weights) = scaled_weights(&graph, product, &k)? else {
            continue;
        };
        let origin = graph.nodes[product].origin.clone();
        // The new constants are appended, then put in place by replacing the scaled node and re-sorting.
        let w = graph.add_constant(Arc::new(weights), &origin)?;
        let (op, mut inputs) = (
            graph.nodes[product].op.clone(),
            graph.nodes[product].inputs.clone(),
        );
        inputs[1] = w;
        match addend {
            None => {
                graph.nodes[id].op = op;
                graph.nodes[id].inputs = inputs;
            }
            Some(b) => {
                let dtype = graph.nodes[id].dtype;
                let scaled = match &k {
                    Scale::Uniform(c) => graph.add(
                        GraphOp::Linear {
                            coefficients: vec![*c],
                            bias: 0.0,
                        },
                        vec![b],
                        dtype,
                        &origin,
                    )?,
                    Scale::Array(a) => {
                        graph.add(GraphOp::Prim(Op::Mul), vec![b, *a], dtype, &origin)?
                    }
                };
                graph.nodes[x].op = op;
                graph.nodes[x].inputs = inputs;
                graph.nodes[id].op = GraphOp::Linear {
                    coefficients: vec![1.0, 1.0],
                    bias: 0.0,
                };
                graph.nodes[id].inputs = vec![x, scaled];
            }
        }
    }
    Ok(graph)
}

enum Scale {
    Uniform(f64),
    Array(Id),
}

/// The weights of a product scaled per output channel, if its second operand is constant and the scale fits.
fn scaled_weights(graph: &Graph, product: Id, k: &Scale) -> Result<Option<Array>, GraphError> {
    let node = &graph.nodes[product];
    let &[x, w] = &node.inputs[..] else {
        return Ok(None);
    };
    let (Some(weights), None) = (graph.constant(w), graph.constant(x)) else {
        return Ok(None);
    };
    let out = &node.shape;
    // Which axis of the weights runs along which axis of the output.
    let axes: Vec<(usize, usize)> = match &node.op {
        GraphOp::Prim(Op::Conv { .. }) => vec![(0, 1)],
        GraphOp::Prim(Op::Contract { spec, .. }) => spec
            .b
            .iter()
            .enumerate()
            .filter_map(|(i, l)| spec.out.iter().position(|m| m == l).map(|o| (i, o)))
            .collect(),
        _ => return Ok(None),
    };
    let scale: Vec<f64> = match k {
        Scale::Uniform(c) => vec![*c; weights.data.len()],
        Scale::Array(a) => {
            let (Some(values), shape) = (graph.constant(*a), &graph.nodes[*a].shape) else {
                return Ok(None);
            };
            // The scale may vary only along axes that the weights have.
            let strides = shape.broadcast_strides(out);
            if shape.broadcast(out).as_ref() != Some(out)
                || strides
                    .iter()
                    .enumerate()
                    .any(|(o, &s)| s != 0 && !axes.iter().any(|&(_, x)| x == o))
            {
                return Ok(None);
            }
            let own = Shape::new(&weights.dims).map_err(|e| GraphError(e.to_string()))?;
            let steps = own.strides();
            (0..weights.data.len())
                .map(|i| {
                    let at: usize = axes
                        .iter()
                        .map(|&(w, o)| (i / steps[w] % own.dim(w)) * strides[o])
                        .sum();
                    values.data[at]
                })
                .collect()
        }
    };
    let data: Vec<f64> = weights
        .data
        .iter()
        .zip(&scale)
        .map(|(w, s)| w * s)
        .collect();
    Ok(Some(Array {
        dims: weights.dims.clone(),
        data,
        dtype: weights.dtype,
    }))
}

/// A product of a one-hot encoding and a constant matrix selects rows.
///
/// Two spellings are recognised: the `OneHot` operation, and equality against `0..n` along the last axis.
fn one_hot_products(mut graph: Graph) -> Graph {
    for id in 0..graph.nodes.len() {
        let GraphOp::Prim(Op::Contract { spec, .. }) = &graph.nodes[id].op else {
            continue;
        };
        let &[hot, w] = &graph.nodes[id].inputs[..] else {
            continue;
        };
        let shape = &graph.nodes[hot].shape;
        let last = spec.a.len() - 1;
        let rows = spec.a[last];
        let plain = graph.constant(w).is_some()
            && spec.b.len() == 2
            && spec.b[0] == rows
            && spec.out[..] == [&spec.a[..last], &spec.b[1..]].concat()[..];
        if !plain {
            continue;
        }
        let Some(index) = one_hot_index(&graph, hot, shape.dim(last)) else {
            continue;
        };
        if graph.nodes[index].shape.elements() * shape.dim(last) != shape.elements() {
            continue;
        }
        graph.nodes[id].op = GraphOp::Prim(Op::Gather { axis: 0 });
        graph.nodes[id].inputs = vec![w, index];
        let mut dims = graph.nodes[index].shape.dims();
        dims.push(graph.nodes[w].shape.dim(1));
        if Some(&graph.nodes[id].shape) != Shape::new(&dims).ok().as_ref() {
            // The index has other axes than the product wants: reshape it.
            let (mut want, origin) = (graph.nodes[id].shape.dims(), graph.nodes[id].origin.clone());
            want.pop();
            let Ok(shape) = Shape::new(&want) else {
                continue;
            };
            let dtype = graph.nodes[index].dtype;
            let moved = graph.push(
                GraphOp::Prim(Op::Reshape {
                    shape: shape.clone(),
                }),
                vec![index],
                shape,
                dtype,
                &origin,
            );
            graph.nodes[id].inputs[1] = moved;
        }
    }
    graph
}

/// The integer node whose one-hot encoding over `0..n` this is.
fn one_hot_index(graph: &Graph, id: Id, n: usize) -> Option<Id> {
    match (&graph.nodes[id].op, &graph.nodes[id].inputs[..]) {
        (GraphOp::OneHot(depth), &[x]) if *depth == n => Some(x),
        // A change of element type alone.
        (
            GraphOp::Linear {
                coefficients,
                bias: 0.0,
            },
            &[x],
        ) if coefficients[..] == [1.0] => one_hot_index(graph, x, n),
        // x - iota, clamped to -1..1, compared with zero.
        (GraphOp::Func(f), &[d]) if **f == Expr::X.with(super::Binary::Equal, 0.0) => {
            let (GraphOp::Func(clamp), &[d]) = (&graph.nodes[d].op, &graph.nodes[d].inputs[..])
            else {
                return None;
            };
            if clamp.as_clamp() != Some((-1.0, 1.0)) {
                return None;
            }
            let (
                GraphOp::Linear {
                    coefficients,
                    bias: 0.0,
                },
                &[a, b],
            ) = (&graph.nodes[d].op, &graph.nodes[d].inputs[..])
            else {
                return None;
            };
            let (x, iota) = match coefficients[..] {
                [1.0, -1.0] if graph.constant(b).is_some() => (a, b),
                [1.0, -1.0] if graph.constant(a).is_some() => (b, a),
                _ => return None,
            };
            let counts = graph.constant(iota)?;
            let is_iota = counts.data.len() == n
                && counts.data.iter().enumerate().all(|(i, &v)| v == i as f64);
            let last = graph.nodes[x].shape.dims().last().copied() == Some(1);
            (is_iota && last && graph.nodes[iota].shape.dims().last() == Some(&n)).then_some(x)
        }
        _ => None,
    }
}

/// Chains of elementwise functions of one value become one function of that value: one table instead of many.
fn fuse_pointwise(mut graph: Graph) -> Graph {
    // For each node: the value it is a function of, and the function.
    let mut known: Vec<(Id, Arc<Expr>)> = Vec::with_capacity(graph.nodes.len());
    for id in 0..graph.nodes.len() {
        let fused = fused(&graph, id, &known);
        if let Some((base, expr)) = &fused {
            let node = &graph.nodes[id];
            let own =
                matches!(&node.op, GraphOp::Func(f) if node.inputs[0] == *base && **f == **expr);
            let cheap = matches!(&node.op, GraphOp::Linear { .. }) && node.inputs.len() == 1;
            let clamp = matches!(&node.op, GraphOp::Func(f) if f.as_clamp().is_some());
            if !own && !cheap && !clamp {
                graph.nodes[id].op = GraphOp::Func(expr.clone());
                graph.nodes[id].inputs = vec![*base];
            }
        }
        known.push(fused.unwrap_or_else(|| (id, Arc::new(Expr::X))));
    }
    graph
}

fn fused(graph: &Graph, id: Id, known: &[(Id, Arc<Expr>)]) -> Option<(Id, Arc<Expr>)> {
    use super::Binary as B;
    let node = &graph.nodes[id];
    // An operand as an expression in a common base, or a uniform constant.
    let mut base = None;
    let mut operand = |x: Id| -> Option<Arc<Expr>> {
        if let Some(c) = graph.constant(x) {
            return c.uniform().map(|v| Arc::new(Expr::C(v)));
        }
        // Integers stay exact only step by step, and an integer clamp is what makes a wide value fit a table.
        let at_clamp = !graph.nodes[x].dtype.is_float()
            && matches!(&graph.nodes[x].op, GraphOp::Func(f) if f.as_clamp().is_some());
        let arithmetic_on_integers =
            !graph.nodes[x].dtype.is_float() && super::eval::arithmetic(&graph.nodes[x].op);
        let (b, e) = if at_clamp || arithmetic_on_integers || x >= known.len() {
            (x, Arc::new(Expr::X))
        } else {
            known[x].clone()
        };
        if *base.get_or_insert(b) != b {
            return None;
        }
        Some(e)
    };
    let expr = match &node.op {
        GraphOp::Func(f) => {
            let inner = operand(node.inputs[0])?;
            f.compose(&inner)
        }
        GraphOp::Linear { coefficients, bias } if node.dtype.is_float() => {
            let mut sum = Expr::C(*bias);
            for (&x, &c) in node.inputs.iter().zip(coefficients) {
                let term = Expr::Bin(B::Mul, operand(x)?, Arc::new(Expr::C(c)));
                sum = Expr::Bin(B::Add, Arc::new(sum), Arc::new(term));
            }
            Arc::new(sum)
        }
        GraphOp::Prim(Op::Mul) if node.dtype.is_float() => Arc::new(Expr::Bin(
            B::Mul,
            operand(node.inputs[0])?,
            operand(node.inputs[1])?,
        )),
        GraphOp::Prim(Op::Max) => Arc::new(Expr::Bin(
            B::Max,
            operand(node.inputs[0])?,
            operand(node.inputs[1])?,
        )),
        GraphOp::Div => Arc::new(Expr::Bin(
            B::Div,
            operand(node.inputs[0])?,
            operand(node.inputs[1])?,
        )),
        _ => return None,
    };
    let base = base?;
    // Broadcasting would make it a function of another shape.
    if graph.nodes[base].shape != node.shape || expr.size() > MAX_EXPR {
        return None;
    }
    Some((base, expr))
}

/// Keeps what the outputs need, in an order in which it can be computed.
fn sweep(graph: Graph) -> Graph {
    let mut order = Vec::new();
    let mut state = vec![0u8; graph.nodes.len()];
    // Inputs keep their places, used or not.
    let roots = graph
        .inputs
        .iter()
        .map(|i| i.node)
        .chain(graph.outputs.iter().map(|o| o.node));
    for root in roots {
        let mut stack = vec![root];
        while let Some(&id) = stack.last() {
            if state[id] == 2 {
                stack.pop();
                continue;
            }
            state[id] = 1;
            let missing: Vec<Id> = graph.nodes[id]
                .inputs
                .iter()
                .copied()
                .filter(|&x| state[x] == 0)
                .collect();
            if missing.is_empty() {
                state[id] = 2;
                order.push(id);
                stack.pop();
            } else {
                stack.extend(missing.into_iter().rev());
            }
        }
    }
    let place: HashMap<Id, Id> = order
        .iter()
        .enumerate()
        .map(|(new, &old)| (old, new))
        .collect();
    let mut nodes = graph.nodes;
    let mut kept = Vec::with_capacity(order.len());
    for &old in &order {
        let mut node = nodes[old].clone();
        node.inputs.iter_mut().for_each(|x| *x = place[x]);
        kept.push(node);
    }
    nodes.clear();
    let mut graph = Graph {
        nodes: kept,
        inputs: graph.inputs,
        outputs: graph.outputs,
    };
    graph
        .inputs
        .iter_mut()
        .for_each(|i| i.node = place[&i.node]);
    graph
        .outputs
        .iter_mut()
        .for_each(|o| o.node = place[&o.node]);
    graph
}
