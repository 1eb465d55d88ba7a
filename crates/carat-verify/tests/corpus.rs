//! The committed fuzz corpora of receipts, openings and Trust files, on a stable compiler: what is accepted has one
//! form. The fuzz targets themselves are in `fuzz/`.

mod common;

use std::fs;
use std::path::Path;

use carat_receipt::{Opening, ReceiptFile};
use carat_verify::{Trust, appraise_bytes};
use common::{ask, trust};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

#[test]
fn corpora() {
    let trust = trust();
    for bytes in corpus("receipt_decode")
        .into_iter()
        .chain(corpus("appraise"))
    {
        if let Ok(file) = ReceiptFile::decode(&bytes) {
            assert_eq!(file.encode(), bytes);
        }
        appraise_bytes(&bytes, &ask(&trust)).unwrap();
    }
    for bytes in corpus("opening_decode") {
        if let Ok(opening) = Opening::decode(&bytes) {
            assert_eq!(*opening.encode(), bytes);
        }
    }
    for bytes in corpus("trust_parse") {
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        if let Ok(trust) = Trust::parse(&text) {
            assert_eq!(Trust::parse(&trust.render()).unwrap(), trust);
        }
    }
}
