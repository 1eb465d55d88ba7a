//! What ways of checking leave uncovered, by the rules of `carat-policy` and nothing else: whole numbers, rounded down.

use carat_policy::environment::Bond;
use carat_policy::{Detection, Factor, Fraction, Micros, Probability, Tau, good_for};
use serde::Serialize;

use super::traffic::Kind;

/// What is not covered in some traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Uncovered {
    /// Answers that rest on less than what rides on them.
    pub answers: u64,
    /// The largest value among them, in millionths: the largest loss that nothing deters or rules out.
    pub largest_micros: u64,
    /// All their values, in millionths.
    pub sum_micros: u64,
}

impl Uncovered {
    /// Takes in an answer with what its evidence is good for.
    pub(super) fn weigh(&mut self, value: Micros, good_for: Micros) {
        if good_for < value {
            self.answers += 1;
            self.largest_micros = self.largest_micros.max(value.0);
            self.sum_micros = self.sum_micros.saturating_add(value.0);
        }
    }
}

/// What stands behind audits.
#[derive(Debug, Clone)]
pub(super) struct Backing {
    pub(super) bond: Bond,
    pub(super) kappa: Fraction,
    pub(super) detection: Detection,
}

impl Backing {
    /// What an audit with that threshold is good for, if `open` of the exposure of its window is used up (T2 before
    /// settlement, T3 otherwise; nothing above kappa S for what cannot be undone).
    pub(super) fn audited(&self, kind: Kind, tau: Tau, open: Micros) -> Micros {
        let hazard: Probability = self.detection.hazard(tau);
        let stake = self.bond.allocated.plus(self.bond.withheld);
        match kind {
            Kind::Settles if self.bond.clawback && self.bond.joint_forfeiture => {
                good_for::audit_clawback(hazard, stake, Factor::ONE)
            }
            _ => good_for::audit_no_clawback(hazard, stake, self.kappa, Factor::ONE, open),
        }
    }
}

/// One rate for every answer: what it covers, with the ledger of exposure that T3 asks for.
pub(super) struct Uniform<'a> {
    backing: &'a Backing,
    tau: Tau,
    open: Micros,
    pub(super) uncovered: Uncovered,
}

impl<'a> Uniform<'a> {
    pub(super) fn new(backing: &'a Backing, tau: Tau) -> Self {
        Self {
            backing,
            tau,
            open: Micros::ZERO,
            uncovered: Uncovered::default(),
        }
    }

    /// The audits of a window are resolved: nothing is open.
    pub(super) fn settle(&mut self) {
        self.open = Micros::ZERO;
    }

    pub(super) fn weigh(&mut self, kind: Kind, value: Micros) {
        let good_for = self.backing.audited(kind, self.tau, self.open);
        self.uncovered.weigh(value, good_for);
        // What is not covered rides on nothing: it takes no room from what is.
        if kind != Kind::Settles && good_for >= value {
            self.open = self.open.plus(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use carat_receipt::Label;

    use super::*;

    fn usd(units: u64) -> Micros {
        Micros(units * 1_000_000)
    }

    fn backing() -> Backing {
        Backing {
            bond: Bond {
                name: Label::new("bond").unwrap(),
                allocated: usd(1000),
                withheld: Micros::ZERO,
                open: Micros::ZERO,
                clawback: true,
                joint_forfeiture: true,
            },
            kappa: "0.8".parse().unwrap(),
            detection: Detection::PERFECT,
        }
    }

    fn quarter() -> Tau {
        "0.25".parse::<Fraction>().unwrap().down().tau()
    }

    /// By hand: h S / (1 - h) = 333.33; -S ln(0.75) / 2.0117974 = 142.99.
    #[test]
    fn a_uniform_quarter_covers_so_much_and_no_more() {
        let backing = backing();
        let mut uniform = Uniform::new(&backing, quarter());
        uniform.weigh(Kind::Settles, usd(333));
        uniform.weigh(Kind::Used, usd(142));
        assert_eq!(uniform.uncovered, Uncovered::default());
        uniform.weigh(Kind::Settles, usd(334));
        uniform.weigh(Kind::Used, usd(400));
        uniform.weigh(Kind::Final, usd(143));
        let found = uniform.uncovered;
        assert_eq!((found.answers, found.largest_micros), (3, usd(400).0));
        assert_eq!(found.sum_micros, usd(877).0);
    }

    /// kappa S = 800: the sixth answer of 142 finds 90 left, in a new window it is covered.
    #[test]
    fn exposure_is_used_up_and_comes_back() {
        let backing = backing();
        let mut uniform = Uniform::new(&backing, quarter());
        (0..5).for_each(|_| uniform.weigh(Kind::Used, usd(142)));
        assert_eq!(uniform.uncovered.answers, 0);
        uniform.weigh(Kind::Used, usd(142));
        assert_eq!(uniform.uncovered.answers, 1);
        uniform.settle();
        uniform.weigh(Kind::Used, usd(142));
        assert_eq!(uniform.uncovered.answers, 1);
    }

    #[test]
    fn without_clawback_nothing_is_taken_back() {
        let mut backing = backing();
        backing.bond.joint_forfeiture = false;
        assert!(backing.audited(Kind::Settles, quarter(), Micros::ZERO) < usd(143));
        assert_eq!(backing.audited(Kind::Used, Tau(0), Micros::ZERO), usd(0));
    }
}
