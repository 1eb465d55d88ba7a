//! Intel TDX quotes (DCAP), version 4 and 5.
//!
//! Evidence is the quote; what Intel says about the platform comes as collateral. `Facts::measurement` is over MRTD,
//! MRCONFIGID and RTMR0 to RTMR3, in this order; `Facts::bound` is the report data.

mod collateral;
pub(crate) mod intel;
mod quote;

use alloc::string::String;
use alloc::vec::Vec;

use carat_receipt::Digest;

pub use collateral::{CollateralError, MAX_COLLATERAL_BYTES};
pub use intel::INTEL_ROOT;
pub use quote::{ENCLAVE_REPORT_BYTES, Quote, QuoteError, Tee};

use crate::appraise;
use crate::verdict::Facts;
use crate::{Attested, Checks, Kind, Rejected, Request, Verifier, binding};

/// Verifies them.
#[derive(Debug)]
pub struct Tdx;

impl Verifier for Tdx {
    const KIND: Kind = Kind::Tdx;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        verify_under(request, intel::ROOT_DER)
    }
}

/// A TD report's fields, from their offsets; `Quote::parse` has checked its length.
struct TdReport<'a>(&'a [u8]);

impl<'a> TdReport<'a> {
    /// Names and places of the fields that claims show.
    const FIELDS: [(&'static str, usize, usize); 14] = [
        ("tee_tcb_svn", 0, 16),
        ("mr_seam", 16, 48),
        ("mr_signer_seam", 64, 48),
        ("seam_attributes", 112, 8),
        ("td_attributes", 120, 8),
        ("xfam", 128, 8),
        ("mr_td", 136, 48),
        ("mr_config_id", 184, 48),
        ("mr_owner", 232, 48),
        ("mr_owner_config", 280, 48),
        ("rtmr0", 328, 48),
        ("rtmr1", 376, 48),
        ("rtmr2", 424, 48),
        ("rtmr3", 472, 48),
    ];
    const TD_ATTRIBUTES: usize = 120;
    const MR_TD: usize = 136;
    const MR_CONFIG_ID: usize = 184;
    const RTMR: usize = 328;
    const REPORT_DATA: usize = 520;
    const TEE_TCB_SVN_2: usize = 584;
    const MR_SERVICE_TD: usize = 600;

    fn bytes(&self, offset: usize, len: usize) -> &'a [u8] {
        self.0.get(offset..offset + len).unwrap_or_default()
    }

    fn report_data(&self) -> &'a [u8] {
        self.bytes(Self::REPORT_DATA, 64)
    }

    /// Any bit of the group TUD, "TD under debug", makes the domain untrusted: debugging, or profiling.
    fn debug(&self) -> bool {
        self.bytes(Self::TD_ATTRIBUTES, 1) != [0]
    }

    fn measurement(&self) -> Digest {
        let mut parts: Vec<&[u8]> = alloc::vec![
            self.bytes(Self::MR_TD, 48),
            self.bytes(Self::MR_CONFIG_ID, 48)
        ];
        parts.extend(self.bytes(Self::RTMR, 4 * 48).chunks(48));
        binding::measurement(Kind::Tdx, &parts)
    }
}

/// Verifies a quote under a root, given as DER.
pub(crate) fn verify_under(request: &Request<'_>, root: &[u8]) -> Result<Attested, Rejected> {
    let mut checks = Checks::new(Kind::Tdx);
    let quote = match intel::parse(Kind::Tdx, request.evidence) {
        Ok(quote) => quote,
        Err(intel::Stop(code, name, reason)) => return Err(checks.stop(code, name, reason)),
    };
    let report = TdReport(quote.report);
    checks.claim("quote_version", quote.version);
    for (name, offset, len) in TdReport::FIELDS {
        checks.claim(name, report.bytes(offset, len));
    }
    checks.claim("report_data", report.report_data());
    if quote.report.len() > TdReport::TEE_TCB_SVN_2 {
        checks.claim("tee_tcb_svn_2", report.bytes(TdReport::TEE_TCB_SVN_2, 16));
        checks.claim("mr_service_td", report.bytes(TdReport::MR_SERVICE_TD, 48));
    }
    let verified = intel::verify(&mut checks, request, &quote, root);
    let debug = report.debug();
    let how = "the trust domain may be debugged or profiled by its host";
    let intel::Verified { claims, until } = match verified {
        Ok(verified) => verified,
        Err(intel::Stop(code, name, reason)) => {
            checks.fail(code, name, reason);
            checks.debug(request.policy, debug, how);
            return checks.conclude(facts(&quote, &report, debug), Vec::new());
        }
    };
    checks.debug(request.policy, debug, how);
    appraise::expected_hex(
        &mut checks,
        "mr_td",
        &request.policy.intel.mr_td,
        report.bytes(TdReport::MR_TD, 48),
    );
    let measurement = report.measurement();
    checks.measurement(request.policy, &measurement);
    appraise::guest_field(&mut checks, request, report.report_data());
    let platforms = intel::platforms(Kind::Tdx, &claims);
    checks.platforms(request.policy, &platforms);
    let facts = Facts {
        platforms,
        valid_until: Some(until),
        ..facts(&quote, &report, debug)
    };
    let trusted: Vec<String> = intel::still_trusted(&claims, debug);
    checks.conclude(facts, trusted)
}

fn facts(quote: &Quote<'_>, report: &TdReport<'_>, debug: bool) -> Facts {
    Facts {
        debug,
        platforms: Vec::new(),
        product: None,
        measurement: report.measurement(),
        signed_region: Digest::sha256(quote.signed),
        bound: report.report_data().to_vec(),
        made_at: None,
        valid_until: None,
    }
}

#[cfg(test)]
mod tests;
