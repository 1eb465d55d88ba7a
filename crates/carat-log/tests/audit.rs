//! The audit finds each kind of damage and lie, and nothing in a good log.
#![cfg(all(feature = "store", unix))]

use carat_log::store::{AuditReport, Log, Options, audit};
use carat_log::{Checkpoint, NoteSigner, SignedCheckpoint, leaf_hash};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const ENTRIES: u64 = 600;

fn signer() -> NoteSigner {
    NoteSigner::new("log.example/audit", &[1; 32]).expect("good name")
}

fn build(dir: &Path, leaf: impl Fn(u64) -> Vec<u8>) -> (SignedCheckpoint, SignedCheckpoint) {
    let log = Log::create(dir, signer(), Options::default()).expect("creates");
    let leaves: Vec<_> = (0..ENTRIES).map(leaf).collect();
    log.append_batch(&leaves[..400]).expect("appends");
    let first = log.publish().expect("publishes");
    log.append_batch(&leaves[400..]).expect("appends");
    let second = log.publish().expect("publishes");
    log.append(b"pending").expect("appends");
    (first, second)
}

fn leaf(i: u64) -> Vec<u8> {
    format!("leaf {i}").into_bytes()
}

fn run(dir: &Path, previous: Option<&SignedCheckpoint>) -> AuditReport {
    audit(dir, &signer().verifier(), previous).expect("reads")
}

#[test]
fn a_good_log() {
    let dir = TempDir::new().expect("temporary directory");
    let (first, second) = build(dir.path(), leaf);
    for previous in [None, Some(&first), Some(&second)] {
        let report = run(dir.path(), previous);
        assert!(report.ok, "{report:#?}");
        assert_eq!(report.entries_checked, ENTRIES);
        // Bundles 0, 1, 2; leaf tiles 0, 1, 2; one tile above them.
        assert_eq!(report.files_checked, 7);
        assert_eq!(report.recomputed_root.as_ref(), Some(&report.root));
        assert_eq!(report.pending_entries, Some(1));
        assert_eq!(report.consistent_with_previous, previous.map(|_| true));
    }
    // A published copy has no journal; a partial tile may be served in full.
    fs::remove_dir_all(dir.path().join("journal")).expect("removes");
    let report = run(dir.path(), Some(&first));
    assert!(report.ok && report.pending_entries.is_none(), "{report:#?}");
    serde_json::to_string(&report).expect("serialises");
    assert!(audit(&dir.path().join("nothing"), &signer().verifier(), None).is_err());
}

#[test]
fn every_file_counts() {
    let original = TempDir::new().expect("temporary directory");
    build(original.path(), leaf);
    let files = [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ];
    for file in files {
        for damage in ["flip", "cut", "remove"] {
            let copy = TempDir::new().expect("temporary directory");
            let status = Command::new("cp")
                .arg("-r")
                .arg(original.path().join("."))
                .arg(copy.path())
                .status();
            assert!(status.expect("runs").success());
            let path = copy.path().join(file);
            let mut bytes = fs::read(&path).expect("reads");
            match damage {
                "flip" => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    fs::write(&path, bytes).expect("writes");
                }
                "cut" => fs::write(&path, &bytes[..bytes.len() - 1]).expect("writes"),
                _ => fs::remove_file(&path).expect("removes"),
            }
            match audit(copy.path(), &signer().verifier(), None) {
                Ok(report) => {
                    assert!(!report.ok, "{damage} {file}: {report:#?}");
                    let first = &report.findings[0].path;
                    // A changed entry shows in the tile that does not follow from it.
                    let entries = file.starts_with("tile/entries") && damage == "flip";
                    assert!(
                        entries || first == Path::new(file),
                        "{damage} {file}: {report:#?}"
                    );
                }
                Err(error) => assert!(
                    file == "checkpoint" && damage == "remove",
                    "{damage} {file}: {error}"
                ),
            }
        }
    }
}

#[test]
fn rewritten_history_and_equivocation() {
    let dir = TempDir::new().expect("temporary directory");
    let (_, second) = build(dir.path(), leaf);
    // The same log, started again with one leaf changed: all its files agree.
    let rewritten = TempDir::new().expect("temporary directory");
    let (other_first, other_second) = build(rewritten.path(), |i| {
        if i == 7 { b"forged".to_vec() } else { leaf(i) }
    });
    assert!(run(rewritten.path(), None).ok, "by itself it is a good log");
    let report = run(rewritten.path(), Some(&second));
    assert!(!report.ok);
    assert_eq!(report.consistent_with_previous, Some(false));
    let evidence = report.equivocation.expect("same size, other root");
    assert!(evidence.contains(&second.to_text()) && evidence.contains(&other_second.to_text()));
    // Another size: no equivocation by itself, but the recomputed root shows it.
    let report = run(dir.path(), Some(&other_first));
    assert_eq!(
        (report.ok, report.consistent_with_previous),
        (false, Some(false))
    );
    assert!(report.equivocation.is_none());
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.what.contains("history was rewritten")),
        "{report:#?}"
    );

    let larger = Checkpoint::new("log.example/audit", ENTRIES + 1, leaf_hash(b"x")).expect("good");
    let larger = SignedCheckpoint::sign(larger, &signer()).expect("signs");
    let report = run(dir.path(), Some(&larger));
    assert_eq!(
        (report.ok, report.consistent_with_previous),
        (false, Some(false))
    );
    assert!(report.findings[0].what.contains("shrunk"), "{report:#?}");
}

#[test]
fn wrong_keys() {
    let dir = TempDir::new().expect("temporary directory");
    let (first, _) = build(dir.path(), leaf);
    let other = NoteSigner::new("log.example/audit", &[2; 32]).expect("good name");
    let report = audit(dir.path(), &other.verifier(), Some(&first)).expect("reads");
    assert!(!report.ok && !report.signature_ok);
    // A remembered checkpoint by someone else is no measure for this log.
    let forged = SignedCheckpoint::sign(first.unverified().clone(), &other).expect("signs");
    let report = run(dir.path(), Some(&forged));
    assert!(!report.ok && report.signature_ok);
    assert_eq!(report.consistent_with_previous, None);
}
