//! The AIR v1 test vectors, which others wrote. They lie outside the repository; where they are absent the test says
//! so and how many it did not run.

use std::fs;
use std::path::{Path, PathBuf};

use carat_receipt::PublicKey;
use carat_receipt::air::{AirPolicy, Platform, import};
use serde_json::Value;

const EXPECTED: usize = 10;
const KEY: &str = "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61";

fn vectors(kind: &str) -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/evidence/receipts/air-v1")
        .join(kind);
    let Ok(entries) = fs::read_dir(&folder) else {
        return vec![];
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            (
                path.clone(),
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
            )
        })
        .collect()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| hex::decode(text).unwrap())
}

fn run(
    vector: &Value,
    key: &str,
) -> Result<carat_receipt::air::AirReceipt, carat_receipt::air::AirError> {
    let key = PublicKey::from_bytes(hex::decode(key).unwrap().try_into().unwrap());
    let expect = &vector["verify_policy"];
    let policy = AirPolicy {
        model_hash: bytes(&expect["expected_model_hash_hex"])
            .map(|bytes| bytes[..].try_into().unwrap()),
        nonce: bytes(&expect["expected_nonce_hex"]),
        platform: expect["expected_platform"].as_str().map(|name| match name {
            "nitro-pcr" => Platform::Nitro,
            "tdx-mrtd-rtmr" => Platform::Tdx,
            other => panic!("unknown platform {other}"),
        }),
        max_age: expect["max_age_secs"]
            .as_u64()
            .map(|age| (age, 1_767_225_600)),
    };
    import(&bytes(&vector["receipt_hex"]).unwrap(), &key, &policy)
}

#[test]
fn every_vector_gets_its_verdict() {
    let (valid, invalid) = (vectors("valid"), vectors("invalid"));
    if valid.is_empty() && invalid.is_empty() {
        eprintln!("SKIPPED: {EXPECTED} AIR v1 vectors are not on this machine");
        return;
    }
    assert_eq!(valid.len() + invalid.len(), EXPECTED);
    for (path, vector) in &valid {
        let receipt =
            run(vector, KEY).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let claims = &vector["claims"];
        assert!(receipt.deterministic);
        assert_eq!(receipt.issuer.as_str(), claims["iss"]);
        assert_eq!(receipt.issued_at, claims["iat"]);
        assert_eq!(hex::encode(receipt.id), claims["cti_hex"]);
        assert_eq!(receipt.nonce.clone(), bytes(&claims["eat_nonce_hex"]));
        assert_eq!(receipt.model_id.as_str(), claims["model_id"]);
        assert_eq!(receipt.model_hash.to_string(), claims["model_hash_hex"]);
        assert_eq!(receipt.request_hash.to_string(), claims["request_hash_hex"]);
        assert_eq!(
            receipt.response_hash.to_string(),
            claims["response_hash_hex"]
        );
        assert_eq!(
            receipt.attestation_hash.to_string(),
            claims["attestation_doc_hash_hex"]
        );
        assert_eq!(
            hex::encode(receipt.measurements[2]),
            claims["enclave_measurements"]["pcr2_hex"]
        );
        assert_eq!(receipt.sequence, claims["sequence_number"]);
        assert_eq!(receipt.execution_ms, claims["execution_time_ms"]);
        assert_eq!(receipt.memory_mb, claims["memory_peak_mb"]);
        assert_eq!(receipt.security_mode.as_str(), claims["security_mode"]);
    }
    for (path, vector) in &invalid {
        let key = vector["wrong_public_key_hex"]
            .as_str()
            .or(vector["public_key_hex"].as_str())
            .unwrap();
        let error = run(vector, key).expect_err("accepted");
        let code = vector["expected_failure"]["code"].as_str().unwrap();
        assert_eq!(error.code(), code, "{}", path.display());
    }
}

/// Every bit of a valid vector is protected: the AIR envelope has no unprotected bytes.
#[test]
fn every_bit_counts() {
    for (_, vector) in vectors("valid").into_iter().take(1) {
        let key = PublicKey::from_bytes(hex::decode(KEY).unwrap().try_into().unwrap());
        let good = bytes(&vector["receipt_hex"]).unwrap();
        for i in 0..good.len() {
            let mut changed = good.clone();
            changed[i] ^= 1;
            assert!(
                import(&changed, &key, &AirPolicy::default()).is_err(),
                "byte {i}"
            );
        }
    }
}
