//! From an audit probability to a hazard: detection power, colluding auditors, predictable coins.
//!
//! A hazard is the probability that a wrong answer is caught. Decisions are made on hazards and never on the bare
//! probability of an audit: `h = p * d * (1 - r) * (1 - pi)`.

use crate::probability::{Fraction, Probability, Tau};

/// What stands between an audit and a conviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// d: probability that an honest audit of a wrong answer finds it wrong. Exact replay: 1.
    pub power: Fraction,
    /// r: probability that the auditor who is drawn colludes with the operator.
    pub colluding: Fraction,
    /// pi: probability that the operator could predict the coin.
    pub predictable: Fraction,
}

impl Detection {
    /// Nothing stands between: exact replay, honest auditors, an unpredictable coin. For tests and simulations.
    pub const PERFECT: Self = Self {
        power: Fraction::ONE,
        colluding: Fraction::ZERO,
        predictable: Fraction::ZERO,
    };

    /// `d * (1 - r) * (1 - pi)`, rounded down: the hazard of an answer that is certainly audited.
    pub fn ceiling(&self) -> Probability {
        self.power
            .down()
            .mul_down(self.colluding.complement().down())
            .mul_down(self.predictable.complement().down())
    }

    /// The hazard of a threshold, rounded down.
    pub fn hazard(&self, tau: Tau) -> Probability {
        tau.probability().mul_down(self.ceiling())
    }

    /// The smallest threshold with at least this hazard; `None` where no audit probability below 1 has it.
    pub fn tau_for(&self, hazard: Probability) -> Option<Tau> {
        if hazard == Probability::ZERO {
            return Some(Tau(0));
        }
        let ceiling = self.ceiling().bits();
        if hazard.bits() >= 1 << 64 || ceiling == 0 {
            return None;
        }
        // hazard(tau) = floor(tau * ceiling / 2^64) >= hazard iff tau >= hazard * 2^64 / ceiling.
        u64::try_from((hazard.bits() << 64).div_ceil(ceiling))
            .ok()
            .map(Tau)
    }
}

/// The hazard of two independent chances, `1 - (1 - a)(1 - b)`, rounded down: a second draw with fresh randomness.
pub fn either(a: Probability, b: Probability) -> Probability {
    a.complement().mul_up(b.complement()).complement()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fraction() -> impl Strategy<Value = Fraction> {
        (0..=1_000_000_000_u32).prop_map(|n| Fraction::from_billionths(n).unwrap())
    }

    prop_compose! {
        fn detection()(power in fraction(), colluding in fraction(), predictable in fraction()) -> Detection {
            Detection { power, colluding, predictable }
        }
    }

    proptest! {
        #[test]
        fn the_threshold_is_enough_and_the_one_below_is_not(d in detection(), h in 1..(1_u128 << 64)) {
            let h = Probability::from_bits(h);
            match d.tau_for(h) {
                Some(tau) => {
                    prop_assert!(d.hazard(tau) >= h);
                    prop_assert!(tau.0 == 0 || d.hazard(Tau(tau.0 - 1)) < h);
                }
                None => prop_assert!(d.hazard(Tau(u64::MAX)) < h),
            }
        }

        #[test]
        fn a_worse_audit_never_has_a_larger_hazard(d in detection(), more in fraction(), tau in any::<u64>()) {
            let tau = Tau(tau);
            let worse = [
                Detection { power: d.power.min(more), ..d },
                Detection { colluding: d.colluding.max(more), ..d },
                Detection { predictable: d.predictable.max(more), ..d },
            ];
            for worse in worse {
                prop_assert!(worse.hazard(tau) <= d.hazard(tau));
            }
        }

        #[test]
        fn two_chances_are_better_than_one(a in 0..=(1_u128 << 64), b in 0..=(1_u128 << 64)) {
            let (a, b) = (Probability::from_bits(a), Probability::from_bits(b));
            prop_assert!(either(a, b).bits() + 1 >= a.max(b).bits());
            prop_assert!(either(a, b).bits() <= a.bits() + b.bits());
        }
    }
}
