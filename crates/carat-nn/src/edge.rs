//! The edges of a program (`carat_program::edge`), and input files.

mod file;

pub use carat_program::edge::*;
pub use file::{inputs_from_file, read_array, read_input_file};

use thiserror::Error;

/// An input that cannot be had, or cannot become a program's.
#[derive(Debug, Error)]
pub enum EdgeError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Values that do not fit the program.
    #[error(transparent)]
    Values(#[from] ValueError),
}
