//! A plan, or a refusal, with its reasons.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use carat_receipt::statement::Timing;
use carat_receipt::{Label, LabelError};

use crate::money::{Micros, Price};
use crate::probability::{Probability, Tau};

/// An assumption that an amount rests on, as it is written: `beacon`, `vendor:intel`.
pub type Atom = Cow<'static, str>;

/// Version of the planner: changed whenever the same facts could give another plan.
pub const PLANNER: &str = "carat-policy/1";

/// What can be bought for one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// A signature and nothing else: good for nothing.
    Signature,
    /// A signature, and an audit with a signed probability.
    SignatureAudit,
    /// An enclave's attestation, and an audit with a signed probability.
    TeeAudit,
    /// Replays by drawn re-executors before the answer is used.
    Replay,
    /// Replays before use and an audit afterwards.
    ReplayAudit,
    /// A proof that is promised now and due later.
    DeferredZk,
    /// A proof together with the answer.
    Zk,
    /// A proof together with the answer, shared with other requests of a window.
    BatchedZk,
}

/// What a policy may require at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// A signature.
    Signature,
    /// Audits, or more.
    Audit,
    /// An enclave.
    Tee,
    /// Replays before use, or a proof.
    Replay,
    /// A proof, now or later.
    DeferredZk,
    /// A proof together with the answer.
    Zk,
}

impl Rung {
    /// All rungs, in the order in which equal prices are decided: fewest parties first.
    pub const ALL: [Self; 8] = [
        Self::Signature,
        Self::SignatureAudit,
        Self::TeeAudit,
        Self::BatchedZk,
        Self::Zk,
        Self::DeferredZk,
        Self::Replay,
        Self::ReplayAudit,
    ];

    /// The rung as receipts and policies name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::SignatureAudit => "signature+audit",
            Self::TeeAudit => "tee+audit",
            Self::Replay => "replay",
            Self::ReplayAudit => "replay+audit",
            Self::DeferredZk => "deferred-zk",
            Self::Zk => "zk",
            Self::BatchedZk => "batched-zk",
        }
    }

    /// Whether this rung gives at least what a level asks for.
    pub const fn gives(self, level: Level) -> bool {
        let proof_now = matches!(self, Self::Zk | Self::BatchedZk);
        match level {
            Level::Signature => true,
            Level::Audit => !matches!(self, Self::Signature),
            Level::Tee => matches!(self, Self::TeeAudit),
            Level::Replay => proof_now || matches!(self, Self::Replay | Self::ReplayAudit),
            Level::DeferredZk => proof_now || matches!(self, Self::DeferredZk),
            Level::Zk => proof_now,
        }
    }
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 6] = [
        Self::Signature,
        Self::Audit,
        Self::Tee,
        Self::Replay,
        Self::DeferredZk,
        Self::Zk,
    ];

    /// The level as policies name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Audit => "audit",
            Self::Tee => "tee",
            Self::Replay => "replay",
            Self::DeferredZk => "deferred-zk",
            Self::Zk => "zk",
        }
    }

    /// Reads what [`Level::as_str`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

/// The cheapest sufficient verification for one answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is bought.
    pub rung: Rung,
    /// The signed audit threshold; 0 where nothing is audited.
    pub tau: Tau,
    /// The probability that a wrong answer is caught.
    pub hazard: Probability,
    /// Replays before use.
    pub replicas: u32,
    /// When the consequence falls.
    pub timing: Timing,
    /// For how long the exposure stays open, in seconds.
    pub window_secs: Option<u64>,
    /// The bond that stands behind the answer.
    pub bond: Option<Label>,
    /// Within how many seconds a promised proof is due.
    pub proof_within_secs: Option<u64>,
    /// Expected price of the verification.
    pub price: Price,
    /// What the evidence adds to the time of the answer, 99th percentile, in microseconds.
    pub latency_micros: u64,
    /// The largest value that this evidence covers, under `under`.
    pub good_for: Micros,
    /// The assumptions that it rests on.
    pub under: Vec<Atom>,
    /// What made the plan as strong as it is.
    pub binding: Binding,
    /// The next cheapest that is sufficient too.
    pub runner_up: Option<Alternative>,
    /// Where another plan wins.
    pub switch_points: Vec<SwitchPoint>,
    /// What was not taken, and why; sufficient but dearer rungs are not listed.
    pub dropped: Vec<(Rung, Obstacle)>,
}

/// The constraint that decided the strength of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Nothing is at stake.
    NothingAtStake,
    /// The policy's floor on audits.
    Floor,
    /// A rule set the audit probability: T2, T3 or T4.
    Rule(Rule),
    /// T7 set the number of replicas.
    Replicas,
    /// It is the cheapest, and nothing cheaper was kept out.
    Price,
    /// The cheaper rung was kept out.
    Instead(Rung, Obstacle),
}

/// The rule behind an audit probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Clawback before settlement, joint forfeiture.
    T2,
    /// No clawback, exposure capped.
    T3,
    /// A cap on losses, no bond.
    T4,
}

impl Rule {
    /// Its name in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::T2 => "T2",
            Self::T3 => "T3",
            Self::T4 => "T4",
        }
    }
}

/// Another sufficient rung and its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The rung.
    pub rung: Rung,
    /// Its expected price.
    pub price: Price,
}

/// Where another plan wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchPoint {
    /// For values above this another rung is cheaper, or the only sufficient one.
    Above {
        /// The value.
        value: Micros,
        /// The rung beyond it; `None`: nothing that is supplied here covers more.
        rung: Option<Rung>,
        /// What that costs there.
        price: Option<Price>,
    },
    /// For values up to this another rung is cheaper.
    UpTo {
        /// The value.
        value: Micros,
        /// The rung.
        rung: Rung,
    },
    /// With twice the bond the audit threshold is this.
    WithBond {
        /// Twice the bond.
        bond: Micros,
        /// The threshold.
        tau: Tau,
    },
    /// With a deadline of at least this another rung is cheaper.
    WithDeadline {
        /// The deadline, in microseconds.
        micros: u64,
        /// The rung.
        rung: Rung,
        /// Its price.
        price: Price,
    },
}

/// Why a rung was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody supplies it here.
    NoSupply(&'static str),
    /// Its cost was never measured here: a guess would not do.
    NotCalibrated(&'static str),
    /// It rests on an assumption that the policy forbids.
    Forbidden {
        /// The assumption.
        atom: Atom,
        /// The rule.
        by: String,
    },
    /// The policy requires more.
    Required {
        /// What it requires.
        level: Level,
        /// The rule.
        by: String,
    },
    /// It takes longer than the answer may take.
    TooSlow {
        /// 99th percentile, in microseconds.
        micros: u64,
        /// The deadline.
        deadline: u64,
    },
    /// Without clawback the exposure would pass the cap kappa * S (T3).
    Exposure {
        /// What is left of the cap.
        left: Micros,
        /// The gain to a cheat.
        gain: Micros,
    },
    /// The consequence is irreversible and above kappa * S: only evidence before use will do.
    PreUseOnly {
        /// kappa * S.
        cap: Micros,
        /// The gain to a cheat.
        gain: Micros,
    },
    /// Even an audit of every answer is too weak.
    TooWeak {
        /// The hazard that is needed.
        needed: Probability,
        /// The hazard of an audit that is certain.
        ceiling: Probability,
    },
    /// It covers no more than this.
    Covers(Micros),
    /// It costs more than the budget.
    Budget {
        /// Its price.
        price: Price,
    },
}

/// No plan is sufficient. Never degraded silently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The value at stake.
    pub value: Micros,
    /// The cheapest rung that would be sufficient without budget or deadline.
    pub sufficient: Option<Alternative>,
    /// The largest value that is covered within budget and deadline, and by what.
    pub covered: Option<(Micros, Rung)>,
    /// Why each rung was dropped.
    pub dropped: Vec<(Rung, Obstacle)>,
}

impl Plan {
    /// The plan as a Statement carries it.
    ///
    /// # Errors
    /// Never for a plan of this planner: its rungs are valid labels.
    pub fn to_statement(&self, issued_at: u64) -> Result<carat_receipt::Plan, LabelError> {
        let audited = self.tau.0 > 0;
        Ok(carat_receipt::Plan {
            rung: Label::new(self.rung.as_str())?,
            tau: self.tau.0,
            timing: self.timing,
            window: self.window_secs.filter(|_| audited),
            bond: self.bond.clone(),
            replicas: (self.replicas > 0).then_some(u64::from(self.replicas)),
            proof_deadline: self
                .proof_within_secs
                .map(|within| issued_at.saturating_add(within)),
        })
    }
}
