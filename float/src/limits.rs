//! What is refused before the engine sees it: by names and reasons, where the engine would guess, read files, or draw numbers.

use std::collections::BTreeSet;

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataLocation,
};

use crate::wrong::Known;

/// Most nodes of a model, those of inner graphs included.
const MAX_NODES: usize = 20_000;
/// Deepest nesting of inner graphs.
const MAX_DEPTH: usize = 8;
/// The operator sets that the engine was tested with; ONNX 1.17 has 22.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=22;

/// Operators whose result depends on a generator of random numbers.
const RANDOM: [&str; 7] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "RandomCategorical",
];

/// Checks a model and everything in it.
///
/// # Errors
/// The node or tensor at fault, and why.
pub(crate) fn check(model: &ModelProto) -> Result<(), String> {
    let mut default = None;
    for set in &model.opset_import {
        match set.domain.as_str() {
            "" | "ai.onnx" if default.is_some() => {
                return Err("the default operator set is imported twice".into());
            }
            "" | "ai.onnx" => default = Some(set.version),
            // Without a node of it, an import means nothing; nodes are checked.
            _ => {}
        }
    }
    match default {
        None => {
            return Err("no version of the default operator set is imported".into());
        }
        Some(version) if !OPSETS.contains(&version) => {
            return Err(format!(
                "the model uses operator set {version}; {} to {} are supported",
                OPSETS.start(),
                OPSETS.end()
            ));
        }
        Some(_) => {}
    }
    if !model.functions.is_empty() {
        return Err("functions of a model's own are not supported".into());
    }
    let graph = model.graph.as_ref().ok_or("the model has no graph")?;
    let mut left = MAX_NODES;
    walk(graph, 0, &mut left)
}

fn walk(graph: &GraphProto, depth: usize, left: &mut usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("graphs are nested deeper than {MAX_DEPTH}"));
    }
    *left = left
        .checked_sub(graph.node.len())
        .ok_or_else(|| format!("the model has more than {MAX_NODES} nodes"))?;
    if !graph.sparse_initializer.is_empty() {
        return Err("sparse constants are not supported".into());
    }
    let mut defined = BTreeSet::new();
    for tensor in &graph.initializer {
        check_tensor(tensor)?;
        if !defined.insert(tensor.name.as_str()) {
            return Err(format!("two constants are called `{}`", tensor.name));
        }
    }
    let mut inputs = BTreeSet::new();
    for input in &graph.input {
        if input.name.is_empty() || !inputs.insert(input.name.as_str()) {
            return Err(format!(
                "an input's name is empty or there twice: `{}`",
                input.name
            ));
        }
    }
    defined.extend(inputs);
    let known = Known::of(graph);
    for node in &graph.node {
        check_node(node)?;
        known.check(node)?;
        // Order and uniqueness of values: what ONNX demands, and what a reader of the model relies on.
        if depth == 0
            && let Some(missing) = node
                .input
                .iter()
                .find(|name| !name.is_empty() && !defined.contains(name.as_str()))
        {
            return Err(refused(
                node,
                &format!("uses `{missing}`, which is not defined before it"),
            ));
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if !defined.insert(output) {
                return Err(refused(node, &format!("defines `{output}` again")));
            }
        }
        for attribute in &node.attribute {
            check_attribute(attribute, depth, left)?;
        }
    }
    if let Some(output) = graph
        .output
        .iter()
        .find(|output| depth == 0 && !defined.contains(output.name.as_str()))
    {
        return Err(format!("output `{}` is not defined", output.name));
    }
    Ok(())
}

/// A sentence about a node.
pub(crate) fn refused(node: &NodeProto, reason: &str) -> String {
    let name = if node.name.is_empty() {
        node.output.first().map_or("", String::as_str)
    } else {
        &node.name
    };
    format!("node `{name}` ({}): {reason}", node.op_type)
}

fn check_node(node: &NodeProto) -> Result<(), String> {
    // The engine looks at an operator's name only, and would take one of another domain for its own.
    if !matches!(node.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml") {
        return Err(refused(
            node,
            &format!("operators of `{}` are not supported", node.domain),
        ));
    }
    if RANDOM.contains(&node.op_type.as_str()) {
        return Err(refused(
            node,
            "draws random numbers, which no replay could repeat",
        ));
    }
    Ok(())
}

fn check_attribute(
    attribute: &AttributeProto,
    depth: usize,
    left: &mut usize,
) -> Result<(), String> {
    for tensor in attribute.t.iter().chain(&attribute.tensors) {
        check_tensor(tensor)?;
    }
    for graph in attribute.g.iter().chain(&attribute.graphs) {
        walk(graph, depth + 1, left)?;
    }
    Ok(())
}

fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    let fail = |reason: &str| Err(format!("constant `{}`: {reason}", tensor.name));
    if tensor.data_location == Some(DataLocation::External as i32)
        || !tensor.external_data.is_empty()
    {
        return fail("its data lies in another file; store the weights inside the model");
    }
    if tensor.segment.is_some() {
        return fail("it is split into segments");
    }
    let mut elements = 1i64;
    for &n in &tensor.dims {
        match elements.checked_mul(n) {
            Some(product) if n >= 0 && product <= carat_program::MAX_ELEMENTS as i64 => {
                elements = product;
            }
            _ => return fail("its shape is negative or too large"),
        }
    }
    let Some(dtype) = crate::tensors::of_onnx(tensor.data_type) else {
        return fail("its element type is not supported");
    };
    let bytes = tensor.raw_data.len();
    let values = tensor.float_data.len()
        + tensor.int32_data.len()
        + tensor.int64_data.len()
        + tensor.double_data.len()
        + tensor.uint64_data.len();
    let fits = if bytes > 0 {
        values == 0 && bytes as i64 == elements * carat_program::pinned::width(dtype) as i64
    } else {
        values as i64 == elements
    };
    if !fits {
        return fail("it does not hold as many values as its shape says");
    }
    Ok(())
}
