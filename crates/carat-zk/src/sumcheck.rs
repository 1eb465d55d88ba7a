//! The verifier's half of the sumcheck protocol (Lund, Fortnow, Karloff, Nisan 1992), and what both halves share.
//!
//! A round polynomial h of degree d is sent as its values at 0, 2, 3, .., d; its value at 1 follows from the claim
//! `h(0) + h(1)`.

use crate::{
    Error,
    checks::Checks,
    field::{E, F},
};
use alloc::vec::Vec;
use p3_field::{Field, PrimeCharacteristicRing};

/// What the values at 0, 1, .., `n - 1` of a polynomial of degree `n - 1` count for its value at `x`.
fn lagrange(n: usize, x: E) -> Vec<E> {
    (0..n)
        .map(|i| {
            let (mut top, mut bottom) = (E::ONE, F::ONE);
            for j in (0..n).filter(|&j| j != i) {
                top *= x - F::from_usize(j);
                bottom *= F::from_usize(i) - F::from_usize(j);
            }
            top * bottom.inverse()
        })
        .collect()
}

/// The value at `x` of the polynomial of degree `values.len() - 1` with these values at 0, 1, 2, ...
#[cfg(feature = "prover")]
pub(crate) fn interpolate(values: &[E], x: E) -> E {
    // Newton's form, `sum_k difference_k x (x - 1) .. (x - k + 1) / k!`, from the inside out.
    let mut differences = values.to_vec();
    for k in 1..values.len() {
        for i in (k..values.len()).rev() {
            let before = differences[i - 1];
            differences[i] -= before;
        }
    }
    let mut sum = E::ZERO;
    for k in (1..values.len()).rev() {
        let factor = match k {
            1 => F::ONE,
            2 => F::ONE.halve(),
            _ => F::from_usize(k).inverse(),
        };
        sum = (sum + differences[k]) * (x - F::from_usize(k - 1)) * factor;
    }
    sum + differences[0]
}

/// Runs `rounds` rounds on a claim. Returns the point and the claim about the polynomial at it.
pub(crate) fn verify<C: Checks>(
    checks: &mut C,
    rounds: usize,
    degree: usize,
    mut claim: C::V,
) -> Result<(Vec<E>, C::V), Error> {
    let mut point = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let sent = checks.hear("round", degree)?;
        let r = checks.challenge();
        let weights = lagrange(degree + 1, r);
        // The value at 1 is the claim minus the one at 0.
        let mut terms = alloc::vec![(weights[0] - weights[1], sent[0]), (weights[1], claim)];
        terms.extend(weights[2..].iter().copied().zip(sent[1..].iter().copied()));
        claim = checks.sum(E::ZERO, &terms);
        point.push(r);
    }
    Ok((point, claim))
}
