//! Reference values: what the measurements of a firmware version must be.
//!
//! NVIDIA publishes them as signed XML (TCG reference integrity manifests). No XML is parsed here:
//! `tools/python/nvidia_rim.py` checks the XML's signature and chain and makes a bundle, which the tool's user signs with an
//! Ed25519 key; a policy names the keys whose bundles it accepts, or carries bundles itself.
//!
//! A bundle is deterministic CBOR: `[payload: bytes, key: bytes 32, signature: bytes 64]`, signed over
//! `H("carat/nvidia-reference/v1", payload)` of `docs/binding.md`. The payload is
//! `{1: made at, 2: [manifest, ...]}`, a manifest
//! `{1: id, 2: 0 driver / 1 VBIOS, 3: version, 4: SHA-256 of the XML, 5: signer's certificate not after, 6: [[index, [value, ...]], ...]}`.
//! Index i speaks about measurement block i + 1; any of the values may stand there.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use carat_receipt::cbor::{DecodeError, MapWriter, Reader, Writer};
use carat_receipt::{Digest, PublicKey, Signature, SigningKey};

use crate::input::{self, InputError};

/// Domain-separation string of a bundle's signature.
pub const DOMAIN: &str = "carat/nvidia-reference/v1";
/// Most manifests in a bundle.
pub const MAX_MANIFESTS: usize = 16;

const WHAT: &str = "reference values";
const MAX_PAYLOAD: usize = 60 * 1024;

/// Reference values with the signature of whoever checked NVIDIA's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// When it was made, Unix seconds.
    pub made_at: u64,
    /// Manifests.
    pub manifests: Vec<Manifest>,
    /// Who signed it.
    pub key: PublicKey,
    /// SHA-256 of the payload.
    pub digest: Digest,
}

/// The reference values of one firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// NVIDIA's identifier of the manifest.
    pub id: String,
    /// What it measures.
    pub part: Part,
    /// Version as NVIDIA writes it.
    pub version: String,
    /// SHA-256 of the XML file.
    pub source: Digest,
    /// When the certificate that signed the XML expires, Unix seconds.
    pub not_after: u64,
    /// For each index the values that are allowed, ascending.
    pub values: Vec<(u8, Alternatives)>,
}

/// Values, any of which may stand in a measurement.
pub type Alternatives = Vec<Vec<u8>>;

/// What a manifest measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The driver's firmware.
    Driver,
    /// The VBIOS.
    Vbios,
}

/// A bundle cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not of this form.
    #[error("the reference values cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// Text that is neither hexadecimal nor base64.
    #[error("the reference values are neither hexadecimal nor base64: {0}")]
    Text(#[from] InputError),
    /// Not what its key signed.
    #[error("the signature of key {0} over the reference values does not verify")]
    Signature(PublicKey),
}

impl Bundle {
    /// Reads a bundle and verifies that the key in it signed it. Whether the key is one to believe is for the policy.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let r = &mut Reader::new(bytes);
        r.array(WHAT, 3, 3)?;
        let payload = r.bytes(WHAT, 1, MAX_PAYLOAD)?;
        let key = PublicKey::from_bytes(r.array_of(WHAT)?);
        let signature: Signature = r.array_of(WHAT)?;
        r.finish(WHAT)?;
        let message = Digest::of(DOMAIN, &[payload]);
        key.verify(message.as_bytes(), &signature)
            .map_err(|error| BundleError::Signature(error.0))?;
        let (made_at, manifests) = read_payload(payload)?;
        Ok(Self {
            made_at,
            manifests,
            key,
            digest: Digest::sha256(payload),
        })
    }

    /// Reads a bundle in hexadecimal or base64, as a policy carries it.
    pub fn from_text(text: &str) -> Result<Self, BundleError> {
        Self::decode(&input::decode(text.as_bytes())?)
    }

    /// Makes a bundle.
    pub fn sign(made_at: u64, manifests: &[Manifest], key: &SigningKey) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.put(1, |w| {
            w.uint(made_at);
        });
        map.put(2, |w| {
            w.array(manifests.len());
            for manifest in manifests {
                manifest.write(w);
            }
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        let payload = w.into_bytes();
        let signature = key.sign(Digest::of(DOMAIN, &[&payload]).as_bytes());
        let mut w = Writer::new();
        w.array(3)
            .bytes(&payload)
            .bytes(key.public().as_bytes())
            .bytes(&signature);
        w.into_bytes()
    }
}

fn read_payload(payload: &[u8]) -> Result<(u64, Vec<Manifest>), DecodeError> {
    let r = &mut Reader::new(payload);
    let mut map = r.int_map(WHAT, 2)?;
    let (mut made_at, mut manifests) = (None, None);
    while let Some(key) = map.next_key(r)? {
        match key {
            1 => made_at = Some(r.uint(WHAT)?),
            2 => {
                let count = r.array(WHAT, 1, MAX_MANIFESTS)?;
                manifests = Some(
                    (0..count)
                        .map(|_| Manifest::read(r))
                        .collect::<Result<Vec<_>, _>>()?,
                );
            }
            other => return Err(map.unknown(other)),
        }
    }
    r.finish(WHAT)?;
    Ok((map.require(1, made_at)?, map.require(2, manifests)?))
}

impl Manifest {
    fn write(&self, w: &mut Writer) {
        let mut map = MapWriter::new();
        map.put(1, |w| {
            w.text(&self.id);
        });
        map.put(2, |w| {
            w.uint(match self.part {
                Part::Driver => 0,
                Part::Vbios => 1,
            });
        });
        map.put(3, |w| {
            w.text(&self.version);
        });
        map.put(4, |w| {
            w.bytes(self.source.as_bytes());
        });
        map.put(5, |w| {
            w.uint(self.not_after);
        });
        map.put(6, |w| {
            w.array(self.values.len());
            for (index, values) in &self.values {
                w.array(2).uint(u64::from(*index)).array(values.len());
                for value in values {
                    w.bytes(value);
                }
            }
        });
        map.finish(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut map = r.int_map(WHAT, 6)?;
        let (mut id, mut part, mut version) = (None, None, None);
        let (mut source, mut not_after, mut values) = (None, None, None);
        while let Some(key) = map.next_key(r)? {
            match key {
                1 => id = Some(r.text(WHAT, 1, 128)?.to_string()),
                2 => {
                    part = Some(match r.uint(WHAT)? {
                        0 => Part::Driver,
                        1 => Part::Vbios,
                        _ => {
                            return Err(DecodeError::Value {
                                what: WHAT,
                                reason: "a part is 0 or 1",
                            });
                        }
                    });
                }
                3 => version = Some(r.text(WHAT, 1, 64)?.to_string()),
                4 => source = Some(r.digest(WHAT)?),
                5 => not_after = Some(r.uint(WHAT)?),
                6 => values = Some(read_values(r)?),
                other => return Err(map.unknown(other)),
            }
        }
        Ok(Self {
            id: map.require(1, id)?,
            part: map.require(2, part)?,
            version: map.require(3, version)?,
            source: map.require(4, source)?,
            not_after: map.require(5, not_after)?,
            values: map.require(6, values)?,
        })
    }
}

fn read_values(r: &mut Reader<'_>) -> Result<Vec<(u8, Alternatives)>, DecodeError> {
    let count = r.array(WHAT, 1, 254)?;
    let mut found: Vec<(u8, Alternatives)> = Vec::new();
    for _ in 0..count {
        r.array(WHAT, 2, 2)?;
        let index = u8::try_from(r.uint(WHAT)?)
            .ok()
            .filter(|index| *index < 255);
        let Some(index) = index.filter(|index| found.last().is_none_or(|(last, _)| last < index))
        else {
            return Err(DecodeError::Value {
                what: WHAT,
                reason: "indices ascend and are below 255",
            });
        };
        let alternatives = r.array(WHAT, 1, 64)?;
        let values = (0..alternatives).map(|_| r.bytes(WHAT, 1, 64).map(<[u8]>::to_vec));
        found.push((index, values.collect::<Result<_, _>>()?));
    }
    Ok(found)
}
