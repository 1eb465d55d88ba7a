//! The receipts, notices and Trust files of `conformance/` that a small world of fixed seeds gives. What a verifier says of
//! them stands in `conformance/verdicts.json`, which the tests of the command line, of Python and of JavaScript read.
//! `CARAT_WRITE_FIXTURES=1` writes them anew, which is an explicit approval of a new format.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use carat_receipt::evidence::Body;
use carat_receipt::notice::NoticeFile;
use carat_receipt::statement::Reliance;
use carat_receipt::{Digest, Evidence, Notice, ReceiptFile, Said, SignedNotice, SigningKey};
use carat_tee::package::Gpu;
use carat_tee::sim::Simulator;
use carat_tee::{Kind, Package, binding, input};
use carat_verify::trust::{
    Content, GpuFirmware, Model, Platform, PolicyName, Revocation, Upstream,
};
use common::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pinned(name: &str, bytes: &[u8]) {
    let path = root().join("conformance").join(name);
    if std::env::var_os("CARAT_WRITE_FIXTURES").is_some() {
        fs::write(&path, bytes).unwrap();
    }
    let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(found == bytes, "{name} is not what this version writes");
}

fn receipt(name: &str, file: &ReceiptFile) {
    pinned(&format!("receipts/{name}.carat"), &file.encode());
}

fn with_opening(name: &str, file: &ReceiptFile) {
    receipt(name, file);
    pinned(
        &format!("receipts/{name}.carat-open"),
        &opening(file).encode(),
    );
}

fn trust_file(name: &str, change: impl FnOnce(&mut Content)) {
    let mut content = content();
    change(&mut content);
    let text = trust_of(content).render();
    pinned(&format!("trust/{name}.toml"), text.as_bytes());
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

#[test]
fn trust_files() {
    trust_file("plain", |_| {});
    trust_file("upstream", |content| {
        content.upstreams.push(Upstream {
            name: label("up"),
            cap: amount("5 USD"),
            models: vec![],
            couriers: vec![],
        });
    });
    trust_file("no-quorum", |content| content.witness_quorum = 0);
    trust_file("stranger", |content| {
        content.issuers.clear();
        content.models.clear();
    });
    // The receipts of the world are at index 2 of the log.
    trust_file("revoked", |content| {
        content.issuers[0].keys[0].revoked = Some(Revocation {
            log: label(ORIGIN),
            from_index: LEAF_INDEX,
        });
    });
    // The model and the key of `receipts/proven.carat`: `carat model key models/tumor`. And the one of
    // `receipts/hidden-weights.carat`, which only its secret gives.
    trust_file("proofs", |content| {
        content.as_of = 1_796_040_000;
        content.models.push(Model {
            name: label("tumor"),
            program: digest("8e4b6c7ee4f1b067029354a9fc79ffff623019791e8baa115ac3a8bb9eacc3db"),
            proof_keys: vec![
                digest("c725cc95ac1043c102a4f6445dd5053d8cbedbbffae274f3f0328b8467edf637"),
                digest("98ef9e80b0be296aa4c9d68c1e503f8d6418651e28ff2e11b637d32a2994eb9e"),
            ],
        });
    });
    trust_file("no-cap", |content| content.implementation_cap = None);
    trust_file("platform", |content| {
        content.platforms.push(Platform {
            name: label("simulator"),
            kind: Kind::Nitro,
            measurement: binding::measurement(Kind::Nitro, &[&[0; 48], &[0; 48], &[0; 48]]),
            product: None,
            policy: PolicyName::Strict,
            gpu_firmware: GpuFirmware::Any,
            cap: amount("5000USD"),
            break_cost: None,
        });
    });
    let unsigned = carat_verify::Trust::new(content()).unwrap().render();
    pinned("trust/unsigned.toml", unsigned.as_bytes());
    let changed = trust().render().replace("\"500 USD\"", "\"900 USD\"");
    assert!(changed.contains("900 USD"));
    pinned("trust/changed.toml", changed.as_bytes());
}

#[test]
fn receipts() {
    with_opening("logged", &logged(file()));
    let mut contradicted = audited(file());
    let mut body = replay_body(&contradicted, &auditor_key(), "Example Auditor");
    body.output = Digest::sha256(b"something else");
    add_replay(&mut contradicted, body, &auditor_key());
    receipt("contradicted", &contradicted);
    let mut stranger = file();
    let body = replay_body(&stranger, &stranger_key(), "Example Auditor");
    add_replay(&mut stranger, body, &stranger_key());
    receipt("replayed-by-a-stranger", &stranger);
    let mut bare = audited(file());
    bare.program = None;
    receipt("without-program", &bare);
    let mut other = statement();
    other.optional.audience = Some(label("Other Bank"));
    receipt("for-somebody-else", &audited(file_of(other)));
    let mut plain = statement();
    plain.optional.audience = None;
    plain.optional.nonce = None;
    with_opening("without-nonce", &audited(file_of(plain)));
    let mut later = statement();
    later.issued_at = ISSUED_AT + 5000;
    receipt("issued-after-the-key-ran-out", &audited(file_of(later)));
    // What the Statement names, and another Program beside it.
    let mut wrong = audited(file());
    let mut program = program();
    program.outputs[0].name = "z".into();
    wrong.program = Some(program.encode());
    receipt("with-another-program", &wrong);
}

/// A receipt that rests on another one, which was made for its issuer.
#[test]
fn composites() {
    let mut step = statement();
    step.random = [7; 16];
    step.optional.audience = Some(label("Example Issuer"));
    let step = audited(file_of(step));
    let mut whole = statement();
    whole.optional.relies_on = vec![Reliance {
        receipt: step.receipt_id(),
        stake: amount("40 USD"),
    }];
    with_opening("step", &step);
    with_opening("composite", &audited(file_of(whole)));
}

fn corpus(name: &str) -> Vec<u8> {
    fs::read(root().join("fuzz/corpus").join(name)).unwrap()
}

/// A part with its length before it (2 bytes, little-endian), and what follows.
fn two_parts(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    (bytes[2..2 + length].to_vec(), bytes[2 + length..].to_vec())
}

const TEE_NONCE: [u8; 32] = [3; 32];

/// Evidence of a kind without anything beside it, bound to whatever it was bound to when it was recorded.
fn package(kind: Kind, evidence: Vec<u8>) -> Package {
    Package {
        kind,
        simulated: false,
        evidence,
        nonce: TEE_NONCE.to_vec(),
        configuration: Digest::sha256(b"configuration"),
        certs: vec![],
        chain: vec![],
        collateral: None,
        gpus: vec![],
    }
}

/// A simulated enclave that vouches for a key, perhaps with a GPU.
fn simulated(key: &SigningKey, gpu: bool) -> Package {
    let configuration = Digest::sha256(b"configuration");
    let simulator = Simulator::start(&[7; 32], ISSUED_AT, &[]).unwrap();
    let bind0 = binding::bind0(&key.public(), &TEE_NONCE, &configuration);
    let mut gpus = vec![];
    if gpu {
        let (report, chain) = simulator.gpu(&binding::gpu_nonce(&bind0)).unwrap();
        gpus.push(Gpu { report, chain });
    }
    let reports: Vec<Digest> = gpus.iter().map(|gpu| Digest::sha256(&gpu.report)).collect();
    let bound = binding::bind(&bind0, &reports);
    let evidence = simulator.nitro(&bound, key.public().as_bytes(), &TEE_NONCE, ISSUED_AT);
    Package {
        simulated: true,
        gpus,
        ..package(Kind::Nitro, evidence.unwrap())
    }
}

fn attested(package: &Package) -> ReceiptFile {
    let mut file = file();
    let body = Body::Attestation(package.write().unwrap());
    let statement = file.receipt_id();
    file.add_evidence(Evidence { statement, body }).unwrap();
    file
}

/// Real hardware signed for keys that nobody here has, so a receipt that it vouches for cannot be made. These hold recorded
/// evidence with genuine signatures up to the vendor's root: a verifier has to go the whole way, and to find at its end that the
/// evidence is about another key.
#[test]
fn attestations() {
    receipt("tee-simulated", &attested(&simulated(&issuer_key(), false)));
    receipt(
        "tee-simulated-gpu",
        &attested(&simulated(&issuer_key(), true)),
    );
    let other_key = simulated(&stranger_key(), false);
    receipt("tee-simulated-other-key", &attested(&other_key));
    let mut liar = simulated(&issuer_key(), false);
    liar.simulated = false;
    receipt("tee-simulated-says-it-is-real", &attested(&liar));

    let (quote, collateral) = two_parts(&corpus("tee_intel/td15ex"));
    let mut tdx = package(Kind::Tdx, quote);
    tdx.collateral = Some(collateral);
    receipt("tee-tdx", &attested(&tdx));
    tdx.collateral = None;
    receipt("tee-tdx-without-collateral", &attested(&tdx));

    let (report, certificates) = two_parts(&corpus("tee_snp/genoa"));
    let mut snp = package(Kind::Snp, report);
    snp.certs = input::certificates(&certificates).unwrap();
    receipt("tee-snp", &attested(&snp));

    let azure = corpus("tee_azure/v1");
    let azure = input::evidence(Kind::AzureSnp, &azure).unwrap();
    receipt(
        "tee-azure-snp",
        &attested(&package(Kind::AzureSnp, azure.into_owned())),
    );

    let gcp = corpus("tee_gcp/unsigned");
    receipt("tee-gcp-unsigned", &attested(&package(Kind::Gcp, gcp)));

    // A GPU that exists, beside an enclave that does not.
    let nvidia = corpus("tee_input/nvidia");
    let nvidia = input::file(Kind::Nvidia, &nvidia).unwrap();
    let mut gpu = simulated(&issuer_key(), false);
    gpu.gpus = vec![Gpu {
        report: nvidia.evidence.into_owned(),
        chain: nvidia.chain,
    }];
    gpu.simulated = false;
    receipt("tee-gpu-beside-a-simulation", &attested(&gpu));
}

#[test]
fn notices() {
    let file = file();
    let notice = |said: Said, key: &SigningKey| {
        let notice = Notice {
            issuer: label("Example Issuer"),
            issuer_key: key.public(),
            said_at: ISSUED_AT + 100,
            receipt: file.receipt_id(),
            nonce: Some(carat_receipt::Nonce::new(NONCE).unwrap()),
            said,
        };
        NoticeFile {
            signed: SignedNotice::sign(notice, key).unwrap(),
            log: None,
        }
    };
    let promise = |by| Said::Promise {
        rung: label("zk"),
        by,
    };
    let refusal = Said::Refusal {
        reason: label("no-capacity"),
        detail: label("nobody here proves programs of this size"),
    };
    let miss = |by| Said::Miss { by, promise: None };
    // Far away, or long ago: whoever reads them, whenever, finds the same.
    let (far, ago) = (250_000_000_000, ISSUED_AT);
    for (name, said, key) in [
        ("promise", promise(far), issuer_key()),
        ("overdue", promise(ago), issuer_key()),
        ("refusal", refusal, issuer_key()),
        ("miss", miss(ago), issuer_key()),
        ("early-miss", miss(far), issuer_key()),
        ("by-a-stranger", promise(far), stranger_key()),
    ] {
        pinned(
            &format!("receipts/{name}.carat-notice"),
            &notice(said, &key).encode(),
        );
    }
}
