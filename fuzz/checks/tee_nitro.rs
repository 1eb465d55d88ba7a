//! Nitro documents: any bytes parse or are refused, and nothing but AWS's own documents is accepted.

use std::sync::LazyLock;

use carat_tee::nitro::Document;
use carat_tee::{Endorsements, Kind, Policy, Request, verify, verify_simulated};

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::dev);

pub(crate) fn check(data: &[u8]) {
    if let Ok(document) = Document::parse(data) {
        assert!(document.signature.len() == 96 && !document.cabundle.is_empty());
        assert!(
            document
                .pcrs
                .iter()
                .all(|(number, value)| *number < 32 && value.len() == 48)
        );
        assert!(
            document.pcrs.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "PCRs are sorted and differ"
        );
    }
    let endorsements = Endorsements::default();
    let request = Request {
        evidence: data,
        endorsements,
        policy: &POLICY,
        now: 1_800_000_000,
        nonce: None,
        binding: None,
    };
    assert!(
        verify(Kind::Nitro, &request).is_err(),
        "a forged Nitro document"
    );
    if let Ok(simulated) = verify_simulated(Kind::Nitro, &request) {
        assert!(simulated.facts().debug, "a simulation without its mark");
    }
}
