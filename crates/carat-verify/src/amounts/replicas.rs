//! Replays by several auditors (T7). Which of them replayed may have been the issuer's choice, so the bound is over all
//! choices: `epsilon / (C(n,k) f^k + rho)`.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use carat_policy::{Micros, good_for};
use carat_receipt::Amount;

use crate::appraisal::AssumptionSet;
use crate::appraise::Work;
use crate::trust::{Replication, Trust};

impl Work<'_> {
    /// The set of a receipt that auditors replayed, where the Trust file has `[replication]`.
    pub(super) fn replica_set(&self, zero: Option<Amount>) -> Option<AssumptionSet> {
        let content = self.trust.map(Trust::content)?;
        let replication = content.replication.as_ref()?;
        if self.audited.is_empty() {
            return None;
        }
        let under = vec![
            format!("honest-fraction>={}", replication.corrupt.complement()),
            "diversity".into(),
            "implementation".into(),
            format!("input:{}", self.input_from),
        ];
        let (amount, reason) = match self.block_others() {
            Some(block) => (zero, block),
            None => self.replicated(replication),
        };
        Some(AssumptionSet {
            rung: "replicas".into(),
            amount,
            under,
            reason,
        })
    }

    fn replicated(&self, replication: &Replication) -> (Option<Amount>, String) {
        let Some(content) = self.trust.map(Trust::content) else {
            return (None, "there is no usable Trust file".into());
        };
        let zero = Some(Amount::zero(content.currency));
        // One organisation is one replica, whatever number of keys it has.
        let controllers = |named: &mut dyn Iterator<Item = &crate::trust::Auditor>| -> Vec<String> {
            let mut names: Vec<String> = named
                .map(|auditor| auditor.controller.to_string())
                .collect();
            names.sort();
            names.dedup();
            names
        };
        let issuer = self.known_issuer().unwrap_or_default();
        let claimed = self.file.signed.statement().issuer.as_str();
        // What the issuer calls itself may take an agreement away, never make the choice look smaller.
        let named = controllers(
            &mut content
                .auditors
                .iter()
                .filter(|auditor| auditor.controller.as_str() != issuer),
        );
        let agreed = controllers(&mut content.auditors.iter().filter(|auditor| {
            let controller = auditor.controller.as_str();
            controller != issuer
                && controller != claimed
                && self.audited.iter().any(|(name, _)| **name == auditor.name)
        }));
        let Some(cap) = content.implementation_cap else {
            return (
                zero,
                "the Trust file gives no cap for `implementation`".into(),
            );
        };
        let (k, n) = (agreed.len(), named.len());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let epsilon = Micros::from(replication.epsilon);
        let amount = good_for::chosen_replicas(
            epsilon,
            replication.corrupt,
            replication.shared_fault,
            count(k),
            count(n),
        );
        let amount = amount.min(Micros::from(cap)).in_currency(content.currency);
        (
            Some(amount),
            format!(
                "{k} of the {n} independent auditors in the Trust file agree; which ones, the issuer may have chosen"
            ),
        )
    }
}
