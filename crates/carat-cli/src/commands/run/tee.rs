//! `carat run --tee`: attestation evidence of the key that signs the receipt.

use std::path::Path;

use carat_receipt::evidence::{Body, Evidence};
use carat_receipt::{Digest, ReceiptFile, SigningKey};
use carat_tee::attest::{self, ConfigFs, StdFiles};
use carat_tee::sim::Simulator;
use carat_tee::{Kind, Package, Policy, binding};

use crate::exit::{Exit, Failure};
use crate::home;

/// Where configfs-tsm is.
const TSM: &str = "/sys/kernel/config/tsm/report";

/// What attests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tee {
    /// A simulator. Worth nothing, and shown as simulated everywhere; for tests.
    Simulated,
    /// This machine's own hardware (TDX or SEV-SNP). Refused unless the evidence passes the verifier here.
    Hardware,
}

/// What the measured code was started with: this release and its numerics.
fn configuration() -> Digest {
    Digest::of(
        "carat/tee-configuration/v1",
        &[
            env!("CARGO_PKG_VERSION").as_bytes(),
            carat_node::issue::NUMERICS.as_bytes(),
        ],
    )
}

/// Attaches evidence about the issuer's key to a receipt.
pub(super) fn attach(tee: Tee, file: &mut ReceiptFile, key: &SigningKey) -> Result<(), Failure> {
    let statement = file.signed.statement();
    // The caller's nonce makes the evidence fresh for the caller; without one the Statement's own random bytes stand there.
    let nonce = match &statement.optional.nonce {
        Some(nonce) => nonce.as_bytes().to_vec(),
        None => statement.random.to_vec(),
    };
    let now = home::clock()?;
    let package = match tee {
        Tee::Simulated => simulated(key, &nonce, now)?,
        Tee::Hardware => hardware(key, &nonce, now)?,
    };
    let attestation = package.write().map_err(Failure::of(Exit::Internal))?;
    let evidence = Evidence {
        statement: file.receipt_id(),
        body: Body::Attestation(attestation),
    };
    file.add_evidence(evidence)
        .map_err(Failure::of(Exit::Internal))
}

fn simulated(key: &SigningKey, nonce: &[u8], now: u64) -> Result<Package, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|_| Failure::new(Exit::Io, "the operating system gave no randomness"))?;
    let devices = attest::devices(Path::new("/"));
    let simulator = Simulator::start(&seed, now, &devices).map_err(Failure::of(Exit::Usage))?;
    let configuration = configuration();
    let bound = binding::bind(&binding::bind0(&key.public(), nonce, &configuration), &[]);
    let evidence = simulator
        .nitro(&bound, key.public().as_bytes(), nonce, now)
        .ok_or_else(|| Failure::new(Exit::Internal, "the simulator made no document"))?;
    Ok(Package {
        kind: Kind::Nitro,
        simulated: true,
        evidence,
        nonce: nonce.to_vec(),
        configuration,
        certs: Vec::new(),
        chain: Vec::new(),
        collateral: None,
        gpus: Vec::new(),
    })
}

fn hardware(key: &SigningKey, nonce: &[u8], now: u64) -> Result<Package, Failure> {
    let unable = |error: &dyn std::fmt::Display| {
        let message = format!("{error}; `carat tee doctor` says what this machine could attest");
        Failure::new(Exit::NotAvailable, message)
    };
    let name = format!("carat-{}", std::process::id());
    let attester =
        ConfigFs::open(StdFiles, Path::new(TSM), &name).map_err(|error| unable(&error))?;
    attest::offer(
        &attester,
        &key.public(),
        nonce,
        &configuration(),
        None,
        &Policy::production(),
        now,
    )
    .map_err(|error| unable(&error))
}

/// How `run` names the evidence in its output.
pub(super) fn shown(tee: Option<Tee>) -> &'static str {
    match tee {
        None => "",
        Some(Tee::Simulated) => "; attestation SIMULATED - NOT A TEE",
        Some(Tee::Hardware) => "; attestation by this machine's hardware",
    }
}
