//! What this release of the engine computes otherwise than ONNX defines it. Each was found by the ONNX project's node tests at
//! the suite's own tolerance, and each is refused by operator, attribute and type, never by a test's name.

use std::collections::BTreeMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, type_proto};
use tract_onnx::prelude::{TractResult, TypedModel};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};

use crate::limits::refused;

/// What is known of a graph's values before the engine analyses it: those of inputs and constants.
pub(crate) struct Known<'a> {
    types: BTreeMap<&'a str, i32>,
    empty: Vec<&'a str>,
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
        let mut empty = Vec::new();
        for tensor in &graph.initializer {
            types.insert(tensor.name.as_str(), tensor.data_type);
            if tensor.dims.contains(&0) {
                empty.push(tensor.name.as_str());
            }
        }
        Self { types, empty }
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
            "ReduceMax" | "ReduceMin"
                if node
                    .input
                    .first()
                    .is_some_and(|name| self.empty.contains(&name.as_str())) =>
            {
                Some(EMPTY)
            }
            _ => None,
        }
    }
}

const EMPTY: &str =
    "the engine gives the largest finite number for an empty maximum or minimum, not an infinity";

/// Refuses what shows in the analysed model only.
///
/// # Errors
/// The node, and what is wrong.
pub(crate) fn check_typed(model: &TypedModel) -> Result<(), String> {
    for node in model.nodes() {
        let Some(reduce) = node.op_as::<Reduce>() else {
            continue;
        };
        let extreme = matches!(reduce.reducer, Reducer::Max | Reducer::Min);
        let facts: TractResult<_> = model.node_input_facts(node.id);
        let facts = facts.map_err(|error| format!("{error:#}"))?;
        let dims = facts.first().and_then(|fact| fact.shape.as_concrete());
        let empty =
            dims.is_some_and(|dims| reduce.axes.iter().any(|&axis| dims.get(axis) == Some(&0)));
        if extreme && empty {
            return Err(format!("node `{}`: {EMPTY}", node.name));
        }
    }
    Ok(())
}
