//! The simulator: plays the vendor with a root made for one run, and emits the real wire formats, so that the production
//! verifier is what gets exercised.
//!
//! It cannot be mistaken for hardware:
//! * what comes of its evidence is [`Simulated`], a type of its own that never becomes [`crate::Hardware`];
//! * its root is pinned nowhere, and no argument of the verifier adds a root;
//! * each of its certificates has a critical extension that only the simulated path understands, and the common name
//!   `SIMULATED - NOT A TEE`, so a verifier that pinned the root by mistake would still refuse;
//! * its Nitro documents have the measurements of debug mode, its GPU reports come from an unknown chip;
//! * inside a receipt it has a media type of its own;
//! * it does not start where a real device is.
//!
//! Verifying needs no feature: anybody must be able to tell simulated evidence. Producing needs the feature `simulator`.

#[cfg(feature = "simulator")]
mod der;
#[cfg(feature = "simulator")]
mod produce;

#[cfg(feature = "simulator")]
pub use produce::{SimulationError, Simulator};

use alloc::string::ToString;

use sha2::{Digest as _, Sha256};

use crate::anchors::Anchors;
use crate::nitro::{self, Document};
use crate::{Attested, Checks, Kind, Policy, Reason, Rejected, Request, Simulated, nvidia};

/// Common name of every simulated certificate.
pub const COMMON_NAME: &str = "SIMULATED - NOT A TEE";

/// Name of the simulated chip, in the certificate of the simulated GPU.
pub const CHIP: &str = "GX000";

/// Verifies evidence of the simulator against the root that came with it: that root proves nothing, so nothing but
/// [`Simulated`] comes of it. Evidence of real hardware is refused here.
pub fn verify_simulated(kind: Kind, request: &Request<'_>) -> Result<Simulated, Rejected> {
    // Simulated measurements are those of debug mode; whoever accepts a simulation accepts that.
    let policy = Policy {
        allow_debug: true,
        ..request.policy.clone()
    };
    let request = Request {
        policy: &policy,
        ..*request
    };
    let unsupported =
        |reason: &str| Checks::new(kind).stop(Reason::Unsupported, "simulated", reason.to_string());
    let attested: Attested = match kind {
        Kind::Nitro => {
            let document = Document::parse(request.evidence)
                .map_err(|error| unsupported(&error.to_string()))?;
            let root = document
                .cabundle
                .first()
                .ok_or_else(|| unsupported("no root"))?;
            let root: [u8; 32] = Sha256::digest(root).into();
            nitro::verify_with(&request, Anchors::Simulated(&root))?
        }
        Kind::Nvidia => {
            let root = request
                .endorsements
                .chain
                .last()
                .ok_or_else(|| unsupported("no root"))?;
            let root: [u8; 32] = Sha256::digest(root).into();
            nvidia::verify_with(&request, Anchors::Simulated(&root))?
        }
        _ => return Err(unsupported("nothing simulates this kind of evidence")),
    };
    // The second mark: a chain that says "simulated" over measurements that do not is neither.
    if !attested.facts().debug {
        return Err(unsupported(
            "the measurements are not those of a simulation",
        ));
    }
    Ok(Simulated::new(attested))
}
