#![no_main]
//! The check is shared with the test `fuzz` of `carat-tee`, which runs it on a stable compiler.

#[path = "../checks/tee_policy.rs"]
mod tee_policy;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tee_policy::check(data));
