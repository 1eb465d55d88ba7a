#![no_main]
//! The check is shared with the test `fuzz` of `carat-tee`, which runs it on a stable compiler.

#[path = "../checks/tee_package.rs"]
mod tee_package;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tee_package::check(data));
