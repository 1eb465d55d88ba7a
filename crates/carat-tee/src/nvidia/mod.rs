//! NVIDIA GPU attestation reports, Hopper and Blackwell (and the NVSwitches between them).
//!
//! A report is signed by a certificate of the GPU's firmware, whose chain ends at NVIDIA's device root. It says nothing about
//! the CPU it is plugged into: that comes from the nonce, which is derived from the CPU's binding (`docs/binding.md`).
//! Measurements are compared with reference values where the policy accepts a bundle of them ([`mod@reference`]).

mod compare;
mod firmware;
pub(crate) mod json;
pub mod reference;
pub mod spdm;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::Digest;
use sha2::{Digest as _, Sha256};

use crate::anchors::{Anchors, NVIDIA_DEVICE, NVIDIA_DEVICE_DER};
use crate::crypto::{self, Algorithm, Form};
use crate::x509::{self, Certificate};
use crate::{
    Attested, Checks, Facts, Hardware, Kind, PlatformId, Reason, Rejected, Request, Verifier,
    binding,
};
use spdm::{Report, ReportError, opaque};

/// Verifies NVIDIA reports.
#[derive(Debug)]
pub struct Nvidia;

impl Verifier for Nvidia {
    const KIND: Kind = Kind::Nvidia;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        verify_with(request, Anchors::Vendor)
    }
}

/// Verifies the reports of several GPUs of one machine. One GPU counts once: two reports of the same part are refused.
pub fn verify_all(requests: &[Request<'_>]) -> Result<Vec<Hardware>, Rejected> {
    let mut found: Vec<Hardware> = Vec::new();
    for request in requests {
        let hardware = crate::verify(Kind::Nvidia, request)?;
        let same = |known: &&Hardware| {
            known.facts().signed_region == hardware.facts().signed_region
                || known
                    .facts()
                    .platforms
                    .iter()
                    .any(|name| hardware.facts().platforms.contains(name))
        };
        if found.iter().any(|known| same(&known)) {
            let reason = "two reports are of the same GPU";
            return Err(Checks::new(Kind::Nvidia).stop(Reason::Duplicate, "distinct", reason));
        }
        found.push(hardware);
    }
    Ok(found)
}

pub(crate) fn verify_with(
    request: &Request<'_>,
    anchors: Anchors<'_>,
) -> Result<Attested, Rejected> {
    let mut checks = Checks::new(Kind::Nvidia);
    let report = match Report::parse(request.evidence) {
        Ok(report) => report,
        Err(error) => {
            let code = match error {
                ReportError::TooLarge(_) => Reason::TooLarge,
                ReportError::Unsupported(_) => Reason::Unsupported,
                _ => Reason::Malformed,
            };
            return Err(checks.stop(code, "format", error.to_string()));
        }
    };
    checks.pass(
        "format",
        format!(
            "an SPDM 1.1 report with {} measurements",
            report.blocks.len()
        ),
    );
    claim(&mut checks, &report);

    let chain: Vec<Certificate<'_>> = match chain(request, &anchors) {
        Ok(chain) => chain,
        Err((code, reason)) => return Err(checks.stop(code, "certificates", reason)),
    };
    let Some(leaf) = chain.first() else {
        return Err(checks.stop(
            Reason::EndorsementMissing,
            "certificates",
            "the chain is empty",
        ));
    };
    let verified = crypto::verify(
        leaf.key,
        Algorithm::EcdsaSha384,
        Form::Raw,
        report.signed,
        report.signature,
    );
    if let Err(error) = verified {
        return Err(checks.stop(Reason::Signature, "signature", error.to_string()));
    }
    checks.require(
        leaf.may_sign_data(),
        Reason::Signature,
        "signature",
        "signed by the GPU's firmware key",
        || "the certificate may not sign data".into(),
    );
    anchors.check(&mut checks, &chain, &[NVIDIA_DEVICE]);
    trailing(&mut checks, request, &report);
    let valid_until = x509::dates(&mut checks, &chain, request.now);
    // The simulator's chip is none that exists, so its reports are refused for that alone wherever they are taken as real.
    let simulated = matches!(anchors, Anchors::Simulated(_)) && names_simulated_chip(&chain);
    let product = if simulated {
        Some("simulated")
    } else {
        product(&chain)
    };
    match product {
        Some(product) => {
            checks.claim("product", product);
            checks.pass("product", format!("the chain is for {product}"));
        }
        None => checks.fail(
            Reason::Unsupported,
            "product",
            "the chain names no generation that is known here",
        ),
    }
    let debug = firmware::check(&mut checks, request, &report, leaf) || simulated;
    checks.nonce(request, Some(report.nonce));
    checks.bound(request, Some(report.nonce));
    let references_until = compare::reference_values(&mut checks, request, &report);
    let values: Vec<&[u8]> = report.blocks.iter().map(|block| block.value).collect();
    let measurement = binding::measurement(Kind::Nvidia, &values);
    checks.measurement(request.policy, &measurement);
    let platforms = platforms(&chain);
    for platform in &platforms {
        checks.claim("gpu", platform.as_str());
    }
    checks.platforms(request.policy, &platforms);

    let still_trusted = alloc::vec![
        "NVIDIA, which makes the GPU and its firmware and holds the root's key".to_string(),
        "that the GPU is in the machine that shows the report: only a binding through the CPU's own evidence says so".to_string(),
        "that the GPU runs in confidential mode and its memory cannot be read from outside".to_string(),
        "that none of the chain's certificates was revoked: revocation is not consulted".to_string(),
    ];
    let facts = Facts {
        debug,
        platforms,
        product: product.map(ToString::to_string),
        measurement,
        signed_region: Digest::sha256(report.signed),
        bound: report.nonce.to_vec(),
        made_at: None,
        valid_until: Some(valid_until.min(references_until)),
    };
    checks.conclude(facts, still_trusted)
}

/// The chain, leaf first; NVIDIA's pinned root is added where it was left out.
fn chain<'a>(
    request: &Request<'a>,
    anchors: &Anchors<'_>,
) -> Result<Vec<Certificate<'a>>, (Reason, String)> {
    let endorsements = request.endorsements;
    let given: Vec<&[u8]> = endorsements
        .certs
        .iter()
        .chain(endorsements.chain)
        .map(Vec::as_slice)
        .collect();
    if given.is_empty() {
        return Err((
            Reason::EndorsementMissing,
            "give the GPU's certificate chain, leaf first".into(),
        ));
    }
    let parsed: Result<Vec<_>, _> = given.into_iter().map(Certificate::parse).collect();
    let mut chain = parsed.map_err(|error| (Reason::Malformed, error.to_string()))?;
    // Some tools write the root first.
    if chain.len() > 1 && chain[0].issuer == chain[0].subject {
        chain.reverse();
    }
    let complete = chain.last().is_some_and(|last| last.issuer == last.subject);
    if !complete && matches!(anchors, Anchors::Vendor) {
        chain.extend(Certificate::parse(NVIDIA_DEVICE_DER));
    }
    Ok(chain)
}

fn claim(checks: &mut Checks, report: &Report<'_>) {
    checks.claim("nonce", report.nonce);
    for (kind, name) in [
        (opaque::DRIVER_VERSION, "driver_version"),
        (opaque::CHIP_SKU, "chip_sku"),
        (opaque::PROJECT, "project"),
        (opaque::PROJECT_SKU, "project_sku"),
    ] {
        if let Some(text) = report.opaque(kind).and_then(text) {
            checks.claim(name, text);
        }
    }
    if let Some(version) = report.opaque(opaque::VBIOS_VERSION).and_then(vbios_version) {
        checks.claim("vbios_version", version);
    }
    checks.claim("measurements", report.blocks.len() as u64);
}

/// Text of visible ASCII that zeros end.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    let good = !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_graphic())
        && rest.iter().all(|&byte| byte == 0);
    good.then(|| core::str::from_utf8(text).ok()).flatten()
}

/// `96.00.5E.00.01` of the bytes `00 5e 00 96 01 00 00 00`.
fn vbios_version(bytes: &[u8]) -> Option<String> {
    match bytes {
        [d, c, b, a, e, 0, 0, 0] => Some(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}")),
        _ => text(bytes).map(ToString::to_string),
    }
}

/// The generation, by the chip that the certificates above the leaf name.
fn product(chain: &[Certificate<'_>]) -> Option<&'static str> {
    let names: Vec<String> = chain
        .iter()
        .skip(1)
        .filter_map(Certificate::common_name)
        .collect();
    let words = names.iter().flat_map(|name| name.split(' '));
    let numbered = |word: &str| {
        word.get(2..3)
            .is_some_and(|digit| digit.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut found = words
        .filter(|word| numbered(word))
        .filter_map(|word| match word.get(..2) {
            Some("GH") => Some("hopper"),
            Some("GB") => Some("blackwell"),
            Some("LS") => Some("nvswitch"),
            _ => None,
        });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

fn names_simulated_chip(chain: &[Certificate<'_>]) -> bool {
    let names = chain.iter().filter_map(Certificate::common_name);
    names
        .into_iter()
        .any(|name| name.contains(crate::sim::CHIP))
}

/// The device's own certificate is the second one: its key does not change with the firmware.
fn platforms(chain: &[Certificate<'_>]) -> Vec<PlatformId> {
    let device = chain.get(1).filter(|_| chain.len() > 2);
    device
        .map(|device| PlatformId::of_bytes("gpu", &Sha256::digest(device.spki)))
        .into_iter()
        .collect()
}

fn trailing(checks: &mut Checks, request: &Request<'_>, report: &Report<'_>) {
    let len = report.trailing.len();
    match (len, request.policy.nvidia.allow_trailing_bytes) {
        (0, _) => checks.pass("trailing", "nothing follows the signature"),
        (_, true) => {
            checks.claim("trailing_bytes", len as u64);
            checks.pass(
                "trailing",
                format!("{len} bytes follow the signature; the policy ignores them"),
            );
        }
        (_, false) => checks.fail(
            Reason::Padding,
            "trailing",
            format!("{len} bytes follow the signature, and nobody signed them"),
        ),
    }
}

#[cfg(test)]
mod tests;
