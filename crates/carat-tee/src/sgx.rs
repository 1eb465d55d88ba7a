//! Intel SGX quotes (DCAP), version 3.
//!
//! Evidence and collateral are as for [`crate::tdx`]. `Facts::measurement` is over MRENCLAVE and CONFIGID, in this order
//! (an enclave may load its code by CONFIGID); `Facts::bound` is the report data.

use alloc::vec::Vec;

use carat_receipt::Digest;

use crate::appraise::{self, zero};
use crate::tdx::{Quote, intel};
use crate::verdict::Facts;
use crate::{Attested, Checks, Kind, Rejected, Request, Verifier, binding};

/// Verifies them.
#[derive(Debug)]
pub struct Sgx;

impl Verifier for Sgx {
    const KIND: Kind = Kind::Sgx;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        verify_under(request, intel::ROOT_DER)
    }
}

/// An enclave's report: Intel 64 Architectures SDM, volume 3D, table "Layout of REPORT".
struct EnclaveReport<'a>(&'a [u8]);

impl<'a> EnclaveReport<'a> {
    fn bytes(&self, offset: usize, len: usize) -> &'a [u8] {
        self.0.get(offset..offset + len).unwrap_or_default()
    }

    fn u16(&self, offset: usize) -> u16 {
        match self.bytes(offset, 2) {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        }
    }

    fn attributes(&self) -> &'a [u8] {
        self.bytes(48, 16)
    }

    fn mr_enclave(&self) -> &'a [u8] {
        self.bytes(64, 32)
    }

    fn mr_signer(&self) -> &'a [u8] {
        self.bytes(128, 32)
    }

    fn config_id(&self) -> &'a [u8] {
        self.bytes(192, 64)
    }

    fn report_data(&self) -> &'a [u8] {
        self.bytes(320, 64)
    }

    fn debug(&self) -> bool {
        self.attributes().first().is_none_or(|byte| byte & 2 != 0)
    }

    fn measurement(&self) -> Digest {
        binding::measurement(Kind::Sgx, &[self.mr_enclave(), self.config_id()])
    }
}

/// Verifies a quote under a root, given as DER.
pub(crate) fn verify_under(request: &Request<'_>, root: &[u8]) -> Result<Attested, Rejected> {
    let mut checks = Checks::new(Kind::Sgx);
    let quote = match intel::parse(Kind::Sgx, request.evidence) {
        Ok(quote) => quote,
        Err(intel::Stop(code, name, reason)) => return Err(checks.stop(code, name, reason)),
    };
    let report = EnclaveReport(quote.report);
    checks.claim("quote_version", quote.version);
    checks.claim("mr_enclave", report.mr_enclave());
    checks.claim("mr_signer", report.mr_signer());
    checks.claim("isv_prod_id", report.u16(256));
    checks.claim("isv_svn", report.u16(258));
    checks.claim("attributes", report.attributes());
    if !zero(report.config_id()) {
        checks.claim("config_id", report.config_id());
    }
    checks.claim("report_data", report.report_data());
    let verified = intel::verify(&mut checks, request, &quote, root);
    let debug = report.debug();
    let how = "the enclave's host may read and change its memory";
    let intel::Verified { claims, until } = match verified {
        Ok(verified) => verified,
        Err(intel::Stop(code, name, reason)) => {
            checks.fail(code, name, reason);
            checks.debug(request.policy, debug, how);
            return checks.conclude(facts(&quote, &report, debug), Vec::new());
        }
    };
    checks.debug(request.policy, debug, how);
    let policy = &request.policy.intel;
    appraise::expected_hex(
        &mut checks,
        "mr_enclave",
        &policy.mr_enclave,
        report.mr_enclave(),
    );
    appraise::expected_hex(
        &mut checks,
        "mr_signer",
        &policy.mr_signer,
        report.mr_signer(),
    );
    checks.measurement(request.policy, &report.measurement());
    appraise::guest_field(&mut checks, request, report.report_data());
    let platforms = intel::platforms(Kind::Sgx, &claims);
    checks.platforms(request.policy, &platforms);
    let facts = Facts {
        platforms,
        valid_until: Some(until),
        ..facts(&quote, &report, debug)
    };
    checks.conclude(facts, intel::still_trusted(&claims, debug))
}

fn facts(quote: &Quote<'_>, report: &EnclaveReport<'_>, debug: bool) -> Facts {
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
