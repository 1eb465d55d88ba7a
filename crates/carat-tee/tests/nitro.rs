//! AWS Nitro: recorded documents, and documents that must be refused.

mod common;

use carat_tee::{Binding, Endorsements, Hardware, Kind, Policy, Reason, Rejected, Request, verify};

const VALID_AT: u64 = 1_665_651_482;
const DEBUG_AT: u64 = 1_665_582_606;
const DSTACK_AT: u64 = 1_766_668_537;

fn run(
    evidence: &[u8],
    policy: &Policy,
    now: u64,
    nonce: Option<&[u8]>,
) -> Result<Hardware, Rejected> {
    verify(
        Kind::Nitro,
        &Request {
            evidence,
            endorsements: Endorsements::default(),
            policy,
            now,
            nonce,
            binding: None,
        },
    )
}

fn reason(evidence: &[u8], policy: &Policy, now: u64, nonce: Option<&[u8]>) -> Reason {
    run(evidence, policy, now, nonce)
        .expect_err("refused")
        .reason
}

fn policies() -> [Policy; 3] {
    [Policy::strict(), Policy::production(), Policy::dev()]
}

fn dstack() -> Option<Vec<u8>> {
    common::evidence::read("nitro/dstack-nsm-qvl.cbor").map(|file| file[4..4 + 4527].to_vec())
}

#[test]
fn recorded_documents_are_accepted() {
    let valid = corpus!("nitro/evervault-beta-valid.cbor");
    let Some(dstack) = dstack() else { return };
    for policy in policies() {
        for at in [1_665_651_479, VALID_AT, 1_665_662_282] {
            run(&valid, &policy, at, None).unwrap();
        }
        for at in [1_766_668_534, DSTACK_AT, 1_766_679_337] {
            let accepted = run(&dstack, &policy, at, None).unwrap();
            assert!(!accepted.facts().debug);
            assert_eq!(accepted.facts().bound.len(), 64);
        }
    }
    let nonce = run(&valid, &Policy::strict(), VALID_AT, None).unwrap();
    let carat_tee::Value::Bytes(nonce) = nonce.claims().get("nonce").unwrap() else {
        panic!()
    };
    assert_eq!(nonce.len(), 256);
    run(&valid, &Policy::strict(), VALID_AT, Some(nonce)).unwrap();
    // The file around the document is no document.
    let whole = corpus!("nitro/dstack-nsm-qvl.cbor");
    assert_eq!(
        reason(&whole, &Policy::strict(), DSTACK_AT, None),
        Reason::Malformed
    );
}

#[test]
fn row_01_nitro_debug_mode() {
    let debug = corpus!("nitro/evervault-beta-debug.cbor");
    for policy in [Policy::strict(), Policy::production()] {
        assert_eq!(reason(&debug, &policy, DEBUG_AT, None), Reason::Debug);
    }
    let accepted = run(&debug, &Policy::dev(), DEBUG_AT, None).unwrap();
    assert!(accepted.facts().debug);
    assert_eq!(accepted.claims().get("debug"), Some(&true.into()));
}

#[test]
fn row_06_stale_document() {
    let valid = corpus!("nitro/evervault-beta-valid.cbor");
    assert_eq!(
        reason(&valid, &Policy::strict(), VALID_AT + 86_400, None),
        Reason::Stale
    );
    let mut patient = Policy::strict();
    patient.max_age = 10 * 86_400;
    assert_eq!(
        reason(&valid, &patient, VALID_AT + 86_400, None),
        Reason::CertificateExpired
    );
    let mut impatient = Policy::strict();
    impatient.max_age = 60;
    assert_eq!(
        reason(&valid, &impatient, VALID_AT + 61, None),
        Reason::Stale
    );
    run(&valid, &impatient, VALID_AT + 60, None).unwrap();
}

#[test]
fn row_07_future_document() {
    let valid = corpus!("nitro/evervault-beta-valid.cbor");
    assert_eq!(
        reason(&valid, &Policy::strict(), VALID_AT - 600, None),
        Reason::Future
    );
    assert_eq!(
        reason(&valid, &Policy::strict(), VALID_AT - 60, None),
        Reason::CertificateNotYetValid
    );
}

#[test]
fn row_08_nonce() {
    let valid = corpus!("nitro/evervault-beta-valid.cbor");
    let debug = corpus!("nitro/evervault-beta-debug.cbor");
    assert_eq!(
        reason(&valid, &Policy::strict(), VALID_AT, Some(&[1; 32])),
        Reason::NonceMismatch
    );
    assert_eq!(
        reason(&debug, &Policy::dev(), DEBUG_AT, Some(&[1; 32])),
        Reason::NonceMissing
    );
    let mut demanding = Policy::strict();
    demanding.require_nonce = true;
    assert_eq!(
        reason(&valid, &demanding, VALID_AT, None),
        Reason::NonceMissing
    );
}

#[test]
fn pcrs_and_platforms_of_the_policy() {
    let valid = corpus!("nitro/evervault-beta-valid.cbor");
    let accepted = run(&valid, &Policy::strict(), VALID_AT, None).unwrap();
    let carat_tee::Value::Map(pcrs) = accepted.claims().get("pcrs").unwrap() else {
        panic!()
    };
    let carat_tee::Value::Bytes(pcr0) = pcrs.get("0").unwrap() else {
        panic!()
    };
    let with = |text: String| {
        let mut policy = Policy::strict();
        policy.nitro.pcrs = vec![[("0".to_string(), text)].into()];
        run(&valid, &policy, VALID_AT, None).map_err(|rejected| rejected.reason)
    };
    let hex = pcr0
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<String>();
    with(hex.clone()).unwrap();
    assert_eq!(with("00".repeat(48)).unwrap_err(), Reason::Measurement);
    assert_eq!(with(hex[2..].to_string()).unwrap_err(), Reason::Measurement);
    let mut listed = Policy::strict();
    listed.measurements = vec![accepted.facts().measurement];
    run(&valid, &listed, VALID_AT, None).unwrap();
    listed.measurements = vec![carat_receipt::Digest::sha256(b"other")];
    assert_eq!(reason(&valid, &listed, VALID_AT, None), Reason::Measurement);
    for platform in &accepted.facts().platforms {
        let mut denied = Policy::strict();
        denied.deny_platforms = vec![platform.clone()];
        assert_eq!(
            reason(&valid, &denied, VALID_AT, None),
            Reason::PlatformDenied
        );
        let mut allowed = Policy::strict();
        allowed.allow_platforms = vec![platform.clone()];
        run(&valid, &allowed, VALID_AT, None).unwrap();
        allowed.allow_platforms = vec![carat_tee::PlatformId::new("nitro-module:other").unwrap()];
        assert_eq!(
            reason(&valid, &allowed, VALID_AT, None),
            Reason::PlatformNotAllowed
        );
    }
}

#[test]
fn evidence_for_another_receipt() {
    let valid = corpus!("nitro/evervault-beta-valid.cbor");
    let policy = Policy::strict();
    let request = Request {
        evidence: &valid,
        endorsements: Endorsements::default(),
        policy: &policy,
        now: VALID_AT,
        nonce: None,
        binding: Some(Binding {
            value: &[7; 64],
            key: &[1; 32],
        }),
    };
    assert_eq!(
        verify(Kind::Nitro, &request).unwrap_err().reason,
        Reason::BindingMismatch
    );
}
