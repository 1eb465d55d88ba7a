//! From ONNX bytes to a [`Graph`].
//!
//! `prost` parses the protobuf; this module gives each operator its meaning. Every attribute must be understood:
//! one that no lowering asked for refuses the model, so a newer operator version cannot be misread in silence.

mod conv;
mod ctx;
mod elementwise;
mod index;
mod layout;
mod linear;
mod norm;
mod proto;
mod quant;
mod reduce;
mod resize;
mod schema;
mod survey;
mod typed;

pub use proto::{MAX_ONNX_BYTES, decode_tensor_file};
pub use survey::{Declared, Survey, survey};
pub use typed::decode_tensor_bits;

use crate::graph::{Array, Graph, GraphInput, GraphOp, GraphOutput, Id};
use carat_program::Shape;
use ctx::{Ctx, Val};
use schema as pb;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use thiserror::Error;

/// Newest version of the default operator set that is understood.
pub const MAX_OPSET: i64 = 27;

/// Why a model is not imported.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ImportError {
    /// The bytes are not an ONNX model.
    #[error("this is not a readable ONNX model: {0}")]
    Malformed(String),
    /// The file is larger than what is read.
    #[error("the ONNX file has {0} bytes; at most {MAX_ONNX_BYTES} are read")]
    TooLarge(u64),
    /// The operator set is outside the supported range.
    #[error(
        "opset {version} is not supported; versions 1 to {MAX_OPSET} of the default operator set are"
    )]
    Opset {
        /// Version.
        version: i64,
    },
    /// An operator is not supported, or not in this form.
    #[error("node `{node}`: operator {op} {reason}")]
    Unsupported {
        /// Node name.
        node: String,
        /// Operator.
        op: String,
        /// What is not supported, as the rest of a sentence.
        reason: String,
    },
    /// An operator needs an operand at compile time, but it is only known at run time.
    #[error(
        "node `{node}`: operator {op} needs `{value}` at compile time; make it an initializer of the model"
    )]
    NotConstant {
        /// Node name.
        node: String,
        /// Operator.
        op: String,
        /// Name of the value.
        value: String,
    },
    /// An axis of an input has no length.
    #[error(
        "input `{input}` has an axis ({axis}) without a length; give its shape with `--shape {input}=...`"
    )]
    OpenShape {
        /// Input name.
        input: String,
        /// Axis number.
        axis: usize,
    },
    /// An input has an element type or shape that cannot be used.
    #[error("input `{input}`: {reason}")]
    Input {
        /// Input name.
        input: String,
        /// What is wrong.
        reason: String,
    },
    /// A constant cannot be used.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph is not well formed.
    #[error("the graph is not well formed: {0}")]
    Graph(String),
}

/// What the importer may be told beside the model.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Shapes of inputs, where the model leaves axes open or to override them.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Inputs that become constants: the program is specialised to them.
    pub bind: BTreeMap<String, Array>,
}

/// An imported model.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The graph.
    pub graph: Graph,
    /// Version of the default operator set.
    pub opset: i64,
    /// Number of uses of each operator.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all initializers.
    pub parameters: u64,
}

/// Reads a model.
///
/// # Errors
/// [`ImportError`] naming the node, the operator and what can be done.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    let model = proto::decode_model(bytes)?;
    let opset = opset_of(&model)?;
    if let Some(f) = model.functions.first() {
        let text = format!(
            "the model defines a function `{}`; functions of a model's own are not supported, inline them",
            f.name
        );
        return Err(ImportError::Graph(text));
    }
    if !model.training_info.is_empty() {
        return Err(ImportError::Graph(
            "the model carries training graphs; export it for inference".into(),
        ));
    }
    let proto = model
        .graph
        .as_ref()
        .ok_or_else(|| ImportError::Graph("the model has no graph".into()))?;
    if let Some(sparse) = proto.sparse_initializer.first() {
        let name = sparse
            .values
            .as_ref()
            .map(|v| v.name.clone())
            .unwrap_or_default();
        return Err(ImportError::Tensor {
            name,
            reason: "sparse tensors are not supported; store it densely".into(),
        });
    }
    let mut state = Importer {
        graph: Graph::default(),
        env: HashMap::new(),
        opset,
        operators: BTreeMap::new(),
    };
    let origin: Arc<str> = "initializer".into();
    let mut parameters = 0;
    for t in &proto.initializer {
        let array = proto::array_from_tensor(t)?;
        parameters += array.data.len() as u64;
        state.define(&t.name, Val::Const(Arc::new(array)))?;
    }
    for input in &proto.input {
        if proto.initializer.iter().any(|t| t.name == input.name) {
            continue; // IR versions below 4 list initializers among the inputs.
        }
        let dtype = proto::input_dtype(input)?;
        if let Some(array) = options.bind.get(&input.name) {
            state.define(&input.name, Val::Const(Arc::new(array.clone())))?;
            continue;
        }
        let dims = proto::input_dims(input, options.shapes.get(&input.name))?;
        let shape = Shape::new(&dims).map_err(|e| ImportError::Input {
            input: input.name.clone(),
            reason: e.to_string(),
        })?;
        let index = state.graph.inputs.len();
        let node = state
            .graph
            .push(GraphOp::Input(index), Vec::new(), shape, dtype, &origin);
        state.graph.inputs.push(GraphInput {
            name: input.name.clone(),
            node,
        });
        state.define(&input.name, Val::Node(node))?;
    }
    state.nodes(&proto.node)?;
    for out in &proto.output {
        let node = match state.env.get(&out.name) {
            Some(Val::Node(id)) => *id,
            Some(Val::Const(c)) => {
                let c = c.clone();
                state
                    .graph
                    .add_constant(c, &origin)
                    .map_err(|e| ImportError::Graph(format!("output `{}`: {e}", out.name)))?
            }
            _ => {
                return Err(ImportError::Graph(format!(
                    "output `{}` is not computed by any node",
                    out.name
                )));
            }
        };
        proto::check_output(out, state.graph.nodes[node].dtype)?;
        state.graph.outputs.push(GraphOutput {
            name: out.name.clone(),
            node,
        });
    }
    if state.graph.outputs.is_empty() {
        return Err(ImportError::Graph("the model has no output".into()));
    }
    if state.graph.inputs.is_empty() {
        return Err(ImportError::Graph(
            "the model has no input left that is given at run time".into(),
        ));
    }
    Ok(Imported {
        graph: state.graph,
        opset,
        operators: state.operators,
        parameters,
    })
}

/// Names of the inputs that are given at run time, in order.
///
/// # Errors
/// [`ImportError::Malformed`].
pub fn input_names(bytes: &[u8]) -> Result<Vec<String>, ImportError> {
    let model = proto::decode_model(bytes)?;
    let graph = model.graph.unwrap_or_default();
    let fixed: std::collections::BTreeSet<_> =
        graph.initializer.iter().map(|t| t.name.as_str()).collect();
    Ok(graph
        .input
        .iter()
        .map(|i| i.name.clone())
        .filter(|n| !fixed.contains(n.as_str()))
        .collect())
}

/// The operator of a model that has just one node.
#[must_use]
pub fn only_operator(bytes: &[u8]) -> Option<String> {
    match &proto::decode_model(bytes).ok()?.graph?.node[..] {
        [node] => Some(node.op_type.clone()),
        _ => None,
    }
}

fn opset_of(model: &pb::ModelProto) -> Result<i64, ImportError> {
    let mut found = None;
    for set in &model.opset_import {
        let domain = set.domain.as_str();
        if domain.is_empty() || domain == "ai.onnx" {
            if found.is_some() {
                return Err(ImportError::Graph(
                    "the default operator set is imported twice".into(),
                ));
            }
            found = Some(set.version);
        }
    }
    let version = found.ok_or_else(|| {
        ImportError::Graph("no opset (version of the default operator set) is imported".into())
    })?;
    if !(1..=MAX_OPSET).contains(&version) {
        return Err(ImportError::Opset { version });
    }
    Ok(version)
}

struct Importer {
    graph: Graph,
    env: HashMap<String, Val>,
    opset: i64,
    operators: BTreeMap<String, usize>,
}

/// Most graph nodes that one model may become.
const MAX_GRAPH_NODES: usize = 200_000;

impl Importer {
    fn define(&mut self, name: &str, value: Val) -> Result<(), ImportError> {
        if name.is_empty() {
            return Ok(());
        }
        if self.env.insert(name.to_string(), value).is_some() {
            return Err(ImportError::Graph(format!(
                "the value `{name}` is defined twice"
            )));
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &[pb::NodeProto]) -> Result<(), ImportError> {
        for (position, node) in nodes.iter().enumerate() {
            *self.operators.entry(node.op_type.clone()).or_default() += 1;
            let outputs = self.node(node, position, nodes)?;
            for (name, value) in node.output.iter().zip(outputs) {
                self.define(name, value)?;
            }
            if self.graph.nodes.len() > MAX_GRAPH_NODES {
                return Err(ImportError::Graph(format!(
                    "the model becomes more than {MAX_GRAPH_NODES} operations"
                )));
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        node: &pb::NodeProto,
        position: usize,
        all: &[pb::NodeProto],
    ) -> Result<Vec<Val>, ImportError> {
        let name = if node.name.is_empty() {
            format!("#{position}")
        } else {
            node.name.clone()
        };
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            return Err(ImportError::Unsupported {
                node: name,
                op: format!("{}::{}", node.domain, node.op_type),
                reason: "belongs to an operator set that is not supported".into(),
            });
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for value in &node.input {
            inputs.push(if value.is_empty() {
                Val::Absent
            } else {
                self.env.get(value).cloned().ok_or_else(|| {
                    let cyclic = all[position..].iter().any(|n| n.output.contains(value));
                    ImportError::Graph(if cyclic {
                        format!("node `{name}` needs `{value}` before it is computed: the graph has a cycle or is out of order")
                    } else {
                        format!("node `{name}` needs `{value}`, which nothing defines")
                    })
                })?
            });
        }
        let mut ctx = Ctx::new(&mut self.graph, node, name, self.opset, inputs);
        let outputs = lower(&mut ctx)?;
        ctx.all_attributes_used()?;
        let wanted = node.output.iter().filter(|o| !o.is_empty()).count();
        let given = node
            .output
            .iter()
            .zip(&outputs)
            .filter(|(o, v)| !o.is_empty() && !matches!(v, Val::Absent))
            .count();
        if wanted > given {
            return Err(ctx.unsupported(format!(
                "gives an output that is not supported ({wanted} are named)"
            )));
        }
        Ok(outputs)
    }
}

/// Gives an operator its meaning.
fn lower(c: &mut Ctx<'_>) -> Result<Vec<Val>, ImportError> {
    for family in [
        elementwise::lower,
        reduce::lower,
        layout::lower,
        index::lower,
        linear::lower,
        conv::lower,
        norm::lower,
        resize::lower,
        quant::lower,
    ] {
        if let Some(outputs) = family(c)? {
            return Ok(outputs);
        }
    }
    Err(c.unsupported("is not supported"))
}

pub(crate) type Outputs = Result<Option<Vec<Val>>, ImportError>;

pub(crate) fn one(id: Id) -> Outputs {
    Ok(Some(vec![Val::Node(id)]))
}
