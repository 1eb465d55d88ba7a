//! `carat plan`: what a policy buys for a request, and why.

use std::fmt::Write as _;
use std::path::PathBuf;

use carat_policy::cel::Value;
use carat_policy::facts::Facts;
use carat_policy::policy_file::{DEFAULT_POLICY, Policy};
use carat_receipt::{Amount, Digest};

use super::{Context, Outcome, parse};
use crate::exit::{Exit, Failure};
use crate::model::AnyModel;
use crate::output::Answer;
use crate::{planning, supply};

/// Say what a policy buys for a request: the plan, what binds it, the runner-up, and where another plan wins.
///
/// Exit status 21 where nothing that is supplied covers what is at stake; the output then says what would be enough and what
/// is covered. What is supplied stands in environment.toml of the data directory, with the calibration of the model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  carat plan --policy policy.toml --facts facts.json\n  carat plan --policy policy.toml --facts facts.json --environment environment.toml --json\n  carat plan --at-stake 30USD --model models/digits"
)]
pub(super) struct Args {
    /// The policy [default: policy.toml in the data directory, else the one that ships].
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The facts of the request, as JSON.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// What a wrong answer could cost; overrides the values of the policy's rules.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::<Amount>)]
    at_stake: Option<Amount>,
    /// What is supplied, instead of environment.toml in the data directory.
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
    /// The model, for its calibration [default: the one whose Program the fact model.program names].
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &Context) -> Outcome {
    let home = context.home().ok();
    let text = policy_text(args.policy.as_deref(), home.as_ref())?;
    let mut facts = match &args.facts {
        Some(path) => planning::read_facts(path)?,
        None => Facts::new(),
    };
    let policy = Policy::parse(&text).map_err(Failure::of(Exit::Usage))?;
    carat_node::planned::state(&mut facts, args.at_stake, &policy)?;
    let program = match &args.model {
        Some(path) => Some(AnyModel::load(path, context)?.digest),
        None => match facts.get(&["model", "program"]) {
            Some(Value::Text(text)) => text.parse::<Digest>().ok(),
            _ => None,
        },
    };
    let environment = supply::environment(
        args.environment.as_deref(),
        home.as_ref(),
        program.as_ref(),
        policy.currency,
    )?;
    let (decision, decided) = planning::decide(&text, &facts, &environment)?;
    let json = planning::json(&decision, &decided);
    let mut out = String::new();
    for line in planning::text(&decided) {
        let _ = writeln!(out, "{line}");
    }
    crate::render::list(&mut out, "Because", &decided.judged.because);
    let exit = if decided.plan.is_ok() {
        Exit::Good
    } else {
        Exit::Refused
    };
    Ok((Answer { text: out, json }, exit))
}

/// The policy in force.
pub(super) fn policy_text(
    given: Option<&std::path::Path>,
    home: Option<&crate::home::Home>,
) -> Result<String, Failure> {
    let own = home
        .map(|home| home.path("policy.toml"))
        .filter(|path| path.is_file());
    match given.map(std::path::Path::to_path_buf).or(own) {
        Some(path) => planning::read_policy(&path),
        None => Ok(DEFAULT_POLICY.to_string()),
    }
}
