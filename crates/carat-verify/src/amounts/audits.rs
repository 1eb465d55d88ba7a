//! Sampled audits: what the signed threshold is worth against what the Trust file says conviction takes.
//!
//! From the receipt comes the threshold and nothing else. Everything that could make the amount larger (bond, detection,
//! kappa, whether gains can be clawed back) is the relying party's own, and so is the time at which it acts.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use carat_policy::{Micros, Tau, good_for, rules};
use carat_receipt::Amount;

use crate::appraisal::AssumptionSet;
use crate::appraise::{BreakCost, Work};
use crate::question::UseAt;
use crate::time;
use crate::trust::{Bond, Content, Trust};

impl Work<'_> {
    /// The sets of a receipt whose Plan has an audit threshold: one against the bond alone, and where hardware attested,
    /// one in which a cheat must break that hardware as well.
    pub(super) fn audit_sets(&self, zero: Option<Amount>) -> Vec<AssumptionSet> {
        let alone = self.audit_set(zero, None);
        let attested = self
            .break_cost()
            .and_then(|broken| self.audit_set(zero, Some(&broken)));
        alone.into_iter().chain(attested).collect()
    }

    fn audit_set(
        &self,
        zero: Option<Amount>,
        broken: Option<&BreakCost<'_>>,
    ) -> Option<AssumptionSet> {
        let plan = self.file.signed.statement().optional.plan.as_ref()?;
        let tau = Tau(plan.tau);
        if tau == Tau(0) {
            return None;
        }
        let mut under: Vec<String> = ["operator-rational", "auditors", "beacon", "implementation"]
            .map(String::from)
            .into();
        under.push(format!("bond:{}", self.issuer_name()));
        under.push(format!("input:{}", self.input_from));
        if let Some(broken) = broken {
            under.extend(broken.believed.iter().cloned());
            under.push(format!("measured-code:{}", broken.platform));
        }
        let (amount, reason) = match self.audited_amount(tau, &mut under, broken) {
            Ok((amount, reason)) => (Some(amount), reason),
            Err(reason) => (zero, reason),
        };
        Some(AssumptionSet {
            rung: "audit".into(),
            amount,
            under,
            reason,
        })
    }

    fn audited_amount(
        &self,
        tau: Tau,
        under: &mut Vec<String>,
        broken: Option<&BreakCost<'_>>,
    ) -> Result<(Amount, String), String> {
        if let Some(block) = self.block_others() {
            return Err(block);
        }
        let content = self
            .trust
            .map(Trust::content)
            .ok_or("there is no usable Trust file")?;
        let audits = content
            .audits
            .as_ref()
            .ok_or("the Trust file has no [audits]: it accepts no sampled audits")?;
        let issuer = self
            .known_issuer()
            .ok_or("the issuer is not in the Trust file, so no bond of it is known")?;
        if !content
            .auditors
            .iter()
            .any(|auditor| auditor.controller.as_str() != issuer)
        {
            return Err("the Trust file names no auditor that the issuer does not control: a self-audit is worth nothing to others".into());
        }
        self.witnessed(content, issuer)?;
        let bond = self.bond(content, issuer, audits.horizon_secs())?;
        let stake = rules::stake(
            Micros::from(bond.amount),
            bond.withheld.map_or(Micros::ZERO, Micros::from),
            broken.map_or(Micros::ZERO, |broken| Micros::from(broken.cost)),
        );
        let hazard = audits.detection.hazard(tau);
        let clawback = self.question.use_at == UseAt::BeforeSettle
            && audits.clawback
            && audits.joint_forfeiture;
        let (supported, how) = if clawback {
            under.extend(["clawback", "joint-forfeiture"].map(String::from));
            let amount = good_for::audit_clawback(hazard, stake, audits.gamma);
            (
                amount,
                "you act before settlement, so gains are taken back: h S / (1 - h)",
            )
        } else {
            under.push("exposure-ledger".into());
            let open = self
                .question
                .open_exposures
                .iter()
                .filter(|(name, _)| name.as_str() == issuer)
                .map(|&(_, amount)| amount)
                .chain(self.question.open_exposure)
                .fold(Micros::ZERO, |sum, amount| sum.plus(Micros::from(amount)));
            let open = audits.gamma.times_up(open);
            let amount =
                good_for::audit_no_clawback(hazard, stake, audits.kappa, audits.gamma, open);
            (
                amount,
                "you act at once, so gains are kept: -S ln(1 - h) / eta, at most kappa S less what is open",
            )
        };
        let cap = content
            .implementation_cap
            .ok_or("the Trust file gives no cap for `implementation`")?;
        let amount = supported
            .min(Micros::from(cap))
            .in_currency(content.currency);
        let shown = carat_policy::explain::percent(hazard);
        Ok((
            amount,
            format!(
                "a wrong answer is caught with h = {shown} against a stake of {}; {how}",
                stake.in_currency(content.currency)
            ),
        ))
    }

    /// The issuer's name in the Trust file, else its own.
    fn issuer_name(&self) -> String {
        let claimed = &self.file.signed.statement().issuer;
        self.known_issuer()
            .map_or_else(|| claimed.to_string(), String::from)
    }

    /// The issuer's name in the Trust file.
    pub(crate) fn known_issuer(&self) -> Option<&str> {
        let key = &self.file.signed.statement().issuer_key;
        self.trust?
            .issuer_of(key)
            .map(|(issuer, _)| issuer.name.as_str())
    }

    /// A draw is fair only over what the log cannot take back any more.
    fn witnessed(&self, content: &Content, issuer: &str) -> Result<(), String> {
        let own = content
            .witnesses
            .iter()
            .filter(|witness| witness.controller.as_str() == issuer)
            .count() as u64;
        if content.witness_quorum <= own {
            return Err("the Trust file asks for no witness that the issuer does not control: the log could be rewritten after the draw".into());
        }
        if !self.included {
            return Err("pending: the receipt is not proved to be in a witnessed checkpoint of a log in the Trust file, so nothing draws it yet".into());
        }
        Ok(())
    }

    /// The bond that the issuer allocated to this relying party. Of several that stand, the largest: they may be one.
    ///
    /// It must outlast the time in which the audit can still convict. How long that is, the relying party says: an
    /// issuer could name a short window in its Plan, and be audited when its bond is gone. A longer one it may name.
    ///
    /// And it must have stood when the answer was given. One that comes later may come after the draw, from an issuer that
    /// knows by then which of its wrong answers nobody will look at: it has nothing to lose.
    fn bond<'t>(
        &self,
        content: &'t Content,
        issuer: &str,
        horizon: u64,
    ) -> Result<&'t Bond, String> {
        let of_issuer = || {
            content
                .bonds
                .iter()
                .filter(|bond| bond.issuer.as_str() == issuer)
        };
        if of_issuer().next().is_none() {
            return Err(format!("the Trust file knows no bond of {issuer}"));
        }
        let statement = self.file.signed.statement();
        let window = statement
            .optional
            .plan
            .as_ref()
            .and_then(|plan| plan.window)
            .unwrap_or(0)
            .max(horizon);
        // An earlier date on the Statement does not bring the draw forward: that is over what witnesses saw.
        let from = self
            .witnessed_at
            .map_or(statement.issued_at, |seen| seen.max(statement.issued_at));
        let until = self.question.now.max(from.saturating_add(window));
        // The issuer states when that was; witnesses show that it was no later than their word.
        let answered = self
            .witnessed_at
            .map_or(statement.issued_at, |seen| seen.min(statement.issued_at));
        let lasting = || of_issuer().filter(|bond| bond.expiry >= until);
        if lasting().next().is_some() && lasting().all(|bond| bond.as_of > answered) {
            return Err(format!(
                "every bond of {issuer} in the Trust file that lasts until the audit is over was confirmed (`as_of`) after this answer was given, and may have come after the draw"
            ));
        }
        lasting()
            .filter(|bond| bond.as_of <= answered)
            .max_by_key(|bond| bond.amount.micros())
            .ok_or_else(|| {
                format!("no bond of {issuer} in the Trust file stands until {}, when this receipt's audit is over", time::to_text(until.min(carat_receipt::statement::MAX_TIME)))
            })
    }
}
