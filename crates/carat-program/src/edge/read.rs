//! Numbers out of JSON and `.npy`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{InputEdge, Values};

/// The inputs of a program from JSON. An object names its inputs; anything else is the only input.
///
/// # Errors
/// What is wrong, in words.
pub fn inputs_from_json<I: InputEdge>(
    inputs: &[I],
    json: &serde_json::Value,
) -> Result<Vec<Values>, String> {
    let Some(object) = json.as_object() else {
        return Ok(vec![json_array(json)?]);
    };
    if let Some(extra) = object
        .keys()
        .find(|k| inputs.iter().all(|i| i.name() != k.as_str()))
    {
        let names: Vec<_> = inputs.iter().map(InputEdge::name).collect();
        return Err(format!(
            "the model has no input `{extra}`; it takes {}",
            names.join(", ")
        ));
    }
    inputs
        .iter()
        .map(|spec| {
            let name = spec.name();
            let value = object
                .get(name)
                .ok_or_else(|| format!("input `{name}` is missing"))?;
            json_array(value).map_err(|e| format!("input `{name}`: {e}"))
        })
        .collect()
}

/// An array from the bytes of a `.npy` file: NumPy's format, versions 1 to 3 (NEP 1), little-endian numbers in C order.
///
/// # Errors
/// What is wrong, in words.
pub fn array_from_npy(bytes: &[u8]) -> Result<Values, String> {
    let rest = bytes
        .strip_prefix(b"\x93NUMPY")
        .ok_or("it is not a .npy file")?;
    let (&[major, _], rest) = rest.split_first_chunk::<2>().ok_or("it ends early")?;
    let (length, rest) = if major == 1 {
        let (l, r) = rest.split_first_chunk::<2>().ok_or("it ends early")?;
        (usize::from(u16::from_le_bytes(*l)), r)
    } else {
        let (l, r) = rest.split_first_chunk::<4>().ok_or("it ends early")?;
        (u32::from_le_bytes(*l) as usize, r)
    };
    if length > rest.len() || length > 1 << 16 {
        return Err("it ends early".into());
    }
    let (header, body) = rest.split_at(length);
    let header = core::str::from_utf8(header).map_err(|_| "its header is not text")?;
    let field = |name: &str| {
        header
            .split_once(&format!("'{name}':"))
            .map(|(_, v)| v.trim_start())
    };
    let descr = field("descr")
        .and_then(|v| v.strip_prefix('\''))
        .and_then(|v| v.split('\'').next())
        .ok_or("its header has no descr")?;
    if field("fortran_order").is_none_or(|v| !v.starts_with("False")) {
        return Err("it is in Fortran order; save it in C order".into());
    }
    let shape = field("shape")
        .and_then(|v| v.strip_prefix('('))
        .and_then(|v| v.split(')').next())
        .ok_or("its header has no shape")?;
    let dims = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| {
            s.parse::<usize>()
                .map_err(|_| "its shape is not made of numbers")
        })
        .collect::<Result<Vec<_>, _>>()?;
    let elements = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .ok_or("its shape is too large")?;
    fn le<const N: usize>(body: &[u8], f: impl Fn([u8; N]) -> f64) -> (usize, Vec<f64>) {
        (N, body.as_chunks::<N>().0.iter().map(|&c| f(c)).collect())
    }
    let (width, data) = match descr {
        "<f4" => le(body, |b| f32::from_le_bytes(b).into()),
        "<f8" => le(body, f64::from_le_bytes),
        "|i1" => le(body, |b| i8::from_le_bytes(b).into()),
        "|u1" => le(body, |[b]| b.into()),
        "|b1" => le(body, |[b]| f64::from(u8::from(b != 0))),
        "<i2" => le(body, |b| i16::from_le_bytes(b).into()),
        "<u2" => le(body, |b| u16::from_le_bytes(b).into()),
        "<i4" => le(body, |b| i32::from_le_bytes(b).into()),
        "<u4" => le(body, |b| u32::from_le_bytes(b).into()),
        "<i8" => le(body, |b| i64::from_le_bytes(b) as f64),
        "<u8" => le(body, |b| u64::from_le_bytes(b) as f64),
        other => return Err(format!("its element type `{other}` is not supported")),
    };
    if body.len()
        != elements
            .checked_mul(width)
            .ok_or("its shape is too large")?
    {
        return Err("its length does not fit its shape".into());
    }
    Ok(Values { dims, data })
}

/// An array from nested lists of numbers, at most eight deep. Booleans are 0 and 1.
///
/// # Errors
/// What is wrong, in words.
pub fn json_array(json: &serde_json::Value) -> Result<Values, String> {
    fn walk(
        v: &serde_json::Value,
        depth: usize,
        dims: &mut Vec<usize>,
        data: &mut Vec<f64>,
    ) -> Result<(), String> {
        match v {
            serde_json::Value::Array(items) => {
                if depth == 8 {
                    return Err("it is nested too deeply".into());
                }
                if items.is_empty() {
                    return Err("it holds an empty list".into());
                }
                if dims.len() == depth {
                    if !data.is_empty() {
                        return Err("its lists have different depths".into());
                    }
                    dims.push(items.len());
                } else if dims[depth] != items.len() {
                    return Err("its lists have different lengths".into());
                }
                items
                    .iter()
                    .try_for_each(|i| walk(i, depth + 1, dims, data))
            }
            other => {
                if depth != dims.len() {
                    return Err("its lists have different depths".into());
                }
                let v = match other {
                    serde_json::Value::Bool(b) => f64::from(u8::from(*b)),
                    other => other
                        .as_f64()
                        .ok_or("it holds something other than numbers")?,
                };
                data.push(v);
                Ok(())
            }
        }
    }
    let (mut dims, mut data) = (Vec::new(), Vec::new());
    walk(json, 0, &mut dims, &mut data)?;
    Ok(Values { dims, data })
}
