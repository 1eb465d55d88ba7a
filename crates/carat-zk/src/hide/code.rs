//! The codes that hiding commitments use, and what they are worth.
//!
//! A word of `message` elements gets `tail` random ones, and is the polynomial with these coefficients (or with these values
//! on a subgroup): any `tail` places of its code word are then uniform and independent of the message. So a commitment may
//! show `tail` leaves in all.

use crate::{
    field::{DEGREE, E, F},
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
        34, 34, 35, 36, 38, 38, 42, 42, 48, 48, 44, 44, 42, 42, 52, 71, 68, 68, 67, 103, 101, 99,
        98, 96, 96, 96, 95, 95,
    ],
    [
        44, 44, 45, 46, 49, 49, 53, 53, 60, 60, 54, 54, 51, 51, 64, 88, 84, 84, 83, 128, 125, 123,
        121, 119, 118, 118, 118, 118,
    ],
];

impl Code {
    /// The code for a polynomial in `n` variables (at most [`crate::pcs::MAX_VARIABLES`]), whose rows have
    /// `2^(n - message)` words.
    pub(crate) fn witness(profile: Profile, n: usize) -> Self {
        let columns = n.min(n / 2 + 2);
        let rate = match n {
            ..=13 => 5,
            14 => 4,
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
        let mut sums = [Packed::ZERO; DEGREE];
        for element in coefficients.iter().rev() {
            for (sum, &c) in sums.iter_mut().zip(slices(element)) {
                *sum = *sum * at + c;
            }
        }
        out.extend((0..group.len()).map(|i| element(|d| sums[d].as_slice()[i])));
    }
    out
}

/// What [`evaluate`] does, the other way round: for each i below `n` the sum of weights times the i-th power of their point.
pub(crate) fn power_sums(points: &[(F, E)], n: usize) -> Vec<E> {
    type Packed = <F as Field>::Packing;
    let mut sums = alloc::vec![[Packed::ZERO; DEGREE]; n];
    for group in points.chunks(Packed::WIDTH) {
        let at = Packed::from_fn(|i| group.get(i).map_or(F::ZERO, |p| p.0));
        let mut powers: [Packed; DEGREE] = core::array::from_fn(|d| {
            Packed::from_fn(|i| group.get(i).map_or(F::ZERO, |p| slices(&p.1)[d]))
        });
        for sums in &mut sums {
            for (sum, power) in sums.iter_mut().zip(&mut powers) {
                *sum += *power;
                *power *= at;
            }
        }
    }
    sums.into_iter()
        .map(|sums| element(|d| sums[d].as_slice().iter().copied().sum()))
        .collect()
}

/// For each of many vectors, its products with many others, all of the same length.
pub(crate) fn inner_products(vectors: &[Vec<E>], others: &[Vec<F>]) -> Vec<Vec<E>> {
    type Packed = <F as Field>::Packing;
    let length = others.first().map_or(0, Vec::len);
    let groups: Vec<Vec<Packed>> = others
        .chunks(Packed::WIDTH)
        .map(|group| {
            let at = |j: usize| Packed::from_fn(|i| group.get(i).map_or(F::ZERO, |o| o[j]));
            (0..length).map(at).collect()
        })
        .collect();
    let product = |vector: &Vec<E>| {
        let of_group = |group: &Vec<Packed>| {
            let mut sums = [Packed::ZERO; DEGREE];
            for (v, &o) in vector.iter().zip(group) {
                for (sum, &c) in sums.iter_mut().zip(slices(v)) {
                    *sum += o * c;
                }
            }
            (0..Packed::WIDTH).map(move |i| element(|d| sums[d].as_slice()[i]))
        };
        groups
            .iter()
            .flat_map(of_group)
            .take(others.len())
            .collect()
    };
    vectors.iter().map(product).collect()
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
    fn sums_of_powers_and_of_products() {
        let elements: Vec<E> = (0..37u64).map(|i| E::from_u64(i * i + 3)).collect();
        let points: Vec<(F, E)> = (2..)
            .map(F::from_u32)
            .zip(elements.iter().copied())
            .collect();
        for (i, sum) in power_sums(&points, 9).into_iter().enumerate() {
            let expected = points.iter().map(|&(z, e)| e * z.exp_u64(i as u64)).sum();
            assert_eq!(sum, expected);
        }
        let vectors: Vec<Vec<E>> = elements.chunks_exact(4).map(<[E]>::to_vec).collect();
        let other = |i: u32| (0..4).map(|j| F::from_u32(5 * i + j * j + 1)).collect();
        let others: Vec<Vec<F>> = (0..35).map(other).collect();
        let all = inner_products(&vectors, &others);
        assert_eq!(all.len(), vectors.len());
        for (vector, products) in vectors.iter().zip(&all) {
            assert_eq!(products.len(), others.len());
            for (other, &product) in others.iter().zip(products) {
                let expected = vector.iter().zip(other).map(|(&v, &o)| v * o).sum();
                assert_eq!(product, expected);
            }
        }
        assert!(power_sums(&[], 2).iter().all(|&e| e == E::ZERO));
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
