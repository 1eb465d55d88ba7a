//! SEV-SNP reports with certificates: nothing panics, and whatever is accepted has a signed region that AMD's chip signed.
//! Input: length of the report (2 bytes, little-endian), report, certificates.

use carat_tee::snp::{Endorsement, Report, is_endorsement};
use carat_tee::x509::Certificate;
use carat_tee::{Endorsements, Kind, Policy, Request, input, verify};

/// SHA-256 of the signed regions of the corpus.
const KNOWN: [&str; 1] = ["9d5745e341e60b0773585a4a9dd9e587f8e1e24c3a830acc2db1757a594cc5d0"];

pub(crate) fn check(data: &[u8]) {
    let Some((len, data)) = data.split_at_checked(2) else {
        return;
    };
    let len = usize::from(u16::from_le_bytes([len[0], len[1]]));
    let (evidence, rest) = data.split_at(len.min(data.len()));
    if let Ok(report) = Report::parse(evidence) {
        let _ = (
            report.signature(),
            report.signing_key(),
            report.padding_is_zero(),
        );
    }
    let certs = input::certificates(rest).unwrap_or_default();
    for der in &certs {
        if let Ok(certificate) = Certificate::parse(der)
            && is_endorsement(&certificate)
        {
            let _ = Endorsement::parse(&certificate);
        }
    }
    let policy = Policy::dev();
    let request = Request {
        evidence,
        endorsements: Endorsements {
            collateral: None,
            certs: &certs,
            chain: &[],
        },
        policy: &policy,
        now: 1_780_272_000,
        nonce: None,
        binding: None,
    };
    if let Ok(accepted) = verify(Kind::Snp, &request) {
        let signed = accepted.facts().signed_region.to_string();
        assert!(
            KNOWN.contains(&signed.as_str()),
            "accepted what nobody signed"
        );
    }
}
