//! Ed25519 keys (RFC 8032), their identifiers, and the text of a key file.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use ed25519_dalek::Signer as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::Digest;

/// An Ed25519 signature, 64 bytes.
pub type Signature = [u8; 64];

/// An Ed25519 public key, 32 bytes. Whether the bytes are a usable point shows when a signature is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Names a key: plain SHA-256 of the public key, all 32 bytes of it, so that two keys never share a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

/// An Ed25519 secret key. Zeroed when dropped; printing it shows the public key only.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// A signature does not verify. The holder of the bytes altered them, or the named key never signed them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under key {0}")]
pub struct SignatureError(pub PublicKey);

/// A key cannot be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the text of a public key.
    #[error("a public key is written as ed25519: followed by 64 lowercase hexadecimal digits")]
    PublicSyntax,
    /// Not a key file.
    #[error("not a Carat key file: its first line must be {first:?}", first = KEY_FILE_HEADER)]
    NotAKeyFile,
    /// A line of the key file is damaged.
    #[error(
        "the key file's line {0:?} is missing or damaged; restore the file from a copy, or make a new key"
    )]
    Line(&'static str),
    /// The secret and the public key of the file do not belong together.
    #[error(
        "the key file's secret and public key do not belong together; restore the file from a copy"
    )]
    Mismatch,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness; no key was made")]
    NoRandomness,
}

const KEY_FILE_HEADER: &str = "carat-signing-key/v1";
const PREFIX: &str = "ed25519:";

impl PublicKey {
    /// Takes 32 bytes as a public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::sha256(&self.0))
    }

    /// Verifies a signature by the strict rules: canonical encodings, no small-order points.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError(*self))?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature)
            .map_err(|_| SignatureError(*self))
    }
}

impl KeyId {
    /// Takes a digest as a key's name.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The first twelve hexadecimal digits, for people. Never compare these.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl SigningKey {
    /// Makes a key from 32 secret bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// Makes a key from the operating system's randomness.
    #[cfg(feature = "std")]
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self::from_secret(&secret))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }

    /// The text of a key file. Whoever writes it must keep others from reading it (mode 0600).
    pub fn to_key_file(&self) -> Zeroizing<String> {
        let mut secret = hex::encode(self.0.as_bytes());
        let text = format!(
            "{KEY_FILE_HEADER}\nsecret {secret}\npublic {}\n",
            self.public()
        );
        secret.zeroize();
        Zeroizing::new(text)
    }

    /// Reads the text of a key file.
    pub fn from_key_file(text: &str) -> Result<Self, KeyError> {
        let mut lines = text.lines();
        if lines.next() != Some(KEY_FILE_HEADER) {
            return Err(KeyError::NotAKeyFile);
        }
        let secret = lines
            .next()
            .and_then(|line| line.strip_prefix("secret "))
            .ok_or(KeyError::Line("secret"))?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(secret, &mut *bytes).map_err(|_| KeyError::Line("secret"))?;
        let public = lines
            .next()
            .and_then(|line| line.strip_prefix("public "))
            .ok_or(KeyError::Line("public"))?;
        let public: PublicKey = public.parse().map_err(|_| KeyError::Line("public"))?;
        if lines.next().is_some() {
            return Err(KeyError::Line("end"));
        }
        let key = Self::from_secret(&bytes);
        if key.public() == public {
            Ok(key)
        } else {
            Err(KeyError::Mismatch)
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_prefix(PREFIX).ok_or(KeyError::PublicSyntax)?;
        // A digest's spelling rules are the ones wanted here: 64 lowercase hexadecimal digits.
        let bytes: Digest = digits.parse().map_err(|_| KeyError::PublicSyntax)?;
        Ok(Self(*bytes.as_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public())
    }
}

#[cfg(feature = "serde")]
mod with_serde {
    use alloc::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::{KeyId, PublicKey};

    impl Serialize for PublicKey {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for PublicKey {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <Cow<'de, str>>::deserialize(deserializer)?
                .parse()
                .map_err(D::Error::custom)
        }
    }

    impl Serialize for KeyId {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn array<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    /// RFC 8032 section 7.1, test 2.
    #[test]
    fn rfc_8032() {
        let key = SigningKey::from_secret(&array(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        ));
        assert_eq!(
            key.public().to_string(),
            "ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            signature,
            array(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            )
        );
        assert!(key.public().verify(&[0x72], &signature).is_ok());
        assert!(key.public().verify(&[0x73], &signature).is_err());
    }

    /// A small-order key signs everything under the lax rules: with A and R the identity and S = 0, every message
    /// verifies. The strict rules refuse it.
    #[test]
    fn small_order_keys_sign_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(
            PublicKey::from_bytes(identity)
                .verify(b"anything", &signature)
                .is_err()
        );
    }

    #[test]
    fn key_file_round_trips_and_notices_damage() {
        let key = SigningKey::from_secret(&[7; 32]);
        let text = key.to_key_file();
        assert_eq!(
            SigningKey::from_key_file(&text).unwrap().public(),
            key.public()
        );
        let other = text.replace("secret 0707", "secret 0708");
        assert_eq!(
            SigningKey::from_key_file(&other).unwrap_err(),
            KeyError::Mismatch
        );
        assert_eq!(
            SigningKey::from_key_file("x").unwrap_err(),
            KeyError::NotAKeyFile
        );
        assert_eq!(
            SigningKey::from_key_file("carat-signing-key/v1\n").unwrap_err(),
            KeyError::Line("secret")
        );
        assert!(!format!("{key:?}").contains("0707"));
    }

    #[cfg(feature = "std")]
    #[test]
    fn generated_keys_differ() {
        assert_ne!(
            SigningKey::generate().unwrap().public(),
            SigningKey::generate().unwrap().public()
        );
    }
}
