//! What a verifier's checks are made of.
//!
//! Every check of the argument is an equation between messages, whose coefficients come from challenges and public values.
//! Where messages are in the clear (a [`Source`] itself) an equation is looked at on the spot. Where they are hidden under pads
//! ([`crate::hide::Tape`]) it is written down instead, and the prover shows later that what is under the pads meets all of
//! them. The checks themselves are written once, for both.

use crate::{Error, field::E, transcript::Source};
use alloc::vec::Vec;
use core::fmt::Debug;
use p3_field::PrimeCharacteristicRing;

/// Where messages come from, and where equations about them go.
pub(crate) trait Checks {
    /// An element that the verifier knows, or one that it knows only in terms of pads.
    type V: Copy + Debug;

    /// Reads messages that may be hidden.
    fn hear(&mut self, label: &str, n: usize) -> Result<Vec<Self::V>, Error>;

    /// Reads messages that are in the clear in every mode.
    fn clear(&mut self, label: &str, n: usize) -> Result<Vec<E>, Error>;

    /// The next challenge.
    fn challenge(&mut self) -> E;

    /// An element that is public.
    fn known(&mut self, value: E) -> Self::V;

    /// `constant` plus the sum of coefficients times elements.
    fn sum(&mut self, constant: E, terms: &[(E, Self::V)]) -> Self::V;

    /// The product of two elements, each of them as it was heard.
    fn product(&mut self, a: Self::V, b: Self::V) -> Self::V;

    /// Claims that an element is zero.
    fn zero(&mut self, v: Self::V, what: &'static str) -> Result<(), Error>;

    /// Claims that an element, as it was heard, is not zero.
    fn nonzero(&mut self, v: Self::V, what: &'static str) -> Result<(), Error>;

    /// `n` challenges.
    fn point(&mut self, n: usize) -> Vec<E> {
        (0..n).map(|_| self.challenge()).collect()
    }

    /// Claims that `left = scale * right`.
    fn equal(
        &mut self,
        left: Self::V,
        scale: E,
        right: Self::V,
        what: &'static str,
    ) -> Result<(), Error> {
        let difference = self.sum(E::ZERO, &[(E::ONE, left), (-scale, right)]);
        self.zero(difference, what)
    }
}

/// Messages in the clear; equations are looked at on the spot.
impl Checks for Source<'_> {
    type V = E;

    fn hear(&mut self, label: &str, n: usize) -> Result<Vec<E>, Error> {
        self.receive(label, n)
    }

    fn clear(&mut self, label: &str, n: usize) -> Result<Vec<E>, Error> {
        self.receive(label, n)
    }

    fn challenge(&mut self) -> E {
        self.transcript.challenge()
    }

    fn known(&mut self, value: E) -> E {
        value
    }

    fn sum(&mut self, constant: E, terms: &[(E, E)]) -> E {
        constant + terms.iter().map(|&(c, v)| c * v).sum::<E>()
    }

    fn product(&mut self, a: E, b: E) -> E {
        a * b
    }

    fn zero(&mut self, v: E, what: &'static str) -> Result<(), Error> {
        if v == E::ZERO {
            Ok(())
        } else {
            Err(Error::Check(what))
        }
    }

    fn nonzero(&mut self, v: E, what: &'static str) -> Result<(), Error> {
        if v == E::ZERO {
            Err(Error::Check(what))
        } else {
            Ok(())
        }
    }
}
