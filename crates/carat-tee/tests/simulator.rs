//! The simulator exercises the production verifier, and nothing that it makes is ever taken as hardware.
#![cfg(feature = "simulator")]

mod common;

use carat_receipt::{Digest, SigningKey};
use carat_tee::package::{Gpu, Verdict};
use carat_tee::sim::Simulator;
use carat_tee::{
    Endorsements, Kind, Outcome, Package, Policy, Reason, Rejected, Request, binding, verify,
    verify_simulated,
};

const NOW: u64 = 1_800_000_000;

fn simulator() -> Simulator {
    Simulator::start(&[7; 32], NOW, &[]).unwrap()
}

fn document() -> Vec<u8> {
    simulator().nitro(b"data", b"key", b"nonce", NOW).unwrap()
}

fn request<'a>(evidence: &'a [u8], chain: &'a [Vec<u8>], policy: &'a Policy) -> Request<'a> {
    Request {
        evidence,
        endorsements: Endorsements {
            collateral: None,
            certs: &[],
            chain,
        },
        policy,
        now: NOW,
        nonce: None,
        binding: None,
    }
}

fn failed(rejected: &Rejected) -> Vec<&str> {
    let failed = rejected
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Fail);
    failed.map(|check| check.name).collect()
}

#[test]
fn simulated_evidence_verifies_as_simulated() {
    let document = document();
    for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
        let simulated = verify_simulated(Kind::Nitro, &request(&document, &[], &policy)).unwrap();
        assert!(simulated.facts().debug);
    }
    let (report, chain) = simulator().gpu(&[9; 32]).unwrap();
    let policy = Policy::strict();
    verify_simulated(Kind::Nvidia, &request(&report, &chain, &policy)).unwrap();
    // The simulated path is the production verifier: it is as strict about everything else.
    for (at, bit) in [(100, 1), (document.len() - 1, 1), (document.len() / 2, 4)] {
        let mut altered = document.clone();
        altered[at] ^= bit;
        verify_simulated(Kind::Nitro, &request(&altered, &[], &policy)).unwrap_err();
    }
    let late = Request {
        now: NOW + 86_400,
        ..request(&document, &[], &policy)
    };
    assert_eq!(
        verify_simulated(Kind::Nitro, &late).unwrap_err().reason,
        Reason::Stale
    );
    let asked = Request {
        nonce: Some(b"other"),
        ..request(&document, &[], &policy)
    };
    assert_eq!(
        verify_simulated(Kind::Nitro, &asked).unwrap_err().reason,
        Reason::NonceMismatch
    );
}

#[test]
fn row_29_simulated_evidence_is_never_hardware() {
    let document = document();
    for policy in [Policy::strict(), Policy::production(), Policy::dev()] {
        let rejected = verify(Kind::Nitro, &request(&document, &[], &policy)).unwrap_err();
        let failed = failed(&rejected);
        // The root is not pinned, and the certificates say that they are simulated: independent of each other.
        assert!(
            failed.contains(&"root") && failed.contains(&"chain"),
            "{failed:?}"
        );
        // The measurements are those of debug mode: independent of both.
        assert_eq!(failed.contains(&"debug"), !policy.allow_debug);
    }
    let (report, chain) = simulator().gpu(&[9; 32]).unwrap();
    let policy = Policy::strict();
    let rejected = verify(Kind::Nvidia, &request(&report, &chain, &policy)).unwrap_err();
    assert!(
        ["root", "chain", "product"]
            .iter()
            .all(|name| failed(&rejected).contains(name))
    );
}

#[test]
fn row_29_hardware_evidence_is_never_simulated() {
    let policy = Policy::dev();
    for (file, at) in [
        ("evervault-beta-valid", 1_665_651_482),
        ("evervault-beta-debug", 1_665_582_606),
    ] {
        let document = corpus!(&format!("nitro/{file}.cbor"));
        let question = Request {
            now: at,
            ..request(&document, &[], &policy)
        };
        verify(Kind::Nitro, &question).unwrap();
        verify_simulated(Kind::Nitro, &question).unwrap_err();
    }
}

/// Real hardware and simulation are kept apart by types: one place makes `Hardware`, and it does so after the vendor's
/// verifier alone.
#[test]
fn only_the_vendor_verifier_makes_hardware() {
    let mut makers = Vec::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path)
                .unwrap()
                .contains("Hardware::new(")
            {
                makers.push(path.file_name().unwrap().to_owned());
            }
        }
    }
    assert_eq!(makers, ["lib.rs"]);
}

#[test]
fn row_29_simulator_does_not_start_beside_a_device() {
    Simulator::start(&[1; 32], NOW, &["nitro".to_string()]).unwrap_err();
    assert_ne!(
        Simulator::start(&[1; 32], NOW, &[]).unwrap().root_digest(),
        Simulator::start(&[2; 32], NOW, &[]).unwrap().root_digest()
    );
}

fn package(key: &SigningKey, gpus: usize) -> Package {
    let (simulator, nonce, configuration) =
        (simulator(), vec![3; 32], Digest::sha256(b"configuration"));
    let bind0 = binding::bind0(&key.public(), &nonce, &configuration);
    let gpus: Vec<Gpu> = (0..gpus)
        .map(|_| simulator.gpu(&binding::gpu_nonce(&bind0)).unwrap())
        .map(|(report, chain)| Gpu { report, chain })
        .collect();
    let reports: Vec<Digest> = gpus.iter().map(|gpu| Digest::sha256(&gpu.report)).collect();
    let bound = binding::bind(&bind0, &reports);
    Package {
        kind: Kind::Nitro,
        simulated: true,
        evidence: simulator
            .nitro(&bound, key.public().as_bytes(), &nonce, NOW)
            .unwrap(),
        nonce,
        configuration,
        certs: vec![],
        chain: vec![],
        collateral: None,
        gpus,
    }
}

#[test]
fn row_23_evidence_of_another_key_is_refused() {
    let (key, other) = (
        SigningKey::from_secret(&[1; 32]),
        SigningKey::from_secret(&[2; 32]),
    );
    let policy = Policy::strict();
    for gpus in [0, 1] {
        let package = package(&key, gpus);
        assert!(matches!(
            package.verify(&key.public(), &policy, NOW),
            Ok(Verdict::Simulated(_))
        ));
        assert_eq!(
            package
                .verify(&other.public(), &policy, NOW)
                .unwrap_err()
                .reason,
            Reason::BindingMismatch
        );
        let mut nonce = package.clone();
        nonce.nonce[0] ^= 1;
        assert_eq!(
            nonce
                .verify(&key.public(), &policy, NOW)
                .unwrap_err()
                .reason,
            Reason::BindingMismatch
        );
        let mut configuration = package.clone();
        configuration.configuration = Digest::sha256(b"other");
        assert_eq!(
            configuration
                .verify(&key.public(), &policy, NOW)
                .unwrap_err()
                .reason,
            Reason::BindingMismatch
        );
        // Said to be real, it is refused as hardware.
        let mut real = package.clone();
        real.simulated = false;
        real.verify(&key.public(), &policy, NOW).unwrap_err();
    }
}

#[test]
fn row_09_gpu_of_another_machine_is_refused() {
    let key = SigningKey::from_secret(&[1; 32]);
    let policy = Policy::strict();
    let mut swapped = package(&key, 1);
    // A GPU that answered another machine's nonce; and one that the CPU's binding does not name.
    let (report, chain) = simulator().gpu(&[4; 32]).unwrap();
    swapped.gpus[0] = Gpu { report, chain };
    assert_eq!(
        swapped
            .verify(&key.public(), &policy, NOW)
            .unwrap_err()
            .reason,
        Reason::BindingMismatch
    );
    let mut added = package(&key, 1);
    added.gpus.push(added.gpus[0].clone());
    assert_eq!(
        added
            .verify(&key.public(), &policy, NOW)
            .unwrap_err()
            .reason,
        Reason::BindingMismatch
    );
    let mut removed = package(&key, 1);
    removed.gpus.clear();
    assert_eq!(
        removed
            .verify(&key.public(), &policy, NOW)
            .unwrap_err()
            .reason,
        Reason::BindingMismatch
    );
}

#[test]
fn packages_round_trip_through_receipts() {
    let key = SigningKey::from_secret(&[1; 32]);
    for gpus in [0, 2] {
        let package = package(&key, gpus);
        let attestation = package.write().unwrap();
        assert!(attestation.media_type.as_str().contains("simulated"));
        assert_eq!(Package::read(&attestation).unwrap(), package);
        let mut moved = attestation.clone();
        moved.endorsements.rotate_left(1);
        assert!(Package::read(&moved).is_err() || gpus == 0 && moved.endorsements.len() == 1);
        let mut bare = attestation.clone();
        bare.endorsements.clear();
        Package::read(&bare).unwrap_err();
    }
}

#[test]
fn a_cache_answers_only_what_was_verified() {
    use carat_tee::cache::{BUCKET, Cache, NamedPolicy};
    let (key, other) = (
        SigningKey::from_secret(&[1; 32]).public(),
        SigningKey::from_secret(&[2; 32]).public(),
    );
    let attestation = package(&SigningKey::from_secret(&[1; 32]), 1)
        .write()
        .unwrap();
    let strict = NamedPolicy::new(Policy::strict()).unwrap();
    let production = NamedPolicy::new(Policy::production()).unwrap();
    let mut cache = Cache::new();
    cache.verify(&attestation, &key, &strict, NOW).unwrap();
    cache.verify(&attestation, &key, &strict, NOW + 1).unwrap();
    assert_eq!(cache.len(), 1);
    // Another policy, another bucket: verified again.
    cache.verify(&attestation, &key, &production, NOW).unwrap();
    cache
        .verify(&attestation, &key, &strict, NOW + BUCKET)
        .unwrap();
    assert_eq!(cache.len(), 3);
    // Another key, another byte, a time after the end: refused, hit or not.
    cache
        .verify(&attestation, &other, &strict, NOW)
        .unwrap_err();
    let mut altered = attestation.clone();
    altered.evidence[1000] ^= 1;
    cache.verify(&altered, &key, &strict, NOW).unwrap_err();
    let mut endorsed = attestation.clone();
    endorsed.endorsements[0].1[5] ^= 1;
    cache.verify(&endorsed, &key, &strict, NOW).unwrap_err();
    let end = NOW + Policy::strict().max_age;
    cache.verify(&attestation, &key, &strict, end).unwrap();
    cache
        .verify(&attestation, &key, &strict, end + 1)
        .unwrap_err();
}
