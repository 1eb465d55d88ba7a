//! The seeds of the fuzz targets' corpora. What they are for: `fuzz.rs`.

#![cfg(feature = "simulator")]

use std::fs;
use std::path::{Path, PathBuf};

use carat_receipt::evidence::Body;
use carat_receipt::{Digest, Evidence, SigningKey};
use carat_tee::package::Gpu;
use carat_tee::sim::Simulator;
use carat_tee::{Kind, Package, Policy, binding};

const NOW: u64 = 1_800_000_000;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target)
}

/// Seeds that are valid, so that mutations of them reach deep.
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let simulator = Simulator::start(&[7; 32], NOW, &[]).unwrap();
    let key = SigningKey::from_secret(&[1; 32]).public();
    let configuration = Digest::sha256(b"configuration");
    let bind0 = binding::bind0(&key, &[3; 32], &configuration);
    let (report, chain) = simulator.gpu(&binding::gpu_nonce(&bind0)).unwrap();
    let bound = binding::bind(&bind0, &[Digest::sha256(&report)]);
    let document = simulator
        .nitro(&bound, key.as_bytes(), &[3; 32], NOW)
        .unwrap();
    let package = Package {
        kind: Kind::Nitro,
        simulated: true,
        evidence: document.clone(),
        nonce: vec![3; 32],
        configuration,
        certs: vec![],
        chain: vec![],
        collateral: None,
        gpus: vec![Gpu {
            report: report.clone(),
            chain: chain.clone(),
        }],
    };
    let attestation = package.write().unwrap();
    let evidence = Evidence {
        statement: Digest::sha256(b"receipt"),
        body: Body::Attestation(attestation),
    };
    let json = format!(
        "[{{\"evidence\":\"{}\",\"certificate\":\"{}\"}}]",
        hex(&report),
        hex(&chain.concat())
    );
    let policy = Policy::production().to_toml().unwrap().into_bytes();
    vec![
        ("tee_nitro", "simulated", document.clone()),
        ("tee_nvidia", "simulated", report),
        ("tee_nvidia", "bundle", include_bytes!("fixtures/nvidia-96005E0001.cbor").to_vec()),
        ("tee_x509", "chain", chain.concat()),
        ("tee_x509", "root", include_bytes!("../roots/google-confidential-space.der").to_vec()),
        ("tee_package", "gpu", evidence.encode()),
        ("tee_policy", "production", policy),
        ("tee_input", "hex", hex(&document).into_bytes()),
        ("tee_input", "nvidia", json.into_bytes()),
        ("tee_gcp", "unsigned", b"eyJhbGciOiJSUzI1NiIsIng1YyI6W119.eyJpc3MiOiJodHRwczovL2NvbmZpZGVudGlhbGNvbXB1dGluZy5nb29nbGVhcGlzLmNvbSJ9.AAAA".to_vec()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The committed seeds are the ones made here; `CARAT_WRITE_CORPUS=1` writes them.
#[test]
fn seeds_are_committed() {
    for (target, name, bytes) in seeds() {
        let path = corpus(target).join(name);
        if std::env::var_os("CARAT_WRITE_CORPUS").is_some() {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(
            fs::read(&path).unwrap_or_default() == bytes,
            "{} is not what is made here",
            path.display()
        );
    }
}
