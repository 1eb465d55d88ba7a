//! What the code writes is what `docs/receipt.cddl` says, by a CDDL validator that others wrote; and the schema can
//! fail.

mod common;

use carat_receipt::courier::Carried;
use carat_receipt::evidence::{
    Attestation, Body, Cosignature, Hides, Proof, Replay, SignedBody as _,
};
use carat_receipt::{
    Digest, Evidence, Notice, Opened, Opening, Registration, Said, Salt, SignedNotice, SigningKey,
    Statement,
};
use cddl_cat::validate_cbor_bytes;
use ciborium::Value;
use common::{carried, full, label, minimal, signed};

const SCHEMA: &str = include_str!("../../../docs/receipt.cddl");

/// The validator does not know tags, so the one rule with a tag is left out and its content checked by name.
fn conforms(rule: &str, bytes: &[u8]) -> Result<(), String> {
    let schema = SCHEMA.replace("receipt = #6.18(cose-sign1)\n", "");
    assert_ne!(schema, SCHEMA);
    validate_cbor_bytes(rule, &schema, bytes).map_err(|error| format!("{rule}: {error:.200}"))
}

fn value(bytes: &[u8]) -> Value {
    ciborium::from_reader(bytes).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn receipts_conform() {
    for statement in [minimal(), full(), carried()] {
        conforms("claims", &statement.to_claims()).unwrap();
        let mut signed = signed(statement);
        let untagged = |signed: &carat_receipt::SignedStatement| signed.to_bytes()[1..].to_vec();
        conforms("cose-sign1", &untagged(&signed)).unwrap();
        signed.add_transparency_receipt(vec![1]);
        conforms("cose-sign1", &untagged(&signed)).unwrap();
        let Value::Tag(18, content) = value(&signed.to_bytes()) else {
            unreachable!()
        };
        let protected = content.into_array().unwrap()[0]
            .clone()
            .into_bytes()
            .unwrap();
        conforms("protected-header", &protected).unwrap();
    }
}

#[test]
fn notices_conform() {
    let key = SigningKey::from_secret(&[8; 32]);
    let by = 70;
    for said in [
        Said::Promise {
            rung: label("zk"),
            by,
        },
        Said::Refusal {
            reason: label("erased"),
            detail: label("the opening was erased"),
        },
        Said::Miss {
            by,
            promise: Some(Digest::sha256(b"promise")),
        },
        Said::Miss { by, promise: None },
    ] {
        let notice = Notice {
            issuer: label("Issuer"),
            issuer_key: key.public(),
            said_at: 71,
            receipt: Digest::sha256(b"id"),
            nonce: None,
            said,
        };
        let signed = SignedNotice::sign(notice, &key).unwrap();
        conforms("notice-claims", signed.payload()).unwrap();
        conforms("notice-protected-header", signed.protected()).unwrap();
        // The schema can fail: a receipt's claims are no notice's.
        conforms("notice-claims", &minimal().to_claims()).unwrap_err();
        conforms("claims", signed.payload()).unwrap_err();
    }
}

#[test]
fn evidence_and_openings_conform() {
    let key = SigningKey::from_secret(&[8; 32]);
    let id = Digest::sha256(b"id");
    let cosignature = Cosignature {
        key: key.public(),
        name: label("Cosigner"),
        signed_at: 5,
    };
    let replay = Replay {
        key: key.public(),
        name: label("Auditor"),
        program: id,
        output: id,
        replayed_at: 6,
        engine: minimal().engine,
        software: label("carat 0.1.0"),
        trace_root: Some(id),
    };
    conforms("cosignature", &cosignature.encode()).unwrap();
    conforms("replay", &replay.encode()).unwrap();
    conforms(
        "evidence",
        &Evidence::cosign(id, cosignature, &key).unwrap().encode(),
    )
    .unwrap();
    conforms(
        "evidence",
        &Evidence::replay(id, replay, &key).unwrap().encode(),
    )
    .unwrap();
    let endorsements = vec![(label("application/x-collateral"), vec![2])];
    let attestation = Attestation {
        media_type: label("application/x-example"),
        evidence: vec![1],
        endorsements,
    };
    let proof = Proof {
        protocol: label("example/v1"),
        mode: label("succinct"),
        hides: Hides::default(),
        profile: label("example"),
        weights_root: id,
        statements: vec![Digest::sha256(b"another"), id],
        bits: 100,
        proof: vec![3],
    };
    let hiding = |values, weights| {
        Body::Proof(Proof {
            mode: label("zk"),
            hides: Hides { values, weights },
            statements: vec![id],
            ..proof.clone()
        })
    };
    for body in [
        Body::Attestation(attestation),
        hiding(true, false),
        hiding(false, true),
        hiding(true, true),
        Body::Proof(proof.clone()),
    ] {
        conforms(
            "evidence",
            &Evidence {
                statement: id,
                body,
            }
            .encode(),
        )
        .unwrap();
    }
    let opened = |byte| Opened::new(Salt::from_bytes([byte; 32]), vec![byte; 3]);
    let carried = Carried {
        sent: opened(5),
        received: opened(6),
        chunks: Some(vec![1, 2]),
    };
    for (facts, trace_salt, carried) in [
        (None, None, None),
        (
            Some(opened(3)),
            Some(Salt::from_bytes([4; 32])),
            Some(carried),
        ),
    ] {
        let opening = Opening {
            receipt_id: id,
            program: id,
            input: opened(1),
            output: opened(2),
            facts,
            trace_salt,
            carried,
        };
        conforms("opening", &opening.encode()).unwrap();
    }
}

#[test]
fn registrations_conform() {
    let registration = Registration {
        program: vec![1],
        protocol: label(carat_receipt::evidence::ZK_PROTOCOL),
        profile: label("proven-100"),
        weights_root: Digest::sha256(b"root"),
        proof: vec![2],
    };
    conforms("registration", &registration.encode()).unwrap();
    // The schema can fail: what is left empty is refused there as it is by the code.
    for empty in [
        Registration {
            program: vec![],
            ..registration.clone()
        },
        Registration {
            proof: vec![],
            ..registration
        },
    ] {
        let bytes = empty.encode();
        conforms("registration", &bytes).unwrap_err();
        Registration::decode(&bytes).unwrap_err();
    }
}

/// For every claim: leaving it out or giving it a wrong type is refused by the schema exactly where it is refused by
/// the code.
#[test]
fn schema_and_code_refuse_alike() {
    let Value::Map(claims) = value(&full().to_claims()) else {
        unreachable!()
    };
    let mut without = vec![];
    for i in 0..claims.len() {
        let mut fewer = claims.clone();
        let (key, _) = fewer.remove(i);
        let fewer = bytes(&Value::Map(fewer));
        let schema = conforms("claims", &fewer).is_ok();
        // The code has rules between claims that CDDL cannot express; it is never laxer than the schema.
        let code = Statement::from_claims(&fewer).is_ok();
        assert!(schema || !code, "{key:?}");
        without.push(schema);
        let mut mistyped = claims.clone();
        mistyped[i].1 = Value::Null;
        let mistyped = bytes(&Value::Map(mistyped));
        assert!(conforms("claims", &mistyped).is_err(), "{key:?}");
        assert!(Statement::from_claims(&mistyped).is_err(), "{key:?}");
    }
    let (required, optional) = (
        without.iter().filter(|ok| !**ok).count(),
        without.iter().filter(|ok| **ok).count(),
    );
    // The minimal Statement has the required claims only.
    let Value::Map(minimal) = value(&minimal().to_claims()) else {
        unreachable!()
    };
    assert_eq!(required, minimal.len());
    assert_eq!(required + optional, claims.len());
    let mut unknown = claims.clone();
    unknown.push(((-70099).into(), 1.into()));
    assert!(conforms("claims", &bytes(&Value::Map(unknown))).is_err());
}
