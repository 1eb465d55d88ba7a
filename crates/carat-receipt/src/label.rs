//! Short texts that people read: names of issuers, models, audiences.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::cbor::{DecodeError, Reader};

/// A name of 1 to 256 bytes of UTF-8 that can be shown on one line without lying about itself: no control characters,
/// no bidirectional overrides, no zero-width characters, no leading or trailing white space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// A text cannot be a [`Label`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// Empty, or longer than the limit.
    #[error("a name has 1 to {max} bytes, this one has {0}; shorten it", max = Label::MAX)]
    Length(usize),
    /// A character that would mislead a reader.
    #[error(
        "a name may not hold the character U+{0:04X}, which is invisible or moves text; remove it"
    )]
    Character(u32),
    /// White space at an end.
    #[error("a name may not start or end with white space; trim it")]
    Space,
}

impl Label {
    /// Longest name, in bytes.
    pub const MAX: usize = 256;

    /// Checks a text.
    pub fn new(text: impl Into<String>) -> Result<Self, LabelError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let text = reader.text(what, 1, Self::MAX)?;
        Self::new(text).map_err(|_| DecodeError::Value {
            what,
            reason: "the name holds white space at an end, or a character that misleads readers",
        })
    }
}

/// Whether a character is invisible, moves text or drives a terminal: text that a stranger wrote is not shown with it.
#[must_use]
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c as u32, 0xAD | 0x61C | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB | 0xE0000..=0xE0FFF)
}

fn check(text: &str) -> Result<(), LabelError> {
    if text.is_empty() || text.len() > Label::MAX {
        return Err(LabelError::Length(text.len()));
    }
    if let Some(c) = text.chars().find(|c| misleads(*c)) {
        return Err(LabelError::Character(c as u32));
    }
    if text.trim() != text {
        return Err(LabelError::Space);
    }
    Ok(())
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::new(text)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_mislead() {
        assert!(Label::new("Zürich \u{6c34}").is_ok());
        assert_eq!(Label::new(""), Err(LabelError::Length(0)));
        assert_eq!(Label::new("a".repeat(257)), Err(LabelError::Length(257)));
        assert_eq!(Label::new("a\u{202e}b"), Err(LabelError::Character(0x202e)));
        assert_eq!(Label::new("a\nb"), Err(LabelError::Character(10)));
        assert_eq!(Label::new(" a"), Err(LabelError::Space));
    }
}
