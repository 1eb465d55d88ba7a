//! What an answer is worth, which verification that calls for, and what a receipt is good for: pure functions.
//!
//! No clock, no files, no randomness of its own: the same inputs give the same [`plan()`], bit for bit, on every machine.
//! Everything that decides is integer arithmetic with a stated direction of rounding ([`probability`], [`hazard`]);
//! money is exact. The rules T1 to T8, their assumptions and sources are in [`rules`]; what they are for is explained
//! in `docs/policy.md` and `docs/why-this-much.md`.
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "simulate"))]
extern crate std;

#[cfg(feature = "file")]
pub mod cel;
pub mod certificate;
pub mod consequence;
#[cfg(feature = "file")]
pub mod decision;
pub mod draw;
pub mod environment;
pub mod explain;
#[cfg(feature = "file")]
pub mod facts;
pub mod fixed;
pub mod good_for;
pub mod hazard;
pub mod money;
pub mod plan;
pub mod planner;
#[cfg(feature = "file")]
pub mod policy_file;
pub mod probability;
pub mod rules;
#[cfg(feature = "simulate")]
pub mod simulate;

pub use consequence::Consequence;
pub use environment::Environment;
pub use hazard::Detection;
pub use money::{Factor, Micros, Price};
pub use plan::{PLANNER, Plan, Refusal, Rung};
pub use planner::plan;
pub use probability::{Fraction, Probability, Tau};
