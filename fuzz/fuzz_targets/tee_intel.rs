#![no_main]
//! The check is shared with the test `fuzz` of `carat-tee`, which runs it on a stable compiler.

#[path = "../checks/tee_intel.rs"]
mod tee_intel;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tee_intel::check(data));
