//! Intel's collateral: TCB information, identity of the quoting enclave, revocation lists, and their signers' chains.
//!
//! The form is the JSON of `QuoteCollateralV3` as `dcap-qvl` and the PCCS clients write it; names may be in camelCase. Byte
//! strings may be hexadecimal, base64 or lists of numbers; `tcb_info` and `qe_identity` may be the signed object or the
//! service's whole answer with the signature beside it, as text or as JSON in place; revocation lists may be DER or PEM.
//! Everything becomes one form before it is verified, and roots that come along must be the pinned one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use dcap_qvl::QuoteCollateralV3;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::quote::encode;
use crate::der::{Reader, tag};
use crate::input;

/// Largest collateral in bytes.
pub const MAX_COLLATERAL_BYTES: usize = 256 * 1024;

/// Certificates below the root that a signer of collateral has.
const SIGNER_BELOW: usize = 1;
/// Certificates below the root that a platform's key has.
pub(super) const PLATFORM_BELOW: usize = 2;

/// Collateral cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollateralError {
    /// Too large.
    #[error("the collateral has {0} bytes; the limit is {MAX_COLLATERAL_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or not these fields.
    #[error("the collateral is not the JSON of QuoteCollateralV3: {0}")]
    Json(String),
    /// A field cannot be read.
    #[error("the collateral's {0} cannot be read")]
    Field(&'static str),
    /// A chain has another root than the pinned one, or another length.
    #[error("the chain in {0} is not the one expected: the signer's, up to the pinned root")]
    Root(&'static str),
}

#[derive(Deserialize)]
struct Fields<'a> {
    // `pck_crl_issuer_chain` is not read: the list must be signed by the issuer of the platform's key, whose certificate
    // is in the platform's own verified chain.
    #[serde(alias = "rootCaCrl")]
    root_ca_crl: Bytes,
    #[serde(alias = "pckCrl")]
    pck_crl: Bytes,
    #[serde(alias = "tcbInfoIssuerChain")]
    tcb_info_issuer_chain: String,
    #[serde(borrow, alias = "tcbInfo")]
    tcb_info: &'a RawValue,
    #[serde(default, alias = "tcbInfoSignature")]
    tcb_info_signature: Option<Bytes>,
    #[serde(alias = "qeIdentityIssuerChain")]
    qe_identity_issuer_chain: String,
    #[serde(borrow, alias = "qeIdentity")]
    qe_identity: &'a RawValue,
    #[serde(default, alias = "qeIdentitySignature")]
    qe_identity_signature: Option<Bytes>,
    #[serde(default, alias = "pckCertificateChain")]
    pck_certificate_chain: Option<String>,
}

/// A byte string in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Numbers(Vec<u8>),
}

/// The times of one piece of collateral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) what: &'static str,
    pub(super) from: u64,
    pub(super) until: u64,
}

/// Collateral in one form.
#[derive(Debug, Clone)]
pub(super) struct Collateral {
    /// As the verifying crate takes it, without a chain for the platform's key.
    pub(super) inner: QuoteCollateralV3,
    /// DER of the chain of the platform's key, leaf first, where the collateral has one.
    pub(super) pck_chain: Vec<Vec<u8>>,
    /// Validity of each dated piece, as it says itself.
    pub(super) windows: Vec<Window>,
}

impl Collateral {
    /// Reads collateral. `root` is the DER of the pinned root.
    pub(super) fn parse(bytes: &[u8], root: &[u8]) -> Result<Self, CollateralError> {
        if bytes.len() > MAX_COLLATERAL_BYTES {
            return Err(CollateralError::TooLarge(bytes.len()));
        }
        let fields: Fields<'_> = serde_json::from_slice(bytes)
            .map_err(|error| CollateralError::Json(error.to_string()))?;
        let chain = |pem: &str, what| chain(pem, what, SIGNER_BELOW, root).map(|ders| join(&ders));
        let (tcb_info, tcb_info_signature) = signed(
            &text(fields.tcb_info, "tcb_info")?,
            fields.tcb_info_signature.as_ref(),
            "tcbInfo",
            "tcb_info",
        )?;
        let (qe_identity, qe_identity_signature) = signed(
            &text(fields.qe_identity, "qe_identity")?,
            fields.qe_identity_signature.as_ref(),
            "enclaveIdentity",
            "qe_identity",
        )?;
        let root_ca_crl = crl(&fields.root_ca_crl, "root_ca_crl")?;
        let pck_crl = crl(&fields.pck_crl, "pck_crl")?;
        let windows = alloc::vec![
            json_window("TCB information", &tcb_info)?,
            json_window("identity of the quoting enclave", &qe_identity)?,
            crl_window("root's revocation list", &root_ca_crl)
                .ok_or(CollateralError::Field("root_ca_crl"))?,
            crl_window("platform CA's revocation list", &pck_crl)
                .ok_or(CollateralError::Field("pck_crl"))?,
        ];
        let pck_chain = match &fields.pck_certificate_chain {
            Some(pem) => self::chain(pem, "pck_certificate_chain", PLATFORM_BELOW, root)?,
            None => Vec::new(),
        };
        Ok(Self {
            inner: QuoteCollateralV3 {
                pck_crl_issuer_chain: String::new(),
                root_ca_crl,
                pck_crl,
                tcb_info_issuer_chain: chain(
                    &fields.tcb_info_issuer_chain,
                    "tcb_info_issuer_chain",
                )?,
                tcb_info,
                tcb_info_signature,
                qe_identity_issuer_chain: chain(
                    &fields.qe_identity_issuer_chain,
                    "qe_identity_issuer_chain",
                )?,
                qe_identity,
                qe_identity_signature,
                pck_certificate_chain: None,
            },
            pck_chain,
            windows,
        })
    }
}

/// Certificates as PEM, one after another.
pub(super) fn join(ders: &[Vec<u8>]) -> String {
    ders.iter().map(|der| encode(der)).collect()
}

/// The certificates of a chain: as many as stand below the root, leaf first, and then possibly the root, which must be
/// the pinned one. It is not part of the verified path, so nothing else would look at it; nor would anything look at
/// more certificates than these.
pub(super) fn chain(
    pem: &str,
    what: &'static str,
    below: usize,
    root: &[u8],
) -> Result<Vec<Vec<u8>>, CollateralError> {
    // Some clients leave the chain percent-encoded, as it comes in a header of the service.
    let decoded;
    let pem = if pem.contains("%20") || pem.contains("%0A") {
        decoded = percent(pem).ok_or(CollateralError::Field(what))?;
        decoded.as_str()
    } else {
        pem
    };
    let ders = super::quote::pem(pem.trim_matches(['\n', '\r', '\0']).as_bytes())
        .map_err(|_| CollateralError::Field(what))?;
    let fits = match ders.get(below..) {
        Some([]) => true,
        Some([last]) => last == root,
        _ => false,
    };
    if fits {
        Ok(ders)
    } else {
        Err(CollateralError::Root(what))
    }
}

fn percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let mut decoded = [0];
                hex::decode_to_slice(digits, &mut decoded).ok()?;
                decoded[0]
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What was signed: the text of a string, or JSON that stands there in place, byte for byte.
fn text(value: &RawValue, what: &'static str) -> Result<String, CollateralError> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'{') => Ok(raw.to_string()),
        _ => serde_json::from_str(raw).map_err(|_| CollateralError::Field(what)),
    }
}

fn bytes(text: &str, what: &'static str) -> Result<Vec<u8>, CollateralError> {
    let text = text.trim_end_matches('\0').as_bytes();
    input::decode(text)
        .map(|bytes| bytes.into_owned())
        .map_err(|_| CollateralError::Field(what))
}

/// The signed object, and its signature of 64 bytes.
fn signed(
    text: &str,
    signature: Option<&Bytes>,
    key: &str,
    what: &'static str,
) -> Result<(String, Vec<u8>), CollateralError> {
    let text = text.trim_end_matches('\0');
    let answer = text
        .trim()
        .strip_prefix(&format!("{{\"{key}\":"))
        .and_then(|rest| rest.strip_suffix("\"}"))
        .and_then(|rest| rest.rsplit_once(",\"signature\":\""));
    let (object, signature) = match (answer, signature) {
        (Some((object, beside)), _) => (object, bytes(beside, what)?),
        (None, Some(Bytes::Text(apart))) => (text, bytes(apart, what)?),
        (None, Some(Bytes::Numbers(apart))) => (text, apart.clone()),
        (None, None) => return Err(CollateralError::Field(what)),
    };
    if signature.len() == 64 {
        Ok((object.to_string(), signature))
    } else {
        Err(CollateralError::Field(what))
    }
}

/// DER of a revocation list.
fn crl(list: &Bytes, what: &'static str) -> Result<Vec<u8>, CollateralError> {
    const BEGIN: &str = "-----BEGIN X509 CRL-----";
    const END: &str = "-----END X509 CRL-----";
    let body = |text: &str| {
        text.split_once(BEGIN)
            .and_then(|(_, rest)| rest.split_once(END))
            .map(|(body, _)| bytes(body, what))
    };
    let der = match list {
        Bytes::Numbers(der) => der.clone(),
        Bytes::Text(text) => match body(text) {
            Some(der) => der?,
            None => {
                let decoded = bytes(text, what)?;
                // PEM in hexadecimal or base64.
                match core::str::from_utf8(&decoded).ok().and_then(body) {
                    Some(der) => der?,
                    None => decoded,
                }
            }
        },
    };
    let mut reader = Reader::new(&der);
    let whole = reader.any().map_err(|_| CollateralError::Field(what))?;
    if reader.is_empty() && whole.tag == tag::SEQUENCE {
        Ok(der)
    } else {
        Err(CollateralError::Field(what))
    }
}

fn json_window(what: &'static str, json: &str) -> Result<Window, CollateralError> {
    #[derive(Deserialize)]
    struct Dates {
        #[serde(rename = "issueDate")]
        from: String,
        #[serde(rename = "nextUpdate")]
        until: String,
    }
    let dates: Dates = serde_json::from_str(json)
        .map_err(|error| CollateralError::Json(format!("{what}: {error}")))?;
    let seconds = |text: &str| rfc3339(text).ok_or(CollateralError::Field("dates"));
    Ok(Window {
        what,
        from: seconds(&dates.from)?,
        until: seconds(&dates.until)?,
    })
}

/// `2025-06-19T10:01:18Z`: the only form that Intel writes.
fn rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let form = bytes.len() == 20
        && [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'Z'),
        ]
        .iter()
        .all(|(at, byte)| bytes[*at] == *byte);
    if !form {
        return None;
    }
    // The same digits make a GeneralizedTime.
    let mut der = alloc::vec![tag::GENERALIZED_TIME, 15];
    der.extend(
        bytes
            .iter()
            .filter(|byte| !matches!(byte, b'-' | b'T' | b':')),
    );
    Reader::new(&der).time().ok()
}

/// `thisUpdate` and `nextUpdate`, RFC 5280 section 5.1. The verifying crate no longer accepts a list in the very second
/// of its next update.
fn crl_window(what: &'static str, der: &[u8]) -> Option<Window> {
    let mut tbs = Reader::new(der).sequence().ok()?.sequence().ok()?;
    tbs.optional(tag::INTEGER).ok()?;
    tbs.expect(tag::SEQUENCE).ok()?;
    tbs.expect(tag::SEQUENCE).ok()?;
    Some(Window {
        what,
        from: tbs.time().ok()?,
        until: tbs.time().ok()?.checked_sub(1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_intel() {
        assert_eq!(rfc3339("2025-06-19T10:01:18Z"), Some(1_750_327_278));
        for wrong in [
            "2025-06-19T10:01:18+00:00",
            "2025-06-19 10:01:18Z",
            "",
            "2025-13-19T10:01:18Z",
        ] {
            assert_eq!(rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn signatures_beside_or_apart() {
        let hex = "ab".repeat(64);
        let object = r#"{"issueDate":"x"}"#;
        let given = Bytes::Text(hex.clone());
        let apart = signed(object, Some(&given), "tcbInfo", "tcb_info").unwrap();
        let answer = format!(r#"{{"tcbInfo":{object},"signature":"{hex}"}}"#);
        assert_eq!(signed(&answer, None, "tcbInfo", "tcb_info").unwrap(), apart);
        assert_eq!(apart, (object.to_string(), alloc::vec![0xab; 64]));
        let numbers = Bytes::Numbers(alloc::vec![0xab; 64]);
        assert_eq!(
            signed(object, Some(&numbers), "tcbInfo", "tcb_info").unwrap(),
            apart
        );
        let short = Bytes::Text("ab".into());
        for signature in [None, Some(&short)] {
            assert!(signed(object, signature, "tcbInfo", "tcb_info").is_err());
        }
    }

    #[test]
    fn percent_encoding_of_headers() {
        assert_eq!(percent("a%20b%0A").as_deref(), Some("a b\n"));
        assert_eq!(percent("a%2"), None);
        assert_eq!(percent("%zz"), None);
    }
}
