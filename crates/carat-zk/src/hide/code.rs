//! The codes that hiding commitments use, and what they are worth.
//!
//! A word of `message` elements gets `tail` random ones, and is the polynomial with these coefficients (or with these values
//! on a subgroup): any `tail` places of its code word are then uniform and independent of the message. So a commitment may
//! show `tail` leaves in all.

use crate::{
    field::{E, F},
    pcs::{Profile, Term},
};
use alloc::vec::Vec;
use p3_field::{Field, PackedValue, PrimeCharacteristicRing, TwoAdicField};

/// A Reed-Solomon code with random places, and how many leaves a commitment shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    /// Elements of a word, without the random ones.
    pub(crate) message: usize,
    /// Random elements of a word: as many as leaves that are shown.
    pub(crate) tail: usize,
    /// The domain has `2^levels` places.
    pub(crate) levels: usize,
    /// Bits of proof of work before places are drawn.
    pub(crate) work: usize,
}

/// Queries of the witness code by number of variables: the fewest with which the queries' term has 104 and 125 bits, work
/// included, given the other parameters of [`Code::witness`]. A test derives them anew.
const QUERIES: [[u8; 28]; 2] = [
    [
        34, 34, 35, 36, 38, 38, 42, 42, 48, 48, 58, 58, 54, 54, 52, 71, 68, 68, 67, 103, 101, 99,
        98, 96, 96, 96, 95, 95,
    ],
    [
        44, 44, 45, 46, 49, 49, 53, 53, 60, 60, 73, 73, 67, 67, 64, 88, 84, 84, 83, 128, 125, 123,
        121, 119, 118, 118, 118, 118,
    ],
];

impl Code {
    /// The code for a polynomial in `n` variables (at most [`crate::pcs::MAX_VARIABLES`]), whose rows have
    /// `2^(n - message)` words.
    pub(crate) fn witness(profile: Profile, n: usize) -> Self {
        let columns = n.min(n / 2 + 2);
        let rate = match n {
            ..=8 => 5,
            9..=14 => 4,
            15..=18 => 3,
            _ => 2,
        };
        let work = match n {
            ..=14 => 8,
            15..=18 => 10,
            19..=20 => 12,
            21..=22 => 14,
            _ => 16,
        };
        Self {
            message: 1 << columns,
            tail: QUERIES[profile as usize][n].into(),
            levels: (columns + rate).max(11),
            work,
        }
    }

    /// The code for pads.
    pub(crate) fn pads(profile: Profile) -> Self {
        Self {
            message: 128,
            tail: match profile {
                Profile::Proven100 => 48,
                Profile::Proven120 => 60,
            },
            levels: 13,
            work: 10,
        }
    }

    /// Coefficients of a word.
    pub(crate) fn length(&self) -> usize {
        self.message + self.tail
    }

    /// Coefficients of the product of three words of which one has no random elements, or of one such and two others.
    pub(crate) fn triple(&self) -> usize {
        3 * self.message + 2 * self.tail - 2
    }

    /// Places of the domain.
    pub(crate) fn size(&self) -> usize {
        1 << self.levels
    }

    /// The place of the domain at a position, up to a shift.
    pub(crate) fn place(&self, position: usize) -> F {
        F::two_adic_generator(self.levels).exp_u64(position as u64)
    }

    /// `log2` of the largest number of words that can be near one: `10 / rate`, for a code with `length` coefficients.
    pub(crate) fn candidates(&self, length: usize) -> f64 {
        libm::log2(10.0 * self.size() as f64 / length as f64)
    }

    /// Drawing places that all lie where a word with `length` coefficients agrees.
    pub(crate) fn queries(&self, name: &'static str, length: usize) -> Term {
        let rate = length as f64 / self.size() as f64;
        let agreement = 21.0 / 20.0 * libm::sqrt(rate);
        Term {
            name,
            count: 1,
            bits: -libm::log2(agreement) * self.tail as f64,
            grinding: self.work as u32,
        }
    }

    /// One combination of two words that is near the code although they are not near it at the same places: twice the bound
    /// of eprint 2026/2056, theorem 5.12, as `p3-security` has it, at this code's own rate.
    /// Words have `length` coefficients.
    pub(crate) fn agreement(&self, name: &'static str, length: usize, count: usize) -> Term {
        let n = self.size() as f64;
        let rate = (length - 1) as f64 / n;
        let bad = 2.0 * 8.0 * n * 10.5 * 10.5 * 10.5 / (3.0 * rate);
        Term {
            name,
            count: count as u32,
            bits: (E::bits() - 1) as f64 - libm::log2(bad),
            grinding: 0,
        }
    }
}

/// The values of a polynomial at many points of F.
pub(crate) fn evaluate(coefficients: &[E], points: &[F]) -> Vec<E> {
    type Packed = <F as Field>::Packing;
    let mut out = Vec::with_capacity(points.len());
    for group in points.chunks(Packed::WIDTH) {
        let at = Packed::from_fn(|i| group.get(i).copied().unwrap_or(F::ZERO));
        // One register for each coefficient of E.
        let mut sums = [Packed::ZERO; crate::field::DEGREE];
        for element in coefficients.iter().rev() {
            for (sum, &c) in sums.iter_mut().zip(slices(element)) {
                *sum = *sum * at + c;
            }
        }
        out.extend((0..group.len()).map(|i| element(|d| sums[d].as_slice()[i])));
    }
    out
}

/// The coefficients of an element.
pub(crate) fn slices(element: &E) -> &[F] {
    use p3_field::BasedVectorSpace;
    element.as_basis_coefficients_slice()
}

/// The element with these coefficients.
pub(crate) fn element(coefficient: impl FnMut(usize) -> F) -> E {
    use p3_field::BasedVectorSpace;
    E::from_basis_coefficients_fn(coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcs::MAX_VARIABLES;

    #[test]
    fn queries_are_the_fewest_that_are_enough() {
        for (profile, wanted) in [(Profile::Proven100, 104.0), (Profile::Proven120, 125.0)] {
            let bits = |code: Code, length: fn(&Code) -> usize| {
                let term = code.queries("", length(&code));
                term.bits + f64::from(term.grinding)
            };
            let fewer = |code: Code| Code {
                tail: code.tail - 1,
                ..code
            };
            for n in 0..=MAX_VARIABLES {
                let code = Code::witness(profile, n);
                assert!(bits(code, Code::length) >= wanted, "n = {n}");
                assert!(bits(fewer(code), Code::length) < wanted, "n = {n}");
                assert!(code.length() < code.size() && code.message <= 1 << n);
            }
            let code = Code::pads(profile);
            assert!(bits(code, Code::triple) >= wanted);
            assert!(bits(fewer(code), Code::triple) < wanted);
        }
    }

    #[test]
    fn evaluation_is_horners() {
        let coefficients: Vec<E> = (0..7u64).map(|i| E::from_u64(i * i + 3)).collect();
        let points: Vec<F> = (0..37).map(F::from_u32).collect();
        for (x, y) in points.iter().zip(evaluate(&coefficients, &points)) {
            assert_eq!(
                y,
                coefficients.iter().rev().fold(E::ZERO, |s, &c| s * *x + c)
            );
        }
    }
}
