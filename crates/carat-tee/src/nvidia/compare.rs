//! A report against reference values: those that the policy brings itself, and those of a bundle that came with the evidence
//! and is signed by a key that the policy names.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::reference::{Bundle, Manifest, Part};
use super::spdm::{Report, opaque};
use super::{text, vbios_version};
use crate::{Checks, Reason, Request};

const NAME: &str = "reference_values";
/// Measurement of NVDEC0, which means nothing while that unit is off.
const NVDEC0_INDEX: u8 = 35;
const NVDEC0_OFF: u8 = 0x55;

/// Compares a report with every manifest that there is for its versions, and records what came of it. Returns the last second
/// at which the manifests that it was compared with count.
pub(super) fn reference_values(
    checks: &mut Checks,
    request: &Request<'_>,
    report: &Report<'_>,
) -> u64 {
    let mut until = u64::MAX;
    if let Err((code, reason)) = appraise(checks, request, report, &mut until) {
        checks.fail(code, NAME, reason);
    }
    until
}

fn appraise(
    checks: &mut Checks,
    request: &Request<'_>,
    report: &Report<'_>,
    until: &mut u64,
) -> Result<(), (Reason, String)> {
    let manifests = manifests(request).map_err(|reason| (Reason::ReferenceInvalid, reason))?;
    let required = request.policy.nvidia.require_reference;
    if manifests.is_empty() && !required {
        checks.not_made(
            NAME,
            "no reference values were given: any firmware of NVIDIA is accepted",
        );
        return Ok(());
    }
    let mut compared = Vec::new();
    for part in [Part::Driver, Part::Vbios] {
        let of_part: Vec<&Manifest> = manifests.iter().filter(|one| one.part == part).collect();
        if of_part.is_empty() {
            if required {
                let reason = "the policy demands reference values of driver and VBIOS, and not both were given";
                return Err((Reason::ReferenceMissing, reason.into()));
            }
            continue;
        }
        let (line, not_after) = of_version(part, &of_part, request, report)?;
        compared.push(line);
        *until = not_after.min(*until);
    }
    checks.claim("reference_values", compared.clone());
    checks.pass(NAME, compared.join("; "));
    Ok(())
}

/// All manifests that count. A bundle that came with the evidence and cannot be used refuses the evidence: whoever gave it
/// expected it to be compared.
fn manifests(request: &Request<'_>) -> Result<Vec<Manifest>, String> {
    let policy = &request.policy.nvidia;
    let mut all = Vec::new();
    for text in &policy.references {
        // The policy was checked when it was read; one made in memory was not.
        let bundle =
            Bundle::from_text(text).map_err(|error| format!("the policy's own: {error}"))?;
        all.extend(bundle.manifests);
    }
    let Some(collateral) = request.endorsements.collateral else {
        return Ok(all);
    };
    let bundle = Bundle::decode(collateral).map_err(|error| error.to_string())?;
    let key = hex::encode(bundle.key.as_bytes());
    let named = |known: &String| known.eq_ignore_ascii_case(&key);
    if !policy.reference_keys.iter().any(named) {
        return Err(format!(
            "the reference values are signed by {key}, which the policy does not name"
        ));
    }
    if bundle.made_at > request.now.saturating_add(request.policy.max_skew) {
        return Err("the reference values are dated in the future".into());
    }
    all.extend(bundle.manifests);
    Ok(all)
}

/// Compares with the manifests of a part that are for the report's version. One version may have several, one for each board;
/// one that matches is enough, and where none does the last one says why.
fn of_version(
    part: Part,
    manifests: &[&Manifest],
    request: &Request<'_>,
    report: &Report<'_>,
) -> Result<(String, u64), (Reason, String)> {
    let (what, version) = match part {
        Part::Driver => (
            "driver",
            report
                .opaque(opaque::DRIVER_VERSION)
                .and_then(text)
                .map(ToString::to_string),
        ),
        Part::Vbios => (
            "VBIOS",
            report.opaque(opaque::VBIOS_VERSION).and_then(vbios_version),
        ),
    };
    let version = version.unwrap_or_else(|| "none".into());
    let mut refused = None;
    for manifest in manifests {
        if !manifest.version.eq_ignore_ascii_case(&version) {
            continue;
        }
        match compare(manifest, request, report) {
            Ok(line) => return Ok((line, manifest.not_after)),
            Err((code, reason)) => refused = Some((code, format!("{}: {reason}", manifest.id))),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let known: Vec<&str> = manifests.iter().map(|one| one.version.as_str()).collect();
        let reason = format!(
            "there are reference values for {what} version {}; the report says {version}",
            known.join(", ")
        );
        (Reason::ReferenceInvalid, reason)
    }))
}

/// Compares a report with one manifest of its version: how many measurements match, or why not.
fn compare(
    manifest: &Manifest,
    request: &Request<'_>,
    report: &Report<'_>,
) -> Result<String, (Reason, String)> {
    if request.now > manifest.not_after {
        let reason = format!(
            "the certificate that signed it expired at {}",
            manifest.not_after
        );
        return Err((Reason::ReferenceInvalid, reason));
    }
    let nvdec_off = report.opaque(opaque::NVDEC0_STATUS) == Some(&[NVDEC0_OFF]);
    let (mut matched, mut wrong) = (0, Vec::new());
    for (index, values) in &manifest.values {
        if *index == NVDEC0_INDEX && nvdec_off {
            continue;
        }
        let block = report.block(index.saturating_add(1));
        if block.is_some_and(|block| values.iter().any(|value| value == block.value)) {
            matched += 1;
        } else {
            wrong.push(index.to_string());
        }
    }
    if wrong.is_empty() && matched > 0 {
        return Ok(format!(
            "{}: {matched} of {matched} measurements match",
            manifest.id
        ));
    }
    let total = matched + wrong.len();
    Err((
        Reason::Measurement,
        format!(
            "{matched} of {total} measurements match; not index {}",
            wrong.join(", ")
        ),
    ))
}
