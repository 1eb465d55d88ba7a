//! Probabilities as integers: units of 2^-64, and the 64-bit thresholds that are signed.
//!
//! A draw is the first 64 bits of a hash, big-endian; a request is audited iff `draw < tau`. Thresholds are fixed by
//! signature before any randomness exists.

use core::fmt;
use core::str::FromStr;

/// A probability in `[0, 1]`: a whole number of 2^-64, with [`Probability::ONE`] = 2^64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u128);

/// An audit threshold: audited iff the first 64 bits of the draw, as a big-endian integer, are below it.
///
/// Probability `tau / 2^64`. The largest threshold, 2^64 - 1, is what "always" is written as; it misses once in 2^64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tau(pub u64);

/// A fraction in `[0, 1]` as people write it: a decimal of at most nine places, exact. Trust and policy files hold these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fraction(u32);

/// A fraction cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fraction is a decimal between 0 and 1 with at most nine places, like 0.05")]
pub struct FractionError;

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

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All.
    pub const ONE: Self = Self(1_000_000_000);

    /// So many thousand-millionths.
    pub const fn from_billionths(billionths: u32) -> Option<Self> {
        if billionths <= 1_000_000_000 {
            Some(Self(billionths))
        } else {
            None
        }
    }

    /// Thousand-millionths.
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// The probability, rounded down to a whole 2^-64.
    pub fn down(self) -> Probability {
        Probability::ratio_down(u64::from(self.0), 1_000_000_000)
    }

    /// The probability, rounded up to a whole 2^-64.
    pub fn up(self) -> Probability {
        Probability::ratio_up(u64::from(self.0), 1_000_000_000)
    }

    /// `1 - self`, exact.
    pub const fn complement(self) -> Self {
        Self(1_000_000_000 - self.0)
    }
}

impl FromStr for Fraction {
    type Err = FractionError;

    fn from_str(text: &str) -> Result<Self, FractionError> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(places) || whole.len() > 9 || places.len() > 9 {
            return Err(FractionError);
        }
        let whole: u32 = whole.parse().map_err(|_| FractionError)?;
        let billionths = places
            .bytes()
            .chain(core::iter::repeat(b'0'))
            .take(9)
            .fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        whole
            .checked_mul(1_000_000_000)
            .and_then(|whole| whole.checked_add(billionths))
            .and_then(Self::from_billionths)
            .ok_or(FractionError)
    }
}

impl fmt::Display for Fraction {
    /// The shortest decimal: `0.05`, `1`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 1_000_000_000)?;
        let mut rest = self.0 % 1_000_000_000;
        if rest > 0 {
            let mut width = 9;
            while rest.is_multiple_of(10) {
                rest /= 10;
                width -= 1;
            }
            write!(f, ".{rest:0width$}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Decimals in files: written as text, read from a text or a number. A float is read as the shortest decimal that is it,
/// which is what its author wrote.
#[cfg(feature = "serde")]
pub(crate) mod decimal {
    use alloc::string::ToString as _;
    use core::fmt;
    use core::marker::PhantomData;
    use core::str::FromStr;

    use serde::de::{Deserializer, Error, Visitor};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        struct Decimal<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Decimal<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Decimal(PhantomData))
    }

    macro_rules! as_decimal {
        ($($type:ty),*) => {$(
            impl serde::Serialize for $type {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> serde::Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserialize(deserializer)
                }
            }
        )*};
    }
    as_decimal!(crate::Fraction, crate::Factor, crate::Price);
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fractions_are_read_exactly_or_not_at_all() {
        for (text, billionths) in [
            ("0", 0),
            ("1", 1_000_000_000),
            ("0.05", 50_000_000),
            ("1.000", 1_000_000_000),
            ("0.000000001", 1),
        ] {
            assert_eq!(text.parse::<Fraction>().unwrap().billionths(), billionths);
        }
        for text in [
            "",
            ".5",
            "1.",
            "1.1",
            "2",
            "-0",
            "+1",
            "1e-3",
            "NaN",
            "0.0000000001",
            "0,5",
            "1.000000001",
            "9999999999",
        ] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn fractions_round_trip(billionths in 0..=1_000_000_000_u32) {
            let fraction = Fraction::from_billionths(billionths).unwrap();
            prop_assert_eq!(fraction.to_string().parse::<Fraction>().unwrap(), fraction);
            prop_assert!(fraction.down() <= fraction.up());
            prop_assert!(fraction.up().bits() - fraction.down().bits() <= 1);
        }

        #[test]
        fn products_bracket(a in 0..=(1_u128 << 64), b in 0..=(1_u128 << 64)) {
            let (a, b) = (Probability::from_bits(a), Probability::from_bits(b));
            prop_assert!(a.mul_down(b) <= a.mul_up(b));
            prop_assert!(a.mul_up(b) <= a.min(b) || a.mul_up(b).bits() - a.mul_down(b).bits() <= 1);
            prop_assert!(a.mul_up(b).bits() - a.mul_down(b).bits() <= 1);
        }
    }
}
