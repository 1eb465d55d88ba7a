//! The verifier's half of the sumcheck protocol (Lund, Fortnow, Karloff, Nisan 1992), and what both halves share.
//!
//! A round polynomial h of degree d is sent as its values at 0, 2, 3, .., d; its value at 1 follows from the claim
//! `h(0) + h(1)`.

use crate::{Error, field::E, transcript::Source};
use alloc::vec::Vec;
use p3_field::{Field, PrimeCharacteristicRing};

/// The value at `x` of the polynomial of degree `values.len() - 1` with these values at 0, 1, 2, ...
pub(crate) fn interpolate(values: &[E], x: E) -> E {
    let n = values.len();
    let node = |i: usize| E::from_usize(i);
    (0..n)
        .map(|i| {
            let (mut top, mut bottom) = (E::ONE, E::ONE);
            for j in (0..n).filter(|&j| j != i) {
                top *= x - node(j);
                bottom *= node(i) - node(j);
            }
            values[i] * top * bottom.inverse()
        })
        .sum()
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
