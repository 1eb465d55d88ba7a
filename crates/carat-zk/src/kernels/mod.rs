//! Vectors of extension elements, packed for the widest registers of the build, and the sumcheck rounds over them.
//!
//! The first variable is the most significant index bit, so binding it combines the two halves of a vector, and every
//! loop runs over contiguous packed elements.

pub(crate) mod compact;
pub(crate) mod fractions;
mod step;
pub(crate) mod stripes;
pub(crate) mod terms;

use crate::{
    field::{DEGREE, E, F},
    sumcheck::interpolate,
    transcript::Sink,
};
use p3_field::{
    Algebra, BasedVectorSpace, ExtensionField, Field, PackedFieldExtension, PackedValue,
    PrimeCharacteristicRing,
};
use rayon::prelude::*;
use stripes::Stripes;

/// As many extension elements as the base field packs in a register.
pub(crate) type P = <E as ExtensionField<F>>::ExtensionPacking;

/// Lanes of [`P`].
pub(crate) const WIDTH: usize = <<F as Field>::Packing as PackedValue>::WIDTH;

/// Packed elements that one task handles.
pub(crate) const GRAIN: usize = 1 << 8;

/// A vector of `2^n` elements.
#[derive(Debug, Clone)]
pub(crate) enum Vector {
    Packed(Vec<P>),
    /// At least two registers in each stripe.
    Striped(Stripes),
    Plain(Vec<E>),
}

impl Vector {
    /// Packs elements; their number is a power of two.
    pub(crate) fn new(elements: Vec<E>) -> Self {
        if elements.len() < 2 * WIDTH {
            return Self::Plain(elements);
        }
        let packed = elements.par_chunks_exact(WIDTH).with_min_len(GRAIN);
        Self::Packed(packed.map(P::from_ext_slice).collect())
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Packed(v) => v.len() * WIDTH,
            Self::Striped([v, _]) => 2 * v.len() * WIDTH,
            Self::Plain(v) => v.len(),
        }
    }

    /// The elements one by one.
    pub(crate) fn unpack(&self) -> Vec<E> {
        match self {
            Self::Packed(v) => v
                .iter()
                .flat_map(|p| (0..WIDTH).map(move |i| p.extract(i)))
                .collect(),
            Self::Striped(v) => table_of(&stripes::whole(v)),
            Self::Plain(v) => v.clone(),
        }
    }

    /// The same, not striped.
    fn join(&mut self) {
        if let Self::Striped(v) = self {
            *self = Self::Packed(stripes::whole(v));
        }
    }

    /// All first coefficients, all second ones, ...; zeros fill the rest of `len`.
    pub(crate) fn coefficients(&self, len: usize) -> Vec<F> {
        let mut out = F::zero_vec(len);
        let each = out.par_chunks_mut(self.len()).take(DEGREE).enumerate();
        match self {
            Self::Packed(v) => each.for_each(|(d, out)| {
                let out = <F as Field>::Packing::pack_slice_mut(out);
                for (o, p) in out.iter_mut().zip(v) {
                    *o = p.as_basis_coefficients_slice()[d];
                }
            }),
            Self::Striped(_) => unreachable!("folds are not striped"),
            Self::Plain(v) => each.for_each(|(d, out)| {
                for (o, e) in out.iter_mut().zip(v) {
                    *o = BasedVectorSpace::<F>::as_basis_coefficients_slice(e)[d];
                }
            }),
        }
        out
    }

    /// The only element left.
    pub(crate) fn single(&self) -> E {
        debug_assert_eq!(self.len(), 1);
        self.unpack()[0]
    }

    /// Binds the first variable.
    pub(crate) fn fold(&mut self, r: E) {
        match self {
            Self::Packed(v) => fold(v, r),
            Self::Striped([even, odd]) => {
                rayon::join(|| fold(even, r), || fold(odd, r));
            }
            Self::Plain(v) => fold(v, r),
        }
        self.settle();
    }

    /// Sums over the first variable.
    fn sum_halves(&mut self) {
        fn sum<A: Algebra<E> + Copy + Send + Sync>(v: &mut Vec<A>) {
            let half = v.len() / 2;
            let (low, high) = v.split_at_mut(half);
            let add = |(low, high): (&mut [A], &[A])| {
                low.iter_mut().zip(high).for_each(|(a, &b)| *a += b);
            };
            if half > 4 * GRAIN {
                let chunks = low.par_chunks_mut(GRAIN).zip(high.par_chunks(GRAIN));
                chunks.for_each(add);
            } else {
                add((low, high));
            }
            v.truncate(half);
        }
        match self {
            Self::Packed(v) => sum(v),
            Self::Striped([even, odd]) => {
                rayon::join(|| sum(even), || sum(odd));
            }
            Self::Plain(v) => sum(v),
        }
        self.settle();
    }

    /// A single register is kept as plain elements, and a single one of each stripe is no stripe.
    fn settle(&mut self) {
        if let Self::Striped([v, _]) = self
            && v.len() == 1
        {
            self.join();
        }
        if let Self::Packed(v) = self
            && v.len() == 1
        {
            *self = Self::Plain(self.unpack());
        }
    }

    /// Both halves: the first variable zero, and one.
    fn halves(self) -> (Self, Self) {
        match self {
            Self::Packed(mut v) if v.len() > 2 => {
                let high = v.split_off(v.len() / 2);
                (Self::Packed(v), Self::Packed(high))
            }
            other => {
                let mut v = other.unpack();
                let high = v.split_off(v.len() / 2);
                (Self::new(v), Self::new(high))
            }
        }
    }
}

fn fold<A: Algebra<E> + Copy + Send + Sync>(v: &mut Vec<A>, r: E) {
    let half = v.len() / 2;
    let (low, high) = v.split_at_mut(half);
    if half > GRAIN {
        low.par_chunks_mut(GRAIN)
            .zip(high.par_chunks(GRAIN))
            .for_each(|(low, high)| fold_slice(low, high, r));
    } else {
        fold_slice(low, high, r);
    }
    v.truncate(half);
}

fn fold_slice<A: Algebra<E> + Copy>(low: &mut [A], high: &[A], r: E) {
    for (a, &b) in low.iter_mut().zip(high) {
        *a += (b - *a) * r;
    }
}

/// A vector of one element, written by all threads: memory that nobody has touched is slow to touch.
pub(crate) fn filled(element: P, len: usize) -> Vec<P> {
    let elements = (0..len).into_par_iter().with_min_len(GRAIN);
    elements.map(|_| element).collect()
}

/// `eq(point, .)`.
pub(crate) fn eq_vector(point: &[E], scale: E) -> Vector {
    let lanes = WIDTH.trailing_zeros() as usize;
    if point.len() <= lanes {
        let table = crate::layout::eq_table(point)
            .into_iter()
            .map(|e| e * scale)
            .collect();
        return Vector::Plain(table);
    }
    let (head, tail) = point.split_at(point.len() - lanes);
    let table: Vec<E> = crate::layout::eq_table(tail)
        .into_iter()
        .map(|e| e * scale)
        .collect();
    let mut v = filled(P::ZERO, 1 << head.len());
    v[0] = P::from_ext_slice(&table);
    for (k, &r) in head.iter().rev().enumerate() {
        let n = 1 << k;
        let (low, high) = v[..2 * n].split_at_mut(n);
        let split = |low: &mut [P], high: &mut [P]| {
            for (a, b) in low.iter_mut().zip(high) {
                *b = *a * r;
                *a -= *b;
            }
        };
        if n > 4 * GRAIN {
            low.par_chunks_mut(GRAIN)
                .zip(high.par_chunks_mut(GRAIN))
                .for_each(|(a, b)| split(a, b));
        } else {
            split(low, high);
        }
    }
    if v.len() == 1 {
        return Vector::Plain(table_of(&v));
    }
    Vector::Packed(v)
}

fn table_of(v: &[P]) -> Vec<E> {
    v.iter()
        .flat_map(|p| (0..WIDTH).map(move |i| p.extract(i)))
        .collect()
}

pub(crate) fn horizontal(p: P) -> E {
    (0..WIDTH).map(|i| p.extract(i)).sum()
}

/// Sends a round polynomial given by its values at 0, 1, 2, ...; draws the challenge and returns it with the new claim.
fn send_round(sink: &mut Sink, values: &[E]) -> (E, E) {
    let mut message = vec![values[0]];
    message.extend_from_slice(&values[2..]);
    sink.send("round", &message);
    let r = sink.transcript.challenge();
    (r, interpolate(values, r))
}

/// `sum f g`
pub(crate) fn dot(f: &Vector, g: &Vector) -> E {
    fn sum<A: Algebra<E> + Copy + Send + Sync>(f: &[A], g: &[A]) -> A {
        sum_pairs(f.len(), |i| (f[i] * g[i], A::ZERO)).0
    }
    match (f, g) {
        (Vector::Packed(f), Vector::Packed(g)) => horizontal(sum(f, g)),
        (Vector::Plain(f), Vector::Plain(g)) => sum(f, g),
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// Sums a pair of values over all indices of the first half.
fn sum_pairs<A: Algebra<E> + Copy + Send + Sync>(
    half: usize,
    term: impl Fn(usize) -> (A, A) + Sync,
) -> (A, A) {
    let run = |from: usize, to: usize| {
        (from..to).fold((A::ZERO, A::ZERO), |(x, y), i| {
            let (a, b) = term(i);
            (x + a, y + b)
        })
    };
    if half > GRAIN {
        (0..half.div_ceil(GRAIN))
            .into_par_iter()
            .map(|c| run(c * GRAIN, ((c + 1) * GRAIN).min(half)))
            .reduce(|| (A::ZERO, A::ZERO), |(a, b), (c, d)| (a + c, b + d))
    } else {
        run(0, half)
    }
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
            let (a, b) = stripes::both_sums(|s| round(&f[s], &g[s]));
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

/// Proves `sum f g`. Returns the point and both factors there.
pub(crate) fn product(
    sink: &mut Sink,
    mut claim: E,
    mut f: Vector,
    mut g: Vector,
) -> (Vec<E>, E, E) {
    let mut point = Vec::new();
    let (mut zero, mut two) = product_round(&f, &g);
    while f.len() > 1 {
        let (r, next) = send_round(sink, &[zero, claim - zero, two]);
        claim = next;
        (zero, two) = next_product_round(&mut f, &mut g, r);
        point.push(r);
    }
    (point, f.single(), g.single())
}

/// Proves the sum of several sums of products over the same `rounds` variables. Returns the point and the claim left.
pub(crate) fn products(
    sink: &mut Sink,
    mut claim: E,
    mut pairs: Vec<(Vector, Vector)>,
    rounds: usize,
) -> (Vec<E>, E) {
    let none = || (E::ZERO, E::ZERO);
    let sum = |(a, b): (E, E), (c, d)| (a + c, b + d);
    let mut point = Vec::with_capacity(rounds);
    let terms = pairs.par_iter().map(|(f, g)| product_round(f, g));
    let (mut zero, mut two) = terms.reduce(none, sum);
    for _ in 0..rounds {
        let (r, next) = send_round(sink, &[zero, claim - zero, two]);
        claim = next;
        let terms = pairs
            .par_iter_mut()
            .map(|(f, g)| next_product_round(f, g, r));
        (zero, two) = terms.reduce(none, sum);
        point.push(r);
    }
    (point, claim)
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
        Vector::Striped(g) => stripes::both_sums(|s| sums(s, &g[s])),
        g => sums(0, packed(g)),
    };
    let (zero, two) = (horizontal(zero), horizontal(two));
    let (r, claim) = send_round(sink, &[zero, claim - zero, two]);
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
        Vector::Striped(stripes::both(folded))
    } else {
        Vector::Packed(folded(0))
    };
    folded.settle();
    let (mut point, value, _) = product(sink, claim, folded, g);
    point.insert(0, r);
    (point, value)
}

/// The product of `eq(z, .)` with a polynomial t of degree two per variable, one variable after the other: what is bound
/// so far is a factor, what is not is a table. Claims are kept without that factor.
struct EqRounds<'a> {
    z: &'a [E],
    /// `1 / z`, each; zero for zero.
    inverses: Vec<E>,
    bound: E,
    /// `eq` over the variables after the current one.
    rest: Vector,
    done: usize,
}

impl<'a> EqRounds<'a> {
    fn new(z: &'a [E], striped: bool) -> Self {
        let rest = z.get(1..).unwrap_or(&[]);
        let eq = if striped {
            stripes::eq_striped
        } else {
            eq_vector
        };
        Self {
            rest: eq(rest, E::ONE),
            inverses: inverses(z),
            z,
            bound: E::ONE,
            done: 0,
        }
    }

    /// From the claim `(1 - z) t(0) + z t(1)`, t(0) and the leading coefficient of t: sends what is needed of `eq * t`,
    /// draws, and returns the challenge r with the next claim, `t(r)`. What is summed next needs [`EqRounds::rest`] one
    /// variable on.
    fn round(&mut self, sink: &mut Sink, claim: E, zero: E, lead: E) -> (E, E) {
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
    rest_of_eq_products(sink, claim, EqRounds::new(z, striped), factors)
}

fn rest_of_eq_products(
    sink: &mut Sink,
    mut claim: E,
    mut rounds: EqRounds<'_>,
    mut factors: Vec<[Vector; 2]>,
) -> (Vec<E>, Vec<[E; 2]>) {
    let mut point = Vec::new();
    align(&mut rounds.rest, &mut factors);
    let (mut zero, mut lead) = eq_round(&rounds.rest, &factors);
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
    fn round<A: Algebra<E> + Copy + Send + Sync>(eq: &[A], pairs: &[[&[A]; 2]]) -> (A, A) {
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
    match eq {
        Vector::Striped(eq) => {
            let (a, b) = stripes::both_sums(|s| {
                let pairs: Vec<[&[P]; 2]> = (factors.iter())
                    .map(|pair| pair.each_ref().map(|v| &striped(v)[s][..]))
                    .collect();
                round(&eq[s], &pairs)
            });
            (horizontal(a), horizontal(b))
        }
        Vector::Packed(eq) if matches!(factors[0][0], Vector::Packed(_)) => {
            let pairs: Vec<[&[P]; 2]> = factors
                .iter()
                .map(|[a, b]| [packed(a), packed(b)])
                .collect();
            let (a, b) = round(eq, &pairs);
            (horizontal(a), horizontal(b))
        }
        rest => {
            let eq = rest.unpack();
            let plain: Vec<[Vec<E>; 2]> = factors
                .iter()
                .map(|[a, b]| [a.unpack(), b.unpack()])
                .collect();
            let pairs: Vec<[&[E]; 2]> = plain.iter().map(|[a, b]| [&a[..], &b[..]]).collect();
            round(&eq, &pairs)
        }
    }
}

fn packed(v: &Vector) -> &[P] {
    match v {
        Vector::Packed(v) => v,
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

fn striped(v: &Vector) -> &Stripes {
    match v {
        Vector::Striped(v) => v,
        _ => unreachable!("vectors of one length are stored alike"),
    }
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
        let (r, next) = send_round(sink, &values);
        claim = next;
        for v in [&mut e, &mut f, &mut g] {
            fold(v, r);
        }
        point.push(r);
    }
    (point, f[0], g[0])
}

/// `a += b`
pub(crate) fn add(a: &mut Vector, b: &Vector) {
    match (a, b) {
        (Vector::Packed(a), Vector::Packed(b)) => {
            a.par_chunks_mut(GRAIN)
                .zip(b.par_chunks(GRAIN))
                .for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, &b)| *a += b));
        }
        (Vector::Plain(a), Vector::Plain(b)) => a.iter_mut().zip(b).for_each(|(a, &b)| *a += b),
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// `a += m * b`
pub(crate) fn add_scaled(a: &mut Vector, b: &Vector, m: E) {
    match (a, b) {
        (Vector::Packed(a), Vector::Packed(b)) => {
            a.par_chunks_mut(GRAIN)
                .zip(b.par_chunks(GRAIN))
                .for_each(|(a, b)| {
                    for (a, &b) in a.iter_mut().zip(b) {
                        *a += b * m;
                    }
                });
        }
        (Vector::Striped([a, c]), Vector::Striped([b, d])) => {
            let scaled = |a: &mut [P], b: &[P]| {
                let chunks = a.par_chunks_mut(GRAIN).zip(b.par_chunks(GRAIN));
                chunks.for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, &b)| *a += b * m));
            };
            rayon::join(|| scaled(a, b), || scaled(c, d));
        }
        (Vector::Plain(a), Vector::Plain(b)) => a.iter_mut().zip(b).for_each(|(a, &b)| *a += b * m),
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// The value of a base field polynomial at a point.
pub(crate) fn evaluate_base(values: &[F], point: &[E]) -> E {
    let columns = point.len().div_ceil(2);
    let (row, column) = point.split_at(point.len() - columns);
    let weights = crate::layout::eq_table(column);
    compact::dot_rows(compact::Values::Plain(values), &weights)
        .iter()
        .zip(crate::layout::eq_table(row))
        .map(|(&v, w)| v * w)
        .sum()
}

/// Adds `sum_k scales[k] * places[k]^i` to element i.
pub(crate) fn add_powers(out: &mut Vector, places: &[F], scales: &[E]) {
    let Vector::Packed(out) = out else {
        let Vector::Plain(out) = out else { return };
        for (&x, &g) in places.iter().zip(scales) {
            let mut power = g;
            for o in out.iter_mut() {
                *o += power;
                power *= x;
            }
        }
        return;
    };
    /// Registers of powers that are kept while the scales go through them.
    const RUN: usize = 1 << 6;
    out.par_chunks_mut(RUN).enumerate().for_each(|(c, out)| {
        let first = (c * RUN * WIDTH) as u64;
        for (&x, &g) in places.iter().zip(scales) {
            let lanes: Vec<F> = x.shifted_powers(x.exp_u64(first)).take(WIDTH).collect();
            let mut power = *<F as Field>::Packing::from_slice(&lanes);
            let step = <F as Field>::Packing::from(x.exp_u64(WIDTH as u64));
            let scale = P::from(g);
            for o in out.iter_mut() {
                *o += scale * power;
                power *= step;
            }
        }
    });
}
