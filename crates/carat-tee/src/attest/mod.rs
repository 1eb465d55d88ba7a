//! Producing evidence on a machine that has the hardware.
//!
//! An [`Attester`] asks the kernel. Interfaces of the kernel are injected, so tests fake them; nothing here reads an
//! environment variable. What is produced is believed no more than anybody else's: [`offer`] passes it through the
//! production verifier before a node offers the rung.

mod configfs;
mod nsm;

pub use configfs::{ConfigFs, FileSystem, StdFiles};
#[cfg(all(feature = "nsm", target_os = "linux"))]
pub use nsm::DevNsm;
pub use nsm::{Nitro, NsmDevice};

use std::path::Path;
use std::string::String;
use std::vec::Vec;

use carat_receipt::{Digest, PublicKey};
use serde::Serialize;

use crate::package::{Package, Verdict};
use crate::{Kind, Policy, Rejected, binding};

/// What evidence shall speak about.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// `B` of `docs/binding.md`.
    pub binding: &'a [u8; 64],
    /// The key made inside.
    pub key: &'a [u8; 32],
    /// The verifier's or epoch's nonce.
    pub nonce: &'a [u8],
}

/// Evidence as the kernel gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    /// What it is.
    pub kind: Kind,
    /// The evidence.
    pub evidence: Vec<u8>,
    /// Certificates that the host added, DER. Verified like any others.
    pub certs: Vec<Vec<u8>>,
    /// Certificates above, DER.
    pub chain: Vec<Vec<u8>>,
}

/// No evidence could be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The kernel refused a file.
    #[error(
        "the kernel's interface failed at {path}: {error}; is the guest driver loaded, and is this process root?"
    )]
    Io {
        /// Where.
        path: String,
        /// What it said.
        error: std::io::Error,
    },
    /// Somebody else wrote the same entry, again and again.
    #[error("the report was changed by somebody else {0} times in a row; try again")]
    Busy(usize),
    /// The kernel gave evidence that is not known here.
    #[error("the provider \"{0}\" is not known; this version knows tdx_guest and sev_guest")]
    Provider(String),
    /// The device answered something else.
    #[error("the security module answered: {0}")]
    Device(String),
    /// A field is longer than the format allows.
    #[error("{field} has {len} bytes; the format allows {max}")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The machine's own evidence does not pass its own verifier.
    #[error("this machine's own evidence does not verify, so nothing is offered: {0}")]
    Refused(#[from] Rejected),
    /// The machine's own evidence is a simulation.
    #[error("this machine's own evidence is simulated, so nothing is offered")]
    Simulated,
}

/// Asks one kind of hardware for evidence.
pub trait Attester {
    /// What it produces.
    fn kind(&self) -> Kind;
    /// Fresh evidence.
    fn evidence(&self, ask: &Ask<'_>) -> Result<Produced, AttestError>;
}

/// What a node does at start and on a timer: asks for evidence over its own key and verifies it like a stranger's. Only
/// what passes is offered.
pub fn offer(
    attester: &dyn Attester,
    key: &PublicKey,
    nonce: &[u8],
    configuration: &Digest,
    collateral: Option<Vec<u8>>,
    policy: &Policy,
    now: u64,
) -> Result<Package, AttestError> {
    let bound = binding::bind(&binding::bind0(key, nonce, configuration), &[]);
    let produced = attester.evidence(&Ask {
        binding: &bound,
        key: key.as_bytes(),
        nonce,
    })?;
    let package = Package {
        kind: produced.kind,
        simulated: false,
        evidence: produced.evidence,
        nonce: nonce.to_vec(),
        configuration: *configuration,
        certs: produced.certs,
        chain: produced.chain,
        collateral,
        gpus: Vec::new(),
    };
    match package.verify(key, policy, now)? {
        Verdict::Hardware { .. } => Ok(package),
        Verdict::Simulated(_) => Err(AttestError::Simulated),
    }
}

/// What was found about one way to attest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The way.
    pub what: &'static str,
    /// Whether it is there.
    pub able: bool,
    /// Why, or why not.
    pub why: String,
}

/// Where devices of trusted execution environments are, below the root of the file system.
const PLACES: [(&str, &str, &str); 7] = [
    (
        "nitro",
        "dev/nsm",
        "the Nitro Security Module, in AWS Nitro Enclaves",
    ),
    (
        "configfs-tsm",
        "sys/kernel/config/tsm/report",
        "TDX and SEV-SNP guests, Linux 6.7 or later with configfs mounted",
    ),
    (
        "sev-snp",
        "dev/sev-guest",
        "the older interface of SEV-SNP guests",
    ),
    ("tdx", "dev/tdx_guest", "the device of TDX guests"),
    (
        "vtpm",
        "dev/tpmrm0",
        "a TPM; on Azure it leads to the SEV-SNP report",
    ),
    (
        "nvidia",
        "dev/nvidia0",
        "an NVIDIA GPU; evidence needs confidential mode and NVIDIA's tools",
    ),
    (
        "confidential-space",
        "run/container_launcher/teeserver.sock",
        "Google's launcher, in Confidential Space",
    ),
];

/// What this machine could attest, and why not.
pub fn doctor(root: &Path) -> Vec<Finding> {
    PLACES
        .iter()
        .map(|&(what, place, meaning)| {
            let path = root.join(place);
            // A TPM or a GPU alone is no trusted execution environment.
            let alone = matches!(what, "vtpm" | "nvidia");
            let (able, why) = match path.try_exists() {
                Ok(true) if alone => (
                    false,
                    std::format!(
                        "{} is there; alone it proves nothing: {meaning}",
                        path.display()
                    ),
                ),
                Ok(true) => (true, std::format!("{} is there: {meaning}", path.display())),
                Ok(false) => (
                    false,
                    std::format!("{} is not there: {meaning}", path.display()),
                ),
                Err(error) => (
                    false,
                    std::format!("{} cannot be looked at: {error}", path.display()),
                ),
            };
            Finding { what, able, why }
        })
        .collect()
}

/// The real devices of this machine; the simulator does not start beside them.
pub fn devices(root: &Path) -> Vec<String> {
    let found = doctor(root).into_iter().filter(|finding| finding.able);
    found.map(|finding| String::from(finding.what)).collect()
}
