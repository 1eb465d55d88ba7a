//! Every bit of one sample of each format is flipped; what still verifies is the list in `docs/tee-attacks.md`,
//! "Malleability". For Nitro, NVIDIA and Confidential Space that list is empty.

mod common;

use carat_tee::{Endorsements, Kind, Policy, Request, input, verify};
use common::survivors;

/// Every (byte, bit) whose flip `accepts` still takes.
fn accepted(bytes: &[u8], accepts: impl Fn(&[u8]) -> bool + Sync) -> Vec<(usize, usize)> {
    survivors(bytes.len(), 8, |at, bit| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << bit;
        accepts(&changed)
    })
}

#[test]
fn row_26_no_bit_of_a_nitro_document_may_change() {
    let document = corpus!("nitro/evervault-beta-valid.cbor");
    let policy = Policy::strict();
    let accepts = |evidence: &[u8]| {
        let endorsements = Endorsements::default();
        verify(
            Kind::Nitro,
            &Request {
                evidence,
                endorsements,
                policy: &policy,
                now: 1_665_651_482,
                nonce: None,
                binding: None,
            },
        )
        .is_ok()
    };
    assert!(accepts(&document));
    assert_eq!(accepted(&document, accepts), []);
    // Known: an ECDSA signature (r, s) is as good as (r, n - s). So bytes are no identity; the signed region is.
    let mut twin = document.clone();
    let at = twin.len() - 48;
    let s = twin[at..].to_vec();
    twin[at..].copy_from_slice(&minus(&ORDER, &s));
    assert!(twin != document && accepts(&twin));
}

#[test]
fn row_26_no_bit_of_a_gpu_report_may_change() {
    let text = corpus!("nvidia/nvsdk-hopperAttestationReport.txt");
    let chain = corpus!("nvidia/nvsdk-hopperCertChain.txt");
    let report = input::evidence(Kind::Nvidia, &text).unwrap();
    let chain = input::certificates(&chain).unwrap();
    let policy = Policy::strict();
    let accepts = |evidence: &[u8]| {
        let endorsements = Endorsements {
            collateral: None,
            certs: &[],
            chain: &chain,
        };
        verify(
            Kind::Nvidia,
            &Request {
                evidence,
                endorsements,
                policy: &policy,
                now: 1_735_689_600,
                nonce: None,
                binding: None,
            },
        )
        .is_ok()
    };
    assert!(accepts(&report));
    assert_eq!(accepted(&report, accepts), []);
}

#[test]
fn row_26_no_bit_of_a_confidential_space_token_may_change() {
    let token = corpus!("gcp/oak-confidential-space-sample.jwt");
    let policy = Policy::strict();
    let accepts = |evidence: &[u8]| {
        let endorsements = Endorsements::default();
        verify(
            Kind::Gcp,
            &Request {
                evidence,
                endorsements,
                policy: &policy,
                now: 1_757_060_300,
                nonce: None,
                binding: None,
            },
        )
        .is_ok()
    };
    assert!(accepts(&token));
    assert_eq!(accepted(&token, accepts), []);
}

/// Order of P-384 (SEC 2, section 2.5.1).
const ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut out = vec![0; a.len()];
    let mut borrow = 0i32;
    for at in (0..a.len()).rev() {
        let difference = i32::from(a[at]) - i32::from(b[at]) - borrow;
        borrow = i32::from(difference < 0);
        out[at] = (difference & 0xff) as u8;
    }
    out
}
