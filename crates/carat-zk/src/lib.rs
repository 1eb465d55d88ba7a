//! Succinct proofs that a committed integer [`Program`](carat_program::Program) gave an output.
//!
//! The protocol, with its soundness argument, is `docs/protocol.md`. [`verify`] is the verifier: no floating point, no
//! clock, no shape taken from the proof. With the feature `prover` (on by default), [`prove`] is the prover.
#![cfg_attr(not(feature = "prover"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "prover")]
mod aside;
mod chain;
mod checks;
mod claims;
mod error;
pub mod field;
mod gkr;
mod graph;
mod hide;
pub mod io;
#[cfg(feature = "prover")]
mod kernels;
mod key;
mod layout;
mod ledger;
mod lower;
pub mod pcs;
mod plan;
#[cfg(feature = "prover")]
mod prove;
mod registration;
#[cfg(feature = "prover")]
mod share;
mod steps;
mod store;
mod sumcheck;
#[cfg(all(test, feature = "prover"))]
mod tests;
pub mod transcript;
mod verify;

#[cfg(feature = "prover")]
pub use aside::on_pool;
pub use error::Error;
#[cfg(feature = "prover")]
pub use hide::pin::HidingRoots;
pub use key::{Hidden, Instance, Mode, ModelKey, Proof, Values};
pub use ledger::{Ledger, Term};
pub use pcs::Profile;
pub use plan::{Sizes, sizes};
#[cfg(feature = "prover")]
pub use prove::{
    Observer, Options, Phase, ProvingKey, Run, WeightsSecret, estimate_memory,
    estimate_registration_memory, prove, register,
};
pub use registration::{hidden_weights_budget, verify_registration};
pub use verify::verify;
