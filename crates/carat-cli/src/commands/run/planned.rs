//! The decision behind a run: what the command line and the data directory say goes into it.

use carat_node::planned::{self, Planned};
use carat_policy::cel::Value;
use carat_policy::facts::Facts;
use carat_policy::policy_file::{Mode, Policy};

use super::Args;
use crate::commands::plan as plan_command;
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::model::{AnyModel, Tensors};
use crate::output::{self, Progress};
use crate::planning;
use crate::supply;

/// Decides, where there is something to decide with: a policy, facts, an impact level or an amount at stake.
pub(super) fn decide(
    args: &Args,
    home: &Home,
    model: &AnyModel,
    inputs: &Tensors,
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
    if let Some(impact) = args.impact {
        facts.set(&["request", "impact"], Value::Text(impact.as_str().into()));
    }
    planned::complete(&mut facts, &model.identity()?, args.at_stake, &policy)?;
    let mut proving = supply::record(home, &model.digest, "prove")?;
    // A float program has no proofs to measure.
    if let (None, Ok(model)) = (&proving, model.integer()) {
        let progress = Progress::start(format!("measuring the proof of {}", model.name));
        proving = supply::calibrate_proof(home, model, inputs.integers()?, &progress)?;
    }
    let environment = supply::environment(
        args.environment.as_deref(),
        Some(home),
        Some(&model.digest),
        policy.currency,
    )?;
    let environment = supply::only_real(environment, proving.as_ref());
    let planned = planned::weigh(&policy, &facts, &environment);
    match planned.refused() {
        Some(why) if policy.mode == Mode::Enforce => {
            // A refusal is a decision too, and backtests want it.
            planned.remember(home, None)?;
            Err(Failure::new(Exit::Refused, &why.message))
        }
        Some(why) if policy.mode == Mode::Warn => {
            output::complain(&format!(
                "carat: served although the policy would refuse it (mode warn): {}",
                why.message
            ));
            Ok(Some(planned))
        }
        _ => Ok(Some(planned)),
    }
}
