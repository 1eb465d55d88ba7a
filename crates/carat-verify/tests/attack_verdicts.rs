//! Sentences and verdicts that would say more, or something else, than was checked.

mod common;

use carat_verify::{Question, Verdict};
use common::*;

/// "Good for 1000 USD and not for 0 USD" contradicted itself.
#[test]
fn what_is_good_for_something_is_good_for_zero() {
    let (file, trust, input, output) = (file(), trust(), input(), output());
    let opening = opening(&file);
    for (asked, verdict) in [
        ("0USD", Verdict::Good),
        ("1000USD", Verdict::Good),
        ("1000.000001USD", Verdict::Insufficient),
        ("18446744073709.551615USD", Verdict::Insufficient),
    ] {
        let question = Question {
            amount: Some(amount(asked)),
            opening: Some(&opening),
            own_replay: Some(own(&input, &output)),
            ..ask(&trust)
        };
        let appraisal = run(&file, &question);
        assert_eq!(appraisal.verdict, verdict, "{asked}: {}", appraisal.reason);
    }
}

/// What `docs/receipt.md` says of left-out evidence: only a contradiction and a bad item are missed, nothing else gains.
#[test]
fn leaving_out_agreement_never_helps_and_leaving_out_contradiction_does() {
    let trust = trust();
    let mut contradicted = audited(file());
    let mut body = replay_body(&contradicted, &auditor_key(), "Example Auditor");
    body.output = carat_receipt::Digest::sha256(b"something else");
    add_replay(&mut contradicted, body, &auditor_key());
    let worth = |file: &carat_receipt::ReceiptFile| {
        let appraisal = run(file, &ask(&trust));
        appraisal.best.map_or(0, |best| best.micros())
    };
    assert_eq!(worth(&file()), 0);
    assert_eq!(worth(&audited(file())), 500_000_000);
    assert_eq!(worth(&contradicted), 0);
}
