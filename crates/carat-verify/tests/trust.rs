//! Trust files: one text for one content, signed, and refused where they contradict themselves.

mod common;

use carat_policy::Detection;
use carat_receipt::Label;
use carat_verify::trust::{
    Audits, Bond, Content, DeniedPlatform, Freshness, IssuerKey, Model, Replication, Revocation,
    Standing,
};
use carat_verify::{Trust, TrustError};
use common::*;
use proptest::prelude::*;

fn full() -> Content {
    let mut content = content();
    content.issuers[0].keys[0].revoked = Some(Revocation {
        log: label(ORIGIN),
        from_index: 7,
    });
    content.bonds.push(Bond {
        issuer: label("Example Issuer"),
        amount: amount("2000.50 USD"),
        withheld: Some(amount("12 USD")),
        as_of: ISSUED_AT,
        expiry: ISSUED_AT + 86_400,
    });
    content.audits = Some(Audits {
        detection: Detection {
            power: "1".parse().unwrap(),
            colluding: "0.05".parse().unwrap(),
            predictable: "0.01".parse().unwrap(),
        },
        gamma: "1.5".parse().unwrap(),
        kappa: "0.8".parse().unwrap(),
        clawback: false,
        joint_forfeiture: true,
        horizon_days: None,
    });
    content.replication = Some(Replication {
        corrupt: "0.2".parse().unwrap(),
        shared_fault: "0.0001".parse().unwrap(),
        epsilon: amount("0.10 USD"),
    });
    content.denied_platforms.push(DeniedPlatform {
        vendor: label("amd"),
        id: label("milan"),
        reason: label("keys published"),
    });
    content
}

#[test]
fn round_trips_with_one_spelling() {
    let trust = trust_of(full());
    let text = trust.render();
    let read = Trust::parse(&text).unwrap();
    assert_eq!(read, trust);
    assert_eq!(read.render(), text);
    assert_eq!(read.standing(), Standing::Signed);
    // Another spelling of the same content: the same digest, and the signature still holds.
    let respelled = format!(
        "# a comment\n{}",
        text.replace("version = 1\n", "version   =   0x1 # hexadecimal\n")
    );
    let respelled = Trust::parse(&respelled).unwrap();
    assert_eq!(respelled, trust);
    assert_eq!(respelled.digest(), trust.digest());
}

#[test]
fn the_committed_example_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/trust.toml");
    let text = trust_of(full()).render();
    if std::env::var_os("CARAT_WRITE_FIXTURES").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn edits_raise_the_version_and_drop_the_signature() {
    let mut trust = trust();
    let digest = trust.digest();
    trust.edit(NOW, |content| content.audience = None).unwrap();
    assert_eq!(trust.content().version, 2);
    assert_eq!(trust.content().as_of, NOW);
    assert_eq!(trust.standing(), Standing::Unsigned);
    assert_ne!(trust.digest(), digest);
    assert!(matches!(
        trust.sign(&stranger_key()),
        Err(TrustError::WrongKey { .. })
    ));
    trust.sign(&owner_key()).unwrap();
    assert_eq!(trust.standing(), Standing::Signed);
    assert_eq!(trust.edit(NOW - 1, |_| {}), Err(TrustError::Backwards));
    // An edit that breaks a rule changes nothing.
    let before = trust.clone();
    assert!(trust.edit(NOW, |content| content.max_age_days = 0).is_err());
    assert_eq!(trust, before);
}

#[test]
fn every_character_is_signed() {
    let trust = trust_of(full());
    let text = trust.render();
    for i in 0..text.len() {
        for bit in [0, 1, 4] {
            let mut bytes = text.clone().into_bytes();
            bytes[i] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            if let Ok(read) = Trust::parse(&changed) {
                let same = read == trust;
                assert!(
                    same || read.standing() != Standing::Signed,
                    "byte {i}: {changed}"
                );
            }
        }
    }
}

#[test]
fn freshness() {
    let trust = trust();
    let as_of = trust.content().as_of;
    assert_eq!(trust.freshness(as_of), Freshness::Fresh);
    assert_eq!(trust.freshness(as_of + 90 * 86_400), Freshness::Fresh);
    assert!(matches!(
        trust.freshness(as_of + 90 * 86_400 + 1),
        Freshness::Stale { .. }
    ));
    assert_eq!(trust.freshness(as_of - 301), Freshness::FromTheFuture);
}

#[test]
fn contradictions() {
    let refused = |change: fn(&mut Content)| {
        let mut content = full();
        change(&mut content);
        Trust::new(content).expect_err("accepted").to_string()
    };
    assert!(
        refused(|c| {
            let mut twin = c.issuers[0].clone();
            twin.name = label("Twin");
            c.issuers.push(twin);
        })
        .contains("a key belongs to one of them only")
    );
    assert!(
        refused(|c| c.auditors[0].key = c.issuers[0].keys[0].key)
            .contains("a key belongs to one of them only")
    );
    assert!(
        refused(|c| {
            let key = c.issuers[0].keys[0].clone();
            c.issuers[0].keys.push(key);
        })
        .contains("belongs to one")
    );
    assert!(refused(|c| c.auditors[0].key = c.owner).contains("no third party"));
    assert!(
        refused(|c| {
            let mut twin = c.issuers[0].clone();
            twin.keys[0].key = stranger_key().public();
            c.issuers.push(twin);
        })
        .contains("stands there twice")
    );
    assert!(
        refused(|c| {
            let model = c.models[0].clone();
            c.models.push(Model {
                name: label("b"),
                ..model
            });
        })
        .contains("twice")
    );
    assert!(
        refused(|c| c.models[0].proof_keys = vec![c.models[0].program; 2]).contains("proof key")
    );
    assert!(refused(|c| c.auditors[0].cap = amount("5EUR")).contains("currencies"));
    assert!(refused(|c| c.implementation_cap = Some(amount("5EUR"))).contains("currencies"));
    assert!(refused(|c| c.witness_quorum = 2).contains("more witnesses"));
    assert!(refused(|c| c.issuers[0].keys[0].not_after = Some(0)).contains("not_before"));
    assert!(refused(|c| c.issuers[0].keys.clear()).contains("no key"));
    assert!(refused(|c| c.logs[0].key = c.witnesses[0].key.clone()).contains("witness"));
    assert!(refused(|c| c.as_of = u64::MAX).contains("9999"));
    assert!(refused(|c| c.version = 0).contains("start at 1"));
    assert!(refused(|c| c.version = u64::MAX).contains("63 bits"));
    assert!(refused(|c| c.logs.clear()).contains("names no log"));
    assert!(
        refused(|c| {
            let key = c.logs[0].key.public();
            c.witnesses[0].key =
                carat_log::VerifierKey::new("w.example", carat_log::KeyKind::CosignatureV1, key)
                    .unwrap();
        })
        .contains("twice")
    );
    assert!(
        refused(|c| c.models = (0..5000u32)
            .map(|i| Model {
                name: label("m"),
                program: carat_receipt::Digest::sha256(&i.to_be_bytes()),
                proof_keys: vec![],
            })
            .collect())
        .contains("limit")
    );
}

#[test]
fn syntax() {
    let text = trust().render();
    let refused = |text: &str| Trust::parse(text).expect_err("accepted").to_string();
    assert!(refused(&text.replace("carat-trust/v1", "carat-trust/v2")).contains("schema"));
    assert!(refused(&text.replace("currency", "currencies")).contains("unknown field"));
    assert!(
        refused(&text.replace("as_of = 2025-12-31T00:00:00Z", "as_of = 2025-12-31"))
            .contains("UTC")
    );
    assert!(refused(&text.replace("version = 1", "version = -1")).contains("does not parse"));
    assert!(refused(&text.replace("version = 1", "version = 1\nversion = 2")).contains("line 7"));
    assert!(refused(&text.replace("\"1000 USD\"", "1000.0")).contains("does not parse"));
    assert!(refused(&"a".repeat(2 << 20)).contains("limit"));
    assert!(refused(&format!("x = {}", "[".repeat(100_000))).contains("does not parse"));
    assert!(refused(&format!("{text}x = 1\n")).contains("unknown field"));
    let upper = text.to_uppercase();
    assert!(Trust::parse(&upper).is_err());
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _ = Trust::parse(&text);
    }

    /// Any name that is a name survives the text, quotes and backslashes included.
    #[test]
    fn names_round_trip(name in r#"["\\#\[\]= a-z\u{80}-\u{2fff}]{1,30}"#, days in 1u64..36_500, micros in any::<u64>()) {
        let Ok(name) = Label::new(name) else { return Ok(()) };
        let mut content = full();
        content.name = name.clone();
        content.issuers[0].name = name;
        content.max_age_days = days;
        content.auditors[0].cap = carat_receipt::Amount::from_micros(micros, content.currency);
        content.issuers[0].keys.push(IssuerKey { key: stranger_key().public(), not_before: None, not_after: None, revoked: None });
        let trust = trust_of(content);
        prop_assert_eq!(Trust::parse(&trust.render()).unwrap(), trust);
    }
}
