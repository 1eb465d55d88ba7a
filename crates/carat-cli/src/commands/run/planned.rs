//! The decision behind a run: which policy, which facts, what is supplied here, and what that buys.

use carat_policy::cel::Value;
use carat_policy::decision::{Decided, Decision};
use carat_policy::facts::Facts;
use carat_policy::policy_file::{Mode, Policy};
use carat_policy::{PLANNER, Plan, Rung};
use carat_program::Tensor;
use carat_receipt::statement::Optional;
use carat_receipt::{Digest, Label, Opened, Role, Salt};

use super::Args;
use crate::commands::plan as plan_command;
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::model::Model;
use crate::output;
use crate::planning::{self, Past};
use crate::supply;

/// A decision, and whether it is carried out.
pub(super) struct Planned {
    decision: Decision,
    decided: Option<Decided>,
    mode: Mode,
}

/// Decides, where there is something to decide with: a policy, facts, an impact level or an amount at stake.
pub(super) fn decide(
    args: &Args,
    home: &Home,
    model: &Model,
    inputs: &[Tensor],
) -> Result<Option<Planned>, Failure> {
    if supply::record(home, &model.digest, "execute")?.is_none() {
        supply::calibrate(home, model, inputs)?;
    }
    let stated = args.at_stake.filter(|amount| !amount.is_zero());
    let own_policy = home.path("policy.toml").is_file();
    if args.policy.is_none()
        && args.facts.is_none()
        && args.impact.is_none()
        && stated.is_none()
        && !own_policy
    {
        return Ok(None);
    }
    let text = plan_command::policy_text(args.policy.as_deref(), Some(home))?;
    let policy = Policy::parse(&text).map_err(Failure::of(Exit::Usage))?;
    let mut facts = match &args.facts {
        Some(path) => planning::read_facts(path)?,
        None => Facts::new(),
    };
    // What ran is not for the caller to say.
    for (name, value) in [
        ("name", model.name.to_string()),
        ("version", model.version.to_string()),
        ("program", model.digest.to_string()),
    ] {
        facts.set(&["model", name], Value::Text(value));
    }
    if let Some(impact) = args.impact {
        facts.set(&["request", "impact"], Value::Text(impact.as_str().into()));
    }
    // An amount of zero that was stated is a statement too.
    plan_command::state(&mut facts, args.at_stake, &policy)?;
    let mut proving = supply::record(home, &model.digest, "prove")?;
    if proving.is_none() {
        proving = supply::calibrate_proof(home, model, inputs)?;
    }
    let environment = supply::environment(
        args.environment.as_deref(),
        Some(home),
        Some(&model.digest),
        policy.currency,
    )?;
    let environment = supply::only_real(environment, proving.as_ref());
    let decision = Decision::new(&text, &facts, &environment);
    let (decided, refused) = match decision.make() {
        Ok(decided) => {
            let refused = decided
                .plan
                .is_err()
                .then(|| planning::text(&decided).join("\n  "));
            (Some(decided), refused)
        }
        Err(error) => (None, Some(planning::failure(error).message)),
    };
    let planned = Planned {
        decision,
        decided,
        mode: policy.mode,
    };
    match refused {
        Some(why) if policy.mode == Mode::Enforce => {
            // A refusal is a decision too, and backtests want it.
            planned.remember(home, None)?;
            Err(Failure::new(Exit::Refused, why))
        }
        Some(why) if policy.mode == Mode::Warn => {
            output::complain(&format!(
                "carat: served although the policy would refuse it (mode warn): {why}"
            ));
            Ok(Some(planned))
        }
        _ => Ok(Some(planned)),
    }
}

impl Planned {
    /// The plan that is carried out. None in shadow mode, and where a refusal was only a warning.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self.mode {
            Mode::Shadow => None,
            Mode::Enforce | Mode::Warn => self.decided.as_ref()?.plan.as_ref().ok(),
        }
    }

    /// Whether the plan is a proof together with the answer.
    pub(super) fn proves(&self) -> bool {
        self.plan().is_some_and(|plan| plan.rung == Rung::Zk)
    }

    /// Puts plan, digests and the salted commitment to the facts into a Statement; gives what opens the commitment.
    pub(super) fn state(
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

    /// Keeps the decision for backtests; in shadow mode this is where the difference is recorded.
    pub(super) fn remember(&self, home: &Home, receipt: Option<&Digest>) -> Result<(), Failure> {
        let plan = self
            .decided
            .as_ref()
            .and_then(|decided| decided.plan.as_ref().ok());
        planning::remember(
            home,
            &Past {
                time: crate::home::clock()?,
                receipt_id: receipt.map(ToString::to_string),
                served: receipt.is_some(),
                decision: hex::encode(self.decision.encode()),
                rung: plan.map(|plan| plan.rung.as_str().to_string()),
                tau: plan.map(|plan| plan.tau.0),
            },
        )
    }

    /// For `--json`.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.decided {
            Some(decided) => planning::json(&self.decision, decided),
            None => serde_json::Value::Null,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> Vec<String> {
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
