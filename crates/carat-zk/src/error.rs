//! Why a proof is refused.

use alloc::string::String;
use thiserror::Error;

/// Why a proof does not verify, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The proof ends too early.
    #[error("the proof is cut short")]
    Truncated,
    /// A value is not the smallest representative of its residue.
    #[error("the proof holds a value that is not in canonical form")]
    NotCanonical,
    /// Bytes after the end.
    #[error("the proof has bytes after its end")]
    Trailing,
    /// A check of the argument fails.
    #[error("the proof is wrong: {0} does not hold")]
    Check(&'static str),
    /// The polynomial commitment's opening is wrong.
    #[error("the proof is wrong: the opening of the {0} commitment is refused ({1})")]
    Opening(&'static str, String),
    /// The Program uses something that has no proof.
    #[error("this Program cannot be proven: {0}")]
    Unsupported(String),
    /// The statement's values do not fit the Program.
    #[error("the values do not fit the Program: {0}")]
    Values(String),
    /// The proof would need more memory than allowed.
    #[error(
        "a proof of this Program needs about {needed} bytes of memory, more than the {allowed} bytes allowed"
    )]
    Memory {
        /// The estimate, in bytes.
        needed: u64,
        /// The limit, in bytes.
        allowed: u64,
    },
    /// The operating system gives no randomness, without which nothing can be hidden.
    #[error("no randomness from the operating system: {0}")]
    Randomness(String),
    /// The caller stopped it.
    #[error("cancelled")]
    Cancelled,
}
