#![no_main]
//! Trust files: the text that a Trust file renders to means the same, and is its own rendering.

use carat_verify::Trust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(trust) = Trust::parse(text) else { return };
    let rendered = trust.render();
    let again = Trust::parse(&rendered).expect("what is rendered parses");
    assert_eq!(again, trust);
    assert_eq!(again.render(), rendered, "a Trust file has one rendering");
    assert_eq!(again.digest(), trust.digest());
    let _ = (trust.standing(), trust.freshness(0), trust.freshness(u64::MAX));
    let _ = text.parse::<carat_receipt::Amount>();
});
