//! Typed tensors by their bits, and the one byte encoding that commitments are made over.

use alloc::vec::Vec;
use thiserror::Error;

use crate::{Dtype, MAX_ELEMENTS, MAX_RANK};

/// A dense row-major tensor of one ONNX element type, held as its bits: little-endian, a boolean as one byte 0 or 1. An axis
/// may have length zero. A NaN is always the positive quiet one without payload: which NaN an operation gives depends on the
/// order of its operands in a register, and means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bits {
    dtype: Dtype,
    dims: Vec<usize>,
    data: Vec<u8>,
}

/// Bytes that are no tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BitsError {
    /// More axes than [`MAX_RANK`].
    #[error("the tensor has {0} axes; at most {MAX_RANK} are supported")]
    Rank(usize),
    /// More elements than [`MAX_ELEMENTS`].
    #[error("the tensor has more than {MAX_ELEMENTS} elements")]
    Elements,
    /// The number of bytes is not what type and shape need.
    #[error("{found} bytes for a tensor of {expected}")]
    Length {
        /// Bytes that type and shape need.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Bytes that are not the canonical encoding.
    #[error("not a canonical encoding of typed tensors: {0}")]
    Encoding(&'static str),
}

/// Bytes of one element.
#[must_use]
pub const fn width(dtype: Dtype) -> usize {
    match dtype {
        Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        Dtype::I16 | Dtype::U16 | Dtype::F16 | Dtype::BF16 => 2,
        Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
        Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
    }
}

/// Element types in the order of their codes, which are part of the format.
const DTYPES: [Dtype; 13] = [
    Dtype::F32,
    Dtype::F64,
    Dtype::F16,
    Dtype::BF16,
    Dtype::I8,
    Dtype::I16,
    Dtype::I32,
    Dtype::I64,
    Dtype::U8,
    Dtype::U16,
    Dtype::U32,
    Dtype::U64,
    Dtype::Bool,
];

/// Replaces every NaN by the canonical one, and every boolean that is not zero by one.
fn canonical(dtype: Dtype, data: &mut [u8]) {
    fn each<const N: usize>(data: &mut [u8], nan: impl Fn([u8; N]) -> bool, one: [u8; N]) {
        for chunk in data.as_chunks_mut::<N>().0 {
            if nan(*chunk) {
                *chunk = one;
            }
        }
    }
    match dtype {
        Dtype::F32 => each(
            data,
            |b| f32::from_le_bytes(b).is_nan(),
            0x7fc0_0000_u32.to_le_bytes(),
        ),
        Dtype::F64 => each(
            data,
            |b| f64::from_le_bytes(b).is_nan(),
            0x7ff8_0000_0000_0000_u64.to_le_bytes(),
        ),
        Dtype::F16 => each(
            data,
            |b| u16::from_le_bytes(b) & 0x7fff > 0x7c00,
            0x7e00_u16.to_le_bytes(),
        ),
        Dtype::BF16 => each(
            data,
            |b| u16::from_le_bytes(b) & 0x7fff > 0x7f80,
            0x7fc0_u16.to_le_bytes(),
        ),
        Dtype::Bool => each(data, |[b]| b > 1, [1]),
        _ => {}
    }
}

impl Bits {
    /// Makes a tensor from its bits; NaNs become the canonical one.
    ///
    /// # Errors
    /// [`BitsError`] when type, shape and length do not fit together or break a limit.
    pub fn new(dtype: Dtype, dims: &[usize], mut data: Vec<u8>) -> Result<Self, BitsError> {
        let expected = bytes_of(dtype, dims)?;
        if data.len() != expected {
            return Err(BitsError::Length {
                expected,
                found: data.len(),
            });
        }
        canonical(dtype, &mut data);
        Ok(Self {
            dtype,
            dims: dims.to_vec(),
            data,
        })
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The axis lengths.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements, little-endian.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.data.len() / width(self.dtype)
    }

    /// The elements as numbers, for people and comparisons. Exact but for 64-bit integers beyond 2^53.
    #[must_use]
    pub fn numbers(&self) -> Vec<f64> {
        fn le<const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            data.as_chunks::<N>().0.iter().map(|&c| f(c)).collect()
        }
        let data = &self.data;
        match self.dtype {
            Dtype::F32 => le(data, |b| f32::from_le_bytes(b).into()),
            Dtype::F64 => le(data, f64::from_le_bytes),
            Dtype::F16 => le(data, |b| half(u16::from_le_bytes(b))),
            Dtype::BF16 => le(data, |b| {
                f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into()
            }),
            Dtype::I8 => le(data, |b| i8::from_le_bytes(b).into()),
            Dtype::I16 => le(data, |b| i16::from_le_bytes(b).into()),
            Dtype::I32 => le(data, |b| i32::from_le_bytes(b).into()),
            Dtype::I64 => le(data, |b| i64::from_le_bytes(b) as f64),
            Dtype::U8 | Dtype::Bool => le(data, |[b]| b.into()),
            Dtype::U16 => le(data, |b| u16::from_le_bytes(b).into()),
            Dtype::U32 => le(data, |b| u32::from_le_bytes(b).into()),
            Dtype::U64 => le(data, |b| u64::from_le_bytes(b) as f64),
        }
    }
}

/// The value of a binary16 number.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (u64::from(bits >> 10) & 31, u64::from(bits) & 1023);
    let magnitude = match exponent {
        // A subnormal number: a multiple of 2^-24, exact in binary64.
        0 => mantissa as f64 / f64::from(1u32 << 24),
        31 if mantissa == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => f64::from_bits(((exponent + 1023 - 15) << 52) | (mantissa << 42)),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

/// Bytes that a tensor takes, within the limits.
///
/// # Errors
/// [`BitsError::Rank`] or [`BitsError::Elements`].
pub fn bytes_of(dtype: Dtype, dims: &[usize]) -> Result<usize, BitsError> {
    if dims.len() > MAX_RANK {
        return Err(BitsError::Rank(dims.len()));
    }
    let mut elements = 1usize;
    for &n in dims {
        // Each length by itself too: beside a zero, the product says nothing.
        if n > MAX_ELEMENTS {
            return Err(BitsError::Elements);
        }
        elements = elements
            .checked_mul(n)
            .filter(|&e| e <= MAX_ELEMENTS)
            .ok_or(BitsError::Elements)?;
    }
    Ok(elements * width(dtype))
}

const MAGIC: &[u8; 8] = b"caratF1\0";

/// Canonical bytes of a list of typed tensors: what input and output commitments of a pinned program are computed over.
///
/// Layout, all integers little-endian: 8-byte magic, `u32` count, then for each tensor `u32` element type (the codes of
/// [`Dtype`]), `u32` rank, `u32` per axis and the elements.
#[must_use]
pub fn encode_bits(tensors: &[Bits]) -> Vec<u8> {
    let mut out = Vec::from(MAGIC.as_slice());
    out.extend((tensors.len() as u32).to_le_bytes());
    for t in tensors {
        let code = DTYPES.iter().position(|&d| d == t.dtype).unwrap_or(0);
        out.extend((code as u32).to_le_bytes());
        out.extend((t.dims.len() as u32).to_le_bytes());
        for &n in &t.dims {
            out.extend((n as u32).to_le_bytes());
        }
        out.extend(&t.data);
    }
    out
}

/// Decodes what [`encode_bits`] wrote; refuses everything else: trailing bytes, another NaN, a boolean of 2.
///
/// # Errors
/// [`BitsError`] naming what is wrong. Never allocates more than the input's own length.
pub fn decode_bits(bytes: &[u8]) -> Result<Vec<Bits>, BitsError> {
    fn word(bytes: &mut &[u8]) -> Result<usize, BitsError> {
        let (head, tail) = bytes
            .split_first_chunk::<4>()
            .ok_or(BitsError::Encoding("truncated"))?;
        *bytes = tail;
        Ok(u32::from_le_bytes(*head) as usize)
    }
    let mut rest = bytes
        .strip_prefix(MAGIC.as_slice())
        .ok_or(BitsError::Encoding("wrong magic"))?;
    let count = word(&mut rest)?;
    let mut tensors = Vec::new();
    for _ in 0..count {
        let dtype = *DTYPES
            .get(word(&mut rest)?)
            .ok_or(BitsError::Encoding("unknown element type"))?;
        let rank = word(&mut rest)?;
        if rank > MAX_RANK {
            return Err(BitsError::Rank(rank));
        }
        let mut dims = Vec::with_capacity(rank);
        for _ in 0..rank {
            dims.push(word(&mut rest)?);
        }
        let length = bytes_of(dtype, &dims)?;
        if rest.len() < length {
            return Err(BitsError::Encoding("truncated"));
        }
        let (body, tail) = rest.split_at(length);
        rest = tail;
        let tensor = Bits::new(dtype, &dims, body.to_vec())?;
        if tensor.data != body {
            return Err(BitsError::Encoding(
                "a NaN or a boolean that is not canonical",
            ));
        }
        tensors.push(tensor);
    }
    if rest.is_empty() {
        Ok(tensors)
    } else {
        Err(BitsError::Encoding("trailing bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn another_nan_is_not_canonical() {
        let nan =
            |bits: u32| Bits::new(Dtype::F32, &[1], bits.to_le_bytes().to_vec()).expect("one");
        for bits in [0x7f80_0001, 0xffc0_0000, 0xffff_ffff, 0x7fc0_0000] {
            assert_eq!(nan(bits).data(), 0x7fc0_0000_u32.to_le_bytes());
        }
        // Infinities and zeros keep their signs.
        for bits in [0x7f80_0000, 0xff80_0000, 0x8000_0000] {
            assert_eq!(nan(bits).data(), bits.to_le_bytes());
        }
        let mut bytes = encode_bits(&[nan(0x7fc0_0000)]);
        assert!(decode_bits(&bytes).is_ok());
        let last = bytes.len() - 1;
        bytes[last] = 0xff;
        assert!(matches!(decode_bits(&bytes), Err(BitsError::Encoding(_))));
    }

    #[test]
    fn the_layout_is_fixed() {
        let tensor = Bits::new(Dtype::I16, &[2, 1], vec![1, 0, 0xff, 0xff]).expect("fits");
        assert_eq!(
            encode_bits(&[tensor]),
            b"caratF1\0\x01\0\0\0\x05\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\xff\xff"
        );
    }

    #[test]
    fn limits_are_checked_before_anything_is_allocated() {
        assert_eq!(
            Bits::new(Dtype::U8, &[1; 9], vec![0]),
            Err(BitsError::Rank(9))
        );
        for dims in [
            &[1 << 20, 1 << 20][..],
            &[usize::MAX, 2],
            &[0, usize::MAX],
            &[usize::MAX, 0],
        ] {
            assert_eq!(bytes_of(Dtype::F64, dims), Err(BitsError::Elements));
        }
        assert!(Bits::new(Dtype::F32, &[3, 0], Vec::new()).is_ok());
    }

    #[test]
    fn halves_are_exact() {
        let one = |bits: u16| half(bits);
        // IEEE 754 binary16: least subnormal, least normal, one, greatest, negative two.
        assert_eq!(one(0x0001), 1.0 / 16_777_216.0);
        assert_eq!(one(0x0400), 1.0 / 16_384.0);
        assert_eq!(one(0x3c00), 1.0);
        assert_eq!(one(0x7bff), 65504.0);
        assert_eq!(one(0xc000), -2.0);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(code in 0usize..13, dims in proptest::collection::vec(0usize..4, 0..5), seed: u64) {
            let dtype = DTYPES[code];
            let length = bytes_of(dtype, &dims).expect("small");
            let data: Vec<u8> = (0..length as u64).map(|i| (seed.wrapping_mul(i + 1) >> 17) as u8).collect();
            let tensor = Bits::new(dtype, &dims, data).expect("fits");
            let bytes = encode_bits(&[tensor.clone(), tensor.clone()]);
            prop_assert_eq!(decode_bits(&bytes), Ok(vec![tensor.clone(), tensor]));
            prop_assert!(decode_bits(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut framed = MAGIC.to_vec();
            framed.extend(&bytes);
            if let Ok(tensors) = decode_bits(&framed) {
                prop_assert_eq!(encode_bits(&tensors), framed);
            }
        }
    }
}
