//! Carat receipts: what was computed, by whom, and what supports it.
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod digest;
pub mod domain;

pub use digest::{Digest, DigestError};
