//! The node: runs models for callers, gives every answer its receipt, and keeps both.
//!
//! The first half is what the command line does as well, from the same code: the data directory ([`home`]), models on disk
//! ([`model`]), what is supplied here ([`supply`]), decisions ([`planned`], [`planning`]), signing ([`issue`]) and proofs
//! ([`prover`]).
//!
//! What a receipt is worth is decided in `carat-verify` and nowhere here.
#![forbid(unsafe_code)]

pub mod exit;
pub mod files;
pub mod home;
pub mod issue;
pub mod model;
pub mod planned;
pub mod planning;
pub mod prover;
pub mod supply;
pub mod tell;
