//! Vectors kept in two stripes: registers with even numbers, and with odd ones.
//!
//! Each stripe is a vector of its own, over all variables but the last that numbers registers: binding the first variable
//! and summing over it never mix the two. So one thread keeps one stripe from round to round, and nothing crosses from the
//! cache of one processor to that of another until a few registers are left. Contiguous halves would cross in every round,
//! since binding the first variable combines them.

use super::{P, Vector, WIDTH, eq_vector, step};
use crate::{field::E, share};
use p3_field::{PackedFieldExtension, PrimeCharacteristicRing};

/// Registers with even numbers, and with odd ones.
pub(crate) type Stripes = [Vec<P>; 2];

/// Registers of a stripe from which on another thread is worth asking.
const SHARED: usize = 1 << 3;

/// Does something for each stripe, with so many registers in it, on two threads where there are two and enough
/// to do.
pub(super) fn each<T: Send>(
    registers: usize,
    even: impl FnOnce() -> T + Send,
    odd: impl FnOnce() -> T + Send,
) -> (T, T) {
    if registers < SHARED {
        return (even(), odd());
    }
    share::join(even, odd)
}

/// Does something for each stripe, with so many registers in it, as [`each`].
pub(crate) fn both<T: Send>(registers: usize, of: impl Fn(usize) -> T + Sync) -> [T; 2] {
    both_of(registers, [(); 2], |s, ()| of(s))
}

/// [`both`], with what each stripe has.
pub(super) fn both_of<T: Send, R: Send>(
    registers: usize,
    [even, odd]: [T; 2],
    of: impl Fn(usize, T) -> R + Sync,
) -> [R; 2] {
    let (even, odd) = each(registers, || of(0, even), || of(1, odd));
    [even, odd]
}

/// Sums over both stripes, which have so many registers each.
pub(super) fn both_sums(registers: usize, of: impl Fn(usize) -> (P, P) + Sync) -> (P, P) {
    let ((a, b), (c, d)) = each(registers, || of(0), || of(1));
    (a + c, b + d)
}

/// The registers in their order.
pub(crate) fn whole([even, odd]: &Stripes) -> Vec<P> {
    even.iter().zip(odd).flat_map(|(&a, &b)| [a, b]).collect()
}

/// `eq(point, .)`, striped if that has at least two registers in a stripe.
pub(crate) fn eq_striped(point: &[E], scale: E) -> Vector {
    let lanes = WIDTH.trailing_zeros() as usize;
    if point.len() < lanes + 2 {
        return eq_vector(point, scale);
    }
    let registers = 1 << (point.len() - lanes - 1);
    Vector::Striped(both(registers, |s| eq_stripe(point, scale, s)))
}

/// A stripe of `eq(point, .)`, which has at least one register in it.
pub(crate) fn eq_stripe(point: &[E], scale: E, stripe: usize) -> Vec<P> {
    let lanes = WIDTH.trailing_zeros() as usize;
    // The coordinate that numbers the stripes is the last one above the lanes.
    let mut rest = point.to_vec();
    let own = rest.remove(point.len() - lanes - 1);
    let factor = if stripe == 1 { own } else { E::ONE - own };
    match eq_vector(&rest, scale * factor) {
        Vector::Packed(v) => v,
        Vector::Plain(v) => vec![P::from_ext_slice(&v)],
        Vector::Striped(_) => unreachable!("a stripe is not striped"),
    }
}

/// [`step::fold_and_sum`] for both stripes of each vector.
pub(super) fn fold_and_sum<const K: usize>(
    vectors: [&mut Stripes; K],
    rest: Option<&mut Stripes>,
    r: E,
    term: impl Fn(P, [P; K], [P; K]) -> (P, P) + Sync,
) -> Option<(P, P)> {
    let mut odd: [Option<&mut Vec<P>>; K] = [const { None }; K];
    let mut k = 0;
    let even = vectors.map(|[even, other]| {
        odd[k] = Some(other);
        k += 1;
        even
    });
    let odd = odd.map(|v| v.expect("one for each vector"));
    let (rest_even, rest_odd) = match rest {
        Some([even, odd]) => (Some(even), Some(odd)),
        None => (None, None),
    };
    let registers = even[0].len();
    let (even, odd) = each(
        registers,
        || step::fold_and_sum(even, rest_even, r, &term),
        || step::fold_and_sum(odd, rest_odd, r, &term),
    );
    let ((a, b), (c, d)) = (even?, odd?);
    Some((a + c, b + d))
}
