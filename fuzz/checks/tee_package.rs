//! Attestations inside receipts: what reads writes back as the same, and none is taken for hardware.

use std::sync::LazyLock;

use carat_receipt::Evidence;
use carat_receipt::PublicKey;
use carat_receipt::evidence::Body;
use carat_tee::package::Verdict;
use carat_tee::{Package, Policy};

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::strict);

pub(crate) fn check(data: &[u8]) {
    let Ok(Evidence {
        body: Body::Attestation(attestation),
        ..
    }) = Evidence::decode(data)
    else {
        return;
    };
    let Ok(package) = Package::read(&attestation) else {
        return;
    };
    if let Ok(written) = package.write() {
        assert_eq!(Package::read(&written).as_ref(), Ok(&package));
    }
    let verdict = package.verify(&PublicKey::from_bytes([7; 32]), &POLICY, 1_800_000_000);
    assert!(
        !matches!(verdict, Ok(Verdict::Hardware { .. })),
        "forged hardware"
    );
}
