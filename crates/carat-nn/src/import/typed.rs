//! Tensors of ONNX files by their bits, for engines that compute on them as they are.

use carat_program::Dtype;
use carat_program::pinned::{Bits, width};
use prost::Message as _;

use super::ImportError;
use super::proto::{dtype_name, dtype_of};
use super::schema as pb;

/// Reads a file that holds one `TensorProto`, as in the ONNX backend tests: its name and its bits.
///
/// # Errors
/// [`ImportError`] for anything that is not a dense tensor of numbers of at least eight bits.
pub fn decode_tensor_bits(bytes: &[u8]) -> Result<(String, Bits), ImportError> {
    let t = pb::TensorProto::decode(bytes).map_err(|e| ImportError::Malformed(e.to_string()))?;
    let fail = |reason: String| ImportError::Tensor {
        name: t.name.clone(),
        reason,
    };
    if t.data_location == 1 || !t.external_data.is_empty() || t.segment.is_some() {
        return Err(fail("its data lies elsewhere".into()));
    }
    let dtype = dtype_of(t.data_type).ok_or_else(|| {
        fail(format!(
            "its element type ({}) is not supported",
            dtype_name(t.data_type)
        ))
    })?;
    let dims: Result<Vec<usize>, _> = t.dims.iter().map(|&n| usize::try_from(n)).collect();
    let dims = dims.map_err(|_| fail("it has an axis of negative length".into()))?;
    let data = if t.raw_data.is_empty() {
        fields(&t, dtype)
    } else {
        t.raw_data.clone()
    };
    let bits = Bits::new(dtype, &dims, data).map_err(|error| fail(error.to_string()))?;
    Ok((t.name.clone(), bits))
}

/// The elements of a tensor without raw bytes: each type has the field that the ONNX schema names for it.
fn fields(t: &pb::TensorProto, dtype: Dtype) -> Vec<u8> {
    let low = |bytes: [u8; 8]| bytes.into_iter().take(width(dtype));
    match dtype {
        Dtype::F32 => t.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F64 => t.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::I64 => t.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::U32 | Dtype::U64 => t
            .uint64_data
            .iter()
            .flat_map(|v| low(v.to_le_bytes()))
            .collect(),
        // Narrower ones, and the bits of 16-bit floats, lie in the low bits of 32-bit integers.
        _ => t
            .int32_data
            .iter()
            .flat_map(|&v| low(i64::from(v).to_le_bytes()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(t: &pb::TensorProto) -> Vec<u8> {
        t.encode_to_vec()
    }

    #[test]
    fn fields_and_raw_bytes_give_the_same_bits() {
        let cases: [(i32, pb::TensorProto, &[u8]); 4] = [
            (
                1,
                pb::TensorProto {
                    float_data: vec![-0.0, 1.5],
                    ..Default::default()
                },
                &[0, 0, 0, 0x80, 0, 0, 0xc0, 0x3f],
            ),
            (
                3,
                pb::TensorProto {
                    int32_data: vec![-1, 5],
                    ..Default::default()
                },
                &[0xff, 5],
            ),
            (
                10,
                pb::TensorProto {
                    int32_data: vec![0x3c00, 0xc000],
                    ..Default::default()
                },
                &[0, 0x3c, 0, 0xc0],
            ),
            (
                12,
                pb::TensorProto {
                    uint64_data: vec![1, 0xffff_ffff],
                    ..Default::default()
                },
                &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            ),
        ];
        for (code, mut t, raw) in cases {
            t.dims = vec![2];
            t.data_type = code;
            let (_, by_field) = decode_tensor_bits(&encoded(&t)).expect("fields");
            assert_eq!(by_field.data(), raw);
            let plain = pb::TensorProto {
                dims: vec![2],
                data_type: code,
                raw_data: raw.to_vec(),
                ..Default::default()
            };
            assert_eq!(
                decode_tensor_bits(&encoded(&plain)).expect("raw").1,
                by_field
            );
            // One value too few.
            t.dims = vec![3];
            assert!(decode_tensor_bits(&encoded(&t)).is_err());
        }
    }
}
