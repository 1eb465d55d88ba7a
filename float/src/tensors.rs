//! Tensors of the engine, of ONNX files, and of Programs.

use carat_program::Dtype;
use carat_program::pinned::Bits;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::{DatumType, Tensor};

/// The engine's element type; `None` where it has none.
pub(crate) fn datum(dtype: Dtype) -> Option<DatumType> {
    Some(match dtype {
        Dtype::F32 => DatumType::F32,
        Dtype::F64 => DatumType::F64,
        Dtype::F16 => DatumType::F16,
        Dtype::BF16 => return None,
        Dtype::I8 => DatumType::I8,
        Dtype::I16 => DatumType::I16,
        Dtype::I32 => DatumType::I32,
        Dtype::I64 => DatumType::I64,
        Dtype::U8 => DatumType::U8,
        Dtype::U16 => DatumType::U16,
        Dtype::U32 => DatumType::U32,
        Dtype::U64 => DatumType::U64,
        Dtype::Bool => DatumType::Bool,
    })
}

/// The element type of an engine's type; quantised ones are their integers, and sizes are 64-bit integers.
pub(crate) fn dtype(datum: DatumType) -> Option<Dtype> {
    Some(match datum {
        DatumType::F32 => Dtype::F32,
        DatumType::F64 => Dtype::F64,
        DatumType::F16 => Dtype::F16,
        DatumType::I8 | DatumType::QI8(_) => Dtype::I8,
        DatumType::I16 => Dtype::I16,
        DatumType::I32 | DatumType::QI32(_) => Dtype::I32,
        DatumType::I64 | DatumType::TDim => Dtype::I64,
        DatumType::U8 | DatumType::QU8(_) => Dtype::U8,
        DatumType::U16 => Dtype::U16,
        DatumType::U32 => Dtype::U32,
        DatumType::U64 => Dtype::U64,
        DatumType::Bool => Dtype::Bool,
        _ => return None,
    })
}

/// The element type of an ONNX number, where both sides have it.
pub(crate) fn of_onnx(code: i32) -> Option<Dtype> {
    let datum = DatumType::try_from(DataType::try_from(code).ok()?).ok()?;
    dtype(datum)
}

fn to_onnx(dtype: Dtype) -> DataType {
    match dtype {
        Dtype::F32 => DataType::Float,
        Dtype::F64 => DataType::Double,
        Dtype::F16 => DataType::Float16,
        Dtype::BF16 => DataType::Bfloat16,
        Dtype::I8 => DataType::Int8,
        Dtype::I16 => DataType::Int16,
        Dtype::I32 => DataType::Int32,
        Dtype::I64 => DataType::Int64,
        Dtype::U8 => DataType::Uint8,
        Dtype::U16 => DataType::Uint16,
        Dtype::U32 => DataType::Uint32,
        Dtype::U64 => DataType::Uint64,
        Dtype::Bool => DataType::Bool,
    }
}

/// A tensor of a model's constants.
pub(crate) fn initializer(name: &str, bits: &Bits) -> TensorProto {
    let mut proto = TensorProto {
        name: name.to_string(),
        dims: bits.dims().iter().map(|&n| n as i64).collect(),
        data_type: to_onnx(bits.dtype()) as i32,
        raw_data: bits.data().to_vec(),
        ..TensorProto::default()
    };
    if bits.data().is_empty() {
        proto.raw_data.clear();
    }
    proto
}

/// A tensor for the engine.
pub(crate) fn to_engine(bits: &Bits) -> Result<Tensor, String> {
    let datum = datum(bits.dtype())
        .ok_or_else(|| format!("the engine has no tensors of type {}", bits.dtype().name()))?;
    // SAFETY: every pattern of bits is a value of a number type, and `Bits` holds only 0 and 1 for booleans; the length was
    // checked against type and shape when `Bits` was made.
    unsafe { Tensor::from_raw_dt(datum, bits.dims(), bits.data()) }.map_err(|e| e.to_string())
}

/// A tensor from the engine.
pub(crate) fn from_engine(tensor: &Tensor) -> Result<Bits, String> {
    let datum = tensor.datum_type();
    let Some(dtype) = dtype(datum) else {
        return Err(format!("it gives tensors of type {datum:?}"));
    };
    let plain;
    let tensor = if datum == DatumType::TDim {
        plain = tensor.cast_to::<i64>().map_err(|error| error.to_string())?;
        &*plain
    } else {
        tensor
    };
    Bits::new(dtype, tensor.shape(), bytes(tensor)?).map_err(|error| error.to_string())
}

fn bytes(tensor: &Tensor) -> Result<Vec<u8>, String> {
    Ok(tensor
        .try_as_plain_ram()
        .map_err(|error| error.to_string())?
        .as_bytes()
        .to_vec())
}
