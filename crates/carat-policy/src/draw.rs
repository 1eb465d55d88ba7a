//! Who is audited: draws by the signed 64-bit thresholds, recomputable by anyone.
//!
//! Thresholds stand in the log before any randomness exists (commit, then sample). An epoch is what one checkpoint adds to
//! what earlier epochs drew from. Its seed binds the log, the checkpoint and every contribution of randomness; entry `i` is
//! drawn iff the first 64 bits of `draw(seed, i)`, big-endian, are below its threshold.
//!
//! **What a draw is worth depends on who could know or choose its randomness.** Version 1 has one kind of contribution, a
//! beacon that whoever audits chose. Nobody else can tell that it was not tried until it suited, so to third parties such an
//! audit supports nothing. The places of the others are kept: a public beacon's round after a witnessed checkpoint, and
//! verifiable random functions (RFC 9381) of tenants and auditors, are further [`Contribution`]s; disputes are further
//! outcomes of a record.

use alloc::vec::Vec;

use carat_receipt::Digest;

use crate::probability::Tau;

/// Domain of the seed: `Digest::of(SEED, [origin, first, size, root, kind, bytes, ...])`, numbers as 8 bytes, big-endian.
pub const SEED: &str = "carat/audit-seed/v1";
/// Domain of a draw: `Digest::of(DRAW, [seed, index])`.
pub const DRAW: &str = "carat/audit-draw/v1";
/// Fewest bytes of a beacon: a short one could be tried out.
pub const MIN_BEACON_BYTES: usize = 16;
/// Most bytes of a beacon.
pub const MAX_BEACON_BYTES: usize = 1024;

/// The entries that are drawn from, under one checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch<'a> {
    /// Name of the log.
    pub origin: &'a str,
    /// First entry. Earlier ones were drawn from before: each entry has one draw.
    pub first: u64,
    /// Entries under the checkpoint; the epoch ends there.
    pub size: u64,
    /// Root of the checkpoint.
    pub root: &'a [u8; 32],
}

/// Randomness from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contribution {
    /// A value that whoever audits chose: a self-audit.
    Chosen(Vec<u8>),
}

/// A draw cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// The beacon is too short to be unforeseen, or too long.
    #[error(
        "a beacon has {MIN_BEACON_BYTES} to {MAX_BEACON_BYTES} bytes, this one has {0}; throw dice or take a public one"
    )]
    Beacon(usize),
    /// There is nothing to draw from.
    #[error("no entry was added to the log since the last draw; append, publish, then draw again")]
    NothingNew,
}

/// The randomness of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(Digest);

impl Contribution {
    /// The kind, as it is hashed and written down.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Chosen(_) => "chosen",
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Chosen(bytes) => bytes,
        }
    }
}

impl Seed {
    /// The seed of an epoch.
    ///
    /// # Errors
    /// [`DrawError`]: a beacon of a wrong length, or an empty epoch.
    pub fn new(epoch: &Epoch<'_>, contributions: &[Contribution]) -> Result<Self, DrawError> {
        if epoch.first >= epoch.size {
            return Err(DrawError::NothingNew);
        }
        for contribution in contributions {
            let len = contribution.bytes().len();
            if !(MIN_BEACON_BYTES..=MAX_BEACON_BYTES).contains(&len) {
                return Err(DrawError::Beacon(len));
            }
        }
        let (first, size) = (epoch.first.to_be_bytes(), epoch.size.to_be_bytes());
        let mut parts: Vec<&[u8]> = alloc::vec![epoch.origin.as_bytes(), &first, &size, epoch.root];
        for contribution in contributions {
            parts.push(contribution.kind().as_bytes());
            parts.push(contribution.bytes());
        }
        Ok(Self(Digest::of(SEED, &parts)))
    }

    /// The first 64 bits of an entry's draw.
    pub fn draw(&self, index: u64) -> u64 {
        let digest = Digest::of(DRAW, &[self.0.as_bytes(), &index.to_be_bytes()]);
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Whether an entry with that threshold is audited.
    pub fn selects(&self, index: u64, tau: Tau) -> bool {
        tau.selects(self.draw(index))
    }

    /// The seed itself, for records.
    pub const fn digest(&self) -> Digest {
        self.0
    }
}

/// The threshold that a leaf of the log carries: its last 8 bytes of 40. A leaf of 32 bytes has none, and any other length
/// is no leaf of a receipt. See `carat_receipt::leaf`.
pub fn tau_of_leaf(leaf: &[u8]) -> Option<Tau> {
    let bytes: &[u8; 40] = leaf.try_into().ok()?;
    let tau: [u8; 8] = bytes[32..].try_into().ok()?;
    Some(Tau(u64::from_be_bytes(tau)))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use carat_receipt::{Salt, leaf};

    use super::*;

    const EPOCH: Epoch<'_> = Epoch {
        origin: "log.example/receipts",
        first: 2,
        size: 10,
        root: &[7; 32],
    };

    fn chosen(byte: u8) -> Vec<Contribution> {
        vec![Contribution::Chosen(vec![byte; 32])]
    }

    /// Computed apart from this crate, with a SHA-256 in another language (`docs/simulate.md` has the construction).
    #[test]
    fn golden_draws() {
        let seed = Seed::new(&EPOCH, &chosen(1)).unwrap();
        assert_eq!(seed.digest().to_string(), GOLDEN_SEED);
        assert_eq!([2, 3, 9].map(|index| seed.draw(index)), GOLDEN_DRAWS);
    }

    const GOLDEN_SEED: &str = "71703f746543210e034d12c5b484bafd662452d687c6c93018b5bd3e285ef254";
    const GOLDEN_DRAWS: [u64; 3] = [0x86abdba60bd8a252, 0x50d64f58a35a0afb, 0x46c1cd683f0f5071];

    #[test]
    fn everything_moves_the_draw() {
        let seed = |epoch: &Epoch<'_>, beacon| Seed::new(epoch, &chosen(beacon)).unwrap();
        let mut seeds = vec![
            seed(&EPOCH, 1),
            seed(&EPOCH, 2),
            seed(
                &Epoch {
                    origin: "log.example/receipt",
                    ..EPOCH
                },
                1,
            ),
            seed(&Epoch { first: 3, ..EPOCH }, 1),
            seed(&Epoch { size: 11, ..EPOCH }, 1),
            seed(
                &Epoch {
                    root: &[8; 32],
                    ..EPOCH
                },
                1,
            ),
        ];
        let two = Contribution::Chosen(vec![2; 32]);
        seeds.push(Seed::new(&EPOCH, &[chosen(1).remove(0), two]).unwrap());
        for i in 0..seeds.len() {
            assert!(!seeds[..i].contains(&seeds[i]), "{i}");
        }
    }

    #[test]
    fn refuses() {
        let short = vec![Contribution::Chosen(vec![1; 15])];
        assert_eq!(Seed::new(&EPOCH, &short), Err(DrawError::Beacon(15)));
        let empty = Epoch { first: 10, ..EPOCH };
        assert_eq!(Seed::new(&empty, &chosen(1)), Err(DrawError::NothingNew));
    }

    #[test]
    fn reads_the_threshold_of_a_leaf() {
        let (blind, id) = (Salt::from_bytes([5; 32]), Digest::sha256(b"receipt"));
        assert_eq!(tau_of_leaf(&leaf(&blind, &id, Some(77))), Some(Tau(77)));
        assert_eq!(tau_of_leaf(&leaf(&blind, &id, None)), None);
        assert_eq!(tau_of_leaf(&[0; 41]), None);
    }

    /// Draws hit thresholds as often as they say: 200,000 draws at three rates, within five standard deviations; the
    /// ends are exact.
    #[test]
    fn rates() {
        let epoch = Epoch {
            size: 1 << 40,
            ..EPOCH
        };
        let seed = Seed::new(&epoch, &chosen(3)).unwrap();
        const N: u64 = 200_000;
        for percent in [1_u64, 25, 90] {
            let tau = Tau(u64::MAX / 100 * percent);
            let hits = (0..N).filter(|i| seed.selects(*i, tau)).count() as f64;
            let (n, p) = (N as f64, percent as f64 / 100.0);
            assert!(
                (hits - n * p).abs() < 5.0 * (n * p * (1.0 - p)).sqrt(),
                "{percent}%: {hits}"
            );
        }
        assert!((0..1000).all(|i| !seed.selects(i, Tau(0)) && seed.selects(i, Tau(u64::MAX))));
    }
}
