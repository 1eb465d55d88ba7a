//! Tensors of the Open Inference Protocol: in JSON, and as raw little-endian bytes after it.

use std::collections::BTreeMap;

use carat_nn::edge::{OutputValues, Values};
use carat_program::Dtype;
use serde::Deserialize;
use serde_json::{Value, json};

/// Deepest nesting of tensors in JSON.
const MAX_DEPTH: usize = 8;

/// An input as it is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Its name.
    pub(super) name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Option<Value>,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
}

/// The protocol's name of an element type.
pub(super) const fn datatype(of: Dtype) -> &'static str {
    match of {
        Dtype::F32 => "FP32",
        Dtype::F64 => "FP64",
        Dtype::F16 => "FP16",
        Dtype::BF16 => "BF16",
        Dtype::I8 => "INT8",
        Dtype::I16 => "INT16",
        Dtype::I32 => "INT32",
        Dtype::I64 => "INT64",
        Dtype::U8 => "UINT8",
        Dtype::U16 => "UINT16",
        Dtype::U32 => "UINT32",
        Dtype::U64 => "UINT64",
        Dtype::Bool => "BOOL",
    }
}

/// The type that an output is sent in: binary64 for fractions, which holds the exact answer that the receipt commits to.
pub(super) fn answer_datatype(of: Dtype) -> &'static str {
    if of.is_float() { "FP64" } else { datatype(of) }
}

impl Input {
    /// Its values; takes its bytes off the front of `binary` where it is sent as bytes.
    pub(super) fn values(&self, binary: &mut &[u8]) -> Result<Values, String> {
        let count = self
            .shape
            .iter()
            .try_fold(1usize, |count, axis| count.checked_mul(*axis))
            .ok_or("its shape is too large")?;
        if let Some(other) = self
            .parameters
            .keys()
            .find(|name| *name != "binary_data_size")
        {
            return Err(format!("the parameter {other} is not known here"));
        }
        let data = match (&self.data, self.parameters.get("binary_data_size")) {
            (Some(_), Some(_)) => return Err("it has data in JSON and as bytes".into()),
            (None, None) => return Err("it has no data".into()),
            (Some(data), None) => {
                let mut values = Vec::new();
                flatten(data, 0, &mut values)?;
                values
            }
            (None, Some(size)) => {
                let size = size
                    .as_u64()
                    .and_then(|size| usize::try_from(size).ok())
                    .ok_or("binary_data_size is no length")?;
                let (own, rest) = binary
                    .split_at_checked(size)
                    .ok_or("the body ends before its bytes do")?;
                *binary = rest;
                raw(&self.datatype, own)?
            }
        };
        if data.len() != count {
            return Err(format!(
                "its shape has {count} elements, its data {}",
                data.len()
            ));
        }
        Ok(Values {
            dims: self.shape.clone(),
            data,
        })
    }
}

fn flatten(value: &Value, depth: usize, out: &mut Vec<f64>) -> Result<(), String> {
    match value {
        Value::Array(items) if depth < MAX_DEPTH => items
            .iter()
            .try_for_each(|item| flatten(item, depth + 1, out)),
        Value::Array(_) => Err("it is nested too deeply".into()),
        Value::Bool(value) => {
            out.push(f64::from(u8::from(*value)));
            Ok(())
        }
        other => {
            out.push(
                other
                    .as_f64()
                    .ok_or("it holds something other than numbers")?,
            );
            Ok(())
        }
    }
}

fn raw(datatype: &str, bytes: &[u8]) -> Result<Vec<f64>, String> {
    fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Result<Vec<f64>, String> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        if !rest.is_empty() {
            return Err(format!("its bytes are no multiple of {N}"));
        }
        Ok(chunks.iter().map(|chunk| f(*chunk)).collect())
    }
    match datatype {
        "BOOL" => each(bytes, |[b]| f64::from(u8::from(b != 0))),
        "UINT8" => each(bytes, |[b]| b.into()),
        "INT8" => each(bytes, |b| i8::from_le_bytes(b).into()),
        "UINT16" => each(bytes, |b| u16::from_le_bytes(b).into()),
        "INT16" => each(bytes, |b| i16::from_le_bytes(b).into()),
        "UINT32" => each(bytes, |b| u32::from_le_bytes(b).into()),
        "INT32" => each(bytes, |b| i32::from_le_bytes(b).into()),
        "UINT64" => each(bytes, |b| u64::from_le_bytes(b) as f64),
        "INT64" => each(bytes, |b| i64::from_le_bytes(b) as f64),
        "FP16" => each(bytes, |b| half(u16::from_le_bytes(b))),
        "BF16" => each(bytes, |b| {
            f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into()
        }),
        "FP32" => each(bytes, |b| f32::from_le_bytes(b).into()),
        "FP64" => each(bytes, f64::from_le_bytes),
        other => Err(format!("the datatype {other} is not taken")),
    }
}

/// A binary16 number (IEEE 754), exactly.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let two = |power: i32| f64::from_bits(((1023 + power) as u64) << 52);
    sign * match exponent {
        0 => fraction * two(-24),
        31 if bits & 0x3ff == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * two(exponent - 25),
    }
}

/// An output as it is sent; its bytes go to the end of `binary` where they are wanted.
pub(super) fn output(
    of: Dtype,
    values: &OutputValues,
    as_bytes: bool,
    binary: &mut Vec<u8>,
) -> Value {
    let datatype = answer_datatype(of);
    let mut json = json!({
        "name": values.name,
        "datatype": datatype,
        "shape": values.shape,
    });
    if as_bytes {
        let start = binary.len();
        for value in &values.values {
            // Integers are exact here: an output's integers have at most 32 bits.
            match datatype {
                "BOOL" => binary.push(u8::from(*value != 0.0)),
                "UINT8" => binary.extend((*value as u8).to_le_bytes()),
                "INT8" => binary.extend((*value as i8).to_le_bytes()),
                "UINT16" => binary.extend((*value as u16).to_le_bytes()),
                "INT16" => binary.extend((*value as i16).to_le_bytes()),
                "UINT32" => binary.extend((*value as u32).to_le_bytes()),
                "INT32" => binary.extend((*value as i32).to_le_bytes()),
                "UINT64" => binary.extend((*value as u64).to_le_bytes()),
                "INT64" => binary.extend((*value as i64).to_le_bytes()),
                _ => binary.extend(value.to_le_bytes()),
            }
        }
        json["parameters"] = json!({ "binary_data_size": binary.len() - start });
        return json;
    }
    json["data"] = match datatype {
        "BOOL" => values.values.iter().map(|value| *value != 0.0).collect(),
        "FP64" => json!(values.values),
        _ => values.values.iter().map(|value| *value as i64).collect(),
    };
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> Input {
        serde_json::from_str(text).expect("an input")
    }

    #[test]
    fn bytes_and_json_say_the_same() {
        let json = input(r#"{"name":"x","shape":[1,2],"datatype":"FP32","data":[[0.5,-3]]}"#);
        let values = json.values(&mut &[][..]).expect("values");
        assert_eq!((values.dims, values.data), (vec![1, 2], vec![0.5, -3.0]));
        let binary = input(
            r#"{"name":"x","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}"#,
        );
        let mut bytes = &[0x00, 0x38, 0x00, 0xc2, 9][..];
        assert_eq!(binary.values(&mut bytes).expect("values").data, [0.5, -3.0]);
        assert_eq!(bytes, [9]);
    }

    #[test]
    fn half_precision_is_exact() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0x0001, 1.0 / 16_777_216.0),
            (0x7bff, 65504.0),
            (0xfc00, f64::NEG_INFINITY),
            (0x8000, -0.0),
        ] {
            assert_eq!(half(bits).to_bits(), f64::to_bits(value), "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            r#"{"name":"x","shape":[3],"datatype":"FP32","data":[1,2]}"#,
            r#"{"name":"x","shape":[1],"datatype":"FP32"}"#,
            r#"{"name":"x","shape":[1],"datatype":"FP32","data":["a"]}"#,
            r#"{"name":"x","shape":[18446744073709551615,2],"datatype":"FP32","data":[1]}"#,
            r#"{"name":"x","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":2}}"#,
            r#"{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":9}}"#,
            r#"{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":3}}"#,
            r#"{"name":"x","shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"a"},"data":[1]}"#,
        ] {
            assert!(
                input(text).values(&mut &[1, 2, 3, 4][..]).is_err(),
                "{text}"
            );
        }
        let deep = format!("{}1{}", "[".repeat(20), "]".repeat(20));
        let text = format!(r#"{{"name":"x","shape":[1],"datatype":"FP32","data":{deep}}}"#);
        assert!(input(&text).values(&mut &[][..]).is_err());
    }
}
