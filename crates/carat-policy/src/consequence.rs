//! What happens if an answer is wrong: value, gain to a cheat, timing, reversibility; and what its owner demands.

use alloc::string::String;
use alloc::vec::Vec;

pub use carat_receipt::statement::Timing;
use carat_receipt::{Currency, Label};

use crate::money::{Factor, Micros, Price};
use crate::plan::Level;
use crate::probability::Fraction;

/// What rides on one answer, and the limits on what may be bought for it. All money is in `currency`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence {
    /// The one currency.
    pub currency: Currency,
    /// V: the loss if the answer is wrong and acted on.
    pub value: Micros,
    /// gamma: the gain to a cheat as a multiple of V; 1 unless positions can be leveraged against the answer.
    pub gamma: Factor,
    /// When the consequence falls.
    pub timing: Timing,
    /// It cannot be undone: nothing can be clawed back.
    pub irreversible: bool,
    /// How long the answer may take with all evidence that comes before it, in microseconds.
    pub deadline_micros: Option<u64>,
    /// The most that checking this answer may cost.
    pub budget: Option<Price>,
    /// Expected loss that is tolerated for one request, where replicas vouch for it (T7).
    pub epsilon: Micros,
    /// Audits that are made in any case: they catch faults and misdeclared values, and feed certificates.
    pub p_min: Fraction,
    /// K: total undetected loss that is tolerated where neither a bond nor rationality is relied on (T4).
    pub loss_cap: Option<Micros>,
    /// Evidence that must be there, whatever it costs.
    pub require: Vec<Demand<Level>>,
    /// Assumptions that may not be relied on.
    pub forbid: Vec<Demand<AtomPattern>>,
}

/// A demand and the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand<T> {
    /// What is demanded.
    pub what: T,
    /// The rule, for explanations.
    pub by: String,
}

/// Names an assumption, or with a final `*` all that start so: `vendor:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtomPattern(Label);

impl Consequence {
    /// A consequence with a value, and defaults that demand nothing: gamma 1, no deadline, no budget, no floor.
    pub fn new(currency: Currency, value: Micros, timing: Timing) -> Self {
        Self {
            currency,
            value,
            gamma: Factor::ONE,
            timing,
            irreversible: false,
            deadline_micros: None,
            budget: None,
            epsilon: Micros::ZERO,
            p_min: Fraction::ZERO,
            loss_cap: None,
            require: Vec::new(),
            forbid: Vec::new(),
        }
    }
}

/// How strict a timing is: what is sufficient for a stricter one is sufficient for the others. Before settlement gains can
/// be clawed back; the other three differ in how soon evidence must be there.
pub const fn strictness(timing: Timing) -> u8 {
    match timing {
        Timing::BeforeSettle => 0,
        Timing::Deferred => 1,
        Timing::AfterUse => 2,
        Timing::BeforeUse => 3,
    }
}

/// The timing as policy files and explanations write it.
pub const fn timing_name(timing: Timing) -> &'static str {
    match timing {
        Timing::BeforeUse => "before_use",
        Timing::BeforeSettle => "before_settle",
        Timing::AfterUse => "after_use",
        Timing::Deferred => "deferred",
    }
}

/// Reads what [`timing_name`] writes.
pub fn timing_from_name(name: &str) -> Option<Timing> {
    [
        Timing::BeforeUse,
        Timing::BeforeSettle,
        Timing::AfterUse,
        Timing::Deferred,
    ]
    .into_iter()
    .find(|timing| timing_name(*timing) == name)
}

impl AtomPattern {
    /// Takes a pattern as it is written.
    pub fn new(pattern: Label) -> Self {
        Self(pattern)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it names this assumption.
    pub fn matches(&self, atom: &str) -> bool {
        match self.0.as_str().strip_suffix('*') {
            Some(start) => atom.starts_with(start),
            None => atom == self.0.as_str(),
        }
    }
}
