#![no_main]
//! The check is shared with the test `fuzz` of `carat-tee`, which runs it on a stable compiler.

#[path = "../checks/tee_nvidia.rs"]
mod tee_nvidia;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tee_nvidia::check(data));
