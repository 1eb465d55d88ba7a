//! The verifier's half of the fractional-sum argument (Papini and Haböck, "Improving logarithmic derivative lookups
//! using GKR", 2023): the sum over all leaves of `numerator / denominator` is zero.
//!
//! Layer k has `2^k` fractions; fraction x of layer k is the sum of fractions (0, x) and (1, x) of layer k + 1, the
//! first variable being the new one.

use crate::{Error, field::E, layout, sumcheck, transcript::Source};
use alloc::{vec, vec::Vec};
use p3_field::PrimeCharacteristicRing;

/// What is left to check: both polynomials of the leaves at one point.
pub(crate) struct LeafClaim {
    pub(crate) point: Vec<E>,
    pub(crate) numerator: E,
    pub(crate) denominator: E,
}

/// Reduces "the fractions sum to zero, and no denominator vanishes" to a claim about the leaves.
pub(crate) fn verify(source: &mut Source<'_>, vars: usize) -> Result<LeafClaim, Error> {
    // The root: numerator zero, denominator sent.
    let root = source.receive("root denominator", 1)?[0];
    if root == E::ZERO {
        return Err(Error::Check("the lookup argument's root"));
    }
    let (mut point, mut numerator, mut denominator) = (vec![], E::ZERO, root);
    for layer in 0..vars {
        let mix = source.transcript.challenge();
        let claim = numerator + mix * denominator;
        let (at, left) = sumcheck::verify(source, layer, 3, claim)?;
        let halves = source.receive("halves", 4)?;
        let [n0, n1, d0, d1] = [halves[0], halves[1], halves[2], halves[3]];
        let expected = layout::eq(&point, &at) * (n0 * d1 + n1 * d0 + mix * d0 * d1);
        if left != expected {
            return Err(Error::Check("a layer of the lookup argument"));
        }
        let t = source.transcript.challenge();
        numerator = n0 + t * (n1 - n0);
        denominator = d0 + t * (d1 - d0);
        point = vec![t];
        point.extend(at);
    }
    Ok(LeafClaim {
        point,
        numerator,
        denominator,
    })
}
