//! The frame of a DCAP quote: Intel, "SGX ECDSA Quote Library API" (version 3) and "TDX DCAP Quoting Library API"
//! (versions 4 and 5).
//!
//! The crate that verifies quotes reads them leniently: lengths that overlap, bytes after the end, types that it does not
//! look at. All of that is outside what anyone signed, so this parser pins it first: every length must fill what holds
//! it, and what follows the quote must be zero (quoting services return padded buffers).

use alloc::vec::Vec;

use crate::appraise::zero;
use crate::input::{self, InputError};

const HEADER_BYTES: usize = 48;
/// Length of an enclave report.
pub const ENCLAVE_REPORT_BYTES: usize = 384;
const TD_REPORT_10_BYTES: usize = 584;
const TD_REPORT_15_BYTES: usize = 648;
const TD_REPORT_15_EX_BYTES: usize = 885;
const SIGNATURE_BYTES: usize = 64;
const KEY_BYTES: usize = 64;
/// Largest authentication data of the quoting enclave.
const MAX_QE_AUTH_BYTES: usize = 1024;

const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;
/// Type of certification data: encrypted PPID under RSA-2048 or RSA-3072.
const ENCRYPTED_PPID: [u16; 2] = [2, 3];
/// Type of certification data: chain of certificates, leaf first, PEM.
const PCK_CHAIN: u16 = 5;
/// Type of certification data: the quoting enclave's report, around other certification data.
const QE_REPORT: u16 = 6;

/// Whose report a quote carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tee {
    /// An SGX enclave's.
    Sgx,
    /// A trust domain's.
    Tdx,
}

/// A quote, as slices of its bytes. Nothing of it is verified.
#[derive(Debug, Clone)]
pub struct Quote<'a> {
    /// 3, 4 or 5.
    pub version: u16,
    /// Whose report it carries.
    pub tee: Tee,
    /// What the attestation key signs: header and report.
    pub signed: &'a [u8],
    /// The report.
    pub report: &'a [u8],
    /// The quote without padding.
    pub whole: &'a [u8],
    /// DER of the certificates of the platform's key, leaf first; empty where the quote names the platform otherwise.
    pub pck_chain: Vec<Vec<u8>>,
}

/// Bytes are no quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// It ends too early.
    #[error("the quote ends inside {0}")]
    Truncated(&'static str),
    /// A length does not fit what holds it.
    #[error("the length of {0} does not fit what holds it")]
    Length(&'static str),
    /// Something that is not supported.
    #[error("the quote has {what} {value}, which is not supported")]
    Unsupported {
        /// What.
        what: &'static str,
        /// Its number.
        value: u32,
    },
    /// What follows is not zero.
    #[error("bytes after the quote, or after its certificates, are not zero; nobody signed them")]
    Padding,
    /// The certificates cannot be read.
    #[error("the quote's certificates: {0}")]
    Certificates(InputError),
    /// The certificates have other bytes between them than line ends.
    #[error("the quote's certificates are not plain PEM")]
    Pem,
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], QuoteError> {
        let (start, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(QuoteError::Truncated(what))?;
        self.0 = rest;
        Ok(start)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, QuoteError> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, QuoteError> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn finish(&self, what: &'static str) -> Result<(), QuoteError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(QuoteError::Length(what))
        }
    }
}

impl<'a> Quote<'a> {
    /// Reads a quote.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, QuoteError> {
        let mut cursor = Cursor(bytes);
        let header = cursor.take(HEADER_BYTES, "the header")?;
        let version = u16::from_le_bytes([header[0], header[1]]);
        let key_type = u16::from_le_bytes([header[2], header[3]]);
        let tee = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if key_type != 2 {
            return Err(unsupported("attestation key type", key_type.into()));
        }
        let (tee, len) = match (version, tee) {
            (3, TEE_SGX) => (Tee::Sgx, ENCLAVE_REPORT_BYTES),
            (4, TEE_TDX) => (Tee::Tdx, TD_REPORT_10_BYTES),
            (5, TEE_TDX) => (Tee::Tdx, body(&mut cursor)?),
            (3..=5, TEE_SGX | TEE_TDX) => {
                return Err(unsupported(
                    "for this kind of report version",
                    version.into(),
                ));
            }
            (3..=5, other) => return Err(unsupported("TEE type", other)),
            _ => return Err(unsupported("version", version.into())),
        };
        let report = cursor.take(len, "the report")?;
        let signed = &bytes[..bytes.len() - cursor.0.len()];
        let auth = cursor.u32("the length of the signature data")? as usize;
        let auth = cursor.take(auth, "the signature data")?;
        if !zero(cursor.0) {
            return Err(QuoteError::Padding);
        }
        let whole = &bytes[..bytes.len() - cursor.0.len()];
        let pck_chain = auth_data(version, auth)?;
        Ok(Self {
            version,
            tee,
            signed,
            report,
            whole,
            pck_chain,
        })
    }
}

const fn unsupported(what: &'static str, value: u32) -> QuoteError {
    QuoteError::Unsupported { what, value }
}

/// The body descriptor of version 5: the report's type and length.
fn body(cursor: &mut Cursor<'_>) -> Result<usize, QuoteError> {
    let kind = cursor.u16("the body's type")?;
    let len = cursor.u32("the body's length")? as usize;
    let expected = match kind {
        2 => TD_REPORT_10_BYTES,
        3 => TD_REPORT_15_BYTES,
        4 => TD_REPORT_15_EX_BYTES,
        other => return Err(unsupported("body type", other.into())),
    };
    if len == expected {
        Ok(len)
    } else {
        Err(QuoteError::Length("the body"))
    }
}

fn auth_data(version: u16, auth: &[u8]) -> Result<Vec<Vec<u8>>, QuoteError> {
    let mut cursor = Cursor(auth);
    cursor.take(SIGNATURE_BYTES, "the signature")?;
    cursor.take(KEY_BYTES, "the attestation key")?;
    if version == 3 {
        return qe_report(cursor);
    }
    let kind = cursor.u16("the certification data")?;
    if kind != QE_REPORT {
        return Err(unsupported("certification data of type", kind.into()));
    }
    let len = cursor.u32("the certification data")? as usize;
    let inner = cursor.take(len, "the certification data")?;
    cursor.finish("the certification data")?;
    qe_report(Cursor(inner))
}

fn qe_report(mut cursor: Cursor<'_>) -> Result<Vec<Vec<u8>>, QuoteError> {
    cursor.take(ENCLAVE_REPORT_BYTES, "the quoting enclave's report")?;
    cursor.take(SIGNATURE_BYTES, "the quoting enclave's signature")?;
    let len = usize::from(cursor.u16("the quoting enclave's data")?);
    if len > MAX_QE_AUTH_BYTES {
        return Err(QuoteError::Length("the quoting enclave's data"));
    }
    cursor.take(len, "the quoting enclave's data")?;
    let kind = cursor.u16("the platform's certificates")?;
    let len = cursor.u32("the platform's certificates")? as usize;
    let data = cursor.take(len, "the platform's certificates")?;
    cursor.finish("the platform's certificates")?;
    match kind {
        PCK_CHAIN => pem(data),
        kind if ENCRYPTED_PPID.contains(&kind) => Ok(Vec::new()),
        kind => Err(unsupported("certificates of type", kind.into())),
    }
}

/// PEM that says nothing but its certificates: other bytes would survive every change.
pub(super) fn pem(data: &[u8]) -> Result<Vec<Vec<u8>>, QuoteError> {
    let text = data.iter().rposition(|&byte| byte != 0);
    let text = &data[..text.map_or(0, |last| last + 1)];
    let certificates = input::certificates(text).map_err(QuoteError::Certificates)?;
    let plain: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .collect();
    let mut again = Vec::with_capacity(plain.len());
    for certificate in &certificates {
        again.extend(encode(certificate).bytes().filter(|byte| *byte != b'\n'));
    }
    if plain == again {
        Ok(certificates)
    } else {
        Err(QuoteError::Pem)
    }
}

/// A certificate as PEM with lines of 64 characters.
pub(super) fn encode(der: &[u8]) -> alloc::string::String {
    use base64ct::{Base64, Encoding as _};
    let body = Base64::encode_string(der);
    let mut pem = alloc::string::String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every index is a boundary.
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_quote() {
        assert_eq!(
            Quote::parse(&[]).err(),
            Some(QuoteError::Truncated("the header"))
        );
        let mut bytes = alloc::vec![0; 1000];
        bytes[0] = 4;
        assert!(matches!(
            Quote::parse(&bytes),
            Err(QuoteError::Unsupported {
                what: "attestation key type",
                ..
            })
        ));
        bytes[2] = 2;
        assert!(matches!(
            Quote::parse(&bytes),
            Err(QuoteError::Unsupported { value: 4, .. })
        ));
        bytes[4] = 0x81;
        // No signature data.
        assert_eq!(
            Quote::parse(&bytes).err(),
            Some(QuoteError::Truncated("the signature"))
        );
        bytes[632..636].fill(0xff);
        assert_eq!(
            Quote::parse(&bytes).err(),
            Some(QuoteError::Truncated("the signature data"))
        );
        bytes[0] = 6;
        assert!(matches!(
            Quote::parse(&bytes),
            Err(QuoteError::Unsupported {
                what: "version",
                value: 6
            })
        ));
    }

    #[test]
    fn pem_has_one_form_but_for_line_ends() {
        let der = [0x30, 3, 2, 1, 5];
        let plain = encode(&der);
        assert_eq!(pem(plain.as_bytes()).unwrap(), [der.to_vec()]);
        let windows = plain.replace('\n', "\r\n");
        assert_eq!(pem(windows.as_bytes()).unwrap(), [der.to_vec()]);
        let mut padded = plain.clone().into_bytes();
        padded.extend([0, 0]);
        assert_eq!(pem(&padded).unwrap(), [der.to_vec()]);
        for broken in [
            alloc::format!("x{plain}"),
            alloc::format!("{plain}x"),
            plain.replace('\n', " "),
            plain.replace("END", "END "),
        ] {
            assert!(pem(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
