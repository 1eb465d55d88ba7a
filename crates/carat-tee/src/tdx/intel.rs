//! What TDX and SGX share: verification by `dcap-qvl` under the pinned root, then this crate's own policy over what it
//! found.
//!
//! Cryptography comes first and policy second: the verifying crate is asked to let debug quotes through and to apply no
//! policy of its own, so that every refusal has a reason code of this crate. Its one history of skipping a check
//! (CVE-2026-22696) is why its inputs are brought into one form here, its version is pinned, and the mutations of a quote
//! and of its collateral are a test.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{PckCertFlag, QuoteClaims, QuotePolicy, TcbStatus};

#[cfg(feature = "ring")]
use dcap_qvl::configs::RingConfig as Backend;
#[cfg(not(feature = "ring"))]
use dcap_qvl::configs::RustCryptoConfig as Backend;

use super::collateral::{self, Collateral, CollateralError};
use super::quote::{Quote, QuoteError, Tee};
use crate::{Checks, Kind, PlatformId, Reason, Request};

/// DER of `Intel SGX Root CA`, the root of SGX and TDX, to 2049.
pub(crate) const ROOT_DER: &[u8] = include_bytes!("../../roots/intel/sgx-root-ca.der");
/// SHA-256 of `ROOT_DER`.
pub const INTEL_ROOT: [u8; 32] =
    crate::anchors::digest("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3");

/// Why nothing more can be said.
pub(crate) struct Stop(
    pub(crate) Reason,
    pub(crate) &'static str,
    pub(crate) String,
);

/// Parses a quote of this kind.
pub(crate) fn parse<'a>(kind: Kind, evidence: &'a [u8]) -> Result<Quote<'a>, Stop> {
    let quote = Quote::parse(evidence).map_err(|error| {
        let code = match error {
            QuoteError::Unsupported { .. } => Reason::Unsupported,
            QuoteError::Padding => Reason::Padding,
            _ => Reason::Malformed,
        };
        Stop(code, "format", error.to_string())
    })?;
    let (expected, name) = match kind {
        Kind::Sgx => (Tee::Sgx, "an SGX"),
        _ => (Tee::Tdx, "a TDX"),
    };
    if quote.tee == expected {
        Ok(quote)
    } else {
        let reason = format!("this is not {name} quote");
        Err(Stop(Reason::Malformed, "format", reason))
    }
}

/// What a verified quote says.
pub(crate) struct Verified {
    /// The verifying crate's findings.
    pub(crate) claims: QuoteClaims,
    /// The last second at which quote and collateral still verify.
    pub(crate) until: u64,
}

/// Verifies a quote and its collateral under a root, and records what the policy says about the platform.
pub(crate) fn verify(
    checks: &mut Checks,
    request: &Request<'_>,
    quote: &Quote<'_>,
    root: &[u8],
) -> Result<Verified, Stop> {
    let Some(bytes) = request.endorsements.collateral else {
        return Err(Stop(
            Reason::CollateralMissing,
            "collateral",
            "a quote cannot be verified without Intel's collateral of its time".to_string(),
        ));
    };
    let collateral = Collateral::parse(bytes, root).map_err(|error| {
        let code = match error {
            CollateralError::TooLarge(_) => Reason::TooLarge,
            CollateralError::Root(_) => Reason::WrongRoot,
            _ => Reason::CollateralInvalid,
        };
        Stop(code, "collateral", error.to_string())
    })?;
    dates(checks, request, &collateral);
    let window = collateral.windows.iter().map(|window| window.until).min();
    let mut inner = collateral.inner;
    inner.pck_certificate_chain = Some(platform_chain(request, quote, collateral.pck_chain, root)?);
    let claims = QuoteVerifier::<Backend>::new_with_config(root.to_vec())
        .allow_debug(true)
        .verify_with_policy(
            quote.whole,
            inner,
            request.now,
            &QuotePolicy::claims_only(request.now),
        )
        .map_err(|error| {
            let message = format!("{error:#}");
            Stop(code(&message), "signature", message)
        })?;
    checks.pass(
        "signature",
        "Intel's root, the platform's key, the quoting enclave and the quote, each signed by the one before",
    );
    claim(checks, &claims);
    status(checks, request, &claims);
    let until = window.unwrap_or(0).min(claims.earliest_expiration_date);
    Ok(Verified { claims, until })
}

/// Each dated piece of collateral says itself when it holds.
fn dates(checks: &mut Checks, request: &Request<'_>, collateral: &Collateral) {
    let now = request.now;
    for window in &collateral.windows {
        if now > window.until {
            return checks.fail(
                Reason::CollateralExpired,
                "collateral_dates",
                format!(
                    "the {} ran out at {}; it is {now}",
                    window.what, window.until
                ),
            );
        }
        if now < window.from {
            return checks.fail(
                Reason::CollateralNotYetValid,
                "collateral_dates",
                format!("the {} begins at {}; it is {now}", window.what, window.from),
            );
        }
    }
    checks.pass("collateral_dates", "all pieces of collateral hold now");
}

/// The chain of the platform's key: the quote's own, or what was given where the quote only names the platform.
fn platform_chain(
    request: &Request<'_>,
    quote: &Quote<'_>,
    from_collateral: Vec<Vec<u8>>,
    root: &[u8],
) -> Result<String, Stop> {
    let given = &request.endorsements;
    let ders = if !quote.pck_chain.is_empty() {
        quote.pck_chain.clone()
    } else if !from_collateral.is_empty() {
        from_collateral
    } else {
        given.certs.iter().chain(given.chain).cloned().collect()
    };
    if ders.is_empty() {
        return Err(Stop(
            Reason::EndorsementMissing,
            "platform_chain",
            "the quote does not carry the chain of the platform's key, and none was given"
                .to_string(),
        ));
    }
    collateral::chain(
        &collateral::join(&ders),
        "the quote",
        collateral::PLATFORM_BELOW,
        root,
    )
    .map(|ders| collateral::join(&ders))
    .map_err(|error| {
        let code = match error {
            CollateralError::Root(_) => Reason::WrongRoot,
            _ => Reason::Malformed,
        };
        Stop(code, "platform_chain", error.to_string())
    })
}

/// The reason behind a message of the pinned version of `dcap-qvl`; its errors have no types. The first match counts. A
/// message that is not listed is still a refusal.
fn code(message: &str) -> Reason {
    const CODES: &[(&str, Reason)] = &[
        ("CertExpired", Reason::CertificateExpired),
        ("CertNotValidYet", Reason::CertificateNotYetValid),
        ("CertRevoked", Reason::Revoked),
        ("CrlExpired", Reason::CollateralExpired),
        ("TCBInfo expired", Reason::CollateralExpired),
        ("QE Identity expired", Reason::CollateralExpired),
        ("issue date is in the future", Reason::CollateralNotYetValid),
        ("UnknownIssuer", Reason::WrongRoot),
        ("Failed to parse root CA CRL", Reason::CollateralInvalid),
        ("Failed to parse PCK CRL", Reason::CollateralInvalid),
        ("InvalidCrlSignatureForPublicKey", Reason::CollateralInvalid),
        ("UnknownRevocationStatus", Reason::CollateralInvalid),
        ("IssuerNotCrlSigner", Reason::CollateralInvalid),
        (
            "must be issued directly by the root CA",
            Reason::CollateralInvalid,
        ),
        ("in quote_collateral", Reason::CollateralInvalid),
        ("Failed to decode TcbInfo", Reason::CollateralInvalid),
        ("Failed to decode QeIdentity", Reason::CollateralInvalid),
        ("Unsupported QE Identity", Reason::CollateralInvalid),
        ("TCB info in the collateral", Reason::CollateralInvalid),
        ("Fmspc mismatch", Reason::CollateralInvalid),
        ("TDX module identity", Reason::CollateralInvalid),
        ("tdxModule", Reason::CollateralInvalid),
        ("Failed to parse certs", Reason::Malformed),
        ("certificate chain", Reason::Chain),
        ("Failed to parse PCK certificate", Reason::Chain),
        ("Intel extension", Reason::Chain),
        ("TDX module MRSIGNER", Reason::Software),
        ("TDX module SEAMATTRIBUTES", Reason::Software),
        ("QE MRSIGNER", Reason::Software),
        ("QE ISVPRODID", Reason::Software),
        ("QE MISCSELECT", Reason::Software),
        ("QE ATTRIBUTES", Reason::Software),
        ("QE report validation failed", Reason::Software),
        ("No matching TCB level found", Reason::TcbOutOfDate),
        ("below minimum required", Reason::TcbOutOfDate),
        ("TCB status is invalid: Revoked", Reason::TcbRevoked),
        ("TD migration", Reason::GuestPolicy),
        ("SERVTD_EXT", Reason::GuestPolicy),
        ("MR service TD", Reason::GuestPolicy),
        ("SEPT_VE_DISABLE", Reason::GuestPolicy),
        ("Reserved bits in TD attributes", Reason::GuestPolicy),
        ("Unsupported", Reason::Unsupported),
    ];
    CODES
        .iter()
        .find(|(part, _)| message.contains(part))
        .map_or(Reason::Signature, |(_, reason)| *reason)
}

fn claim(checks: &mut Checks, claims: &QuoteClaims) {
    let pck = &claims.platform.pck;
    checks.claim("tcb_status", claims.tcb.status.to_string());
    checks.claim("advisories", advisories(claims));
    checks.claim("tcb_evaluation_data_number", claims.tcb.eval_data_number);
    checks.claim("tcb_date", claims.platform.tcb_level.tcb_date.clone());
    checks.claim("fmspc", &pck.fmspc);
    checks.claim("ppid", pck.ppid.clone());
    if let Some(instance) = &pck.platform_instance_id {
        checks.claim("platform_instance_id", instance);
    }
    checks.claim("cpu_svn", &pck.cpu_svn);
    checks.claim("pce_svn", pck.pce_svn);
    for (name, flag) in [
        ("dynamic_platform", pck.dynamic_platform),
        ("cached_keys", pck.cached_keys),
        ("smt", pck.smt_enabled),
    ] {
        match flag {
            PckCertFlag::True => checks.claim(name, true),
            PckCertFlag::False => checks.claim(name, false),
            PckCertFlag::Undefined => {}
        }
    }
    checks.claim("collateral_issued", claims.latest_issue_date);
    checks.claim("collateral_until", claims.earliest_expiration_date);
}

/// Advisories of the platform's level at launch and now and of the quoting enclave's, each once.
fn advisories(claims: &QuoteClaims) -> Vec<String> {
    let platform = &claims.platform;
    let current = platform.current_tcb_level.as_ref();
    let mut all: Vec<String> = Vec::new();
    let every = platform
        .tcb_level
        .advisory_ids
        .iter()
        .chain(current.into_iter().flat_map(|level| &level.advisory_ids))
        .chain(&claims.qe.tcb_level.advisory_ids)
        .chain(&claims.tcb.advisory_ids);
    for id in every {
        if !all.contains(id) {
            all.push(id.clone());
        }
    }
    all
}

fn status(checks: &mut Checks, request: &Request<'_>, claims: &QuoteClaims) {
    let policy = &request.policy.intel;
    let status = claims.tcb.status;
    let name = status.to_string();
    let reason = match status {
        TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded => Reason::TcbOutOfDate,
        TcbStatus::Revoked => Reason::TcbRevoked,
        _ => Reason::TcbStatus,
    };
    // Revoked levels are refused whatever a policy lists.
    let accepted = status != TcbStatus::Revoked
        && policy
            .tcb_status
            .iter()
            .any(|accepted| accepted.eq_ignore_ascii_case(&name));
    checks.require(
        accepted,
        reason,
        "tcb_status",
        format!("Intel's status is {name}"),
        || {
            format!(
                "Intel's status is {name}; the policy accepts {}",
                policy.tcb_status.join(", ")
            )
        },
    );
    let found = advisories(claims);
    let denied: Vec<&str> = found
        .iter()
        .filter(|id| {
            policy
                .deny_advisories
                .iter()
                .any(|denied| denied.eq_ignore_ascii_case(id))
        })
        .map(String::as_str)
        .collect();
    checks.require(
        denied.is_empty(),
        Reason::AdvisoryDenied,
        "advisories",
        match found.len() {
            0 => "none applies".to_string(),
            n => format!(
                "{n} apply and the policy refuses none of them: {}",
                found.join(", ")
            ),
        },
        || format!("the policy refuses {}", denied.join(", ")),
    );
    let minimum = policy.min_tcb_evaluation_data_number;
    if minimum == 0 {
        checks.not_made(
            "tcb_evaluation_data_number",
            "the policy sets no minimum: older collateral that has not run out is accepted",
        );
    } else {
        checks.require(
            claims.tcb.eval_data_number >= minimum,
            Reason::CollateralTooOld,
            "tcb_evaluation_data_number",
            format!("{} is at least {minimum}", claims.tcb.eval_data_number),
            || format!("{} is below {minimum}", claims.tcb.eval_data_number),
        );
    }
}

/// Names of the machine, for lists: the platform (`intel-ppid`, and per kind `tdx-ppid` or `sgx-ppid`), its instance,
/// its model.
pub(crate) fn platforms(kind: Kind, claims: &QuoteClaims) -> Vec<PlatformId> {
    let pck = &claims.platform.pck;
    let mut names = Vec::new();
    if !pck.ppid.is_empty() {
        let own = match kind {
            Kind::Sgx => "sgx-ppid",
            _ => "tdx-ppid",
        };
        names.push(PlatformId::of_bytes("intel-ppid", &pck.ppid));
        names.push(PlatformId::of_bytes(own, &pck.ppid));
    }
    if let Some(instance) = &pck.platform_instance_id {
        names.push(PlatformId::of_bytes("intel-piid", instance));
    }
    names.push(PlatformId::of_bytes("intel-fmspc", &pck.fmspc));
    names
}

/// What must still be believed.
pub(crate) fn still_trusted(claims: &QuoteClaims, debug: bool) -> Vec<String> {
    let mut trusted = alloc::vec![
        "Intel: its processors and enclaves report the truth, and the platform's keys have not left it".to_string(),
        "nobody tampers physically with the machine: interposers on the memory bus have extracted such keys".to_string(),
        "the code that the measurements name does what is claimed for it".to_string(),
    ];
    let advisories = advisories(claims);
    if !advisories.is_empty() {
        trusted.push(format!(
            "that {} do not matter here: Intel says that they apply to this platform",
            advisories.join(", ")
        ));
    }
    if debug {
        trusted.push("whoever runs the machine: this was made in debug mode".to_string());
    }
    trusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_pinned_one() {
        let root = crate::x509::Certificate::parse(ROOT_DER).expect("parses");
        assert_eq!(root.digest(), INTEL_ROOT);
        root.signed_by(root.key).expect("signed by itself");
        assert_eq!(root.common_name().as_deref(), Some("Intel SGX Root CA"));
    }
}
