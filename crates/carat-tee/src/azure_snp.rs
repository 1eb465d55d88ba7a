//! Azure confidential VMs on SEV-SNP.

use crate::{Attested, Checks, Kind, Reason, Rejected, Request, Verifier};

/// Verifies them.
#[derive(Debug)]
pub struct AzureSnp;

impl Verifier for AzureSnp {
    const KIND: Kind = Kind::AzureSnp;

    fn verify(_request: &Request<'_>) -> Result<Attested, Rejected> {
        Err(Checks::new(Self::KIND).stop(Reason::Unsupported, "format", "not built yet"))
    }
}
