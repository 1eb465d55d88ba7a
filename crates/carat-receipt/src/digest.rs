//! SHA-256 digests with domain separation.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use minicbor::bytes::ByteSlice;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest (FIPS 180-4), 32 bytes.
///
/// Two digests are equal only if their bytes are. Nothing about the type says what was hashed: the domain string given
/// to [`Digest::of`] does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A digest could not be read from text or bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The bytes have another length than 32.
    #[error("the digest has {0} bytes where SHA-256 has 32; give the whole digest")]
    Length(usize),
    /// The text is not 64 hexadecimal digits.
    #[error("a digest is written as 64 lowercase hexadecimal digits")]
    NotHex,
}

impl Digest {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Digest of `parts` under a domain-separation string.
    ///
    /// The preimage is `len(domain) || domain || len(part) || part ...` with every length as 8 bytes, big-endian. The
    /// length prefixes make it injective: no two different (domain, parts) have the same preimage.
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update((domain.len() as u64).to_be_bytes());
        hash.update(domain.as_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Plain SHA-256 of `bytes`, without a domain. Only where another standard fixes what is hashed (COSE, log trees)
    /// or where the bytes are a file that others hash too.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes 32 bytes as a digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people. Never compare these.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = DigestError;

    fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| DigestError::Length(bytes.len()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// Reads exactly 64 lowercase hexadecimal digits, so that one digest has one spelling.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestError::NotHex);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError::NotHex)?;
        Ok(Self(bytes))
    }
}

impl<C> minicbor::Encode<C> for Digest {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Digest {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        let bytes: &ByteSlice = d.decode()?;
        Self::try_from(&**bytes)
            .map_err(|_| minicbor::decode::Error::message("a digest has 32 bytes").at(position))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn plain_sha256_is_fips_180() {
        // FIPS 180-4 example "abc".
        assert_eq!(
            Digest::sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn parts_do_not_run_together() {
        let digests = [
            Digest::of("d", &[b"ab", b"c"]),
            Digest::of("d", &[b"a", b"bc"]),
            Digest::of("d", &[b"abc"]),
            Digest::of("d", &[b"abc", b""]),
            Digest::of("da", &[b"bc"]),
            Digest::of("", &[b"d", b"abc"]),
        ];
        for (i, a) in digests.iter().enumerate() {
            for b in &digests[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn one_spelling() {
        let digest = Digest::sha256(b"abc");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(
            text.to_uppercase().parse::<Digest>(),
            Err(DigestError::NotHex)
        );
        assert_eq!(text[..62].parse::<Digest>(), Err(DigestError::NotHex));
        assert_eq!(
            Digest::try_from(&[0u8; 31][..]),
            Err(DigestError::Length(31))
        );
    }

    #[test]
    fn cbor_is_a_32_byte_string() {
        let digest = Digest::sha256(b"abc");
        let bytes = minicbor::to_vec(digest).unwrap();
        assert_eq!(bytes[..2], [0x58, 32]);
        assert_eq!(minicbor::decode::<Digest>(&bytes).unwrap(), digest);
        assert!(minicbor::decode::<Digest>(&bytes[1..]).is_err());
        assert!(minicbor::decode::<Digest>(&[0x41, 0]).is_err());
    }
}
