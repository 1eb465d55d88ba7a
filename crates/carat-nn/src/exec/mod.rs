//! Execution of programs: exact on any machine, with any number of threads and any vector width.
//!
//! [`mod@reference`] is the plain interpreter that defines the answer; [`Executable`] gives the same integers fast.
//!
//! ```
//! use carat_nn::exec::{Executable, Options};
//! # fn demo(model: &carat_program::ModelFile, x: carat_program::Tensor) -> Result<(), carat_nn::exec::ExecError> {
//! let executable = Executable::new(&model.program, &model.weights, Options::default())?;
//! let outputs = executable.run(&[x])?;
//! # Ok(()) }
//! ```

pub mod bench;
mod buffer;
mod constants;
mod convolution;
mod elementwise;
mod error;
mod executable;
mod gather;
mod input;
mod matrix;
mod plan;
mod reduce;
pub mod reference;
mod simd;
mod step;
mod strided;
mod trace;

pub use error::ExecError;
pub use executable::{Executable, Options};
pub use simd::Simd;
pub use trace::Trace;
