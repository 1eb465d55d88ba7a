//! The test vectors of `docs/binding.md`, recomputed.

use carat_receipt::cbor::{MapWriter, Writer};
use carat_receipt::{Digest, Label, PublicKey, Role, Salt, commit, courier, domain, leaf};
use sha2::Sha512;

const DOC: &str = include_str!("../../../docs/binding.md");

/// The value stands in the table, as a whole cell.
fn documented(what: &str, value: &[u8]) {
    let value = hex::encode(value);
    assert!(
        DOC.contains(&format!("| `{value}` |")),
        "{what}: {value} is not in docs/binding.md"
    );
}

fn sha512(parts: &[&[u8]]) -> Vec<u8> {
    use sha2::Digest as _;
    Sha512::digest(parts.concat()).to_vec()
}

#[test]
fn vectors_are_current() {
    let bytes: [u8; 32] = core::array::from_fn(|i| i as u8);
    let (salt, id) = (Salt::from_bytes(bytes), Digest::sha256(b"receipt"));
    documented("H", Digest::of("carat/test", &[b"a", b"bc"]).as_bytes());
    let mut sig_structure = Writer::new();
    sig_structure
        .array(4)
        .text("Signature1")
        .bytes(&[0xa0])
        .bytes(&[])
        .bytes(&[0xa0]);
    documented("D", Digest::sha256(&sig_structure.into_bytes()).as_bytes());
    documented("key id", PublicKey::from_bytes([0; 32]).id().as_bytes());
    for role in [
        Role::Input,
        Role::Output,
        Role::Facts,
        Role::Sent,
        Role::Received,
    ] {
        documented(role.as_str(), commit(role, &salt, b"hello").as_bytes());
    }
    documented(
        "program",
        Digest::of("carat/program/v1", &[b"program"]).as_bytes(),
    );
    documented("leaf", &leaf(&salt, &id, None));
    documented("leaf with tau", &leaf(&salt, &id, Some(1 << 60)));
    documented("miss", &carat_receipt::notice::leaf_of(&salt, &id));
    documented(
        "cosigner",
        Digest::of(domain::EVIDENCE_SIGNATURE, &[id.as_bytes(), b"body"]).as_bytes(),
    );
    documented(
        "replayer",
        Digest::of(domain::EVIDENCE_REPLAY, &[id.as_bytes(), b"body"]).as_bytes(),
    );
    documented("trust", Digest::of(domain::TRUST, &[b"text"]).as_bytes());
    let name = |text| Label::new(text).unwrap();
    documented(
        "upstream model",
        courier::identity(&name("up"), &name("model")).as_bytes(),
    );
    let chunk_salt = courier::chunk_salt(&salt, 1);
    documented("chunk salt", chunk_salt.as_bytes());
    documented(
        "chunk",
        courier::chunk_leaf(&chunk_salt, b"chunk").as_bytes(),
    );

    let mut map = MapWriter::new();
    for key in 1..=3u8 {
        map.put(i64::from(key), |w| {
            w.bytes(&[key; 32]);
        });
    }
    let mut bound = Writer::new();
    map.finish(&mut bound);
    let b0 = sha512(&[domain::TEE_BIND0.as_bytes(), &bound.into_bytes()]);
    documented("B0", &b0);
    documented(
        "GPU nonce",
        Digest::sha256(&[domain::TEE_GPU.as_bytes(), &b0].concat()).as_bytes(),
    );
    documented("B", &sha512(&[domain::TEE_BIND.as_bytes(), &b0]));
    let gpu = Digest::sha256(b"gpu evidence");
    documented(
        "B with GPU",
        &sha512(&[domain::TEE_BIND.as_bytes(), &b0, gpu.as_bytes()]),
    );
}

/// Every domain string is in the document, and no two are equal.
#[test]
fn domains_are_documented_and_differ() {
    let source = include_str!("../src/domain.rs");
    let domains: Vec<&str> = source
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(domains.len() >= 10);
    for (i, domain) in domains.iter().enumerate() {
        assert!(DOC.contains(domain), "{domain} is not in docs/binding.md");
        assert!(!domains[..i].contains(domain), "{domain} has two meanings");
    }
}
