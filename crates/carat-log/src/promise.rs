//! Inclusion promises: the log's signed word, given at once, that a leaf which
//! is already on its disk will be in every checkpoint from some time on.
//!
//! A promise is a signed note of six lines:
//!
//! ```text
//! carat/log-promise/v1
//! log.example/receipts
//! index 1041
//! leaf bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=
//! time 1767000000
//! include-by 1767000060
//!
//! — log.example/receipts 2xMa…
//! ```
//!
//! It is signed by the log's own key, but cannot pass for a checkpoint: the
//! second line of a checkpoint is a number and the third a root of 32 bytes,
//! while here the third starts with `index `; and the signature line carries a
//! key id of its own (type `0xff`, this domain), so that note software ignores
//! it where it looks for the log's checkpoint signature.

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint, parse_decimal};
use crate::hash::{Hash, HashError, shorten};
use crate::note::{KeyKind, KeyName, NoteError, NoteSigner, SignedNote, VerifierKey};
use crate::tlog_proof::{TlogProof, TlogProofError};

use alloc::string::String;

/// Domain separation of promises: the first line, and part of the key id.
pub const PROMISE_DOMAIN: &str = "carat/log-promise/v1";

/// Why a promise was refused. Its author is at fault unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromiseError {
    /// The note around it is wrong, or not signed by the log.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The leaf line is no hash.
    #[error("the leaf hash of the promise is wrong: {0}")]
    Leaf(#[from] HashError),
    /// Not the lines of a promise.
    #[error("not a log promise: {what}; ask the log for it again")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Signed, but for another log.
    #[error("the promise is of the log {found:?}, not of {expected:?}; ask the right log")]
    WrongOrigin {
        /// Origin in the promise, shortened.
        found: String,
        /// Name of the trusted key.
        expected: KeyName,
    },
    /// The promise speaks about another leaf. The caller paired them wrongly.
    #[error(
        "the promise is about leaf hash {promised}, not {asked}; use the promise that came with this leaf"
    )]
    OtherLeaf {
        /// Leaf hash in the promise.
        promised: Hash,
        /// Leaf hash asked about.
        asked: Hash,
    },
    /// The proof speaks about another index.
    #[error(
        "the promise is about index {promised}, the proof about {proved}; the log broke its word, or the proof belongs to another leaf"
    )]
    OtherIndex {
        /// Index in the promise.
        promised: u64,
        /// Index in the proof.
        proved: u64,
    },
    /// The proof does not hold.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
}

/// What the log promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Identity of the log, which is also the name of its key.
    pub origin: KeyName,
    /// The index that the leaf has.
    pub index: u64,
    /// Hash of the leaf, [`crate::leaf_hash`].
    pub leaf: Hash,
    /// When the promise was made, POSIX seconds by the log's clock.
    pub time: u64,
    /// From when on every checkpoint holds the leaf, POSIX seconds.
    pub include_by: u64,
}

impl Promise {
    fn to_text(&self) -> String {
        alloc::format!(
            "{PROMISE_DOMAIN}\n{}\nindex {}\nleaf {}\ntime {}\ninclude-by {}\n",
            self.origin,
            self.index,
            self.leaf.to_base64(),
            self.time,
            self.include_by
        )
    }

    fn parse(text: &str) -> Result<Self, PromiseError> {
        let malformed = |what| PromiseError::Malformed { what };
        let mut lines = text.lines();
        if lines.next() != Some(PROMISE_DOMAIN) {
            return Err(malformed("the first line is not 'carat/log-promise/v1'"));
        }
        let origin = KeyName::new(
            lines
                .next()
                .ok_or_else(|| malformed("there is no origin"))?,
        )?;
        let mut field = |prefix: &str, what| {
            lines
                .next()
                .and_then(|line| line.strip_prefix(prefix))
                .ok_or_else(|| malformed(what))
        };
        let number = |text, what| parse_decimal(text).map_err(|_: CheckpointError| malformed(what));
        let promise = Self {
            origin,
            index: number(
                field("index ", "there is no index line")?,
                "the index is no number",
            )?,
            leaf: Hash::from_base64(field("leaf ", "there is no leaf line")?)?,
            time: number(
                field("time ", "there is no time line")?,
                "the time is no number",
            )?,
            include_by: number(
                field("include-by ", "there is no include-by line")?,
                "include-by is no number",
            )?,
        };
        if lines.next().is_some() {
            return Err(malformed("it has more lines than a promise"));
        }
        if promise.include_by < promise.time {
            return Err(malformed("it promises inclusion before its own time"));
        }
        Ok(promise)
    }
}

/// A promise with the log's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPromise {
    promise: Promise,
    note: SignedNote,
}

impl SignedPromise {
    /// Reads a promise.
    ///
    /// # Errors
    /// [`PromiseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PromiseError> {
        let note = SignedNote::parse(bytes)?;
        Ok(Self {
            promise: Promise::parse(note.text())?,
            note,
        })
    }

    /// Signs a promise as its log. `store::Log::promise` is the way to make one
    /// about a leaf that is on disk.
    ///
    /// # Errors
    /// [`PromiseError::WrongOrigin`] when the key's name is not the origin;
    /// [`PromiseError::Malformed`] when `include_by` lies before `time`.
    pub fn sign(promise: Promise, log: &NoteSigner) -> Result<Self, PromiseError> {
        check_origin(&promise, log.name())?;
        let text = promise.to_text();
        // What we sign is what others will read.
        let promise = Promise::parse(&text)?;
        let line = log.line(KeyKind::PromiseV1, text.as_bytes(), &[]);
        Ok(Self {
            promise,
            note: SignedNote::new(&text, alloc::vec![line])?,
        })
    }

    /// The bytes, exactly those that [`SignedPromise::parse`] read.
    pub fn to_text(&self) -> String {
        self.note.to_text()
    }

    /// What it says, before anyone checked the signature.
    pub fn unverified(&self) -> &Promise {
        &self.promise
    }

    /// Checks that the log (its checkpoint key, name = origin) promised `leaf`.
    ///
    /// # Errors
    /// [`PromiseError::WrongOrigin`], [`PromiseError::OtherLeaf`],
    /// [`PromiseError::Note`].
    pub fn verify(&self, leaf: Hash, log: &VerifierKey) -> Result<&Promise, PromiseError> {
        if self.promise.leaf != leaf {
            return Err(PromiseError::OtherLeaf {
                promised: self.promise.leaf,
                asked: leaf,
            });
        }
        self.verify_signature(log)
    }

    /// The same without a leaf at hand, for those who collect evidence.
    ///
    /// # Errors
    /// [`PromiseError::WrongOrigin`], [`PromiseError::Note`].
    pub fn verify_signature(&self, log: &VerifierKey) -> Result<&Promise, PromiseError> {
        log.expect_kind(KeyKind::Ed25519)?;
        check_origin(&self.promise, log.name())?;
        self.note.verify(&log.with_kind(KeyKind::PromiseV1))?;
        Ok(&self.promise)
    }

    /// Checks that the log kept its word: the proof shows the promised leaf at
    /// the promised index. After this the promise is no longer needed.
    ///
    /// # Errors
    /// [`PromiseError::OtherIndex`], [`PromiseError::Proof`], and those of
    /// [`SignedPromise::verify_signature`].
    pub fn verify_kept(
        &self,
        proof: &TlogProof,
        log: &VerifierKey,
    ) -> Result<VerifiedCheckpoint, PromiseError> {
        let promise = self.verify_signature(log)?;
        if promise.index != proof.index {
            return Err(PromiseError::OtherIndex {
                promised: promise.index,
                proved: proof.index,
            });
        }
        Ok(proof.verify(promise.leaf, log)?)
    }
}

fn check_origin(promise: &Promise, name: &KeyName) -> Result<(), PromiseError> {
    if &promise.origin == name {
        Ok(())
    } else {
        Err(PromiseError::WrongOrigin {
            found: shorten(promise.origin.as_str()),
            expected: name.clone(),
        })
    }
}
