//! `carat run --tee`: attestation evidence of the key that signs the receipt.

use carat_node::attesting;
use carat_receipt::evidence::{Body, Evidence};
use carat_receipt::{ReceiptFile, SigningKey};
use carat_tee::Policy;

use crate::exit::{Exit, Failure};
use crate::home;

/// What attests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tee {
    /// A simulator. Worth nothing, and shown as simulated everywhere; for tests.
    Simulated,
    /// This machine's own hardware (TDX or SEV-SNP). Refused unless the evidence passes the verifier here.
    Hardware,
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
        Tee::Simulated => attesting::simulated(&key.public(), &nonce, now)?,
        Tee::Hardware => attesting::hardware(&key.public(), &nonce, &Policy::production(), now)?,
    };
    let attestation = package.write().map_err(Failure::of(Exit::Internal))?;
    let evidence = Evidence {
        statement: file.receipt_id(),
        body: Body::Attestation(attestation),
    };
    file.add_evidence(evidence)
        .map_err(Failure::of(Exit::Internal))
}

/// How `run` names the evidence in its output.
pub(super) fn shown(tee: Option<Tee>) -> &'static str {
    match tee {
        None => "",
        Some(Tee::Simulated) => "; attestation SIMULATED - NOT A TEE",
        Some(Tee::Hardware) => "; attestation by this machine's hardware",
    }
}
