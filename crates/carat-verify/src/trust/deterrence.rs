//! What a relying party accepts about audits and replicas: the parameters of the rules in `carat-policy`.

use carat_policy::{Detection, Factor, Fraction};
use carat_receipt::Amount;

/// `[audits]`: on what terms sampled audits count. Absent: they count for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audits {
    /// d, r and pi.
    pub detection: Detection,
    /// gamma: the gain to a cheat as a multiple of the value.
    pub gamma: Factor,
    /// kappa: the part of a bond that may be open at a time without clawback.
    pub kappa: Fraction,
    /// Gains can be taken back before settlement.
    pub clawback: bool,
    /// One conviction forfeits the bond and every gain that is pending.
    pub joint_forfeiture: bool,
    /// By when audits of an answer have been drawn and resolved, in days from its issue: a bond has to stand until then.
    /// `None`: [`DEFAULT_HORIZON_DAYS`].
    pub horizon_days: Option<u32>,
}

/// How long a bond has to outlast an answer where the Trust file does not say.
pub const DEFAULT_HORIZON_DAYS: u32 = 7;
/// Longest horizon.
pub const MAX_HORIZON_DAYS: u32 = 3650;

impl Audits {
    /// The horizon in seconds.
    pub fn horizon_secs(&self) -> u64 {
        u64::from(self.horizon_days.unwrap_or(DEFAULT_HORIZON_DAYS)) * 86_400
    }
}

/// `[replication]`: what replays by several auditors are worth. Absent: each counts for its auditor's cap alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// f: probability that an auditor of this file is corrupt.
    pub corrupt: Fraction,
    /// rho: probability of a fault that all share.
    pub shared_fault: Fraction,
    /// epsilon: tolerated expected loss for one answer.
    pub epsilon: Amount,
}
