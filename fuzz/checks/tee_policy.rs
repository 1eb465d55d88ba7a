//! Policies: what reads writes back as the same policy.

use carat_tee::Policy;

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(policy) = Policy::from_toml(text) {
        let written = policy.to_toml().expect("a policy has a text");
        assert_eq!(Policy::from_toml(&written).as_ref(), Ok(&policy));
    }
}
