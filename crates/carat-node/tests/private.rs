//! The count of proofs that hide the values under one commitment.

use carat_node::exit::Exit;
use carat_node::home::Home;
use carat_node::private::{Spent, count_one, remember};
use carat_receipt::evidence::{Body, Evidence, Hides, Proof, ZK, ZK_PROTOCOL};
use carat_receipt::{Digest, Label, ReceiptFile};
use carat_verify::MAX_PRIVATE_PROOFS;

fn receipt(proofs: u8) -> ReceiptFile {
    let bytes = include_bytes!("../../carat-verify/tests/fixtures/signature.carat");
    let mut file = ReceiptFile::decode(bytes).unwrap();
    let statement = file.receipt_id();
    for i in 0..proofs {
        let body = Body::Proof(Proof {
            protocol: Label::new(ZK_PROTOCOL).unwrap(),
            mode: Label::new(ZK).unwrap(),
            hides: Hides {
                values: true,
                weights: false,
            },
            profile: Label::new("proven-100").unwrap(),
            weights_root: statement,
            statements: vec![statement],
            bits: 100,
            proof: vec![i],
        });
        file.add_evidence(Evidence { statement, body }).unwrap();
    }
    file
}

#[test]
fn three_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("home"));
    let (one, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
    for n in 1..=MAX_PRIVATE_PROOFS {
        assert_eq!(count_one(&home, &one, &receipt(0)).unwrap(), n);
    }
    let refused = count_one(&home, &one, &receipt(0)).unwrap_err();
    assert_eq!(refused.exit, Exit::Refused);
    assert_eq!(refused.message, Spent.to_string());
    // Each commitment has its own count, and what is in the receipt already counts, wherever it was made.
    assert_eq!(count_one(&home, &other, &receipt(2)).unwrap(), 3);
    assert_eq!(
        count_one(&home, &Digest::sha256(b"third"), &receipt(3))
            .unwrap_err()
            .exit,
        Exit::Refused
    );
    // Proofs that were made here and did not get into this copy, and those of others that are in it, are different ones.
    let mixed = Digest::sha256(b"mixed");
    assert_eq!(count_one(&home, &mixed, &receipt(0)).unwrap(), 1);
    let made = receipt(3).evidence().last().unwrap().clone();
    remember(&home, &mixed, &made).unwrap();
    assert_eq!(count_one(&home, &mixed, &receipt(1)).unwrap(), 3);
    assert_eq!(
        count_one(&home, &mixed, &receipt(1)).unwrap_err().exit,
        Exit::Refused
    );
    // One's own is not counted again where it is found, nor is anybody's that was seen.
    let seen = Digest::sha256(b"seen");
    for n in 1..=2 {
        let count = count_one(&home, &seen, &receipt(n - 1)).unwrap();
        assert_eq!(count, usize::from(n));
        let made = receipt(n).evidence().last().unwrap().clone();
        remember(&home, &seen, &made).unwrap();
    }
    assert_eq!(count_one(&home, &seen, &receipt(2)).unwrap(), 3);
    // A count that cannot be read is not taken for none.
    std::fs::write(home.path("private-proofs").join(one.to_string()), "x").unwrap();
    assert_eq!(
        count_one(&home, &one, &receipt(0)).unwrap_err().exit,
        Exit::Store
    );
}
