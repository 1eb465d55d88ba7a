//! Why a program is refused.

use alloc::string::String;
use thiserror::Error;

/// A program that cannot be accepted, with the node at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProgramError {
    /// The bytes are not a program in its one canonical encoding.
    #[error("not a canonical Carat program: {0}")]
    Encoding(String),
    /// A count exceeds a limit of this version.
    #[error("the program has {found} {what}; this version accepts at most {limit}")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// The count found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A node refers to a value that is not defined before it.
    #[error("node {node} uses value {value}, which is not defined before it")]
    UndefinedValue {
        /// Index of the node.
        node: usize,
        /// The value referred to.
        value: u32,
    },
    /// An output refers to a value that does not exist.
    #[error("output `{name}` refers to value {value}, which does not exist")]
    UndefinedOutput {
        /// Output name.
        name: String,
        /// The value referred to.
        value: u32,
    },
    /// A node's operands do not fit its operation.
    #[error("node {node} ({op}): {reason}")]
    Operand {
        /// Index of the node.
        node: usize,
        /// Name of the primitive.
        op: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// A value could leave the range in which arithmetic is exact.
    #[error(
        "node {node} ({op}) could reach {bound}, beyond the exact range of ±{}; narrow its operands or split the sum",
        crate::HALF
    )]
    Overflow {
        /// Index of the node.
        node: usize,
        /// Name of the primitive.
        op: &'static str,
        /// The bound that was derived, saturated to 64 bits.
        bound: i64,
    },
    /// The recorded shape or range of a node is not the one that follows from its operands.
    #[error("node {node} ({op}) records {what} that does not follow from its operands")]
    WrongRecord {
        /// Index of the node.
        node: usize,
        /// Name of the primitive.
        op: &'static str,
        /// `shape` or `range`.
        what: &'static str,
    },
    /// An input or output specification contradicts itself.
    #[error("`{name}`: {reason}")]
    Spec {
        /// Name of the input or output.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Constant data does not match what the program says of it.
    #[error("constant {index}: {reason}")]
    Constant {
        /// Index of the constant.
        index: usize,
        /// What does not match.
        reason: String,
    },
}
