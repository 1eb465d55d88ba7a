//! Salted commitments, and the Opening that reveals them.

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize as _, Zeroizing};

use crate::cbor::{DecodeError, MapWriter, Reader, Writer};
use crate::courier::{Carried, MAX_CHUNKS};
use crate::{Digest, domain};

/// Largest value (input or output) that an Opening holds, in bytes.
pub const MAX_VALUE_BYTES: usize = 256 * 1024 * 1024;
/// Largest Opening in bytes.
pub const MAX_OPENING_BYTES: usize = 5 * MAX_VALUE_BYTES + 9 * MAX_CHUNKS + 4096;
/// What the first field of an Opening says.
pub const OPENING_TYPE: &str = "carat/opening/v1";

/// 32 random bytes that keep a commitment from being found by trying values. Zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

/// What a commitment commits to. The role is hashed, so an input commitment is never an output commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Canonical bytes of the input.
    Input,
    /// Canonical bytes of the output.
    Output,
    /// Facts of the request that the planner saw.
    Facts,
    /// Bytes that a courier sent to the upstream.
    Sent,
    /// Bytes that a courier received from the upstream.
    Received,
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness; nothing was committed to")]
pub struct NoRandomness;

impl Salt {
    /// Takes 32 bytes that must be uniformly random and used once.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh salt from the operating system's randomness.
    #[cfg(feature = "std")]
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 16 random bytes for a Statement's `cti`, from the operating system.
#[cfg(feature = "std")]
pub fn random_id() -> Result<[u8; 16], NoRandomness> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(hidden)")
    }
}

impl Role {
    /// The role as it is hashed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Facts => "facts",
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// Salted commitment to canonical bytes: `Digest::of(COMMIT, [role, salt, bytes])`.
pub fn commit(role: Role, salt: &Salt, canonical_bytes: &[u8]) -> Digest {
    Digest::of(
        domain::COMMIT,
        &[role.as_str().as_bytes(), &salt.0, canonical_bytes],
    )
}

/// A value and the salt that it was committed with. Zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The salt.
    pub salt: Salt,
    /// The canonical bytes, as `carat-program` encodes tensors.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Opened {
    /// Joins a salt and a value.
    pub fn new(salt: Salt, bytes: Vec<u8>) -> Self {
        Self {
            salt,
            bytes: Zeroizing::new(bytes),
        }
    }

    /// The commitment that this opens.
    pub fn commitment(&self, role: Role) -> Digest {
        commit(role, &self.salt, &self.bytes)
    }

    fn write(&self, w: &mut Writer) {
        w.array(2).bytes(&self.salt.0).bytes(&self.bytes);
    }

    fn read(r: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        r.array(what, 2, 2)?;
        let salt = Salt(r.array_of(what)?);
        Ok(Self::new(salt, r.bytes(what, 0, MAX_VALUE_BYTES)?.to_vec()))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes, hidden)", self.bytes.len())
    }
}

/// Salts and values of a Statement's commitments (`*.carat-open`). It stays with whoever may see the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The receipt that it opens.
    pub receipt_id: Digest,
    /// The Program of that receipt.
    pub program: Digest,
    /// Input.
    pub input: Opened,
    /// Output.
    pub output: Opened,
    /// Facts of the request, where the Statement commits to them.
    pub facts: Option<Opened>,
    /// Salt of the trace root, where the Statement has one.
    pub trace_salt: Option<Salt>,
    /// What a courier sent and received, where the Statement is a courier's.
    pub carried: Option<Carried>,
}

impl Opening {
    /// Deterministic CBOR.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut map = MapWriter::new();
        map.put(0, |w| {
            w.text(OPENING_TYPE);
        });
        map.put(1, |w| {
            w.bytes(self.receipt_id.as_bytes());
        });
        map.put(2, |w| {
            w.bytes(self.program.as_bytes());
        });
        map.put(3, |w| self.input.write(w));
        map.put(4, |w| self.output.write(w));
        map.put_some(5, self.facts.as_ref(), |w, facts| facts.write(w));
        map.put_some(6, self.trace_salt.as_ref(), |w, salt| {
            w.bytes(&salt.0);
        });
        if let Some(carried) = &self.carried {
            map.put_some(7, carried.chunks.as_ref(), |w, lengths| {
                w.array(lengths.len());
                for length in lengths {
                    w.uint(*length);
                }
            });
            map.put(8, |w| carried.sent.write(w));
            map.put(9, |w| carried.received.write(w));
        }
        let mut w = Writer::new();
        map.finish(&mut w);
        Zeroizing::new(w.into_bytes())
    }

    /// Strict decoding. That the values fit a receipt is checked by whoever has the receipt.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "opening";
        if bytes.len() > MAX_OPENING_BYTES {
            let (len, max) = (bytes.len() as u64, MAX_OPENING_BYTES as u64);
            return Err(DecodeError::Length {
                what: WHAT,
                len,
                min: 1,
                max,
            });
        }
        let r = &mut Reader::new(bytes);
        let mut map = r.int_map(WHAT, 10)?;
        let (mut kind, mut receipt_id, mut program) = (None, None, None);
        let (mut input, mut output, mut facts, mut trace_salt) = (None, None, None, None);
        let (mut chunks, mut sent, mut received) = (None, None, None);
        while let Some(key) = map.next_key(r)? {
            match key {
                0 => kind = Some(r.text(WHAT, 1, 64)?),
                1 => receipt_id = Some(r.digest("receipt_id")?),
                2 => program = Some(r.digest("program")?),
                3 => input = Some(Opened::read(r, "input")?),
                4 => output = Some(Opened::read(r, "output")?),
                5 => facts = Some(Opened::read(r, "facts")?),
                6 => trace_salt = Some(Salt(r.array_of("trace salt")?)),
                7 => {
                    let count = r.array("chunks", 0, MAX_CHUNKS)?;
                    let lengths: Result<Vec<u64>, _> =
                        (0..count).map(|_| r.uint("chunks")).collect();
                    chunks = Some(lengths?);
                }
                8 => sent = Some(Opened::read(r, "sent")?),
                9 => received = Some(Opened::read(r, "received")?),
                other => return Err(map.unknown(other)),
            }
        }
        r.finish(WHAT)?;
        if map.require(0, kind)? != OPENING_TYPE {
            return Err(DecodeError::Value {
                what: WHAT,
                reason: "not an Opening of version 1",
            });
        }
        let carried = match (sent, received) {
            (Some(sent), Some(received)) => Some(Carried {
                sent,
                received,
                chunks,
            }),
            (None, None) if chunks.is_none() => None,
            _ => {
                return Err(DecodeError::Value {
                    what: WHAT,
                    reason: "what was sent and what was received are opened together",
                });
            }
        };
        Ok(Self {
            receipt_id: map.require(1, receipt_id)?,
            program: map.require(2, program)?,
            input: map.require(3, input)?,
            output: map.require(4, output)?,
            facts,
            trace_salt,
            carried,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;

    fn opening() -> Opening {
        Opening {
            receipt_id: Digest::sha256(b"receipt"),
            program: Digest::sha256(b"program"),
            input: Opened::new(Salt([1; 32]), vec![1, 2, 3]),
            output: Opened::new(Salt([2; 32]), vec![]),
            facts: Some(Opened::new(Salt([3; 32]), vec![9; 300])),
            trace_salt: Some(Salt([4; 32])),
            carried: Some(Carried {
                sent: Opened::new(Salt([5; 32]), vec![7; 30]),
                received: Opened::new(Salt([6; 32]), vec![8; 30]),
                chunks: Some(vec![1, 300]),
            }),
        }
    }

    #[test]
    fn roles_and_salts_separate() {
        let salt = Salt([1; 32]);
        let base = commit(Role::Input, &salt, b"x");
        assert_ne!(base, commit(Role::Output, &salt, b"x"));
        assert_ne!(base, commit(Role::Facts, &salt, b"x"));
        assert_ne!(base, commit(Role::Input, &Salt([2; 32]), b"x"));
        assert_ne!(base, commit(Role::Input, &salt, b"y"));
    }

    #[test]
    fn round_trips_and_every_cut_is_refused() {
        let opening = opening();
        let bytes = opening.encode();
        assert_eq!(Opening::decode(&bytes).as_ref(), Ok(&opening));
        for cut in 0..bytes.len() {
            assert!(Opening::decode(&bytes[..cut]).is_err());
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(matches!(
            Opening::decode(&longer),
            Err(DecodeError::TrailingBytes { .. })
        ));
    }

    #[test]
    fn accepted_mutations_re_encode_to_themselves() {
        let bytes = opening().encode();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[i] ^= 1 << bit;
                if let Ok(opening) = Opening::decode(&changed) {
                    assert_eq!(*opening.encode(), changed);
                }
            }
        }
    }

    #[test]
    fn printing_shows_no_secret() {
        let text = format!("{:?}", opening());
        assert!(!text.contains("[1, 2, 3]") && text.contains("hidden"));
    }
}
