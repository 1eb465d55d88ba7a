//! What evidence says, as named values in the order in which they were read.

use alloc::string::String;
use alloc::vec::Vec;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A value of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text. Strangers wrote it: whoever shows it must make control characters harmless.
    Text(String),
    /// Bytes; hexadecimal in JSON.
    Bytes(Vec<u8>),
    /// A number.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
    /// Named values.
    Map(Claims),
}

/// Named values in order. A name stands once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(Vec<(String, Value)>);

impl Claims {
    /// No claims.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a claim, or replaces the one of that name.
    pub fn put(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
        self
    }

    /// The claim of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// All claims in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, Value)> for Claims {
    /// From names that are known to differ.
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.as_slice().into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! from_int {
    ($($int:ty),+) => {$(
        impl From<$int> for Value {
            fn from(value: $int) -> Self {
                Self::Int(i64::from(value))
            }
        }
    )+};
}
from_int!(u8, u16, u32, i32, i64);

impl From<u64> for Value {
    /// Numbers above 2^63 become decimal text: JSON readers would round them.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Self::Text(alloc::format!("{value}")), Self::Int)
    }
}

impl From<Claims> for Value {
    fn from(claims: Claims) -> Self {
        Self::Map(claims)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value
where
    Value: NotByte<T>,
{
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// Keeps `Vec<u8>` out of the list conversion.
pub trait NotByte<T> {}
impl NotByte<Value> for Value {}
impl NotByte<String> for Value {}
impl NotByte<Claims> for Value {}
impl NotByte<&str> for Value {}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_str(&hex::encode(bytes)),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(claims) => claims.serialize(serializer),
        }
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
