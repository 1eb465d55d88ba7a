//! The tree of fractional sums: its layers, and the sumcheck of one layer.
//!
//! A layer of `2m` fractions is kept as two halves of m, because the sum over its first variable is all that anybody asks
//! of it.

use super::{
    EqRounds, GRAIN, P, Vector, WIDTH, add_scaled, eq_products, horizontal, rest_of_eq_products,
    sum_pairs,
};
use crate::{
    field::{E, F},
    transcript::Sink,
};
use p3_field::{Algebra, Field, PackedFieldExtension, PackedValue};
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
    pub(crate) denominators: Vec<P>,
}

/// Fractions x of the layer above: sums of the fractions (0, x) and (1, x).
fn sums<N, D>(n: [&[N]; 2], d: [&[D]; 2]) -> (Vec<D>, Vec<D>)
where
    N: Copy + Send + Sync,
    D: Algebra<E> + Copy + Send + Sync + core::ops::Mul<N, Output = D>,
{
    let len = d[0].len();
    let (mut up_n, mut up_d) = (Vec::with_capacity(len), Vec::with_capacity(len));
    (0..len)
        .into_par_iter()
        .with_min_len(GRAIN)
        .map(|i| (d[1][i] * n[0][i] + d[0][i] * n[1][i], d[0][i] * d[1][i]))
        .unzip_into_vecs(&mut up_n, &mut up_d);
    (up_n, up_d)
}

/// [`sums`], the result in halves. There are at least two fractions.
fn sums_in_halves<N, D>(n: [&[N]; 2], d: [&[D]; 2]) -> [[Vec<D>; 2]; 2]
where
    N: Copy + Send + Sync,
    D: Algebra<E> + Copy + Send + Sync + core::ops::Mul<N, Output = D>,
{
    let half = d[0].len() / 2;
    let of = |range: core::ops::Range<usize>| {
        sums(n.map(|n| &n[range.clone()]), d.map(|d| &d[range.clone()]))
    };
    let ((n0, d0), (n1, d1)) = rayon::join(|| of(0..half), || of(half..2 * half));
    [[n0, n1], [d0, d1]]
}

impl Layer {
    fn of(halves: [[Vec<P>; 2]; 2]) -> Self {
        let [numerators, denominators] = halves.map(|pair| {
            pair.map(|v| {
                let mut v = Vector::Packed(v);
                v.settle();
                v
            })
        });
        Self {
            numerators,
            denominators,
        }
    }

    /// The layer above: fraction x is the sum of fractions (0, x) and (1, x).
    pub(crate) fn above(&self) -> Above {
        let ([n0, n1], [d0, d1]) = (&self.numerators, &self.denominators);
        if let (Vector::Packed(n0), Vector::Packed(n1), Vector::Packed(d0), Vector::Packed(d1)) =
            (n0, n1, d0, d1)
        {
            return Above::Layer(Self::of(sums_in_halves([n0, n1], [d0, d1])));
        }
        let [n0, n1, d0, d1] = [n0, n1, d0, d1].map(Vector::unpack);
        let (n, d) = sums([&n0[..], &n1], [&d0[..], &d1]);
        Self::plain(n, d)
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
        let (at, ends) = eq_products(sink, claim, z, self.factors(mix));
        (at, separate(&ends, mix))
    }

    /// Two products whose sum is that of [`Layer::prove`], since `n1 d0 + mix d0 d1 = (n1 + mix d1) d0`.
    fn factors(self, mix: E) -> Vec<[Vector; 2]> {
        let ([n0, mut mixed], [d0, d1]) = (self.numerators, self.denominators);
        add_scaled(&mut mixed, &d1, mix);
        vec![[n0, d1], [mixed, d0]]
    }
}

/// What the ends of [`Layer::factors`] say of n0, n1, d0, d1.
fn separate(ends: &[[E; 2]], mix: E) -> [E; 4] {
    let ([n0, d1], [mixed, d0]) = (ends[0], ends[1]);
    [n0, mixed - mix * d1, d0, d1]
}

impl Leaves {
    /// Whether halves of halves fill registers.
    fn is_long(&self) -> bool {
        self.numerators.len() >= 8 * WIDTH
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
        let (d0, d1) = self.denominators.split_at(numerators.len() / 2);
        Above::Layer(Layer::of(sums_in_halves([n0, n1], [d0, d1])))
    }

    fn plain(&self) -> (Vec<E>, Vec<E>) {
        let n = self.numerators.len();
        (
            self.numerators.iter().map(|&v| v.into()).collect(),
            (0..n)
                .map(|i| self.denominators[i / WIDTH].extract(i % WIDTH))
                .collect(),
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
        let quarter = numerators.len() / 4;
        // First index: numerator or denominator of which half; then the values at zero and one of the first variable.
        let n: [&[Packed]; 4] = core::array::from_fn(|i| &numerators[i * quarter..][..quarter]);
        let d: [&[P]; 4] = core::array::from_fn(|i| &self.denominators[i * quarter..][..quarter]);
        let mut rounds = EqRounds::new(z);
        let Vector::Packed(eq) = &rounds.rest else {
            unreachable!("eq has a quarter of the leaves' length")
        };
        let scale = P::from(mix);
        let (zero, lead) = sum_pairs(quarter, |i| {
            let term = |n0: Packed, n1: Packed, d0: P, d1: P| {
                (d1 * n0 + d0 * n1 + d0 * d1 * scale) * eq[i]
            };
            (
                term(n[0][i], n[2][i], d[0][i], d[2][i]),
                term(
                    n[1][i] - n[0][i],
                    n[3][i] - n[2][i],
                    d[1][i] - d[0][i],
                    d[3][i] - d[2][i],
                ),
            )
        });
        let (r, next) = rounds.round(sink, claim, horizontal(zero), horizontal(lead));
        rounds.rest.sum_halves();
        let step = P::from(r);
        let base = |i: usize| -> Vec<P> {
            let (low, high) = (n[i], n[i + 1]);
            let fold = |k: usize| step * (high[k] - low[k]) + low[k];
            (0..quarter)
                .into_par_iter()
                .with_min_len(GRAIN)
                .map(fold)
                .collect()
        };
        let extension = |i: usize| -> Vec<P> {
            let (low, high) = (d[i], d[i + 1]);
            let fold = |k: usize| low[k] + (high[k] - low[k]) * step;
            (0..quarter)
                .into_par_iter()
                .with_min_len(GRAIN)
                .map(fold)
                .collect()
        };
        let layer = Layer::of([[base(0), base(2)], [extension(0), extension(2)]]);
        drop(self);
        let (mut at, ends) = rest_of_eq_products(sink, next, rounds, layer.factors(mix));
        at.insert(0, r);
        (at, separate(&ends, mix))
    }
}
