//! AMD SEV-SNP attestation reports, signed by a chip's key (VCEK) or a cloud provider's (VLEK).
//!
//! Evidence is the report, 1,184 bytes, alone or followed by the table of certificates that a host gives its guest
//! ("extended report"). Endorsements are the VCEK or VLEK; AMD's authorities are in the crate, and where they are given
//! as well they must be the same. What was signed is the first 672 bytes as received; everything after the signature
//! must be zero.
//!
//! `Facts::measurement` is SHA-256 of the launch digest; `Facts::bound` is the report data.

mod authorities;
mod report;
mod table;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::Digest;

pub use authorities::{
    AUTHORITIES, Authority, Endorsement, EndorsementError, Role, is_endorsement,
};
pub use report::{Product, REPORT_BYTES, Report, ReportError, SIGNED_BYTES, SigningKey, Tcb};

use crate::anchors::Anchors;
use crate::appraise::{self, zero};
use crate::crypto::{self, Form, PublicKey};
use crate::policy::SnpTcb;
use crate::verdict::Facts;
use crate::x509::{self, Certificate};
use crate::{
    Attested, Checks, Kind, PlatformId, Policy, Reason, Rejected, Request, Verifier, binding,
};

/// Most certificates beside a report.
const MAX_CERTIFICATES: usize = 12;

/// Verifies them.
#[derive(Debug)]
pub struct Snp;

impl Verifier for Snp {
    const KIND: Kind = Kind::Snp;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        verify_with(request, Anchors::Vendor)
    }
}

/// Why nothing more can be said.
pub(crate) struct Stop(
    pub(crate) Reason,
    pub(crate) &'static str,
    pub(crate) String,
);

/// What a verified report contributes to [`Facts`].
pub(crate) struct Appraised<'a> {
    pub(crate) report: Report<'a>,
    pub(crate) product: Product,
    pub(crate) debug: bool,
    pub(crate) platforms: Vec<PlatformId>,
    pub(crate) valid_until: u64,
    pub(crate) still_trusted: Vec<String>,
}

/// Verifies a report under these authorities.
pub(crate) fn verify_with(
    request: &Request<'_>,
    anchors: Anchors<'_>,
) -> Result<Attested, Rejected> {
    let mut checks = Checks::new(Kind::Snp);
    let appraised = match appraise(&mut checks, request, anchors) {
        Ok(appraised) => appraised,
        Err(Stop(code, name, reason)) => return Err(checks.stop(code, name, reason)),
    };
    let report = &appraised.report;
    let measurement = binding::measurement(Kind::Snp, &[&report.measurement()]);
    checks.measurement(request.policy, &measurement);
    appraise::guest_field(&mut checks, request, &report.report_data());
    checks.platforms(request.policy, &appraised.platforms);
    let facts = Facts {
        debug: appraised.debug,
        platforms: appraised.platforms,
        product: Some(appraised.product.as_str().to_string()),
        measurement,
        signed_region: Digest::sha256(report.signed()),
        bound: report.report_data().to_vec(),
        made_at: None,
        valid_until: Some(appraised.valid_until),
    };
    checks.conclude(facts, appraised.still_trusted)
}

fn appraise<'a>(
    checks: &mut Checks,
    request: &Request<'a>,
    anchors: Anchors<'_>,
) -> Result<Appraised<'a>, Stop> {
    let (bytes, rest) = request
        .evidence
        .split_at_checked(REPORT_BYTES)
        .unwrap_or((request.evidence, &[]));
    let beside = table::certificates(rest)
        .map_err(|reason| Stop(Reason::Malformed, "certificate_table", reason.to_string()))?;
    let given = || {
        let endorsements = &request.endorsements;
        endorsements
            .certs
            .iter()
            .chain(endorsements.chain)
            .map(Vec::as_slice)
    };
    // The table comes from the host and may be out of date; what the caller gives is used instead.
    let given: Vec<&'a [u8]> = match given().next() {
        Some(_) => given().collect(),
        None => beside,
    };
    appraise_report(checks, request, bytes, &given, anchors)
}

/// Verifies a report and everything about it but what its guest put into it.
pub(crate) fn appraise_report<'a>(
    checks: &mut Checks,
    request: &Request<'_>,
    bytes: &'a [u8],
    given: &[&[u8]],
    anchors: Anchors<'_>,
) -> Result<Appraised<'a>, Stop> {
    let report = Report::parse(bytes).map_err(|error| {
        let code = match error {
            ReportError::Version(_) => Reason::Unsupported,
            _ => Reason::Malformed,
        };
        Stop(code, "report", error.to_string())
    })?;
    claim(checks, &report);
    checks.require(
        report.signature_algo() == 1,
        Reason::Algorithm,
        "algorithm",
        "ECDSA on P-384 with SHA-384",
        || format!("the report names algorithm {}", report.signature_algo()),
    );
    checks.require(
        report.padding_is_zero(),
        Reason::Padding,
        "padding",
        "everything after the signature is zero",
        || "bytes after the signature, which nobody signed, are not zero".to_string(),
    );
    let parsed = parse(given)?;
    let leaf = pick(&report, &parsed)?;
    let endorsement = Endorsement::parse(leaf)
        .map_err(|error| Stop(Reason::Malformed, "endorsement", error.to_string()))?;
    let (product, valid_until) = chain(checks, request, leaf, &endorsement, &parsed, anchors)?;
    signature(checks, &report, leaf);
    checks.claim("product", product.as_str());
    checks.claim("endorsement_product", endorsement.product_name.clone());
    products(checks, request.policy, &report, &endorsement, product);
    chip(checks, &report, &endorsement, product);
    levels(checks, request.policy, &report, &endorsement, product);
    let debug = guest_policy(checks, request, &report);
    platform(checks, request.policy, &report);
    appraise::expected_hex(
        checks,
        "launch_measurement",
        &request.policy.snp.measurements,
        &report.measurement(),
    );
    appraise::expected_hex(
        checks,
        "id_key",
        &request.policy.snp.id_key_digests,
        &report.id_key_digest(),
    );
    let mut platforms = Vec::new();
    if !zero(&report.chip_id()) {
        platforms.push(PlatformId::of_bytes("snp-chip", &report.chip_id()));
    }
    if let Some(provider) = &endorsement.csp_id {
        checks.claim("csp_id", provider.clone());
        let name = format!("snp-csp:{}", provider.to_ascii_lowercase());
        platforms.extend(PlatformId::new(name));
    }
    Ok(Appraised {
        report,
        product,
        debug,
        platforms,
        valid_until,
        still_trusted: still_trusted(&endorsement, debug),
    })
}

fn claim(checks: &mut Checks, report: &Report<'_>) {
    checks.claim("version", report.version());
    checks.claim("guest_svn", report.guest_svn());
    checks.claim("policy", format!("{:#x}", report.policy()));
    checks.claim("vmpl", report.vmpl());
    checks.claim("launch_digest", &report.measurement());
    checks.claim("report_data", &report.report_data());
    checks.claim("host_data", &report.host_data());
    checks.claim("family_id", &report.family_id());
    checks.claim("image_id", &report.image_id());
    checks.claim("id_key_digest", &report.id_key_digest());
    checks.claim("author_key_digest", &report.author_key_digest());
    checks.claim("report_id", &report.report_id());
    checks.claim("chip_id", &report.chip_id());
    checks.claim("current_tcb", &report.current_tcb());
    checks.claim("reported_tcb", &report.reported_tcb());
    checks.claim("committed_tcb", &report.committed_tcb());
    checks.claim("launch_tcb", &report.launch_tcb());
    checks.claim("platform_info", format!("{:#x}", report.platform_info()));
    let [build, minor, major] = report.current_version();
    checks.claim("firmware", format!("{major}.{minor}.{build}"));
    if let Some([family, model, stepping]) = report.cpuid() {
        checks.claim("cpuid", format!("{family:#x}/{model:#x}/{stepping:#x}"));
    }
    if let Some([launch, current]) = report.mitigation_vectors() {
        checks.claim("launch_mitigation_vector", launch);
        checks.claim("current_mitigation_vector", current);
    }
}

fn parse<'a>(given: &[&'a [u8]]) -> Result<Vec<Certificate<'a>>, Stop> {
    if given.len() > MAX_CERTIFICATES {
        return Err(Stop(
            Reason::TooLarge,
            "certificates",
            format!(
                "{} certificates were given; the limit is {MAX_CERTIFICATES}",
                given.len()
            ),
        ));
    }
    given
        .iter()
        .map(|der| Certificate::parse(der))
        .collect::<Result<_, _>>()
        .map_err(|error| Stop(Reason::Malformed, "certificates", error.to_string()))
}

/// The certificate of the key that the report says has signed it.
fn pick<'c, 'a>(
    report: &Report<'_>,
    certificates: &'c [Certificate<'a>],
) -> Result<&'c Certificate<'a>, Stop> {
    let vlek = match report.signing_key() {
        SigningKey::Vcek => false,
        SigningKey::Vlek => true,
        SigningKey::None => {
            return Err(Stop(
                Reason::Signature,
                "signing_key",
                "the platform was told not to sign reports".to_string(),
            ));
        }
        SigningKey::Reserved(number) => {
            return Err(Stop(
                Reason::Unsupported,
                "signing_key",
                format!("the report names signing key {number}"),
            ));
        }
    };
    let name = if vlek { "VLEK" } else { "VCEK" };
    // Only a VLEK names a provider.
    let is_vlek = |certificate: &Certificate<'_>| {
        Endorsement::parse(certificate).is_ok_and(|endorsement| endorsement.csp_id.is_some())
    };
    let mut fitting = certificates
        .iter()
        .filter(|certificate| is_endorsement(certificate) && is_vlek(certificate) == vlek);
    match (fitting.next(), fitting.next()) {
        (Some(leaf), None) => Ok(leaf),
        (None, _) => Err(Stop(
            Reason::EndorsementMissing,
            "endorsement",
            format!("the report is signed by a {name}, whose certificate was not given"),
        )),
        (Some(_), Some(_)) => Err(Stop(
            Reason::Malformed,
            "endorsement",
            format!("more than one {name} certificate was given; give the one of this chip"),
        )),
    }
}

/// Checks the leaf under a pinned authority, and given authorities against the pinned ones. Gives the product and the
/// last second of validity.
fn chain(
    checks: &mut Checks,
    request: &Request<'_>,
    leaf: &Certificate<'_>,
    endorsement: &Endorsement<'_>,
    given: &[Certificate<'_>],
    anchors: Anchors<'_>,
) -> Result<(Product, u64), Stop> {
    let above = given.iter().filter(|given| !is_endorsement(given));
    if let Anchors::Simulated(_) = anchors {
        // A simulator has no pinned authorities: its chain is what was given, in order.
        let chain: Vec<_> = core::iter::once(leaf).chain(above).cloned().collect();
        anchors.check(checks, &chain, &[]);
        let product = endorsement.product().ok_or_else(|| {
            let reason = format!("there is no product {}", endorsement.product_name);
            Stop(Reason::ProductMismatch, "product", reason)
        })?;
        return Ok((product, x509::dates(checks, &chain, request.now)));
    }
    let mut known = Vec::new();
    for certificate in above {
        let digest = certificate.digest();
        match AUTHORITIES.iter().find(|pinned| pinned.sha256 == digest) {
            Some(pinned) => known.push(pinned.product),
            None => {
                let name = certificate.common_name();
                let name = name.unwrap_or_else(|| "no name".to_string());
                let reason = format!("a given authority ({name}) is none of AMD's");
                return Err(Stop(Reason::WrongRoot, "root", reason));
            }
        }
    }
    let role = match endorsement.csp_id {
        Some(_) => Role::Asvk,
        None => Role::Ask,
    };
    for pinned in AUTHORITIES.iter().filter(|pinned| pinned.role == role) {
        let Ok(authority) = Certificate::parse(pinned.der) else {
            continue;
        };
        if authority.subject != leaf.issuer {
            continue;
        }
        if !known.is_empty() && !known.contains(&pinned.product) {
            let reason = format!(
                "the endorsement is signed under {}'s root, and the given chain is another product's",
                pinned.product.as_str()
            );
            return Err(Stop(Reason::Chain, "chain", reason));
        }
        let chain = [leaf.clone(), authority];
        anchors.check(checks, &chain, &[pinned.sha256]);
        return Ok((pinned.product, x509::dates(checks, &chain, request.now)));
    }
    Err(Stop(
        Reason::WrongRoot,
        "root",
        "the endorsement certificate is not issued by an authority of AMD's".to_string(),
    ))
}

fn signature(checks: &mut Checks, report: &Report<'_>, leaf: &Certificate<'_>) {
    let Some(signature) = report.signature() else {
        return checks.fail(
            Reason::Padding,
            "signature",
            "the bytes beside the signature's numbers are not zero",
        );
    };
    let PublicKey::P384(point) = leaf.key else {
        return checks.fail(
            Reason::Algorithm,
            "signature",
            "the endorsed key is not on P-384",
        );
    };
    let key = PublicKey::P384(point);
    let algorithm = crypto::Algorithm::EcdsaSha384;
    match crypto::verify(key, algorithm, Form::Raw, report.signed(), &signature) {
        Ok(()) => checks.pass("signature", "the endorsed key signed these 672 bytes"),
        Err(error) => checks.fail(Reason::Signature, "signature", error.to_string()),
    }
}

fn products(
    checks: &mut Checks,
    policy: &Policy,
    report: &Report<'_>,
    endorsement: &Endorsement<'_>,
    product: Product,
) {
    let cpu = report
        .cpuid()
        .map(|[family, model, _]| Product::of_cpuid(family, model));
    let fits =
        endorsement.product() == Some(product) && cpu.is_none_or(|found| found == Some(product));
    checks.require(
        fits,
        Reason::ProductMismatch,
        "product",
        format!("the certificate and the report are {}'s", product.as_str()),
        || {
            format!(
                "the authority is {}'s, the certificate says {}, and the report's processor is {}",
                product.as_str(),
                endorsement.product_name,
                match cpu {
                    None => "not named",
                    Some(None) => "unknown",
                    Some(Some(found)) => found.as_str(),
                }
            )
        },
    );
    let denied = policy
        .snp
        .deny_products
        .iter()
        .any(|name| name.eq_ignore_ascii_case(product.as_str()));
    checks.require(
        !denied,
        Reason::ProductDenied,
        "product_denied",
        "the policy does not refuse this product",
        || {
            let why = match product {
                Product::Milan => {
                    ": software can extract its chip keys (published in 2026), so anyone may have signed this"
                }
                _ => "",
            };
            format!("the policy refuses {}{why}", product.as_str())
        },
    );
}

fn chip(checks: &mut Checks, report: &Report<'_>, endorsement: &Endorsement<'_>, product: Product) {
    let chip = report.chip_id();
    let Some(hwid) = endorsement.hwid else {
        return checks.require(
            endorsement.csp_id.is_some(),
            Reason::ChipMismatch,
            "chip",
            "a provider's key: it stands for many chips and names none",
            || "the certificate names neither a chip nor a provider".to_string(),
        );
    };
    // Turin's identity has eight bytes, which the report pads with zeros.
    let (start, rest) = chip.split_at(8);
    let short = product == Product::Turin && hwid == start && zero(rest);
    checks.require(
        (hwid == chip || short) && !zero(&chip),
        Reason::ChipMismatch,
        "chip",
        "the certificate is this chip's",
        || {
            if zero(&chip) {
                "the report leaves its chip out, so it cannot be compared with the certificate's"
                    .to_string()
            } else {
                "the certificate is another chip's".to_string()
            }
        },
    );
}

fn levels(
    checks: &mut Checks,
    policy: &Policy,
    report: &Report<'_>,
    endorsement: &Endorsement<'_>,
    product: Product,
) {
    let reported = Tcb::parse(report.reported_tcb(), product);
    let equal = reported.reserved_zero
        && (reported.bootloader, reported.tee) == (endorsement.bootloader, endorsement.tee)
        && (reported.snp, reported.microcode) == (endorsement.snp, endorsement.microcode)
        && reported.fmc.unwrap_or(0) == endorsement.fmc.unwrap_or(0);
    checks.require(
        equal,
        Reason::TcbMismatch,
        "tcb",
        format!(
            "the certificate is for the level that the report says: {}",
            show(&reported)
        ),
        || {
            format!(
                "the report says {}, the certificate boot loader {}, TEE {}, SNP {}, microcode {}",
                show(&reported),
                endorsement.bootloader,
                endorsement.tee,
                endorsement.snp,
                endorsement.microcode
            )
        },
    );
    let minimum = policy
        .snp
        .min_tcb
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(product.as_str()));
    let Some((_, minimum)) = minimum else {
        return checks.not_made("tcb_minimum", "the policy sets none for this product");
    };
    // A guest that was launched on weaker firmware may have been broken then; an update does not heal it.
    let launch = Tcb::parse(report.launch_tcb(), product);
    checks.require(
        reaches(&reported, minimum) && reaches(&launch, minimum),
        Reason::TcbMinimum,
        "tcb_minimum",
        "the reported and the launch level reach the policy's minimum",
        || {
            format!(
                "reported: {}; at launch: {}; the policy demands boot loader {}, TEE {}, SNP {}, microcode {}, FMC {}",
                show(&reported),
                show(&launch),
                minimum.bootloader,
                minimum.tee,
                minimum.snp,
                minimum.microcode,
                minimum.fmc
            )
        },
    );
}

fn reaches(level: &Tcb, minimum: &SnpTcb) -> bool {
    level.bootloader >= minimum.bootloader
        && level.tee >= minimum.tee
        && level.snp >= minimum.snp
        && level.microcode >= minimum.microcode
        && level.fmc.unwrap_or(0) >= minimum.fmc
}

fn show(level: &Tcb) -> String {
    let mut text = format!(
        "boot loader {}, TEE {}, SNP {}, microcode {}",
        level.bootloader, level.tee, level.snp, level.microcode
    );
    if let Some(fmc) = level.fmc {
        text.push_str(&format!(", FMC {fmc}"));
    }
    text
}

fn guest_policy(checks: &mut Checks, request: &Request<'_>, report: &Report<'_>) -> bool {
    let bits = report.policy();
    let bit = |number: u32| bits >> number & 1 == 1;
    let policy = &request.policy.snp;
    let debug = bit(19);
    checks.debug(
        request.policy,
        debug,
        "the guest's launch policy allows debugging: the host may read and change its memory",
    );
    let migration = bit(18) && !policy.allow_migration;
    checks.require(
        bit(17) && !migration,
        Reason::GuestPolicy,
        "guest_policy",
        "the launch policy allows nothing that the policy refuses",
        || {
            if migration {
                "the launch policy allows a migration agent, which gets the guest's secrets"
                    .to_string()
            } else {
                "bit 17 of the launch policy, which is always set, is not".to_string()
            }
        },
    );
    checks.require(
        report.vmpl() <= policy.max_vmpl,
        Reason::Vmpl,
        "vmpl",
        format!("privilege level {}", report.vmpl()),
        || {
            format!(
                "the report was asked for at privilege level {}; the policy accepts at most {}",
                report.vmpl(),
                policy.max_vmpl
            )
        },
    );
    debug
}

fn platform(checks: &mut Checks, policy: &Policy, report: &Report<'_>) {
    let bit = |number: u32| report.platform_info() >> number & 1 == 1;
    checks.claim("smt", bit(0));
    checks.claim("ciphertext_hiding", bit(4));
    checks.claim("alias_check_complete", bit(5));
    for (demanded, holds, name, what) in [
        (
            policy.snp.require_alias_check,
            bit(5),
            "alias_check",
            "the platform has not finished its check for aliased memory (BadRAM)",
        ),
        (
            policy.snp.require_ciphertext_hiding,
            bit(4),
            "ciphertext_hiding",
            "the platform does not hide ciphertext from the host",
        ),
    ] {
        if demanded {
            checks.require(
                holds,
                Reason::PlatformInfo,
                name,
                "the platform has it",
                || what.to_string(),
            );
        } else if !holds {
            checks.not_made(name, format!("{what}; the policy does not demand it"));
        }
    }
}

fn still_trusted(endorsement: &Endorsement<'_>, debug: bool) -> Vec<String> {
    let mut trusted = alloc::vec![
        "AMD: its secure processors report the truth, and their keys have not left them".to_string(),
        "nobody tampers physically with the machine: interposers on the memory bus are outside what SEV-SNP resists"
            .to_string(),
        "the code that the launch digest names does what is claimed for it".to_string(),
        "that AMD revoked none of the certificates: its revocation lists are not consulted"
            .to_string(),
    ];
    if let Some(provider) = &endorsement.csp_id {
        trusted.push(format!(
            "the provider {provider}, to whom AMD gave the signing key: it names no chip"
        ));
    }
    if debug {
        trusted.push("whoever runs the machine: the guest is in debug mode".to_string());
    }
    trusted
}

#[cfg(test)]
mod tests;
