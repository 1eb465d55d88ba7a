//! What an ONNX file says about itself, whether or not it can be imported.

use super::{
    ImportError, proto,
    schema::{Dim, ValueInfoProto},
};
use carat_program::Dtype;
use std::collections::BTreeMap;

/// An input or an output, as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Element type; `None`: not a tensor, or of a type that is not known here.
    pub dtype: Option<Dtype>,
    /// Lengths of its axes; `None`: open.
    pub dims: Vec<Option<u64>>,
}

/// What an ONNX file says about itself. Nothing of it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Version of the default operator set.
    pub opset: Option<i64>,
    /// Uses of each operator; those of other sets with their domain.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all initializers.
    pub parameters: u64,
    /// Inputs that are given at run time.
    pub inputs: Vec<Declared>,
    /// Outputs.
    pub outputs: Vec<Declared>,
}

/// Reads what an ONNX file says about itself.
///
/// # Errors
/// [`ImportError::Malformed`] where the bytes are no ONNX model.
pub fn survey(bytes: &[u8]) -> Result<Survey, ImportError> {
    let model = proto::decode_model(bytes)?;
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model
        .opset_import
        .iter()
        .find(|set| default(&set.domain))
        .map(|set| set.version);
    let Some(graph) = model.graph else {
        return Err(ImportError::Malformed("it has no graph".into()));
    };
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        let name = if default(&node.domain) {
            node.op_type.clone()
        } else {
            format!("{}::{}", node.domain, node.op_type)
        };
        *operators.entry(name).or_default() += 1;
    }
    let elements = |dims: &[i64]| {
        let lengths = dims.iter().map(|d| u64::try_from(*d).unwrap_or(0));
        lengths.fold(1u64, u64::saturating_mul)
    };
    let parameters = graph.initializer.iter().fold(0u64, |sum, tensor| {
        sum.saturating_add(elements(&tensor.dims))
    });
    let given = |info: &&ValueInfoProto| graph.initializer.iter().all(|t| t.name != info.name);
    Ok(Survey {
        opset,
        operators,
        parameters,
        inputs: graph.input.iter().filter(given).map(declared).collect(),
        outputs: graph.output.iter().map(declared).collect(),
    })
}

fn declared(info: &ValueInfoProto) -> Declared {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|t| t.shape.as_ref());
    let length = |value: &Option<Dim>| match value {
        Some(Dim::DimValue(length)) => u64::try_from(*length).ok().filter(|n| *n > 0),
        _ => None,
    };
    Declared {
        name: info.name.clone(),
        dtype: tensor.and_then(|t| proto::dtype_of(t.elem_type)),
        dims: shape.map_or(Vec::new(), |shape| {
            shape.dim.iter().map(|dim| length(&dim.value)).collect()
        }),
    }
}
