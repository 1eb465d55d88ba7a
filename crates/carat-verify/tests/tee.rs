//! Receipts with attestation evidence: simulated hardware the whole way, and evidence that adds nothing.

mod common;

use carat_receipt::evidence::Body;
use carat_receipt::{Digest, Evidence, ReceiptFile, SigningKey};
use carat_tee::package::Gpu;
use carat_tee::sim::Simulator;
use carat_tee::{Kind, Package, binding};
use carat_verify::trust::{DeniedPlatform, GpuFirmware, GpuReference, Platform, PolicyName};
use carat_verify::{Outcome, Question, Trust, Verdict};
use common::*;

fn package(key: &SigningKey, now: u64) -> Package {
    let (nonce, configuration) = (vec![3; 32], Digest::sha256(b"configuration"));
    let bound = binding::bind(&binding::bind0(&key.public(), &nonce, &configuration), &[]);
    let simulator = Simulator::start(&[7; 32], now, &[]).unwrap();
    Package {
        kind: Kind::Nitro,
        simulated: true,
        evidence: simulator
            .nitro(&bound, key.public().as_bytes(), &nonce, now)
            .unwrap(),
        nonce,
        configuration,
        certs: vec![],
        chain: vec![],
        collateral: None,
        gpus: vec![],
    }
}

fn with(mut file: ReceiptFile, package: &Package) -> ReceiptFile {
    let body = Body::Attestation(package.write().unwrap());
    let statement = file.receipt_id();
    file.add_evidence(Evidence { statement, body }).unwrap();
    file
}

/// A Trust file that would accept the simulator's code, were it real.
fn generous() -> Trust {
    let measurement = binding::measurement(Kind::Nitro, &[&[0; 48], &[0; 48], &[0; 48]]);
    let mut content = content();
    content.platforms = vec![Platform {
        name: label("simulator"),
        kind: Kind::Nitro,
        measurement,
        product: None,
        policy: PolicyName::Strict,
        gpu_firmware: GpuFirmware::Reference,
        cap: amount("5000USD"),
        break_cost: None,
    }];
    trust_of(content)
}

#[test]
fn simulated_hardware_is_shown_as_such_and_worth_nothing() {
    let trust = generous();
    let file = with(file(), &package(&issuer_key(), ISSUED_AT));
    for question in [
        ask(&trust),
        Question {
            now: NOW,
            ..Question::default()
        },
        Question {
            now: NOW + 400 * 86_400,
            ..ask(&trust)
        },
    ] {
        let appraisal = run(&file, &question);
        assert_eq!(
            (appraisal.verdict, appraisal.exit_code),
            (Verdict::Simulated, 3),
            "{appraisal:#?}"
        );
        assert!(appraisal.best.is_none_or(|best| best.is_zero()));
        let check = appraisal.check("evidence.0.attestation").unwrap();
        assert_eq!(check.outcome, Outcome::Fail);
        assert!(check.reason.contains("simulated"));
        assert!(
            appraisal
                .receipt
                .unwrap()
                .evidence
                .contains(&"attestation (simulated)")
        );
    }
    // Neither an auditor's replay nor one's own makes it less of a simulation.
    let (input, output) = (input(), output());
    let opening = opening(&file);
    let own_replay = Some(own(&input, &output));
    let replayed = run(
        &file,
        &Question {
            opening: Some(&opening),
            own_replay,
            ..ask(&trust)
        },
    );
    assert_eq!(replayed.verdict, Verdict::Simulated);
    assert_eq!(
        run(&audited(file.clone()), &ask(&trust)).verdict,
        Verdict::Simulated
    );
}

/// A simulated GPU has no reference values; that it lacks them does not hide that it is a simulation.
#[test]
fn a_simulated_gpu_is_shown_as_such() {
    let (key, now) = (issuer_key(), ISSUED_AT);
    let mut package = package(&key, now);
    let simulator = Simulator::start(&[7; 32], now, &[]).unwrap();
    let bind0 = binding::bind0(&key.public(), &package.nonce, &package.configuration);
    let (report, chain) = simulator.gpu(&binding::gpu_nonce(&bind0)).unwrap();
    let bound = binding::bind(&bind0, &[Digest::sha256(&report)]);
    package.evidence = simulator
        .nitro(&bound, key.public().as_bytes(), &package.nonce, now)
        .unwrap();
    package.gpus = vec![Gpu { report, chain }];
    let trust = generous();
    assert_eq!(
        trust.content().platforms[0].gpu_firmware,
        GpuFirmware::Reference
    );
    let appraisal = run(&with(file(), &package), &ask(&trust));
    assert_eq!(
        (appraisal.verdict, appraisal.exit_code),
        (Verdict::Simulated, 3)
    );
    // One that says it is real is refused for its root before anybody asks what it measures.
    package.simulated = false;
    let appraisal = run(&with(file(), &package), &ask(&trust));
    let check = appraisal.check("evidence.0.attestation").unwrap();
    assert!(check.reason.contains("wrong-root"), "{}", check.reason);
    assert_eq!(appraisal.verdict, Verdict::Insufficient);
}

#[test]
fn row_29_a_simulation_that_says_it_is_real_adds_nothing() {
    let trust = generous();
    let mut package = package(&issuer_key(), ISSUED_AT);
    package.simulated = false;
    let appraisal = run(&with(file(), &package), &ask(&trust));
    assert_eq!(appraisal.verdict, Verdict::Insufficient);
    let check = appraisal.check("evidence.0.attestation").unwrap();
    assert!(
        check.outcome == Outcome::Fail && check.reason.contains("wrong-root"),
        "{}",
        check.reason
    );
    assert!(appraisal.best.unwrap().is_zero());
}

#[test]
fn row_23_evidence_about_another_key_adds_nothing() {
    let trust = generous();
    let appraisal = run(
        &with(file(), &package(&stranger_key(), ISSUED_AT)),
        &ask(&trust),
    );
    let check = appraisal.check("evidence.0.attestation").unwrap();
    assert!(
        check.reason.contains("binding-mismatch"),
        "{}",
        check.reason
    );
    assert_eq!(appraisal.verdict, Verdict::Insufficient);
    assert!(appraisal.best.unwrap().is_zero());
}

#[test]
fn platforms_of_a_trust_file_round_trip() {
    let mut content = generous().content().clone();
    content.platforms[0].gpu_firmware = GpuFirmware::Any;
    content.gpu_references = vec![GpuReference {
        name: label("vbios"),
        bundle: include_bytes!("../../carat-tee/tests/fixtures/nvidia-96005E0001.cbor").to_vec(),
    }];
    content.denied_platforms = vec![DeniedPlatform {
        vendor: label("AMD"),
        id: label("snp-chip:00ff*"),
        reason: label("TEE.fail"),
    }];
    let trust = trust_of(content);
    let text = trust.render();
    assert!(
        text.contains("[[platform]]\nname = \"simulator\"\nkind = \"nitro\""),
        "{text}"
    );
    assert_eq!(Trust::parse(&text).unwrap(), trust);
    for (from, to) in [
        ("kind = \"nitro\"", "kind = \"nitro2\""),
        ("kind = \"nitro\"", "kind = \"nvidia\""),
        ("policy = \"strict\"", "policy = \"dev\""),
        ("cap = \"5000 USD\"", "cap = \"5000 EUR\""),
        ("gpu_firmware = \"any\"", "gpu_firmware = \"some\""),
        ("bundle = \"83", "bundle = \"82"),
        ("bundle = \"83", "bundle = \"8"),
        // A vendor that does not exist would refuse nobody.
        ("vendor = \"AMD\"", "vendor = \"AMB\""),
    ] {
        assert!(text.contains(from), "{text}");
        assert!(Trust::parse(&text.replace(from, to)).is_err(), "{to}");
    }
}
