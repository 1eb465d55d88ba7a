//! The edges of a pinned float program: numbers become elements of the model's own types, and back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{
    InputEdge as _, Label, OutputValues, ValueError, Values, arg_max, check_count, same_dims,
};
use crate::Dtype;
use crate::pinned::{Bits, PinnedInput, PinnedProgram};

/// Arrays as the inputs of a float program. Real numbers are rounded to the nearest of the input's type; an integer that the
/// type does not hold is refused. A leading axis of length one may be missing.
///
/// # Errors
/// [`ValueError`].
pub fn bits_of(inputs: &[PinnedInput], values: &[Values]) -> Result<Vec<Bits>, ValueError> {
    check_count(inputs, values.len())?;
    inputs
        .iter()
        .zip(values)
        .map(|(spec, value)| {
            let fail = |reason: String| ValueError::Value {
                name: spec.name.clone(),
                reason,
            };
            let dims = spec.dims();
            if !same_dims(value, &dims) {
                return Err(fail(format!(
                    "needs shape {dims:?}, but the given value has shape {:?}",
                    value.dims
                )));
            }
            let mut data = Vec::new();
            for &v in &value.data {
                push(spec.dtype, v, &mut data).ok_or_else(|| {
                    fail(format!(
                        "holds {v}, but the model takes {} values",
                        spec.dtype.name()
                    ))
                })?;
            }
            Bits::new(spec.dtype, &dims, data).map_err(|error| fail(error.to_string()))
        })
        .collect()
}

/// Appends an element; `None` where the type has no such value.
fn push(dtype: Dtype, v: f64, data: &mut Vec<u8>) -> Option<()> {
    /// The largest integers that all have a binary64 number of their own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let integer = |lo: f64, hi: f64| {
        (v - libm::trunc(v) == 0.0 && (lo..=hi).contains(&v)).then_some(v as i64)
    };
    match dtype {
        // A number must not become an infinity that nobody gave.
        Dtype::F32 if (v as f32).is_infinite() && v.is_finite() => return None,
        Dtype::F16 if half(v) & 0x7fff == 0x7c00 && v.is_finite() => return None,
        Dtype::F32 => data.extend((v as f32).to_le_bytes()),
        Dtype::F64 => data.extend(v.to_le_bytes()),
        Dtype::F16 => data.extend(half(v).to_le_bytes()),
        // No engine of this release takes it.
        Dtype::BF16 => return None,
        Dtype::I8 => data.extend((integer(-128.0, 127.0)? as i8).to_le_bytes()),
        Dtype::I16 => data.extend((integer(-32_768.0, 32_767.0)? as i16).to_le_bytes()),
        Dtype::I32 => {
            data.extend((integer(i32::MIN.into(), i32::MAX.into())? as i32).to_le_bytes());
        }
        Dtype::I64 => data.extend(integer(-EXACT, EXACT)?.to_le_bytes()),
        Dtype::U8 => data.push(integer(0.0, 255.0)? as u8),
        Dtype::U16 => data.extend((integer(0.0, 65_535.0)? as u16).to_le_bytes()),
        Dtype::U32 => data.extend((integer(0.0, u32::MAX.into())? as u32).to_le_bytes()),
        Dtype::U64 => data.extend((integer(0.0, EXACT)? as u64).to_le_bytes()),
        Dtype::Bool => data.push(integer(0.0, 1.0)? as u8),
    }
    Some(())
}

/// The nearest binary16 number, the even one on ties; too large ones become infinities.
fn half(v: f64) -> u16 {
    let sign = if v.is_sign_negative() { 0x8000 } else { 0 };
    let v = v.abs();
    if v.is_nan() {
        return 0x7e00;
    }
    // One unit of the last place: 2^-24 up to the least normal number, then 2^(exponent - 10).
    let exponent = (v.to_bits() >> 52) as i32 - 1023;
    let unit = exponent.max(-14) - 10;
    let steps = libm::rint(libm::ldexp(v, -unit));
    if v >= 65_520.0 {
        return sign | 0x7c00;
    }
    // Steps of 1024 and more carry the exponent with them.
    let base = ((exponent.max(-14) + 14) as u16) << 10;
    sign | (base + steps as u16)
}

/// All outputs as numbers, in the order of the program.
#[must_use]
pub fn show_bits(program: &PinnedProgram, outputs: &[Bits]) -> Vec<OutputValues> {
    program
        .body
        .outputs
        .iter()
        .zip(outputs)
        .map(|(spec, bits)| {
            let values = bits.numbers();
            let label = (!spec.labels.is_empty() && values.len() == spec.labels.len()).then(|| {
                let index = arg_max(&values);
                Label {
                    index,
                    name: spec.labels[index].clone(),
                }
            });
            OutputValues {
                name: spec.name.clone(),
                shape: bits.dims().to_vec(),
                values,
                label,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(dtype: Dtype, dims: &[u32]) -> PinnedInput {
        PinnedInput {
            name: "x".into(),
            dtype,
            dims: dims.to_vec(),
            image: None,
        }
    }

    fn values(dims: &[usize], data: &[f64]) -> Values {
        Values {
            dims: dims.to_vec(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn halves_round_to_even_and_come_back() {
        // Every finite binary16 number is its own nearest one.
        for bits in (0..0x7c00).chain(0x8000..0xfc00u16) {
            let tensor = Bits::new(Dtype::F16, &[], bits.to_le_bytes().to_vec()).expect("one");
            let v = tensor.numbers()[0];
            assert_eq!(half(v), bits, "{v}");
        }
        // Ties to even; the rounding may reach the next power of two, and infinity.
        for (v, bits) in [
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (1.999_9, 0x4000),
            (65_519.9, 0x7bff),
            (65_520.0, 0x7c00),
            (f64::INFINITY, 0x7c00),
            (f64::NEG_INFINITY, 0xfc00),
            (1e-9, 0),
        ] {
            assert_eq!(half(v), bits, "{v}");
        }
    }

    #[test]
    fn what_a_type_does_not_hold_is_refused() {
        for (dtype, good, bad) in [
            (Dtype::F32, f64::INFINITY, 1e40),
            (Dtype::F32, -3.402_823_466_385_288_6e38, -1e39),
            (Dtype::F16, 65_504.0, 65_520.0),
            (Dtype::I8, -128.0, 128.0),
            (Dtype::U8, 255.0, -1.0),
            (Dtype::I64, 9_007_199_254_740_992.0, 1e17),
            (Dtype::Bool, 1.0, 2.0),
            (Dtype::I32, 7.0, 0.5),
            (Dtype::U32, 4_294_967_295.0, f64::NAN),
        ] {
            let spec = [input(dtype, &[1])];
            assert!(bits_of(&spec, &[values(&[1], &[good])]).is_ok(), "{good}");
            assert!(bits_of(&spec, &[values(&[1], &[bad])]).is_err(), "{bad}");
        }
        let spec = [input(Dtype::F32, &[1, 2])];
        assert!(bits_of(&spec, &[values(&[2], &[1.0, 2.0])]).is_ok());
        assert!(bits_of(&spec, &[values(&[3], &[1.0, 2.0, 3.0])]).is_err());
        assert!(bits_of(&spec, &[]).is_err());
    }
}
