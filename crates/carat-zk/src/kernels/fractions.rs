//! The tree of fractional sums: its layers, and the sumcheck of one layer.
//!
//! A layer of `2m` fractions is kept as two halves of m, because the sum over its first variable is all that anybody asks
//! of it.

use super::{
    GRAIN, P, Vector, WIDTH,
    eq_products::{self, EqRounds, eq_products, rest_of_eq_products},
    stripes::{self, Stripes, both, both_of, both_sums, eq_stripe},
    vector::{add_scaled, add_scaled_slice, horizontal, sum_halves, sum_pairs},
};
use crate::{
    field::{E, F},
    transcript::Sink,
};
use p3_field::{Algebra, Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing};
use rayon::prelude::*;

type Packed = <F as Field>::Packing;

/// A layer of fractions: numerators and denominators, the first variable zero, and one.
#[derive(Debug)]
pub(crate) struct Layer {
    numerators: [Vector; 2],
    denominators: [Vector; 2],
}

/// What is above a layer.
#[derive(Debug)]
pub(crate) enum Above {
    Layer(Layer),
    /// The one fraction that is the sum of all.
    Root {
        numerator: E,
        denominator: E,
    },
}

/// The leaves: numerators are in the base field. A last register may be filled in part.
pub(crate) struct Leaves {
    pub(crate) numerators: Vec<F>,
    /// Registers with even numbers, and with odd ones.
    pub(crate) denominators: Stripes,
}

/// Fractions x of the layer above: sums of the fractions (0, x) and (1, x), whose numerators and denominators `at` gives.
fn sums<N, D>(len: usize, at: impl Fn(usize) -> ([N; 2], [D; 2]) + Sync) -> (Vec<D>, Vec<D>)
where
    N: Copy,
    D: Algebra<E> + Copy + Send + core::ops::Mul<N, Output = D>,
{
    let (mut up_n, mut up_d) = (Vec::with_capacity(len), Vec::with_capacity(len));
    (0..len)
        .into_par_iter()
        .with_min_len(GRAIN)
        .map(|i| {
            let (n, d) = at(i);
            (d[1] * n[0] + d[0] * n[1], d[0] * d[1])
        })
        .unzip_into_vecs(&mut up_n, &mut up_d);
    (up_n, up_d)
}

/// Numerators, then denominators, in halves.
type Halves = [[Vec<P>; 2]; 2];

/// [`sums`] of an even number of fractions, the result in halves.
fn sums_in_halves<N>(len: usize, at: impl Fn(usize) -> ([N; 2], [P; 2]) + Sync) -> Halves
where
    N: Copy,
    P: core::ops::Mul<N, Output = P>,
{
    let half = len / 2;
    let of = |from: usize| sums(half, |i| at(from + i));
    let ((n0, d0), (n1, d1)) = stripes::each(half, || of(0), || of(half));
    [[n0, n1], [d0, d1]]
}

impl Layer {
    fn of(halves: [[Vector; 2]; 2]) -> Self {
        let [numerators, denominators] = halves.map(|pair| {
            pair.map(|mut v| {
                v.settle();
                v
            })
        });
        Self {
            numerators,
            denominators,
        }
    }

    /// From what each stripe has.
    fn striped([even, odd]: [Halves; 2]) -> Self {
        let stripes = |(even, odd): (Vec<P>, Vec<P>)| Vector::Striped([even, odd]);
        let pair = |([a, b], [c, d]): ([Vec<P>; 2], [Vec<P>; 2])| [(a, c), (b, d)].map(stripes);
        let ([n, d], [m, e]) = (even, odd);
        Self::of([(n, m), (d, e)].map(pair))
    }

    /// The layer above: fraction x is the sum of fractions (0, x) and (1, x).
    pub(crate) fn above(&self) -> Above {
        let ([n0, n1], [d0, d1]) = (&self.numerators, &self.denominators);
        match (n0, n1, d0, d1) {
            (
                Vector::Striped(n0),
                Vector::Striped(n1),
                Vector::Striped(d0),
                Vector::Striped(d1),
            ) => Above::Layer(Self::striped(both(n0[0].len(), |s| {
                let (n0, n1, d0, d1) = (&n0[s], &n1[s], &d0[s], &d1[s]);
                sums_in_halves(d0.len(), |i| ([n0[i], n1[i]], [d0[i], d1[i]]))
            }))),
            (Vector::Packed(n0), Vector::Packed(n1), Vector::Packed(d0), Vector::Packed(d1)) => {
                let at = |i: usize| ([n0[i], n1[i]], [d0[i], d1[i]]);
                let halves = sums_in_halves(d0.len(), at);
                Above::Layer(Self::of(halves.map(|pair| pair.map(Vector::Packed))))
            }
            _ => {
                let [n0, n1, d0, d1] = [n0, n1, d0, d1].map(Vector::unpack);
                let (n, d) = sums(d0.len(), |i| ([n0[i], n1[i]], [d0[i], d1[i]]));
                Self::plain(n, d)
            }
        }
    }

    fn plain(n: Vec<E>, d: Vec<E>) -> Above {
        if n.len() == 1 {
            return Above::Root {
                numerator: n[0],
                denominator: d[0],
            };
        }
        let [numerators, denominators] = [n, d].map(|v| {
            let (low, high) = Vector::new(v).halves();
            [low, high]
        });
        Above::Layer(Self {
            numerators,
            denominators,
        })
    }

    /// Proves `sum eq(z, x) (n0 d1 + n1 d0 + mix d0 d1)`. Returns the point, and n0, n1, d0, d1 there.
    pub(crate) fn prove(self, sink: &mut Sink, claim: E, z: &[E], mix: E) -> (Vec<E>, [E; 4]) {
        let (at, ends) = if self.is_long() {
            let stripes = self.into_stripes();
            let registers = stripes[0].numerators[0].len();
            let begun = both_of(registers, stripes, |s, stripe| {
                stripe.begin(eq_stripe(&z[1..], E::ONE, s), mix)
            });
            Begun::rest(begun, sink, claim, |eq| EqRounds::with(z, eq))
        } else {
            eq_products(sink, claim, z, self.factors(mix))
        };
        (at, separate(&ends, mix))
    }

    /// Whether eq has two registers and more in each stripe.
    fn is_long(&self) -> bool {
        matches!(&self.numerators[0], Vector::Striped([v, _]) if v.len() >= 4)
    }

    fn into_stripes(self) -> [Stripe; 2] {
        let parts = |pair: [Vector; 2]| {
            let [[a, b], [c, d]] = pair.map(|v| match v {
                Vector::Striped(v) => v,
                _ => unreachable!("vectors of one length are stored alike"),
            });
            [[a, c], [b, d]]
        };
        let ([n, m], [d, e]) = (parts(self.numerators), parts(self.denominators));
        [(n, d), (m, e)].map(|(numerators, denominators)| Stripe {
            numerators,
            denominators,
        })
    }

    /// Two products whose sum is that of [`Layer::prove`], since `n1 d0 + mix d0 d1 = (n1 + mix d1) d0`.
    fn factors(self, mix: E) -> Vec<[Vector; 2]> {
        let ([n0, mut mixed], [d0, d1]) = (self.numerators, self.denominators);
        add_scaled(&mut mixed, &d1, mix);
        vec![[n0, d1], [mixed, d0]]
    }
}

/// A stripe of a layer.
struct Stripe {
    numerators: [Vec<P>; 2],
    denominators: [Vec<P>; 2],
}

/// A stripe of what a layer's sumcheck works on: eq, [`Layer::factors`], and the sums of the first round.
struct Begun {
    eq: Vec<P>,
    factors: [[Vec<P>; 2]; 2],
    sums: (P, P),
}

impl Stripe {
    fn begin(self, eq: Vec<P>, mix: E) -> Begun {
        let ([n0, mut mixed], [d0, d1]) = (self.numerators, self.denominators);
        add_scaled_slice(&mut mixed, &d1, mix);
        let sums = eq_products::sums(&eq, &[[&n0, &d1], [&mixed, &d0]]);
        Begun {
            eq,
            factors: [[n0, d1], [mixed, d0]],
            sums,
        }
    }
}

impl Begun {
    /// The rounds, from both stripes of what they work on.
    fn rest<'a>(
        [even, odd]: [Self; 2],
        sink: &mut Sink,
        claim: E,
        rounds: impl FnOnce(Vector) -> EqRounds<'a>,
    ) -> (Vec<E>, Vec<[E; 2]>) {
        let (a, b) = (even.sums, odd.sums);
        let sums = (horizontal(a.0 + b.0), horizontal(a.1 + b.1));
        let pairs = even.factors.into_iter().zip(odd.factors);
        let factors = pairs.map(|([a, b], [c, d])| [[a, c], [b, d]].map(Vector::Striped));
        let rounds = rounds(Vector::Striped([even.eq, odd.eq]));
        rest_of_eq_products(sink, claim, rounds, factors.collect(), sums)
    }
}

/// What the ends of [`Layer::factors`] say of n0, n1, d0, d1.
fn separate(ends: &[[E; 2]], mix: E) -> [E; 4] {
    let ([n0, d1], [mixed, d0]) = (ends[0], ends[1]);
    [n0, mixed - mix * d1, d0, d1]
}

impl Leaves {
    /// Whether each stripe has four registers and more of every quarter.
    fn is_long(&self) -> bool {
        self.numerators.len() >= 32 * WIDTH
    }

    /// The layer above.
    pub(crate) fn above(&self) -> Above {
        if !self.is_long() {
            return match self.plain() {
                (n, d) if n.len() > 1 => match Layer::plain(n, d) {
                    Above::Layer(leaves) => leaves.above(),
                    root @ Above::Root { .. } => root,
                },
                (n, d) => Layer::plain(n, d),
            };
        }
        let numerators = Packed::pack_slice(&self.numerators);
        let (n0, n1) = numerators.split_at(numerators.len() / 2);
        Above::Layer(Layer::striped(both(n0.len() / 2, |s| {
            let (d0, d1) = self.denominators[s].split_at(n0.len() / 2);
            sums_in_halves(d0.len(), |i| {
                ([n0[2 * i + s], n1[2 * i + s]], [d0[i], d1[i]])
            })
        })))
    }

    fn plain(&self) -> (Vec<E>, Vec<E>) {
        let denominator = |i: usize| {
            let register = i / WIDTH;
            self.denominators[register % 2][register / 2].extract(i % WIDTH)
        };
        (
            self.numerators.iter().map(|&v| v.into()).collect(),
            (0..self.numerators.len()).map(denominator).collect(),
        )
    }

    /// As [`Layer::prove`]. The first round works on numerators in the base field.
    pub(crate) fn prove(self, sink: &mut Sink, claim: E, z: &[E], mix: E) -> (Vec<E>, [E; 4]) {
        if !self.is_long() {
            let (n, d) = self.plain();
            return match Layer::plain(n, d) {
                Above::Layer(layer) => layer.prove(sink, claim, z, mix),
                Above::Root { .. } => unreachable!("a single leaf has no layer above it"),
            };
        }
        let numerators = Packed::pack_slice(&self.numerators);
        let (quarter, own) = (numerators.len() / 4, numerators.len() / 8);
        // Which half, then the values at zero and one of the first variable; of a stripe, register by register.
        let n = |s: usize, q: usize, i: usize| numerators[q * quarter + 2 * i + s];
        let d = |s: usize, q: usize| &self.denominators[s][q * own..][..own];
        let mut rounds = EqRounds::new(z, true);
        let Vector::Striped(eq) = &rounds.rest else {
            unreachable!("eq has a quarter of the leaves' length")
        };
        let scale = P::from(mix);
        let (zero, lead) = both_sums(own, |s| {
            let (d, eq) = ([0, 1, 2, 3].map(|q| d(s, q)), &eq[s]);
            sum_pairs(own, |i| {
                let n = [0, 1, 2, 3].map(|q| n(s, q, i));
                let term = |n0: Packed, n1: Packed, d0: P, d1: P| {
                    (d1 * n0 + d0 * n1 + d0 * d1 * scale) * eq[i]
                };
                (
                    term(n[0], n[2], d[0][i], d[2][i]),
                    term(
                        n[1] - n[0],
                        n[3] - n[2],
                        d[1][i] - d[0][i],
                        d[3][i] - d[2][i],
                    ),
                )
            })
        });
        let (r, next) = rounds.round(sink, claim, horizontal(zero), horizontal(lead));
        let Vector::Striped(eq) = core::mem::replace(&mut rounds.rest, Vector::zero(1)) else {
            unreachable!("as before the round")
        };
        let step = P::from(r);
        let begun = both_of(own, eq, |s, mut eq| {
            sum_halves(&mut eq);
            let all = || (0..own).into_par_iter().with_min_len(GRAIN);
            let base = |q: usize| -> Vec<P> {
                all()
                    .map(|i| step * (n(s, q + 1, i) - n(s, q, i)) + n(s, q, i))
                    .collect()
            };
            let extension = |q: usize| -> Vec<P> {
                let (low, high) = (d(s, q), d(s, q + 1));
                all().map(|i| low[i] + (high[i] - low[i]) * step).collect()
            };
            let stripe = Stripe {
                numerators: [base(0), base(2)],
                denominators: [extension(0), extension(2)],
            };
            stripe.begin(eq, mix)
        });
        drop(self);
        let (mut at, ends) = Begun::rest(begun, sink, next, |eq| {
            rounds.rest = eq;
            rounds
        });
        at.insert(0, r);
        (at, separate(&ends, mix))
    }
}
