//! Signatures that the official package `model-signing` made (`fixtures/signing/make.py`).

use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use carat_hub::signing::{Demand, SignatureReport, State, verify};
use carat_hub::{FileEntry, HubError};
use carat_receipt::Digest;
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/signing")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(fixture(name)).expect(name)
}

fn files() -> Vec<FileEntry> {
    ["README.md", "sub/weights.bin"]
        .into_iter()
        .map(|path| {
            let bytes = fs::read(fixture("model").join(path)).expect(path);
            FileEntry {
                path: path.parse().expect("a path"),
                size: bytes.len() as u64,
                sha256: Digest::sha256(&bytes),
            }
        })
        .collect()
}

fn checked(bundle: &str, key: Option<&str>, demand: &Demand) -> Result<SignatureReport, String> {
    verify(bundle.as_bytes(), &files(), key, demand).map_err(|error| match error {
        HubError::Signature(why) => why,
        other => panic!("{other}"),
    })
}

fn key(name: &str) -> Demand {
    Demand {
        key: Some(text(name)),
        roots: None,
    }
}

fn root(name: &str) -> Demand {
    Demand {
        key: None,
        roots: Some(text(name)),
    }
}

#[test]
fn a_signature_of_the_official_package_by_a_key_holds() {
    for curve in ["p256", "p384"] {
        let (bundle, public) = (text(&format!("{curve}.sig")), format!("{curve}.pub"));
        let named = checked(&bundle, Some(&text(&public)), &Demand::default()).expect("named");
        assert_eq!((named.state, named.covered), (State::Verified, 2));
        assert!(
            named
                .not_checked
                .iter()
                .any(|line| line.contains("whose key"))
        );
        let demanded = checked(&bundle, None, &key(&public)).expect("demanded");
        assert!(demanded.not_checked.is_empty(), "{demanded:?}");
        // Without the key nothing is claimed.
        let unknown = checked(&bundle, None, &Demand::default()).expect("read");
        assert_eq!(
            (unknown.state, unknown.key_sha256),
            (State::Unchecked, None)
        );
        let other = if curve == "p256" {
            "p384.pub"
        } else {
            "p256.pub"
        };
        assert!(
            checked(&bundle, None, &key(other))
                .expect_err("another key")
                .contains("another key")
        );
        // What the publisher names does not stand in for what the reader demands.
        assert!(checked(&bundle, Some(&text(&public)), &key(other)).is_err());
    }
}

#[test]
fn a_signature_by_a_certificate_holds_and_its_root_is_the_readers_to_name() {
    let bundle = text("certificate.sig");
    let report = checked(&bundle, None, &Demand::default()).expect("verified");
    assert_eq!(report.state, State::Verified);
    assert_eq!(report.signer.as_deref(), Some("signer@example.org"));
    assert!(
        report
            .not_checked
            .iter()
            .any(|line| line.contains("who issued")),
        "{report:?}"
    );
    let report = checked(&bundle, None, &root("root.pem")).expect("the right root");
    assert!(report.checked.iter().any(|line| line.contains("demanded")));
    // The same name, another key.
    assert!(
        checked(&bundle, None, &root("other-root.pem"))
            .expect_err("another root")
            .contains("chain")
    );
    assert!(
        checked(
            &text("p256.sig"),
            Some(&text("p256.pub")),
            &root("root.pem")
        )
        .is_err(),
        "a bare key is no certificate"
    );
}

#[test]
fn a_changed_file_a_missing_file_and_a_file_too_many_are_seen() {
    let (bundle, public) = (text("p256.sig"), text("p256.pub"));
    let run =
        |files: &[FileEntry]| verify(bundle.as_bytes(), files, Some(&public), &Demand::default());
    let mut changed = files();
    changed[1].sha256 = Digest::sha256(b"other weights");
    assert!(
        matches!(run(&changed), Err(HubError::Signature(why)) if why.contains("sub/weights.bin"))
    );
    assert!(
        matches!(run(&files()[..1]), Err(HubError::Signature(why)) if why.contains("not published"))
    );
    let mut more = files();
    for path in ["model.sig", "extra.bin"] {
        more.push(FileEntry {
            path: path.parse().expect("a path"),
            size: 1,
            sha256: Digest::sha256(path.as_bytes()),
        });
    }
    assert_eq!(run(&more).expect("verified").uncovered, ["extra.bin"]);
}

/// Whatever is changed in a bundle, it does not verify any more.
#[test]
fn a_changed_bundle_is_refused() {
    let whole: Value = serde_json::from_str(&text("p256.sig")).expect("JSON");
    let public = text("p256.pub");
    let refused = |bundle: &Value| {
        checked(&bundle.to_string(), Some(&public), &Demand::default()).expect_err("changed")
    };
    let payload = whole["dsseEnvelope"]["payload"]
        .as_str()
        .expect("a payload");
    let statement: Value =
        serde_json::from_slice(&Base64::decode_vec(payload).expect("base64")).expect("JSON");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut statement = statement.clone();
        change(&mut statement);
        let mut bundle = whole.clone();
        bundle["dsseEnvelope"]["payload"] =
            json!(Base64::encode_string(statement.to_string().as_bytes()));
        bundle
    };
    // The same statement in other bytes is not what was signed.
    assert!(refused(&with(&|_| {})).contains("not made by that key"));
    assert!(
        refused(&with(
            &|s| s["subject"][0]["digest"]["sha256"] = json!("0".repeat(64))
        ))
        .contains("subject")
    );
    assert!(
        refused(&with(&|s| s["predicateType"] = json!("https://example.org")))
            .contains("example.org")
    );
    assert!(
        refused(&with(
            &|s| s["predicate"]["resources"][0]["algorithm"] = json!("blake2b")
        ))
        .contains("blake2b")
    );
    assert!(
        refused(&with(
            &|s| s["predicate"]["serialization"]["method"] = json!("shards")
        ))
        .contains("shards")
    );
    let mut other = whole.clone();
    other["dsseEnvelope"]["payloadType"] = json!("application/json");
    assert!(refused(&other).contains("payload"));
    let mut other = whole.clone();
    let signature = other["dsseEnvelope"]["signatures"][0]["sig"]
        .as_str()
        .expect("a signature");
    let mut bytes = Base64::decode_vec(signature).expect("base64");
    *bytes.last_mut().expect("bytes") ^= 1;
    other["dsseEnvelope"]["signatures"][0]["sig"] = json!(Base64::encode_string(&bytes));
    assert!(refused(&other).contains("not made by that key"));
    let mut other = whole.clone();
    other["dsseEnvelope"]["signatures"] = json!([]);
    assert!(refused(&other).contains("no signature"));
    for text in ["", "{}", "[]", "null", "\u{0}"] {
        assert!(checked(text, Some(&public), &Demand::default()).is_err());
    }
    // A chain whose leaf was exchanged: its signature is by another key.
    let mut chain: Value = serde_json::from_str(&text("certificate.sig")).expect("JSON");
    let certificates = chain["verificationMaterial"]["x509CertificateChain"]["certificates"]
        .as_array_mut()
        .expect("a chain");
    certificates.remove(0);
    assert!(checked(&chain.to_string(), None, &Demand::default()).is_err());
}
