#![no_main]
//! The check is shared with the test `fuzz` of `carat-tee`, which runs it on a stable compiler.

#[path = "../checks/tee_snp.rs"]
mod tee_snp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tee_snp::check(data));
