//! The receipt file and its evidence.

mod common;

use carat_receipt::evidence::{Attestation, Body, Cosignature, Hides, Proof, Replay};
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
                hides: Hides::default(),
                profile: label("example"),
                weights_root: Digest::sha256(b"root"),
                statements: vec![Digest::sha256(b"another"), id],
                bits: 100,
                proof: vec![3; 1000],
            }),
        },
    ];
    for item in items.into_iter().chain([proof("zk", BOTH, vec![id])]) {
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

/// A proof of the protocol whose modes are closed.
fn proof(mode: &str, hides: Hides, statements: Vec<Digest>) -> Evidence {
    Evidence {
        statement: statements[0],
        body: Body::Proof(Proof {
            protocol: label("carat/zk/v1"),
            mode: label(mode),
            hides,
            profile: label("proven-100"),
            weights_root: Digest::sha256(b"root"),
            statements,
            bits: 100,
            proof: vec![3; 9],
        }),
    }
}

const NOTHING: Hides = Hides {
    values: false,
    weights: false,
};
const VALUES: Hides = Hides {
    values: true,
    weights: false,
};
const WEIGHTS: Hides = Hides {
    values: false,
    weights: true,
};
const BOTH: Hides = Hides {
    values: true,
    weights: true,
};

#[test]
fn a_proof_says_what_it_hides_in_one_way() {
    let id = Digest::sha256(b"id");
    // Nothing is written where nothing more is hidden: the bytes of a proof from before there were any that hide.
    let old = proof("succinct", NOTHING, vec![id]).encode();
    assert_eq!(old[36..38], [0x87, 0x6b]);
    assert_eq!(old[old.len() - 10..], [0x49, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
    let plain = proof("zk", NOTHING, vec![id]).encode();
    for (hides, end) in [
        (VALUES, &[0x81, 1][..]),
        (WEIGHTS, &[0x81, 2]),
        (BOTH, &[0x82, 1, 2]),
    ] {
        let item = proof("zk", hides, vec![id]);
        let bytes = item.encode();
        assert_eq!(bytes[36], 0x88);
        assert_eq!(bytes[37..], [&plain[37..], end].concat());
        assert_eq!(Evidence::decode(&bytes).unwrap(), item);
    }
    for item in [old, plain] {
        assert_eq!(Evidence::decode(&item).unwrap().encode(), item);
    }
}

#[test]
fn what_a_proof_cannot_hide_is_refused() {
    let (id, other) = (Digest::sha256(b"id"), Digest::sha256(b"other"));
    let refused = |bytes: &[u8], why: &str| {
        let error = Evidence::decode(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    for mode in ["zq", "ZK", "zkk", "zero-knowledge"] {
        refused(&proof(mode, NOTHING, vec![id]).encode(), "mode");
    }
    for hides in [VALUES, WEIGHTS, BOTH] {
        refused(
            &proof("succinct", hides, vec![id]).encode(),
            "hides nothing",
        );
    }
    for hides in [VALUES, BOTH] {
        refused(
            &proof("zk", hides, vec![id, other]).encode(),
            "one Statement",
        );
    }
    // Others may cover many.
    for hides in [NOTHING, WEIGHTS] {
        Evidence::decode(&proof("zk", hides, vec![id, other]).encode()).unwrap();
    }
    // An empty list, codes out of order, twice, or unknown.
    let mut bytes = proof("zk", VALUES, vec![id]).encode();
    bytes.truncate(bytes.len() - 2);
    for end in [
        &[0x80][..],
        &[0x82, 2, 1],
        &[0x82, 1, 1],
        &[0x81, 0],
        &[0x81, 3],
        &[0x83, 1, 2, 3],
        &[1],
        &[],
    ] {
        Evidence::decode(&[&bytes[..], end].concat()).unwrap_err();
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
    assert_eq!(whole.len(), 7);
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
