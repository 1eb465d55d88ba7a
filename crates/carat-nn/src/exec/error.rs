//! What can go wrong when a program is prepared or run.

use carat_program::{Range, Shape};
use thiserror::Error;

/// A program that cannot be prepared, or inputs that it cannot be run on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The program breaks a static rule, or the weights are not its own.
    #[error("the program cannot be executed: {0}")]
    Program(#[from] carat_program::ProgramError),
    /// The caller gave another number of tensors than the program has inputs.
    #[error("the program takes {expected} inputs ({names}), but {found} were given{}", in_sample(*.sample))]
    InputCount {
        /// Position in the batch; `None` for a single run.
        sample: Option<usize>,
        /// Number of inputs of the program.
        expected: usize,
        /// Number of tensors given.
        found: usize,
        /// Names of the program's inputs.
        names: String,
    },
    /// A tensor has another shape than the input it is given for.
    #[error("input `{name}`{} has shape {found}, but the program takes {expected}", in_sample(*.sample))]
    InputShape {
        /// Position in the batch; `None` for a single run.
        sample: Option<usize>,
        /// Name of the input.
        name: String,
        /// Shape that the program takes.
        expected: Shape,
        /// Shape that was given.
        found: Shape,
    },
    /// A stacked input has a length that is not the number of samples times the input's elements.
    #[error(
        "input `{name}` holds {found} values where {samples} samples of {expected} were announced"
    )]
    InputLength {
        /// Name of the input.
        name: String,
        /// Samples announced.
        samples: usize,
        /// Elements of one sample: those of the input's shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A value lies outside the range that the program declares for the input.
    #[error(
        "input `{name}`{} holds {value} at element {element}, outside the program's {}..={}; quantise inputs with the \
         encoding that the program declares",
        in_sample(*.sample), .range.lo, .range.hi
    )]
    InputRange {
        /// Position in the batch; `None` for a single run.
        sample: Option<usize>,
        /// Name of the input.
        name: String,
        /// Row-major position of the value within the sample.
        element: usize,
        /// The value.
        value: i64,
        /// Range of the input.
        range: Range,
    },
    /// The program needs more working memory than the caller allows.
    #[error(
        "the program needs {needed} bytes of working memory, but the limit is {limit}; raise `memory_limit`"
    )]
    Memory {
        /// Bytes needed for one sample.
        needed: u64,
        /// [`crate::exec::Options::memory_limit`].
        limit: u64,
    },
    /// This processor lacks the instructions that the caller insists on.
    #[error("this processor has no {0}; use `Simd::Auto`")]
    Simd(&'static str),
    /// The worker threads could not be started.
    #[error("cannot start {threads} worker threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// A result left the range that the static rules derived for it. Either memory was corrupted or Carat has a bug.
    #[error(
        "value {value} of node {node} ({op}) is outside its proven range {}..={}; this is a fault of Carat or of this \
         machine: please report it", .range.lo, .range.hi
    )]
    RangeBroken {
        /// Index of the node.
        node: usize,
        /// Name of the primitive.
        op: &'static str,
        /// The value.
        value: i64,
        /// Range recorded in the program.
        range: Range,
    },
}

fn in_sample(sample: Option<usize>) -> String {
    sample.map_or(String::new(), |s| format!(" (sample {s} of the batch)"))
}
