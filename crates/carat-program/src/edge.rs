//! The edges of a program: numbers in, integers through, numbers and labels out.
//!
//! This is the only place where floating point meets a running program. Every step is a single correctly rounded
//! binary64 operation, so that the integers are the same on every machine.

mod pinned;
mod read;

pub use pinned::{bits_of, show_bits};
pub use read::{array_from_npy, inputs_from_json, json_array};

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;
use thiserror::Error;

use crate::pinned::PinnedInput;
use crate::{
    HALF, ImageMap, ImageMode, InputEncoding, InputSpec, OutputEncoding, Program, Shape, Tensor,
};

/// Values that cannot become a program's inputs.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The wrong number of inputs.
    #[error("the model takes {expected} inputs ({names}), not {found}")]
    Count {
        /// Inputs of the program.
        expected: usize,
        /// Their names.
        names: String,
        /// Inputs given.
        found: usize,
    },
    /// An input has another shape.
    #[error("input `{name}` needs shape {expected}, but the given value has shape {found:?}")]
    Shape {
        /// Input name.
        name: String,
        /// Shape of the program's input.
        expected: Shape,
        /// Shape given.
        found: Vec<usize>,
    },
    /// A value cannot be encoded.
    #[error("input `{name}`: {reason}")]
    Value {
        /// Input name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// A dense array of numbers from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Axis lengths.
    pub dims: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f64>,
}

/// What the edge needs to know of an input, whatever computes on it.
pub trait InputEdge {
    /// Its name.
    fn name(&self) -> &str;
    /// Its axis lengths.
    fn dims(&self) -> Vec<usize>;
    /// How an image becomes its values, where it can.
    fn image(&self) -> Option<&ImageMap>;
}

impl InputEdge for InputSpec {
    fn name(&self) -> &str {
        &self.name
    }

    fn dims(&self) -> Vec<usize> {
        self.shape.dims()
    }

    fn image(&self) -> Option<&ImageMap> {
        self.image.as_ref()
    }
}

impl InputEdge for PinnedInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn dims(&self) -> Vec<usize> {
        self.dims.iter().map(|&n| n as usize).collect()
    }

    fn image(&self) -> Option<&ImageMap> {
        self.image.as_ref()
    }
}

/// Whether an array has the shape of an input. A leading axis of length one may be missing.
fn same_dims(value: &Values, want: &[usize]) -> bool {
    value.dims == want || (want.first() == Some(&1) && value.dims == want[1..])
}

/// Encodes one input.
///
/// # Errors
/// [`ValueError`] for another number of values than the shape has, NaN, or an integer outside the input's range.
pub fn encode_input(spec: &InputSpec, data: &[f64]) -> Result<Tensor, ValueError> {
    let fail = |reason: String| ValueError::Value {
        name: spec.name.clone(),
        reason,
    };
    if data.len() != spec.shape.elements() {
        return Err(fail(format!(
            "needs {} values, not {}",
            spec.shape.elements(),
            data.len()
        )));
    }
    if data.iter().any(|v| v.is_nan()) {
        return Err(fail(
            "holds a NaN, which has no place among integers".into(),
        ));
    }
    let (lo, hi) = (spec.range.lo as f64, spec.range.hi as f64);
    let fixed = |v: f64, exponent: i32| libm::rint(libm::ldexp(v, exponent)).clamp(lo, hi) as i32;
    let encoded: Vec<i32> = match &spec.encoding {
        InputEncoding::Exact => data
            .iter()
            .map(|&v| {
                if v - libm::trunc(v) != 0.0 {
                    Err(fail(format!(
                        "holds {v}, but the model takes {} values",
                        spec.dtype.name()
                    )))
                } else if v < lo || v > hi {
                    Err(fail(format!(
                        "holds {v}, outside {}..={}, the range that the program was compiled for",
                        spec.range.lo, spec.range.hi
                    )))
                } else {
                    Ok(v as i32)
                }
            })
            .collect::<Result<_, _>>()?,
        InputEncoding::Fixed { exponent } => data.iter().map(|&v| fixed(v, *exponent)).collect(),
        InputEncoding::Affine {
            exponent,
            offset,
            scale,
        } => data
            .iter()
            .enumerate()
            .map(|(i, &v)| {
                let k = i % offset.len();
                fixed((v - f64::from(offset[k])) * f64::from(scale[k]), *exponent)
            })
            .collect(),
    };
    if encoded.iter().any(|&v| i64::from(v).abs() > HALF) {
        return Err(fail("leaves the exact range".into()));
    }
    Tensor::new(spec.shape.clone(), encoded).map_err(|e| fail(e.to_string()))
}

/// Encodes all inputs, in program order.
///
/// # Errors
/// [`ValueError`].
pub fn encode(program: &Program, inputs: &[Vec<f64>]) -> Result<Vec<Tensor>, ValueError> {
    check_count(&program.inputs, inputs.len())?;
    program
        .inputs
        .iter()
        .zip(inputs)
        .map(|(spec, data)| encode_input(spec, data))
        .collect()
}

/// Encodes arrays whose shapes are checked. A leading axis of length one may be missing.
///
/// # Errors
/// [`ValueError`].
pub fn encode_values(program: &Program, inputs: &[Values]) -> Result<Vec<Tensor>, ValueError> {
    check_count(&program.inputs, inputs.len())?;
    program
        .inputs
        .iter()
        .zip(inputs)
        .map(|(spec, value)| {
            if !same_dims(value, &spec.shape.dims()) {
                return Err(ValueError::Shape {
                    name: spec.name.clone(),
                    expected: spec.shape.clone(),
                    found: value.dims.clone(),
                });
            }
            encode_input(spec, &value.data)
        })
        .collect()
}

fn check_count<I: InputEdge>(inputs: &[I], found: usize) -> Result<(), ValueError> {
    if inputs.len() == found {
        return Ok(());
    }
    let names: Vec<_> = inputs.iter().map(InputEdge::name).collect();
    Err(ValueError::Count {
        expected: inputs.len(),
        names: names.join(", "),
        found,
    })
}

/// Values of an 8-bit image (rows of interleaved channels) under an input's image mapping.
///
/// # Errors
/// [`ValueError`] when the input takes no images or the image has another size.
pub fn encode_image(
    spec: &impl InputEdge,
    width: usize,
    height: usize,
    channels: usize,
    pixels: &[u8],
) -> Result<Vec<f64>, ValueError> {
    let fail = |reason: String| ValueError::Value {
        name: spec.name().into(),
        reason,
    };
    let map = spec
        .image()
        .ok_or_else(|| fail("takes no images: its model card has no image mapping".into()))?;
    if (width, height) != (map.width as usize, map.height as usize) {
        return Err(fail(format!(
            "needs an image of {} x {} pixels, not {width} x {height}",
            map.width, map.height
        )));
    }
    if !(1..=4).contains(&channels) || pixels.len() != width * height * channels {
        return Err(fail("has an image of an unknown layout".into()));
    }
    let colour = |p: &[u8]| -> [u8; 3] {
        if channels < 3 {
            [p[0]; 3]
        } else {
            [p[0], p[1], p[2]]
        }
    };
    let value = |v: u32| f64::from(v) * f64::from(map.scale) + f64::from(map.offset);
    let rows = pixels.chunks_exact(channels).map(colour);
    Ok(match map.mode {
        ImageMode::Gray => rows
            .map(|[r, g, b]| {
                value((77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b)) >> 8)
            })
            .collect(),
        mode => {
            let order = if mode == ImageMode::Rgb {
                [0, 1, 2]
            } else {
                [2, 1, 0]
            };
            let rows: Vec<_> = rows.collect();
            order
                .iter()
                .flat_map(|&c| rows.iter().map(move |p| value(p[c].into())))
                .collect()
        }
    })
}

/// One output as numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputValues {
    /// Name in the source model.
    pub name: String,
    /// Axis lengths.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f64>,
    /// For a classification of one sample: index and name of the largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// The class that a classifier names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Index along the last axis; the lowest on ties.
    pub index: usize,
    /// Name.
    pub name: String,
}

/// Place of the largest element, the lowest on ties: how a classifier's answer is read, wherever it is read.
#[must_use]
pub fn arg_max<T: PartialOrd>(values: &[T]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Decodes all outputs, in program order. Exact: a power of two scales each integer.
#[must_use]
pub fn decode(program: &Program, outputs: &[Tensor]) -> Vec<OutputValues> {
    program
        .outputs
        .iter()
        .zip(outputs)
        .map(|(spec, tensor)| {
            let exponent = match spec.encoding {
                OutputEncoding::Exact => 0,
                OutputEncoding::Fixed { exponent } => exponent,
            };
            let q = tensor.data();
            let label = (!spec.labels.is_empty() && q.len() == spec.labels.len()).then(|| {
                let index = arg_max(q);
                Label {
                    index,
                    name: spec.labels[index].clone(),
                }
            });
            OutputValues {
                name: spec.name.clone(),
                shape: tensor.shape().dims(),
                values: q
                    .iter()
                    .map(|&v| libm::ldexp(v.into(), -exponent))
                    .collect(),
                label,
            }
        })
        .collect()
}
