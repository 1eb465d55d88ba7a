//! Reader of AIR v1 receipts (Attested Inference Receipts), a foreign format: COSE_Sign1 over CWT claims with the
//! measurements of an enclave.
//!
//! What is imported is checked as AIR and stays AIR: there is no conversion to a Carat [`crate::Statement`]. It has no
//! salted commitments and names no Program, and the attestation document behind its measurements is not in it, so it
//! supports no amount.

use alloc::vec::Vec;

use crate::cbor::{DecodeError, Reader};
use crate::cose::sig_structure;
use crate::{Digest, Label, PublicKey, Signature};

/// The EAT profile of AIR v1.
pub const PROFILE: &str = "https://spec.cyntrisec.com/air/v1";
/// Largest AIR receipt in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

const WHAT: &str = "AIR receipt";
const ALG_EDDSA: i64 = -8;
const CONTENT_TYPE_CWT: u64 = 61;

/// A verified AIR v1 receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AirReceipt {
    /// Issuer.
    pub issuer: Label,
    /// Issued at, Unix seconds.
    pub issued_at: u64,
    /// CWT ID.
    pub id: [u8; 16],
    /// Nonce, 8 to 64 bytes.
    pub nonce: Option<Vec<u8>>,
    /// Model name.
    pub model_id: Label,
    /// Model version.
    pub model_version: Label,
    /// Hash of the model, by whatever rule the issuer has.
    pub model_hash: Digest,
    /// Unsalted hash of the request.
    pub request_hash: Digest,
    /// Unsalted hash of the response.
    pub response_hash: Digest,
    /// Hash of an attestation document that the receipt does not hold.
    pub attestation_hash: Digest,
    /// Platform of the measurements.
    pub platform: Platform,
    /// Measurements 0, 1, 2 and, where present, 8, of 48 bytes each.
    pub measurements: Vec<[u8; 48]>,
    /// Version of the issuer's policy.
    pub policy_version: Label,
    /// Sequence number.
    pub sequence: u64,
    /// Execution time in milliseconds.
    pub execution_ms: u64,
    /// Peak memory in MB.
    pub memory_mb: u64,
    /// The issuer's security mode.
    pub security_mode: Label,
    /// Whether the claims were in deterministic order (RFC 8949 section 4.2). AIR does not insist on it.
    pub deterministic: bool,
}

/// Platforms that AIR v1 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// AWS Nitro, `nitro-pcr`.
    Nitro,
    /// Intel TDX, `tdx-mrtd-rtmr`.
    Tdx,
}

/// What the relying party expects of an AIR receipt. Absent: not checked.
#[derive(Debug, Clone, Default)]
pub struct AirPolicy {
    /// The model hash.
    pub model_hash: Option<Digest>,
    /// The nonce.
    pub nonce: Option<Vec<u8>>,
    /// The platform.
    pub platform: Option<Platform>,
    /// Largest age in seconds, and the time now.
    pub max_age: Option<(u64, u64)>,
}

/// Why an AIR receipt is refused. [`AirError::code`] is the name in the AIR test vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AirError {
    /// Not AIR v1 at all.
    #[error("not an AIR v1 receipt: {0}")]
    Malformed(#[from] DecodeError),
    /// The header names another algorithm than EdDSA.
    #[error("the receipt is signed with algorithm {0}; AIR v1 uses EdDSA (-8)")]
    Alg(i64),
    /// The signature does not verify under the key given.
    #[error("the signature does not verify under the key given")]
    Signature,
    /// A measurement is not 48 bytes long.
    #[error("a measurement has {0} bytes where SHA-384 has 48")]
    MeasurementLength(usize),
    /// The model hash is all zeros.
    #[error("the model hash is all zeros: the issuer named no model")]
    ZeroModelHash,
    /// Another model than expected.
    #[error("the receipt is about another model than expected")]
    ModelHash,
    /// Another nonce than expected, or none.
    #[error("the receipt answers another nonce, or none")]
    Nonce,
    /// Another platform than expected.
    #[error("the receipt is from another platform than expected")]
    Platform,
    /// Older than allowed, or from the future.
    #[error("the receipt is older than allowed, or issued in the future")]
    Stale,
}

impl AirError {
    /// The rejection code of the AIR vectors.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "PARSE_FAILED",
            Self::Alg(_) => "BAD_ALG",
            Self::Signature => "SIG_FAILED",
            Self::MeasurementLength(_) => "BAD_MEASUREMENT_LENGTH",
            Self::ZeroModelHash => "ZERO_MODEL_HASH",
            Self::ModelHash => "MODEL_HASH_MISMATCH",
            Self::Nonce => "NONCE_MISMATCH",
            Self::Platform => "PLATFORM_MISMATCH",
            Self::Stale => "TIMESTAMP_STALE",
        }
    }
}

/// Reads an AIR v1 receipt and checks it in the order of its specification: form, signature, claims, policy.
pub fn import(bytes: &[u8], key: &PublicKey, policy: &AirPolicy) -> Result<AirReceipt, AirError> {
    if bytes.len() > MAX_BYTES {
        let (len, max) = (bytes.len() as u64, MAX_BYTES as u64);
        return Err(DecodeError::Length {
            what: WHAT,
            len,
            min: 1,
            max,
        }
        .into());
    }
    let r = &mut Reader::new(bytes);
    r.tag(WHAT, 18)?;
    r.array(WHAT, 4, 4)?;
    let protected = r.bytes(WHAT, 1, 256)?;
    check_header(protected)?;
    r.map(WHAT, 0)?;
    let payload = r.bytes(WHAT, 1, MAX_BYTES)?;
    let signature: Signature = r.array_of(WHAT)?;
    r.finish(WHAT)?;
    key.verify(&sig_structure(protected, payload), &signature)
        .map_err(|_| AirError::Signature)?;
    let receipt = read_claims(payload)?;
    apply(policy, &receipt)?;
    Ok(receipt)
}

fn check_header(protected: &[u8]) -> Result<(), AirError> {
    let r = &mut Reader::new(protected);
    let mut map = r.int_map(WHAT, 2)?;
    let (mut alg, mut content_type) = (None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => alg = Some(r.int(WHAT)?),
            3 => content_type = Some(r.uint(WHAT)?),
            other => return Err(map.unknown(other).into()),
        }
    }
    r.finish(WHAT)?;
    let alg = map.require(1, alg)?;
    if alg != ALG_EDDSA {
        return Err(AirError::Alg(alg));
    }
    if map.require(3, content_type)? != CONTENT_TYPE_CWT {
        return Err(DecodeError::Value {
            what: WHAT,
            reason: "the content type is not application/cwt",
        }
        .into());
    }
    Ok(())
}

/// Notes keys seen, refuses repeated ones, and tells whether they came in the order of their encoding.
struct Keys<K> {
    seen: Vec<K>,
    ordered: bool,
}

impl<K: PartialEq + Copy> Keys<K> {
    fn new() -> Self {
        Self {
            seen: Vec::new(),
            ordered: true,
        }
    }

    fn add(&mut self, key: K, before: impl Fn(K, K) -> bool) -> Result<(), DecodeError> {
        if self.seen.contains(&key) {
            return Err(DecodeError::Value {
                what: WHAT,
                reason: "a claim is repeated",
            });
        }
        self.ordered &= self.seen.last().is_none_or(|last| before(*last, key));
        self.seen.push(key);
        Ok(())
    }
}

fn read_claims(payload: &[u8]) -> Result<AirReceipt, AirError> {
    let r = &mut Reader::new(payload);
    let (mut issuer, mut issued_at, mut id, mut nonce, mut profile) =
        (None, None, None, None, None);
    let (mut model_id, mut model_version, mut measurements, mut policy_version) =
        (None, None, None, None);
    let (mut security_mode, mut hashes, mut numbers) = (None, [None; 4], [None; 3]);
    let mut keys = Keys::new();
    for _ in 0..r.map(WHAT, 32)? {
        let key = r.int(WHAT)?;
        keys.add(key, |a, b| {
            (a < 0, a.unsigned_abs()) < (b < 0, b.unsigned_abs())
        })?;
        match key {
            1 => issuer = Some(Label::read(r, WHAT)?),
            6 => issued_at = Some(r.uint(WHAT)?),
            7 => id = Some(r.array_of(WHAT)?),
            10 => nonce = Some(r.bytes(WHAT, 8, 64)?.to_vec()),
            265 => profile = Some(r.text(WHAT, 1, 256)?),
            -65537 => model_id = Some(Label::read(r, WHAT)?),
            -65538 => model_version = Some(Label::read(r, WHAT)?),
            -65542..=-65539 => hashes[(-65539 - key) as usize] = Some(r.digest(WHAT)?),
            -65543 => measurements = Some(read_measurements(r, &mut keys.ordered)?),
            -65544 => policy_version = Some(Label::read(r, WHAT)?),
            -65547..=-65545 => numbers[(-65545 - key) as usize] = Some(r.uint(WHAT)?),
            -65548 => security_mode = Some(Label::read(r, WHAT)?),
            key => return Err(DecodeError::UnknownKey { what: WHAT, key }.into()),
        }
    }
    r.finish(WHAT)?;
    if need(265, profile)? != PROFILE {
        return Err(DecodeError::Value {
            what: WHAT,
            reason: "another profile than AIR v1",
        }
        .into());
    }
    let (platform, measurements) = need(-65543, measurements)?;
    let receipt = AirReceipt {
        issuer: need(1, issuer)?,
        issued_at: need(6, issued_at)?,
        id: need(7, id)?,
        nonce,
        model_id: need(-65537, model_id)?,
        model_version: need(-65538, model_version)?,
        model_hash: need(-65539, hashes[0])?,
        request_hash: need(-65540, hashes[1])?,
        response_hash: need(-65541, hashes[2])?,
        attestation_hash: need(-65542, hashes[3])?,
        platform,
        measurements,
        policy_version: need(-65544, policy_version)?,
        sequence: need(-65545, numbers[0])?,
        execution_ms: need(-65546, numbers[1])?,
        memory_mb: need(-65547, numbers[2])?,
        security_mode: need(-65548, security_mode)?,
        deterministic: keys.ordered,
    };
    if receipt.model_hash.as_bytes() == &[0; 32] {
        return Err(AirError::ZeroModelHash);
    }
    Ok(receipt)
}

fn need<T>(key: i64, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::MissingKey { what: WHAT, key })
}

fn read_measurements(
    r: &mut Reader<'_>,
    ordered: &mut bool,
) -> Result<(Platform, Vec<[u8; 48]>), AirError> {
    let mut keys = Keys::new();
    let mut platform = None;
    let mut registers: [Option<[u8; 48]>; 4] = [None; 4];
    for _ in 0..r.map(WHAT, 8)? {
        let key = r.text(WHAT, 1, 32)?;
        keys.add(key, |a, b| (a.len(), a) < (b.len(), b))?;
        let register = match key {
            "measurement_type" => {
                platform = Some(match r.text(WHAT, 1, 32)? {
                    "nitro-pcr" => Platform::Nitro,
                    "tdx-mrtd-rtmr" => Platform::Tdx,
                    _ => {
                        return Err(DecodeError::Value {
                            what: WHAT,
                            reason: "an unknown platform",
                        }
                        .into());
                    }
                });
                continue;
            }
            "pcr0" => 0,
            "pcr1" => 1,
            "pcr2" => 2,
            "pcr8" => 3,
            _ => {
                return Err(DecodeError::Value {
                    what: WHAT,
                    reason: "an unknown measurement",
                }
                .into());
            }
        };
        let bytes = r.bytes(WHAT, 0, 256)?;
        let measurement = bytes
            .try_into()
            .map_err(|_| AirError::MeasurementLength(bytes.len()))?;
        registers[register] = Some(measurement);
    }
    *ordered &= keys.ordered;
    if registers[..3].iter().any(Option::is_none) {
        return Err(DecodeError::Value {
            what: WHAT,
            reason: "measurements 0, 1 and 2 must be there",
        }
        .into());
    }
    let platform = platform.ok_or(DecodeError::Value {
        what: WHAT,
        reason: "the platform is missing",
    })?;
    Ok((platform, registers.into_iter().flatten().collect()))
}

fn apply(policy: &AirPolicy, receipt: &AirReceipt) -> Result<(), AirError> {
    if policy
        .model_hash
        .is_some_and(|expected| expected != receipt.model_hash)
    {
        return Err(AirError::ModelHash);
    }
    if policy.nonce.is_some() && policy.nonce != receipt.nonce {
        return Err(AirError::Nonce);
    }
    if policy
        .platform
        .is_some_and(|expected| expected != receipt.platform)
    {
        return Err(AirError::Platform);
    }
    if let Some((max_age, now)) = policy.max_age {
        match now.checked_sub(receipt.issued_at) {
            Some(age) if age <= max_age => {}
            _ => return Err(AirError::Stale),
        }
    }
    Ok(())
}
