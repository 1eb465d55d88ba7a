//! Plans and refusals as JSON and text, and the record of past decisions. Nothing is decided here.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use carat_policy::decision::{Decided, Decision, DecisionError};
use carat_policy::facts::Facts;
use carat_policy::plan::{Binding, SwitchPoint};
use carat_policy::{Environment, PLANNER, Plan, Refusal, explain};
use carat_receipt::Currency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::Home;

const MAX_FACTS: u64 = carat_policy::facts::MAX_FACTS_BYTES as u64;
const MAX_POLICY: u64 = carat_policy::policy_file::MAX_POLICY_BYTES as u64;
const MAX_RECORDS: u64 = 1 << 30;
/// Name of the record of past decisions in a data directory.
pub const RECORDS: &str = "decisions.jsonl";

/// Reads the text of a policy file.
pub fn read_policy(path: &Path) -> Result<String, Failure> {
    files::read_text(path, "a policy file", MAX_POLICY)
}

/// Reads facts.
pub fn read_facts(path: &Path) -> Result<Facts, Failure> {
    let text = files::read_text(path, "facts", MAX_FACTS)?;
    Facts::from_json(&text)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
}

/// Makes a decision. What the policy cannot judge is refused; a policy or facts that cannot be read are the caller's fault.
pub fn decide(
    policy: &str,
    facts: &Facts,
    environment: &Environment,
) -> Result<(Decision, Decided), Failure> {
    let decision = Decision::new(policy, facts, environment);
    let decided = decision.make().map_err(failure)?;
    Ok((decision, decided))
}

/// The failure that goes with a decision that cannot be made.
pub fn failure(error: DecisionError) -> Failure {
    let exit = match &error {
        DecisionError::Unjudged(_) => Exit::Refused,
        _ => Exit::Usage,
    };
    Failure::new(exit, error)
}

/// What `carat plan --json` prints.
pub fn json(decision: &Decision, decided: &Decided) -> Value {
    let judged = &decided.judged;
    let currency = judged.consequence.currency;
    let mut value = json!({
        "value": explain::amount(judged.consequence.value, currency),
        "because": judged.because,
        "explanation": text(decided),
        "planner": PLANNER,
        "policy_digest": decision.policy_digest(),
        "environment_digest": decision.environment_digest(),
    });
    match &decided.plan {
        Ok(plan) => {
            value["plan"] = plan_json(plan, currency);
            value["binding"] = json!({
                "kind": binding_kind(&plan.binding),
                "text": explain::binding(&plan.binding, &judged.consequence, &decided.environment),
            });
            value["runner_up"] = plan.runner_up.as_ref().map_or(Value::Null, |other| {
                json!({ "rung": other.rung.as_str(), "price": other.price.show(currency).to_string() })
            });
            value["switch_points"] = plan
                .switch_points
                .iter()
                .map(|point| switch_json(point, currency))
                .collect();
            value["good_for"] =
                json!({ "amount": explain::amount(plan.good_for, currency), "under": plan.under });
        }
        Err(refusal) => value["refusal"] = refusal_json(refusal, currency),
    }
    value
}

/// A plan.
pub fn plan_json(plan: &Plan, currency: Currency) -> Value {
    json!({
        "rung": plan.rung.as_str(),
        "tau": plan.tau.0,
        "audit_probability": plan.tau.probability().to_f64(),
        "hazard": plan.hazard.to_f64(),
        "replicas": plan.replicas,
        "timing": carat_policy::consequence::timing_name(plan.timing),
        "window_seconds": plan.window_secs,
        "bond": plan.bond,
        "proof_within_seconds": plan.proof_within_secs,
        "price": plan.price.show(currency).to_string(),
        "latency_micros": plan.latency_micros,
    })
}

fn refusal_json(refusal: &Refusal, currency: Currency) -> Value {
    json!({
        "value": explain::amount(refusal.value, currency),
        "sufficient": refusal.sufficient.as_ref().map(|other| {
            json!({ "rung": other.rung.as_str(), "price": other.price.show(currency).to_string() })
        }),
        "covered": refusal.covered.map(|(value, rung)| {
            json!({ "amount": explain::amount(value, currency), "rung": rung.as_str() })
        }),
        "dropped": refusal.dropped.iter().map(|(rung, why)| {
            json!({ "rung": rung.as_str(), "reason": explain::obstacle(why, currency) })
        }).collect::<Vec<_>>(),
    })
}

fn binding_kind(binding: &Binding) -> &'static str {
    match binding {
        Binding::NothingAtStake => "nothing-at-stake",
        Binding::Floor => "floor",
        Binding::Rule(rule) => rule.as_str(),
        Binding::Replicas => "T7",
        Binding::Price => "price",
        Binding::Instead(..) => "kept-out",
    }
}

fn switch_json(point: &SwitchPoint, currency: Currency) -> Value {
    let text = explain::switch_point(point, currency);
    match point {
        SwitchPoint::Above { value, rung, price } => json!({
            "kind": "above",
            "value": explain::amount(*value, currency),
            "rung": rung.map(|rung| rung.as_str()),
            "price": price.map(|price| price.show(currency).to_string()),
            "text": text,
        }),
        SwitchPoint::UpTo { value, rung } => {
            json!({ "kind": "up-to", "value": explain::amount(*value, currency), "rung": rung.as_str(), "text": text })
        }
        SwitchPoint::WithBond { bond, tau } => json!({
            "kind": "with-bond",
            "bond": explain::amount(*bond, currency),
            "audit_probability": tau.probability().to_f64(),
            "text": text,
        }),
        SwitchPoint::WithDeadline {
            micros,
            rung,
            price,
        } => json!({
            "kind": "with-deadline",
            "deadline_micros": micros,
            "rung": rung.as_str(),
            "price": price.show(currency).to_string(),
            "text": text,
        }),
    }
}

/// A decision in sentences.
pub fn text(decided: &Decided) -> Vec<String> {
    let judged = &decided.judged;
    match &decided.plan {
        Ok(plan) => explain::plan(plan, &judged.consequence, &decided.environment),
        Err(refusal) => explain::refusal(refusal, judged.consequence.currency),
    }
}

/// A past decision, as it is kept for backtests. Facts are in it: the file is its owner's alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Past {
    /// Unix seconds.
    pub time: u64,
    /// The receipt, where one was issued.
    pub receipt_id: Option<String>,
    /// Whether the request was served although nothing covered it (modes warn and shadow).
    pub served: bool,
    /// The record that the Statement commits to, in hexadecimal.
    pub decision: String,
    /// The rung that was bought.
    pub rung: Option<String>,
    /// The threshold that was signed.
    pub tau: Option<u64>,
}

impl Past {
    /// The record.
    pub fn decision(&self) -> Option<Decision> {
        Decision::decode(&hex::decode(&self.decision).ok()?).ok()
    }
}

/// Keeps a decision.
pub fn remember(home: &Home, past: &Past) -> Result<(), Failure> {
    append(home, past, true)
}

/// Keeps a decision as long as the system runs on: for servers, whose receipts do not rest on it.
pub fn remember_unsynced(home: &Home, past: &Past) -> Result<(), Failure> {
    append(home, past, false)
}

fn append(home: &Home, past: &Past, sync: bool) -> Result<(), Failure> {
    home.make()?;
    let path = home.path(RECORDS);
    let failed = |error: std::io::Error| files::io_failure("writing", &path, &error);
    let mut line = serde_json::to_string(past).map_err(Failure::of(Exit::Internal))?;
    line.push('\n');
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&path).map_err(failed)?;
    // One write: lines of several threads do not mix.
    file.write_all(line.as_bytes())
        .and_then(|()| if sync { file.sync_data() } else { Ok(()) })
        .map_err(failed)
}

/// Whether there are past decisions in a data directory.
pub fn kept(home: &Home) -> bool {
    home.path(RECORDS).is_file()
}

/// Past decisions of a data directory or of the log in it. A last line that was cut off is passed over.
pub fn past(dir: &Path) -> Result<Vec<Past>, Failure> {
    let beside = dir.parent().map(|parent| parent.join(RECORDS));
    let path: Option<PathBuf> = [Some(dir.join(RECORDS)), beside]
        .into_iter()
        .flatten()
        .find(|path| path.is_file());
    let Some(path) = path else {
        let message = format!(
            "{} holds no decisions: there are some after carat run with a policy or --at-stake",
            dir.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    };
    let text = files::read_text(&path, "past decisions", MAX_RECORDS)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(past) => found.push(past),
            Err(_) if i + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(error) => {
                return Err(Failure::new(
                    Exit::Store,
                    format!("{}, line {}: {error}", path.display(), i + 1),
                ));
            }
        }
    }
    Ok(found)
}
