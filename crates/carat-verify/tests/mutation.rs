//! Every byte of a receipt file is changed, and the file is appraised again.
//!
//! A changed file is invalid, except inside the ranges of `docs/receipt.md`, "Unprotected bytes":
//! * Attestation and Proof evidence, which this version does not appraise: the Appraisal is identical.
//! * What a log gave. Without the log's key in a Trust file most of it is unverified, and the Appraisal is identical.
//!   With it, a change can make the item unrecognisable (the name of the log or of a witness), which is the same as
//!   leaving it out: fewer checks of the log pass, and nothing else changes.

mod common;

use std::ops::Range;

use carat_receipt::ReceiptFile;
use carat_verify::{Appraisal, Outcome, Question, Verdict, appraise_bytes};
use common::*;

/// Where `part` is in `whole`; it is there once.
fn range_of(whole: &[u8], part: &[u8]) -> Range<usize> {
    let mut found = whole
        .windows(part.len())
        .enumerate()
        .filter(|(_, window)| *window == part);
    let (start, _) = found.next().expect("there");
    assert!(found.next().is_none(), "once");
    start..start + part.len()
}

/// The same Appraisal except that fewer checks of the log pass.
fn weaker_log(before: &Appraisal, after: &Appraisal) -> bool {
    let rest = |appraisal: &Appraisal| {
        let mut appraisal = appraisal.clone();
        appraisal
            .checks
            .retain(|check| !check.name.starts_with("log_"));
        appraisal
    };
    let passed = |appraisal: &Appraisal| {
        let log = appraisal
            .checks
            .iter()
            .filter(|check| check.name.starts_with("log_") && check.outcome == Outcome::Pass);
        log.map(|check| check.name.clone()).collect::<Vec<_>>()
    };
    let (first, second) = (passed(before), passed(after));
    rest(before) == rest(after)
        && second.len() < first.len()
        && second.iter().all(|name| first.contains(name))
}

fn flip_all(file: &ReceiptFile, question: &Question<'_>) -> usize {
    let bytes = file.encode();
    let before = appraise_bytes(&bytes, question).unwrap();
    assert_ne!(before.verdict, Verdict::Invalid);
    let opaque: Vec<_> = file
        .evidence()
        .iter()
        .skip(2)
        .map(|item| range_of(&bytes, &item.encode()))
        .collect();
    let log: Vec<_> = file
        .log
        .iter()
        .flat_map(|log| &log.items)
        .map(|item| range_of(&bytes, &item.bytes))
        .collect();
    let within =
        |ranges: &[Range<usize>], at: usize| ranges.iter().any(|range| range.contains(&at));
    let mut survivors = 0;
    for at in 0..bytes.len() {
        for bit in [0, 2, 5, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let after = appraise_bytes(&changed, question).unwrap();
            if after.verdict == Verdict::Invalid {
                continue;
            }
            survivors += 1;
            // Attestations and proofs that are worth nothing here say why in words of their own, which may change with
            // their bytes; what the receipt is good for may not.
            let allowed = if within(&opaque, at) {
                after.verdict == before.verdict && after.best == before.best
            } else {
                within(&log, at) && (after == before || weaker_log(&before, &after))
            };
            assert!(
                allowed,
                "byte {at} bit {bit} of {} survives: {after:#?}",
                bytes.len()
            );
        }
    }
    survivors
}

#[test]
fn a_signed_receipt_has_no_unprotected_byte() {
    let trust = trust();
    assert_eq!(flip_all(&file(), &ask(&trust)), 0);
    assert_eq!(
        flip_all(
            &file(),
            &Question {
                now: NOW,
                ..Question::default()
            }
        ),
        0
    );
}

#[test]
fn a_replayed_receipt_has_no_unprotected_byte() {
    let trust = trust();
    assert_eq!(flip_all(&audited(file()), &ask(&trust)), 0);
}

#[test]
fn a_receipt_with_everything() {
    let trust = trust();
    let mut file = everything();
    // The items that are appraised come first.
    assert_eq!(file.evidence().len(), 4);
    let with_key = flip_all(&file, &ask(&trust));
    let without = flip_all(
        &file,
        &Question {
            now: NOW,
            ..Question::default()
        },
    );
    assert!(with_key < without);
    file.log = None;
    let opaque = flip_all(&file, &ask(&trust));
    assert!(opaque > 0 && opaque < with_key);
}
