//! Amounts of money: exact, with a currency, never floats.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use crate::cbor::{DecodeError, Reader, Writer};

/// A currency code: three capital letters (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// A non-negative amount of money: whole millionths of one currency unit, up to about 18 million million units.
///
/// Amounts of different currencies do not compare: [`Amount::compare`] returns an error, and there is no `PartialOrd`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    micros: u64,
    currency: Currency,
}

/// An amount cannot be read or computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// Not a decimal number followed by a currency code.
    #[error(
        "an amount is written like 500USD or 20.50 USD: digits, then a currency of three capital letters"
    )]
    Syntax,
    /// More than six decimal places.
    #[error("an amount has at most six decimal places")]
    Precision,
    /// Too large.
    #[error("the amount is too large; the largest is {max} currency units", max = u64::MAX / Amount::MICROS)]
    Overflow,
    /// Two amounts of different currencies met. Nobody converts currencies here.
    #[error(
        "{0} and {1} are different currencies; give the amount in the currency of the Trust file"
    )]
    Currencies(Currency, Currency),
}

impl Currency {
    /// Reads three capital letters.
    pub fn new(code: &str) -> Result<Self, AmountError> {
        let bytes: [u8; 3] = code
            .as_bytes()
            .try_into()
            .map_err(|_| AmountError::Syntax)?;
        if bytes.iter().all(u8::is_ascii_uppercase) {
            Ok(Self(bytes))
        } else {
            Err(AmountError::Syntax)
        }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl Amount {
    /// Millionths in one unit.
    pub const MICROS: u64 = 1_000_000;

    /// An amount in millionths of a unit.
    pub const fn from_micros(micros: u64, currency: Currency) -> Self {
        Self { micros, currency }
    }

    /// Nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self {
            micros: 0,
            currency,
        }
    }

    /// Millionths of a unit.
    pub const fn micros(&self) -> u64 {
        self.micros
    }

    /// The currency.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether the amount is nothing.
    pub const fn is_zero(&self) -> bool {
        self.micros == 0
    }

    /// Compares two amounts of one currency.
    pub fn compare(&self, other: &Self) -> Result<Ordering, AmountError> {
        self.same_currency(other)?;
        Ok(self.micros.cmp(&other.micros))
    }

    /// The smaller of two amounts of one currency.
    pub fn min(self, other: Self) -> Result<Self, AmountError> {
        Ok(if self.compare(&other)? == Ordering::Greater {
            other
        } else {
            self
        })
    }

    /// The larger of two amounts of one currency.
    pub fn max(self, other: Self) -> Result<Self, AmountError> {
        Ok(if self.compare(&other)? == Ordering::Less {
            other
        } else {
            self
        })
    }

    /// The sum of two amounts of one currency.
    pub fn checked_add(&self, other: &Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        let micros = self
            .micros
            .checked_add(other.micros)
            .ok_or(AmountError::Overflow)?;
        Ok(Self {
            micros,
            currency: self.currency,
        })
    }

    fn same_currency(&self, other: &Self) -> Result<(), AmountError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(AmountError::Currencies(self.currency, other.currency))
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .array(2)
            .text(self.currency.as_str())
            .uint(self.micros);
    }

    pub(crate) fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        reader.array(what, 2, 2)?;
        let currency = Currency::new(reader.text(what, 3, 3)?).map_err(|_| DecodeError::Value {
            what,
            reason: "a currency is three capital letters",
        })?;
        Ok(Self {
            micros: reader.uint(what)?,
            currency,
        })
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let split = text
            .find(|c: char| c.is_ascii_uppercase())
            .ok_or(AmountError::Syntax)?;
        let (number, code) = text.split_at(split);
        let currency = Currency::new(code)?;
        let number = number.strip_suffix(' ').unwrap_or(number);
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return Err(AmountError::Syntax),
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(AmountError::Syntax);
        }
        if fraction.len() > 6 {
            return Err(AmountError::Precision);
        }
        let whole = whole.parse::<u64>().map_err(|_| AmountError::Overflow)?;
        let micros = fraction
            .bytes()
            .chain(core::iter::repeat(b'0'))
            .take(6)
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let micros = whole
            .checked_mul(Self::MICROS)
            .and_then(|whole| whole.checked_add(micros))
            .ok_or(AmountError::Overflow)?;
        Ok(Self { micros, currency })
    }
}

impl fmt::Display for Amount {
    /// `500 USD`, `20.50 USD`, `0.000001 USD`: two decimals at least where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.micros / Self::MICROS)?;
        let mut fraction = self.micros % Self::MICROS;
        if fraction > 0 {
            let mut width = 6;
            while fraction.is_multiple_of(10) && width > 2 {
                fraction /= 10;
                width -= 1;
            }
            write!(f, ".{fraction:0width$}")?;
        }
        write!(f, " {}", self.currency)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        Self::new(text)
    }
}

#[cfg(feature = "serde")]
mod with_serde {
    use alloc::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::{Amount, Currency};

    impl Serialize for Amount {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Amount {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <Cow<'de, str>>::deserialize(deserializer)?
                .parse()
                .map_err(D::Error::custom)
        }
    }

    impl Serialize for Currency {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for Currency {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <Cow<'de, str>>::deserialize(deserializer)?
                .parse()
                .map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, micros, shown) in [
            ("500USD", 500_000_000, "500 USD"),
            ("20.50 USD", 20_500_000, "20.50 USD"),
            ("20.5USD", 20_500_000, "20.50 USD"),
            ("0.000001EUR", 1, "0.000001 EUR"),
            ("0JPY", 0, "0 JPY"),
            ("50000USD", 50_000_000_000, "50000 USD"),
            (
                "18446744073709.551615USD",
                u64::MAX,
                "18446744073709.551615 USD",
            ),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.micros(), micros);
            assert_eq!(amount.to_string(), shown);
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "", "USD", "500", "500usd", "-5USD", "+5USD", "5 US", "5USDT", ".5USD", "5.USD",
            "5  USD", " 5USD", "5USD ", "1e3USD", "1,000USD", "5.0.0USD", "٥USD", "NaNUSD",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Syntax), "{text}");
        }
        assert_eq!(
            "0.0000001USD".parse::<Amount>(),
            Err(AmountError::Precision)
        );
        for text in [
            "18446744073710USD",
            "18446744073709.551616USD",
            "99999999999999999999999USD",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Overflow), "{text}");
        }
    }

    #[test]
    fn currencies_do_not_mix() {
        let usd: Amount = "1USD".parse().unwrap();
        let eur: Amount = "1EUR".parse().unwrap();
        assert!(matches!(
            usd.compare(&eur),
            Err(AmountError::Currencies(..))
        ));
        assert!(usd.checked_add(&eur).is_err());
        let most = Amount::from_micros(u64::MAX, usd.currency());
        assert_eq!(most.checked_add(&usd), Err(AmountError::Overflow));
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in any::<u64>()) {
            let amount = Amount::from_micros(micros, Currency::new("CHF").unwrap());
            prop_assert_eq!(amount.to_string().parse::<Amount>().unwrap(), amount);
        }
    }
}
