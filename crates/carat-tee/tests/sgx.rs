//! Intel SGX: a recorded quote, and quotes that must be refused.

mod common;

use carat_tee::{
    Endorsements, Hardware, Kind, PlatformId, Policy, Reason, Rejected, Request, Value, verify,
};

const AT: u64 = 1_750_373_771;

fn ask(quote: &[u8], collateral: &[u8], policy: &Policy, now: u64) -> Result<Hardware, Rejected> {
    verify(
        Kind::Sgx,
        &Request {
            evidence: quote,
            endorsements: Endorsements {
                collateral: Some(collateral),
                ..Endorsements::default()
            },
            policy,
            now,
            nonce: None,
            binding: None,
        },
    )
}

/// Accepts the status that the recorded platform has.
fn named_status() -> Policy {
    let mut policy = Policy::strict();
    policy
        .intel
        .tcb_status
        .push("ConfigurationAndSWHardeningNeeded".into());
    policy
}

#[test]
fn row_13_status_must_be_named() {
    let (quote, collateral) = (
        corpus!("tdx/sgx_quote"),
        corpus!("tdx/sgx_quote_collateral.json"),
    );
    for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
        let rejected = ask(&quote, &collateral, &policy, AT).unwrap_err();
        assert_eq!(rejected.reason, Reason::TcbStatus);
    }
    for at in [1_750_330_571, AT, 1_752_919_278] {
        let accepted = ask(&quote, &collateral, &named_status(), at).unwrap();
        let claims = accepted.claims();
        let advisories = ["INTEL-SA-00289", "INTEL-SA-00615"].map(String::from);
        assert_eq!(
            claims.get("advisories"),
            Some(&Value::from(Vec::from(advisories)))
        );
        assert_eq!(
            claims.get("ppid"),
            Some(
                &hex::decode("d04ec06d4e6d92dc90d0ad3cf5ee2ddf")
                    .unwrap()
                    .into()
            )
        );
        assert!(
            accepted
                .still_trusted()
                .iter()
                .any(|sentence| sentence.contains("INTEL-SA-00289"))
        );
    }
    for (at, reason) in [
        (1_752_919_279, Reason::CollateralExpired),
        (1_750_330_570, Reason::CollateralNotYetValid),
    ] {
        let rejected = ask(&quote, &collateral, &named_status(), at).unwrap_err();
        assert_eq!(rejected.reason, reason);
    }
    let mut denied = named_status();
    denied.intel.deny_advisories = vec!["intel-sa-00615".into()];
    let rejected = ask(&quote, &collateral, &denied, AT).unwrap_err();
    assert_eq!(rejected.reason, Reason::AdvisoryDenied);
}

#[test]
fn row_22_lists_of_platforms() {
    let (quote, collateral) = (
        corpus!("tdx/sgx_quote"),
        corpus!("tdx/sgx_quote_collateral.json"),
    );
    for space in ["sgx-ppid", "intel-ppid"] {
        let name = format!("{space}:d04ec06d4e6d92dc90d0ad3cf5ee2ddf");
        let mut policy = named_status();
        policy.deny_platforms = vec![PlatformId::new(name).unwrap()];
        let rejected = ask(&quote, &collateral, &policy, AT).unwrap_err();
        assert_eq!(rejected.reason, Reason::PlatformDenied);
    }
    let mut policy = named_status();
    policy.deny_platforms =
        vec![PlatformId::new("tdx-ppid:d04ec06d4e6d92dc90d0ad3cf5ee2ddf").unwrap()];
    ask(&quote, &collateral, &policy, AT).unwrap();
}

#[test]
fn enclaves_of_the_policy() {
    let (quote, collateral) = (
        corpus!("tdx/sgx_quote"),
        corpus!("tdx/sgx_quote_collateral.json"),
    );
    let mut policy = named_status();
    policy.intel.mr_enclave = vec![hex::encode(&quote[48 + 64..][..32])];
    policy.intel.mr_signer = vec![hex::encode(&quote[48 + 128..][..32])];
    ask(&quote, &collateral, &policy, AT).unwrap();
    for field in [&mut policy.intel.mr_enclave, &mut policy.intel.mr_signer] {
        let right = std::mem::replace(field, vec!["11".repeat(32)]);
        assert_ne!(right, *field);
    }
    let rejected = ask(&quote, &collateral, &policy, AT).unwrap_err();
    assert_eq!(rejected.reason, Reason::Measurement);
}

/// One flip of each byte of a quote: none verifies.
#[test]
fn mutations_of_a_quote() {
    let (quote, collateral) = (
        corpus!("tdx/sgx_quote"),
        corpus!("tdx/sgx_quote_collateral.json"),
    );
    let policy = named_status();
    let survives = |at: usize, _: usize| {
        let mut mutant = quote.clone();
        mutant[at] ^= 1 << (at % 8);
        ask(&mutant, &collateral, &policy, AT).is_ok()
    };
    assert_eq!(common::survivors(quote.len(), 1, survives), []);
}
