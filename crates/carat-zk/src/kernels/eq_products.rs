//! Sumchecks of products of two vectors with `eq` of a point, which is kept apart: it is a factor for what is bound, and a
//! shorter table for what is not.

use super::{
    P, Vector, eq_vector, step, stripes,
    vector::{horizontal, packed, plain, striped, sum_pairs},
};
use crate::{
    field::{E, F},
    transcript::Sink,
};
use p3_field::{Algebra, Field, PrimeCharacteristicRing};

/// The product of `eq(z, .)` with a polynomial t of degree two per variable, one variable after the other: what is bound
/// so far is a factor, what is not is a table. Claims are kept without that factor.
pub(super) struct EqRounds<'a> {
    z: &'a [E],
    /// `1 / z`, each; zero for zero.
    inverses: Vec<E>,
    bound: E,
    /// `eq` over the variables after the current one.
    pub(super) rest: Vector,
    done: usize,
}

impl<'a> EqRounds<'a> {
    pub(super) fn new(z: &'a [E], striped: bool) -> Self {
        let rest = z.get(1..).unwrap_or(&[]);
        let eq = if striped {
            stripes::eq_striped
        } else {
            eq_vector
        };
        Self::with(z, eq(rest, E::ONE))
    }

    /// With `eq` over all variables but the first.
    pub(super) fn with(z: &'a [E], rest: Vector) -> Self {
        Self {
            rest,
            inverses: inverses(z),
            z,
            bound: E::ONE,
            done: 0,
        }
    }

    /// From the claim `(1 - z) t(0) + z t(1)`, t(0) and the leading coefficient of t: sends what is needed of `eq * t`,
    /// draws, and returns the challenge r with the next claim, `t(r)`. What is summed next needs [`EqRounds::rest`] one
    /// variable on.
    pub(super) fn round(&mut self, sink: &mut Sink, claim: E, zero: E, lead: E) -> (E, E) {
        let (z, inverse) = (self.z[self.done], self.inverses[self.done]);
        // Where z is zero, which happens with probability 2^-150, any value keeps the proof well-formed, and it will be
        // refused.
        let one = (claim - zero + z * zero) * inverse;
        // t(x) = lead x^2 + slope x + zero
        let slope = one - zero - lead;
        let two = (lead.double() + slope).double() + zero;
        let three = (lead.double() + lead + slope) * F::from_u8(3) + zero;
        // eq is linear, too.
        let first = self.bound * z;
        let (start, step) = (self.bound - first, first.double() - self.bound);
        let eq = [start, first + step, first + step.double()];
        let message = [eq[0] * zero, eq[1] * two, eq[2] * three];
        sink.send("round", &message);
        let r = sink.transcript.challenge();
        self.bound = start + step * r;
        self.done += 1;
        (r, (lead * r + slope) * r + zero)
    }
}

/// The inverse of each element; zero for zero.
fn inverses(elements: &[E]) -> Vec<E> {
    // One inversion for all (Montgomery's trick): the product of all before, then back.
    let mut before = Vec::with_capacity(elements.len());
    let mut product = E::ONE;
    for &e in elements {
        before.push(product);
        if e != E::ZERO {
            product *= e;
        }
    }
    let mut inverse = product.inverse();
    let mut out = before;
    for (o, &e) in out.iter_mut().zip(elements).rev() {
        if e == E::ZERO {
            *o = E::ZERO;
        } else {
            *o *= inverse;
            inverse *= e;
        }
    }
    out
}

/// Proves `sum eq(z, x) (a b + c d)`; a pair may be left out. Returns the point and the factors there.
pub(crate) fn eq_products(
    sink: &mut Sink,
    claim: E,
    z: &[E],
    factors: Vec<[Vector; 2]>,
) -> (Vec<E>, Vec<[E; 2]>) {
    let striped = matches!(factors[0][0], Vector::Striped(_));
    let mut rounds = EqRounds::new(z, striped);
    let mut factors = factors;
    align(&mut rounds.rest, &mut factors);
    let first = eq_round(&rounds.rest, &factors);
    rest_of_eq_products(sink, claim, rounds, factors, first)
}

/// From the sums of the next round on.
pub(super) fn rest_of_eq_products(
    sink: &mut Sink,
    mut claim: E,
    mut rounds: EqRounds<'_>,
    mut factors: Vec<[Vector; 2]>,
    (mut zero, mut lead): (E, E),
) -> (Vec<E>, Vec<[E; 2]>) {
    let mut point = Vec::new();
    while factors[0][0].len() > 1 {
        let (r, next) = rounds.round(sink, claim, zero, lead);
        claim = next;
        (zero, lead) = next_eq_round(&mut rounds.rest, &mut factors, r);
        point.push(r);
    }
    let ends = factors.iter().map(|[a, b]| [a.single(), b.single()]);
    (point, ends.collect())
}

/// Zero and leading coefficient of `eq (a b + c d)`, for values at zero and one of the factors.
fn eq_term<A: Algebra<E> + Copy, const K: usize>(eq: A, low: [A; K], high: [A; K]) -> (A, A) {
    let (mut zero, mut lead) = (A::ZERO, A::ZERO);
    for k in (0..K).step_by(2) {
        zero += low[k] * low[k + 1];
        lead += (high[k] - low[k]) * (high[k + 1] - low[k + 1]);
    }
    (zero * eq, lead * eq)
}

/// Without stripes, unless all have them.
fn align(eq: &mut Vector, factors: &mut [[Vector; 2]]) {
    let striped = |v: &Vector| matches!(v, Vector::Striped(_));
    if !(striped(eq) && factors.iter().flatten().all(striped)) {
        eq.join();
        factors.iter_mut().flatten().for_each(Vector::join);
    }
}

/// Binds the first variable of all factors, moves eq on, and gives what [`eq_round`] then gives.
fn next_eq_round(eq: &mut Vector, factors: &mut [[Vector; 2]], r: E) -> (E, E) {
    let sums = match (&mut *eq, &mut *factors) {
        (Vector::Packed(eq), [[Vector::Packed(a), Vector::Packed(b)]]) => {
            step::fold_and_sum([a, b], Some(eq), r, eq_term)
        }
        (
            Vector::Packed(eq),
            [
                [Vector::Packed(a), Vector::Packed(b)],
                [Vector::Packed(c), Vector::Packed(d)],
            ],
        ) => step::fold_and_sum([a, b, c, d], Some(eq), r, eq_term),
        (Vector::Striped(eq), [[Vector::Striped(a), Vector::Striped(b)]]) => {
            stripes::fold_and_sum([a, b], Some(eq), r, eq_term)
        }
        (
            Vector::Striped(eq),
            [
                [Vector::Striped(a), Vector::Striped(b)],
                [Vector::Striped(c), Vector::Striped(d)],
            ],
        ) => stripes::fold_and_sum([a, b, c, d], Some(eq), r, eq_term),
        _ => None,
    };
    if let Some((zero, lead)) = sums {
        eq.settle();
        factors.iter_mut().flatten().for_each(Vector::settle);
        align(eq, factors);
        return (horizontal(zero), horizontal(lead));
    }
    if eq.len() > 1 {
        eq.sum_halves();
    }
    factors.iter_mut().flatten().for_each(|v| v.fold(r));
    align(eq, factors);
    eq_round(eq, factors)
}

/// The sums over the first half of `eq (a b + c d)`: its value at zero of the first variable, and the coefficient of its
/// square.
fn eq_round(eq: &Vector, factors: &[[Vector; 2]]) -> (E, E) {
    match eq {
        Vector::Striped(eq) => {
            let (a, b) = stripes::both_sums(eq[0].len(), |s| {
                let pairs: Vec<[&[P]; 2]> = (factors.iter())
                    .map(|pair| pair.each_ref().map(|v| &striped(v)[s][..]))
                    .collect();
                sums(&eq[s], &pairs)
            });
            (horizontal(a), horizontal(b))
        }
        Vector::Packed(eq) if matches!(factors[0][0], Vector::Packed(_)) => {
            let pairs: Vec<[&[P]; 2]> = factors
                .iter()
                .map(|[a, b]| [packed(a), packed(b)])
                .collect();
            let (a, b) = sums(eq, &pairs);
            (horizontal(a), horizontal(b))
        }
        Vector::Plain(eq) if matches!(factors[0][0], Vector::Plain(_)) => {
            let pairs: Vec<[&[E]; 2]> = factors
                .iter()
                .map(|pair| pair.each_ref().map(plain))
                .collect();
            sums(eq, &pairs)
        }
        // One register of factors, and half of one of eq.
        rest => {
            let eq = rest.unpack();
            let plain: Vec<[Vec<E>; 2]> = factors
                .iter()
                .map(|[a, b]| [a.unpack(), b.unpack()])
                .collect();
            let pairs: Vec<[&[E]; 2]> = plain.iter().map(|[a, b]| [&a[..], &b[..]]).collect();
            sums(&eq, &pairs)
        }
    }
}

/// [`eq_round`] of slices, or of a stripe.
pub(super) fn sums<A: Algebra<E> + Copy + Send + Sync>(eq: &[A], pairs: &[[&[A]; 2]]) -> (A, A) {
    let half = pairs[0][0].len() / 2;
    sum_pairs(half, |i| {
        let (mut zero, mut lead) = (A::ZERO, A::ZERO);
        for [a, b] in pairs {
            let (a0, b0) = (a[i], b[i]);
            zero += a0 * b0;
            lead += (a[i + half] - a0) * (b[i + half] - b0);
        }
        (zero * eq[i], lead * eq[i])
    })
}
