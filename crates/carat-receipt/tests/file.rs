//! The receipt file and its evidence.

mod common;

use carat_receipt::evidence::{Attestation, Body, Cosignature, Proof, Replay};
use carat_receipt::file::{AddError, MAX_EVIDENCE};
use carat_receipt::{Digest, Engine, Evidence, LogItem, LogPart, ReceiptFile, Salt, SigningKey};
use common::{full, label, minimal, signed};

fn other_key() -> SigningKey {
    SigningKey::from_secret(&[8; 32])
}

fn cosignature(at: u64) -> Cosignature {
    Cosignature {
        key: other_key().public(),
        name: label("Cosigner"),
        signed_at: at,
    }
}

fn replay(file: &ReceiptFile) -> Replay {
    let statement = file.signed.statement();
    Replay {
        key: other_key().public(),
        name: label("Auditor"),
        program: statement.program,
        output: statement.output,
        replayed_at: 1_767_225_700,
        engine: Engine {
            numerics: label("integer/v1"),
            semantics: 1,
        },
        software: label("carat 0.1.0"),
        trace_root: Some(Digest::sha256(b"trace")),
    }
}

fn everything() -> ReceiptFile {
    let mut file = ReceiptFile::new(signed(full()));
    let id = file.receipt_id();
    let items = [
        Evidence::cosign(id, cosignature(5), &other_key()).unwrap(),
        Evidence::replay(id, replay(&file), &other_key()).unwrap(),
        Evidence {
            statement: id,
            body: Body::Attestation(Attestation {
                media_type: label("application/x-example"),
                evidence: vec![1; 100],
                endorsements: vec![(label("application/x-collateral"), vec![2; 10])],
            }),
        },
        Evidence {
            statement: id,
            body: Body::Proof(Proof {
                protocol: label("example/v1"),
                mode: label("succinct"),
                profile: label("example"),
                weights_root: Digest::sha256(b"root"),
                statements: vec![Digest::sha256(b"another"), id],
                bits: 100,
                proof: vec![3; 1000],
            }),
        },
    ];
    for item in items {
        assert_eq!(Evidence::decode(&item.encode()).unwrap(), item);
        file.add_evidence(item).unwrap();
    }
    file.program = Some(vec![4; 50]);
    file.log = Some(LogPart {
        blind: Salt::from_bytes([5; 32]),
        items: vec![LogItem {
            media_type: label(carat_receipt::file::LOG_PROMISE),
            bytes: vec![6; 20],
        }],
    });
    file
}

#[test]
fn round_trips_and_evidence_changes_no_identity() {
    let bare = ReceiptFile::new(signed(full()));
    let file = everything();
    assert_eq!(bare.receipt_id(), file.receipt_id());
    for file in [bare, file, ReceiptFile::new(signed(minimal()))] {
        let bytes = file.encode();
        let read = ReceiptFile::decode(&bytes).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.encode(), bytes);
    }
}

#[test]
fn cuts_are_refused_except_between_sections() {
    let file = everything();
    let bytes = file.encode();
    let mut whole = vec![];
    for cut in 0..bytes.len() {
        if let Ok(shorter) = ReceiptFile::decode(&bytes[..cut]) {
            assert_eq!(shorter.encode(), bytes[..cut]);
            whole.push(cut);
        }
    }
    // After the Statement, after each item of evidence, after the Program: a stream may end there.
    assert_eq!(whole.len(), 6);
}

#[test]
fn what_decodes_has_one_spelling() {
    let bytes = everything().encode();
    for i in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            if let Ok(file) = ReceiptFile::decode(&changed) {
                assert_eq!(file.encode(), changed);
            }
        }
    }
}

#[test]
fn evidence_is_bound_to_one_receipt() {
    let mut file = ReceiptFile::new(signed(full()));
    let other = ReceiptFile::new(signed(minimal()));
    let stray = Evidence::cosign(other.receipt_id(), cosignature(5), &other_key()).unwrap();
    assert!(matches!(
        file.add_evidence(stray.clone()),
        Err(AddError::OtherStatement { .. })
    ));
    let mut bytes = file.encode();
    bytes.extend([0x82, 1]);
    bytes.extend(stray.encode());
    assert!(
        ReceiptFile::decode(&bytes)
            .unwrap_err()
            .to_string()
            .contains("another receipt")
    );

    // Relabelling the item moves its name, not its signature.
    let Body::Signature(signed) = &stray.body else {
        unreachable!()
    };
    assert!(signed.verify(&other.receipt_id()).is_ok());
    assert!(signed.verify(&file.receipt_id()).is_err());

    let good = Evidence::cosign(file.receipt_id(), cosignature(5), &other_key()).unwrap();
    file.add_evidence(good.clone()).unwrap();
    assert_eq!(file.add_evidence(good), Err(AddError::Duplicate));
    assert!(
        Evidence::cosign(
            file.receipt_id(),
            cosignature(5),
            &SigningKey::from_secret(&[1; 32])
        )
        .is_err()
    );
}

#[test]
fn a_cosignature_is_not_a_replay() {
    let file = ReceiptFile::new(signed(full()));
    let replay = Evidence::replay(file.receipt_id(), replay(&file), &other_key()).unwrap();
    let mut bytes = replay.encode();
    assert_eq!(bytes[..2], [0x83, 2]);
    bytes[1] = 1;
    assert!(Evidence::decode(&bytes).is_err());
}

#[test]
fn sections_ascend_and_counts_are_capped() {
    let mut file = ReceiptFile::new(signed(full()));
    let id = file.receipt_id();
    let statement = file.encode();
    let with = |sections: &[&[u8]]| {
        let bytes: Vec<u8> = [statement.as_slice()]
            .iter()
            .chain(sections)
            .copied()
            .flatten()
            .copied()
            .collect();
        ReceiptFile::decode(&bytes)
    };
    let program: &[u8] = &[0x82, 2, 0x41, 0];
    assert!(with(&[program]).is_ok());
    assert!(with(&[program, program]).is_err());
    let evidence = Evidence::cosign(id, cosignature(1), &other_key())
        .unwrap()
        .encode();
    let evidence: Vec<u8> = [&[0x82, 1][..], &evidence].concat();
    assert!(with(&[&evidence, program]).is_ok());
    assert!(with(&[program, &evidence]).is_err());
    assert!(with(&[&[0x82, 9, 0]]).is_err());
    assert!(with(&[&[0x83, 2, 0x41, 0, 0]]).is_err());

    for at in 0..MAX_EVIDENCE as u64 {
        file.add_evidence(Evidence::cosign(id, cosignature(at), &other_key()).unwrap())
            .unwrap();
    }
    let one_more = Evidence::cosign(id, cosignature(99), &other_key()).unwrap();
    assert_eq!(file.add_evidence(one_more), Err(AddError::Full));
}
