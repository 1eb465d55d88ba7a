//! The verifier's half of the sumcheck protocol (Lund, Fortnow, Karloff, Nisan 1992), and what both halves share.
//!
//! A round polynomial h of degree d is sent as its values at 0, 2, 3, .., d; its value at 1 follows from the claim
//! `h(0) + h(1)`.

use crate::{
    Error,
    field::{E, F},
    transcript::Source,
};
use alloc::vec::Vec;
use p3_field::{Field, PrimeCharacteristicRing};

/// The value at `x` of the polynomial of degree `values.len() - 1` with these values at 0, 1, 2, ...
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
pub(crate) fn verify(
    source: &mut Source<'_>,
    rounds: usize,
    degree: usize,
    mut claim: E,
) -> Result<(Vec<E>, E), Error> {
    let mut point = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let sent = source.receive("round", degree)?;
        let mut values = Vec::with_capacity(degree + 1);
        values.push(sent[0]);
        values.push(claim - sent[0]);
        values.extend_from_slice(&sent[1..]);
        let r = source.transcript.challenge();
        claim = interpolate(&values, r);
        point.push(r);
    }
    Ok((point, claim))
}
