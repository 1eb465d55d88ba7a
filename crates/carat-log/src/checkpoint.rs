//! Checkpoints (C2SP `tlog-checkpoint` v1.0.0) and Ed25519 cosignatures
//! (C2SP `tlog-cosignature`, `cosignature/v1`).

use crate::hash::{Hash, HashError, shorten};
use crate::note::{
    KeyKind, KeyName, NoteError, NoteSignature, NoteSigner, SignedNote, VerifierKey,
};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Deref;

/// Why a checkpoint was refused. Its author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it is wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The third line is no root hash.
    #[error("the root hash of the checkpoint is wrong: {0}")]
    Root(#[from] HashError),
    /// The lines are not those of a checkpoint.
    #[error("not a checkpoint: {what}; expected the lines ORIGIN, SIZE, ROOT")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The second line is no size.
    #[error("{found:?} is not a tree size: a decimal number without leading zeroes, below 2^64")]
    BadSize {
        /// What stood there, shortened.
        found: String,
    },
    /// Signed, but by or for another log than the one asked about.
    #[error(
        "the checkpoint is of the log {found:?}, not of {expected:?}; fetch one from the right log"
    )]
    WrongOrigin {
        /// Origin in the checkpoint, shortened.
        found: String,
        /// Name of the trusted key.
        expected: KeyName,
    },
    /// A cosignature that its own key does not verify, or that has no time.
    #[error("the cosignature of {witness} is wrong: the checkpoint was changed or the line forged")]
    BadCosignature {
        /// Name of the witness.
        witness: KeyName,
    },
}

/// The head of a log: how many leaves, and the root over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] when the origin is empty or not one line.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if origin.is_empty() || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Malformed {
                what: "the origin is empty or has control characters",
            });
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        })
    }

    /// Reads the text of a checkpoint (without signatures).
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = |what| CheckpointError::Malformed { what };
        let body = text
            .strip_suffix('\n')
            .ok_or_else(|| malformed("it does not end in a newline"))?;
        let mut lines = body.split('\n');
        let mut next = || {
            lines
                .next()
                .ok_or_else(|| malformed("it has fewer than three lines"))
        };
        let (origin, size, root) = (next()?, next()?, next()?);
        let mut checkpoint = Self::new(origin, parse_decimal(size)?, Hash::from_base64(root)?)?;
        for line in lines {
            if line.is_empty() {
                return Err(malformed("an extension line is empty"));
            }
            checkpoint.extensions.push(line.to_owned());
        }
        Ok(checkpoint)
    }

    /// The text that is signed.
    pub fn to_text(&self) -> String {
        let mut text = alloc::format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            self.root.to_base64()
        );
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Identity of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root over these leaves.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Further lines, which no monitor can audit. Our logs write none.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

/// A canonical decimal number, as in checkpoints and proofs.
pub(crate) fn parse_decimal(text: &str) -> Result<u64, CheckpointError> {
    let canonical = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    canonical
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| CheckpointError::BadSize {
            found: shorten(text),
        })
}

/// A checkpoint whose signature by the log was checked.
///
/// Only [`SignedCheckpoint::verify`] makes one, so a proof cannot be checked
/// against a root that nobody signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint(Checkpoint);

impl Deref for VerifiedCheckpoint {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.0
    }
}

/// A witness's word: at this time, this was the largest tree it had seen of
/// that log, and consistent with all before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// Name of the witness.
    pub witness: KeyName,
    /// POSIX seconds. Whether that is too old or in the future is the caller's
    /// to judge: this crate has no clock.
    pub time: u64,
}

/// A checkpoint with the signatures of its log and of witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl SignedCheckpoint {
    /// Reads a signed checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        Ok(Self {
            checkpoint: Checkpoint::parse(note.text())?,
            note,
        })
    }

    /// Signs a checkpoint as its log.
    ///
    /// # Errors
    /// [`CheckpointError::WrongOrigin`] when the key's name is not the origin.
    pub fn sign(checkpoint: Checkpoint, log: &NoteSigner) -> Result<Self, CheckpointError> {
        check_origin(&checkpoint, log.name())?;
        let note = log.sign(&checkpoint.to_text())?;
        Ok(Self { checkpoint, note })
    }

    /// The bytes, exactly those that [`SignedCheckpoint::parse`] read.
    pub fn to_text(&self) -> String {
        self.note.to_text()
    }

    /// What it says, before anyone checked a signature.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note with all signature lines.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// Checks the log's signature. The key's name must be the origin.
    ///
    /// # Errors
    /// [`CheckpointError::WrongOrigin`]; [`CheckpointError::Note`] when the
    /// signature is missing or wrong, or the key is of another kind.
    pub fn verify(&self, log: &VerifierKey) -> Result<VerifiedCheckpoint, CheckpointError> {
        log.expect_kind(KeyKind::Ed25519)?;
        check_origin(&self.checkpoint, log.name())?;
        self.note.verify(log)?;
        Ok(VerifiedCheckpoint(self.checkpoint.clone()))
    }

    /// The valid cosignatures by these witnesses, at most one for each public
    /// key: a witness that is listed under two names counts once. Where a key
    /// signed several times, the earliest time is kept.
    ///
    /// # Errors
    /// [`CheckpointError::BadCosignature`] when a line that names a listed
    /// witness is wrong; [`NoteError::WrongKeyKind`] for a key that is no
    /// witness key.
    pub fn cosignatures(
        &self,
        witnesses: &[VerifierKey],
    ) -> Result<Vec<Cosignature>, CheckpointError> {
        let mut found: Vec<(&[u8; 32], Cosignature)> = Vec::new();
        for witness in witnesses {
            witness.expect_kind(KeyKind::CosignatureV1)?;
            for line in self
                .note
                .signatures()
                .iter()
                .filter(|line| line.is_by(witness))
            {
                let time = cosignature_time(line, witness, self.note.text()).ok_or_else(|| {
                    CheckpointError::BadCosignature {
                        witness: witness.name().clone(),
                    }
                })?;
                match found.iter_mut().find(|(key, _)| *key == witness.public()) {
                    Some((_, known)) => known.time = known.time.min(time),
                    None => found.push((
                        witness.public(),
                        Cosignature {
                            witness: witness.name().clone(),
                            time,
                        },
                    )),
                }
            }
        }
        Ok(found
            .into_iter()
            .map(|(_, cosignature)| cosignature)
            .collect())
    }

    /// Adds a witness's cosignature, made at `time` (POSIX seconds).
    ///
    /// The witness must first have checked the log's signature and the
    /// consistency with what it signed before; this function cannot.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] for a time of 2^63 or later;
    /// [`NoteError::TooManySignatures`].
    pub fn cosign(&mut self, witness: &NoteSigner, time: u64) -> Result<(), CheckpointError> {
        if time > i64::MAX as u64 {
            return Err(CheckpointError::Malformed {
                what: "a cosignature's time must be below 2^63",
            });
        }
        let message = cosigned_message(time, self.note.text());
        self.note.add(witness.line(
            KeyKind::CosignatureV1,
            message.as_bytes(),
            &time.to_be_bytes(),
        ))?;
        Ok(())
    }
}

fn check_origin(checkpoint: &Checkpoint, name: &KeyName) -> Result<(), CheckpointError> {
    if checkpoint.origin == name.as_str() {
        Ok(())
    } else {
        Err(CheckpointError::WrongOrigin {
            found: shorten(&checkpoint.origin),
            expected: name.clone(),
        })
    }
}

fn cosigned_message(time: u64, text: &str) -> String {
    alloc::format!("cosignature/v1\ntime {time}\n{text}")
}

/// Time of a valid cosignature line: eight bytes of time, 64 of signature.
fn cosignature_time(line: &NoteSignature, witness: &VerifierKey, text: &str) -> Option<u64> {
    let (time, signature) = line.signature.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let valid = time <= i64::MAX as u64
        && witness.verify_bytes(cosigned_message(time, text).as_bytes(), signature);
    valid.then_some(time)
}
