//! Lengths of time as people write them: `45s`, `90m`, `12h`, `30d`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The units, in seconds, the longest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
/// Longest period: a hundred years.
const MAX: u64 = 36_500 * 86_400;

/// A length of time: whole seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(u64);

impl Period {
    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no time: write a number and a unit, such as 45s, 90m, 12h or 30d; at most 36500d"
            )
        };
        let unit = text.chars().last().ok_or_else(wrong)?;
        let number = &text[..text.len() - unit.len_utf8()];
        let (_, factor) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        // Digits only: `+1d` is a number to the parser of integers.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .filter(|seconds| (1..=MAX).contains(seconds))
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS
            .into_iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (name, factor) = fits.unwrap_or(('s', 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_people_do_and_nothing_else() {
        for (text, seconds) in [
            ("45s", 45),
            ("90m", 5400),
            ("12h", 43_200),
            ("30d", 2_592_000),
        ] {
            let period: Period = text.parse().expect("a time");
            assert_eq!(period.seconds(), seconds);
            assert_eq!(period.to_string(), text);
        }
        for text in [
            "",
            "d",
            "30",
            "30 d",
            "-1d",
            "+1d",
            "0s",
            "1.5h",
            "36501d",
            "1w",
            "99999999999999999999s",
            "1é",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
