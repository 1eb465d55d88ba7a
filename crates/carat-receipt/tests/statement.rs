//! The signed Statement against independent implementations, and against people who mean harm.

mod common;

use carat_receipt::cbor::Writer;
use carat_receipt::{DecodeError, Label, Parameter, SignedStatement, Statement, StatementError};
use ciborium::Value;
use common::{carried, full, key, label, minimal, signed};
use coset::{CborSerializable as _, CoseSign1, TaggedCborSerializable as _, iana};
use proptest::prelude::*;

#[test]
fn round_trips() {
    for statement in [minimal(), full(), carried()] {
        let signed = signed(statement.clone());
        let bytes = signed.to_bytes();
        let read = SignedStatement::decode(&bytes).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.statement(), &statement);
        assert_eq!(read.to_bytes(), bytes);
        read.verify_signature().unwrap();
    }
}

/// `coset` parses the envelope, rebuilds the same Sig_structure, and the signature verifies over it.
#[test]
fn coset_agrees() {
    for statement in [minimal(), full(), carried()] {
        let signed = signed(statement);
        let sign1 = CoseSign1::from_tagged_slice(&signed.to_bytes()).unwrap();
        assert_eq!(
            sign1.protected.header.alg,
            Some(coset::RegisteredLabelWithPrivate::Assigned(
                iana::Algorithm::Ed25519
            ))
        );
        assert_eq!(
            sign1.protected.header.key_id,
            key().public().id().as_bytes()
        );
        assert_eq!(sign1.tbs_data(&[]), signed.sig_structure());
        sign1
            .verify_signature(&[], |signature, message| {
                key()
                    .public()
                    .verify(message, signature.try_into().unwrap())
            })
            .unwrap();
        assert_eq!(
            carat_receipt::Digest::sha256(&sign1.tbs_data(&[])),
            signed.receipt_id()
        );
        let claims = coset::cwt::ClaimsSet::from_slice(sign1.payload.as_ref().unwrap()).unwrap();
        assert_eq!(claims.issuer.as_deref(), Some("Example Issuer"));
        assert_eq!(claims.cwt_id.as_deref(), Some(&[1; 16][..]));
    }
}

/// `ciborium` reads the claims and, sorting keys by their encoding, writes the same bytes: the encoding is the
/// deterministic one and not merely ours.
#[test]
fn claims_are_deterministic_by_another_encoder() {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Map(pairs) => {
                let mut pairs: Vec<_> = pairs.into_iter().map(|(k, v)| (k, sorted(v))).collect();
                let encoded = |value: &Value| {
                    let mut bytes = vec![];
                    ciborium::into_writer(value, &mut bytes).unwrap();
                    bytes
                };
                pairs.sort_by_key(|(k, _)| encoded(k));
                Value::Map(pairs)
            }
            Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
            other => other,
        }
    }
    for statement in [minimal(), full(), carried()] {
        let bytes = statement.to_claims();
        let value: Value = ciborium::from_reader(&bytes[..]).unwrap();
        let mut again = vec![];
        ciborium::into_writer(&sorted(value), &mut again).unwrap();
        assert_eq!(again, bytes);
    }
}

/// Replaces one claim or adds one, in place, and signs the result with the issuer's key: what a hostile issuer could
/// do. The header is rebuilt by `coset`.
fn forge(
    change: impl FnOnce(&mut Vec<(Value, Value)>),
    header: impl FnOnce(&mut coset::Header),
) -> Vec<u8> {
    let honest = signed(full());
    let mut sign1 = CoseSign1::from_tagged_slice(&honest.to_bytes()).unwrap();
    let Value::Map(mut claims) = ciborium::from_reader(&sign1.payload.unwrap()[..]).unwrap() else {
        unreachable!()
    };
    change(&mut claims);
    let mut payload = vec![];
    ciborium::into_writer(&Value::Map(claims), &mut payload).unwrap();
    sign1.payload = Some(payload);
    sign1.protected.original_data = None;
    header(&mut sign1.protected.header);
    sign1.signature = key().sign(&sign1.tbs_data(&[])).to_vec();
    sign1.to_tagged_vec().unwrap()
}

fn refused(bytes: &[u8]) -> String {
    SignedStatement::decode(bytes)
        .expect_err("accepted")
        .to_string()
}

#[test]
fn the_forger_can_also_be_honest() {
    SignedStatement::decode(&forge(|_| {}, |_| {}))
        .unwrap()
        .verify_signature()
        .unwrap();
}

#[test]
fn hostile_claims() {
    let same = |_: &mut coset::Header| {};
    let set = |key: i64, value: Value| {
        refused(&forge(
            move |claims| {
                claims
                    .iter_mut()
                    .find(|(k, _)| *k == Value::from(key))
                    .unwrap()
                    .1 = value
            },
            same,
        ))
    };
    assert!(set(265, "https://example.com".into()).contains("profile"));
    assert!(set(-70001, 2.into()).contains("version"));
    assert!(set(2, "carat:program:00".into()).contains("subject"));
    assert!(set(6, u64::MAX.into()).contains("claims contradict"));
    assert!(set(6, Value::Float(1.0)).contains("unsigned integer"));
    assert!(set(10, Value::Bytes(vec![0; 7])).contains("length 7"));
    assert!(set(10, Value::Bytes(vec![0; 65])).contains("length 65"));
    assert!(set(-70022, 5.into()).contains("claims contradict"));
    assert!(set(-70023, Value::Array(vec![])).contains("relies_on"));
    assert!(set(-70023, Value::Null).contains("array"));
    assert!(set(1, "a\u{202e}b".into()).contains("misleads"));
    assert!(set(-70012, Value::Map(vec![("x".into(), Value::Float(0.5))])).contains("boolean"));
    let twice = Value::Map(vec![("x".into(), 1.into()), ("x".into(), 2.into())]);
    assert!(set(-70012, twice).contains("repeated"));
    let edge = Value::Array(vec![
        Value::Bytes(vec![1; 32]),
        Value::Array(vec!["USD".into(), 1.into()]),
    ]);
    assert!(set(-70023, Value::Array(vec![edge.clone(), edge])).contains("claims contradict"));

    // A claim twice, an unknown claim, a missing one, claims in another order.
    let duplicate = forge(
        |claims| {
            let first = claims[0].clone();
            claims.insert(0, first);
        },
        same,
    );
    assert!(refused(&duplicate).contains("repeated"));
    let unknown = forge(|claims| claims.push(((-70099).into(), 1.into())), same);
    assert!(refused(&unknown).contains("unknown key -70099"));
    let missing = forge(
        |claims| claims.retain(|(k, _)| *k != Value::from(-70010)),
        same,
    );
    assert!(refused(&missing).contains("key -70010 is missing"));
    assert!(refused(&forge(|claims| claims.reverse(), same)).contains("out of order"));
    // A planner version without a Plan would be a placeholder.
    let placeholder = forge(
        |claims| claims.retain(|(k, _)| *k != Value::from(-70017)),
        same,
    );
    assert!(refused(&placeholder).contains("claims contradict"));
}

#[test]
fn hostile_headers() {
    let with = |header: fn(&mut coset::Header)| refused(&forge(|_| {}, header));
    assert!(
        with(|h| h.alg = Some(coset::Algorithm::Assigned(iana::Algorithm::ES256)))
            .contains("algorithm")
    );
    assert!(
        with(|h| h.alg = Some(coset::Algorithm::Assigned(iana::Algorithm::EdDSA)))
            .contains("algorithm")
    );
    assert!(with(|h| h.alg = None).contains("missing"));
    assert!(with(|h| h.key_id = vec![0; 32]).contains("key id"));
    assert!(with(|h| h.key_id.truncate(8)).contains("key id"));
    assert!(
        with(|h| h.crit.push(coset::RegisteredLabelWithPrivate::Assigned(
            iana::HeaderParameter::Alg
        )))
        .contains("unknown key 2")
    );
    assert!(with(|h| h.rest.push((coset::Label::Int(-70000), 1.into()))).contains("unknown key"));
    assert!(
        with(|h| h.content_type = Some(coset::ContentType::Text("text/plain".into())))
            .contains("content type")
    );
    let other_issuer = Value::Map(vec![(1.into(), "Somebody".into())]);
    let swapped = forge(
        |_| {},
        |h| h.rest = vec![(coset::Label::Int(15), other_issuer)],
    );
    assert!(refused(&swapped).contains("issuer or subject"));
}

#[test]
fn hostile_envelopes() {
    let bytes = signed(minimal()).to_bytes();
    // Untagged, wrong tag, trailing bytes, an unprotected parameter, an indefinite array.
    assert!(refused(&bytes[1..]).contains("a tag"));
    let mut other = bytes.clone();
    other[0] = 0xd1;
    assert!(refused(&other).contains("another tag"));
    other = bytes.clone();
    other.push(0);
    assert!(refused(&other).contains("follow its end"));
    other = bytes.clone();
    other[1] = 0x9f;
    assert!(refused(&other).contains("indefinite"));
    let at = bytes.iter().position(|byte| *byte == 0xa0).unwrap();
    other = bytes.clone();
    other.splice(at..=at, [0xa1, 0x18, 99, 0]);
    assert!(refused(&other).contains("unknown key 99"));
    // Very deep nesting costs nothing: nothing here recurses.
    let deep = vec![0x81; 10_000_000];
    assert!(SignedStatement::decode(&deep).is_err());
    assert!(Statement::from_claims(&deep).is_err());
    // A length of 2^64 - 1.
    let mut w = Writer::new();
    w.tag(18).array(4);
    let mut huge = w.into_bytes();
    huge.extend([0x5b, 255, 255, 255, 255, 255, 255, 255, 255]);
    assert!(matches!(
        SignedStatement::decode(&huge),
        Err(DecodeError::Length { .. })
    ));
}

/// Every single-bit change either fails to decode, fails the signature, or changes nothing that is signed.
#[test]
fn every_bit_is_protected() {
    let mut signed = signed(full());
    assert!(signed.add_transparency_receipt(vec![1, 2, 3, 4]));
    let bytes = signed.to_bytes();
    let unprotected: Vec<usize> = (0..bytes.len() - 3)
        .filter(|i| bytes[*i..*i + 4] == [1, 2, 3, 4])
        .collect();
    assert_eq!(unprotected.len(), 1);
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            let survives = SignedStatement::decode(&changed)
                .is_ok_and(|signed| signed.verify_signature().is_ok());
            let expected = (unprotected[0]..unprotected[0] + 4).contains(&i);
            assert_eq!(survives, expected, "byte {i} bit {bit}");
        }
    }
}

#[test]
fn signing_refuses_what_decoding_would() {
    let mut statement = minimal();
    statement.issuer_key = carat_receipt::SigningKey::from_secret(&[1; 32]).public();
    assert_eq!(
        SignedStatement::sign(statement, &key()).unwrap_err(),
        StatementError::WrongKey
    );
    let mut statement = minimal();
    statement.issued_at = u64::MAX;
    assert!(SignedStatement::sign(statement, &key()).is_err());
    let mut statement = minimal();
    statement.optional.usage = Some(Default::default());
    assert_eq!(
        SignedStatement::sign(statement, &key()).unwrap_err(),
        StatementError::EmptyUsage
    );
}

/// The identity is that of the Statement: it survives another signature or header, and nothing else.
#[test]
fn identity() {
    let one = signed(minimal());
    let mut two = one.clone();
    two.add_transparency_receipt(vec![0]);
    assert_eq!(one.receipt_id(), two.receipt_id());
    let mut other = minimal();
    other.random = [2; 16];
    assert_ne!(one.receipt_id(), signed(other).receipt_id());
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in any::<Vec<u8>>()) {
        let _ = SignedStatement::decode(&bytes);
        let _ = Statement::from_claims(&bytes);
    }

    #[test]
    fn any_statement_round_trips(
        issuer in "[a-zA-Z0-9 ]{0,20}x",
        time in 0u64..253_402_300_799,
        nonce in proptest::option::of(proptest::collection::vec(any::<u8>(), 8..=64)),
        names in proptest::collection::btree_map("[a-z]{1,40}", any::<i64>(), 0..30),
        texts in proptest::collection::btree_map("[A-Z]{1,40}", any::<String>(), 0..10),
    ) {
        let mut statement = full();
        statement.issuer = label(issuer.trim());
        statement.issued_at = time;
        statement.optional.option_expiry = None;
        statement.optional.nonce = nonce.map(|bytes| carat_receipt::Nonce::new(bytes).unwrap());
        for (name, value) in names {
            statement.parameters.set(Label::new(name).unwrap(), Parameter::Int(value)).unwrap();
        }
        for (name, value) in texts {
            statement.parameters.set(Label::new(name).unwrap(), Parameter::Text(value)).unwrap();
        }
        let signed = signed(statement);
        prop_assert_eq!(SignedStatement::decode(&signed.to_bytes()).unwrap(), signed);
    }
}

/// A courier's claims say nothing that the others deny.
#[test]
fn courier_claims_fit_the_others() {
    use carat_receipt::courier::{Ending, Tokens, identity};
    use carat_receipt::{Digest, Execution};
    let good = carried();
    good.check().unwrap();
    let change = |change: &dyn Fn(&mut Statement)| {
        let mut statement = carried();
        change(&mut statement);
        let found = statement.check();
        assert_eq!(found, Err(StatementError::Courier));
        // The reader refuses what the writer would not sign.
        assert!(Statement::from_claims(&statement.to_claims()).is_err());
    };
    change(&|statement| statement.execution = Execution::Local);
    change(&|statement| statement.program = Digest::sha256(b"a Program"));
    change(&|statement| {
        statement.execution = Execution::Courier {
            upstream: label("another.example"),
        };
    });
    change(&|statement| statement.optional.stream.as_mut().unwrap().complete = true);
    change(&|statement| statement.optional.stream = None);
    change(&|statement| statement.optional.trace_root = Some(Digest::sha256(b"t")));
    change(&|statement| statement.optional.option_expiry = Some(statement.issued_at));
    change(&|statement| {
        statement.optional.courier.as_mut().unwrap().tokens = Some(Tokens::default());
    });
    change(&|statement| statement.optional.courier.as_mut().unwrap().ending = Ending::Complete);
    let (a, b) = (label("up"), label("model"));
    assert_ne!(identity(&a, &b), identity(&label("upm"), &label("odel")));
}
