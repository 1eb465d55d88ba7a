//! Pinned float programs: models that run as they are, in floating point, in a process of their own.
//!
//! ```text
//! node or command line --Worker: frames over pipes, bounds on time and memory--> carat-float-worker (tract, pinned)
//! ```
//!
//! The engine is another's and large. What it may do to a process - panic, hang, take all memory, abort - it does to a
//! worker, which is ended and started again. The worker is a program of its own (the folder `float/`), so that nobody who
//! runs integer programs compiles or links the engine. docs/pinned-float.md says what a profile pins and how that is tested.
#![deny(unsafe_code)]

pub mod profile;
pub mod protocol;

#[cfg(feature = "client")]
pub mod conformance;
#[cfg(feature = "client")]
mod model;
#[cfg(all(feature = "client", unix))]
#[doc(hidden)] // for tests, here and in the crates above
pub mod stand_in;
#[cfg(feature = "client")]
mod worker;

#[cfg(feature = "client")]
pub use model::{FloatModel, FloatModelError, Source, is_float_model};
#[cfg(feature = "client")]
pub use worker::{Bounds, Launch, WORKER_PATH, Worker, WorkerError};
