//! Azure confidential VMs on SEV-SNP: the paravisor's report with the hardware's inside, and the quote of its TPM.
//!
//! The chain of meaning: AMD's chip signs a report whose data are the hash of the paravisor's runtime data; these name
//! the TPM's attestation key; that key signs the PCRs and the nonce. A TPM quote alone proves nothing, since anyone can
//! make a key.
//!
//! Evidence is JSON, as attestation agents for these VMs write it: `hcl_report` (or `report`), `tpm_quote` (or `quote`)
//! with `message`, `signature` and `pcrs`, and `vcek`. Byte strings may be hexadecimal, base64 or lists of numbers. A VCEK
//! may also be given as endorsement. `Facts::measurement` is over the launch digest, the PCR selection and the PCR
//! digest; `Facts::bound` is the quote's extra data.

mod hcl;
mod tpm;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::Digest;
use serde::Deserialize;

pub use hcl::{HclError, HclReport, Runtime};
pub use tpm::{PCRS, TpmError, TpmQuote, rsassa};

use crate::anchors::Anchors;
use crate::crypto::{self, Algorithm, Form, PublicKey};
use crate::snp::{self, Stop};
use crate::verdict::Facts;
use crate::{
    Attested, Checks, Claims, Kind, PlatformId, Reason, Rejected, Request, Verifier, binding, input,
};

/// Largest evidence in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Verifies it.
#[derive(Debug)]
pub struct AzureSnp;

impl Verifier for AzureSnp {
    const KIND: Kind = Kind::AzureSnp;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        let mut checks = Checks::new(Kind::AzureSnp);
        match appraise(&mut checks, request) {
            Ok((facts, trusted)) => checks.conclude(facts, trusted),
            Err(Stop(code, name, reason)) => Err(checks.stop(code, name, reason)),
        }
    }
}

/// A byte string in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Numbers(Vec<u8>),
}

impl Bytes {
    fn decode(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => {
                let decoded = input::decode(text.as_bytes()).ok()?;
                // What is neither hexadecimal nor base64 comes back as it was.
                (*decoded != *text.as_bytes()).then(|| decoded.into_owned())
            }
            Self::Numbers(bytes) => Some(bytes.clone()),
        }
    }
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    version: Option<u32>,
    #[serde(alias = "report")]
    hcl_report: Bytes,
    #[serde(alias = "quote")]
    tpm_quote: JsonQuote,
    #[serde(default)]
    vcek: Option<Bytes>,
}

#[derive(Deserialize)]
struct JsonQuote {
    message: Bytes,
    signature: Bytes,
    pcrs: Vec<Bytes>,
}

/// Evidence, decoded. Nothing of it is verified.
struct Evidence {
    hcl_report: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<[u8; 32]>,
    certificates: Vec<Vec<u8>>,
}

impl Evidence {
    fn parse(bytes: &[u8]) -> Result<Self, Stop> {
        let malformed = |reason: String| Stop(Reason::Malformed, "format", reason);
        if bytes.len() > MAX_BYTES {
            let reason = format!("{} bytes; the limit is {MAX_BYTES}", bytes.len());
            return Err(Stop(Reason::TooLarge, "format", reason));
        }
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|error| malformed(format!("not the JSON of such evidence: {error}")))?;
        if json.version.is_some_and(|version| version != 1) {
            let reason = "the evidence has another version than 1".to_string();
            return Err(Stop(Reason::Unsupported, "format", reason));
        }
        let field = |bytes: &Bytes, name: &str| {
            bytes
                .decode()
                .ok_or_else(|| malformed(format!("{name} is neither hexadecimal nor base64")))
        };
        if json.tpm_quote.pcrs.len() > PCRS {
            return Err(malformed("more than 24 PCRs".to_string()));
        }
        let pcr = |bytes: &Bytes| {
            <[u8; 32]>::try_from(field(bytes, "a PCR")?)
                .map_err(|_| malformed("a PCR has not 32 bytes".to_string()))
        };
        let certificates = match &json.vcek {
            None => Vec::new(),
            Some(Bytes::Numbers(der)) => alloc::vec![der.clone()],
            Some(Bytes::Text(text)) => input::certificates(text.as_bytes())
                .map_err(|error| malformed(format!("vcek: {error}")))?,
        };
        Ok(Self {
            hcl_report: field(&json.hcl_report, "hcl_report")?,
            message: field(&json.tpm_quote.message, "message")?,
            signature: field(&json.tpm_quote.signature, "signature")?,
            pcrs: json
                .tpm_quote
                .pcrs
                .iter()
                .map(pcr)
                .collect::<Result<_, _>>()?,
            certificates,
        })
    }
}

fn appraise(checks: &mut Checks, request: &Request<'_>) -> Result<(Facts, Vec<String>), Stop> {
    let malformed = |name: &'static str, reason: String| Stop(Reason::Malformed, name, reason);
    let evidence = Evidence::parse(request.evidence)?;
    let hcl = HclReport::parse(&evidence.hcl_report)
        .map_err(|error| malformed("hcl_report", error.to_string()))?;
    let quote = TpmQuote::parse(&evidence.message)
        .map_err(|error| malformed("tpm_quote", error.to_string()))?;

    // First the hardware: everything else hangs on its report.
    let mut given: Vec<&[u8]> = evidence.certificates.iter().map(Vec::as_slice).collect();
    let endorsements = &request.endorsements;
    for der in endorsements.certs.iter().chain(endorsements.chain) {
        if !given.contains(&der.as_slice()) {
            given.push(der);
        }
    }
    let hardware = snp::appraise_report(checks, request, hcl.hardware, &given, Anchors::Vendor)?;
    checks.require(
        hardware.report.report_data() == hcl.report_data,
        Reason::BindingMismatch,
        "runtime_data",
        "the hardware's report names the runtime data, and so the TPM's key",
        || "the hardware's report names other runtime data: the TPM's key is anyone's".to_string(),
    );
    // Whatever a policy allows of other guests: below the highest privilege it is the VM that asked for the report, and could
    // have named any key as the TPM's.
    checks.require(
        hardware.report.vmpl() == 0,
        Reason::Vmpl,
        "paravisor",
        "the report was asked for at the paravisor's privilege level",
        || "the report was not asked for by the paravisor: the TPM's key is anyone's".to_string(),
    );
    let runtime = Runtime::parse(hcl.runtime)
        .map_err(|error| malformed("runtime_data", error.to_string()))?;
    let mut configuration = Claims::new();
    for (name, value) in &runtime.configuration {
        configuration.put(name.clone(), value.clone());
    }
    checks.claim("vm_configuration", configuration);
    checks.claim("user_data", runtime.user_data.clone());

    let values = tpm(checks, request, &evidence, &quote, &runtime);
    let mut pcrs = Claims::new();
    for (pcr, value) in values.iter().flatten() {
        pcrs.put(pcr.to_string(), value.as_slice());
    }
    checks.claim("pcrs", pcrs);

    let measurement = binding::measurement(
        Kind::AzureSnp,
        &[
            &hardware.report.measurement(),
            quote.selection,
            quote.pcr_digest,
        ],
    );
    checks.measurement(request.policy, &measurement);
    let mut platforms = hardware.platforms;
    if let Some((_, id)) = runtime
        .configuration
        .iter()
        .find(|(name, _)| name == "vmUniqueId")
    {
        let name = format!("azure-vm:{}", id.to_ascii_lowercase());
        platforms.extend(PlatformId::new(name));
    }
    checks.platforms(request.policy, &platforms);
    let mut trusted = hardware.still_trusted;
    trusted.push(
        "Microsoft: its paravisor, which the launch digest names, runs the TPM and measures the VM truly"
            .to_string(),
    );
    let policy = request.policy;
    if policy.measurements.is_empty()
        && policy.snp.measurements.is_empty()
        && policy.snp.id_key_digests.is_empty()
    {
        trusted.push(
            "that the launch digest is Microsoft's paravisor at all: the policy names none, and any other guest could have made up its TPM"
                .to_string(),
        );
    }
    let facts = Facts {
        debug: hardware.debug,
        platforms,
        product: Some(hardware.product.as_str().to_string()),
        measurement,
        // Both signatures: either alone is replayed with the other's.
        signed_region: Digest::sha256(&[hardware.report.signed(), &evidence.message].concat()),
        bound: quote.extra_data.to_vec(),
        made_at: None,
        valid_until: Some(hardware.valid_until),
    };
    Ok((facts, trusted))
}

/// Checks the TPM's quote; gives the PCRs that it is over.
fn tpm<'e>(
    checks: &mut Checks,
    request: &Request<'_>,
    evidence: &'e Evidence,
    quote: &TpmQuote<'_>,
    runtime: &Runtime,
) -> Option<Vec<(usize, &'e [u8; 32])>> {
    checks.claim("tpm_extra_data", quote.extra_data);
    checks.claim("tpm_reset_count", quote.reset_count);
    checks.claim("tpm_restart_count", quote.restart_count);
    let key = PublicKey::Rsa {
        modulus: &runtime.modulus,
        exponent: &runtime.exponent,
    };
    let verified = rsassa(&evidence.signature)
        .map_err(|error| error.to_string())
        .and_then(|signature| {
            crypto::verify(
                key,
                Algorithm::RsaPkcs1Sha256,
                Form::Raw,
                &evidence.message,
                signature,
            )
            .map_err(|error| error.to_string())
        });
    match verified {
        Ok(()) => checks.pass(
            "tpm_signature",
            "the key that the runtime data name signed the quote",
        ),
        Err(reason) => checks.fail(Reason::Signature, "tpm_signature", reason),
    }
    checks.nonce(
        request,
        Some(quote.extra_data).filter(|data| !data.is_empty()),
    );
    checks.bound(request, Some(quote.extra_data));
    let values = quote.values(&evidence.pcrs);
    let whole = values.as_ref().is_some_and(|values| !values.is_empty());
    checks.require(
        whole,
        Reason::Measurement,
        "pcrs",
        "the PCRs have the digest that the TPM signed",
        || "the PCRs have another digest than the TPM signed, or none is selected".to_string(),
    );
    values
}
