//! An independent implementation, written from the specifications in another
//! language (`tools/python/check_log.py`), reads our files.
//!
//! `CARAT_PYTHON` names the interpreter (default `python3`). Without Python or
//! its package `cryptography` these tests say so and check nothing. With the
//! package `aics-tlog` (Python 3.12 or later) a third implementation, by people
//! we do not know, reads them too.
#![cfg(all(feature = "store", unix))]

use carat_log::store::{Log, Options};
use carat_log::{KeyKind, NoteSigner, VerifierKey};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn python() -> String {
    std::env::var("CARAT_PYTHON").unwrap_or_else(|_| "python3".into())
}

fn has(module: &str) -> bool {
    let found = Command::new(python())
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!(
            "SKIPPED: {} has no module {module} (set CARAT_PYTHON to one that has)",
            python()
        );
    }
    found
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/python/check_log.py")
}

/// Status and output of the script.
fn check<S: AsRef<OsStr>>(args: &[S]) -> (Option<i32>, String) {
    let output = Command::new(python())
        .arg(script())
        .args(args)
        .output()
        .expect("runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

struct Setup {
    scratch: tempfile::TempDir,
    log: Log,
    vkey: String,
    witness: String,
}

impl Setup {
    fn dir(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.scratch.path().join(name);
        fs::write(&path, text).expect("writes");
        path.to_string_lossy().into_owned()
    }
}

fn leaf(i: u64) -> Vec<u8> {
    i.to_be_bytes().repeat((i % 5) as usize)
}

fn setup(entries: u64) -> Setup {
    let scratch = tempfile::tempdir().expect("temporary directory");
    let signer = NoteSigner::new("log.example/python", &[1; 32]).expect("good name");
    let log =
        Log::create(&scratch.path().join("log"), signer, Options::default()).expect("creates");
    let leaves: Vec<_> = (0..entries).map(leaf).collect();
    for chunk in leaves.chunks(1000) {
        log.append_batch(chunk).expect("appends");
    }
    let mut signed = log.publish().expect("publishes");
    let witness = NoteSigner::new("witness.example/1", &[2; 32]).expect("good name");
    signed.cosign(&witness, 1_767_000_000).expect("room");
    log.set_cosigned(signed).expect("last checkpoint");
    let text = |key: VerifierKey| key.to_vkey().expect("has a text");
    let (vkey, witness) = (
        text(log.verifier()),
        text(witness.verifier().with_kind(KeyKind::CosignatureV1)),
    );
    Setup {
        scratch,
        log,
        vkey,
        witness,
    }
}

#[test]
fn reads_directories() {
    if !has("cryptography") {
        return;
    }
    for entries in [0, 1, 2, 255, 256, 257, 700] {
        let setup = setup(entries);
        let dir = setup.dir().to_string_lossy().into_owned();
        let previous = setup.file("previous", &setup.log.checkpoint().to_text());
        let args = [
            &dir,
            &setup.vkey,
            "--witness",
            &setup.witness,
            "--previous",
            &previous,
        ];
        let (status, text) = check(&args);
        assert_eq!(status, Some(0), "{entries} entries: {text}");
        assert!(
            text.contains(&format!("{entries} entries, signature good")),
            "{text}"
        );
        assert!(
            text.contains("cosigned by witness.example/1 at 1767000000"),
            "{text}"
        );
        // The next checkpoint extends the previous one.
        setup.log.append(b"one more").expect("appends");
        setup.log.publish().expect("publishes");
        let (status, text) = check(&[&dir, &setup.vkey, "--previous", &previous]);
        assert_eq!(status, Some(0), "{entries} entries: {text}");
        assert_eq!(
            check(&args).0,
            Some(1),
            "the new checkpoint has no cosignature"
        );
        assert_eq!(
            check(&[&dir, &setup.witness]).0,
            Some(1),
            "not the log's key"
        );
    }
    let setup = setup(300);
    let dir = setup.dir().to_string_lossy().into_owned();
    for file in [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "checkpoint",
    ] {
        let path = setup.dir().join(file);
        let good = fs::read(&path).expect("reads");
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        fs::write(&path, bad).expect("writes");
        let (status, text) = check(&[&dir, &setup.vkey]);
        assert_eq!(status, Some(1), "{file}: {text}");
        fs::write(&path, good).expect("writes");
    }
    assert_eq!(check(&[&dir, &setup.vkey]).0, Some(0));
}

#[test]
fn reads_proofs() {
    if !has("cryptography") {
        return;
    }
    let setup = setup(700);
    for index in [0, 1, 255, 256, 511, 512, 698, 699] {
        let proof = setup.log.tlog_proof(index).expect("proves").to_text();
        let file = setup.file("entry.tlog-proof", &proof);
        let leaf_hex = hex::encode(leaf(index));
        let args = [
            "--proof",
            &file,
            "--leaf-hex",
            &leaf_hex,
            &setup.vkey,
            "--witness",
            &setup.witness,
        ];
        let (status, text) = check(&args);
        assert_eq!(status, Some(0), "{index}: {text}");
        let args = ["--proof", &file, "--leaf-hex", "00ff", &setup.vkey];
        assert_eq!(check(&args).0, Some(1), "another leaf");
        let wrong = proof.replacen(
            &format!("index {index}\n"),
            &format!("index {}\n", index ^ 1),
            1,
        );
        let file = setup.file("wrong.tlog-proof", &wrong);
        let args = ["--proof", &file, "--leaf-hex", &leaf_hex, &setup.vkey];
        assert_eq!(check(&args).0, Some(1), "another index");
    }
}

/// A third implementation (PyPI `aics-tlog`): notes, cosignatures, tiles.
#[test]
fn a_stranger_reads_us() {
    if !has("aics_tlog") {
        return;
    }
    const SCRIPT: &str = r#"
import sys
from aics_tlog import *
root, vkey, witness = sys.argv[1:]
note = parse_note(open(root + "/checkpoint", "rb").read())
result = verify_checkpoint(note, parse_vkey(vkey), [parse_vkey(witness)], quorum=1)
assert result.ok, result
head = parse_checkpoint(note.text)
reader = FileSystemTileReader(root)
report = audit_tiles(reader, head.size, head.root)
print("audited", head.size, report)
"#;
    for entries in [1, 256, 700, 66_000] {
        let setup = setup(entries);
        let output = Command::new(python())
            .args(["-c", SCRIPT])
            .arg(setup.dir())
            .args([&setup.vkey, &setup.witness])
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{entries} entries: {text}");
        assert!(text.contains(&format!("audited {entries}")), "{text}");
    }
}
