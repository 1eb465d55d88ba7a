//! Forms of input: any bytes are decoded or refused, within the limits, for every kind.

use carat_tee::{Endorsements, Kind, Policy, Request, input, verify};

pub(crate) fn check(data: &[u8]) {
    let policy = Policy::strict();
    for kind in Kind::ALL {
        let Ok(input::File { evidence, chain }) = input::file(kind, data) else {
            continue;
        };
        assert!((1..=input::MAX_ITEM_BYTES).contains(&evidence.len()));
        let endorsements = Endorsements {
            chain: &chain,
            ..Endorsements::default()
        };
        let request = Request {
            evidence: &evidence,
            endorsements,
            policy: &policy,
            now: 1_800_000_000,
            nonce: None,
            binding: None,
        };
        assert!(verify(kind, &request).is_err(), "forged {kind}");
    }
}
