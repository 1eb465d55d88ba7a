//! Signed notes (C2SP `signed-note` v1.0.0): a text and lines of signatures.
//!
//! Only what this log needs is implemented: Ed25519 note signatures (type
//! `0x01`), timestamped Ed25519 cosignatures (type `0x04`) and our own promise
//! signatures (type `0xff` with a long name, as the specification asks).
//! Parsing is canonical: [`SignedNote::parse`] followed by
//! [`SignedNote::to_text`] gives the same bytes.
//!
//! The crates `signed_note` and `tlog_tiles` implement the same formats, but
//! need `std`; they are our oracles in the tests and not dependencies.

use crate::b64;
use crate::hash::shorten;
use crate::promise::PROMISE_DOMAIN;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// Largest accepted note, in bytes. Larger than any honest one: 64 signatures
/// of 5 kB, the largest post-quantum ones today, fit.
pub const MAX_NOTE_BYTES: usize = 512 * 1024;

/// Most signatures on one note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// What stands before a signature line.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note or a key was refused. Its author is at fault unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Too large to look at.
    #[error(
        "the note has {found} bytes, the limit is {MAX_NOTE_BYTES}; no honest log sends one this large"
    )]
    TooLarge {
        /// Size in bytes.
        found: usize,
    },
    /// Not the shape of a note.
    #[error("not a signed note: {what}; ask its sender for the original bytes")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// More signature lines than anyone needs.
    #[error("the note has more than {MAX_SIGNATURES} signatures; no honest log sends so many")]
    TooManySignatures,
    /// A key name with a space, a plus sign, a control character, or nothing.
    #[error(
        "{found:?} is not a key name: it must not be empty nor contain spaces, '+' or control characters"
    )]
    BadKeyName {
        /// The name, shortened.
        found: String,
    },
    /// Not a verifier key.
    #[error(
        "{found:?} is not a verifier key: {what}; expected NAME+HEXID+BASE64 as the log's operator published it"
    )]
    BadVerifierKey {
        /// The text, shortened.
        found: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A line names the trusted key, but its signature is wrong.
    #[error("the signature line of {key} does not verify: the text was changed or the line forged")]
    BadSignature {
        /// Name of the key.
        key: KeyName,
    },
    /// No line by this key.
    #[error(
        "the note is not signed by {key} (key id {id}); check that the right key was configured"
    )]
    NotSigned {
        /// Name of the key asked for.
        key: KeyName,
        /// Id of the key asked for.
        id: KeyId,
    },
    /// A key of the wrong kind was used. The caller is at fault.
    #[error(
        "the key {key} makes {found} signatures, {wanted} ones are needed here; configure a key of that kind"
    )]
    WrongKeyKind {
        /// Name of the key.
        key: KeyName,
        /// Kind it has.
        found: KeyKind,
        /// Kind that is needed.
        wanted: KeyKind,
    },
}

fn malformed(what: &'static str) -> NoteError {
    NoteError::Malformed { what }
}

/// The name in a signature line, such as `log.example/receipts`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Checks a name: not empty, no Unicode space, no `+`, no control character.
    ///
    /// # Errors
    /// [`NoteError::BadKeyName`].
    pub fn new(name: &str) -> Result<Self, NoteError> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.len() > 1024 || name.chars().any(bad) {
            return Err(NoteError::BadKeyName {
                found: shorten(name),
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The four bytes that tell keys of one name apart. No security rests on them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What a key signs, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// Plain Ed25519 over the note text (type `0x01`): a log's checkpoints.
    Ed25519,
    /// Timestamped Ed25519 (type `0x04`, `cosignature/v1`): a witness.
    CosignatureV1,
    /// Ed25519 over a promise (type `0xff`, see [`PROMISE_DOMAIN`]): a log's
    /// word that it will include a leaf.
    PromiseV1,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519 note",
            Self::CosignatureV1 => "cosignature/v1",
            Self::PromiseV1 => PROMISE_DOMAIN,
        })
    }
}

impl KeyKind {
    /// `SHA-256(name || 0x0A || type || public key)[:4]`.
    fn key_id(self, name: &KeyName, key: &VerifyingKey) -> KeyId {
        let mut hasher = Sha256::new();
        hasher.update(name.0.as_bytes());
        hasher.update(b"\n");
        match self {
            Self::Ed25519 => hasher.update([0x01]),
            Self::CosignatureV1 => hasher.update([0x04]),
            Self::PromiseV1 => {
                hasher.update([0xff]);
                hasher.update(PROMISE_DOMAIN.as_bytes());
            }
        }
        hasher.update(key.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        KeyId([digest[0], digest[1], digest[2], digest[3]])
    }
}

/// A public key that a verifier trusts, with its name and kind.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    kind: KeyKind,
    id: KeyId,
    key: VerifyingKey,
}

impl VerifierKey {
    /// A key from its parts.
    ///
    /// # Errors
    /// [`NoteError::BadKeyName`], or [`NoteError::BadVerifierKey`] when the
    /// bytes are no Ed25519 key or one of the weak ones.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, NoteError> {
        let name = KeyName::new(name)?;
        let bad = |what| NoteError::BadVerifierKey {
            found: name.to_string(),
            what,
        };
        let key = VerifyingKey::from_bytes(public).map_err(|_| bad("not an Ed25519 public key"))?;
        if key.is_weak() {
            return Err(bad("a weak Ed25519 public key, for which anyone can sign"));
        }
        Ok(Self {
            id: kind.key_id(&name, &key),
            name,
            kind,
            key,
        })
    }

    /// Reads a verifier key (`vkey`): `NAME+HEXID+BASE64(type || key)`.
    ///
    /// # Errors
    /// [`NoteError::BadVerifierKey`] when the text is malformed, the type is
    /// neither `0x01` nor `0x04`, or the id does not belong to the key.
    pub fn from_vkey(text: &str) -> Result<Self, NoteError> {
        let bad = |what| NoteError::BadVerifierKey {
            found: shorten(text),
            what,
        };
        // The base64 part may hold '+', the name and the id may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it has no two '+' signs"));
        };
        let key = b64::decode(key).ok_or_else(|| bad("the key is not base64"))?;
        let kind = match key.first() {
            Some(0x01) => KeyKind::Ed25519,
            Some(0x04) => KeyKind::CosignatureV1,
            _ => {
                return Err(bad(
                    "its signature type is unknown here (known: 0x01, 0x04)",
                ));
            }
        };
        let public =
            <[u8; 32]>::try_from(&key[1..]).map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
        let key = Self::new(name, kind, &public)?;
        if key.id.to_string() != id {
            return Err(bad("its id does not belong to its key"));
        }
        Ok(key)
    }

    /// The text of [`VerifierKey::from_vkey`]; `None` for promise keys, which
    /// are derived from a log's key and have no text of their own.
    pub fn to_vkey(&self) -> Option<String> {
        let mut bytes = match self.kind {
            KeyKind::Ed25519 => alloc::vec![0x01],
            KeyKind::CosignatureV1 => alloc::vec![0x04],
            KeyKind::PromiseV1 => return None,
        };
        bytes.extend_from_slice(self.key.as_bytes());
        Some(alloc::format!(
            "{}+{}+{}",
            self.name,
            self.id,
            b64::encode(&bytes)
        ))
    }

    /// The same public key in another role.
    pub fn with_kind(&self, kind: KeyKind) -> Self {
        Self {
            id: kind.key_id(&self.name, &self.key),
            kind,
            name: self.name.clone(),
            key: self.key,
        }
    }

    /// The key's name; for a log, its origin.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What the key signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The id that its signature lines carry.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    pub(crate) fn expect_kind(&self, wanted: KeyKind) -> Result<(), NoteError> {
        if self.kind == wanted {
            Ok(())
        } else {
            Err(NoteError::WrongKeyKind {
                key: self.name.clone(),
                found: self.kind,
                wanted,
            })
        }
    }

    /// Strict Ed25519: no small-order keys, no second form of a signature.
    pub(crate) fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({} {} {})", self.name, self.id, self.kind)
    }
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: KeyName,
    /// Id of the key.
    pub id: KeyId,
    /// What the key made: 64 bytes for Ed25519, 72 for a cosignature.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let (name, encoded) = line
            .strip_prefix(SIGNATURE_PREFIX)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| malformed("a signature line is not '— NAME BASE64'"))?;
        let bytes =
            b64::decode(encoded).ok_or_else(|| malformed("a signature is not canonical base64"))?;
        match bytes.split_first_chunk::<4>() {
            Some((id, signature)) if !signature.is_empty() => Ok(Self {
                name: KeyName::new(name)?,
                id: KeyId(*id),
                signature: signature.to_vec(),
            }),
            _ => Err(malformed("a signature is shorter than five bytes")),
        }
    }

    fn write(&self, out: &mut String) {
        let mut bytes = self.id.0.to_vec();
        bytes.extend_from_slice(&self.signature);
        out.push_str(SIGNATURE_PREFIX);
        out.push_str(self.name.as_str());
        out.push(' ');
        out.push_str(&b64::encode(&bytes));
        out.push('\n');
    }

    /// Whether this line claims to be by that key.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.id == key.id
    }
}

/// A text with its signatures. Nothing in it is trusted before [`SignedNote::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note from a text and signatures made elsewhere.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] when the text does not end in a newline or has
    /// control characters.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        check_text(text)?;
        if signatures.is_empty() {
            return Err(malformed("there is no signature line"));
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// Reads a note of at most [`MAX_NOTE_BYTES`].
    ///
    /// # Errors
    /// [`NoteError`] for whatever is not a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { found: bytes.len() });
        }
        let note = core::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        // The text may contain blank lines; the last one ends it.
        let blank = note
            .rfind("\n\n")
            .ok_or_else(|| malformed("no blank line before signatures"))?;
        let (text, rest) = (&note[..=blank], &note[blank + 2..]);
        let lines = rest
            .strip_suffix('\n')
            .ok_or_else(|| malformed("it does not end in a newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Self::new(text, signatures)
    }

    /// The bytes of the note.
    pub fn to_text(&self) -> String {
        let mut out = self.text.clone();
        out.push('\n');
        for signature in &self.signatures {
            signature.write(&mut out);
        }
        out
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, unless the same line is there.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks that `key`, of kind [`KeyKind::Ed25519`] or
    /// [`KeyKind::PromiseV1`], signed this text.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`]; [`NoteError::BadSignature`] when any line that
    /// names the key is wrong; [`NoteError::WrongKeyKind`].
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        if key.kind == KeyKind::CosignatureV1 {
            key.expect_kind(KeyKind::Ed25519)?;
        }
        let mut signed = false;
        for line in self.signatures.iter().filter(|line| line.is_by(key)) {
            if !key.verify_bytes(self.text.as_bytes(), &line.signature) {
                return Err(NoteError::BadSignature {
                    key: key.name.clone(),
                });
            }
            signed = true;
        }
        if signed {
            Ok(())
        } else {
            Err(NoteError::NotSigned {
                key: key.name.clone(),
                id: key.id,
            })
        }
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLarge { found: text.len() });
    }
    if !text.ends_with('\n') {
        return Err(malformed("the text does not end in a newline"));
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(malformed("it contains a control character"));
    }
    Ok(())
}

/// A private key with its name: a log (name = origin) or a witness.
#[derive(Clone)]
pub struct NoteSigner {
    name: KeyName,
    key: SigningKey,
}

impl NoteSigner {
    /// From an Ed25519 seed (RFC 8032 section 5.1.5), which the caller keeps safe.
    ///
    /// # Errors
    /// [`NoteError::BadKeyName`].
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        Ok(Self {
            name: KeyName::new(name)?,
            key: SigningKey::from_bytes(seed),
        })
    }

    /// The signer's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The public half for notes and checkpoints; see
    /// [`VerifierKey::with_kind`] for the other roles.
    pub fn verifier(&self) -> VerifierKey {
        let key = self.key.verifying_key();
        VerifierKey {
            id: KeyKind::Ed25519.key_id(&self.name, &key),
            name: self.name.clone(),
            kind: KeyKind::Ed25519,
            key,
        }
    }

    /// Signs a text as a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] for a text that no note can hold.
    pub fn sign(&self, text: &str) -> Result<SignedNote, NoteError> {
        check_text(text)?;
        SignedNote::new(
            text,
            alloc::vec![self.line(KeyKind::Ed25519, text.as_bytes(), &[])],
        )
    }

    /// `id || prefix || Ed25519(message)` under one of this key's roles. Each
    /// role's messages start differently, so none can pass for another's.
    pub(crate) fn line(&self, kind: KeyKind, message: &[u8], prefix: &[u8]) -> NoteSignature {
        let mut signature = prefix.to_vec();
        signature.extend_from_slice(&self.key.sign(message).to_bytes());
        NoteSignature {
            name: self.name.clone(),
            id: kind.key_id(&self.name, &self.key.verifying_key()),
            signature,
        }
    }
}

/// Names the public key only.
impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({} {})", self.name, self.verifier().id)
    }
}
