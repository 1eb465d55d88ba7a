//! AWS Nitro Enclaves attestation documents.
//!
//! A document is an untagged or tagged `COSE_Sign1` (RFC 9052) with ES384, made by the Nitro Security Module; its payload
//! is a CBOR map with PCRs, the signer's certificate and the chain to AWS's root (AWS, "Verifying the root of trust").
//! Real documents have maps of definite and of indefinite length and high-S signatures; both are accepted. What is
//! claimed as identity is the digest of the signed structure.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::Digest;
use minicbor::data::Type;
use minicbor::decode::Decoder;

use crate::anchors::{AWS_NITRO, Anchors};
use crate::crypto::{self, Algorithm, Form};
use crate::x509::{self, Certificate};
use crate::{
    Attested, Checks, Claims, Facts, Kind, PlatformId, Reason, Rejected, Request, Verifier, binding,
};

/// Largest document in bytes. AWS's stay below 16 KiB.
pub const MAX_BYTES: usize = 32 * 1024;
/// Largest `user_data` and `nonce` in bytes.
pub const MAX_USER_DATA: usize = 512;
/// Largest `public_key` in bytes.
pub const MAX_PUBLIC_KEY: usize = 1024;

const MAX_CERTIFICATE: usize = 1024;
const PCR_BYTES: usize = 48;
/// Tag of COSE_Sign1, RFC 9052 section 2.
const COSE_SIGN1: u64 = 18;

/// Verifies Nitro documents.
#[derive(Debug)]
pub struct Nitro;

/// A parsed document; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'a> {
    /// The protected header as received.
    pub protected: &'a [u8],
    /// The payload as received.
    pub payload: &'a [u8],
    /// r and s, 48 bytes each.
    pub signature: &'a [u8],
    /// Name of the enclave's module.
    pub module_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// PCRs by number.
    pub pcrs: Vec<(u8, &'a [u8])>,
    /// The signer's certificate, DER.
    pub certificate: &'a [u8],
    /// Certificates from the root down to the signer's issuer, DER.
    pub cabundle: Vec<&'a [u8]>,
    /// A public key that the enclave gave.
    pub public_key: Option<&'a [u8]>,
    /// Data that the enclave gave.
    pub user_data: Option<&'a [u8]>,
    /// A nonce that the enclave gave.
    pub nonce: Option<&'a [u8]>,
    /// Keys of the payload that this version does not know.
    pub unknown: Vec<&'a str>,
}

/// A document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(String);

impl From<minicbor::decode::Error> for DocumentError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self(format!("not CBOR of the expected shape: {error}"))
    }
}

fn bad(reason: impl Into<String>) -> DocumentError {
    DocumentError(reason.into())
}

impl<'a> Document<'a> {
    /// Parses a document that fills `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_BYTES {
            return Err(bad(format!(
                "{} bytes; the limit is {MAX_BYTES}",
                bytes.len()
            )));
        }
        let d = &mut Decoder::new(bytes);
        if d.datatype()? == Type::Tag && d.tag()?.as_u64() != COSE_SIGN1 {
            return Err(bad("tagged as something else than COSE_Sign1"));
        }
        if d.array()? != Some(4) {
            return Err(bad("not a COSE_Sign1: an array of four items was expected"));
        }
        let protected = d.bytes()?;
        // Nobody signs this header, so nothing may stand in it.
        if d.map()? != Some(0) {
            return Err(bad("the unprotected header is not empty"));
        }
        let (payload, signature) = (d.bytes()?, d.bytes()?);
        if d.position() != bytes.len() {
            return Err(bad("bytes follow the document"));
        }
        if signature.len() != 2 * PCR_BYTES {
            return Err(bad("the signature has not 96 bytes"));
        }
        let mut document = Self::payload(payload)?;
        (document.protected, document.signature) = (protected, signature);
        Ok(document)
    }

    fn payload(payload: &'a [u8]) -> Result<Self, DocumentError> {
        let d = &mut Decoder::new(payload);
        let mut left = Count::new(d.map()?);
        let (mut module_id, mut timestamp, mut digest, mut certificate) = (None, None, None, None);
        let (mut pcrs, mut cabundle) = (None, None);
        let (mut public_key, mut user_data, mut nonce) = (None, None, None);
        let (mut unknown, mut seen) = (Vec::new(), Vec::new());
        while left.next(d)? {
            let key = d.str()?;
            if seen.contains(&key) || seen.len() == 32 {
                return Err(bad("the payload names a field twice, or more than 32"));
            }
            seen.push(key);
            match key {
                "module_id" => module_id = Some(d.str()?),
                "timestamp" => timestamp = Some(d.u64()?),
                "digest" => digest = Some(d.str()?),
                "certificate" => {
                    certificate = Some(sized(d.bytes()?, 1, x509::MAX_CERTIFICATE_BYTES, key)?)
                }
                "pcrs" => pcrs = Some(read_pcrs(d)?),
                "cabundle" => cabundle = Some(read_bundle(d)?),
                "public_key" => public_key = optional(d, MAX_PUBLIC_KEY, key)?,
                "user_data" => user_data = optional(d, MAX_USER_DATA, key)?,
                "nonce" => nonce = optional(d, MAX_USER_DATA, key)?,
                other => {
                    unknown.push(other);
                    skip(d, 8)?;
                }
            }
        }
        if d.position() != payload.len() {
            return Err(bad("bytes follow the payload"));
        }
        if digest != Some("SHA384") {
            return Err(bad("the digest is not SHA384"));
        }
        let missing = |name: &str| bad(format!("the payload has no {name}"));
        let module_id = module_id.ok_or_else(|| missing("module_id"))?;
        if module_id.is_empty()
            || module_id.len() > 256
            || !module_id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(bad("module_id is not 1 to 256 visible ASCII characters"));
        }
        let timestamp = timestamp.ok_or_else(|| missing("timestamp"))?;
        if timestamp == 0 {
            return Err(bad("the timestamp is zero"));
        }
        Ok(Self {
            protected: &[],
            payload,
            signature: &[],
            module_id,
            timestamp,
            pcrs: pcrs.ok_or_else(|| missing("pcrs"))?,
            certificate: certificate.ok_or_else(|| missing("certificate"))?,
            cabundle: cabundle.ok_or_else(|| missing("cabundle"))?,
            public_key,
            user_data,
            nonce,
            unknown,
        })
    }

    /// A PCR.
    pub fn pcr(&self, number: u8) -> Option<&'a [u8]> {
        self.pcrs
            .iter()
            .find(|(n, _)| *n == number)
            .map(|(_, value)| *value)
    }

    /// The bytes that are signed: the `Sig_structure` of RFC 9052 section 4.4.
    pub fn sig_structure(&self) -> Vec<u8> {
        let mut w = carat_receipt::cbor::Writer::new();
        w.array(4)
            .text("Signature1")
            .bytes(self.protected)
            .bytes(&[])
            .bytes(self.payload);
        w.into_bytes()
    }

    /// Whether the protected header is `{alg: ES384}` and nothing else.
    fn is_es384(&self) -> bool {
        let d = &mut Decoder::new(self.protected);
        let mut read = || -> Result<bool, minicbor::decode::Error> {
            let mut left = Count::new(d.map()?);
            let one = left.next(d)? && d.i64()? == 1 && d.i64()? == -35;
            Ok(one && !left.next(d)? && d.position() == self.protected.len())
        };
        read().unwrap_or(false)
    }
}

/// Counts the items of a map or array of definite or indefinite length.
struct Count(Option<u64>);

impl Count {
    const fn new(len: Option<u64>) -> Self {
        Self(len)
    }

    /// Whether another item follows. Passes over the end mark.
    fn next(&mut self, d: &mut Decoder<'_>) -> Result<bool, minicbor::decode::Error> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if d.datatype()? == Type::Break => {
                d.skip()?;
                self.0 = Some(0);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

/// Passes over a value of at most `depth` levels.
fn skip(d: &mut Decoder<'_>, depth: usize) -> Result<(), DocumentError> {
    let nested = match d.datatype()? {
        Type::Array | Type::ArrayIndef => Some((Count::new(d.array()?), 1)),
        Type::Map | Type::MapIndef => Some((Count::new(d.map()?), 2)),
        Type::Tag => {
            d.tag()?;
            Some((Count::new(Some(1)), 1))
        }
        _ => None,
    };
    let Some((mut left, values)) = nested else {
        return Ok(d.skip()?);
    };
    let Some(depth) = depth.checked_sub(1) else {
        return Err(bad("an unknown field is nested too deeply"));
    };
    while left.next(d)? {
        for _ in 0..values {
            skip(d, depth)?;
        }
    }
    Ok(())
}

fn sized<'a>(
    bytes: &'a [u8],
    min: usize,
    max: usize,
    name: &str,
) -> Result<&'a [u8], DocumentError> {
    if (min..=max).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(bad(format!(
            "{name} has {} bytes; {min} to {max} are allowed",
            bytes.len()
        )))
    }
}

fn optional<'a>(
    d: &mut Decoder<'a>,
    max: usize,
    name: &str,
) -> Result<Option<&'a [u8]>, DocumentError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    // Present and empty says as little as absent.
    Ok(Some(sized(d.bytes()?, 0, max, name)?).filter(|bytes| !bytes.is_empty()))
}

fn read_pcrs<'a>(d: &mut Decoder<'a>) -> Result<Vec<(u8, &'a [u8])>, DocumentError> {
    let mut left = Count::new(d.map()?);
    let mut pcrs: Vec<(u8, &[u8])> = Vec::new();
    while left.next(d)? {
        let number = d.u8()?;
        if number > 31 || pcrs.iter().any(|(known, _)| *known == number) {
            return Err(bad("a PCR stands there twice, or has a number above 31"));
        }
        pcrs.push((number, sized(d.bytes()?, PCR_BYTES, PCR_BYTES, "a PCR")?));
    }
    pcrs.sort_unstable_by_key(|(number, _)| *number);
    Ok(pcrs)
}

fn read_bundle<'a>(d: &mut Decoder<'a>) -> Result<Vec<&'a [u8]>, DocumentError> {
    let mut left = Count::new(d.array()?);
    let mut bundle = Vec::new();
    while left.next(d)? {
        if bundle.len() == x509::MAX_CHAIN - 1 {
            return Err(bad("the cabundle has too many certificates"));
        }
        bundle.push(sized(
            d.bytes()?,
            1,
            MAX_CERTIFICATE,
            "a certificate of the cabundle",
        )?);
    }
    if bundle.is_empty() {
        Err(bad("the cabundle is empty"))
    } else {
        Ok(bundle)
    }
}

impl Verifier for Nitro {
    const KIND: Kind = Kind::Nitro;

    fn verify(request: &Request<'_>) -> Result<Attested, Rejected> {
        verify_with(request, Anchors::Vendor)
    }
}

pub(crate) fn verify_with(
    request: &Request<'_>,
    anchors: Anchors<'_>,
) -> Result<Attested, Rejected> {
    let mut checks = Checks::new(Kind::Nitro);
    if request.evidence.len() > MAX_BYTES {
        let reason = format!("{} bytes; the limit is {MAX_BYTES}", request.evidence.len());
        return Err(checks.stop(Reason::TooLarge, "format", reason));
    }
    let document = match Document::parse(request.evidence) {
        Ok(document) => document,
        Err(error) => return Err(checks.stop(Reason::Malformed, "format", error.to_string())),
    };
    checks.pass(
        "format",
        "a COSE_Sign1 with the payload of a Nitro document",
    );
    claim(&mut checks, &document);
    if !document.is_es384() {
        return Err(checks.stop(
            Reason::Algorithm,
            "algorithm",
            "the protected header is not ES384 alone",
        ));
    }
    checks.pass("algorithm", "ES384");

    // The bundle goes from the root down.
    let ders =
        core::iter::once(document.certificate).chain(document.cabundle.iter().rev().copied());
    let chain: Vec<Certificate<'_>> = match ders.map(Certificate::parse).collect() {
        Ok(chain) => chain,
        Err(error) => {
            return Err(checks.stop(Reason::Malformed, "certificates", error.to_string()));
        }
    };
    let signed = document.sig_structure();
    let Some(leaf) = chain.first() else {
        return Err(checks.stop(Reason::EndorsementMissing, "chain", "the chain is empty"));
    };
    // The cheapest signature first: whoever alters a document pays as much as we do.
    let verified = crypto::verify(
        leaf.key,
        Algorithm::EcdsaSha384,
        Form::Raw,
        &signed,
        document.signature,
    );
    if let Err(error) = verified {
        return Err(checks.stop(Reason::Signature, "signature", error.to_string()));
    }
    checks.require(
        leaf.may_sign_data(),
        Reason::Signature,
        "signature",
        "signed by the module's certificate",
        || "the certificate may not sign data".into(),
    );
    anchors.check(&mut checks, &chain, &[AWS_NITRO]);

    let made_at = document.timestamp / 1000;
    freshness(&mut checks, request, made_at);
    let valid_until = x509::dates(&mut checks, &chain, request.now);
    let debug = is_debug(&document);
    match debug {
        None => checks.fail(
            Reason::Malformed,
            "debug",
            "the document lacks PCR0, PCR1 or PCR2",
        ),
        Some(debug) => checks.debug(request.policy, debug, "PCR0, PCR1 or PCR2 is all zero"),
    }
    expected_pcrs(&mut checks, request, &document);
    let measurement = binding::measurement(
        Kind::Nitro,
        &[0, 1, 2].map(|number| document.pcr(number).unwrap_or(&[])),
    );
    checks.measurement(request.policy, &measurement);
    checks.nonce(request, document.nonce);
    bound(&mut checks, request, &document);
    let platforms: Vec<PlatformId> = platforms(document.module_id);
    checks.platforms(request.policy, &platforms);

    let still_trusted = alloc::vec![
        "AWS, which makes the Nitro hardware and its hypervisor and holds the root's key"
            .to_string(),
        "that the Nitro system isolates the enclave; nothing here is measured by another vendor"
            .to_string(),
        "the code that the PCRs measure: it must make the key inside and do what it says"
            .to_string(),
        "that none of the chain's certificates was revoked: revocation lists are not consulted"
            .to_string(),
    ];
    let facts = Facts {
        debug: debug.unwrap_or(true),
        platforms,
        product: None,
        measurement,
        signed_region: Digest::sha256(&signed),
        bound: document.user_data.unwrap_or_default().to_vec(),
        made_at: Some(made_at),
        valid_until: Some(valid_until.min(made_at.saturating_add(request.policy.max_age))),
    };
    checks.conclude(facts, still_trusted)
}

fn claim(checks: &mut Checks, document: &Document<'_>) {
    checks.claim("module_id", document.module_id);
    checks.claim("timestamp", document.timestamp);
    let mut pcrs = Claims::new();
    for (number, value) in &document.pcrs {
        if *number < 3 || value.iter().any(|&byte| byte != 0) {
            pcrs.put(number.to_string(), *value);
        }
    }
    checks.claim("pcrs", pcrs);
    for (name, value) in [
        ("public_key", document.public_key),
        ("user_data", document.user_data),
        ("nonce", document.nonce),
    ] {
        if let Some(value) = value {
            checks.claim(name, value);
        }
    }
    if !document.unknown.is_empty() {
        checks.claim(
            "unknown_fields",
            document
                .unknown
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        );
    }
}

/// Debug mode leaves the first three PCRs zero. Any of them is enough: an enclave in production has none.
fn is_debug(document: &Document<'_>) -> Option<bool> {
    let mut debug = false;
    for number in 0..3 {
        debug |= document.pcr(number)?.iter().all(|&byte| byte == 0);
    }
    Some(debug)
}

pub(crate) fn freshness(checks: &mut Checks, request: &Request<'_>, made_at: u64) {
    let (now, policy) = (request.now, request.policy);
    if made_at > now.saturating_add(policy.max_skew) {
        let reason = format!("made at {made_at}, which is {} s from now", made_at - now);
        checks.fail(Reason::Future, "fresh", reason);
    } else if now > made_at.saturating_add(policy.max_age) {
        let reason = format!(
            "made {} s ago; the policy allows {} s",
            now - made_at,
            policy.max_age
        );
        checks.fail(Reason::Stale, "fresh", reason);
    } else {
        checks.pass(
            "fresh",
            format!("made at {made_at}; the policy allows {} s", policy.max_age),
        );
    }
}

fn expected_pcrs(checks: &mut Checks, request: &Request<'_>, document: &Document<'_>) {
    let sets = &request.policy.nitro.pcrs;
    if sets.is_empty() {
        return checks.not_made("pcrs", "the policy names no PCRs: any code is accepted");
    }
    let fits = |number: &String, value: &String| {
        let found = number.parse().ok().and_then(|number| document.pcr(number));
        found.is_some_and(|found| hex::encode(found).eq_ignore_ascii_case(value))
    };
    let holds = sets
        .iter()
        .any(|set| !set.is_empty() && set.iter().all(|(number, value)| fits(number, value)));
    checks.require(
        holds,
        Reason::Measurement,
        "pcrs",
        "the PCRs are a set that the policy names",
        || {
            format!(
                "the PCRs match none of the {} sets that the policy names",
                sets.len()
            )
        },
    );
}

fn bound(checks: &mut Checks, request: &Request<'_>, document: &Document<'_>) {
    checks.bound(request, document.user_data);
    if let Some(binding) = &request.binding {
        checks.require(
            document.public_key == Some(binding.key),
            Reason::BindingMismatch,
            "key",
            "the document carries the receipt's key",
            || "the document carries another public key than the receipt's, or none".into(),
        );
    }
}

/// `i-...-enc...`: the instance and the enclave.
fn platforms(module_id: &str) -> Vec<PlatformId> {
    let lower = module_id.to_ascii_lowercase();
    let mut names = Vec::from_iter(PlatformId::new(format!("nitro-module:{lower}")));
    if let Some((instance, _)) = lower.rsplit_once("-enc") {
        names.extend(PlatformId::new(format!("aws-instance:{instance}")));
    }
    names
}
