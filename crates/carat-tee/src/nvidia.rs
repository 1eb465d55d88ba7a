//! NVIDIA GPU attestation reports.

use crate::{Attested, Checks, Kind, Reason, Rejected, Request, Verifier};

/// Verifies them.
#[derive(Debug)]
pub struct Nvidia;

impl Verifier for Nvidia {
    const KIND: Kind = Kind::Nvidia;

    fn verify(_request: &Request<'_>) -> Result<Attested, Rejected> {
        Err(Checks::new(Self::KIND).stop(Reason::Unsupported, "format", "not built yet"))
    }
}
