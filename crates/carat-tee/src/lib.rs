//! Attestation: what a vendor's hardware says about the code it runs, checked offline.
//!
//! [`verify`] takes evidence, what endorses it, a [`Policy`], the time and the nonce, and gives [`Hardware`] or
//! [`Rejected`]. Nothing here reads a clock, a file or the network. Roots are pinned in the crate; no argument adds one.
//!
//! * every format has a module and a [`Verifier`]: [`nitro`], [`tdx`], [`sgx`], [`snp`], [`nvidia`], [`azure_snp`], [`gcp`];
//! * [`Checks`] collects each check with its outcome, and is the only way to an accepted result;
//! * evidence of the simulator comes out as [`Simulated`], which never becomes [`Hardware`].
//!
//! Formats, reason codes and policies are described in `docs/tee.md`, attacks and their tests in `docs/tee-attacks.md`.
#![cfg_attr(not(feature = "nsm"), forbid(unsafe_code))]
#![cfg_attr(feature = "nsm", deny(unsafe_code))]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "attester", test))]
extern crate std;

pub mod anchors;
mod appraise;
#[cfg(feature = "attester")]
pub mod attest;
pub mod binding;
pub mod cache;
mod checks;
pub mod claims;
pub mod crypto;
pub mod der;
#[cfg(test)]
mod forge;
pub mod input;
mod kind;
pub mod package;
pub mod policy;
mod reason;
mod request;
pub mod sim;
mod verdict;
pub mod x509;

pub mod azure_snp;
pub mod gcp;
pub mod nitro;
pub mod nvidia;
pub mod sgx;
pub mod snp;
pub mod tdx;

pub use cache::Cache;
pub use checks::{Check, Checks, Outcome};
pub use claims::{Claims, Value};
pub use kind::{Kind, PlatformId, PlatformIdError, UnknownKind};
pub use package::Package;
pub use policy::{Policy, PolicyError};
pub use reason::Reason;
pub use request::{Binding, Endorsements, Request};
pub use sim::verify_simulated;
pub use verdict::{Attested, Facts, Hardware, Rejected, Simulated};

/// Verifies evidence of one format against the vendor's pinned root.
pub trait Verifier {
    /// The format.
    const KIND: Kind;
    /// Verifies evidence. Everything it depends on is in the request.
    fn verify(request: &Request<'_>) -> Result<Attested, Rejected>;
}

/// Verifies evidence of a kind against the vendor's root, as [`Verifier::verify`] does.
pub fn verify(kind: Kind, request: &Request<'_>) -> Result<Hardware, Rejected> {
    let attested = match kind {
        Kind::Nitro => nitro::Nitro::verify(request),
        Kind::Tdx => tdx::Tdx::verify(request),
        Kind::Sgx => sgx::Sgx::verify(request),
        Kind::Snp => snp::Snp::verify(request),
        Kind::Nvidia => nvidia::Nvidia::verify(request),
        Kind::AzureSnp => azure_snp::AzureSnp::verify(request),
        Kind::Gcp => gcp::Gcp::verify(request),
    }?;
    Ok(Hardware::new(attested))
}
