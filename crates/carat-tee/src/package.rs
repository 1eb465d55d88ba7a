//! Attestation evidence inside a receipt: the CPU's evidence, GPUs', and what endorses them, bound to the receipt's key.
//!
//! In `carat-receipt` an attestation is typed bytes. Here is what they mean (`docs/tee.md`, "Inside a receipt"):
//! the media type names the kind, and endorsements are, in this order, one item each of
//! `application/vnd.carat.tee-binding` (CBOR `{1: nonce, 2: configuration digest}`), any of `...tee.cert`, `...tee.chain`
//! (one DER certificate each) and `...tee.collateral`, then for each GPU a report (`...tee.nvidia`) and its chain
//! (`...tee.nvidia-chain`, DER certificates one after another, leaf first).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::cbor::{DecodeError, MapWriter, Reader, Writer};
use carat_receipt::evidence::{Attestation, MAX_ATTESTATION_BYTES, MAX_ENDORSEMENTS};
use carat_receipt::{Digest, Label, LabelError, PublicKey};

use crate::input::{self, InputError};
use crate::policy::NvidiaPolicy;
use crate::sim::verify_simulated;
use crate::{
    Binding, Checks, Endorsements, Hardware, Kind, Policy, Reason, Rejected, Request, Simulated,
    binding, verify,
};

/// Largest nonce of a binding in bytes.
pub const MAX_NONCE: usize = 64;

const BINDING: &str = "application/vnd.carat.tee-binding";
const CERT: &str = "application/vnd.carat.tee.cert";
const CHAIN: &str = "application/vnd.carat.tee.chain";
const COLLATERAL: &str = "application/vnd.carat.tee.collateral";
const GPU_CHAIN: &str = "application/vnd.carat.tee.nvidia-chain";
const REAL: &str = "application/vnd.carat.tee.";
const SIMULATED: &str = "application/vnd.carat.tee-simulated.";

/// Evidence for one receipt key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Kind of the CPU's evidence.
    pub kind: Kind,
    /// Made by the simulator, and says so.
    pub simulated: bool,
    /// The CPU's evidence.
    pub evidence: Vec<u8>,
    /// Nonce of the verifier or of the epoch.
    pub nonce: Vec<u8>,
    /// Digest of the configuration that the measured code runs with.
    pub configuration: Digest,
    /// Certificates for the evidence's own key, DER.
    pub certs: Vec<Vec<u8>>,
    /// Certificates above, DER.
    pub chain: Vec<Vec<u8>>,
    /// The vendor's collateral.
    pub collateral: Option<Vec<u8>>,
    /// GPUs of the same machine.
    pub gpus: Vec<Gpu>,
}

/// Evidence of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The report.
    pub report: Vec<u8>,
    /// Its chain, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// What came of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Real hardware.
    Hardware {
        /// The CPU.
        cpu: Hardware,
        /// Its GPUs.
        gpus: Vec<Hardware>,
    },
    /// A simulation. Worth nothing.
    Simulated(Simulated),
}

/// An attestation is no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Another media type.
    #[error("evidence of type \"{0}\" is not known to this version")]
    MediaType(String),
    /// Another endorsement, or in another place.
    #[error("an endorsement of type \"{0}\" is not known, or stands in the wrong place")]
    Endorsement(String),
    /// No binding.
    #[error("the evidence does not say what it is bound to")]
    NoBinding,
    /// The binding is not CBOR of the expected form.
    #[error("the binding cannot be read: {0}")]
    Binding(#[from] DecodeError),
    /// The chain of a GPU is no certificates.
    #[error("the chain of a GPU cannot be read: {0}")]
    Chain(#[from] InputError),
    /// Too much for a receipt.
    #[error(
        "a receipt takes {MAX_ENDORSEMENTS} endorsements of {MAX_ATTESTATION_BYTES} bytes; this has more"
    )]
    TooMuch,
    /// A constant of this module is no label.
    #[error(transparent)]
    Label(#[from] LabelError),
}

impl Package {
    /// Whether a media type is one of attestation evidence of this version, real or simulated.
    pub fn knows(media_type: &str) -> bool {
        kind_of(media_type).is_some()
    }

    /// Whether an attestation says that it is a simulation.
    pub fn is_simulated(attestation: &Attestation) -> bool {
        attestation.media_type.as_str().starts_with(SIMULATED)
    }

    /// Reads an attestation of a receipt. Nothing of it is verified.
    pub fn read(attestation: &Attestation) -> Result<Self, PackageError> {
        let media_type = attestation.media_type.as_str();
        let (kind, simulated) =
            kind_of(media_type).ok_or_else(|| PackageError::MediaType(media_type.to_string()))?;
        let mut items = attestation.endorsements.iter();
        let (nonce, configuration) = match items.next() {
            Some((label, bytes)) if label.as_str() == BINDING => read_binding(bytes)?,
            _ => return Err(PackageError::NoBinding),
        };
        let mut package = Self {
            kind,
            simulated,
            evidence: attestation.evidence.clone(),
            nonce,
            configuration,
            certs: Vec::new(),
            chain: Vec::new(),
            collateral: None,
            gpus: Vec::new(),
        };
        let gpu_type = Kind::Nvidia.media_type();
        while let Some((label, bytes)) = items.next() {
            let wrong = || PackageError::Endorsement(label.to_string());
            match label.as_str() {
                CERT if package.gpus.is_empty() => package.certs.push(bytes.clone()),
                CHAIN if package.gpus.is_empty() => package.chain.push(bytes.clone()),
                COLLATERAL if package.gpus.is_empty() && package.collateral.is_none() => {
                    package.collateral = Some(bytes.clone());
                }
                label if label == gpu_type => {
                    let chain = match items.next() {
                        Some((label, chain)) if label.as_str() == GPU_CHAIN => {
                            input::certificates(chain)?
                        }
                        _ => return Err(wrong()),
                    };
                    package.gpus.push(Gpu {
                        report: bytes.clone(),
                        chain,
                    });
                }
                _ => return Err(wrong()),
            }
        }
        Ok(package)
    }

    /// The attestation for a receipt.
    pub fn write(&self) -> Result<Attestation, PackageError> {
        let media_type = if self.simulated {
            alloc::format!("{SIMULATED}{}", self.kind)
        } else {
            self.kind.media_type().to_string()
        };
        let mut map = MapWriter::new();
        map.put(1, |w| {
            w.bytes(&self.nonce);
        });
        map.put(2, |w| {
            w.bytes(self.configuration.as_bytes());
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        let mut endorsements = alloc::vec![(Label::new(BINDING)?, w.into_bytes())];
        for (label, list) in [(CERT, &self.certs), (CHAIN, &self.chain)] {
            for der in list {
                endorsements.push((Label::new(label)?, der.clone()));
            }
        }
        if let Some(collateral) = &self.collateral {
            endorsements.push((Label::new(COLLATERAL)?, collateral.clone()));
        }
        for gpu in &self.gpus {
            endorsements.push((Label::new(Kind::Nvidia.media_type())?, gpu.report.clone()));
            endorsements.push((Label::new(GPU_CHAIN)?, gpu.chain.concat()));
        }
        let fits = |bytes: &[u8]| (1..=MAX_ATTESTATION_BYTES).contains(&bytes.len());
        if endorsements.len() > MAX_ENDORSEMENTS
            || !fits(&self.evidence)
            || !endorsements.iter().all(|(_, bytes)| fits(bytes))
        {
            return Err(PackageError::TooMuch);
        }
        Ok(Attestation {
            media_type: Label::new(media_type)?,
            evidence: self.evidence.clone(),
            endorsements,
        })
    }

    /// Verifies everything for a receipt key at a time: GPUs answer the nonce that `B0` gives, the CPU's evidence is bound to
    /// `B`, which names them. Reference values of GPUs are the policy's own: what is verified brings none.
    pub fn verify(&self, key: &PublicKey, policy: &Policy, now: u64) -> Result<Verdict, Rejected> {
        if self.kind == Kind::Nvidia {
            let reason = "a GPU's evidence stands for nothing without the CPU's";
            return Err(Checks::new(self.kind).stop(Reason::BindingMismatch, "binding", reason));
        }
        let bind0 = binding::bind0(key, &self.nonce, &self.configuration);
        let nonce = binding::gpu_nonce(&bind0);
        let reports: Vec<Digest> = self
            .gpus
            .iter()
            .map(|gpu| Digest::sha256(&gpu.report))
            .collect();
        let bound = binding::bind(&bind0, &reports);
        let request = Request {
            evidence: &self.evidence,
            endorsements: Endorsements {
                collateral: self.collateral.as_deref(),
                certs: &self.certs,
                chain: &self.chain,
            },
            policy,
            now,
            nonce: None,
            binding: Some(Binding {
                value: &bound,
                key: key.as_bytes(),
            }),
        };
        let gpu_requests: Vec<Request<'_>> = self
            .gpus
            .iter()
            .map(|gpu| Request {
                evidence: &gpu.report,
                endorsements: Endorsements {
                    collateral: None,
                    certs: &[],
                    chain: &gpu.chain,
                },
                binding: Some(Binding {
                    value: &nonce,
                    key: key.as_bytes(),
                }),
                ..request
            })
            .collect();
        if self.simulated {
            let cpu = verify_simulated(self.kind, &request)?;
            // Nobody publishes reference values of a chip that does not exist; the simulation must be seen as one anyway.
            let mut policy = policy.clone();
            policy.nvidia = NvidiaPolicy::default();
            for gpu in gpu_requests {
                let policy = &policy;
                verify_simulated(Kind::Nvidia, &Request { policy, ..gpu })?;
            }
            return Ok(Verdict::Simulated(cpu));
        }
        let cpu = verify(self.kind, &request)?;
        let gpus = crate::nvidia::verify_all(&gpu_requests)?;
        Ok(Verdict::Hardware { cpu, gpus })
    }
}

fn kind_of(media_type: &str) -> Option<(Kind, bool)> {
    let (name, simulated) = match media_type.strip_prefix(SIMULATED) {
        Some(name) => (name, true),
        None => (media_type.strip_prefix(REAL)?, false),
    };
    name.parse().ok().map(|kind| (kind, simulated))
}

fn read_binding(bytes: &[u8]) -> Result<(Vec<u8>, Digest), DecodeError> {
    const WHAT: &str = "attestation binding";
    let r = &mut Reader::new(bytes);
    let mut map = r.int_map(WHAT, 2)?;
    let (mut nonce, mut configuration) = (None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => nonce = Some(r.bytes(WHAT, 0, MAX_NONCE)?.to_vec()),
            2 => configuration = Some(r.digest(WHAT)?),
            other => return Err(map.unknown(other)),
        }
    }
    r.finish(WHAT)?;
    Ok((map.require(1, nonce)?, map.require(2, configuration)?))
}
