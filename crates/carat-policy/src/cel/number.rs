//! Exact decimals of nine places.

use core::fmt;
use core::str::FromStr;

use crate::Micros;

/// A decimal number: whole thousand-millionths, in 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(i128);

const UNIT: i128 = 1_000_000_000;
/// Larger numbers are refused, so that two of them can be multiplied.
const LARGEST: i128 = UNIT * UNIT * 1_000_000_000;

/// A number cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number has at most nine decimal places and is below 10^18")]
pub struct NumberError;

impl Number {
    /// A whole number.
    pub fn from_int(value: i64) -> Self {
        Self(i128::from(value) * UNIT)
    }

    fn checked(value: i128) -> Option<Self> {
        (-LARGEST..=LARGEST).contains(&value).then_some(Self(value))
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        Self::checked(self.0.checked_add(other.0)?)
    }

    pub(super) fn subtract(self, other: Self) -> Option<Self> {
        Self::checked(self.0.checked_sub(other.0)?)
    }

    /// The product, rounded up (towards more) at the ninth place.
    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        let product = self.0.checked_mul(other.0)?;
        let (whole, rest) = (product.div_euclid(UNIT), product.rem_euclid(UNIT));
        Self::checked(whole + i128::from(rest > 0))
    }

    pub(super) fn negate(self) -> Self {
        Self(-self.0)
    }

    /// As an amount of money, rounded up to a millionth; `None` for less than nothing or more than can be written.
    pub fn to_micros(self) -> Option<Micros> {
        let up = self.0.div_euclid(1000) + i128::from(self.0.rem_euclid(1000) > 0);
        u64::try_from(up).ok().map(Micros)
    }

    /// An amount as a number.
    pub fn from_micros(micros: Micros) -> Self {
        Self(i128::from(micros.0) * 1000)
    }
}

impl FromStr for Number {
    type Err = NumberError;

    /// Digits, perhaps a sign, a point and at most nine places that matter, perhaps an exponent (as JSON numbers have).
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (text, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (text, exponent) = match text.split_once(['e', 'E']) {
            Some((text, exponent)) => (text, exponent.parse::<i32>().map_err(|_| NumberError)?),
            None => (text, 0),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || text.len() > 64 || !(-64..=64).contains(&exponent)
        {
            return Err(NumberError);
        }
        let mut value = 0_i128;
        let places = i32::try_from(fraction.len()).map_err(|_| NumberError)?;
        // The digit that stands for 10^-9 is the last that may count.
        let mut scale = 9 + exponent - places;
        for digit in whole.bytes().chain(fraction.bytes()) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .ok_or(NumberError)?;
        }
        while scale < 0 && value % 10 == 0 {
            value /= 10;
            scale += 1;
        }
        if value == 0 {
            scale = 0;
        }
        if scale < 0 {
            return Err(NumberError);
        }
        for _ in 0..scale {
            value = value.checked_mul(10).ok_or(NumberError)?;
        }
        Self::checked(if negative { -value } else { value }).ok_or(NumberError)
    }
}

impl fmt::Display for Number {
    /// The shortest decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let (whole, mut rest) = (
            self.0.unsigned_abs() / UNIT.unsigned_abs(),
            self.0.unsigned_abs() % UNIT.unsigned_abs(),
        );
        write!(f, "{whole}")?;
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
