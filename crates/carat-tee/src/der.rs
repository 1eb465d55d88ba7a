//! Strict DER (ITU-T X.690), as much as certificates, CRLs and signatures need. Values are slices of the input, so that
//! what was signed is what is hashed.

/// Bytes are not strict DER of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DerError {
    /// The input ends inside a value.
    #[error("the encoding ends too early")]
    Truncated,
    /// A length is not in its shortest definite form, or larger than 2^24.
    #[error("a length is not in its shortest form, or too large")]
    Length,
    /// Another type stands there.
    #[error("expected type {expected:#04x}, found {found:#04x}")]
    Tag {
        /// Identifier byte expected.
        expected: u8,
        /// Identifier byte found.
        found: u8,
    },
    /// More bytes than the value has.
    #[error("bytes follow the value")]
    Trailing,
    /// A value is not in its one form.
    #[error("not a valid {0}")]
    Value(&'static str),
}

/// Identifier bytes.
pub mod tag {
    /// BOOLEAN.
    pub const BOOLEAN: u8 = 0x01;
    /// INTEGER.
    pub const INTEGER: u8 = 0x02;
    /// BIT STRING.
    pub const BIT_STRING: u8 = 0x03;
    /// OCTET STRING.
    pub const OCTET_STRING: u8 = 0x04;
    /// NULL.
    pub const NULL: u8 = 0x05;
    /// OBJECT IDENTIFIER.
    pub const OID: u8 = 0x06;
    /// UTF8String.
    pub const UTF8_STRING: u8 = 0x0c;
    /// PrintableString.
    pub const PRINTABLE_STRING: u8 = 0x13;
    /// IA5String.
    pub const IA5_STRING: u8 = 0x16;
    /// UTCTime.
    pub const UTC_TIME: u8 = 0x17;
    /// GeneralizedTime.
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// SEQUENCE.
    pub const SEQUENCE: u8 = 0x30;
    /// SET.
    pub const SET: u8 = 0x31;

    /// Context-specific, constructed.
    pub const fn context(number: u8) -> u8 {
        0xa0 | number
    }
}

/// A value with its identifier byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Identifier byte.
    pub tag: u8,
    /// Content.
    pub value: &'a [u8],
    /// Identifier, length and content.
    pub whole: &'a [u8],
}

/// Reads values one after another.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next value, of any type with a one-byte identifier.
    pub fn any(&mut self) -> Result<Tlv<'a>, DerError> {
        let (&tag, rest) = self.0.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::Value("identifier of one byte"));
        }
        let (&first, rest) = rest.split_first().ok_or(DerError::Truncated)?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=3).contains(&count) {
                return Err(DerError::Length);
            }
            let (bytes, rest) = rest.split_at_checked(count).ok_or(DerError::Truncated)?;
            let len = bytes
                .iter()
                .fold(0usize, |len, &byte| len << 8 | usize::from(byte));
            if len < 0x80 || bytes[0] == 0 {
                return Err(DerError::Length);
            }
            (len, rest)
        };
        let (value, rest) = rest.split_at_checked(len).ok_or(DerError::Truncated)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Ok(Tlv { tag, value, whole })
    }

    /// The next value, which must be of this type; its content.
    pub fn expect(&mut self, expected: u8) -> Result<&'a [u8], DerError> {
        let tlv = self.any()?;
        if tlv.tag != expected {
            return Err(DerError::Tag {
                expected,
                found: tlv.tag,
            });
        }
        Ok(tlv.value)
    }

    /// The next value if it is of this type.
    pub fn optional(&mut self, expected: u8) -> Result<Option<&'a [u8]>, DerError> {
        if self.0.first() == Some(&expected) {
            self.expect(expected).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A reader of the content of the next SEQUENCE.
    pub fn sequence(&mut self) -> Result<Reader<'a>, DerError> {
        self.expect(tag::SEQUENCE).map(Reader)
    }

    /// A non-negative INTEGER without its sign byte, shortest form; zero is one zero byte.
    pub fn unsigned(&mut self) -> Result<&'a [u8], DerError> {
        unsigned(self.expect(tag::INTEGER)?)
    }

    /// A small non-negative INTEGER.
    pub fn small(&mut self) -> Result<u64, DerError> {
        let bytes = self.unsigned()?;
        if bytes.len() > 8 {
            return Err(DerError::Value("small number"));
        }
        Ok(bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A BIT STRING of whole bytes.
    pub fn bits(&mut self) -> Result<&'a [u8], DerError> {
        match self.expect(tag::BIT_STRING)?.split_first() {
            Some((0, bytes)) => Ok(bytes),
            _ => Err(DerError::Value("bit string of whole bytes")),
        }
    }

    /// A UTCTime or GeneralizedTime in UTC with seconds, as Unix seconds.
    pub fn time(&mut self) -> Result<u64, DerError> {
        let tlv = self.any()?;
        time(tlv.tag, tlv.value)
    }

    /// Ends the reading: nothing may be left.
    pub const fn finish(&self) -> Result<(), DerError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DerError::Trailing)
        }
    }
}

/// The content of a non-negative INTEGER without its sign byte.
fn unsigned(content: &[u8]) -> Result<&[u8], DerError> {
    match content {
        [] => Err(DerError::Value("integer")),
        [0] => Ok(content),
        [0, next, ..] if next & 0x80 == 0 => Err(DerError::Value("integer in its shortest form")),
        [0, rest @ ..] => Ok(rest),
        [first, ..] if first & 0x80 != 0 => Err(DerError::Value("non-negative integer")),
        _ => Ok(content),
    }
}

fn time(kind: u8, text: &[u8]) -> Result<u64, DerError> {
    const BAD: DerError = DerError::Value("time in UTC with seconds");
    let number = |text: &[u8]| {
        text.iter().try_fold(0u64, |value, byte| {
            byte.is_ascii_digit()
                .then(|| value * 10 + u64::from(byte - b'0'))
                .ok_or(BAD)
        })
    };
    let (year, rest) = match (kind, text.len()) {
        // RFC 5280 section 4.1.2.5.1: two digits, 50 to 99 are 1950 to 1999.
        (tag::UTC_TIME, 13) => {
            let year = number(&text[..2])?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &text[2..],
            )
        }
        (tag::GENERALIZED_TIME, 15) => (number(&text[..4])?, &text[4..]),
        _ => return Err(BAD),
    };
    if rest[10] != b'Z' {
        return Err(BAD);
    }
    let part = |at: usize| number(&rest[at..at + 2]);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return Err(BAD),
    };
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(BAD);
    }
    // Days from 1970-01-01 in the Gregorian calendar; months counted from March, so that the leap day is last.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let day_number = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Ok(day_number * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (kind, text, seconds) in [
            (tag::UTC_TIME, "700101000000Z", Some(0)),
            (tag::UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (tag::UTC_TIME, "000229120000Z", Some(951_825_600)),
            (tag::UTC_TIME, "010229120000Z", None),
            (tag::UTC_TIME, "691231235959Z", None),
            (tag::UTC_TIME, "7001010000Z", None),
            (
                tag::GENERALIZED_TIME,
                "99991231235959Z",
                Some(253_402_300_799),
            ),
            (
                tag::GENERALIZED_TIME,
                "20260101000000Z",
                Some(1_767_225_600),
            ),
            (tag::GENERALIZED_TIME, "20260101000000.5Z", None),
            (tag::GENERALIZED_TIME, "20260101000060Z", None),
            (tag::GENERALIZED_TIME, "2026010100000:Z", None),
        ] {
            assert_eq!(time(kind, text.as_bytes()).ok(), seconds, "{text}");
        }
    }

    #[test]
    fn lengths_have_one_form() {
        let read = |bytes: &[u8]| Reader::new(bytes).any().map(|tlv| tlv.value.len());
        assert_eq!(read(&[4, 1, 0]), Ok(1));
        assert_eq!(read(&[4, 0x81, 1, 0]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x80, 0, 0]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x82, 0, 0x80]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x84, 1, 0, 0, 0]), Err(DerError::Length));
        assert_eq!(read(&[4, 0x83, 0xff, 0xff, 0xff]), Err(DerError::Truncated));
        assert_eq!(read(&[4, 2, 0]), Err(DerError::Truncated));
        assert_eq!(
            read(&[0x1f, 1, 0]),
            Err(DerError::Value("identifier of one byte"))
        );
        assert_eq!(read(&[]), Err(DerError::Truncated));
    }

    #[test]
    fn integers_have_one_form() {
        let read = |content: &[u8]| unsigned(content).map(<[u8]>::to_vec).ok();
        assert_eq!(read(&[0]), Some(alloc::vec![0]));
        assert_eq!(read(&[0, 0x80]), Some(alloc::vec![0x80]));
        assert_eq!(read(&[0, 0x7f]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[]), None);
    }
}
