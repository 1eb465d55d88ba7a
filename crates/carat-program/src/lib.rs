//! The exact integer program: what every Carat receipt is about.
//!
//! A [`Program`] is a straight-line computation over signed integers: typed inputs, constants (weights and tables), and
//! a list of [`Node`]s in execution order. It has no floating point, no control flow and no implicit rounding, so two
//! honest executions on any machine give the same integers, and a mismatch is proof of a fault.
//!
//! This crate holds what a *verifier* needs: the types, the deterministic encoding and digest, and the static rules
//! ([`Program::validate`]) that re-derive every shape and every value range. The importer and the executor live in
//! `carat-nn`.
//!
//! # No wrap
//! Every value that a program can produce lies within ±[`HALF`], half the range of the prime field that the proof rung
//! computes in. The bound is derived from the program alone and checked whenever a program is decoded, so neither the
//! executor (32-bit integers) nor the prover (arithmetic modulo [`MODULUS`]) can overflow.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bounds;
mod codec;
pub mod edge;
mod elements;
mod error;
mod file;
mod infer;
mod op;
pub mod pinned;
mod program;
mod shape;
mod spec;
mod tensor;
mod weights;

pub use codec::{AnyProgram, INTEGER_PROFILE, MAX_PROGRAM_BYTES};
pub use elements::{Elements, Ints};
pub use error::ProgramError;
pub use file::{MAX_MODEL_BYTES, ModelFile, ModelFileError};
pub use op::{Contraction, ConvGeometry, Op, PoolKind, Rounding, Window};
pub use program::{Constant, Node, Program, ValueId, ValueInfo};
pub use shape::{MAX_ELEMENTS, MAX_RANK, Shape, ShapeError};
pub use spec::{
    Dtype, F64Bits, ImageMap, ImageMode, InputEncoding, InputSpec, OutputEncoding, OutputSpec,
};
pub use tensor::{Tensor, TensorError, decode_tensors, encode_tensors};
pub use weights::{ConstantWidth, Weights, constant_root, weight_sum};

pub use bounds::{Range, shift_round};

/// The prime that proofs compute modulo: KoalaBear, 2^31 - 2^24 + 1.
pub const MODULUS: i64 = 2_130_706_433;
/// Largest absolute value that any tensor element or accumulator may take: (p - 1) / 2, just under 2^30.
pub const HALF: i64 = (MODULUS - 1) / 2;
