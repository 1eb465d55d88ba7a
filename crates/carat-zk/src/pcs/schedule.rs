//! Which parameters a commitment of a given size has.

use crate::Error;
use alloc::{format, vec::Vec};
use p3_whir::{FoldingFactor, ProtocolParameters, SecurityAssumption};

/// The most variables a committed polynomial may have.
pub const MAX_VARIABLES: usize = 24;

/// Up to this many variables a polynomial is shown directly: that is shorter than a proximity proof.
const MAX_DIRECT: usize = 12;

/// A named security level. The verifier holds it: a proof cannot ask for another.
///
/// Every bound is proven, none rests on a conjecture about codes up to capacity. Bits are those of the whole argument,
/// so an opening has a few more of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// At least 100 bits.
    Proven100,
    /// At least 120 bits.
    Proven120,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::Proven100, Self::Proven120];

    /// The name that statements and transcripts carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven100 => "proven-100",
            Self::Proven120 => "proven-120",
        }
    }

    /// Bits of a whole argument under this profile, after the union over all its error terms.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Proven100 => 100,
            Self::Proven120 => 120,
        }
    }
}

/// What a committed polynomial is, which decides how commitment time is weighed against opening time and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Use {
    /// Committed and opened once per proof.
    Witness,
    /// Committed once per model, opened in every proof.
    Weights,
}

impl Use {
    /// Both uses.
    pub const ALL: [Self; 2] = [Self::Witness, Self::Weights];

    /// The name that transcripts and errors carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Weights => "weights",
        }
    }
}

/// How a polynomial of some size is committed.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// By hashing all values.
    Direct,
    /// By WHIR with these parameters.
    Whir(ProtocolParameters),
}

impl Schedule {
    /// The schedule of a scheme.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if `n` is above [`MAX_VARIABLES`].
    pub fn new(profile: Profile, n: usize, purpose: Use) -> Result<Self, Error> {
        if n > MAX_VARIABLES {
            return Err(Error::Unsupported(format!(
                "a commitment holds at most 2^{MAX_VARIABLES} values, not 2^{n}"
            )));
        }
        if n <= MAX_DIRECT {
            return Ok(Self::Direct);
        }
        let starting_log_inv_rate = match purpose {
            Use::Witness => 1,
            Use::Weights => 2,
        };
        let (security_level, pow_bits) = match profile {
            Profile::Proven100 => (105, 16),
            Profile::Proven120 => (126, 18),
        };
        let first = if n >= 20 { 7 } else { 5 };
        let mut folds = alloc::vec![first];
        let mut rest = n - first;
        while rest > 6 {
            let fold = rest.min(4);
            folds.push(fold);
            rest -= fold;
        }
        let mut rates = Vec::new();
        let mut rate = starting_log_inv_rate;
        for fold in &folds[..folds.len() - 1] {
            rate = (rate + fold - 1).min(4);
            rates.push(rate);
        }
        Ok(Self::Whir(ProtocolParameters {
            starting_log_inv_rate,
            round_log_inv_rates: rates,
            folding_factor: FoldingFactor::PerRound(folds),
            soundness_type: SecurityAssumption::JohnsonBound,
            security_level,
            pow_bits,
        }))
    }
}
