//! Times as seconds since 1970-01-01T00:00:00Z, and their RFC 3339 text.

use alloc::format;
use alloc::string::String;

use toml::value::{Datetime, Offset};

/// Seconds in a day.
pub const DAY: u64 = 86_400;

/// The text of a time, `2026-11-22T12:00:00Z`.
pub fn to_text(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / DAY);
    let rest = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Reads a TOML date-time in UTC with whole seconds, from 1970 to 9999.
pub(crate) fn from_toml(value: &Datetime) -> Option<u64> {
    let (date, time) = (value.date?, value.time?);
    let utc = matches!(value.offset?, Offset::Z);
    let year = u64::from(date.year);
    // Leap seconds have no number in Unix time.
    let second = u64::from(time.second.unwrap_or(0));
    if !utc || year < 1970 || time.nanosecond.unwrap_or(0) != 0 || second > 59 {
        return None;
    }
    let days = days_before(year, u64::from(date.month), u64::from(date.day));
    // A day that the month does not have would come back as another date.
    if civil(days) != (year, u64::from(date.month), u64::from(date.day)) {
        return None;
    }
    Some(days * DAY + u64::from(time.hour) * 3600 + u64::from(time.minute) * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Months count from March, so that the leap day is last.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The inverse of [`days_before`].
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(to_text(seconds), text);
            assert_eq!(from_toml(&text.parse().unwrap()), Some(seconds));
        }
    }

    #[test]
    fn every_day_round_trips() {
        for day in 0..2_932_897 {
            let (year, month, date) = civil(day);
            assert_eq!(days_before(year, month, date), day);
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+01:00",
            "2026-01-01T00:00:00.5Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(from_toml(&text.parse().unwrap()), None, "{text}");
        }
        if let Ok(value) = "2026-02-29T00:00:00Z".parse() {
            assert_eq!(from_toml(&value), None);
        }
    }
}
