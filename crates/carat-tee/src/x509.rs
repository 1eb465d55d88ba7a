//! Certificates (RFC 5280) as vendors make them, and chains of them at a stated time.
//!
//! A certificate is parsed once, strictly, into slices of its DER; signatures are verified over the received bytes.
//! Vendors' habits that are accepted: a serial number of zero (AMD), and an explicit default in the parameters of
//! RSASSA-PSS (AMD). A critical extension that is not understood makes a certificate unusable (RFC 5280 section 4.2);
//! that is also what keeps the simulator's certificates out.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::crypto::{self, Algorithm, Form, PublicKey, SignatureError};
use crate::der::{DerError, Reader, tag};
use crate::{Checks, Reason};

/// Largest certificate in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;
/// Most certificates in a chain.
pub const MAX_CHAIN: usize = 10;
/// Most extensions of a certificate.
const MAX_EXTENSIONS: usize = 64;

/// Object identifiers, as DER content.
pub mod oid {
    /// basicConstraints.
    pub const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    /// keyUsage.
    pub const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    /// extKeyUsage.
    pub const EXT_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
    /// commonName.
    pub const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    /// Of the simulator: "this is no TEE". Private arc under the example enterprise number of RFC 5612.
    pub const SIMULATED: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x81, 0xfd, 0x59, 0x01];
    pub(crate) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    pub(crate) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    pub(super) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
    pub(super) const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
    pub(super) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    pub(crate) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
    pub(super) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
}

/// A certificate, as slices of its DER.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    der: &'a [u8],
    tbs: &'a [u8],
    /// Serial number, big-endian. AMD's is zero.
    pub serial: &'a [u8],
    /// DER of the issuer's Name.
    pub issuer: &'a [u8],
    /// DER of the subject's Name.
    pub subject: &'a [u8],
    /// First second of validity, Unix.
    pub not_before: u64,
    /// Last second of validity, Unix.
    pub not_after: u64,
    /// The subject's key.
    pub key: PublicKey<'a>,
    /// DER of the SubjectPublicKeyInfo.
    pub spki: &'a [u8],
    algorithm: Algorithm,
    signature: &'a [u8],
    /// Extensions in order.
    pub extensions: Vec<Extension<'a>>,
    /// basicConstraints, if it says that this is a CA: the most intermediate certificates below.
    ca: Option<Option<u64>>,
    /// keyUsage, if present: the first byte of its bits.
    key_usage: Option<u8>,
}

/// An extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Object identifier, DER content.
    pub oid: &'a [u8],
    /// Whether whoever does not understand it must refuse the certificate.
    pub critical: bool,
    /// Content of its OCTET STRING.
    pub value: &'a [u8],
}

/// A certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// Too large.
    #[error("a certificate has {0} bytes; the limit is {MAX_CERTIFICATE_BYTES}")]
    TooLarge(usize),
    /// Not DER.
    #[error("the certificate is malformed: {0}")]
    Der(#[from] DerError),
    /// An algorithm that no vendor uses.
    #[error("the certificate uses {0}, which is not supported")]
    Unsupported(&'static str),
    /// Contradicts itself.
    #[error("the certificate {0}")]
    Content(&'static str),
}

impl<'a> Certificate<'a> {
    /// Parses a certificate that fills `der`.
    pub fn parse(der: &'a [u8]) -> Result<Self, X509Error> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(X509Error::TooLarge(der.len()));
        }
        let mut outer = Reader::new(der);
        let mut certificate = outer.sequence()?;
        outer.finish()?;
        let tbs = certificate.any()?;
        let outer_algorithm = certificate.any()?;
        let signature = certificate.bits()?;
        certificate.finish()?;
        if tbs.tag != tag::SEQUENCE {
            return Err(DerError::Tag {
                expected: tag::SEQUENCE,
                found: tbs.tag,
            }
            .into());
        }
        let mut body = Reader::new(tbs.value);
        let version = body
            .optional(tag::context(0))?
            .ok_or(X509Error::Unsupported("a version before 3"))?;
        let mut version = Reader::new(version);
        if version.small()? != 2 {
            return Err(X509Error::Unsupported("a version other than 3"));
        }
        version.finish()?;
        let serial = body.unsigned()?;
        if serial.len() > 20 {
            return Err(X509Error::Content(
                "has a serial number of more than 20 bytes",
            ));
        }
        let inner_algorithm = body.any()?;
        if inner_algorithm.whole != outer_algorithm.whole {
            return Err(X509Error::Content("names two signature algorithms"));
        }
        let algorithm = signature_algorithm(inner_algorithm.whole)?;
        let issuer = name(&mut body)?;
        let mut validity = body.sequence()?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        validity.finish()?;
        let subject = name(&mut body)?;
        let spki = body.any()?;
        let key = public_key(spki.whole)?;
        // Unique identifiers are obsolete, and no vendor has them.
        let extensions = match body.optional(tag::context(3))? {
            Some(list) => extensions(list)?,
            None => Vec::new(),
        };
        body.finish()?;
        let find = |oid: &[u8]| extensions.iter().find(|extension| extension.oid == oid);
        let ca = find(oid::BASIC_CONSTRAINTS)
            .map(|extension| basic_constraints(extension.value))
            .transpose()?
            .flatten();
        let key_usage = find(oid::KEY_USAGE)
            .map(|extension| key_usage(extension.value))
            .transpose()?;
        Ok(Self {
            der,
            tbs: tbs.whole,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            spki: spki.whole,
            algorithm,
            signature,
            extensions,
            ca,
            key_usage,
        })
    }

    /// The certificate's DER.
    pub const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// SHA-256 of the DER: what roots are pinned by.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.der).into()
    }

    /// The extension of an object identifier (DER content).
    pub fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions
            .iter()
            .find(|extension| extension.oid == oid)
    }

    /// The subject's common name, for people.
    pub fn common_name(&self) -> Option<String> {
        common_name(self.subject)
    }

    /// Whether the certificate was signed by this key. Nothing else is checked.
    pub fn signed_by(&self, key: PublicKey<'_>) -> Result<(), SignatureError> {
        crypto::verify(key, self.algorithm, Form::Der, self.tbs, self.signature)
    }

    /// What the issuer signed: algorithm, bytes, signature.
    pub const fn signed(&self) -> (Algorithm, &'a [u8], &'a [u8]) {
        (self.algorithm, self.tbs, self.signature)
    }

    /// Whether keyUsage, if there is one, allows signatures over data (bit 0).
    pub fn may_sign_data(&self) -> bool {
        self.key_usage.is_none_or(|bits| bits & 0x80 != 0)
    }

    /// Whether it may sign certificates with `below` intermediate certificates between it and the leaf.
    fn may_issue(&self, below: u64) -> Result<(), &'static str> {
        match self.ca {
            None => return Err("is not a certification authority's"),
            Some(Some(limit)) if below > limit => return Err("allows fewer certificates below it"),
            Some(_) => {}
        }
        match self.key_usage {
            Some(bits) if bits & 0x04 == 0 => Err("may not sign certificates"),
            _ => Ok(()),
        }
    }

    /// The first critical extension that is not understood.
    fn unknown_critical(&self, understood: &[&[u8]]) -> Option<&Extension<'a>> {
        let known = [oid::BASIC_CONSTRAINTS, oid::KEY_USAGE, oid::EXT_KEY_USAGE];
        self.extensions
            .iter()
            .find(|ext| ext.critical && !known.contains(&ext.oid) && !understood.contains(&ext.oid))
    }
}

/// What a chain must be.
#[derive(Debug, Clone, Copy)]
pub struct ChainRules<'a> {
    /// SHA-256 of the DER of roots, any of which may end the chain.
    pub roots: &'a [[u8; 32]],
    /// The time, Unix seconds.
    pub now: u64,
    /// Critical extensions that the caller interprets, besides basicConstraints, keyUsage and extKeyUsage.
    pub understood: &'a [&'a [u8]],
}

/// Checks a chain, leaf first and root last: linked names, signatures, rights to issue, critical extensions, the pinned
/// root, and dates. Every failure is recorded. Returns the last second at which all certificates are valid.
///
/// The root's own signature is not verified: it is accepted because its bytes are pinned.
pub fn check_chain(checks: &mut Checks, chain: &[Certificate<'_>], rules: &ChainRules<'_>) -> u64 {
    check_links(checks, chain, rules.roots, rules.understood);
    dates(checks, chain, rules.now)
}

/// [`check_chain`] without dates.
pub fn check_links(
    checks: &mut Checks,
    chain: &[Certificate<'_>],
    roots: &[[u8; 32]],
    understood: &[&[u8]],
) {
    let Some(root) = chain.last() else {
        return checks.fail(Reason::EndorsementMissing, "chain", "the chain is empty");
    };
    if chain.len() > MAX_CHAIN {
        return checks.fail(
            Reason::Chain,
            "chain",
            format!(
                "the chain has {} certificates; the limit is {MAX_CHAIN}",
                chain.len()
            ),
        );
    }
    let digest = root.digest();
    checks.require(
        roots.contains(&digest),
        Reason::WrongRoot,
        "root",
        "the chain ends at the pinned root",
        || {
            format!(
                "the chain ends at a certificate with SHA-256 {}, which is no pinned root",
                hex::encode(digest)
            )
        },
    );
    match links(chain, understood) {
        Ok(()) => checks.pass(
            "chain",
            format!("{} certificates, each signed by the next", chain.len()),
        ),
        Err(reason) => checks.fail(Reason::Chain, "chain", reason),
    }
}

/// Whether each certificate of a chain, leaf first, was issued by the next, which had the right to; and no critical extension
/// is unknown. Nothing is said about the last one.
pub fn links(chain: &[Certificate<'_>], understood: &[&[u8]]) -> Result<(), String> {
    for (index, certificate) in chain.iter().enumerate() {
        if let Some(extension) = certificate.unknown_critical(understood) {
            let what = if extension.oid == oid::SIMULATED {
                "says that it comes from a simulator"
            } else {
                "has a critical extension that is not understood"
            };
            return Err(format!("certificate {index} {what}"));
        }
        let Some(issuer) = chain.get(index + 1) else {
            break;
        };
        if certificate.issuer != issuer.subject {
            return Err(format!(
                "certificate {index} names another issuer than certificate {}",
                index + 1
            ));
        }
        // `index` certificates lie between the leaf and this issuer, not counting the leaf.
        issuer
            .may_issue(index as u64)
            .map_err(|reason| format!("certificate {} {reason}", index + 1))?;
        certificate.signed_by(issuer.key).map_err(|error| {
            format!("certificate {index} by certificate {}: {error}", index + 1)
        })?;
    }
    Ok(())
}

/// Checks validity at `now`; returns the last second at which all certificates are valid.
pub fn dates(checks: &mut Checks, certificates: &[Certificate<'_>], now: u64) -> u64 {
    let from = certificates
        .iter()
        .map(|certificate| certificate.not_before)
        .max()
        .unwrap_or(u64::MAX);
    let until = certificates
        .iter()
        .map(|certificate| certificate.not_after)
        .min()
        .unwrap_or(0);
    if now > until {
        checks.fail(
            Reason::CertificateExpired,
            "certificate_dates",
            format!("a certificate expired at {until}; it is {now}"),
        );
    } else if now < from {
        checks.fail(
            Reason::CertificateNotYetValid,
            "certificate_dates",
            format!("a certificate is valid from {from}; it is {now}"),
        );
    } else {
        checks.pass(
            "certificate_dates",
            format!("all certificates are valid from {from} to {until}"),
        );
    }
    until
}

fn name<'a>(body: &mut Reader<'a>) -> Result<&'a [u8], X509Error> {
    let name = body.any()?;
    if name.tag != tag::SEQUENCE {
        return Err(DerError::Tag {
            expected: tag::SEQUENCE,
            found: name.tag,
        }
        .into());
    }
    Ok(name.whole)
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut rdns = Reader::new(name).sequence().ok()?;
    let mut found = None;
    while !rdns.is_empty() {
        let mut set = Reader::new(rdns.expect(tag::SET).ok()?);
        while !set.is_empty() {
            let mut attribute = set.sequence().ok()?;
            if attribute.expect(tag::OID).ok()? == oid::COMMON_NAME {
                let value = attribute.any().ok()?;
                found = core::str::from_utf8(value.value).ok().map(String::from);
            }
        }
    }
    found
}

fn signature_algorithm(der: &[u8]) -> Result<Algorithm, X509Error> {
    let mut algorithm = Reader::new(der).sequence()?;
    let id = algorithm.expect(tag::OID)?;
    let found = match id {
        oid::ECDSA_SHA256 => Algorithm::EcdsaSha256,
        oid::ECDSA_SHA384 => Algorithm::EcdsaSha384,
        oid::RSA_SHA256 => {
            let null = algorithm.expect(tag::NULL)?;
            if !null.is_empty() {
                return Err(DerError::Value("NULL").into());
            }
            Algorithm::RsaPkcs1Sha256
        }
        oid::RSA_PSS => {
            pss_parameters(algorithm.sequence()?)?;
            Algorithm::RsaPssSha384
        }
        _ => return Err(X509Error::Unsupported("an unknown signature algorithm")),
    };
    algorithm.finish()?;
    Ok(found)
}

/// RFC 4055 section 3.1; the only parameters in use are SHA-384, MGF1 with SHA-384, and a salt of 48 bytes.
fn pss_parameters(mut parameters: Reader<'_>) -> Result<(), X509Error> {
    const OTHER: X509Error =
        X509Error::Unsupported("RSASSA-PSS with other parameters than SHA-384 and a 48-byte salt");
    let mut hash = Reader::new(parameters.optional(tag::context(0))?.ok_or(OTHER)?);
    sha384(&mut hash)?;
    hash.finish()?;
    let mut mask = Reader::new(parameters.optional(tag::context(1))?.ok_or(OTHER)?);
    let mut function = mask.sequence()?;
    mask.finish()?;
    if function.expect(tag::OID)? != oid::MGF1 {
        return Err(OTHER);
    }
    sha384(&mut function)?;
    function.finish()?;
    let mut salt = Reader::new(parameters.optional(tag::context(2))?.ok_or(OTHER)?);
    if salt.small()? != 48 {
        return Err(OTHER);
    }
    salt.finish()?;
    // The default is left out in DER; AMD writes it.
    if let Some(trailer) = parameters.optional(tag::context(3))? {
        let mut trailer = Reader::new(trailer);
        if trailer.small()? != 1 {
            return Err(OTHER);
        }
        trailer.finish()?;
    }
    Ok(parameters.finish()?)
}

fn sha384(reader: &mut Reader<'_>) -> Result<(), X509Error> {
    let mut hash = reader.sequence()?;
    if hash.expect(tag::OID)? != oid::SHA384 {
        return Err(X509Error::Unsupported(
            "RSASSA-PSS with another hash than SHA-384",
        ));
    }
    hash.optional(tag::NULL)?;
    Ok(hash.finish()?)
}

/// The key in a SubjectPublicKeyInfo.
pub fn public_key(spki: &[u8]) -> Result<PublicKey<'_>, X509Error> {
    let mut reader = Reader::new(spki).sequence()?;
    let mut algorithm = reader.sequence()?;
    let bits = reader.bits()?;
    reader.finish()?;
    match algorithm.expect(tag::OID)? {
        oid::EC_PUBLIC_KEY => {
            let curve = algorithm.expect(tag::OID)?;
            algorithm.finish()?;
            match curve {
                oid::P256 => Ok(PublicKey::P256(bits)),
                oid::P384 => Ok(PublicKey::P384(bits)),
                _ => Err(X509Error::Unsupported("an unknown elliptic curve")),
            }
        }
        oid::RSA => {
            algorithm.optional(tag::NULL)?;
            algorithm.finish()?;
            let mut outer = Reader::new(bits);
            let mut key = outer.sequence()?;
            outer.finish()?;
            let (modulus, exponent) = (key.unsigned()?, key.unsigned()?);
            key.finish()?;
            Ok(PublicKey::Rsa { modulus, exponent })
        }
        _ => Err(X509Error::Unsupported("an unknown kind of key")),
    }
}

fn extensions(list: &[u8]) -> Result<Vec<Extension<'_>>, X509Error> {
    let mut outer = Reader::new(list);
    let mut list = outer.sequence()?;
    outer.finish()?;
    let mut found: Vec<Extension<'_>> = Vec::new();
    while !list.is_empty() {
        let mut extension = list.sequence()?;
        let oid = extension.expect(tag::OID)?;
        let critical = match extension.optional(tag::BOOLEAN)? {
            None => false,
            Some([0xff]) => true,
            // An explicit default is not DER; some vendors write it.
            Some([0x00]) => false,
            Some(_) => return Err(DerError::Value("BOOLEAN").into()),
        };
        let value = extension.expect(tag::OCTET_STRING)?;
        extension.finish()?;
        if found.iter().any(|known| known.oid == oid) {
            return Err(X509Error::Content("has an extension twice"));
        }
        if found.len() == MAX_EXTENSIONS {
            return Err(X509Error::Content("has more than 64 extensions"));
        }
        found.push(Extension {
            oid,
            critical,
            value,
        });
    }
    Ok(found)
}

/// `Some` if it says CA, with the path length limit.
fn basic_constraints(value: &[u8]) -> Result<Option<Option<u64>>, X509Error> {
    let mut outer = Reader::new(value);
    let mut constraints = outer.sequence()?;
    outer.finish()?;
    let ca = match constraints.optional(tag::BOOLEAN)? {
        None | Some([0x00]) => false,
        Some([0xff]) => true,
        Some(_) => return Err(DerError::Value("BOOLEAN").into()),
    };
    let limit = if constraints.is_empty() {
        None
    } else {
        Some(constraints.small()?)
    };
    constraints.finish()?;
    Ok(ca.then_some(limit))
}

/// The first byte of the bits: 0x80 digitalSignature, 0x04 keyCertSign.
fn key_usage(value: &[u8]) -> Result<u8, X509Error> {
    let mut outer = Reader::new(value);
    let bits = outer.expect(tag::BIT_STRING)?;
    outer.finish()?;
    match bits {
        [unused @ 0..=7, first, rest @ ..] if rest.len() <= 1 => {
            let _ = unused;
            Ok(*first)
        }
        _ => Err(DerError::Value("keyUsage").into()),
    }
}
