#![no_main]
//! Openings, evidence and registrations: whatever decodes encodes to the same bytes.

use carat_receipt::{Evidence, Opening, Registration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(opening) = Opening::decode(data) {
        assert_eq!(opening.encode().as_slice(), data, "an opening has one form");
    }
    if let Ok(item) = Evidence::decode(data) {
        assert_eq!(item.encode(), data, "an item of evidence has one form");
    }
    if let Ok(registration) = Registration::decode(data) {
        assert_eq!(registration.encode(), data, "a registration has one form");
    }
});
