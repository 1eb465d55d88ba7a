//! Sumchecks of products of two vectors, and of three.

use super::{
    GRAIN, P, Vector, WIDTH, step, stripes,
    vector::{fold, horizontal, packed, sum_pairs},
};
use crate::{
    field::{E, F},
    share,
    sumcheck::interpolate,
    transcript::Sink,
};
use p3_field::{Algebra, Field, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

/// Sends a round polynomial given by its values at 0, 1, 2, ...; draws the challenge.
fn send_round(sink: &mut Sink, values: &[E]) -> E {
    let mut message = vec![values[0]];
    message.extend_from_slice(&values[2..]);
    sink.send("round", &message);
    sink.transcript.challenge()
}

fn product_round(f: &Vector, g: &Vector) -> (E, E) {
    fn round<A: Algebra<E> + Copy + Send + Sync>(f: &[A], g: &[A]) -> (A, A) {
        let half = f.len() / 2;
        let ((f0, f1), (g0, g1)) = (f.split_at(half), g.split_at(half));
        sum_pairs(half, |i| product_term([f0[i], g0[i]], [f1[i], g1[i]]))
    }
    match (f, g) {
        (Vector::Packed(f), Vector::Packed(g)) => {
            let (a, b) = round(f, g);
            (horizontal(a), horizontal(b))
        }
        (Vector::Striped(f), Vector::Striped(g)) => {
            let (a, b) = stripes::both_sums(f[0].len(), |s| round(&f[s], &g[s]));
            (horizontal(a), horizontal(b))
        }
        (Vector::Plain(f), Vector::Plain(g)) => round(f, g),
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// Values of [`product_round`] at zero and two, for values at zero and one of f and g.
fn product_term<A: Algebra<E> + Copy>([f0, g0]: [A; 2], [f1, g1]: [A; 2]) -> (A, A) {
    (f0 * g0, (f1 + f1 - f0) * (g1 + g1 - g0))
}

/// Binds the first variable of both, and gives what [`product_round`] then gives.
fn next_product_round(f: &mut Vector, g: &mut Vector, r: E) -> (E, E) {
    let term = |_, low, high| product_term(low, high);
    let sums = match (&mut *f, &mut *g) {
        (Vector::Packed(f), Vector::Packed(g)) => step::fold_and_sum([f, g], None, r, term),
        (Vector::Striped(f), Vector::Striped(g)) => stripes::fold_and_sum([f, g], None, r, term),
        _ => None,
    };
    if let Some((zero, two)) = sums {
        f.settle();
        g.settle();
        return (horizontal(zero), horizontal(two));
    }
    f.fold(r);
    g.fold(r);
    product_round(f, g)
}

/// Binds variables of sums of products, one in each round: `round` takes the values of the round's polynomial at 0, 1 and
/// 2, and gives the challenge. Returns the point and the claim left.
pub(crate) fn product_rounds(
    rounds: usize,
    mut claim: E,
    pairs: &mut [(Vector, Vector)],
    mut round: impl FnMut([E; 3]) -> E,
) -> (Vec<E>, E) {
    let none = || (E::ZERO, E::ZERO);
    let sum = |(a, b): (E, E), (c, d)| (a + c, b + d);
    let mut point = Vec::with_capacity(rounds);
    let (mut zero, mut two) = match &*pairs {
        [(f, g)] => product_round(f, g),
        pairs => {
            let some = |pairs: &[(Vector, Vector)]| {
                let terms = pairs.iter().map(|(f, g)| product_round(f, g));
                terms.fold(none(), sum)
            };
            share::sum(pairs, 1, &some, &sum)
        }
    };
    for _ in 0..rounds {
        let values = [zero, claim - zero, two];
        let r = round(values);
        claim = interpolate(&values, r);
        (zero, two) = match &mut *pairs {
            [(f, g)] => next_product_round(f, g, r),
            pairs => {
                let some = |pairs: &mut [(Vector, Vector)]| {
                    let terms = pairs.iter_mut().map(|(f, g)| next_product_round(f, g, r));
                    terms.fold(none(), sum)
                };
                share::sum(pairs, 1, &some, &sum)
            }
        };
        point.push(r);
    }
    (point, claim)
}

/// Proves `sum f g`. Returns the point and both factors there.
pub(crate) fn product(sink: &mut Sink, claim: E, f: Vector, g: Vector) -> (Vec<E>, E, E) {
    let rounds = f.len().ilog2() as usize;
    let mut pair = [(f, g)];
    let (point, _) = product_rounds(rounds, claim, &mut pair, |values| send_round(sink, &values));
    let [(f, g)] = pair;
    (point, f.single(), g.single())
}

/// Proves the sum of several sums of products over the same `rounds` variables. Returns the point and the claim left.
pub(crate) fn products(
    sink: &mut Sink,
    claim: E,
    mut pairs: Vec<(Vector, Vector)>,
    rounds: usize,
) -> (Vec<E>, E) {
    let round = |values: [E; 3]| send_round(sink, &values);
    product_rounds(rounds, claim, &mut pairs, round)
}

/// Proves `sum f g` for a committed polynomial f over the base field. Returns the point and f there.
pub(crate) fn product_base(sink: &mut Sink, claim: E, f: &[F], mut g: Vector) -> (Vec<E>, E) {
    if matches!(g, Vector::Plain(_)) || f.len() < 4 * WIDTH {
        let f = Vector::new(f.iter().map(|&v| v.into()).collect());
        let (point, value, _) = product(sink, claim, f, g);
        return (point, value);
    }
    // Register i of part s of f, where f is in one part, or striped as g is; and its values at zero and one.
    let base = <F as Field>::Packing::pack_slice(f);
    let (f0, f1) = base.split_at(base.len() / 2);
    let parts = if matches!(g, Vector::Striped(_)) {
        2
    } else {
        1
    };
    let f = |s: usize, i: usize| (f0[parts * i + s], f1[parts * i + s]);
    let sums = |s: usize, g: &[P]| {
        let (g0, g1) = g.split_at(g.len() / 2);
        sum_pairs(g0.len(), |i| {
            let (f0, f1) = f(s, i);
            (g0[i] * f0, (g1[i] + g1[i] - g0[i]) * (f1 + f1 - f0))
        })
    };
    let (zero, two) = match &g {
        Vector::Striped(g) => stripes::both_sums(g[0].len(), |s| sums(s, &g[s])),
        g => sums(0, packed(g)),
    };
    let (zero, two) = (horizontal(zero), horizontal(two));
    let values = [zero, claim - zero, two];
    let r = send_round(sink, &values);
    let claim = interpolate(&values, r);
    g.fold(r);
    let scale = P::from(r);
    let folded = |s: usize| -> Vec<P> {
        let registers = (0..f0.len() / parts).into_par_iter().with_min_len(GRAIN);
        let fold = |i| {
            let (low, high) = f(s, i);
            scale * (high - low) + low
        };
        registers.map(fold).collect()
    };
    let mut folded = if parts == 2 {
        Vector::Striped(stripes::both(f0.len() / 2, folded))
    } else {
        Vector::Packed(folded(0))
    };
    folded.settle();
    let (mut point, value, _) = product(sink, claim, folded, g);
    point.insert(0, r);
    (point, value)
}

/// Proves `sum e f g` for three vectors of any kind.
pub(crate) fn triple(
    sink: &mut Sink,
    mut claim: E,
    mut e: Vec<E>,
    mut f: Vec<E>,
    mut g: Vec<E>,
) -> (Vec<E>, E, E) {
    let mut point = Vec::new();
    while e.len() > 1 {
        let half = e.len() / 2;
        let mut values = [E::ZERO; 4];
        for i in 0..half {
            let step = |v: &[E]| (v[i], v[i + half] - v[i]);
            let (mut a, mut b, mut c) = (step(&e), step(&f), step(&g));
            for value in &mut values {
                *value += a.0 * b.0 * c.0;
                a.0 += a.1;
                b.0 += b.1;
                c.0 += c.1;
            }
        }
        debug_assert_eq!(values[0] + values[1], claim);
        values[1] = claim - values[0];
        let r = send_round(sink, &values);
        claim = interpolate(&values, r);
        for v in [&mut e, &mut f, &mut g] {
            fold(v, r);
        }
        point.push(r);
    }
    (point, f[0], g[0])
}
