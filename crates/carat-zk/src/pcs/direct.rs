//! The direct form: a small polynomial is committed by hashing its values and opened by showing them.
//!
//! Below the size where a proximity proof is shorter than the polynomial, this is shorter, faster and exact: the only
//! assumption is that BLAKE3 has no collisions.

use super::{Refused, Root};
use crate::{
    field::{E, F, F_BYTES},
    transcript::Source,
};
use alloc::{string::ToString, vec::Vec};
use p3_blake3::Blake3;
use p3_field::PrimeField32;
use p3_symmetric::CryptographicHasher;

#[cfg(feature = "prover")]
use crate::transcript::Sink;

/// The domain string of a direct root.
const DOMAIN: &[u8] = b"carat/zk/direct/v1";

/// The bytes of an opening.
pub(super) fn opening_bytes(n: usize) -> usize {
    F_BYTES << n
}

/// `BLAKE3(domain || n || values)`.
pub(super) fn root(n: usize, values: &[F]) -> Root {
    hash(n, &encode(values))
}

fn hash(n: usize, bytes: &[u8]) -> Root {
    Root(Blake3.hash_iter_slices([DOMAIN, &[n as u8], bytes]))
}

fn encode(values: &[F]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * F_BYTES);
    for value in values {
        bytes.extend_from_slice(&value.as_canonical_u32().to_le_bytes());
    }
    bytes
}

/// The value of the polynomial at the point.
fn evaluate(values: &[F], point: &[E]) -> E {
    // The last coordinate is the least significant index bit.
    let mut folded: Vec<E> = values.iter().map(|v| E::from(*v)).collect();
    for x in point.iter().rev() {
        for i in 0..folded.len() / 2 {
            let (low, high) = (folded[2 * i], folded[2 * i + 1]);
            folded[i] = low + *x * (high - low);
        }
        folded.truncate(folded.len() / 2);
    }
    folded[0]
}

/// Shows all values.
#[cfg(feature = "prover")]
pub(super) fn open(values: &[F], point: &[E], sink: &mut Sink) -> E {
    sink.append(&encode(values));
    let value = evaluate(values, point);
    sink.transcript.elements("pcs value", &[value]);
    value
}

/// Hashes the shown values and evaluates them.
pub(super) fn verify(
    root: &Root,
    point: &[E],
    value: E,
    source: &mut Source<'_>,
) -> Result<(), Refused> {
    let n = point.len();
    let values = source.take_f(1 << n)?;
    // A canonical encoding is unique, so hashing the encoding of what was read is hashing what was read.
    if self::root(n, &values) != *root {
        return Err(Refused::Opening(
            "the values are not those of the root".to_string(),
        ));
    }
    source.transcript.elements("pcs value", &[value]);
    if evaluate(&values, point) != value {
        return Err(Refused::Opening(
            "the values do not give the claimed value".to_string(),
        ));
    }
    Ok(())
}
