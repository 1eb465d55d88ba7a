//! The codec against RFC 8949 and against another encoder.

use alloc::vec;

use proptest::prelude::*;

use super::*;

/// RFC 8949 appendix A, the examples within our subset: (value as CBOR, hex).
#[test]
fn rfc_8949_appendix_a() {
    let uints: [(u64, &str); 11] = [
        (0, "00"),
        (1, "01"),
        (10, "0a"),
        (23, "17"),
        (24, "1818"),
        (25, "1819"),
        (100, "1864"),
        (1000, "1903e8"),
        (1_000_000, "1a000f4240"),
        (1_000_000_000_000, "1b000000e8d4a51000"),
        (u64::MAX, "1bffffffffffffffff"),
    ];
    for (value, encoded) in uints {
        let mut writer = Writer::new();
        writer.uint(value);
        assert_eq!(hex::encode(&writer.0), encoded);
        assert_eq!(Reader::new(&writer.0).uint("test"), Ok(value));
    }
    for (value, encoded) in [(-1, "20"), (-10, "29"), (-100, "3863"), (-1000, "3903e7")] {
        let mut writer = Writer::new();
        writer.int(value);
        assert_eq!(hex::encode(&writer.0), encoded);
        assert_eq!(Reader::new(&writer.0).int("test"), Ok(value));
    }
    let mut writer = Writer::new();
    writer
        .text("\u{6c34}")
        .bytes(&[1, 2, 3, 4])
        .bool(false)
        .bool(true);
    assert_eq!(hex::encode(&writer.0), "63e6b0b44401020304f4f5");
}

#[test]
fn refuses_what_is_not_deterministic() {
    for hex in [
        "1817",
        "190017",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff", // longer than needed
        "1f",
        "1c",
        "1d",
        "1e", // reserved
    ] {
        let bytes = hex::decode(hex).unwrap();
        let error = Reader::new(&bytes).uint("test").unwrap_err();
        assert!(
            matches!(error, DecodeError::NotDeterministic { .. }),
            "{hex}: {error}"
        );
    }
    for hex in ["5f4101ff", "580100"] {
        let bytes = hex::decode(hex).unwrap();
        assert!(Reader::new(&bytes).bytes("test", 0, 9).is_err(), "{hex}");
    }
    // Length far beyond the bytes, and beyond usize arithmetic.
    let bytes = hex::decode("5bffffffffffffffff").unwrap();
    assert!(matches!(
        Reader::new(&bytes).bytes("test", 0, usize::MAX),
        Err(DecodeError::Truncated { .. })
    ));
    // Minimum of i64, and one below it.
    assert_eq!(
        Reader::new(&hex::decode("3b7fffffffffffffff").unwrap()).int("t"),
        Ok(i64::MIN)
    );
    assert!(
        Reader::new(&hex::decode("3b8000000000000000").unwrap())
            .int("t")
            .is_err()
    );
}

#[test]
fn map_keys_ascend_and_do_not_repeat() {
    let read = |hex: &str| -> Result<Vec<i64>, DecodeError> {
        let bytes = hex::decode(hex).unwrap();
        let mut reader = Reader::new(&bytes);
        let mut map = reader.int_map("test", 9)?;
        let mut keys = vec![];
        while let Some(key) = map.next_key(&mut reader)? {
            reader.uint("test")?;
            keys.push(key);
        }
        Ok(keys)
    };
    assert_eq!(
        read("a4010018200020003863 00".replace(' ', "").as_str()),
        Ok(vec![1, 32, -1, -100])
    );
    assert!(read("a201000100").is_err());
    assert!(read("a202000100").is_err());
    assert!(read("a220000100").is_err());
}

proptest! {
    /// The independent encoder `ciborium` writes the same bytes for maps that we order.
    #[test]
    fn agrees_with_ciborium(pairs in proptest::collection::btree_map(any::<i64>(), any::<Vec<u8>>(), 0..20)) {
        let mut map = MapWriter::new();
        for (key, value) in &pairs {
            map.put(*key, |w| { w.bytes(value); });
        }
        let mut writer = Writer::new();
        map.finish(&mut writer);
        let mut entries: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (ciborium::Value::from(*k), ciborium::Value::Bytes(v.clone())))
            .map(|(k, v)| {
                let mut encoded = vec![];
                ciborium::into_writer(&k, &mut encoded).unwrap();
                (encoded, (k, v))
            })
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let theirs = ciborium::Value::Map(entries.into_iter().map(|e| e.1).collect());
        let mut expected = vec![];
        ciborium::into_writer(&theirs, &mut expected).unwrap();
        prop_assert_eq!(writer.into_bytes(), expected);
    }

    /// Reading arbitrary bytes never panics, and what is accepted re-encodes to the same bytes.
    #[test]
    fn accepted_bytes_are_the_only_spelling(bytes in any::<Vec<u8>>()) {
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = reader.int("test") {
            let mut writer = Writer::new();
            writer.int(value);
            prop_assert_eq!(&bytes[..reader.position()], &writer.0[..]);
        }
    }
}
