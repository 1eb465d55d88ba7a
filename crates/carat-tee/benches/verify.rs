//! How long one verification takes, by format. Evidence that is not there is not measured, and a line says so.

use std::hint::black_box;
use std::path::Path;

use carat_tee::{Endorsements, Kind, Policy, Request, input, verify};
use criterion::{Criterion, criterion_group, criterion_main};

struct Sample {
    name: &'static str,
    kind: Kind,
    now: u64,
    evidence: &'static str,
    range: Option<(usize, usize)>,
    collateral: Option<&'static str>,
    certs: &'static [&'static str],
    chain: Option<&'static str>,
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
};

const SAMPLES: [Sample; 7] = [
    Sample {
        name: "nitro",
        now: 1_665_651_482,
        evidence: "nitro/evervault-beta-valid.cbor",
        ..BARE
    },
    Sample {
        name: "tdx",
        kind: Kind::Tdx,
        now: 1_750_372_347,
        evidence: "tdx/tdx_quote",
        collateral: Some("tdx/tdx_quote_collateral.json"),
        ..BARE
    },
    Sample {
        name: "snp vcek genoa",
        kind: Kind::Snp,
        now: 1_780_272_000,
        evidence: "snp/ms-genoa_report.bin",
        certs: &["snp/ms-genoa_vcek.pem"],
        ..BARE
    },
    Sample {
        name: "nvidia hopper",
        kind: Kind::Nvidia,
        now: 1_735_689_600,
        evidence: "nvidia/nvsdk-hopperAttestationReport.txt",
        chain: Some("nvidia/nvsdk-hopperCertChain.txt"),
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
        ..BARE
    },
];

fn read(path: &str) -> Option<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/evidence");
    std::fs::read(folder.join(path)).ok()
}

fn formats(c: &mut Criterion) {
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
        c.bench_function(sample.name, |b| {
            b.iter(|| verify(sample.kind, black_box(&request)).is_ok())
        });
    }
}

#[cfg(feature = "simulator")]
fn cached(c: &mut Criterion) {
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
    c.bench_function("cached package", |b| {
        b.iter(|| {
            cache
                .verify(black_box(&attestation), &key, &policy, now)
                .is_ok()
        });
    });
}

#[cfg(not(feature = "simulator"))]
fn cached(_: &mut Criterion) {
    eprintln!("cached package: NOT MEASURED, needs --features simulator");
}

criterion_group!(benches, formats, cached);
criterion_main!(benches);
