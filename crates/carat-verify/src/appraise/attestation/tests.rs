//! Real evidence is bound to keys that nobody here has, so a whole receipt with real hardware cannot be made. Here the step
//! after verification gets real evidence; what is before it is tested in `carat-tee`, the whole way with the simulator
//! in `tests/tee.rs`.

extern crate std;

use alloc::vec;
use core::cell::Cell;
use std::path::Path;
use std::{eprintln, fs};

use carat_receipt::statement::{Clock, Optional};
use carat_receipt::{
    Digest, Engine, Execution, Parameters, ReceiptFile, SignedStatement, SigningKey, Statement,
};
use carat_tee::{Endorsements, Policy, Request};

use super::*;
use crate::amounts::Place;
use crate::question::Question;
use crate::trust::{Content, GpuReference};

const NOW: u64 = 1_800_000_000;

/// A recorded Nitro document of real hardware.
fn nitro() -> Option<Hardware> {
    let path = "../../../shared/evidence/nitro/evervault-beta-valid.cbor";
    let Ok(evidence) = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)) else {
        eprintln!("SKIPPED: {path} is not there; 1 file not read");
        return None;
    };
    let policy = Policy::strict();
    let endorsements = Endorsements::default();
    let request = Request {
        evidence: &evidence,
        endorsements,
        policy: &policy,
        now: 1_665_651_482,
        nonce: None,
        binding: None,
    };
    Some(carat_tee::verify(carat_tee::Kind::Nitro, &request).unwrap())
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn receipt() -> ReceiptFile {
    let key = SigningKey::from_secret(&[1; 32]);
    let statement = Statement {
        issuer: label("Issuer"),
        issuer_key: key.public(),
        issued_at: NOW,
        clock: Clock::System,
        random: [3; 16],
        program: Digest::sha256(b"program"),
        model_name: label("model"),
        model_version: label("1"),
        execution: Execution::Local,
        engine: Engine {
            numerics: label("integer/v1"),
            semantics: 1,
        },
        input: Digest::sha256(b"input"),
        output: Digest::sha256(b"output"),
        parameters: Parameters::default(),
        optional: Optional::default(),
    };
    ReceiptFile::new(SignedStatement::sign(statement, &key).unwrap())
}

fn trust(change: impl FnOnce(&mut Content)) -> Trust {
    let owner = SigningKey::from_secret(&[2; 32]);
    let mut content = Content::new(label("Owner"), owner.public(), "USD".parse().unwrap(), NOW);
    change(&mut content);
    let mut trust = Trust::new(content).unwrap();
    trust.sign(&owner).unwrap();
    Trust::parse(&trust.render()).unwrap()
}

fn platform(hardware: &Hardware) -> Platform {
    Platform {
        name: label("enclave"),
        kind: hardware.kind(),
        measurement: hardware.facts().measurement,
        product: None,
        policy: PolicyName::Production,
        gpu_firmware: GpuFirmware::Reference,
        cap: "5000USD".parse().unwrap(),
        break_cost: Some("2000USD".parse().unwrap()),
    }
}

fn denied(vendor: &str, id: &str) -> DeniedPlatform {
    DeniedPlatform {
        vendor: label(vendor),
        id: label(id),
        reason: label("broken"),
    }
}

/// The sets and the reason of the check after the step, under a Trust file.
fn sets(
    hardware: &Hardware,
    trust: &Trust,
    prepare: impl FnOnce(&mut Work<'_>),
) -> (Vec<AssumptionSet>, String) {
    sets_with(hardware, &[], trust, prepare)
}

fn sets_with(
    hardware: &Hardware,
    gpus: &[Hardware],
    trust: &Trust,
    prepare: impl FnOnce(&mut Work<'_>),
) -> (Vec<AssumptionSet>, String) {
    let file = receipt();
    let question = Question {
        now: NOW,
        trust: Some(trust),
        ..Question::default()
    };
    let spent = Cell::new(0);
    let mut work = Work::new(&file, &question, Place::root(&file, &spent));
    work.trust = Some(trust);
    prepare(&mut work);
    let entries: Vec<&Platform> = trust.content().platforms.iter().collect();
    work.hardware(
        "evidence.0.attestation".into(),
        "now",
        hardware,
        gpus,
        &entries,
    );
    let zero = Some(Amount::zero(trust.content().currency));
    let reason = work.checks.last().unwrap().reason.clone();
    (work.attestation_sets(zero), reason)
}

#[test]
fn worth_is_the_cap_of_a_named_platform() {
    let Some(hardware) = nitro() else { return };
    let listed = trust(|content| content.platforms = vec![platform(&hardware)]);
    let (found, _) = sets(&hardware, &listed, |_| {});
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].amount, Some("5000USD".parse().unwrap()));
    assert_eq!(
        found[0].under,
        [
            "vendor:aws",
            "measured-code:enclave",
            "no-physical-attack",
            "input:issuer"
        ]
    );

    // Other code, another product, no platform: nothing.
    let other = |change: &dyn Fn(&mut Platform)| {
        let mut entry = platform(&hardware);
        change(&mut entry);
        let trust = trust(|content| content.platforms = vec![entry]);
        let (found, reason) = sets(&hardware, &trust, |_| {});
        assert!(
            found
                .iter()
                .all(|set| set.amount.is_none_or(|amount| amount.is_zero())),
            "{reason}"
        );
    };
    other(&|entry| entry.measurement = Digest::sha256(b"other"));
    other(&|entry| entry.product = Some(label("milan")));
    other(&|entry| entry.kind = carat_tee::Kind::Tdx);
    let (found, reason) = sets(&hardware, &trust(|_| {}), |_| {});
    assert!(found[0].amount.unwrap().is_zero() && reason.contains("not in a usable Trust file"));

    // Whatever stands in the way of others' word stands in the way of hardware's too.
    for block in [
        (|work: &mut Work<'_>| work.blocks_others.push("late".into())) as fn(&mut Work<'_>),
        |work| work.blocks_all.push("courier".into()),
        |work| work.invalid.push("altered".into()),
        |work| work.fail("issuer_revocation", "revoked"),
        |work| work.fail("issuer_key", "ran out"),
        |work| work.simulated = true,
    ] {
        let (found, _) = sets(&hardware, &listed, block);
        assert!(found[0].amount.unwrap().is_zero());
    }
}

/// A platform that is denied takes the amount away from receipts that were issued before.
#[test]
fn row_22_denied_platforms_change_the_appraisal_of_old_receipts() {
    let Some(hardware) = nitro() else { return };
    let machine = hardware.facts().platforms[0].as_str();
    let value = machine.split_once(':').unwrap().1;
    let measurement = hardware.facts().measurement;
    let start = std::format!("{}*", &machine[..machine.len() - 4]);
    for id in [machine, value, &std::format!("{measurement}"), &start] {
        let deny = |vendor: &str| {
            trust(|content| {
                content.platforms = vec![platform(&hardware)];
                content.denied_platforms = vec![denied(vendor, id)];
            })
        };
        let (found, reason) = sets(&hardware, &deny("aws"), |_| {});
        assert!(found[0].amount.unwrap().is_zero(), "{id}");
        assert!(reason.contains("refuses"), "{reason}");
        // Another vendor's entry says nothing about this machine.
        let (found, _) = sets(&hardware, &deny("amd"), |_| {});
        assert!(!found[0].amount.unwrap().is_zero(), "{id}");
    }
}

/// Break costs count once for a receipt, and not beside a simulation.
#[test]
fn break_cost_counts_once() {
    let Some(hardware) = nitro() else { return };
    let mut cheap = platform(&hardware);
    (cheap.name, cheap.break_cost) = (label("cheap"), Some("7USD".parse().unwrap()));
    let trust = trust(|content| content.platforms = vec![platform(&hardware), cheap]);
    let file = receipt();
    let question = Question {
        now: NOW,
        trust: Some(&trust),
        ..Question::default()
    };
    let spent = Cell::new(0);
    let mut work = Work::new(&file, &question, Place::root(&file, &spent));
    work.trust = Some(&trust);
    assert!(work.break_cost().is_none());
    let platforms = &trust.content().platforms;
    for platform in platforms.iter().chain(platforms) {
        work.attested.push(Accepted {
            platform,
            believed: vec!["vendor:aws".into()],
        });
    }
    assert_eq!(
        work.break_cost().map(|broken| broken.cost),
        Some("7USD".parse().unwrap())
    );
    work.simulated = true;
    assert!(work.break_cost().is_none());
}

/// A recorded report of a Hopper GPU, verified under what a Trust file asks of receipts.
fn hopper(trust: &Trust, firmware: GpuFirmware) -> Option<Result<Hardware, Rejected>> {
    let read = |name: &str| {
        let path = std::format!("../../../shared/evidence/nvidia/{name}");
        let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).ok();
        if bytes.is_none() {
            eprintln!("SKIPPED: {path} is not there; 1 file not read");
        }
        bytes
    };
    let (report, chain) = (
        read("nvsdk-hopperAttestationReport.txt")?,
        read("nvsdk-hopperCertChain.txt")?,
    );
    let kind = carat_tee::Kind::Nvidia;
    let evidence = carat_tee::input::evidence(kind, &report).unwrap();
    let chain = carat_tee::input::certificates(&chain).unwrap();
    let policy = trust::platform_policy(trust.content(), PolicyName::Production, firmware);
    let request = Request {
        evidence: &evidence,
        endorsements: Endorsements {
            collateral: None,
            certs: &[],
            chain: &chain,
        },
        policy: &policy,
        now: 1_735_689_600,
        nonce: None,
        binding: None,
    };
    Some(carat_tee::verify(kind, &request))
}

/// The reference values of the VBIOS are NVIDIA's; those of the driver are made here, of a measurement that the report has.
fn references() -> Vec<GpuReference> {
    use carat_tee::nvidia::reference::{Bundle, Manifest, Part};
    let vbios = include_bytes!("../../../../carat-tee/tests/fixtures/nvidia-96005E0001.cbor");
    let known = Bundle::decode(vbios).unwrap().manifests[0].clone();
    let driver = Manifest {
        id: "driver".into(),
        part: Part::Driver,
        version: "535.86.09".into(),
        values: known.values[..1].to_vec(),
        ..known
    };
    let key = SigningKey::from_secret(&[9; 32]);
    vec![
        GpuReference {
            name: label("vbios"),
            bundle: vbios.to_vec(),
        },
        GpuReference {
            name: label("driver"),
            bundle: Bundle::sign(NOW, &[driver], &key),
        },
    ]
}

/// Reference values of GPUs enter from the Trust file and from nowhere else; without them firmware of NVIDIA's counts only
/// where the file says so, under an assumption of its own.
#[test]
fn row_12_gpu_firmware_is_the_trust_files_to_name() {
    let Some(hardware) = nitro() else { return };
    let with = |references: Vec<GpuReference>, firmware: GpuFirmware| {
        trust(|content| {
            let mut entry = platform(&hardware);
            entry.gpu_firmware = firmware;
            content.platforms = vec![entry];
            content.gpu_references = references;
        })
    };
    let named = with(references(), GpuFirmware::Reference);
    let Some(gpu) = hopper(&named, GpuFirmware::Reference) else {
        return;
    };
    let gpu = gpu.unwrap();
    let (found, _) = sets_with(&hardware, core::slice::from_ref(&gpu), &named, |_| {});
    assert_eq!(found[0].amount, Some("5000USD".parse().unwrap()));
    assert_eq!(found[0].under[..2], ["vendor:aws", "vendor:nvidia"]);
    assert!(!found[0].under.iter().any(|atom| atom == "any-gpu-firmware"));

    for (references, reason) in [
        (vec![], carat_tee::Reason::ReferenceMissing),
        (
            references()[..1].to_vec(),
            carat_tee::Reason::ReferenceMissing,
        ),
    ] {
        let fewer = with(references, GpuFirmware::Reference);
        let refused = hopper(&fewer, GpuFirmware::Reference).unwrap().unwrap_err();
        assert_eq!(refused.reason, reason);
        hopper(&fewer, GpuFirmware::Any).unwrap().unwrap();
    }

    let any = with(vec![], GpuFirmware::Any);
    let (found, _) = sets_with(&hardware, core::slice::from_ref(&gpu), &any, |_| {});
    assert!(found[0].under.iter().any(|atom| atom == "any-gpu-firmware"));
    // Where there is no GPU nothing is assumed about its firmware.
    let (found, _) = sets(&hardware, &any, |_| {});
    assert!(!found[0].under.iter().any(|atom| atom == "any-gpu-firmware"));

    // A denied GPU takes the amount away as a denied CPU does.
    let id = gpu.facts().platforms[0].as_str();
    let deny = trust(|content| {
        content.platforms = vec![platform(&hardware)];
        content.denied_platforms = vec![denied("nvidia", id)];
    });
    let (found, reason) = sets_with(&hardware, core::slice::from_ref(&gpu), &deny, |_| {});
    assert!(
        found[0].amount.unwrap().is_zero() && reason.contains("refuses"),
        "{reason}"
    );
}

/// Entries are alternatives: each that fits has a set.
#[test]
fn every_fitting_entry_counts() {
    let Some(hardware) = nitro() else { return };
    let trust = trust(|content| {
        let mut second = platform(&hardware);
        (second.name, second.cap) = (label("second"), "7USD".parse().unwrap());
        content.platforms = vec![second, platform(&hardware)];
    });
    let (found, _) = sets(&hardware, &trust, |_| {});
    let amounts: Vec<_> = found.iter().map(|set| set.amount.unwrap()).collect();
    assert_eq!(
        amounts,
        ["7USD", "5000USD"].map(|text| text.parse().unwrap())
    );
}
