//! Gains, bonds and prices: exact integers with a stated direction of rounding.
//!
//! [`carat_receipt::Amount`] is money with its currency, at the edges. Inside the rules one currency is given, and
//! [`Micros`] counts its millionths; [`Price`] counts its million-millionths, because checking one answer costs so little.

use core::fmt;
use core::str::FromStr;

use carat_receipt::{Amount, Currency};

/// Millionths of a currency unit; the currency is the caller's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Micros(pub u64);

/// What something costs: million-millionths (10^-12) of a currency unit, up to about 18 million units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(pub u64);

/// A positive factor: millionths, so at most six decimal places. `gamma` is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(u64);

/// A factor cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a factor is a decimal from 0.000001 to 1000000 with at most six places, like 1.5")]
pub struct FactorError;

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The most that can be written.
    pub const MAX: Self = Self(u64::MAX);

    /// With a currency.
    pub const fn in_currency(self, currency: Currency) -> Amount {
        Amount::from_micros(self.0, currency)
    }

    /// The sum; the most that can be written where it is more.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; nothing where it is less.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// From wide arithmetic; the most that can be written where it is more.
    pub(crate) fn clamp(wide: u128) -> Self {
        Self(u64::try_from(wide).unwrap_or(u64::MAX))
    }
}

impl From<Amount> for Micros {
    fn from(amount: Amount) -> Self {
        Self(amount.micros())
    }
}

impl Price {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Million-millionths in one unit.
    pub const PICOS: u64 = 1_000_000_000_000;

    /// The sum; the largest price where it is more.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times the price; the largest price where it is more.
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// What so many microseconds cost at this price a second, rounded up.
    pub fn of_micros_of_time(self, micros: u64) -> Self {
        let wide = (u128::from(self.0) * u128::from(micros)).div_ceil(1_000_000);
        Self(u64::try_from(wide).unwrap_or(u64::MAX))
    }

    /// The expected price of something bought with a probability, rounded up.
    pub fn with_probability(self, p: crate::Probability) -> Self {
        // At most 2^64 * 2^64, which is one too many in that one case.
        match u128::from(self.0).checked_mul(p.bits()) {
            Some(wide) => Self(u64::try_from(wide.div_ceil(1 << 64)).unwrap_or(u64::MAX)),
            None => self,
        }
    }

    /// The price of an amount, exact; the largest price where it is more.
    pub fn from_amount(amount: Amount) -> Self {
        Self(amount.micros().saturating_mul(1_000_000))
    }

    /// As text with a currency: `0.0000002 USD`.
    pub fn show(self, currency: Currency) -> impl fmt::Display {
        Shown {
            price: self,
            currency,
        }
    }
}

struct Shown {
    price: Price,
    currency: Currency,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.price.0, Price::PICOS, 12)?;
        write!(f, " {}", self.currency)
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, Self::PICOS, 12)
    }
}

/// A price without currency: a decimal of at most twelve places.
impl FromStr for Price {
    type Err = FactorError;

    fn from_str(text: &str) -> Result<Self, FactorError> {
        read_decimal(text, 12).map(Self).ok_or(FactorError)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, Self::PICOS, 12)
    }
}

impl Factor {
    /// One.
    pub const ONE: Self = Self(1_000_000);
    const MAX: u64 = 1_000_000_000_000;

    /// So many millionths: 1 to 10^12.
    pub const fn from_millionths(millionths: u64) -> Option<Self> {
        if millionths >= 1 && millionths <= Self::MAX {
            Some(Self(millionths))
        } else {
            None
        }
    }

    /// Millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// `amount * self`, rounded up; the most that can be written where it is more.
    pub fn times_up(self, amount: Micros) -> Micros {
        Micros::clamp((u128::from(amount.0) * u128::from(self.0)).div_ceil(1_000_000))
    }

    /// `wide / self`, rounded down, for a number of micros in wide arithmetic.
    pub(crate) fn divides_down(self, wide: u128) -> Micros {
        let scaled = wide.checked_mul(1_000_000).map_or_else(
            // Beyond 2^108 micros only gamma = 10^6 could bring it back; dividing first rounds down further, which is safe.
            || (wide / u128::from(self.0)).saturating_mul(1_000_000),
            |scaled| scaled / u128::from(self.0),
        );
        Micros::clamp(scaled)
    }
}

impl FromStr for Factor {
    type Err = FactorError;

    fn from_str(text: &str) -> Result<Self, FactorError> {
        read_decimal(text, 6)
            .and_then(Self::from_millionths)
            .ok_or(FactorError)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, 1_000_000, 6)
    }
}

impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn decimal(f: &mut fmt::Formatter<'_>, value: u64, unit: u64, places: usize) -> fmt::Result {
    write!(f, "{}", value / unit)?;
    let mut rest = value % unit;
    if rest > 0 {
        let mut width = places;
        while rest.is_multiple_of(10) {
            rest /= 10;
            width -= 1;
        }
        write!(f, ".{rest:0width$}")?;
    }
    Ok(())
}

/// Reads digits, perhaps a point and at most `places` digits, as a whole number of 10^-places.
fn read_decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > places {
        return None;
    }
    let fraction = fraction
        .bytes()
        .chain(core::iter::repeat(b'0'))
        .take(places)
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let unit = 10_u64.checked_pow(u32::try_from(places).ok()?)?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)?
        .checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::Probability;

    #[test]
    fn small_prices_are_written_out() {
        let usd = Currency::new("USD").unwrap();
        assert_eq!(Price(200_000).show(usd).to_string(), "0.0000002 USD");
        assert_eq!(Price(3 * Price::PICOS).show(usd).to_string(), "3 USD");
        assert_eq!("0.0000002".parse::<Price>().unwrap(), Price(200_000));
        assert!("0.0000000000001".parse::<Price>().is_err());
    }

    #[test]
    fn factors_have_limits() {
        for text in ["1", "1.5", "0.000001", "1000000"] {
            assert_eq!(text.parse::<Factor>().unwrap().to_string(), text);
        }
        for text in ["0", "-1", "0.0000001", "1000000.000001", "x", "1e3", ""] {
            assert!(text.parse::<Factor>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn gain_and_amount_never_gain_by_rounding(v in any::<u64>(), gamma in 1..=1_000_000_000_000_u64) {
            let gamma = Factor::from_millionths(gamma).unwrap();
            let gain = gamma.times_up(Micros(v));
            if gain < Micros::MAX {
                // The amount whose gain is at most `gain` is at least v, and its gain is at most `gain`.
                let back = gamma.divides_down(u128::from(gain.0));
                prop_assert!(back >= Micros(v));
                prop_assert!(gamma.times_up(back) <= gain || back == Micros::MAX);
            }
        }

        #[test]
        fn expected_prices_round_up(price in any::<u64>(), p in 0..=(1_u128 << 64)) {
            let p = Probability::from_bits(p);
            let expected = Price(price).with_probability(p).0 as f64;
            prop_assert!(expected >= price as f64 * p.to_f64() * (1.0 - 1e-12) - 1.0);
            prop_assert!(Price(price).with_probability(p) <= Price(price));
            prop_assert_eq!(Price(price).with_probability(Probability::ONE), Price(price));
        }
    }
}
