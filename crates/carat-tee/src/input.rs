//! Inputs as people have them: raw bytes, hexadecimal or base64 text; certificates as PEM or DER.
//!
//! Text is recognised only where the whole input is text, so raw bytes are never decoded by accident: every binary format
//! here has bytes outside ASCII or control characters near its start.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};

use crate::nvidia::json;
use crate::x509::{MAX_CERTIFICATE_BYTES, MAX_CHAIN};
use crate::{Kind, der};

/// Largest item of evidence or endorsements, decoded, in bytes.
pub const MAX_ITEM_BYTES: usize = 64 * 1024;
/// Largest text form of an item: hexadecimal with white space.
pub const MAX_TEXT_BYTES: usize = 3 * MAX_ITEM_BYTES;

/// An input cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Empty.
    #[error("the input is empty")]
    Empty,
    /// Text that says nothing.
    #[error(
        "the input is text, but neither hexadecimal nor base64; give raw bytes or one of these"
    )]
    Text,
    /// Larger than the limit.
    #[error(
        "the input has {0} bytes; the limit is {MAX_ITEM_BYTES} after decoding; it was not read"
    )]
    TooLarge(usize),
    /// PEM that is not PEM.
    #[error("the PEM text is broken: {0}")]
    Pem(&'static str),
    /// No certificate in it.
    #[error("the input holds no certificate; give PEM or DER")]
    NoCertificate,
    /// JSON that does not hold the evidence.
    #[error("the JSON holds no evidence of this kind: {0}")]
    Json(String),
    /// Evidence of several machines, of which each has a verdict of its own.
    #[error("the input holds evidence of {0} GPUs; give one at a time")]
    Several(usize),
    /// Too many certificates.
    #[error("the input holds more than {MAX_CHAIN} certificates")]
    TooMany,
}

/// Whether bytes are text: printable ASCII and white space only.
pub fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// Decodes an item that is binary in its raw form: hexadecimal (with or without `0x`) and base64 (standard or URL-safe
/// alphabet, padded or not) become bytes, white space in them is skipped; anything else is left as it is.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, [u8]>, InputError> {
    if bytes.is_empty() {
        return Err(InputError::Empty);
    }
    let bytes = without_mark(bytes);
    if !is_text(bytes) {
        return capped(Cow::Borrowed(bytes));
    }
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(InputError::TooLarge(bytes.len()));
    }
    let text: Vec<u8> = unquoted(bytes)
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    if text.is_empty() {
        return Err(InputError::Empty);
    }
    match from_hex(&text).or_else(|| from_base64(&text)) {
        Some(decoded) => capped(Cow::Owned(decoded)),
        None => capped(Cow::Borrowed(bytes)),
    }
}

/// Without the mark that some editors put before text. No binary form here begins with these bytes.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Without the quotes of a JSON string, as it is copied out of one.
fn unquoted(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    text.strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text)
}

/// Decodes an item that is text in its raw form (JSON, a token): it is left as it is unless all of it is hexadecimal or
/// base64 of such text, which `looks_right` tells.
pub fn decode_text(
    bytes: &[u8],
    looks_right: impl Fn(&[u8]) -> bool,
) -> Result<Cow<'_, [u8]>, InputError> {
    let bytes = without_mark(bytes);
    if looks_right(bytes) {
        return capped(Cow::Borrowed(bytes));
    }
    let decoded = decode(bytes)?;
    if looks_right(&decoded) {
        Ok(decoded)
    } else {
        capped(Cow::Borrowed(bytes))
    }
}

/// Decodes evidence of a kind from the form in which people have it.
pub fn evidence(kind: Kind, bytes: &[u8]) -> Result<Cow<'_, [u8]>, InputError> {
    match kind {
        Kind::Gcp => decode_text(bytes, |bytes| {
            bytes.iter().filter(|&&byte| byte == b'.').count() == 2
        }),
        Kind::AzureSnp => decode_text(bytes, |bytes| {
            bytes.trim_ascii_start().first() == Some(&b'{')
        }),
        // Every binary form has bytes that are no text.
        Kind::Nitro | Kind::Tdx | Kind::Sgx | Kind::Snp | Kind::Nvidia => match decode(bytes)? {
            Cow::Borrowed(text) if is_text(text) => Err(InputError::Text),
            decoded => Ok(decoded),
        },
    }
}

/// What a file of evidence holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File<'a> {
    /// The evidence, decoded.
    pub evidence: Cow<'a, [u8]>,
    /// Its chain, DER, leaf first; empty where the file has none.
    pub chain: Vec<Vec<u8>>,
}

/// Decodes evidence of a kind from a file that may hold its chain as well: NVIDIA's tools write JSON with both.
pub fn file(kind: Kind, bytes: &[u8]) -> Result<File<'_>, InputError> {
    let bytes = without_mark(bytes);
    if kind == Kind::Nvidia && json::looks_like_it(bytes) && bytes.len() <= MAX_TEXT_BYTES {
        let (report, chain) = json::parse(bytes)?;
        return Ok(File {
            evidence: Cow::Owned(report),
            chain,
        });
    }
    Ok(File {
        evidence: evidence(kind, bytes)?,
        chain: Vec::new(),
    })
}

/// Decodes collateral of a kind: JSON for TDX and SGX, bytes otherwise.
pub fn collateral(kind: Kind, bytes: &[u8]) -> Result<Cow<'_, [u8]>, InputError> {
    match kind {
        Kind::Tdx | Kind::Sgx => decode_text(bytes, |bytes| {
            bytes.trim_ascii_start().first() == Some(&b'{')
        }),
        _ => decode(bytes),
    }
}

/// The certificates of a file: PEM blocks in order, or DER certificates one after another, or text of either.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, InputError> {
    let limit = MAX_CERTIFICATE_BYTES * MAX_CHAIN * 2;
    if bytes.len() > limit {
        return Err(InputError::TooLarge(bytes.len()));
    }
    if contains_pem(bytes) {
        return pem(bytes);
    }
    let decoded = decode(bytes)?;
    if contains_pem(&decoded) {
        return pem(&decoded);
    }
    let mut reader = der::Reader::new(&decoded);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let certificate = reader.any().map_err(|_| InputError::NoCertificate)?;
        push(&mut found, certificate.whole.to_vec())?;
    }
    if found.is_empty() {
        Err(InputError::NoCertificate)
    } else {
        Ok(found)
    }
}

fn push(found: &mut Vec<Vec<u8>>, certificate: Vec<u8>) -> Result<(), InputError> {
    if found.len() == MAX_CHAIN {
        return Err(InputError::TooMany);
    }
    found.push(certificate);
    Ok(())
}

fn capped(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, InputError> {
    match bytes.len() {
        0 => Err(InputError::Empty),
        len if len > MAX_ITEM_BYTES => Err(InputError::TooLarge(len)),
        _ => Ok(bytes),
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text
        .strip_prefix(b"0x")
        .or_else(|| text.strip_prefix(b"0X"))
        .unwrap_or(text);
    hex::decode(digits).ok()
}

fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = core::str::from_utf8(text).ok()?;
    Base64::decode_vec(text)
        .or_else(|_| Base64Unpadded::decode_vec(text))
        .or_else(|_| Base64Url::decode_vec(text))
        .or_else(|_| Base64UrlUnpadded::decode_vec(text))
        .ok()
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn contains_pem(bytes: &[u8]) -> bool {
    find(bytes, BEGIN).is_some()
}

/// RFC 7468, as lax as files are: text between the blocks is skipped, lines may have any length.
fn pem(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, InputError> {
    let mut found = Vec::new();
    while let Some(start) = find(bytes, BEGIN) {
        let rest = &bytes[start + BEGIN.len()..];
        let end = find(rest, END).ok_or(InputError::Pem("a block has no end"))?;
        let body: Vec<u8> = rest[..end]
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let text =
            core::str::from_utf8(&body).map_err(|_| InputError::Pem("a block is not text"))?;
        let der = Base64::decode_vec(text).map_err(|_| InputError::Pem("a block is not base64"))?;
        push(&mut found, der)?;
        bytes = &rest[end + END.len()..];
    }
    Ok(found)
}
