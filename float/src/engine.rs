//! From an ONNX file to a plan that the engine runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use carat_float::protocol::OpenShape;
use carat_program::Dtype;
use carat_program::pinned::{
    Bits, Bound, PinnedBody, PinnedInput, PinnedOutput, PinnedProgram, bytes_of, decode_bits,
    encode_bits,
};
use carat_receipt::Digest;
use prost::Message as _;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{ModelProto, TensorShapeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;

use crate::{limits, tensors, wrong};

/// A model that is ready to run.
pub(crate) struct Runnable {
    program: PinnedProgram,
    plan: Arc<TypedRunnableModel>,
}

/// What the engine says of an output: its type, and its shape where it is known.
pub(crate) struct Found {
    name: String,
    dtype: Dtype,
    dims: Option<Vec<u32>>,
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

/// The Program of a model, without labels and image mappings.
///
/// # Errors
/// Why the model is refused.
pub(crate) fn examine(
    onnx: &[u8],
    shapes: &[OpenShape],
    bound: &[Bound],
    profile: &str,
) -> Result<PinnedProgram, String> {
    let model = parse(onnx)?;
    let graph = model.graph.as_ref().ok_or("the model has no graph")?;
    let fixed: BTreeSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .chain(bound.iter().map(|bound| bound.name.as_str()))
        .collect();
    for name in shapes
        .iter()
        .map(|shape| &shape.name)
        .chain(bound.iter().map(|bound| &bound.name))
    {
        if !graph.input.iter().any(|input| input.name == *name) {
            return Err(format!("the model has no input `{name}`"));
        }
    }
    let mut inputs = Vec::new();
    for input in graph
        .input
        .iter()
        .filter(|input| !fixed.contains(input.name.as_str()))
    {
        let given = shapes.iter().find(|shape| shape.name == input.name);
        inputs.push(input_of(input, given)?);
    }
    let (_, outputs) = prepare(model, &inputs, bound)?;
    let outputs = outputs
        .into_iter()
        .map(|found| PinnedOutput {
            name: found.name,
            dtype: found.dtype,
            dims: found.dims,
            labels: Vec::new(),
        })
        .collect();
    let program = PinnedProgram {
        profile: profile.to_string(),
        body: PinnedBody {
            source: Digest::sha256(onnx),
            inputs,
            bound: bound.to_vec(),
            outputs,
        },
    };
    program.validate().map_err(text)?;
    Ok(program)
}

impl Runnable {
    /// Prepares a Program. What it states of its outputs must be what the engine finds.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn load(program: &[u8], onnx: &[u8], profile: &str) -> Result<Self, String> {
        let program = PinnedProgram::decode(program).map_err(text)?;
        if program.profile != profile {
            return Err(format!("the Program is for {}", program.profile));
        }
        if Digest::sha256(onnx) != program.body.source {
            return Err("the ONNX file is not the one that the Program names".into());
        }
        let (plan, outputs) = prepare(parse(onnx)?, &program.body.inputs, &program.body.bound)?;
        let same = program.body.outputs.len() == outputs.len()
            && program
                .body
                .outputs
                .iter()
                .zip(&outputs)
                .all(|(stated, found)| {
                    stated.name == found.name
                        && stated.dtype == found.dtype
                        && stated.dims == found.dims
                });
        if !same {
            return Err("the model has other outputs than the Program states".into());
        }
        Ok(Self { program, plan })
    }

    /// Runs one input.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) fn run(&self, inputs: &[u8]) -> Result<Vec<u8>, String> {
        let inputs = decode_bits(inputs).map_err(text)?;
        let stated = &self.program.body.inputs;
        if inputs.len() != stated.len()
            || !stated
                .iter()
                .zip(&inputs)
                .all(|(spec, tensor)| fits(spec.dtype, &spec.dims, tensor))
        {
            return Err("the inputs are not those of the Program".into());
        }
        let values: Result<TVec<TValue>, String> = inputs
            .iter()
            .map(|bits| tensors::to_engine(bits).map(IntoTValue::into_tvalue))
            .collect();
        let found = self.plan.run(values?).map_err(text)?;
        let outputs: Result<Vec<Bits>, String> = found
            .iter()
            .map(|tensor| tensors::from_engine(tensor))
            .collect();
        let outputs = outputs?;
        for (spec, tensor) in self.program.body.outputs.iter().zip(&outputs) {
            let shape = spec.dims.as_deref();
            if tensor.dtype() != spec.dtype
                || shape.is_some_and(|dims| !fits(spec.dtype, dims, tensor))
            {
                return Err(format!(
                    "output `{}` is {} {:?}, another type or shape than was found when the model was prepared",
                    spec.name,
                    tensor.dtype().name(),
                    tensor.dims()
                ));
            }
        }
        Ok(encode_bits(&outputs))
    }
}

fn fits(dtype: Dtype, dims: &[u32], tensor: &Bits) -> bool {
    let dims = dims.iter().map(|&n| n as usize);
    tensor.dtype() == dtype && dims.eq(tensor.dims().iter().copied())
}

fn parse(onnx: &[u8]) -> Result<ModelProto, String> {
    let model = ModelProto::decode(onnx).map_err(|error| format!("no ONNX model: {error}"))?;
    Ok(model)
}

/// Type and shape of an input: the model's, and where it leaves an axis open, the given length, or one for the first.
fn input_of(input: &ValueInfoProto, given: Option<&OpenShape>) -> Result<PinnedInput, String> {
    let fail = |reason: &str| Err(format!("input `{}`: {reason}", input.name));
    let Some((code, declared)) = tensor_type(input) else {
        return fail("it is not a tensor (sequences and optionals are not supported)");
    };
    let Some(dtype) = tensors::of_onnx(code) else {
        return fail("its element type is not supported");
    };
    let Some(declared) = declared else {
        let Some(given) = given else {
            return fail("the model leaves its shape open: give one");
        };
        return Ok(PinnedInput {
            name: input.name.clone(),
            dtype,
            dims: given.dims.clone(),
            image: None,
        });
    };
    if given.is_some_and(|given| given.dims.len() != declared.dim.len()) {
        return fail("the given shape has another number of axes");
    }
    let mut dims = Vec::new();
    for (axis, dim) in declared.dim.iter().enumerate() {
        let fixed = match dim.value {
            Some(Dim::DimValue(n)) if n >= 0 => u32::try_from(n).ok(),
            _ => None,
        };
        let given = given.map(|given| given.dims[axis]);
        dims.push(match (given, fixed) {
            (Some(given), Some(fixed)) if given != fixed => {
                return fail("the given shape contradicts the model's");
            }
            (Some(given), _) => given,
            (None, Some(fixed)) => fixed,
            // By convention the first axis is the batch: a program is about one sample.
            (None, None) if axis == 0 => 1,
            (None, None) => {
                return fail(&format!(
                    "the model leaves axis {axis} open: give its shape"
                ));
            }
        });
    }
    Ok(PinnedInput {
        name: input.name.clone(),
        dtype,
        dims,
        image: None,
    })
}

fn tensor_type(value: &ValueInfoProto) -> Option<(i32, Option<&TensorShapeProto>)> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some((tensor.elem_type, tensor.shape.as_ref())),
    }
}

/// Binds inputs to their values, checks what comes of it, and has the engine make a plan of it.
fn prepare(
    mut model: ModelProto,
    inputs: &[PinnedInput],
    bound: &[Bound],
) -> Result<(Arc<TypedRunnableModel>, Vec<Found>), String> {
    let graph = model.graph.as_mut().ok_or("the model has no graph")?;
    for bound in bound {
        let declared = graph.input.iter().find(|input| input.name == bound.name);
        let declared =
            declared.ok_or_else(|| format!("the model has no input `{}`", bound.name))?;
        let [value] = &decode_bits(&bound.value).map_err(text)?[..] else {
            return Err(format!(
                "input `{}`: its value is not one tensor",
                bound.name
            ));
        };
        let code = tensor_type(declared).map(|(code, _)| code);
        if code.and_then(tensors::of_onnx) != Some(value.dtype()) {
            return Err(format!(
                "input `{}`: its value has another type",
                bound.name
            ));
        }
        graph.input.retain(|input| input.name != bound.name);
        graph.initializer.retain(|tensor| tensor.name != bound.name);
        graph
            .initializer
            .push(tensors::initializer(&bound.name, value));
    }
    limits::check(&model)?;
    plan(model, inputs)
}

/// Has the engine analyse and optimise a model that was checked, on inputs of these types and shapes.
///
/// # Errors
/// What the engine says.
pub(crate) fn plan(
    mut model: ModelProto,
    inputs: &[PinnedInput],
) -> Result<(Arc<TypedRunnableModel>, Vec<Found>), String> {
    let graph = model.graph.as_mut().ok_or("the model has no graph")?;
    // Inputs with a value of their own are constants here: a program has one meaning.
    let constants: BTreeSet<String> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.clone())
        .collect();
    graph.input.retain(|input| !constants.contains(&input.name));
    let names = graph.input.iter().map(|input| input.name.as_str());
    if !names.eq(inputs.iter().map(|input| input.name.as_str())) {
        return Err("the model has other inputs than the Program states".into());
    }
    let mut declared = Vec::new();
    for output in &graph.output {
        let (code, _) = tensor_type(output).ok_or_else(|| {
            format!(
                "output `{}`: it is not a tensor (sequences and optionals are not supported)",
                output.name
            )
        })?;
        declared.push((output.name.clone(), tensors::of_onnx(code)));
    }

    let onnx = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_output_types(true)
        .with_ignore_value_info(true);
    let mut inferred = onnx.model_for_proto_model(&model).map_err(text)?;
    if inferred.input_outlets().map_err(text)?.len() != inputs.len() {
        return Err("the engine sees other inputs".into());
    }
    for (i, input) in inputs.iter().enumerate() {
        let dims: Vec<usize> = input.dims.iter().map(|&n| n as usize).collect();
        bytes_of(input.dtype, &dims).map_err(text)?;
        let datum = tensors::datum(input.dtype)
            .ok_or_else(|| format!("input `{}`: the engine has no such type", input.name))?;
        inferred
            .set_input_fact(i, InferenceFact::dt_shape(datum, &dims))
            .map_err(text)?;
    }
    for i in 0..declared.len() {
        inferred
            .set_output_fact(i, InferenceFact::default())
            .map_err(text)?;
    }
    inferred.analyse(false).map_err(text)?;
    if let Some(graph) = &model.graph {
        wrong::check_analysed(graph, &inferred)?;
    }
    let typed = inferred.into_typed().map_err(text)?;
    let plan = typed
        .into_optimized()
        .and_then(|model| model.into_runnable())
        .map_err(text)?;
    let facts = plan.model().output_outlets().map_err(text)?.len();
    if facts != declared.len() {
        return Err("the engine sees other outputs".into());
    }
    let mut found = Vec::new();
    for (i, (name, stated)) in declared.into_iter().enumerate() {
        let fact = plan.model().output_fact(i).map_err(text)?;
        let dtype = tensors::dtype(fact.datum_type)
            .ok_or_else(|| format!("output `{name}` has type {:?}", fact.datum_type))?;
        if stated != Some(dtype) {
            return Err(format!(
                "output `{name}`: the engine gives {}, which is not the type that the model declares",
                dtype.name()
            ));
        }
        let dims = fact.shape.as_concrete().map(|dims| {
            dims.iter()
                .map(|&n| u32::try_from(n))
                .collect::<Result<Vec<u32>, _>>()
        });
        let dims = dims.transpose().map_err(text)?;
        if let Some(dims) = &dims {
            let dims: Vec<usize> = dims.iter().map(|&n| n as usize).collect();
            bytes_of(dtype, &dims).map_err(text)?;
        }
        found.push(Found { name, dtype, dims });
    }
    Ok((plan, found))
}
