//! A fold that is too long to be shown: it is committed to, and what it must give at some points is shown of that commitment.
//!
//! A fold is a vector of elements of E. It becomes a polynomial over F with three more variables, which number the
//! coefficients of an element. All that is asked of it becomes one claim, by powers of a challenge, on the sum of its elements
//! times a kernel; a sumcheck leads from there to one point. `docs/protocol-whir.md`, section 8.

use super::{Profile, Refused, Root, Security, Term, Use, Whir};
use crate::{
    Error,
    field::{DEGREE, E, F},
    layout::{dot_eq, eq, eq_below},
    steps::powers,
    sumcheck,
    transcript::Source,
};
use alloc::{boxed::Box, string::ToString, vec::Vec};
use p3_field::{BasedVectorSpace, Field, PrimeCharacteristicRing};

#[cfg(feature = "prover")]
use super::ProverData;
#[cfg(feature = "prover")]
use crate::{
    kernels::{Vector, add, add_powers, eq_vector, evaluate_base, product},
    layout::eq_table,
    transcript::Sink,
};
#[cfg(feature = "prover")]
use rayon::prelude::*;

/// Variables that number the coefficients of an element of E.
pub(super) const SLICES: usize = 3;

/// The commitment to folds of one size.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(super) inner: Box<Whir>,
    /// Variables of a fold.
    variables: usize,
}

/// What a fold must give.
pub(crate) struct Conditions {
    /// A point, and the fold's value there as a polynomial in its variables.
    pub(crate) claim: (Vec<E>, E),
    /// Places of the code, and the values there of the fold's code word.
    pub(crate) places: Vec<(F, E)>,
    /// A length, and a random point: elements from there on must be zero.
    pub(crate) ends: Option<(usize, Vec<E>)>,
}

impl Conditions {
    /// How many challenges combine them.
    pub(super) fn len(&self) -> usize {
        1 + self.places.len() + usize::from(self.ends.is_some())
    }

    /// What the fold times the kernel adds up to.
    pub(super) fn sum(&self, powers: &[E]) -> E {
        let places = self.places.iter().zip(&powers[1..]);
        self.claim.1 + places.map(|(&(_, value), &g)| g * value).sum::<E>()
    }

    /// The kernel at a point.
    fn at(&self, powers: &[E], at: &[E]) -> E {
        let mut kernel = eq(&self.claim.0, at);
        for (&(place, _), &g) in self.places.iter().zip(&powers[1..]) {
            kernel += g * tensor_power(place, at);
        }
        if let (Some((length, point)), Some(&g)) = (&self.ends, powers.last()) {
            kernel += g * (eq(point, at) - eq_below(point, at, *length));
        }
        kernel
    }

    #[cfg(feature = "prover")]
    pub(super) fn kernel(&self, powers: &[E]) -> Vector {
        let mut kernel = eq_vector(&self.claim.0, E::ONE);
        let places: Vec<F> = self.places.iter().map(|p| p.0).collect();
        add_powers(&mut kernel, &places, &powers[1..=places.len()]);
        if let (Some((length, point)), Some(&g)) = (&self.ends, powers.last()) {
            let mut ends = eq_table(point);
            ends[..*length].fill(E::ZERO);
            ends[*length..].iter_mut().for_each(|e| *e *= g);
            add(&mut kernel, &Vector::new(ends));
        }
        kernel
    }
}

impl Fold {
    /// For folds in so many variables.
    pub(crate) fn new(profile: Profile, variables: usize) -> Result<Self, Error> {
        Ok(Self {
            inner: Box::new(Whir::new(profile, variables + SLICES, Use::Fold)?),
            variables,
        })
    }

    /// Variables of a fold.
    pub(crate) fn variables(&self) -> usize {
        self.variables
    }

    /// Variables of the polynomial that a fold becomes.
    pub(crate) fn committed_variables(&self) -> usize {
        self.inner.variables()
    }

    /// The error terms, with so many conditions of one challenge each and so many random points beside them. The commitment
    /// to a fold may stand for any of `2^candidates_bits`, each with its own chance.
    pub(crate) fn security(&self, conditions: usize, points: usize) -> Security {
        let inner = self.inner.security();
        let candidates = inner.candidates_bits;
        // Combining the conditions, two for each round of the sumcheck, and the slices at a random point.
        let bad = conditions + (2 + points) * self.variables + SLICES;
        let mut terms = alloc::vec![Term {
            name: "conditions on the fold",
            count: 1,
            bits: (E::bits() - 1) as f64 - libm::log2(bad as f64) - candidates,
            grinding: 0,
        }];
        terms.extend(inner.terms);
        Security {
            terms,
            candidates_bits: candidates,
        }
    }

    /// The most bytes that [`Fold::prove`] sends.
    pub(crate) fn max_bytes(&self) -> usize {
        let element = crate::field::E_BYTES;
        (2 * self.variables + (1 << SLICES)) * element + self.inner.max_opening_bytes()
    }

    /// Commits to a fold.
    #[cfg(feature = "prover")]
    pub(crate) fn commit(&self, fold: &Vector) -> Result<(Root, ProverData), Error> {
        self.inner
            .commit(fold.coefficients(1 << self.inner.variables()))
    }

    /// Shows that a fold meets conditions.
    #[cfg(feature = "prover")]
    pub(crate) fn prove(
        &self,
        fold: Vector,
        data: ProverData,
        conditions: &Conditions,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        let gamma = sink.transcript.challenge();
        let powers = powers(gamma, conditions.len());
        let kernel = conditions.kernel(&powers);
        let (at, _, _) = product(sink, conditions.sum(&powers), fold, kernel);
        // Slices past the last coefficient are zero.
        let slices = data.values().field(0..DEGREE << self.variables);
        let mut at_slices: Vec<E> = slices
            .par_chunks_exact(1 << self.variables)
            .map(|slice| evaluate_base(slice, &at))
            .collect();
        at_slices.resize(1 << SLICES, E::ZERO);
        sink.send("pcs slices", &at_slices);
        let slice = sink.transcript.point(SLICES);
        let _ = self.inner.open(&data, &[slice, at].concat(), sink)?;
        Ok(())
    }

    /// Checks that the fold under a root meets conditions.
    pub(crate) fn verify(
        &self,
        root: &Root,
        conditions: &Conditions,
        source: &mut Source<'_>,
    ) -> Result<(), Refused> {
        let gamma = source.transcript.challenge();
        let powers = powers(gamma, conditions.len());
        let sum = conditions.sum(&powers);
        let (at, left) = sumcheck::verify(source, self.variables, 2, sum)?;
        let sent = source.receive("pcs slices", 1 << SLICES)?;
        if left != conditions.at(&powers, &at) * join(&sent) {
            return Err(Refused::Opening(
                "the conditions do not reduce to the fold".to_string(),
            ));
        }
        let slice = source.transcript.point(SLICES);
        let value = dot_eq(&sent, &slice);
        self.inner
            .verify(root, &[slice, at].concat(), value, source)
            .map_err(Refused::from)
    }
}

/// The element whose coefficients are these: `sum X^d slice_d`. Slices past the last coefficient do not count.
pub(super) fn join(slices: &[E]) -> E {
    slices
        .iter()
        .take(DEGREE)
        .enumerate()
        .map(|(d, &s)| s * E::from_basis_coefficients_fn(|i| F::from_bool(i == d)))
        .sum()
}

/// The polynomial with the value `x^i` at index i, at a point.
fn tensor_power(x: F, at: &[E]) -> E {
    let mut power = x;
    let mut product = E::ONE;
    for &r in at.iter().rev() {
        product *= r * (power - F::ONE) + F::ONE;
        power = power.square();
    }
    product
}

#[cfg(all(test, feature = "prover"))]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_what_the_verifier_evaluates() {
        for variables in [3, 9] {
            let point = |seed: u64| -> Vec<E> {
                (0..variables)
                    .map(|i| E::from_u64(seed * i * i + i + 2))
                    .collect()
            };
            let at = point(7);
            for ends in [None, Some((5, point(3))), Some((1 << variables, point(3)))] {
                let conditions = Conditions {
                    claim: (point(1), E::ONE),
                    places: (2..5)
                        .map(|i| (F::from_u64(i * 1_000_003), E::from_u64(i)))
                        .collect(),
                    ends,
                };
                let powers = powers(E::from_u64(99), conditions.len());
                let table = conditions.kernel(&powers).unpack();
                assert_eq!(dot_eq(&table, &at), conditions.at(&powers, &at));
                // At an index: the place's power, and the ends from their length on.
                let mut expected = eq_table(&conditions.claim.0)[6];
                for (&(place, _), &g) in conditions.places.iter().zip(&powers[1..]) {
                    expected += g * place.exp_u64(6);
                }
                if let Some((5, ends)) = &conditions.ends {
                    expected += powers[4] * eq_table(ends)[6];
                }
                assert_eq!(table[6], expected);
            }
        }
    }
}
