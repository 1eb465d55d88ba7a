//! The rules that audits follow.

use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use super::values::percentile;
use crate::hazard::Detection;
use crate::money::Micros;
use crate::probability::{Fraction, Probability, Tau};
use crate::rules;

/// When gains are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// A conviction takes back every gain of the window.
    BeforeSettle,
    /// Gains are kept; a conviction takes the bond alone.
    AfterUse,
}

/// Which audits are offered.
#[derive(Debug, Clone, PartialEq)]
pub enum Auditing {
    /// None.
    None,
    /// Every request with the same probability.
    Uniform(Probability),
    /// Two probabilities, by value: the cheapest pair that deters everything.
    TwoTier,
    /// The hazard that the value calls for: T2 before settlement, T3 after use.
    Matched,
    /// **Broken on purpose**: `h = G/S` without a cap on exposure, which ignores pooling.
    Naive,
}

/// The bond, the window, and what the rules believe about audits.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Which audits.
    pub auditing: Auditing,
    /// When gains are final.
    pub timing: Timing,
    /// What a conviction forfeits.
    pub bond: Micros,
    /// Share of the bond that may be open at a time after use (T3).
    pub kappa: Fraction,
    /// Requests whose audits are resolved together.
    pub window: usize,
    /// What the rules assume about audits.
    pub assumed: Detection,
    /// **Broken on purpose when false**: a conviction takes the bond and that one gain, and leaves the other gains of the
    /// window.
    pub joint_forfeiture: bool,
}

/// What one request is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Audit threshold.
    pub tau: Tau,
    /// Evidence before use, because no audit is enough: the answer cannot be wrong.
    pub proved: bool,
}

impl Auditing {
    /// Reads `matched`, `uniform:P`, `two-tier`, `none` or `naive`.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "two-tier" => Ok(Self::TwoTier),
            "matched" => Ok(Self::Matched),
            "naive" => Ok(Self::Naive),
            _ => {
                let share = text
                    .strip_prefix("uniform:")
                    .and_then(|share| share.parse::<Fraction>().ok());
                match share {
                    Some(share) => Ok(Self::Uniform(share.up())),
                    None => Err(format!(
                        "{text}: auditing is matched, uniform:SHARE (0 to 1), two-tier, none or naive (which is broken on purpose)"
                    )),
                }
            }
        }
    }
}

impl Setting {
    /// The hazard that deters a gain as large as this, if any does.
    fn deterring(&self, gain: Micros) -> Option<Probability> {
        match self.timing {
            Timing::BeforeSettle => Some(rules::t2_pooled(gain, self.bond)),
            Timing::AfterUse => rules::t3_no_clawback(gain, self.bond, self.kappa),
        }
    }

    /// The offers for a traffic.
    pub fn offers(&self, values: &[Micros]) -> Vec<Offer> {
        let audit = |tau| Offer { tau, proved: false };
        const PROVED: Offer = Offer {
            tau: Tau(0),
            proved: true,
        };
        // An audit that cannot reach the hazard is no audit: then the answer is proved before it is used.
        let reach = |hazard: Option<Probability>| {
            hazard
                .and_then(|hazard| self.assumed.tau_for(hazard))
                .map_or(PROVED, audit)
        };
        let mut offers: Vec<Offer> = match &self.auditing {
            Auditing::None => vec![audit(Tau(0)); values.len()],
            Auditing::Uniform(share) => vec![audit(share.tau()); values.len()],
            Auditing::Matched => values
                .iter()
                .map(|value| reach(self.deterring(*value)))
                .collect(),
            Auditing::Naive => values
                .iter()
                .map(|value| {
                    audit(
                        rules::t1_no_clawback(*value, self.bond)
                            .unwrap_or(Probability::ONE)
                            .tau(),
                    )
                })
                .collect(),
            Auditing::TwoTier => {
                let (border, low, high) = self.two_tiers(values);
                let (low, high) = (reach(low), reach(high));
                values
                    .iter()
                    .map(|value| if *value <= border { low } else { high })
                    .collect()
            }
        };
        let pools = matches!(self.auditing, Auditing::Matched | Auditing::TwoTier);
        if pools && self.timing == Timing::AfterUse {
            // What is open counts whether it was wrong or not: nobody knows yet.
            let cap = rules::exposure_cap(self.bond, self.kappa);
            for (window, values) in values.chunks(self.window).enumerate() {
                let mut open = Micros::ZERO;
                for (i, value) in values.iter().enumerate() {
                    let offer = &mut offers[window * self.window + i];
                    if open.plus(*value) > cap {
                        *offer = PROVED;
                    } else if !offer.proved {
                        open = open.plus(*value);
                    }
                }
            }
        }
        offers
    }

    /// The cheapest two tiers: every value of a tier gets the hazard of the largest in it.
    fn two_tiers(&self, values: &[Micros]) -> (Micros, Option<Probability>, Option<Probability>) {
        const BORDERS: usize = 4096;
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let largest = sorted.last().copied().unwrap_or_default();
        let high = self.deterring(largest);
        let price = |hazard: Option<Probability>| hazard.map_or(1.0, Probability::to_f64);
        let cost = |border: Micros| {
            let below = sorted.partition_point(|value| *value <= border) as f64;
            below * price(self.deterring(border)) + (sorted.len() as f64 - below) * price(high)
        };
        let mut best = (largest, cost(largest));
        for i in 0..BORDERS {
            let border = percentile(&sorted, i as f64 / BORDERS as f64);
            let cost = cost(border);
            if cost < best.1 {
                best = (border, cost);
            }
        }
        (best.0, self.deterring(best.0), high)
    }
}
