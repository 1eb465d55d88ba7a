//! Committed receipts. Their bytes are pinned: a change here is a change of the format. The Python reader checks the
//! same files. `CARAT_WRITE_FIXTURES=1` writes them anew, which is an explicit approval of a new format.

mod common;

use std::fs;
use std::path::PathBuf;

use carat_receipt::{Opening, ReceiptFile};
use common::*;

fn pinned(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    if std::env::var_os("CARAT_WRITE_FIXTURES").is_some() {
        fs::write(&path, bytes).unwrap();
    }
    let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(found == bytes, "{name} is not what this version writes");
}

#[test]
fn committed_receipts_are_current() {
    for (name, file) in [
        ("signature", file()),
        ("replay", audited(file())),
        ("everything", everything()),
    ] {
        let bytes = file.encode();
        pinned(&format!("{name}.carat"), &bytes);
        assert_eq!(ReceiptFile::decode(&bytes).unwrap(), file);
        let opening = opening(&file);
        let bytes = opening.encode();
        pinned(&format!("{name}.carat-open"), &bytes);
        assert_eq!(Opening::decode(&bytes).unwrap(), opening);
    }
}

#[test]
fn identities_are_pinned() {
    assert_eq!(
        file().receipt_id().to_string(),
        "7dc754e60e826922dfddd19b7a1ba699fb48a45eea0cbfe5b15ea1f1aed506a9"
    );
    assert_eq!(
        everything().receipt_id().to_string(),
        "845e8c04037da249e569205aba9c3f2e431ec0cbf62e81ccc7629a23a909580e"
    );
}

/// The document names the identities, every check that an appraisal can list, and every claim key.
#[test]
fn the_document_is_complete() {
    let doc = include_str!("../../../docs/receipt.md");
    for file in [file(), everything()] {
        assert!(doc.contains(&file.receipt_id().to_string()));
    }
    let trust = trust();
    for check in run(&everything(), &ask(&trust)).checks {
        let mut parts = check.name.split('.');
        let name = match (parts.next(), parts.next(), parts.next()) {
            (Some("evidence"), Some(_), Some(kind)) => format!("evidence.N.{kind}"),
            _ => check.name.clone(),
        };
        assert!(
            doc.contains(&format!("`{name}`")),
            "the check {name} is not in docs/receipt.md"
        );
    }
    let source = include_str!("../../carat-receipt/src/claims.rs");
    let keys: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": i64 = "))
        .map(|(_, value)| value.trim_end_matches(';'))
        .collect();
    assert_eq!(keys.len(), 33);
    for key in keys {
        assert!(
            doc.contains(&format!("\n| {key} | ")),
            "claim {key} is not in docs/receipt.md"
        );
    }
}
