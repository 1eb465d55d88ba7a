#![no_main]
//! Receipt files: whatever decodes encodes to the same bytes, and adding the decoded evidence again is refused.

use carat_receipt::{ReceiptFile, Statement, air};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = ReceiptFile::decode(data) {
        assert_eq!(file.encode(), data, "a receipt file has one form");
        assert!(file.evidence().iter().all(|item| item.statement == file.receipt_id()), "evidence about another receipt");
        let claims = file.signed.statement().to_claims();
        assert_eq!(Statement::from_claims(&claims).as_ref(), Ok(file.signed.statement()));
        for item in file.evidence() {
            assert!(file.clone().add_evidence(item.clone()).is_err(), "an item is there twice");
        }
    }
    let key = carat_receipt::PublicKey::from_bytes([7; 32]);
    assert!(air::import(data, &key, &air::AirPolicy::default()).is_err(), "a forged AIR receipt");
});
