//! Which parameters a commitment of a given size has.

use super::rows;
use crate::Error;
use alloc::{format, vec::Vec};
use p3_whir::{FoldingFactor, ProtocolParameters, SecurityAssumption};

/// The most variables a committed polynomial may have.
pub const MAX_VARIABLES: usize = 27;

/// Up to this many variables a polynomial is shown directly: that is not longer than a proximity proof.
const MAX_DIRECT: usize = 13;

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

    /// The profile with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Bits of one opening under this profile, after the union over all its error terms: two more than the argument
    /// around it must reach, so that four openings fit.
    #[must_use]
    pub fn opening_bits(self) -> u32 {
        self.bits() + 2
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
    /// The combined rows of constants: committed and opened once per proof, inside the opening of the constants.
    Fold,
    /// Committed once per model, opened in every proof.
    Weights,
}

impl Use {
    /// Every use.
    pub const ALL: [Self; 3] = [Self::Witness, Self::Fold, Self::Weights];

    /// The name that transcripts and errors carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Fold => "fold",
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
    /// By encoded rows, folded at the point's own coordinates.
    Rows(rows::Parameters),
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
        Ok(match purpose {
            Use::Weights => Self::Rows(rows(profile, n)),
            Use::Witness | Use::Fold => Self::Whir(parameters(profile, n, purpose)),
        })
    }
}

/// The parameters of a size, chosen by measurement: least time to open within about 100 KiB up to `n = 18`, 140 KiB at
/// 22 and 150 KiB at 24 for [`Profile::Proven100`].
///
/// Every value is a plain integer of a table, so a verifier elsewhere can copy it; `docs/protocol-whir.md` prints it.
fn parameters(profile: Profile, n: usize, purpose: Use) -> ProtocolParameters {
    // A lower rate costs commitment time, and saves bytes and queries.
    let rate = if n <= 15 { 3 } else { 2 };
    // The first fold decides how much is committed again: `2^(n - first)` extension elements.
    let first = match n {
        ..=14 => 5,
        15..=18 => 6,
        19..=24 => 7,
        25..=26 => 8,
        _ => 9,
    };
    let fold = match n {
        ..=15 | 21..=22 => 3,
        _ => 4,
    };
    // Beyond this rate a second commitment costs more than its shorter openings save.
    let rate_cap = if rate == 3 { 5 } else { 4 };
    let mut folds = alloc::vec![first];
    let mut rates = Vec::new();
    let mut last_rate = rate;
    let mut rest = n - first;
    // The library sends what is left once at most six variables are.
    while rest > 6 {
        last_rate = (last_rate + folds[folds.len() - 1] - 1).min(rate_cap);
        rates.push(last_rate);
        let next = rest.min(fold);
        folds.push(next);
        rest -= next;
    }
    // Proof of work takes the place of queries, a bit for a bit; more of it only where the opening is long anyway.
    let pow_bits = match n {
        ..=16 => 8,
        17..=18 => 10,
        19..=20 => 12,
        21..=22 => 14,
        23..=24 => 16,
        _ => 18,
    };
    // Bits of each term, so that the sum over all terms of an opening reaches `Profile::opening_bits`.
    let security_level = match profile {
        // One bit more where the opening around it has terms of its own.
        Profile::Proven100 if purpose == Use::Fold => 105,
        Profile::Proven100 => 104,
        Profile::Proven120 if purpose == Use::Witness && n <= 22 => 126,
        Profile::Proven120 => 127,
    };
    ProtocolParameters {
        starting_log_inv_rate: rate,
        round_log_inv_rates: rates,
        folding_factor: FoldingFactor::PerRound(folds),
        soundness_type: SecurityAssumption::JohnsonBound,
        security_level,
        pow_bits,
    }
}

/// The parameters for constants, chosen by measurement within about 150 KiB at `n = 22` and 210 KiB at 24.
///
/// A fold of up to 2^12 elements is shown: committing to it would take longer and save little.
pub(super) fn rows(profile: Profile, n: usize) -> rows::Parameters {
    let shown = n <= 20;
    let rows = match n {
        ..=14 => 5,
        15..=16 => 6,
        17 => 7,
        18..=22 => 8,
        23..=26 => 9,
        _ => 10,
    };
    // The encoded constants stay in memory: the largest are encoded at 1/2, with more columns of fewer rows, which costs a
    // longer fold and saves half the memory and the set-up.
    let rate = match n {
        ..=18 => 4,
        19..=20 => 3,
        21..=24 => 2,
        _ => 1,
    };
    let work = match n {
        ..=16 => 8,
        17..=20 => 10,
        _ => 12,
    };
    let level = match profile {
        Profile::Proven100 => 105,
        Profile::Proven120 => 126,
    };
    // A commitment to a fold may stand for up to 2^7 polynomials until it is opened.
    let level: usize = if shown { level } else { level + 7 };
    rows::Parameters {
        rows,
        rate,
        queries: (level - work).div_ceil(rate),
        work,
        shown,
    }
}
