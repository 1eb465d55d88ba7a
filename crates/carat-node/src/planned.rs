//! The decision behind a run: the policy applied to the facts of a request and to what is supplied here.

use carat_policy::cel::Value;
use carat_policy::decision::{Decided, Decision};
use carat_policy::environment::Environment;
use carat_policy::facts::Facts;
use carat_policy::policy_file::{Mode, Policy};
use carat_policy::{Micros, PLANNER, Plan, Refusal, Rung};
use carat_receipt::statement::Optional;
use carat_receipt::{Amount, Digest, Label, Opened, Role, Salt};

use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::issue::Identity;
use crate::planning::{self, Past};

/// A decision, and whether it is carried out.
pub struct Planned {
    decision: Decision,
    decided: Option<Decided>,
    refused: Option<Failure>,
    mode: Mode,
}

/// Puts into the facts what the caller may not say itself, and the amount that it states.
pub fn complete(
    facts: &mut Facts,
    model: &Identity<'_>,
    at_stake: Option<Amount>,
    policy: &Policy,
) -> Result<(), Failure> {
    // What ran is not for the caller to say.
    for (name, value) in [
        ("name", model.name.to_string()),
        ("version", model.version.to_string()),
        ("program", model.program.to_string()),
    ] {
        facts.set(&["model", name], Value::Text(value));
    }
    state(facts, at_stake, policy)
}

/// Puts a stated amount into the facts. An amount of zero that was stated is a statement too.
pub fn state(facts: &mut Facts, stated: Option<Amount>, policy: &Policy) -> Result<(), Failure> {
    let Some(amount) = stated else { return Ok(()) };
    if amount.currency() != policy.currency {
        let message = format!(
            "the amount is in {}, the policy in {}; state it in {1}",
            amount.currency(),
            policy.currency
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    facts.at_stake = Some(Micros::from(amount));
    Ok(())
}

/// Decides.
pub fn weigh(policy: &Policy, facts: &Facts, environment: &Environment) -> Planned {
    let decision = Decision::new(policy.text(), facts, environment);
    let (decided, refused) = match decision.make() {
        Ok(decided) => {
            let refused = decided
                .plan
                .is_err()
                .then(|| Failure::new(Exit::Refused, planning::text(&decided).join("\n  ")));
            (Some(decided), refused)
        }
        Err(error) => (None, Some(planning::failure(error))),
    };
    Planned {
        decision,
        decided,
        refused,
        mode: policy.mode,
    }
}

impl Planned {
    /// Why nothing was bought, where nothing was; in modes warn and shadow the request is served all the same.
    pub fn refused(&self) -> Option<&Failure> {
        self.refused.as_ref()
    }

    /// The planner's refusal, where the policy could judge the request.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.decided.as_ref()?.plan.as_ref().err()
    }

    /// What happens on a refusal.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The plan that is carried out. None in shadow mode, and where a refusal was only a warning.
    pub fn plan(&self) -> Option<&Plan> {
        match self.mode {
            Mode::Shadow => None,
            Mode::Enforce | Mode::Warn => self.decided.as_ref()?.plan.as_ref().ok(),
        }
    }

    /// Whether the plan is a proof together with the answer.
    pub fn proves(&self) -> bool {
        self.buys(Rung::Zk)
    }

    /// Whether that rung is bought.
    pub fn buys(&self, rung: Rung) -> bool {
        self.plan().is_some_and(|plan| plan.rung == rung)
    }

    /// Puts plan, digests and the salted commitment to the facts into a Statement; gives what opens the commitment.
    pub fn state(
        &self,
        optional: &mut Optional,
        issued_at: u64,
        salt: Salt,
    ) -> Result<Option<Opened>, Failure> {
        let Some(plan) = self.plan() else {
            return Ok(None);
        };
        let opened = Opened::new(salt, self.decision.encode());
        optional.plan = Some(
            plan.to_statement(issued_at)
                .map_err(Failure::of(Exit::Internal))?,
        );
        optional.policy = Some(self.decision.policy_digest());
        optional.environment = Some(self.decision.environment_digest());
        optional.planner = Some(Label::new(PLANNER).map_err(Failure::of(Exit::Internal))?);
        optional.facts = Some(opened.commitment(Role::Facts));
        Ok(Some(opened))
    }

    /// The decision as it is kept for backtests; in shadow mode this is where the difference is recorded.
    pub fn past(&self, time: u64, receipt: Option<&Digest>) -> Past {
        let plan = self
            .decided
            .as_ref()
            .and_then(|decided| decided.plan.as_ref().ok());
        Past {
            time,
            receipt_id: receipt.map(ToString::to_string),
            served: receipt.is_some(),
            decision: hex::encode(self.decision.encode()),
            rung: plan.map(|plan| plan.rung.as_str().to_string()),
            tau: plan.map(|plan| plan.tau.0),
        }
    }

    /// Keeps the decision in the data directory.
    pub fn remember(&self, home: &Home, receipt: Option<&Digest>) -> Result<(), Failure> {
        planning::remember(home, &self.past(crate::home::clock()?, receipt))
    }

    /// For `--json`.
    pub fn json(&self) -> serde_json::Value {
        match &self.decided {
            Some(decided) => planning::json(&self.decision, decided),
            // The policy does not say what is at stake: there is nothing to plan for, and the reason says what to do.
            None => serde_json::json!({
                "refusal": { "reason": self.refused.as_ref().map(|why| &why.message) },
                "policy_digest": self.decision.policy_digest(),
            }),
        }
    }

    /// For people.
    pub fn text(&self) -> Vec<String> {
        let mut lines = self
            .decided
            .as_ref()
            .map(planning::text)
            .unwrap_or_default();
        if self.mode == Mode::Shadow {
            lines.insert(
                0,
                "mode shadow: the plan below is recorded and not carried out".into(),
            );
        }
        lines
    }
}
