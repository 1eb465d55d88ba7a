#![no_main]
//! Appraisals of any bytes: never a panic, never an amount for a receipt that nobody signed. The rules are restated here
//! in their own words, so that a mistake in the appraisal cannot hide behind itself.

use std::sync::LazyLock;

use carat_verify::{Outcome, Question, Trust, Verdict, appraise_bytes};
use libfuzzer_sys::fuzz_target;

const TRUST: &str = include_str!("../../crates/carat-verify/tests/fixtures/trust.toml");
/// The receipts that the keys of the Trust file did sign.
const SIGNED: [&str; 2] = [
    "7dc754e60e826922dfddd19b7a1ba699fb48a45eea0cbfe5b15ea1f1aed506a9",
    "845e8c04037da249e569205aba9c3f2e431ec0cbf62e81ccc7629a23a909580e",
];
const NONCE: [u8; 16] = [0x4e; 16];

static FILE: LazyLock<Trust> = LazyLock::new(|| Trust::parse(TRUST).expect("a constant"));

fuzz_target!(|data: &[u8]| {
    let now = 1_767_225_600 + 3600;
    for trust in [None, Some(&*FILE)] {
        let question = Question { now, trust, nonce: Some(&NONCE), ..Question::default() };
        let appraisal = appraise_bytes(data, &question).expect("the question makes sense");
        assert_eq!(appraisal.exit_code, appraisal.verdict.exit_code());
        let largest = appraisal.good_for.iter().filter_map(|set| set.amount).map(|amount| amount.micros()).max();
        assert_eq!(appraisal.best.map(|amount| amount.micros()), largest);
        let failed = |name: &str| appraisal.check(name).is_none_or(|check| check.outcome == Outcome::Fail);
        if failed("encoding") || failed("signature") {
            assert_eq!(appraisal.verdict, Verdict::Invalid);
        }
        if largest.unwrap_or(0) == 0 {
            assert_ne!(appraisal.verdict, Verdict::Good, "good for nothing");
            continue;
        }
        assert!(trust.is_some(), "an amount without a Trust file");
        assert_eq!(appraisal.verdict, Verdict::Good);
        let receipt = appraisal.receipt.as_ref().expect("it was read");
        assert!(SIGNED.contains(&receipt.receipt_id.to_string().as_str()), "an amount for a forgery");
        assert!(receipt.evidence.contains(&"replay"), "an amount without a replay");
        assert!(largest <= Some(500_000_000), "more than the auditor's cap");
    }
});
