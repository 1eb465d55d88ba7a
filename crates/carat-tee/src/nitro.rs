//! AWS Nitro Enclaves attestation documents.

use crate::{Attested, Checks, Kind, Reason, Rejected, Request, Verifier};

/// Verifies them.
#[derive(Debug)]
pub struct Nitro;

impl Verifier for Nitro {
    const KIND: Kind = Kind::Nitro;

    fn verify(_request: &Request<'_>) -> Result<Attested, Rejected> {
        Err(Checks::new(Self::KIND).stop(Reason::Unsupported, "format", "not built yet"))
    }
}
