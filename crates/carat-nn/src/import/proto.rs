//! Protobuf messages to plain data. Nothing here trusts a length that a message claims.

use super::{
    ImportError,
    schema::{self as pb, Dim},
};
use crate::graph::Array;
use carat_program::Dtype;
use prost::Message;

/// Largest ONNX file that is read: protobuf's own limit of 2 GiB.
pub const MAX_ONNX_BYTES: u64 = 2 << 30;
/// Most elements of one constant.
const MAX_CONSTANT_ELEMENTS: usize = 1 << 28;

pub(crate) fn decode_model(bytes: &[u8]) -> Result<pb::ModelProto, ImportError> {
    if bytes.len() as u64 > MAX_ONNX_BYTES {
        return Err(ImportError::TooLarge(bytes.len() as u64));
    }
    if bytes.is_empty() {
        return Err(ImportError::Malformed("it is empty".into()));
    }
    pb::ModelProto::decode(bytes).map_err(|e| ImportError::Malformed(e.to_string()))
}

/// Reads a file that holds one `TensorProto`, as in the ONNX backend tests.
///
/// # Errors
/// [`ImportError`] for anything that is not a dense tensor of numbers.
pub fn decode_tensor_file(bytes: &[u8]) -> Result<(String, Array), ImportError> {
    let t = pb::TensorProto::decode(bytes).map_err(|e| ImportError::Malformed(e.to_string()))?;
    Ok((t.name.clone(), array_from_tensor(&t)?))
}

/// Element type by its ONNX number; `None` for strings, complex numbers and 8-bit or 4-bit formats.
pub(crate) fn dtype_of(code: i32) -> Option<Dtype> {
    Some(match code {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        16 => Dtype::BF16,
        _ => return None,
    })
}

pub(crate) fn dtype_name(code: i32) -> String {
    match code {
        0 => "undefined".into(),
        8 => "string".into(),
        14 | 15 => "complex".into(),
        17..=20 | 23 | 24 => "an 8-bit or 4-bit float".into(),
        21 | 22 | 25 | 26 => "a 4-bit or 2-bit integer".into(),
        other => format!("number {other}"),
    }
}

fn half(bits: u16) -> f64 {
    let (sign, exponent, mantissa) = (bits >> 15, (bits >> 10) & 31, f64::from(bits & 1023));
    let v = match exponent {
        0 => libm::ldexp(mantissa, -24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => libm::ldexp(1024.0 + mantissa, i32::from(e) - 25),
    };
    if sign == 1 { -v } else { v }
}

fn bfloat(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// A dense tensor of numbers.
///
/// # Errors
/// [`ImportError::Tensor`] for external data, strings, unsupported types, lengths that contradict the shape, NaN or
/// infinity.
pub(crate) fn array_from_tensor(t: &pb::TensorProto) -> Result<Array, ImportError> {
    let fail = |reason: String| {
        Err(ImportError::Tensor {
            name: t.name.clone(),
            reason,
        })
    };
    if t.data_location == 1 || !t.external_data.is_empty() {
        return fail("its data lies in another file; store the weights inside the model".into());
    }
    if t.segment.is_some() {
        return fail("it is split into segments".into());
    }
    let Some(dtype) = dtype_of(t.data_type) else {
        return fail(format!(
            "its element type ({}) is not supported",
            dtype_name(t.data_type)
        ));
    };
    if t.dims.len() > 64 {
        return fail(format!("it has {} axes", t.dims.len()));
    }
    let mut elements = 1usize;
    let mut dims = Vec::new();
    for &d in &t.dims {
        let Ok(d) = usize::try_from(d) else {
            return fail(format!("it has an axis of length {d}"));
        };
        dims.push(d);
        match elements.checked_mul(d) {
            Some(n) if n <= MAX_CONSTANT_ELEMENTS => elements = n,
            _ => return fail("it is too large".into()),
        }
    }
    let raw = &t.raw_data;
    fn le<const N: usize>(raw: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        raw.as_chunks::<N>().0.iter().map(|&c| f(c)).collect()
    }
    let data: Vec<f64> = if raw.is_empty() {
        match dtype {
            Dtype::F32 => t.float_data.iter().map(|&v| v.into()).collect(),
            Dtype::F64 => t.double_data.clone(),
            Dtype::I64 => t.int64_data.iter().map(|&v| v as f64).collect(),
            Dtype::U32 | Dtype::U64 => t.uint64_data.iter().map(|&v| v as f64).collect(),
            Dtype::F16 => t.int32_data.iter().map(|&v| half(v as u16)).collect(),
            Dtype::BF16 => t.int32_data.iter().map(|&v| bfloat(v as u16)).collect(),
            _ => t.int32_data.iter().map(|&v| v.into()).collect(),
        }
    } else {
        let width = match dtype {
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
            Dtype::I16 | Dtype::U16 | Dtype::F16 | Dtype::BF16 => 2,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
        };
        if raw.len() != elements * width {
            return fail(format!(
                "it holds {} bytes where its shape needs {}",
                raw.len(),
                elements * width
            ));
        }
        match dtype {
            Dtype::I8 => raw.iter().map(|&b| b.cast_signed().into()).collect(),
            Dtype::U8 => raw.iter().map(|&b| b.into()).collect(),
            Dtype::Bool => raw.iter().map(|&b| f64::from(u8::from(b != 0))).collect(),
            Dtype::I16 => le(raw, |b| i16::from_le_bytes(b).into()),
            Dtype::U16 => le(raw, |b| u16::from_le_bytes(b).into()),
            Dtype::F16 => le(raw, |b| half(u16::from_le_bytes(b))),
            Dtype::BF16 => le(raw, |b| bfloat(u16::from_le_bytes(b))),
            Dtype::F32 => le(raw, |b| f32::from_le_bytes(b).into()),
            Dtype::I32 => le(raw, |b| i32::from_le_bytes(b).into()),
            Dtype::U32 => le(raw, |b| u32::from_le_bytes(b).into()),
            Dtype::F64 => le(raw, f64::from_le_bytes),
            Dtype::I64 => le(raw, |b| i64::from_le_bytes(b) as f64),
            Dtype::U64 => le(raw, |b| u64::from_le_bytes(b) as f64),
        }
    };
    if data.len() != elements {
        return fail(format!(
            "it holds {} values where its shape needs {elements}",
            data.len()
        ));
    }
    if data.iter().any(|v| v.is_nan()) {
        return fail("it holds a NaN".into());
    }
    // A single infinity is an open bound, as of Clip; among weights it is a mistake.
    if data.len() > 1 && data.iter().any(|v| v.is_infinite()) {
        return fail("it holds an infinity".into());
    }
    Ok(Array { dims, data, dtype })
}

fn tensor_type(info: &pb::ValueInfoProto) -> Option<&pb::TensorType> {
    info.r#type.as_ref()?.tensor_type.as_ref()
}

pub(crate) fn input_dtype(info: &pb::ValueInfoProto) -> Result<Dtype, ImportError> {
    let fail = |reason: String| ImportError::Input {
        input: info.name.clone(),
        reason,
    };
    let t = tensor_type(info).ok_or_else(|| {
        fail("it is not a tensor (sequences and optionals are not supported)".into())
    })?;
    dtype_of(t.elem_type).ok_or_else(|| {
        fail(format!(
            "its element type ({}) is not supported",
            dtype_name(t.elem_type)
        ))
    })
}

pub(crate) fn input_dims(
    info: &pb::ValueInfoProto,
    given: Option<&Vec<usize>>,
) -> Result<Vec<usize>, ImportError> {
    let declared = tensor_type(info).and_then(|t| t.shape.as_ref());
    let fail = |reason: String| ImportError::Input {
        input: info.name.clone(),
        reason,
    };
    let Some(declared) = declared else {
        return given.cloned().ok_or_else(|| ImportError::OpenShape {
            input: info.name.clone(),
            axis: 0,
        });
    };
    if let Some(given) = given
        && given.len() != declared.dim.len()
    {
        return Err(fail(format!(
            "the given shape has {} axes, the model has {}",
            given.len(),
            declared.dim.len()
        )));
    }
    let mut dims = Vec::new();
    for (axis, dim) in declared.dim.iter().enumerate() {
        let fixed = match dim.value {
            Some(Dim::DimValue(n)) if n > 0 => Some(n as usize),
            Some(Dim::DimValue(0)) => return Err(fail(format!("axis {axis} has length zero"))),
            // -1 is how some exporters write an open axis.
            Some(Dim::DimValue(n)) if n < -1 => {
                return Err(fail(format!("axis {axis} has length {n}")));
            }
            _ => None,
        };
        dims.push(match (given.map(|g| g[axis]), fixed) {
            (Some(g), Some(f)) if g != f => {
                return Err(fail(format!(
                    "axis {axis} has length {f} in the model, not {g}"
                )));
            }
            (Some(g), _) => g,
            (None, Some(f)) => f,
            // By convention the first axis is the batch: a program is about one sample.
            (None, None) if axis == 0 => 1,
            (None, None) => {
                return Err(ImportError::OpenShape {
                    input: info.name.clone(),
                    axis,
                });
            }
        });
    }
    Ok(dims)
}

pub(crate) fn check_output(info: &pb::ValueInfoProto, dtype: Dtype) -> Result<(), ImportError> {
    let Some(t) = tensor_type(info) else {
        return Ok(());
    };
    if t.elem_type != 0 && dtype_of(t.elem_type) != Some(dtype) {
        return Err(ImportError::Graph(format!(
            "output `{}` is declared as another element type than {}",
            info.name,
            dtype.name()
        )));
    }
    Ok(())
}
