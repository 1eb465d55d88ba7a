//! All vector code, and the only module with `unsafe`.
//!
//! An [`Isa`] can only be made after the processor was asked whether it has the instructions, so holding one is the
//! proof that the functions compiled for it may be called. Every function here gives the same integers on every `Isa`.
//!
//! # Why 32-bit arithmetic is exact
//! Sums and products are computed modulo 2^32. Reduction modulo 2^32 is a ring homomorphism, so whatever the order of
//! additions and however far intermediate values stray, the result is congruent to the true one. The true result lies
//! within ±HALF < 2^30 by the program's static rules ([`carat_program::Program::validate`]), and only one integer of
//! that interval is congruent to it. `vpmaddwd` multiplies 16-bit operands exactly and adds two products modulo 2^32
//! (its one wrapping case is -32768 * -32768 twice), `vpdpwssd` accumulates modulo 2^32 without saturation.
#![allow(unsafe_code)]

mod epilogue;
mod gemm;
mod rows;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use epilogue::{Along, Epilogue, Step, apply};
pub(crate) use gemm::{Job, LANES, Offsets, Sink, gemm};
pub(crate) use rows::{
    Geometry, Term, Windows, binary_max, binary_mul, depthwise_plane, fold_max, fold_rows_max,
    fold_rows_sum, fold_sum, linear_first, linear_next, pack_image, pair_rows, pair_up, pool_max,
    pool_sum,
};

use super::ExecError;

/// Which vector instructions to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Simd {
    /// The best that this processor has.
    #[default]
    Auto,
    /// Portable code only (the compiler may still vectorise it for the target that it builds for).
    Scalar,
    /// AVX2, or an error where the processor lacks it.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, or an error where the processor lacks them.
    Avx512,
}

/// Instructions that this processor is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isa(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    pub(crate) fn detect(want: Simd) -> Result<Self, ExecError> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match want {
                Simd::Auto if avx512 && is_x86_feature_detected!("avx512vnni") => {
                    return Ok(Self(Level::Avx512Vnni));
                }
                Simd::Auto | Simd::Avx512 if avx512 => return Ok(Self(Level::Avx512)),
                Simd::Auto | Simd::Avx2 if avx2 => return Ok(Self(Level::Avx2)),
                _ => {}
            }
        }
        match want {
            Simd::Auto | Simd::Scalar => Ok(Self(Level::Scalar)),
            Simd::Avx2 => Err(ExecError::Simd("AVX2")),
            Simd::Avx512 => Err(ExecError::Simd("AVX-512 (F, BW, DQ, VL)")),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "avx512vnni",
        }
    }
}

/// Compiles a safe function once per instruction set and calls the version that an [`Isa`] stands for.
macro_rules! multiversion {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$meta])*
        pub(crate) fn $name(isa: $crate::exec::simd::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                match isa.0 {
                    $crate::exec::simd::Level::Scalar => body($($arg),*),
                    // SAFETY: an `Isa` of this level exists only on processors with AVX2.
                    $crate::exec::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: an `Isa` of these levels exists only on processors with AVX-512 F, BW, DQ and VL.
                    $crate::exec::simd::Level::Avx512 | $crate::exec::simd::Level::Avx512Vnni => unsafe {
                        avx512($($arg),*)
                    },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = isa;
                body($($arg),*)
            }
        }
    )*};
}
pub(crate) use multiversion;
