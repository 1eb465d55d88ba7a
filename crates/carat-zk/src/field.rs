//! The field of the proof system, and how integers enter it.

use p3_field::{
    BasedVectorSpace, PrimeCharacteristicRing, PrimeField32,
    extension::QuinticTrinomialExtensionField,
};

/// KoalaBear: p = 2^31 - 2^24 + 1 = [`carat_program::MODULUS`].
pub type F = p3_koala_bear::KoalaBear;

/// The challenge field `F[X] / (X^5 + X^2 - 1)`, about 2^154.9 elements.
pub type E = QuinticTrinomialExtensionField<F>;

/// Coefficients of an element of [`E`] over [`F`].
pub const DEGREE: usize = 5;

/// Bytes of an element of [`F`] on the wire: little-endian, below p.
pub const F_BYTES: usize = 4;

/// Bytes of an element of [`E`] on the wire: its coefficients, lowest first.
pub const E_BYTES: usize = DEGREE * F_BYTES;

/// The residue of an integer.
pub fn int(value: i64) -> F {
    F::from_u32(value.rem_euclid(carat_program::MODULUS) as u32)
}

/// The representative of smallest absolute value.
#[must_use]
pub fn signed(value: F) -> i64 {
    let v = i64::from(value.as_canonical_u32());
    if v > carat_program::HALF {
        v - carat_program::MODULUS
    } else {
        v
    }
}

/// Appends the wire form of elements of [`E`].
pub(crate) fn write(elements: &[E], out: &mut alloc::vec::Vec<u8>) {
    for element in elements {
        for c in element.as_basis_coefficients_slice() {
            let c: &F = c;
            out.extend_from_slice(&c.as_canonical_u32().to_le_bytes());
        }
    }
}

/// Reads one element of [`F`]; `None` if it is not below p.
pub(crate) fn read_f(bytes: [u8; F_BYTES]) -> Option<F> {
    let v = u32::from_le_bytes(bytes);
    (i64::from(v) < carat_program::MODULUS).then(|| F::from_u32(v))
}
