//! Why there is no answer: the asker's fault, said in a sentence, under the names and numbers of `docs/errors.md`.

use serde::Serialize;

/// A call that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The row of `docs/errors.md`.
    pub kind: Kind,
    /// Its exit status.
    pub exit_code: u8,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The rows of `docs/errors.md` that can happen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file is not what it should be.
    Invalid,
    /// The question makes no sense.
    Usage,
    /// An input does not fit the model.
    BadInput,
    /// More bytes than a call takes.
    TooLarge,
    /// The Trust file cannot be used.
    TrustRefused,
    /// Files that do not belong together.
    Mismatch,
    /// A fault of this software.
    Internal,
}

impl Kind {
    const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid => 1,
            Self::Usage => 2,
            Self::BadInput => 11,
            Self::TooLarge => 14,
            Self::TrustRefused => 17,
            Self::Mismatch => 20,
            Self::Internal => 70,
        }
    }

    /// A fault of this kind.
    pub(crate) fn because(self, message: impl ToString) -> Fault {
        Fault {
            kind: self,
            exit_code: self.exit_code(),
            message: message.to_string(),
        }
    }

    /// The same, of an error: `map_err(Kind::Usage.of())`.
    pub(crate) fn of<E: ToString>(self) -> impl Fn(E) -> Fault {
        move |error| self.because(error)
    }
}
