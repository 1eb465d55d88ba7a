//! Deterministic CBOR (RFC 8949 section 4.2.1), the subset that receipts use.
//!
//! Only integers, byte strings, text strings, booleans, arrays, maps and tags; no floats, no null, no indefinite
//! lengths. [`Reader`] refuses every encoding that [`Writer`] would not have produced: heads that are not the shortest,
//! map keys out of order or repeated, bytes after the end. Nothing here recurses, so depth is bounded by the types that
//! are read, and every length is checked against the bytes that are really there before anything is allocated.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Digest;

const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// Bytes are not the deterministic CBOR of what they should be. The sender of the bytes is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside `what`.
    #[error("{what}: the bytes end early, at byte {at}; the file was cut off")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// Another type of CBOR item stands here.
    #[error("{what}: expected {expected} at byte {at}")]
    Type {
        /// What was being read.
        what: &'static str,
        /// The expected kind of item.
        expected: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// The item is valid CBOR but not in its one deterministic form.
    #[error(
        "{what}: not deterministic CBOR at byte {at} ({rule}); the producer must encode by RFC 8949 section 4.2"
    )]
    NotDeterministic {
        /// What was being read.
        what: &'static str,
        /// The rule that was broken.
        rule: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// A length or count is outside its limits.
    #[error("{what}: length {len} is outside {min} to {max}")]
    Length {
        /// What was being read.
        what: &'static str,
        /// The length found.
        len: u64,
        /// Smallest length allowed.
        min: u64,
        /// Largest length allowed.
        max: u64,
    },
    /// A map holds a key that this version does not know.
    #[error("{what}: unknown key {key}; it was made by a newer version, or altered")]
    UnknownKey {
        /// What was being read.
        what: &'static str,
        /// The key.
        key: i64,
    },
    /// A map lacks a key.
    #[error("{what}: key {key} is missing")]
    MissingKey {
        /// What was being read.
        what: &'static str,
        /// The key.
        key: i64,
    },
    /// A value is of the right type but not allowed here.
    #[error("{what}: {reason}")]
    Value {
        /// What was being read.
        what: &'static str,
        /// Why the value is not allowed.
        reason: &'static str,
    },
    /// Bytes follow the end of the item.
    #[error("{what}: {extra} bytes follow its end")]
    TrailingBytes {
        /// What was being read.
        what: &'static str,
        /// How many.
        extra: usize,
    },
}

/// Writes deterministic CBOR into a growing buffer. The caller writes map keys in order.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let major = major << 5;
        if argument < 24 {
            self.0.push(major | argument as u8);
        } else if let Ok(argument) = u8::try_from(argument) {
            self.0.extend([major | 24, argument]);
        } else if let Ok(argument) = u16::try_from(argument) {
            self.0.push(major | 25);
            self.0.extend(argument.to_be_bytes());
        } else if let Ok(argument) = u32::try_from(argument) {
            self.0.push(major | 26);
            self.0.extend(argument.to_be_bytes());
        } else {
            self.0.push(major | 27);
            self.0.extend(argument.to_be_bytes());
        }
        self
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value)
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(UINT, value),
            // -1 - value, which cannot overflow for a negative i64.
            Err(_) => self.head(NINT, !(value as u64)),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(BYTES, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(TEXT, value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The head of an array of `len` items.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.head(ARRAY, len as u64)
    }

    /// The head of a map of `len` pairs.
    pub fn map(&mut self, len: usize) -> &mut Self {
        self.head(MAP, len as u64)
    }

    /// A tag; its content follows.
    pub fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(TAG, tag)
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.head(SIMPLE, if value { 21 } else { 20 })
    }

    /// Bytes that are already deterministic CBOR.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }
}

/// Collects the pairs of a map with integer keys, given in any order, and writes them in deterministic order.
#[derive(Debug, Default)]
pub struct MapWriter(Vec<(i64, Vec<u8>)>);

impl MapWriter {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair. Keys must differ; the types that call this have constant keys.
    pub fn put(&mut self, key: i64, write: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut writer = Writer::new();
        write(&mut writer);
        self.0.push((key, writer.0));
        self
    }

    /// Adds a pair if there is a value.
    pub fn put_some<T>(
        &mut self,
        key: i64,
        value: Option<T>,
        write: impl FnOnce(&mut Writer, T),
    ) -> &mut Self {
        if let Some(value) = value {
            self.put(key, |w| write(w, value));
        }
        self
    }

    /// Writes the map.
    pub fn finish(mut self, writer: &mut Writer) {
        self.0.sort_by_key(|(key, _)| key_order(*key));
        writer.map(self.0.len());
        for (key, value) in &self.0 {
            writer.int(*key).raw(value);
        }
    }
}

/// Bytewise order of encoded integer keys: non-negative ones first, then negative ones away from zero.
fn key_order(key: i64) -> (bool, u64) {
    (key < 0, if key < 0 { !(key as u64) } else { key as u64 })
}

/// Reads deterministic CBOR from a slice.
#[derive(Debug, Clone)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Refuses bytes after the end of `what`.
    pub fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            extra => Err(DecodeError::TrailingBytes { what, extra }),
        }
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'b [u8], DecodeError> {
        let end = self
            .at
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(DecodeError::Truncated { what, at: self.at });
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Major type of the next item, without reading it.
    fn peek(&self, what: &'static str) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(byte) => Ok(byte >> 5),
            None => Err(DecodeError::Truncated { what, at: self.at }),
        }
    }

    fn head(
        &mut self,
        major: u8,
        expected: &'static str,
        what: &'static str,
    ) -> Result<u64, DecodeError> {
        let at = self.at;
        if self.peek(what)? != major {
            return Err(DecodeError::Type { what, expected, at });
        }
        let info = self.take(1, what)?[0] & 31;
        let (argument, least) = match info {
            0..=23 => return Ok(u64::from(info)),
            24 => (u64::from(self.take(1, what)?[0]), 24),
            25..=27 => {
                let len = 1 << (info - 24);
                let argument = self
                    .take(len, what)?
                    .iter()
                    .fold(0, |value, byte| value << 8 | u64::from(*byte));
                (argument, 1 << (8 * (len / 2)))
            }
            31 => {
                let rule = "indefinite length";
                return Err(DecodeError::NotDeterministic { what, rule, at });
            }
            _ => {
                let rule = "reserved length";
                return Err(DecodeError::NotDeterministic { what, rule, at });
            }
        };
        if argument < least {
            let rule = "longer than needed";
            return Err(DecodeError::NotDeterministic { what, rule, at });
        }
        Ok(argument)
    }

    /// An unsigned integer.
    pub fn uint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.head(UINT, "an unsigned integer", what)
    }

    /// A signed integer within the range of `i64`.
    pub fn int(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let out_of_range = DecodeError::Value {
            what,
            reason: "the integer does not fit in 64 bits, signed",
        };
        if self.peek(what)? == NINT {
            let magnitude = self.head(NINT, "an integer", what)?;
            i64::try_from(magnitude)
                .map(|magnitude| !magnitude)
                .map_err(|_| out_of_range)
        } else {
            let value = self.head(UINT, "an integer", what)?;
            i64::try_from(value).map_err(|_| out_of_range)
        }
    }

    /// A byte string of `min` to `max` bytes.
    pub fn bytes(
        &mut self,
        what: &'static str,
        min: usize,
        max: usize,
    ) -> Result<&'b [u8], DecodeError> {
        let len = self.head(BYTES, "a byte string", what)?;
        let len = within(what, len, min, max)?;
        self.take(len, what)
    }

    /// A byte string of exactly `N` bytes.
    pub fn array_of<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes(what, N, N)?;
        // The length was checked; the fallback is unreachable and costs nothing.
        Ok(bytes.try_into().unwrap_or([0; N]))
    }

    /// A 32-byte digest.
    pub fn digest(&mut self, what: &'static str) -> Result<Digest, DecodeError> {
        self.array_of(what).map(Digest::from_bytes)
    }

    /// A text string of `min` to `max` bytes of UTF-8.
    pub fn text(
        &mut self,
        what: &'static str,
        min: usize,
        max: usize,
    ) -> Result<&'b str, DecodeError> {
        let len = self.head(TEXT, "a text string", what)?;
        let len = within(what, len, min, max)?;
        core::str::from_utf8(self.take(len, what)?).map_err(|_| DecodeError::Value {
            what,
            reason: "the text is not UTF-8",
        })
    }

    /// The head of an array of `min` to `max` items.
    pub fn array(
        &mut self,
        what: &'static str,
        min: usize,
        max: usize,
    ) -> Result<usize, DecodeError> {
        let len = self.head(ARRAY, "an array", what)?;
        within(what, len, min, max)
    }

    /// The head of a map of at most `max` pairs.
    pub fn map(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let len = self.head(MAP, "a map", what)?;
        within(what, len, 0, max)
    }

    /// A tag.
    pub fn tag(&mut self, what: &'static str, tag: u64) -> Result<(), DecodeError> {
        let at = self.at;
        if self.head(TAG, "a tag", what)? == tag {
            Ok(())
        } else {
            Err(DecodeError::Type {
                what,
                expected: "another tag",
                at,
            })
        }
    }

    /// A boolean.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        let at = self.at;
        match self.head(SIMPLE, "a boolean", what)? {
            20 => Ok(false),
            21 => Ok(true),
            _ => Err(DecodeError::Type {
                what,
                expected: "a boolean",
                at,
            }),
        }
    }

    /// A map with integer keys.
    pub fn int_map(&mut self, what: &'static str, max: usize) -> Result<IntMap, DecodeError> {
        let left = self.map(what, max)?;
        Ok(IntMap {
            what,
            left,
            last: None,
        })
    }

    /// Whether the next item is a text string.
    pub(crate) fn next_is_text(&self) -> bool {
        self.peek("").is_ok_and(|major| major == TEXT)
    }

    /// Whether the next item is a byte string.
    pub(crate) fn next_is_bytes(&self) -> bool {
        self.peek("").is_ok_and(|major| major == BYTES)
    }

    /// Whether the next item is an integer.
    pub(crate) fn next_is_int(&self) -> bool {
        self.peek("")
            .is_ok_and(|major| major == UINT || major == NINT)
    }
}

fn within(what: &'static str, len: u64, min: usize, max: usize) -> Result<usize, DecodeError> {
    match usize::try_from(len) {
        Ok(short) if (min..=max).contains(&short) => Ok(short),
        _ => Err(DecodeError::Length {
            what,
            len,
            min: min as u64,
            max: max as u64,
        }),
    }
}

/// Walks the keys of a map in deterministic order, each at most once.
#[derive(Debug)]
pub struct IntMap {
    what: &'static str,
    left: usize,
    last: Option<i64>,
}

impl IntMap {
    /// The next key; the caller reads its value before asking again.
    pub fn next_key(&mut self, reader: &mut Reader<'_>) -> Result<Option<i64>, DecodeError> {
        let what = self.what;
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let at = reader.position();
        let key = reader.int(what)?;
        if let Some(last) = self.last {
            if last == key {
                let rule = "a map key is repeated";
                return Err(DecodeError::NotDeterministic { what, rule, at });
            }
            if key_order(last) > key_order(key) {
                let rule = "map keys are out of order";
                return Err(DecodeError::NotDeterministic { what, rule, at });
            }
        }
        self.last = Some(key);
        Ok(Some(key))
    }

    /// The error for a key that the caller does not know.
    pub fn unknown(&self, key: i64) -> DecodeError {
        DecodeError::UnknownKey {
            what: self.what,
            key,
        }
    }

    /// Takes a required value.
    pub fn require<T>(&self, key: i64, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or(DecodeError::MissingKey {
            what: self.what,
            key,
        })
    }
}

/// Owned text, for the types that keep it.
pub(crate) fn owned(text: &str) -> String {
    String::from(text)
}

#[cfg(test)]
mod tests;
