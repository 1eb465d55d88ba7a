//! What the policy in force says about a request, before it is run: also for whoever only wants to know.

use carat_policy::policy_file::Mode;
use carat_policy::{Environment, Price};
use carat_receipt::Digest;

use super::{Node, now};
use crate::call::Call;
use crate::exit::{Exit, Failure};
use crate::planned::{self, Planned};
use crate::planning;
use crate::problem::Problem;
use crate::spending::{Over, Reserved};

/// What the policy says about a request.
pub(crate) struct Weighed {
    /// The decision.
    pub(crate) planned: Planned,
    reserved: Reserved,
    /// The budget that has too little left for the cheapest sufficient plan.
    over: Option<Box<Over>>,
}

impl Weighed {
    /// What the caller is told where the request is refused: the decision is in it. `None`: it is served.
    pub(crate) fn problem(&self, now: u64) -> Option<Problem> {
        let why = self.planned.refused()?;
        if self.planned.mode() != Mode::Enforce {
            return None;
        }
        let mut problem = Problem::from(Failure::new(why.exit, &why.message));
        let mut decision = self.planned.json();
        if let Some(over) = &self.over {
            problem.kind = "budget";
            problem.detail = format!("{}\n  {}", over.text(), problem.detail);
            problem.retry_after = Some(over.resets_at.saturating_sub(now));
            decision["budget"] = over.json();
        }
        problem.extra = Some(Box::new(decision));
        Some(problem)
    }
}

impl Node {
    /// As [`Node::decide`], traced.
    pub(super) fn planned(&self, call: &Call) -> Result<Option<(Planned, Reserved)>, Problem> {
        let mut span = self.span("plan");
        let decided = self.decide(call);
        match &decided {
            Ok(planned) => {
                let plan = planned.as_ref().and_then(|(planned, _)| planned.plan());
                span.set("carat.rung", plan.map_or("none", |plan| plan.rung.as_str()));
            }
            Err(problem) => span.fail(problem.kind),
        }
        decided
    }

    /// What would be bought for a request now. Nothing is kept, counted or set aside; `None`: nobody states anything.
    pub(crate) fn preview(&self, call: &Call) -> Result<Option<Weighed>, Problem> {
        self.weigh(call)
    }

    /// The policy in force on a request, with the money that is set aside for its plan until it is dropped.
    fn weigh(&self, call: &Call) -> Result<Option<Weighed>, Problem> {
        let rules = self.rules.now();
        if !rules.own && !call.states {
            return Ok(None);
        }
        let digest = call.model.model.digest;
        let environment = rules.environment(&digest).ok_or_else(|| {
            Failure::new(Exit::Internal, "no environment for a model that is served")
        })?;
        let mut with_enclave;
        let environment = if environment.enclave.is_some() {
            with_enclave = environment.clone();
            self.attesting.supply(&mut with_enclave);
            &with_enclave
        } else {
            environment
        };
        let mut facts = call.facts.clone();
        self.config
            .state_facts(&mut facts, &call.tenant, &call.model);
        planned::complete(
            &mut facts,
            &call.model.model.identity()?,
            call.at_stake,
            &rules.policy,
        )?;
        let mut planned = planned::weigh(&rules.policy, &facts, environment);
        let price = planned.plan().map_or(Price::ZERO, |plan| plan.price);
        let now = now()?;
        let (reserved, over) = match self.spending.reserve(&call.tenant, price, false, now) {
            Ok(reserved) => (reserved, None),
            Err(over) => {
                // The cheapest sufficient plan is dearer than what is left, so this refuses, and says what is covered.
                let environment = Environment {
                    spendable: Some(over.left),
                    ..environment.clone()
                };
                planned = planned::weigh(&rules.policy, &facts, &environment);
                (Reserved::nothing(), Some(over))
            }
        };
        Ok(Some(Weighed {
            planned,
            reserved,
            over,
        }))
    }

    /// What the policy in force says about a request, and the money that is set aside for it.
    fn decide(&self, call: &Call) -> Result<Option<(Planned, Reserved)>, Problem> {
        let Some(weighed) = self.weigh(call)? else {
            return Ok(None);
        };
        if let Some(problem) = weighed.problem(now()?) {
            self.metrics.refusal();
            // A refusal is a decision too, and backtests want it.
            self.remember(&weighed.planned, None, now()?)?;
            return Err(problem);
        }
        let Weighed {
            planned, reserved, ..
        } = weighed;
        if let Some(why) = planned.refused() {
            tracing::warn!(mode = ?planned.mode(), "served although the policy would refuse it: {}", why.message);
        }
        Ok(Some((planned, reserved)))
    }

    /// Keeps a decision for backtests. Whether it is lost with the power does not matter to any receipt: the opening has it too.
    pub(super) fn remember(
        &self,
        planned: &Planned,
        id: Option<&Digest>,
        now: u64,
    ) -> Result<(), Problem> {
        let past = planned.past(now, id).sealed(self.store_keys.as_deref())?;
        planning::remember_unsynced(&self.home, &past).map_err(Problem::from)
    }
}
