//! Evidence of Azure's confidential VMs: nothing panics, and whatever is accepted has signed regions that AMD's chip and the
//! TPM signed.

use carat_tee::azure_snp::{HclReport, Runtime, TpmQuote, rsassa};
use carat_tee::{Endorsements, Kind, Policy, Request, verify};

/// SHA-256 of the signed regions of the corpus.
const KNOWN: [&str; 1] = ["671c840d1b19458713d47c63e970468eb70383b21923253dcd6a0767aa828b2b"];

pub(crate) fn check(data: &[u8]) {
    if let Ok(report) = HclReport::parse(data) {
        let _ = Runtime::parse(report.runtime);
    }
    let _ = Runtime::parse(data);
    let _ = rsassa(data);
    if let Ok(quote) = TpmQuote::parse(data) {
        let values = [[0; 32]; 24];
        assert!(quote.selected().len() <= 24);
        let _ = (quote.values(&values), quote.values(&values[..3]));
    }
    let policy = Policy::dev();
    let request = Request {
        evidence: data,
        endorsements: Endorsements::default(),
        policy: &policy,
        now: 1_748_736_000,
        nonce: None,
        binding: None,
    };
    if let Ok(accepted) = verify(Kind::AzureSnp, &request) {
        let signed = accepted.facts().signed_region.to_string();
        assert!(
            KNOWN.contains(&signed.as_str()),
            "accepted what nobody signed"
        );
    }
}
