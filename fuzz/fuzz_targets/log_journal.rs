#![no_main]
//! What recovery and audit read from disk: journal segments and entry bundles.
//! Needs the feature `store` of `carat-log`.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    carat_log::store::fuzz_journal(data);
    carat_log::store::fuzz_bundle(data);
});
