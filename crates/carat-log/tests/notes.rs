//! Notes, checkpoints, cosignatures, proofs and promises: foreign vectors, an
//! independent implementation, and every byte changed.

use carat_log::{
    BrokenPromise, Checkpoint, CheckpointError, Hash, KeyKind, MAX_SIGNATURES, MemoryTree,
    NoteError, NoteSigner, Promise, PromiseError, SignedCheckpoint, SignedNote, SignedPromise,
    TlogProof, TlogProofError, VerifierKey, find_equivocation, leaf_hash,
};

// Key, text and signature of golang.org/x/mod/sumdb/note.
const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

const ORIGIN: &str = "log.example/receipts";
const T0: u64 = 1_767_000_000;

fn signer() -> NoteSigner {
    NoteSigner::new(ORIGIN, &[1; 32]).expect("good name")
}

fn witness(name: &str, seed: u8) -> (NoteSigner, VerifierKey) {
    let signer = NoteSigner::new(name, &[seed; 32]).expect("good name");
    let key = signer.verifier().with_kind(KeyKind::CosignatureV1);
    (signer, key)
}

fn checkpoint(size: u64, root: Hash) -> SignedCheckpoint {
    SignedCheckpoint::sign(
        Checkpoint::new(ORIGIN, size, root).expect("good"),
        &signer(),
    )
    .expect("signs")
}

fn tree() -> MemoryTree {
    MemoryTree::from_leaves([b"a".as_slice(), b"b", b"c", b"d", b"e"])
}

fn tlog_proof(index: u64) -> TlogProof {
    let tree = tree();
    TlogProof {
        extra: None,
        index,
        path: tree.prove_inclusion(index, 5).expect("in range").path,
        checkpoint: checkpoint(5, tree.root(5).expect("in range")),
    }
}

fn promise() -> SignedPromise {
    let promise = Promise {
        origin: signer().name().clone(),
        index: 2,
        leaf: leaf_hash(b"c"),
        time: T0,
        include_by: T0 + 60,
    };
    SignedPromise::sign(promise, &signer()).expect("signs")
}

#[test]
fn go_note_verifies() {
    let key = VerifierKey::from_vkey(GO_VKEY).expect("Go's key");
    assert_eq!(key.to_vkey().as_deref(), Some(GO_VKEY));
    let note = SignedNote::parse(GO_NOTE.as_bytes()).expect("Go's note");
    assert_eq!(note.verify(&key), Ok(()));
    assert_eq!(note.to_text(), GO_NOTE);
}

/// The example checkpoint and cosignature of C2SP `tlog-cosignature`. The
/// specification publishes no keys, so only the shape is checked.
#[test]
fn c2sp_example_parses() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let signed = SignedCheckpoint::parse(text.as_bytes()).expect("example");
    assert_eq!(signed.unverified().size(), 20_852_163);
    assert_eq!(signed.unverified().origin(), "example.com/behind-the-sofa");
    assert_eq!(signed.to_text(), text);
    // The time inside is the one that the specification's text names.
    let line = &signed.note().signatures()[1].signature;
    assert_eq!(line[..8], 1_679_315_147u64.to_be_bytes());
    assert_eq!(line.len(), 72);
}

/// `signed_note` and `tlog_tiles` read what we sign, and we read what they sign.
#[test]
fn agrees_with_signed_note() {
    let signed = checkpoint(5, tree().root(5).expect("in range"));
    let vkey = signer().verifier().to_vkey().expect("plain key");
    let theirs = signed_note::StandardVerifier::new(&vkey).expect("oracle reads our key");
    let note =
        signed_note::Note::from_bytes(signed.to_text().as_bytes()).expect("oracle reads our note");
    let list = signed_note::VerifierList::new(vec![Box::new(theirs)]);
    let (verified, unverified) = note.verify(&list).expect("oracle verifies");
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let parsed =
        tlog_tiles::Checkpoint::from_bytes(note.text()).expect("oracle reads our checkpoint");
    assert_eq!(parsed.origin(), ORIGIN);
    assert_eq!(parsed.size(), 5);
    assert_eq!(parsed.hash().0, *signed.unverified().root().as_bytes());

    let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let text = b"PeterNeumann\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let mut note = signed_note::Note::new(text, &[]).expect("oracle");
    note.add_sigs(&[&signed_note::StandardSigner::new(skey).expect("oracle")])
        .expect("oracle signs");
    let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("we read theirs");
    let key = VerifierKey::from_vkey(GO_VKEY).expect("Go's key");
    assert_eq!(signed.verify(&key).expect("we verify theirs").size(), 5);
}

#[test]
fn vkeys_are_checked() {
    for bad in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumanN+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(VerifierKey::from_vkey(bad).is_err(), "{bad}");
    }
    // The identity point: for it, every message has a valid signature.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert!(VerifierKey::new("x", KeyKind::Ed25519, &weak).is_err());
}

#[test]
fn malformed_notes() {
    let sig = GO_NOTE.rsplit_once("\n\n").expect("has a blank line").1;
    let cases: &[(String, &str)] = &[
        (String::new(), "empty"),
        ("text\n".into(), "no signatures"),
        ("text\n\n".into(), "no signature lines"),
        (format!("text\n\n{}", sig.trim_end()), "no final newline"),
        (format!("text\n{sig}"), "no blank line"),
        (format!("te\txt\n\n{sig}"), "control character"),
        (format!("te\rxt\n\n{sig}"), "carriage return"),
        (format!("text\n\n{}", sig.replace('—', "-")), "hyphen"),
        (
            format!("text\n\n{}", sig.replace("— ", "—  ")),
            "two spaces",
        ),
        (
            format!("text\n\n{}", sig.replace("AM=", "AM")),
            "no padding",
        ),
        (
            format!("text\n\n{}", sig.replace("AM=", "AN=")),
            "second spelling of the last bits",
        ),
        ("text\n\n— name AAAA\n".into(), "only three bytes"),
        ("text\n\n— na+me AAAAAAAA\n".into(), "plus in the name"),
        (
            format!("text\n\n{}", sig.repeat(MAX_SIGNATURES + 1)),
            "too many signatures",
        ),
    ];
    for (text, why) in cases {
        assert!(SignedNote::parse(text.as_bytes()).is_err(), "{why}");
    }
    assert!(SignedNote::parse(b"\xff\n\n").is_err());
    assert!(
        SignedNote::parse(format!("text\n\n{}", sig.repeat(16)).as_bytes()).is_ok(),
        "16 must do"
    );
    // A text may have blank lines: the last one ends it.
    assert_eq!(
        SignedNote::parse(format!("a\n\nb\n\n{sig}").as_bytes())
            .expect("ok")
            .text(),
        "a\n\nb\n"
    );
}

#[test]
fn malformed_checkpoints() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    assert!(Checkpoint::parse(&format!("o\n0\n{root}\n")).is_ok());
    let extended = format!("o\n{}\n{root}\nmore\n", u64::MAX);
    assert_eq!(
        Checkpoint::parse(&extended).expect("extension").to_text(),
        extended
    );
    for bad in [
        String::new(),
        "o\n".into(),
        format!("o\n5\n{root}"),
        format!("\n5\n{root}\n"),
        format!("o\n05\n{root}\n"),
        format!("o\n+5\n{root}\n"),
        format!("o\n-5\n{root}\n"),
        format!("o\n\n{root}\n"),
        format!("o\n5 \n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        "o\n5\nAAAA\n".into(),
        format!("o\n5\n{root}\n\n"),
        format!("o\n5\n{root}\n\nmore\n"),
        format!("o\n5\n{root} \n"),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn checkpoint_is_bound_to_key_and_origin() {
    let signed = checkpoint(5, tree().root(5).expect("in range"));
    let other_key = NoteSigner::new(ORIGIN, &[2; 32]).expect("good").verifier();
    assert!(matches!(
        signed.verify(&other_key),
        Err(CheckpointError::Note(NoteError::NotSigned { .. }))
    ));
    let other_name = NoteSigner::new("log.example/other", &[1; 32]).expect("good");
    assert!(matches!(
        signed.verify(&other_name.verifier()),
        Err(CheckpointError::WrongOrigin { .. })
    ));
    assert!(matches!(
        signed.verify(&signer().verifier().with_kind(KeyKind::CosignatureV1)),
        Err(CheckpointError::Note(NoteError::WrongKeyKind { .. }))
    ));
    let foreign = Checkpoint::new(ORIGIN, 5, leaf_hash(b"")).expect("good");
    assert!(matches!(
        SignedCheckpoint::sign(foreign, &other_name),
        Err(CheckpointError::WrongOrigin { .. })
    ));
}

#[test]
fn cosignatures_count_keys_once() {
    let (one, one_key) = witness("w.example/1", 11);
    let (two, two_key) = witness("w.example/2", 12);
    let (alias, alias_key) = witness("w.example/alias-of-1", 11);
    let mut signed = checkpoint(5, tree().root(5).expect("in range"));
    signed.cosign(&one, T0).expect("room");
    signed.cosign(&two, T0 + 5).expect("room");
    signed.cosign(&alias, T0 - 5).expect("room");
    signed
        .cosign(&two, T0 + 5)
        .expect("the same line again is no new line");
    assert_eq!(signed.note().signatures().len(), 4);

    let reread = SignedCheckpoint::parse(signed.to_text().as_bytes()).expect("own text");
    assert_eq!(reread, signed);
    reread
        .verify(&signer().verifier())
        .expect("cosignatures do not disturb the log's");
    let found = reread
        .cosignatures(&[one_key.clone(), two_key, alias_key])
        .expect("all good");
    let found: Vec<_> = found.iter().map(|c| (c.witness.as_str(), c.time)).collect();
    assert_eq!(found, [("w.example/1", T0 - 5), ("w.example/2", T0 + 5)]);

    // Lines by unknown keys are ignored; none of ours means none found.
    let (_, stranger) = witness("w.example/3", 13);
    assert_eq!(
        reread
            .cosignatures(&[stranger])
            .expect("nothing wrong")
            .len(),
        0
    );
    // A plain note key is no witness.
    assert!(reread.cosignatures(&[signer().verifier()]).is_err());

    // A cosignature does not carry over to another checkpoint of the log.
    let text = signed.to_text();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("— w.example/1"))
        .collect();
    let moved = format!("{}{}\n", checkpoint(4, leaf_hash(b"x")).to_text(), lines[0]);
    let moved = SignedCheckpoint::parse(moved.as_bytes()).expect("well formed");
    assert!(matches!(
        moved.cosignatures(&[one_key]),
        Err(CheckpointError::BadCosignature { .. })
    ));
    assert!(signed.cosign(&one, u64::MAX).is_err());
}

/// Flips every bit of every byte of a text: it must then be refused, or not
/// claim to be from that key any more.
fn every_bit(text: &str, accepted: impl Fn(&[u8]) -> bool) {
    assert!(accepted(text.as_bytes()), "the original is good");
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            assert!(
                !accepted(&bytes),
                "bit {bit} of byte {at} was flipped: {}",
                String::from_utf8_lossy(&bytes)
            );
        }
        assert!(!accepted(&text.as_bytes()[..at]), "cut at {at}");
    }
}

#[test]
fn every_bit_of_a_checkpoint_counts() {
    let text = checkpoint(5, tree().root(5).expect("in range")).to_text();
    every_bit(&text, |bytes| {
        SignedCheckpoint::parse(bytes)
            .is_ok_and(|signed| signed.verify(&signer().verifier()).is_ok())
    });
}

#[test]
fn every_bit_of_a_proof_counts() {
    let text = tlog_proof(3).to_text();
    every_bit(&text, |bytes| {
        TlogProof::parse(bytes)
            .is_ok_and(|proof| proof.verify(leaf_hash(b"d"), &signer().verifier()).is_ok())
    });
}

#[test]
fn every_bit_of_a_promise_counts() {
    every_bit(&promise().to_text(), |bytes| {
        SignedPromise::parse(bytes).is_ok_and(|promise| {
            promise
                .verify(leaf_hash(b"c"), &signer().verifier())
                .is_ok()
        })
    });
}

#[test]
fn tlog_proof_round_trip() {
    for extra in [None, Some(b"context".to_vec()), Some(Vec::new())] {
        for index in 0..5 {
            let proof = TlogProof {
                extra: extra.clone(),
                ..tlog_proof(index)
            };
            let text = proof.to_text();
            assert_eq!(TlogProof::parse(text.as_bytes()).as_ref(), Ok(&proof));
            let leaf = leaf_hash(&[b'a' + index as u8]);
            assert_eq!(
                proof
                    .verify(leaf, &signer().verifier())
                    .expect("holds")
                    .size(),
                5
            );
            assert!(matches!(
                proof.verify(leaf_hash(b"other"), &signer().verifier()),
                Err(TlogProofError::Proof(_))
            ));
        }
    }
    assert!(
        tlog_proof(0)
            .to_text()
            .starts_with("c2sp.org/tlog-proof@v1\nindex 0\n")
    );
}

#[test]
fn malformed_tlog_proofs() {
    let good = tlog_proof(1).to_text();
    let path_line = good.lines().nth(2).expect("has a path").to_string();
    for (bad, why) in [
        (good.replace("@v1", "@v2"), "version"),
        (good.replace("index 1", "index 01"), "leading zero"),
        (good.replace("index 1\n", ""), "no index"),
        (
            good.replace("index 1", "extra\nindex 1"),
            "extra without data",
        ),
        (
            good.replace("index 1", "extra AA\nindex 1"),
            "extra not base64",
        ),
        (
            good.replace("index 1", "extra AAAA\nextra AAAA\nindex 1"),
            "two extras",
        ),
        (good.replacen("\n\n", "\n", 1), "no blank line"),
        (
            good.replace(&path_line, &format!("{path_line}\n").repeat(70)),
            "long path",
        ),
        (good.replace(&path_line, "AAAA"), "short hash"),
    ] {
        assert_ne!(bad, good, "{why}");
        assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{why}");
    }
}

#[test]
fn equivocation_is_found_and_printed() {
    let key = signer().verifier();
    let (a, b) = (
        checkpoint(5, leaf_hash(b"a")),
        checkpoint(5, leaf_hash(b"b")),
    );
    let found = find_equivocation(&a, &b, &key)
        .expect("both signed")
        .expect("they differ");
    let printed = found.to_string();
    assert!(
        printed.contains(&a.to_text()) && printed.contains(&b.to_text()),
        "{printed}"
    );
    assert!(
        printed.contains(ORIGIN) && printed.contains("5 leaves"),
        "{printed}"
    );

    assert_eq!(find_equivocation(&a, &a, &key), Ok(None));
    assert_eq!(
        find_equivocation(&a, &checkpoint(6, leaf_hash(b"b")), &key),
        Ok(None)
    );
    // Signed by someone else: no evidence against this log.
    let forger = NoteSigner::new(ORIGIN, &[9; 32]).expect("good");
    let forged = Checkpoint::new(ORIGIN, 5, leaf_hash(b"b")).expect("good");
    let forged = SignedCheckpoint::sign(forged, &forger).expect("signs");
    assert!(find_equivocation(&a, &forged, &key).is_err());
}

#[test]
fn promise_is_kept_or_broken() {
    let (key, promise) = (signer().verifier(), promise());
    assert_eq!(
        SignedPromise::parse(promise.to_text().as_bytes()).as_ref(),
        Ok(&promise)
    );
    assert_eq!(
        promise.verify(leaf_hash(b"c"), &key).expect("signed").index,
        2
    );
    assert!(matches!(
        promise.verify(leaf_hash(b"d"), &key),
        Err(PromiseError::OtherLeaf { .. })
    ));
    assert_eq!(
        promise
            .verify_kept(&tlog_proof(2), &key)
            .expect("kept")
            .size(),
        5
    );
    assert!(matches!(
        promise.verify_kept(&tlog_proof(3), &key),
        Err(PromiseError::OtherIndex { .. })
    ));
    assert_eq!(
        BrokenPromise::find(&promise, leaf_hash(b"c"), &tlog_proof(2), &key),
        Ok(None)
    );
    assert_eq!(
        BrokenPromise::find(&promise, leaf_hash(b"d"), &tlog_proof(3), &key),
        Ok(None)
    );

    // The log puts another leaf where it promised ours.
    let cheating = MemoryTree::from_leaves([b"a".as_slice(), b"b", b"X"]);
    let proof = TlogProof {
        extra: None,
        index: 2,
        path: cheating.prove_inclusion(2, 3).expect("in range").path,
        checkpoint: checkpoint(3, cheating.root(3).expect("in range")),
    };
    assert!(matches!(
        promise.verify_kept(&proof, &key),
        Err(PromiseError::Proof(_))
    ));
    let broken = BrokenPromise::find(&promise, leaf_hash(b"X"), &proof, &key)
        .expect("signed")
        .expect("broken");
    assert!(broken.to_string().contains(&promise.to_text()));
    // A claimed leaf that is not in the tree proves nothing.
    assert!(BrokenPromise::find(&promise, leaf_hash(b"Y"), &proof, &key).is_err());
}

/// One key signs checkpoints and promises: neither may pass for the other.
#[test]
fn promises_and_checkpoints_are_apart() {
    let promise = promise().to_text();
    assert!(SignedCheckpoint::parse(promise.as_bytes()).is_err());
    assert!(
        SignedNote::parse(promise.as_bytes())
            .expect("a note")
            .verify(&signer().verifier())
            .is_err()
    );
    let checkpoint = checkpoint(5, leaf_hash(b"a")).to_text();
    assert!(SignedPromise::parse(checkpoint.as_bytes()).is_err());
    // Signed as a plain note, a promise's text is no promise.
    let text = promise
        .rsplit_once("\n\n")
        .expect("has a blank line")
        .0
        .to_owned()
        + "\n";
    let plain = signer().sign(&text).expect("signs").to_text();
    let plain = SignedPromise::parse(plain.as_bytes()).expect("well formed");
    assert!(plain.verify_signature(&signer().verifier()).is_err());
    // Two promises of time travel.
    let mut early = plain.unverified().clone();
    early.include_by = early.time - 1;
    assert!(SignedPromise::sign(early, &signer()).is_err());
}
