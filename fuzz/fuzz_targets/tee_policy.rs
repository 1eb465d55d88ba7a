#![no_main]
//! Policies: what reads writes back as the same policy.

use carat_tee::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(policy) = Policy::from_toml(text) {
        let written = policy.to_toml().expect("a policy has a text");
        assert_eq!(Policy::from_toml(&written).as_ref(), Ok(&policy));
    }
});
