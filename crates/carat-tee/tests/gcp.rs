//! Google Confidential Space: a recorded token, and tokens that must be refused.

mod common;

use carat_tee::{Binding, Endorsements, Hardware, Kind, Policy, Reason, Rejected, Request, verify};

const AT: u64 = 1_757_060_300;
const NONCE: &str = "75a91c8dbe289f190d5e70ab1cb70c93cc14d7243f0ef3ff5326a622ead220a6";
const IMAGE: &str = "sha256:e2e5e3672f416ac9ca71aa639abf86db0b713729a48c125a925af6c808b20b5d";

fn token() -> Option<Vec<u8>> {
    common::evidence::read("gcp/oak-confidential-space-sample.jwt")
}

fn run(
    evidence: &[u8],
    policy: &Policy,
    now: u64,
    nonce: Option<&[u8]>,
) -> Result<Hardware, Rejected> {
    let endorsements = Endorsements::default();
    verify(
        Kind::Gcp,
        &Request {
            evidence,
            endorsements,
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

#[test]
fn recorded_token_is_accepted() {
    let Some(token) = token() else { return };
    for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
        for at in [1_757_060_250, AT, 1_757_063_849] {
            let accepted = run(&token, &policy, at, None).unwrap();
            assert_eq!(accepted.facts().product.as_deref(), Some("gcp_intel_tdx"));
        }
        for at in [1_757_063_850, 1_757_063_851] {
            assert_eq!(reason(&token, &policy, at, None), Reason::TokenExpired);
        }
        assert_eq!(reason(&token, &policy, 1_757_060_249, None), Reason::Future);
    }
}

#[test]
fn nonces_in_every_form() {
    let Some(token) = token() else { return };
    let policy = Policy::strict();
    let raw: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&NONCE[at..at + 2], 16).unwrap())
        .collect();
    run(&token, &policy, AT, Some(&raw)).unwrap();
    run(&token, &policy, AT, Some(NONCE.as_bytes())).unwrap();
    assert_eq!(
        reason(&token, &policy, AT, Some(&raw[..31])),
        Reason::NonceMismatch
    );
    assert_eq!(
        reason(&token, &policy, AT, Some(b"")),
        Reason::NonceMismatch
    );
}

#[test]
fn audience_and_image() {
    let Some(token) = token() else { return };
    let with = |audience: &str, image: &str| {
        let mut policy = Policy::strict();
        policy.gcp.audiences = vec![audience.into()];
        policy.gcp.image_digests = vec![image.into()];
        run(&token, &policy, AT, None).map_err(|rejected| rejected.reason)
    };
    with("z08381475938604996746", IMAGE).unwrap();
    assert_eq!(with("somebody", IMAGE).unwrap_err(), Reason::Audience);
    assert_eq!(
        with("z08381475938604996746", "sha256:00").unwrap_err(),
        Reason::Measurement
    );
    let mut models = Policy::strict();
    models.gcp.hwmodels = vec!["GCP_AMD_SEV".into()];
    assert_eq!(reason(&token, &models, AT, None), Reason::ProductDenied);
}

/// A token that is signed by keys which only a key server knows proves nothing offline; neither does an unsigned one.
#[test]
fn row_24_token_without_a_chain() {
    let Some(token) = token() else { return };
    let text = String::from_utf8(token).unwrap();
    let mut parts = text.trim().split('.');
    let (_, claims, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    // {"alg":"RS256","kid":"1","typ":"JWT"}, {"alg":"none"}, {"alg":"ES384","kid":"nras"}
    for (header, expected) in [
        (
            "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ",
            Reason::EndorsementMissing,
        ),
        ("eyJhbGciOiJub25lIn0", Reason::Algorithm),
        ("eyJhbGciOiJFUzM4NCIsImtpZCI6Im5yYXMifQ", Reason::Algorithm),
    ] {
        let forged = format!("{header}.{claims}.{signature}");
        assert_eq!(
            reason(forged.as_bytes(), &Policy::dev(), AT, None),
            expected
        );
        let unsigned = format!("{header}.{claims}.");
        run(unsigned.as_bytes(), &Policy::dev(), AT, None).unwrap_err();
    }
}

#[test]
fn token_for_another_receipt() {
    let Some(token) = token() else { return };
    let policy = Policy::strict();
    let request = Request {
        evidence: &token,
        endorsements: Endorsements::default(),
        policy: &policy,
        now: AT,
        nonce: None,
        binding: Some(Binding {
            value: &[7; 64],
            key: &[1; 32],
        }),
    };
    assert_eq!(
        verify(Kind::Gcp, &request).unwrap_err().reason,
        Reason::BindingMismatch
    );
}
