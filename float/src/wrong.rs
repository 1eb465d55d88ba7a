//! What this release of the engine computes otherwise than ONNX defines it. Each was found by the ONNX project's node tests at
//! the suite's own tolerance, and each is refused by operator, attribute and type, never by a test's name.

use std::collections::BTreeMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{DimLike as _, Factoid as _};

use crate::limits::refused;

/// What is known of a graph's values before the engine analyses it: those of inputs and constants.
pub(crate) struct Known<'a> {
    types: BTreeMap<&'a str, i32>,
}

impl<'a> Known<'a> {
    /// Of a graph.
    pub(crate) fn of(graph: &'a GraphProto) -> Self {
        let mut types = BTreeMap::new();
        for input in &graph.input {
            let kind = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
            if let Some(type_proto::Value::TensorType(tensor)) = kind {
                types.insert(input.name.as_str(), tensor.elem_type);
            }
        }
        for tensor in &graph.initializer {
            types.insert(tensor.name.as_str(), tensor.data_type);
        }
        Self { types }
    }

    /// Refuses a node that the engine gets wrong.
    ///
    /// # Errors
    /// The node, and what is wrong.
    pub(crate) fn check(&self, node: &NodeProto) -> Result<(), String> {
        match self.reason(node) {
            Some(reason) => Err(refused(node, reason)),
            None => Ok(()),
        }
    }

    fn reason(&self, node: &NodeProto) -> Option<&'static str> {
        let flag = |name: &str| {
            node.attribute
                .iter()
                .any(|attribute| attribute.name == name && attribute.i != 0)
        };
        match node.op_type.as_str() {
            "AveragePool" if flag("ceil_mode") && flag("count_include_pad") => Some(
                "the engine divides by another number where a window reaches beyond the padding",
            ),
            "DFT" => Some(
                "the engine's transform is further off than the suite allows (2e-6 where zero is expected)",
            ),
            "GRU" => Some(
                "the engine's gates saturate a millionth too early, which the suite does not allow",
            ),
            // Zero points of both factors: their types are those of the factors.
            "QLinearMatMul"
                if ![2, 5].iter().all(|&at| {
                    let name = node.input.get(at).map_or("", String::as_str);
                    self.types.get(name) == Some(&(DataType::Uint8 as i32))
                }) =>
            {
                Some("the engine rounds products of signed integers otherwise; uint8 is supported")
            }
            _ => None,
        }
    }
}

/// Refuses what shows in the analysed model only: an empty value in a model with a maximum or a minimum. The engine folds
/// what it computes from nothing into a constant, so that it is looked for before that.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_analysed(graph: &GraphProto, model: &InferenceModel) -> Result<(), String> {
    let extreme = |node: &&NodeProto| matches!(node.op_type.as_str(), "ReduceMax" | "ReduceMin");
    let Some(node) = nodes(graph).into_iter().find(extreme) else {
        return Ok(());
    };
    let empty = model.nodes().iter().any(|node| {
        node.outputs.iter().any(|output| {
            let dims = output.fact.shape.dims();
            let mut dims = dims.filter_map(|dim| dim.concretize());
            dims.any(|dim| dim.to_usize().is_ok_and(|n| n == 0))
        })
    });
    match empty {
        false => Ok(()),
        true => Err(refused(
            node,
            "the engine gives the largest finite number for an empty maximum or minimum, not an infinity, and the model has an empty tensor",
        )),
    }
}

/// The nodes of a graph and of those inside it.
fn nodes(graph: &GraphProto) -> Vec<&NodeProto> {
    let mut found = Vec::new();
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        for node in &graph.node {
            found.push(node);
            for attribute in &node.attribute {
                graphs.extend(attribute.g.iter().chain(&attribute.graphs));
            }
        }
    }
    found
}
