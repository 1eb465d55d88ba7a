//! Execution of programs: exact on any machine, with any number of threads and any vector width.
//!
//! [`reference`] is the plain interpreter that defines the answer; [`Executable`] gives the same integers fast.

mod error;
mod input;
pub mod reference;
mod trace;

pub use error::ExecError;
pub use trace::Trace;
