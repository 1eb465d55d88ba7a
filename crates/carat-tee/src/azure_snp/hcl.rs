//! The report of Azure's paravisor (HCL): a header, the hardware's report, and runtime data whose hash is in that report.
//! Microsoft publishes the layout in its documentation of guest attestation for confidential VMs.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::appraise::zero;
use crate::snp::REPORT_BYTES;

const HEADER_BYTES: usize = 32;
const RUNTIME_HEADER_BYTES: usize = 20;
/// Largest runtime data.
const MAX_RUNTIME_BYTES: usize = 16 * 1024;
const KIND_SNP: u32 = 2;

/// A report of the paravisor. Nothing of it is verified.
#[derive(Debug, Clone)]
pub struct HclReport<'a> {
    /// The hardware's report.
    pub hardware: &'a [u8],
    /// The runtime data: JSON with the TPM's keys.
    pub runtime: &'a [u8],
    /// What the hardware's report data must be: the hash of the runtime data, then zeros.
    pub report_data: [u8; 64],
}

/// Bytes are no report of the paravisor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the paravisor's report: {0}")]
pub struct HclError(pub String);

fn bad(reason: impl Into<String>) -> HclError {
    HclError(reason.into())
}

impl<'a> HclReport<'a> {
    /// Reads a report. Fields that nobody signed must be what they are in every real report.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, HclError> {
        let short = || bad("it ends too early");
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
        let (hardware, rest) = rest.split_at_checked(REPORT_BYTES).ok_or_else(short)?;
        let (inner, rest) = rest
            .split_at_checked(RUNTIME_HEADER_BYTES)
            .ok_or_else(short)?;
        let number = |bytes: &[u8], index: usize| {
            let at = 4 * index;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if &header[..4] != b"HCLA" {
            return Err(bad("it does not begin with HCLA"));
        }
        if !matches!(number(header, 1), 1 | 2) {
            return Err(bad(format!(
                "version {} is not supported",
                number(header, 1)
            )));
        }
        let len = number(inner, 4) as usize;
        if len > MAX_RUNTIME_BYTES {
            return Err(bad("its runtime data are too large"));
        }
        let (runtime, padding) = rest.split_at_checked(len).ok_or_else(short)?;
        let total = HEADER_BYTES + REPORT_BYTES + RUNTIME_HEADER_BYTES + len;
        let fixed = number(header, 2) as usize == total
            && number(header, 3) == KIND_SNP
            && zero(&header[16..])
            && number(inner, 0) as usize == RUNTIME_HEADER_BYTES + len
            && number(inner, 1) == 1
            && number(inner, 2) == KIND_SNP;
        if !fixed {
            return Err(bad(
                "its lengths or types are not those of an SEV-SNP report",
            ));
        }
        if !zero(padding) {
            return Err(bad("bytes after it are not zero"));
        }
        let mut report_data = [0; 64];
        match number(inner, 3) {
            1 => report_data[..32].copy_from_slice(&Sha256::digest(runtime)),
            2 => report_data[..48].copy_from_slice(&Sha384::digest(runtime)),
            3 => report_data.copy_from_slice(&Sha512::digest(runtime)),
            other => return Err(bad(format!("hash {other} is not supported"))),
        }
        Ok(Self {
            hardware,
            runtime,
            report_data,
        })
    }
}

/// What the runtime data say.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Modulus of the TPM's attestation key, big-endian.
    pub modulus: Vec<u8>,
    /// Its exponent.
    pub exponent: Vec<u8>,
    /// Configuration of the VM, name and value.
    pub configuration: Vec<(String, String)>,
    /// Data that the guest stored, hexadecimal text.
    pub user_data: String,
}

#[derive(Deserialize)]
struct Json {
    keys: Vec<Key>,
    #[serde(rename = "vm-configuration", default)]
    configuration: serde_json::Map<String, serde_json::Value>,
    #[serde(rename = "user-data", default)]
    user_data: String,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

impl Runtime {
    /// Reads runtime data.
    pub fn parse(json: &[u8]) -> Result<Self, HclError> {
        // Some versions pad the text with zeros, which are hashed as well.
        let end = json.iter().rposition(|&byte| byte != 0);
        let json: Json =
            serde_json::from_slice(&json[..end.map_or(0, |last| last + 1)]).map_err(|error| {
                bad(format!(
                    "its runtime data are not the JSON expected: {error}"
                ))
            })?;
        let mut keys = json.keys.iter().filter(|key| key.kid == "HCLAkPub");
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(bad(
                "its runtime data do not name exactly one attestation key",
            ));
        };
        if key.kty != "RSA" {
            return Err(bad("its attestation key is not RSA"));
        }
        let number = |text: &str| {
            Base64UrlUnpadded::decode_vec(text.trim_end_matches('='))
                .map_err(|_| bad("its attestation key is not base64url"))
        };
        let configuration = json
            .configuration
            .into_iter()
            .map(|(name, value)| {
                let text = match value {
                    serde_json::Value::String(text) => text,
                    other => format!("{other}"),
                };
                (name, text)
            })
            .collect();
        Ok(Self {
            modulus: number(&key.n)?,
            exponent: number(&key.e)?,
            configuration,
            user_data: json.user_data,
        })
    }
}
