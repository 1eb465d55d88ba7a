//! The log on disk: appending, publishing, proving, reopening, refusing.
#![cfg(all(feature = "store", unix))]

use carat_log::store::{Log, Options, StoreError};
use carat_log::{
    Hash, KeyKind, MAX_LEAF_BYTES, MemoryTree, NoteSigner, SignedCheckpoint, TreeError, leaf_hash,
};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn signer() -> NoteSigner {
    NoteSigner::new("log.example/receipts", &[1; 32]).expect("good name")
}

fn open(dir: &Path) -> Log {
    Log::open_or_create(dir, signer(), Options::default()).expect("opens")
}

fn leaf(i: u64) -> Vec<u8> {
    // Lengths from 8 to 71 bytes, so that bundles are not regular.
    let mut leaf = i.to_be_bytes().to_vec();
    leaf.extend(vec![i as u8; (i * 7 % 64) as usize]);
    leaf
}

fn model(count: u64) -> MemoryTree {
    let mut tree = MemoryTree::new();
    (0..count).for_each(|i| tree.push(leaf_hash(&leaf(i))));
    tree
}

#[test]
fn appends_publishes_proves_and_reopens() {
    let dir = TempDir::new().expect("temporary directory");
    // Through tile boundaries on two levels, in uneven steps.
    let steps = [1, 1, 3, 250, 1, 1, 5, 300, 66_000, 7];
    let total: u64 = steps.iter().sum();
    let tree = model(total);
    let mut next = 0;
    let mut checkpoints: Vec<SignedCheckpoint> = Vec::new();
    for step in steps {
        let log = open(dir.path());
        assert_eq!(log.len(), next);
        let leaves: Vec<_> = (next..next + step).map(leaf).collect();
        for chunk in leaves.chunks(1000) {
            let range = log.append_batch(chunk).expect("appends");
            assert_eq!(range, next..next + chunk.len() as u64);
            next = range.end;
        }
        let pending = next - 1;
        assert!(matches!(
            log.tlog_proof(pending),
            Err(StoreError::Pending { .. })
        ));
        assert_eq!(log.leaf(pending).expect("pending"), leaf(pending));
        let signed = log.publish().expect("publishes");
        let checkpoint = signed.verify(&log.verifier()).expect("signed");
        assert_eq!(checkpoint.size(), next);
        assert_eq!(
            checkpoint.root(),
            tree.root(next).expect("in range"),
            "size {next}"
        );
        for old in &checkpoints {
            let old = old.verify(&log.verifier()).expect("signed");
            let proof = log.consistency_proof(old.size(), next).expect("proves");
            assert_eq!(proof.verify(&old, &checkpoint), Ok(()));
        }
        checkpoints.push(signed);
    }
    let log = open(dir.path());
    let checkpoint = log.checkpoint().verify(&log.verifier()).expect("signed");
    assert_eq!(checkpoint.size(), total);
    for index in (0..total)
        .step_by(997)
        .chain([0, 255, 256, 65_535, 65_536, total - 1])
    {
        assert_eq!(log.leaf(index).expect("published"), leaf(index));
        let proof = log.tlog_proof(index).expect("proves");
        proof
            .verify(leaf_hash(&leaf(index)), &log.verifier())
            .expect("holds");
        assert_eq!(log.index_of(leaf_hash(&leaf(index))).expect("known"), index);
        for size in [index + 1, index + 1 + (total - index - 1) / 2, total] {
            let ours = log.inclusion_proof(index, size).expect("proves");
            assert_eq!(Ok(ours), tree.prove_inclusion(index, size));
        }
    }
    for from in [0, 1, 255, 256, 257, 65_536, total] {
        for to in [from, (from + total) / 2, total] {
            assert_eq!(
                Ok(log.consistency_proof(from, to).expect("proves")),
                tree.prove_consistency(from, to)
            );
        }
    }
    assert!(matches!(
        log.inclusion_proof(5, 5),
        Err(StoreError::Tree(TreeError::NoSuchLeaf { .. }))
    ));
    assert!(matches!(log.tlog_proof(total), Err(StoreError::Tree(_))));
    assert!(matches!(log.root(total + 1), Err(StoreError::Tree(_))));
    assert!(matches!(
        log.index_of(Hash::new([0; 32])),
        Err(StoreError::UnknownLeaf { .. })
    ));
}

#[test]
fn pending_entries_survive_reopening() {
    let dir = TempDir::new().expect("temporary directory");
    for round in 0..5 {
        let log = open(dir.path());
        assert_eq!(log.len(), round * 3);
        for i in 0..3 {
            assert_eq!(
                log.append(&leaf(round * 3 + i)).expect("appends"),
                round * 3 + i
            );
        }
        assert_eq!(log.checkpoint().unverified().size(), 0);
        assert_eq!(
            log.index_of(leaf_hash(&leaf(1)))
                .expect("pending, but known"),
            1
        );
    }
    let log = open(dir.path());
    assert_eq!(
        log.publish().expect("publishes").unverified().root(),
        model(15).root(15).expect("in range")
    );
    // Nothing new: the same checkpoint, and no syncs.
    let before = log.stats();
    assert_eq!(log.publish().expect("same"), log.checkpoint());
    assert_eq!(log.stats(), before);
}

#[test]
fn many_threads() {
    let dir = TempDir::new().expect("temporary directory");
    let log = open(dir.path());
    let (threads, each) = (8u64, 200u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let log = &log;
            scope.spawn(move || {
                for i in 0..each {
                    let leaf = [thread.to_be_bytes(), i.to_be_bytes()].concat();
                    let index = log.append(&leaf).expect("appends");
                    assert_eq!(log.leaf(index).expect("there"), leaf);
                    if i % 50 == 0 {
                        let size = log.publish().expect("publishes").unverified().size();
                        assert!(size > index, "a checkpoint after the append covers it");
                        log.tlog_proof(index)
                            .expect("proves")
                            .verify(leaf_hash(&leaf), &log.verifier())
                            .expect("holds");
                    }
                }
            });
        }
    });
    assert_eq!(log.len(), threads * each);
    let syncs = log.stats().syncs;
    assert!(syncs < threads * each, "{syncs} syncs: groups did not form");
    for thread in 0..threads {
        for i in 0..each {
            let leaf = [thread.to_be_bytes(), i.to_be_bytes()].concat();
            let index = log.index_of(leaf_hash(&leaf)).expect("known");
            assert_eq!(log.leaf(index).expect("there"), leaf);
        }
    }
}

/// Limits hold: a log with room for few pending entries publishes by itself.
#[test]
fn pending_entries_are_bounded() {
    let dir = TempDir::new().expect("temporary directory");
    let mut options = Options::default();
    options.max_pending_entries = 10;
    options.max_batch_bytes = 1000;
    options.segment_bytes = 200;
    let log = Log::create(dir.path(), signer(), options).expect("creates");
    for i in 0..600 {
        log.append(&leaf(i)).expect("appends");
        let stats = log.stats();
        assert!(stats.entries - stats.published <= 10, "{stats:?}");
    }
    assert!(
        fs::read_dir(dir.path().join("journal"))
            .expect("there")
            .count()
            <= 3,
        "old segments are removed"
    );
    let stale = ["tile/0/000.p", "tile/entries/000.p"].map(|path| dir.path().join(path));
    assert!(
        stale.iter().all(|path| !path.exists()),
        "partial tiles of full ones are removed"
    );
    assert!(matches!(
        log.append_batch(&[b"x"; 11]),
        Err(StoreError::BatchTooLarge {
            limit: 10,
            key: "max_pending_entries",
            ..
        })
    ));
    assert!(matches!(
        log.append_batch(&[vec![0; 600], vec![0; 600]]),
        Err(StoreError::BatchTooLarge {
            limit: 1000,
            key: "max_batch_bytes",
            ..
        })
    ));
    assert!(matches!(
        log.append(&vec![0; MAX_LEAF_BYTES + 1]),
        Err(StoreError::LeafTooLarge { .. })
    ));
    drop(log);
    let log = open(dir.path());
    assert_eq!(
        log.append_batch(&[vec![0; MAX_LEAF_BYTES], Vec::new()])
            .expect("longest and shortest"),
        600..602
    );
    log.publish().expect("publishes");
    assert_eq!(log.leaf(600).expect("there").len(), MAX_LEAF_BYTES);
    assert_eq!(log.append_batch(&[[0u8; 0]; 0]).expect("nothing"), 602..602);
}

#[test]
fn one_writer_at_a_time() {
    let dir = TempDir::new().expect("temporary directory");
    let log = open(dir.path());
    assert!(matches!(
        Log::open(dir.path(), signer(), Options::default()),
        Err(StoreError::Locked { .. })
    ));
    drop(log);
    open(dir.path());
}

#[test]
fn wrong_key_and_wrong_place() {
    let dir = TempDir::new().expect("temporary directory");
    let empty = dir.path().join("missing");
    assert!(matches!(
        Log::open(&empty, signer(), Options::default()),
        Err(StoreError::NotALog { .. })
    ));
    open(dir.path()).append(b"x").expect("appends");
    for other in [("log.example/receipts", 2), ("log.example/other", 1)] {
        let other = NoteSigner::new(other.0, &[other.1; 32]).expect("good");
        let refused = Log::open(dir.path(), other, Options::default());
        assert!(
            matches!(refused, Err(StoreError::WrongKey { .. })),
            "{refused:?}"
        );
    }
    let create = Log::create(dir.path(), signer(), Options::default());
    assert!(matches!(create, Err(StoreError::NotEmpty { .. })));
    let taken = TempDir::new().expect("temporary directory");
    fs::write(taken.path().join("thesis.txt"), "mine").expect("writes");
    assert!(matches!(
        Log::create(taken.path(), signer(), Options::default()),
        Err(StoreError::NotEmpty { .. })
    ));
    assert_eq!(
        fs::read_dir(taken.path()).expect("there").count(),
        1,
        "nothing was put there"
    );
}

/// Damage that would lose acknowledged entries, or sign another history, is
/// refused with the file's name; nothing is changed.
#[test]
fn damage_is_refused() {
    let original = TempDir::new().expect("temporary directory");
    let log = open(original.path());
    for i in 0..300 {
        log.append(&leaf(i)).expect("appends");
    }
    log.publish().expect("publishes");
    for i in 300..310 {
        log.append(&leaf(i)).expect("appends");
    }
    drop(log);
    let journal = fs::read_dir(original.path().join("journal"))
        .expect("there")
        .next()
        .expect("one")
        .expect("entry");
    let journal = format!("journal/{}", journal.file_name().to_string_lossy());

    type Damage = fn(&Path);
    let flip: Damage = |path| {
        let mut bytes = fs::read(path).expect("reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("writes");
    };
    let cut: Damage = |path| {
        let bytes = fs::read(path).expect("reads");
        fs::write(path, &bytes[..bytes.len() - 1]).expect("writes");
    };
    let remove: Damage = |path| fs::remove_file(path).expect("removes");
    for (file, damage) in [
        ("tile/0/001.p/44", flip),
        ("tile/0/001.p/44", cut),
        ("tile/0/001.p/44", remove),
        ("tile/1/000.p/1", flip),
        ("tile/entries/001.p/44", flip),
        ("tile/entries/001.p/44", cut),
        ("tile/entries/001.p/44", remove),
        (journal.as_str(), flip),
        (journal.as_str(), remove),
        ("checkpoint", flip),
    ] {
        let copy = TempDir::new().expect("temporary directory");
        copy_dir(original.path(), copy.path());
        damage(&copy.path().join(file));
        let refused = Log::open(copy.path(), signer(), Options::default());
        let named = match &refused {
            Err(StoreError::Corrupt { path, .. } | StoreError::WrongKey { path, .. }) => path,
            _ => panic!("{file}: {refused:?}"),
        };
        assert!(named.starts_with(copy.path()), "{refused:?}");
    }
    // A full tile is not read at opening; a proof through it is refused.
    flip(&original.path().join("tile/0/000"));
    let log = open(original.path());
    assert!(matches!(
        log.inclusion_proof(3, 300),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(log.inclusion_proof(280, 300).is_ok());
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

#[test]
fn promises_and_cosignatures() {
    let dir = TempDir::new().expect("temporary directory");
    let log = open(dir.path());
    let index = log.append(b"a leaf").expect("appends");
    let promise = log
        .promise(index, 1_767_000_000, 1_767_000_060)
        .expect("durable");
    promise
        .verify(leaf_hash(b"a leaf"), &log.verifier())
        .expect("signed");
    assert!(matches!(
        log.promise(index + 1, 0, 0),
        Err(StoreError::Tree(_))
    ));
    assert!(matches!(
        log.promise(index, 2, 1),
        Err(StoreError::Promise(_))
    ));
    log.publish().expect("publishes");
    promise
        .verify_kept(&log.tlog_proof(index).expect("proves"), &log.verifier())
        .expect("kept");

    let witness = NoteSigner::new("witness.example/1", &[3; 32]).expect("good");
    let key = witness.verifier().with_kind(KeyKind::CosignatureV1);
    let mut cosigned = log.checkpoint();
    cosigned.cosign(&witness, 1_767_000_030).expect("room");
    log.set_cosigned(cosigned.clone())
        .expect("the last checkpoint");
    assert_eq!(
        log.tlog_proof(0)
            .expect("proves")
            .checkpoint
            .cosignatures(&[key])
            .expect("good")
            .len(),
        1
    );
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.checkpoint(), cosigned, "cosignatures survive reopening");
    log.append(b"another").expect("appends");
    log.publish().expect("publishes");
    assert!(log.set_cosigned(cosigned).is_err(), "no longer the last");
}
