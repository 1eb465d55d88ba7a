//! Intel SGX quotes.

use crate::{Attested, Checks, Kind, Reason, Rejected, Request, Verifier};

/// Verifies them.
#[derive(Debug)]
pub struct Sgx;

impl Verifier for Sgx {
    const KIND: Kind = Kind::Sgx;

    fn verify(_request: &Request<'_>) -> Result<Attested, Rejected> {
        Err(Checks::new(Self::KIND).stop(Reason::Unsupported, "format", "not built yet"))
    }
}
