//! Standard base64 (RFC 4648 section 4), canonical only: one byte string has
//! exactly one accepted text, so a parsed note formats back to the same bytes.

use alloc::string::String;
use alloc::vec::Vec;
use base64ct::{Base64, Encoding};

/// Encodes with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Decodes; `None` for anything that [`encode`] would not have written.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    // The decoder's rules for unused trailing bits are its own business; ours
    // is that no second spelling exists.
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// RFC 4648 section 10.
    #[test]
    fn rfc4648_vectors() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text), Some(plain.as_bytes().to_vec()));
        }
    }

    #[test]
    fn refuses_second_spellings() {
        assert_eq!(decode("Zg=="), Some(vec![b'f']));
        for bad in [
            "Zh==", "Zg=", "Zg", "Zg==\n", " Zg==", "Z-==", "Zm9=", "====",
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
