//! Google Cloud Confidential Space PKI tokens.

use crate::{Attested, Checks, Kind, Reason, Rejected, Request, Verifier};

/// Verifies them.
#[derive(Debug)]
pub struct Gcp;

impl Verifier for Gcp {
    const KIND: Kind = Kind::Gcp;

    fn verify(_request: &Request<'_>) -> Result<Attested, Rejected> {
        Err(Checks::new(Self::KIND).stop(Reason::Unsupported, "format", "not built yet"))
    }
}
