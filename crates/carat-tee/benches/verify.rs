//! How much processor time one verification takes, by format: best and median, beside the budget where there is one. The
//! thread's own time is read, so that other work on the machine counts less. Evidence that is not there is not measured,
//! and a line says so.
//!
//! With the arithmetic in Rust alone: `--no-default-features --features simulator`.

#![allow(clippy::print_stdout)] // its output is its purpose

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use carat_tee::crypto::Backend;
use carat_tee::{Endorsements, Kind, Policy, Request, input, verify};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 300;

struct Sample {
    name: &'static str,
    kind: Kind,
    now: u64,
    evidence: &'static str,
    range: Option<(usize, usize)>,
    collateral: Option<&'static str>,
    certs: &'static [&'static str],
    chain: Option<&'static str>,
    /// What one verification may take, in milliseconds.
    budget: Option<u64>,
}

const BARE: Sample = Sample {
    name: "",
    kind: Kind::Nitro,
    now: 0,
    evidence: "",
    range: None,
    collateral: None,
    certs: &[],
    chain: None,
    budget: None,
};

const SAMPLES: [Sample; 8] = [
    Sample {
        name: "nitro",
        now: 1_665_651_482,
        evidence: "nitro/evervault-beta-valid.cbor",
        budget: Some(4),
        ..BARE
    },
    Sample {
        name: "tdx",
        kind: Kind::Tdx,
        now: 1_750_372_347,
        evidence: "tdx/tdx_quote",
        collateral: Some("tdx/tdx_quote_collateral.json"),
        budget: Some(2),
        ..BARE
    },
    Sample {
        name: "snp vcek genoa",
        kind: Kind::Snp,
        now: 1_780_272_000,
        evidence: "snp/ms-genoa_report.bin",
        certs: &["snp/ms-genoa_vcek.pem"],
        budget: Some(3),
        ..BARE
    },
    Sample {
        name: "snp vcek milan",
        kind: Kind::Snp,
        now: 1_735_689_600,
        evidence: "snp/report_milan.hex",
        certs: &["snp/vcek_milan.der"],
        budget: Some(3),
        ..BARE
    },
    Sample {
        name: "nvidia hopper",
        kind: Kind::Nvidia,
        now: 1_735_689_600,
        evidence: "nvidia/nvsdk-hopperAttestationReport.txt",
        chain: Some("nvidia/nvsdk-hopperCertChain.txt"),
        budget: Some(6),
        ..BARE
    },
    Sample {
        name: "gcp confidential space",
        kind: Kind::Gcp,
        now: 1_757_060_300,
        evidence: "gcp/oak-confidential-space-sample.jwt",
        ..BARE
    },
    Sample {
        name: "azure snp",
        kind: Kind::AzureSnp,
        now: 1_748_736_000,
        evidence: "azure/trustee-az-snp-vtpm-evidence-v1.json",
        ..BARE
    },
    Sample {
        name: "nitro of another toolchain",
        now: 1_766_668_537,
        evidence: "nitro/dstack-nsm-qvl.cbor",
        range: Some((4, 4527)),
        budget: Some(4),
        ..BARE
    },
];

fn read(path: &str) -> Option<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/evidence");
    std::fs::read(folder.join(path)).ok()
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs it again and again, and prints the best and the median round.
fn measure(name: &str, budget: Option<Duration>, mut run: impl FnMut() -> bool) {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = processor_time();
            assert!(black_box(run()), "{name} no longer verifies");
            processor_time() - start
        })
        .collect();
    rounds.sort_unstable();
    let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
    let (best, median) = (rounds[0], rounds[ROUNDS / 2]);
    let verdict = budget.map_or(String::new(), |budget| {
        let word = if median <= budget { "within" } else { "ABOVE" };
        format!("   {word} {} us", budget.as_micros())
    });
    println!(
        "{name:28} best {:8.1} us   median {:8.1} us{verdict}",
        micros(best),
        micros(median)
    );
}

fn formats() {
    let policy = Policy::strict();
    for sample in &SAMPLES {
        let gathered = (|| {
            let mut evidence = read(sample.evidence)?;
            if let Some((from, len)) = sample.range {
                evidence = evidence[from..from + len].to_vec();
            }
            let evidence = input::evidence(sample.kind, &evidence).ok()?.into_owned();
            let collateral = match sample.collateral {
                Some(path) => Some(read(path)?),
                None => None,
            };
            let certs = sample
                .certs
                .iter()
                .map(|path| input::certificates(&read(path)?).ok())
                .collect::<Option<Vec<_>>>()?;
            let chain = match sample.chain {
                Some(path) => input::certificates(&read(path)?).ok()?,
                None => Vec::new(),
            };
            Some((evidence, collateral, certs.concat(), chain))
        })();
        let Some((evidence, collateral, certs, chain)) = gathered else {
            eprintln!("{}: NOT MEASURED, the evidence is not there", sample.name);
            continue;
        };
        let request = Request {
            evidence: &evidence,
            endorsements: Endorsements {
                collateral: collateral.as_deref(),
                certs: &certs,
                chain: &chain,
            },
            policy: &policy,
            now: sample.now,
            nonce: None,
            binding: None,
        };
        if let Err(rejected) = verify(sample.kind, &request) {
            eprintln!("{}: NOT MEASURED, {rejected}", sample.name);
            continue;
        }
        let budget = sample.budget.map(Duration::from_millis);
        measure(sample.name, budget, || {
            verify(sample.kind, black_box(&request)).is_ok()
        });
    }
}

#[cfg(feature = "simulator")]
fn cached() {
    use carat_receipt::{Digest, SigningKey};
    use carat_tee::cache::{Cache, NamedPolicy};
    use carat_tee::sim::Simulator;
    use carat_tee::{Package, binding};

    let now = 1_800_000_000;
    let key = SigningKey::from_secret(&[1; 32]).public();
    let configuration = Digest::sha256(b"configuration");
    let bound = binding::bind(&binding::bind0(&key, &[3; 32], &configuration), &[]);
    let evidence = Simulator::start(&[7; 32], now, &[])
        .ok()
        .and_then(|simulator| simulator.nitro(&bound, key.as_bytes(), &[3; 32], now));
    let package = Package {
        kind: Kind::Nitro,
        simulated: true,
        evidence: evidence.unwrap_or_default(),
        nonce: vec![3; 32],
        configuration,
        certs: vec![],
        chain: vec![],
        collateral: None,
        gpus: vec![],
    };
    let (Ok(attestation), Ok(policy)) = (package.write(), NamedPolicy::new(Policy::strict()))
    else {
        return;
    };
    let mut cache = Cache::new();
    measure("cached package", Some(Duration::from_micros(100)), || {
        cache
            .verify(black_box(&attestation), &key, &policy, now)
            .is_ok()
    });
}

#[cfg(not(feature = "simulator"))]
fn cached() {
    eprintln!("cached package: NOT MEASURED, needs --features simulator");
}

fn main() {
    println!("arithmetic: {:?}", Backend::DEFAULT);
    formats();
    cached();
}
