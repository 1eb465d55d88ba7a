//! The edges of a program: how outside values become integers and back. Part of the digest.

use crate::{Range, Shape, ValueId};
use alloc::{string::String, vec::Vec};
use minicbor::{Decode, Encode};

/// An IEEE 754 binary64 number carried by its bits, so that programs compare, hash and encode exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct F64Bits(#[n(0)] u64);

impl From<f64> for F64Bits {
    fn from(v: f64) -> Self {
        Self(v.to_bits())
    }
}

impl From<F64Bits> for f64 {
    fn from(v: F64Bits) -> Self {
        f64::from_bits(v.0)
    }
}

/// Element type of a source model's input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[allow(missing_docs, reason = "the names are the ONNX element types")]
pub enum Dtype {
    #[n(0)]
    F32,
    #[n(1)]
    F64,
    #[n(2)]
    F16,
    #[n(3)]
    BF16,
    #[n(4)]
    I8,
    #[n(5)]
    I16,
    #[n(6)]
    I32,
    #[n(7)]
    I64,
    #[n(8)]
    U8,
    #[n(9)]
    U16,
    #[n(10)]
    U32,
    #[n(11)]
    U64,
    #[n(12)]
    Bool,
}

impl Dtype {
    /// Whether values of this type are floating point.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16)
    }

    /// The NumPy name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::F64 => "float64",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::I8 => "int8",
            Dtype::I16 => "int16",
            Dtype::I32 => "int32",
            Dtype::I64 => "int64",
            Dtype::U8 => "uint8",
            Dtype::U16 => "uint16",
            Dtype::U32 => "uint32",
            Dtype::U64 => "uint64",
            Dtype::Bool => "bool",
        }
    }
}

/// How an outside value becomes an integer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum InputEncoding {
    /// The value itself. A value outside the input's range is refused.
    #[n(0)]
    Exact,
    /// `q = clamp(round_half_even(x * 2^exponent))`, saturating to the input's range. NaN is refused.
    #[n(1)]
    Fixed {
        /// Binary exponent: one unit is `2^-exponent`.
        #[n(0)]
        exponent: i32,
    },
    /// `q = clamp(round_half_even(((x - offset) * scale) * 2^exponent))` in binary64, in that order. `offset` and
    /// `scale` repeat over the leading axes: their length divides the number of elements. NaN is refused.
    #[n(2)]
    Affine {
        /// Binary exponent.
        #[n(0)]
        exponent: i32,
        /// Subtracted first.
        #[n(1)]
        offset: Vec<F64Bits>,
        /// Multiplied next.
        #[n(2)]
        scale: Vec<F64Bits>,
    },
}

/// Colour interpretation of an image input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ImageMode {
    /// One channel; colour images are converted with the BT.601 integer weights (77, 150, 29) / 256.
    #[n(0)]
    Gray,
    /// Three channels, red first.
    #[n(1)]
    Rgb,
    /// Three channels, blue first.
    #[n(2)]
    Bgr,
}

/// How an 8-bit image becomes the input tensor: pixel `v` becomes `v * scale + offset`, channels before rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct ImageMap {
    /// Channels.
    #[n(0)]
    pub mode: ImageMode,
    /// Width in pixels; an image of another size is refused.
    #[n(1)]
    pub width: u32,
    /// Height in pixels.
    #[n(2)]
    pub height: u32,
    /// Multiplied with each pixel value (0 to 255).
    #[n(3)]
    pub scale: F64Bits,
    /// Added after.
    #[n(4)]
    pub offset: F64Bits,
}

impl ImageMap {
    /// How many values an image gives.
    pub(crate) fn values(&self) -> u128 {
        let channels: u128 = if self.mode == ImageMode::Gray { 1 } else { 3 };
        // Three factors of up to 32 bits: 64 are not enough.
        u128::from(self.width) * u128::from(self.height) * channels
    }
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct InputSpec {
    /// Name in the source model.
    #[n(0)]
    pub name: String,
    /// Element type in the source model.
    #[n(1)]
    pub dtype: Dtype,
    /// Shape.
    #[n(2)]
    pub shape: Shape,
    /// Range of the integers.
    #[n(3)]
    pub range: Range,
    /// How values become integers.
    #[n(4)]
    pub encoding: InputEncoding,
    /// How an image becomes values, where it can.
    #[n(5)]
    pub image: Option<ImageMap>,
}

/// How an integer becomes an outside value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum OutputEncoding {
    /// The integer itself (for booleans: 0 or 1).
    #[n(0)]
    Exact,
    /// `x = q * 2^-exponent`.
    #[n(1)]
    Fixed {
        /// Binary exponent.
        #[n(0)]
        exponent: i32,
    },
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct OutputSpec {
    /// Name in the source model.
    #[n(0)]
    pub name: String,
    /// Element type in the source model.
    #[n(1)]
    pub dtype: Dtype,
    /// Which value is given out.
    #[n(2)]
    pub value: ValueId,
    /// How it becomes a number.
    #[n(3)]
    pub encoding: OutputEncoding,
    /// Names of the classes along the last axis; empty where the output is not a classification.
    #[n(4)]
    pub labels: Vec<String>,
}
