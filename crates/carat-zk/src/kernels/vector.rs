//! Vectors of extension elements, and what can be done with one or two of them.

use super::{GRAIN, P, WIDTH, stripes, stripes::Stripes};
use crate::{
    field::{DEGREE, E, F},
    share,
};
use core::ops::Range;
use p3_field::{
    Algebra, BasedVectorSpace, Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing,
};
use rayon::prelude::*;

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

    /// Of zeros; their number is a power of two.
    pub(crate) fn zero(len: usize) -> Self {
        if len < 2 * WIDTH {
            return Self::Plain(E::zero_vec(len));
        }
        Self::Packed(filled(P::ZERO, len / WIDTH))
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
    pub(super) fn join(&mut self) {
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
                stripes::each(even.len(), || fold(even, r), || fold(odd, r));
            }
            Self::Plain(v) => fold(v, r),
        }
        self.settle();
    }

    /// Sums over the first variable.
    pub(super) fn sum_halves(&mut self) {
        match self {
            Self::Packed(v) => sum_halves(v),
            Self::Striped([even, odd]) => {
                stripes::each(even.len(), || sum_halves(even), || sum_halves(odd));
            }
            Self::Plain(v) => sum_halves(v),
        }
        self.settle();
    }

    /// A single register is kept as plain elements, and a single one of each stripe is no stripe.
    pub(super) fn settle(&mut self) {
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
    pub(super) fn halves(self) -> (Self, Self) {
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

pub(super) fn sum_halves<A: Algebra<E> + Copy + Send + Sync>(v: &mut Vec<A>) {
    let half = v.len() / 2;
    let (low, high) = v.split_at_mut(half);
    share::each((low, &*high), 4 * GRAIN, &|(low, high)| {
        low.iter_mut().zip(high).for_each(|(a, &b)| *a += b);
    });
    v.truncate(half);
}

pub(super) fn fold<A: Algebra<E> + Copy + Send + Sync>(v: &mut Vec<A>, r: E) {
    let half = v.len() / 2;
    let (low, high) = v.split_at_mut(half);
    share::each((low, &*high), GRAIN, &|(low, high)| {
        fold_slice(low, high, r);
    });
    v.truncate(half);
}

pub(super) fn fold_slice<A: Algebra<E> + Copy>(low: &mut [A], high: &[A], r: E) {
    for (a, &b) in low.iter_mut().zip(high) {
        *a += (b - *a) * r;
    }
}

/// A vector of one element, written by all threads: memory that nobody has touched is slow to touch.
pub(crate) fn filled<T: Copy + Send + Sync>(element: T, len: usize) -> Vec<T> {
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
        share::each((low, high), 2 * GRAIN, &|(low, high)| {
            for (a, b) in low.iter_mut().zip(high) {
                *b = *a * r;
                *a -= *b;
            }
        });
    }
    if v.len() == 1 {
        return Vector::Plain(table_of(&v));
    }
    Vector::Packed(v)
}

pub(super) fn table_of(v: &[P]) -> Vec<E> {
    v.iter()
        .flat_map(|p| (0..WIDTH).map(move |i| p.extract(i)))
        .collect()
}

pub(super) fn horizontal(p: P) -> E {
    (0..WIDTH).map(|i| p.extract(i)).sum()
}

pub(super) fn packed(v: &Vector) -> &[P] {
    match v {
        Vector::Packed(v) => v,
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

pub(super) fn striped(v: &Vector) -> &Stripes {
    match v {
        Vector::Striped(v) => v,
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

pub(super) fn plain(v: &Vector) -> &[E] {
    match v {
        Vector::Plain(v) => v,
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// Sums a pair of values over all indices of the first half.
pub(super) fn sum_pairs<A: Algebra<E> + Copy + Send + Sync>(
    half: usize,
    term: impl Fn(usize) -> (A, A) + Sync,
) -> (A, A) {
    let run = |range: Range<usize>| {
        range.fold((A::ZERO, A::ZERO), |(x, y), i| {
            let (a, b) = term(i);
            (x + a, y + b)
        })
    };
    share::sum(0..half, GRAIN, &run, &|(a, b), (c, d)| (a + c, b + d))
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

/// `a += b`
pub(crate) fn add(a: &mut Vector, b: &Vector) {
    match (a, b) {
        (Vector::Packed(a), Vector::Packed(b)) => {
            share::each((&mut a[..], &b[..]), 2 * GRAIN, &|(a, b)| {
                a.iter_mut().zip(b).for_each(|(a, &b)| *a += b);
            });
        }
        (Vector::Plain(a), Vector::Plain(b)) => a.iter_mut().zip(b).for_each(|(a, &b)| *a += b),
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// `a += m * b`
pub(crate) fn add_scaled(a: &mut Vector, b: &Vector, m: E) {
    match (a, b) {
        (Vector::Packed(a), Vector::Packed(b)) => add_scaled_slice(a, b, m),
        (Vector::Striped([a, c]), Vector::Striped([b, d])) => {
            let even = || add_scaled_slice(a, b, m);
            stripes::each(b.len(), even, || add_scaled_slice(c, d, m));
        }
        (Vector::Plain(a), Vector::Plain(b)) => add_scaled_slice(a, b, m),
        _ => unreachable!("vectors of one length are stored alike"),
    }
}

/// `a += m * b`
pub(super) fn add_scaled_slice<A>(a: &mut [A], b: &[A], m: E)
where
    A: Algebra<E> + Copy + Send + Sync,
{
    share::each((a, b), GRAIN, &|(a, b)| {
        a.iter_mut().zip(b).for_each(|(a, &b)| *a += b * m);
    });
}
