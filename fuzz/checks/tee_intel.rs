//! TDX and SGX quotes with collateral: nothing panics, and whatever is accepted has a signed region that a platform of
//! Intel's signed. Input: length of the quote (2 bytes, little-endian), quote, collateral.

use carat_tee::tdx::Quote;
use carat_tee::{Endorsements, Kind, Policy, Request, verify};

/// SHA-256 of the signed regions of the corpus.
const KNOWN: [&str; 1] = ["b49c7ee1f58f5104e5ec3ce26fd891177bf73068dfe27e2fddaa56e2734ed6f8"];

pub(crate) fn check(data: &[u8]) {
    let Some((len, data)) = data.split_at_checked(2) else {
        return;
    };
    let len = usize::from(u16::from_le_bytes([len[0], len[1]]));
    let (evidence, collateral) = data.split_at(len.min(data.len()));
    if let Ok(quote) = Quote::parse(evidence) {
        assert!(quote.signed.len() < quote.whole.len() && quote.whole.len() <= evidence.len());
        assert_eq!(
            Quote::parse(quote.whole).map(|again| again.signed),
            Ok(quote.signed)
        );
    }
    let policy = Policy::dev();
    let request = Request {
        evidence,
        endorsements: Endorsements {
            collateral: Some(collateral),
            ..Endorsements::default()
        },
        policy: &policy,
        now: 1_791_800_000,
        nonce: None,
        binding: None,
    };
    for kind in [Kind::Tdx, Kind::Sgx] {
        if let Ok(accepted) = verify(kind, &request) {
            let signed = accepted.facts().signed_region.to_string();
            assert!(
                KNOWN.contains(&signed.as_str()),
                "accepted what nobody signed"
            );
        }
    }
}
