//! Encryption at rest: XChaCha20-Poly1305 over every value that holds what callers sent or got.
//!
//! A sealed value is `ff 01`, the key's id (8 bytes), a random nonce (24 bytes), and the ciphertext with its tag. No CBOR item
//! begins with `ff`, so that a plain value is never taken for a sealed one. The associated data are
//! `carat/sealed/v1`, 0, the kind of record, 0, the head of the value and the record's key in the store: a record that is put
//! in another's place, or under another kind, does not open.

use std::path::{Path, PathBuf};

use carat_receipt::Digest;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::files;

/// Names a key: it stands in every value that the key sealed. The beginning of a hash of the key.
pub type KeyId = [u8; 8];

/// Beginning of the associated data.
const DOMAIN: &[u8] = b"carat/sealed/v1\0";
/// Domain of the hash that names a key.
const ID_DOMAIN: &str = "carat/store-key-id/v1";
/// A byte that no CBOR item begins with, and the version.
const HEAD: [u8; 2] = [0xff, 1];
const KEY_ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;
/// Largest key file: 64 hexadecimal digits and white space.
const MAX_KEY_FILE: u64 = 128;

/// What a sealed value is a record of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A receipt's record.
    Receipt,
    /// Evidence: proofs hide nothing of the run that they prove.
    Evidence,
    /// Input, output and salts.
    Opening,
    /// A job with its request.
    Job,
    /// What an idempotency key stands for; a digest of the request is in it.
    Idempotency,
    /// A decision with its facts, in `decisions.jsonl`.
    Decision,
    /// A known text, by which a key is recognised.
    Check,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Evidence => "evidence",
            Self::Opening => "opening",
            Self::Job => "job",
            Self::Idempotency => "idempotency",
            Self::Decision => "decision",
            Self::Check => "check",
        }
    }
}

/// Why a value was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// It is in the clear where everything is sealed.
    #[error("a record is in the clear although the store is encrypted")]
    Plain,
    /// None of the keys sealed it.
    #[error("a record is sealed with key {}, which is not given", hex::encode(.0))]
    Unknown(KeyId),
    /// It was changed, or belongs in another place.
    #[error("a sealed record was changed, or put in another's place")]
    Forged,
    /// The system gave no nonce.
    #[error("the operating system gave no randomness")]
    NoRandomness,
}

struct StoreKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// The key that seals, and those that sealed before it.
pub struct Keys {
    current: StoreKey,
    previous: Vec<StoreKey>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<String> = self.all().map(|key| hex::encode(key.id)).collect();
        write!(f, "Keys({})", ids.join(", "))
    }
}

impl StoreKey {
    fn new(secret: &[u8; 32]) -> Self {
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&Digest::of(ID_DOMAIN, &[secret]).as_bytes()[..KEY_ID]);
        Self {
            id,
            cipher: XChaCha20Poly1305::new(secret.into()),
        }
    }

    /// Reads a key file: 32 bytes, or 64 hexadecimal digits.
    fn read(path: &Path) -> Result<Self, Failure> {
        files::refuse_public(path)?;
        let bytes = Zeroizing::new(files::read_capped(path, "a store key", MAX_KEY_FILE)?);
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() == secret.len() {
            secret.copy_from_slice(&bytes);
        } else if hex::decode_to_slice(bytes.trim_ascii(), &mut *secret).is_err() {
            let message = format!(
                "{}: a store key is 32 bytes, or 64 hexadecimal digits: make one with `openssl rand -hex 32`",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(Self::new(&secret))
    }
}

impl Keys {
    /// Keys from their secret bytes. The first seals.
    pub fn new(current: &[u8; 32], previous: &[[u8; 32]]) -> Self {
        Self {
            current: StoreKey::new(current),
            previous: previous.iter().map(StoreKey::new).collect(),
        }
    }

    /// Reads key files: 32 bytes, or 64 hexadecimal digits.
    ///
    /// # Errors
    /// A file that cannot be read, is no key, or can be read by everybody.
    pub fn read(current: &Path, previous: &[PathBuf]) -> Result<Self, Failure> {
        Ok(Self {
            current: StoreKey::read(current)?,
            previous: previous
                .iter()
                .map(|path| StoreKey::read(path))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The name of the key that seals.
    pub fn current(&self) -> KeyId {
        self.current.id
    }

    fn all(&self) -> impl Iterator<Item = &StoreKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// Whether a key is one of them.
    pub fn has(&self, id: &KeyId) -> bool {
        self.all().any(|key| key.id == *id)
    }

    /// Seals a value of a record. `id` is what the record is found under.
    ///
    /// # Errors
    /// [`SealFault::NoRandomness`].
    pub fn seal(&self, kind: Kind, id: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealFault> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealFault::NoRandomness)?;
        let mut sealed = Vec::with_capacity(HEAD.len() + KEY_ID + NONCE + plain.len() + TAG);
        sealed.extend_from_slice(&HEAD);
        sealed.extend_from_slice(&self.current.id);
        let aad = associated(kind, &sealed, id);
        sealed.extend_from_slice(&nonce);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let text = self
            .current
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            // Fails for values of more than 256 GiB only, which no limit lets in.
            .map_err(|_| SealFault::Forged)?;
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens a sealed value of a record.
    ///
    /// # Errors
    /// It is not sealed, by none of these keys, or not this record's.
    pub fn open(
        &self,
        kind: Kind,
        id: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealFault> {
        let head = HEAD.len() + KEY_ID;
        if !is_sealed(sealed) {
            return Err(SealFault::Plain);
        }
        if sealed.len() < head + NONCE + TAG || sealed[..HEAD.len()] != HEAD {
            return Err(SealFault::Forged);
        }
        let mut name = [0; KEY_ID];
        name.copy_from_slice(&sealed[HEAD.len()..head]);
        let key = self
            .all()
            .find(|key| key.id == name)
            .ok_or(SealFault::Unknown(name))?;
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&sealed[head..head + NONCE]);
        let aad = associated(kind, &sealed[..head], id);
        let payload = Payload {
            msg: &sealed[head + NONCE..],
            aad: &aad,
        };
        key.cipher
            .decrypt(&XNonce::from(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealFault::Forged)
    }
}

/// Whether a value is sealed, as its first byte says.
pub fn is_sealed(value: &[u8]) -> bool {
    value.first() == Some(&HEAD[0])
}

fn associated(kind: Kind, head: &[u8], id: &[u8]) -> Vec<u8> {
    // The name has no 0 in it and the head one length, so the parts do not run together.
    [DOMAIN, kind.name().as_bytes(), &[0], head, id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_place_with_its_key_and_unchanged_only() {
        let keys = Keys::new(&[1; 32], &[]);
        let sealed = keys
            .seal(Kind::Opening, b"id", b"the input")
            .expect("sealed");
        assert_eq!(
            **keys.open(Kind::Opening, b"id", &sealed).expect("opens"),
            *b"the input"
        );
        assert!(!sealed.windows(5).any(|part| part == b"input"));
        let again = keys
            .seal(Kind::Opening, b"id", b"the input")
            .expect("sealed");
        assert_ne!(sealed, again, "a nonce of its own");
        for (kind, id) in [
            (Kind::Job, &b"id"[..]),
            (Kind::Opening, b"ie"),
            (Kind::Opening, b""),
        ] {
            assert_eq!(keys.open(kind, id, &sealed), Err(SealFault::Forged));
        }
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(keys.open(Kind::Opening, b"id", &changed).is_err(), "{at}");
            }
            assert!(keys.open(Kind::Opening, b"id", &sealed[..at]).is_err());
        }
        let other = Keys::new(&[2; 32], &[]);
        assert_eq!(
            other.open(Kind::Opening, b"id", &sealed),
            Err(SealFault::Unknown(keys.current()))
        );
        let rotated = Keys::new(&[2; 32], &[[1; 32]]);
        assert!(rotated.open(Kind::Opening, b"id", &sealed).is_ok());
        assert_eq!(
            keys.open(Kind::Opening, b"id", b"\x82plain"),
            Err(SealFault::Plain)
        );
    }

    /// The cipher is the one that its draft describes: the test vector of draft-irtf-cfrg-xchacha-03, A.3.1.
    #[test]
    fn the_drafts_test_vector() {
        let bytes = |text: &str| hex::decode(text.replace(' ', "")).expect("hexadecimal");
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
        let payload = Payload {
            msg: b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
            aad: &bytes("50515253c0c1c2c3c4c5c6c7"),
        };
        let cipher = XChaCha20Poly1305::new(&key.into());
        let text = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("encrypts");
        assert_eq!(
            text,
            bytes(
                "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
                 731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
                 2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
                 21f9664c97637da9768812f615c68b13b52e\
                 c0875924c1c7987947deafd8780acf49"
            )
        );
    }
}
