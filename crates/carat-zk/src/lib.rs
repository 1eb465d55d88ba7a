//! Succinct proofs that a committed integer [`Program`](carat_program::Program) gave an output.
//!
//! The protocol, with its soundness argument, is `docs/protocol.md`.
#![cfg_attr(not(feature = "prover"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
pub mod field;
pub mod pcs;
pub mod transcript;

pub use error::Error;
