#![no_main]
//! The check is shared with the test `fuzz` of `carat-tee`, which runs it on a stable compiler.

#[path = "../checks/tee_x509.rs"]
mod tee_x509;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tee_x509::check(data));
