//! How long what callers sent is kept, and its end.

use std::collections::HashSet;

use carat_receipt::Digest;

use super::Node;
use crate::exit::Failure;
use crate::jobs;
use crate::period::Period;
use crate::planned::Planned;
use crate::planning;
use crate::problem::Problem;

/// Most openings that are erased in one tick.
const ERASE: usize = 5000;
/// Seconds between the end of an opening's time and its erasing: an upgrade that is accepted in the last moment is in the queue
/// by then, and keeps it.
const GRACE: u64 = 2;

impl Node {
    /// How long an answer's opening is kept, in seconds; `None`: until somebody erases it.
    ///
    /// # Errors
    /// The caller asks for longer than the server keeps openings, or for less than the audits need that the plan promises.
    pub(super) fn kept_for(
        &self,
        asked: Option<Period>,
        planned: Option<&Planned>,
    ) -> Result<Option<u64>, Problem> {
        let most = self.config.retention.openings;
        let Some(asked) = asked else {
            return Ok(most.map(Period::seconds));
        };
        if let Some(most) = most.filter(|most| asked > *most) {
            return Err(Problem::bad_request(format!(
                "retain = {asked}: this server keeps inputs for {most} at most"
            )));
        }
        let plan = planned.and_then(Planned::plan);
        let audits = plan
            .filter(|plan| plan.tau.0 > 0)
            .and_then(|plan| plan.window_secs);
        let proof = plan.and_then(|plan| plan.proof_within_secs);
        if let Some(needed) = audits.max(proof).filter(|needed| asked.seconds() < *needed) {
            return Err(Problem::new(
                422,
                "bad-retention",
                format!(
                    "retain = {asked}: the plan for this request promises audits or a proof, which need its input for {needed} s; \
                     ask for that long, or state less at stake"
                ),
            ));
        }
        Ok(Some(asked.seconds()))
    }

    /// Erases openings whose time is over, but for those that an accepted upgrade waits for.
    pub(super) fn sweep_openings(&self) -> Result<(), Failure> {
        let now = self.expiry()?.saturating_sub(GRACE);
        let kept = self.config.retention.openings;
        let before = kept.map(|kept| now.saturating_sub(kept.seconds()));
        if !self.store.is_due(before, now)? {
            return Ok(());
        }
        let needed: HashSet<Digest> = jobs::wanted(&self.jobs, &self.store)?;
        let count = self.store.erase_due(before, now, &needed, ERASE)?;
        if count > 0 {
            self.metrics.erased(count as u64);
            tracing::info!(count, "openings erased: their time is over");
        }
        Ok(())
    }

    /// Forgets past decisions whose time is over.
    pub(super) fn sweep_decisions(&self) -> Result<(), Failure> {
        let Some(kept) = self.config.retention.decisions else {
            return Ok(());
        };
        let before = self.expiry()?.saturating_sub(kept.seconds());
        let count = planning::forget(&self.home, before)?;
        if count > 0 {
            tracing::info!(count, "past decisions forgotten: their time is over");
        }
        Ok(())
    }
}
