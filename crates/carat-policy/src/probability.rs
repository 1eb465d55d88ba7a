//! Probabilities as integers: units of 2^-64, and the 64-bit thresholds that are signed.
//!
//! A draw is the first 64 bits of a hash, big-endian; a request is audited iff `draw < tau`. Thresholds are fixed by
//! signature before any randomness exists.

use core::fmt;

/// A probability in `[0, 1]`: a whole number of 2^-64, with [`Probability::ONE`] = 2^64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u128);

/// An audit threshold: audited iff the first 64 bits of the draw, as a big-endian integer, are below it.
///
/// Probability `tau / 2^64`. The largest threshold, 2^64 - 1, is what "always" is written as; it misses once in 2^64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tau(pub u64);

impl Probability {
    /// Impossible.
    pub const ZERO: Self = Self(0);
    /// Certain.
    pub const ONE: Self = Self(1 << 64);

    /// A whole number of 2^-64; above 2^64 it is [`Self::ONE`].
    pub const fn from_bits(bits: u128) -> Self {
        if bits > 1 << 64 {
            Self::ONE
        } else {
            Self(bits)
        }
    }

    /// The number of 2^-64.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// `numerator / denominator`, rounded down; certain where it is 1 or more, or the denominator is 0.
    pub fn ratio_down(numerator: u64, denominator: u128) -> Self {
        match (u128::from(numerator) << 64).checked_div(denominator) {
            Some(bits) => Self::from_bits(bits),
            None => Self::ONE,
        }
    }

    /// `numerator / denominator`, rounded up; certain where it is 1 or more, or the denominator is 0.
    pub fn ratio_up(numerator: u64, denominator: u128) -> Self {
        if denominator == 0 {
            return Self::ONE;
        }
        Self::from_bits((u128::from(numerator) << 64).div_ceil(denominator))
    }

    /// `1 - self`, exact.
    pub const fn complement(self) -> Self {
        Self((1 << 64) - self.0)
    }

    /// The product, rounded down.
    pub const fn mul_down(self, other: Self) -> Self {
        if self.0 == 1 << 64 {
            return other;
        }
        if other.0 == 1 << 64 {
            return self;
        }
        Self((self.0 * other.0) >> 64)
    }

    /// The product, rounded up.
    pub const fn mul_up(self, other: Self) -> Self {
        if self.0 == 1 << 64 {
            return other;
        }
        if other.0 == 1 << 64 {
            return self;
        }
        Self((self.0 * other.0).div_ceil(1 << 64))
    }

    /// The threshold of at least this probability, except that certainty becomes 1 - 2^-64.
    pub const fn tau(self) -> Tau {
        if self.0 > u64::MAX as u128 {
            Tau(u64::MAX)
        } else {
            Tau(self.0 as u64)
        }
    }

    /// As a float, for printing and plots only: nothing is decided by it.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 18_446_744_073_709_551_616.0
    }
}

impl Tau {
    /// The probability of an audit: `tau / 2^64`, exact.
    pub const fn probability(self) -> Probability {
        Probability(self.0 as u128)
    }

    /// Whether a draw, the first 64 bits of a hash in big-endian order, selects for audit.
    pub const fn selects(self, draw: u64) -> bool {
        draw < self.0
    }
}

impl fmt::Debug for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_f64())
    }
}

impl fmt::Debug for Tau {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}
