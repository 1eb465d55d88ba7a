//! The verifier's half of the fractional-sum argument (Papini and Haböck, "Improving logarithmic derivative lookups
//! using GKR", 2023): the sum over all leaves of `numerator / denominator` is zero.
//!
//! Layer k has `2^k` fractions; fraction x of layer k is the sum of fractions (0, x) and (1, x) of layer k + 1, the
//! first variable being the new one.

use crate::{Error, checks::Checks, field::E, layout, sumcheck};
use alloc::{vec, vec::Vec};
use p3_field::PrimeCharacteristicRing;

/// What is left to check: both polynomials of the leaves at one point.
pub(crate) struct LeafClaim<V> {
    pub(crate) point: Vec<E>,
    pub(crate) numerator: V,
    pub(crate) denominator: V,
}

/// Reduces "the fractions sum to zero, and no denominator vanishes" to a claim about the leaves.
pub(crate) fn verify<C: Checks>(checks: &mut C, vars: usize) -> Result<LeafClaim<C::V>, Error> {
    // The root: numerator zero, denominator sent.
    let root = checks.hear("root denominator", 1)?[0];
    checks.nonzero(root, "the lookup argument's root")?;
    let (mut point, mut numerator, mut denominator) = (vec![], checks.known(E::ZERO), root);
    for layer in 0..vars {
        let mix = checks.challenge();
        let claim = checks.sum(E::ZERO, &[(E::ONE, numerator), (mix, denominator)]);
        let (at, left) = sumcheck::verify(checks, layer, 3, claim)?;
        let halves = checks.hear("halves", 4)?;
        let [n0, n1, d0, d1] = [halves[0], halves[1], halves[2], halves[3]];
        let products = [
            (E::ONE, checks.product(n0, d1)),
            (E::ONE, checks.product(n1, d0)),
            (mix, checks.product(d0, d1)),
        ];
        let expected = checks.sum(E::ZERO, &products);
        checks.equal(
            left,
            layout::eq(&point, &at),
            expected,
            "a layer of the lookup argument",
        )?;
        let t = checks.challenge();
        numerator = checks.sum(E::ZERO, &[(E::ONE - t, n0), (t, n1)]);
        denominator = checks.sum(E::ZERO, &[(E::ONE - t, d0), (t, d1)]);
        point = vec![t];
        point.extend(at);
    }
    Ok(LeafClaim {
        point,
        numerator,
        denominator,
    })
}
