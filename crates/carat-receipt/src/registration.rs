//! The registration of a key that hides a model's weights (`*.carat-registration`): what whoever lists the key checks first.
//!
//! Format only, as everywhere in this crate: whether a registration holds, `carat-verify` says.

use alloc::vec::Vec;

use crate::cbor::{DecodeError, MapWriter, Reader, Writer};
use crate::evidence::{MAX_PROOF_BYTES, ZK_PROTOCOL};
use crate::file::MAX_PROGRAM_BYTES;
use crate::{Digest, Label};

/// What the first field of a registration says.
pub const REGISTRATION_TYPE: &str = "carat/registration/v1";
/// Largest registration in bytes.
pub const MAX_REGISTRATION_BYTES: usize = MAX_PROGRAM_BYTES + MAX_PROOF_BYTES + 4096;

const WHAT: &str = "registration";

/// A key that hides weights, the Program that they are for, and a proof that the constants under the key lie within the bounds
/// that the Program states. Safe to share: it holds nothing of the weights but what the Program has of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The weightless Program, as `carat-program` encodes it.
    pub program: Vec<u8>,
    /// The proof protocol and its version.
    pub protocol: Label,
    /// The security profile that the key is for.
    pub profile: Label,
    /// The commitment that hides the constants.
    pub weights_root: Digest,
    /// The proof.
    pub proof: Vec<u8>,
}

impl Registration {
    /// Deterministic CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.put(0, |w| {
            w.text(REGISTRATION_TYPE);
        });
        map.put(1, |w| {
            w.bytes(&self.program);
        });
        map.put(2, |w| {
            w.text(self.protocol.as_str());
        });
        map.put(3, |w| {
            w.text(self.profile.as_str());
        });
        map.put(4, |w| {
            w.bytes(self.weights_root.as_bytes());
        });
        map.put(5, |w| {
            w.bytes(&self.proof);
        });
        let mut w = Writer::new();
        map.finish(&mut w);
        w.into_bytes()
    }

    /// Strict decoding. Neither the Program nor the proof is looked into.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong, and where. Nothing is allocated beyond the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let refuse = |reason| Err(DecodeError::Value { what: WHAT, reason });
        if bytes.len() > MAX_REGISTRATION_BYTES {
            return Err(DecodeError::Length {
                what: WHAT,
                len: bytes.len() as u64,
                min: 1,
                max: MAX_REGISTRATION_BYTES as u64,
            });
        }
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 6)?;
        let (mut kind, mut program, mut protocol) = (None, None, None);
        let (mut profile, mut root, mut proof) = (None, None, None);
        while let Some(key) = map.next_key(r)? {
            match key {
                0 => kind = Some(r.text(WHAT, 1, 64)?),
                1 => program = Some(r.bytes("program", 1, MAX_PROGRAM_BYTES)?.to_vec()),
                2 => protocol = Some(Label::read(r, WHAT)?),
                3 => profile = Some(Label::read(r, WHAT)?),
                4 => root = Some(r.digest("weights root")?),
                5 => proof = Some(r.bytes("proof", 1, MAX_PROOF_BYTES)?.to_vec()),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        if map.require(0, kind)? != REGISTRATION_TYPE {
            return refuse("not a registration of version 1");
        }
        let protocol = map.require(2, protocol)?;
        if protocol.as_str() != ZK_PROTOCOL {
            return refuse("of a proof protocol that this version does not know");
        }
        Ok(Self {
            program: map.require(1, program)?,
            protocol,
            profile: map.require(3, profile)?,
            weights_root: map.require(4, root)?,
            proof: map.require(5, proof)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn registration() -> Registration {
        let label = |text| Label::new(text).unwrap();
        Registration {
            program: vec![1, 2, 3],
            protocol: label(ZK_PROTOCOL),
            profile: label("proven-100"),
            weights_root: Digest::sha256(b"root"),
            proof: vec![7; 300],
        }
    }

    #[test]
    fn round_trips_and_every_cut_is_refused() {
        let registration = registration();
        let bytes = registration.encode();
        assert_eq!(Registration::decode(&bytes).as_ref(), Ok(&registration));
        for cut in 0..bytes.len() {
            assert!(Registration::decode(&bytes[..cut]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(
            Registration::decode(&longer),
            Err(DecodeError::TrailingBytes { extra: 1, .. })
        ));
    }

    #[test]
    fn accepted_mutations_re_encode_to_themselves() {
        let bytes = registration().encode();
        let mut accepted = 0;
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << bit;
                if let Ok(registration) = Registration::decode(&changed) {
                    assert_eq!(registration.encode(), changed);
                    accepted += 1;
                }
            }
        }
        // Program, profile, root and proof are any; the rest is fixed.
        assert!(accepted >= 8 * (3 + 32 + 300));
    }

    #[test]
    fn another_kind_or_protocol_is_refused() {
        let known = registration().encode();
        let replaced = |from: &[u8], to: &[u8]| {
            let at = known.windows(from.len()).position(|w| w == from).unwrap();
            let mut changed = known.clone();
            changed[at..at + to.len()].copy_from_slice(to);
            Registration::decode(&changed)
        };
        for (from, to) in [
            (REGISTRATION_TYPE.as_bytes(), &b"carat/registration/v2"[..]),
            (ZK_PROTOCOL.as_bytes(), b"carat/zk/v2"),
        ] {
            assert!(matches!(replaced(from, to), Err(DecodeError::Value { .. })));
        }
        let mut long = registration();
        long.program = vec![0; MAX_PROGRAM_BYTES + 1];
        assert!(matches!(
            Registration::decode(&long.encode()),
            Err(DecodeError::Length {
                what: "program",
                ..
            })
        ));
    }
}
