//! Questions with known answers: what a worker computes first, so that one that computes otherwise is noticed.
//!
//! Each is a small model of one operator whose bits depend on something that could be built or dispatched otherwise: matrix
//! products of every class of shapes, convolutions, the engine's own functions, those of the C library, Fourier transforms,
//! recurrent cells, half and double precision. Operators that are refused elsewhere are asked here too.

use carat_program::Dtype;
use carat_program::pinned::{Bits, PinnedInput, encode_bits};
use carat_receipt::Digest;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto,
    ValueInfoProto, type_proto,
};
use tract_onnx::prelude::{IntoTValue, TValue, TVec};

use crate::{engine, tensors};

/// Functions of one number: the engine's own kernels and the C library's.
const FUNCTIONS: [&str; 27] = [
    "Acosh",
    "Asin",
    "Acos",
    "Asinh",
    "Atan",
    "Atanh",
    "Celu",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "HardSigmoid",
    "HardSwish",
    "Log",
    "LogSoftmax",
    "Mish",
    "Reciprocal",
    "Selu",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Tan",
    "Tanh",
];

/// A question: one node, its inputs (the last ones constants of the model), and the type of its outputs.
struct Question {
    node: NodeProto,
    inputs: Vec<(Dtype, Vec<usize>)>,
    /// How many of the last inputs are constants.
    constants: usize,
    output: Dtype,
}

/// SHA-256, in hexadecimal, over the outputs of all of them.
///
/// # Errors
/// Which question the engine did not answer.
pub(crate) fn digest() -> Result<String, String> {
    let mut all = Vec::new();
    for (at, question) in questions().into_iter().enumerate() {
        let name = question.node.op_type.clone();
        let outputs = answer(question)
            .map_err(|error| format!("known answer {at} ({name}) was not given: {error}"))?;
        all.extend(encode_bits(&outputs));
    }
    Ok(Digest::sha256(&all).to_string())
}

fn questions() -> Vec<Question> {
    use Dtype::{F16, F32, F64, U8};
    let mut questions = Vec::new();
    let mut ask = |name: &str,
                   attributes: Vec<AttributeProto>,
                   shapes: &[&[usize]],
                   types: (Dtype, Dtype),
                   constants| {
        questions.push(Question {
            node: NodeProto {
                op_type: name.into(),
                attribute: attributes,
                ..NodeProto::default()
            },
            inputs: shapes.iter().map(|dims| (types.0, dims.to_vec())).collect(),
            constants,
            output: types.1,
        });
    };
    let float = (F32, F32);
    for name in FUNCTIONS {
        ask(name, vec![], &[&[3, 67]], float, 0);
    }
    // Wide, narrow, single rows and columns, batches; factors that are constants are packed otherwise.
    let products: [[&[usize]; 2]; 6] = [
        [&[37, 64], &[64, 29]],
        [&[1, 65], &[65, 10]],
        [&[37, 64], &[64, 1]],
        [&[3, 5, 7], &[3, 7, 9]],
        [&[9, 300], &[300, 17]],
        [&[2, 2], &[2, 2]],
    ];
    for factors in products {
        for constants in [0, 1] {
            ask("MatMul", vec![], &factors, float, constants);
        }
    }
    for types in [(F64, F64), (F16, F16)] {
        ask("MatMul", vec![], &[&[11, 40], &[40, 13]], types, 0);
        for name in ["Exp", "Tanh", "Sqrt"] {
            ask(name, vec![], &[&[67]], types, 0);
        }
    }
    for name in ["Cos", "Log", "Sin", "Tan"] {
        ask(name, vec![], &[&[67]], (F64, F64), 0);
    }
    ask(
        "MatMulInteger",
        vec![],
        &[&[9, 40], &[40, 13]],
        (U8, Dtype::I32),
        1,
    );
    for name in ["Pow", "Div"] {
        ask(name, vec![], &[&[67], &[67]], float, 0);
    }
    let wide = |n| vec![ints("kernel_shape", &[n, n])];
    ask(
        "Conv",
        vec![],
        &[&[1, 3, 13, 17], &[5, 3, 3, 3], &[5]],
        float,
        2,
    );
    ask(
        "Conv",
        vec![ints("strides", &[2, 2])],
        &[&[1, 3, 13, 17], &[5, 3, 3, 3]],
        float,
        1,
    );
    ask(
        "Conv",
        vec![int("group", 4)],
        &[&[1, 4, 13, 17], &[4, 1, 3, 3]],
        float,
        1,
    );
    ask("Conv", vec![], &[&[2, 16, 19], &[24, 16, 5]], float, 1);
    ask("Conv", vec![], &[&[1, 32, 9, 9], &[48, 32, 1, 1]], float, 1);
    ask(
        "ConvTranspose",
        vec![],
        &[&[1, 3, 7, 7], &[3, 4, 3, 3]],
        float,
        1,
    );
    ask("MaxPool", wide(2), &[&[1, 3, 13, 17]], float, 0);
    ask("AveragePool", wide(3), &[&[1, 3, 13, 17]], float, 0);
    ask("LRN", vec![int("size", 3)], &[&[1, 5, 7, 7]], float, 0);
    for name in [
        "ReduceMean",
        "ReduceSum",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceProd",
        "ReduceMax",
    ] {
        ask(name, vec![], &[&[13, 71]], float, 0);
    }
    ask("LayerNormalization", vec![], &[&[5, 71], &[71]], float, 1);
    for (name, gates) in [("RNN", 1), ("GRU", 3), ("LSTM", 4)] {
        let shapes: [&[usize]; 3] = [&[3, 2, 8], &[1, gates * 5, 8], &[1, gates * 5, 5]];
        ask(name, vec![int("hidden_size", 5)], &shapes, float, 2);
    }
    ask("DFT", vec![int("axis", 1)], &[&[2, 60, 2]], float, 0);
    ask("DFT", vec![int("axis", 1)], &[&[2, 37, 2]], float, 0);
    questions
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// Numbers between -2 and 2 of at most 11 bits, so that half precision holds them too; the same on every machine.
fn numbers(dtype: Dtype, dims: &[usize], seed: usize) -> Result<Bits, String> {
    let count: usize = dims.iter().product();
    let mut state = 0x9e37_79b9_u32.wrapping_mul(seed as u32 + 1) | 1;
    let mut data = Vec::new();
    for _ in 0..count {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let small = (state >> 20) as i32 - 2048;
        let value = f64::from(small) / 1024.0;
        match dtype {
            Dtype::F32 => data.extend((value as f32).to_le_bytes()),
            Dtype::F64 => data.extend(value.to_le_bytes()),
            Dtype::F16 => data.extend(half::f16::from_f64(value).to_le_bytes()),
            _ => data.push((state >> 24) as u8),
        }
    }
    Bits::new(dtype, dims, data).map_err(|error| error.to_string())
}

fn value_info(name: &str, dtype: Dtype) -> ValueInfoProto {
    let code = match dtype {
        Dtype::F32 => DataType::Float,
        Dtype::F64 => DataType::Double,
        Dtype::F16 => DataType::Float16,
        Dtype::I32 => DataType::Int32,
        _ => DataType::Uint8,
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: code as i32,
                ..Default::default()
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn answer(question: Question) -> Result<Vec<Bits>, String> {
    let Question {
        mut node,
        inputs,
        constants,
        output,
    } = question;
    node.name = "question".into();
    node.output = vec!["answer".into()];
    let mut graph = GraphProto {
        name: "question".into(),
        output: vec![value_info("answer", output)],
        ..GraphProto::default()
    };
    let free = inputs.len() - constants;
    let (mut specs, mut values) = (Vec::new(), TVec::<TValue>::new());
    for (i, (dtype, dims)) in inputs.into_iter().enumerate() {
        let name = format!("x{i}");
        node.input.push(name.clone());
        let bits = numbers(dtype, &dims, i)?;
        if i >= free {
            graph.initializer.push(tensors::initializer(&name, &bits));
            continue;
        }
        graph.input.push(value_info(&name, dtype));
        values.push(tensors::to_engine(&bits)?.into_tvalue());
        specs.push(PinnedInput {
            name,
            dtype,
            dims: dims.iter().map(|&n| n as u32).collect(),
            image: None,
        });
    }
    graph.node = vec![node];
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 18,
            ..OperatorSetIdProto::default()
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    let (plan, _) = engine::plan(model, &specs)?;
    let found = plan.run(values).map_err(|error| format!("{error:#}"))?;
    found
        .iter()
        .map(|tensor| tensors::from_engine(tensor))
        .collect()
}
