//! Amounts that follow from rules: audits, several replays, composites, and what rides on a Statement already.

mod audits;
mod composites;
mod replicas;

use alloc::format;
use alloc::vec::Vec;

use carat_policy::{Micros, good_for};
use carat_receipt::Amount;

pub(crate) use composites::{Edge, Place};

use crate::appraisal::AssumptionSet;
use crate::appraise::Work;

impl Work<'_> {
    /// The sets of this module.
    pub(crate) fn sets_by_rule(&self, zero: Option<Amount>) -> Vec<AssumptionSet> {
        self.audit_sets(zero)
            .into_iter()
            .chain(self.replica_set(zero))
            .collect()
    }

    /// Takes from every amount what is bound already: a composite is worth its weakest edge, and what rides on the
    /// Statement already is not there a second time.
    pub(crate) fn settle(&self, sets: &mut [AssumptionSet]) {
        self.settle_composite(sets);
        let Some(relied) = self.question.relied.filter(|relied| !relied.is_zero()) else {
            return;
        };
        for set in sets {
            let Some(amount) = set.amount.filter(|amount| !amount.is_zero()) else {
                continue;
            };
            let left = good_for::remaining(Micros::from(amount), Micros::from(relied));
            set.reason = format!(
                "{}; {relied} of {amount} rides on this receipt already",
                set.reason
            );
            set.amount = Some(left.in_currency(amount.currency()));
        }
    }

    /// What stands in the way of every amount that rests on others.
    fn block_others(&self) -> Option<alloc::string::String> {
        self.block().or_else(|| self.blocks_others.first().cloned())
    }
}
