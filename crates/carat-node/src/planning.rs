//! Plans and refusals as JSON and text, and the record of past decisions. Nothing is decided here.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use carat_policy::decision::{Decided, Decision, DecisionError};
use carat_policy::facts::Facts;
use carat_policy::plan::{Binding, Obstacle, SwitchPoint};
use carat_policy::{Environment, PLANNER, Plan, Refusal, Rung, explain};
use carat_receipt::Currency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::home::Home;
use crate::store::seal::{Keys, Kind};

const MAX_FACTS: u64 = carat_policy::facts::MAX_FACTS_BYTES as u64;
const MAX_POLICY: u64 = carat_policy::policy_file::MAX_POLICY_BYTES as u64;
const MAX_RECORDS: u64 = 1 << 30;
/// Name of the record of past decisions in a data directory.
pub const RECORDS: &str = "decisions.jsonl";
/// Before a decision that is sealed.
const SEALED: &str = "sealed:";
/// Held while a line is added, and while the file is replaced.
static WRITING: Mutex<()> = Mutex::new(());

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
            value["dropped"] = dropped_json(&plan.dropped, currency);
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
        "dropped": dropped_json(&refusal.dropped, currency),
    })
}

/// What was not taken, and why.
fn dropped_json(dropped: &[(Rung, Obstacle)], currency: Currency) -> Value {
    let one = |(rung, why): &(Rung, Obstacle)| json!({ "rung": rung.as_str(), "reason": explain::obstacle(why, currency) });
    dropped.iter().map(one).collect()
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
    /// With the decision sealed, where there are keys. The rest of the line, which holds no facts, stays readable.
    pub fn sealed(self, keys: Option<&Keys>) -> Result<Self, Failure> {
        let Some(keys) = keys else { return Ok(self) };
        let plain = hex::decode(&self.decision).map_err(Failure::of(Exit::Internal))?;
        let sealed = keys
            .seal(Kind::Decision, &self.place(), &plain)
            .map_err(Failure::of(Exit::Io))?;
        let decision = format!("{SEALED}{}", hex::encode(sealed));
        Ok(Self { decision, ..self })
    }

    /// With the decision in the clear.
    ///
    /// # Errors
    /// It is sealed, and with none of these keys.
    pub fn opened(self, keys: Option<&Keys>) -> Result<Self, Failure> {
        let Some(sealed) = self.decision.strip_prefix(SEALED) else {
            return Ok(self);
        };
        let Some(keys) = keys else {
            let message =
                "decisions are encrypted with the server's store key: give --store-key FILE";
            return Err(Failure::new(Exit::Usage, message));
        };
        let sealed = hex::decode(sealed).map_err(Failure::of(Exit::Store))?;
        let plain = keys
            .open(Kind::Decision, &self.place(), &sealed)
            .map_err(Failure::of(Exit::Store))?;
        let decision = hex::encode(&*plain);
        Ok(Self { decision, ..self })
    }

    fn is_sealed(&self) -> bool {
        self.decision.starts_with(SEALED)
    }

    /// What a sealed decision is bound to: its line.
    fn place(&self) -> Vec<u8> {
        let receipt = self.receipt_id.as_deref().unwrap_or("");
        format!("{}/{receipt}", self.time).into_bytes()
    }

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
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(line.as_bytes())
        .and_then(|()| if sync { file.sync_data() } else { Ok(()) })
        .map_err(failed)
}

/// Drops decisions that were made before a time, in Unix seconds; says how many.
pub fn forget(home: &Home, before: u64) -> Result<u64, Failure> {
    let path = home.path(RECORDS);
    // The file is in the order of time, but for clocks that jump: nothing is to do while its first line is young.
    let first = fs::File::open(&path).ok().and_then(|file| {
        let mut line = String::new();
        BufReader::new(file).read_line(&mut line).ok()?;
        serde_json::from_str::<Past>(&line).ok()
    });
    if first.is_none_or(|past| past.time >= before) {
        return Ok(0);
    }
    let mut dropped = 0;
    replace(home, |past| {
        let keep = past.time >= before;
        dropped += u64::from(!keep);
        Ok(keep.then_some(past))
    })?;
    Ok(dropped)
}

/// At a server's start: seals decisions that are in the clear, and with `all` those that another key sealed.
pub fn settle(home: &Home, keys: Option<&Keys>, all: bool) -> Result<(), Failure> {
    let path = home.path(RECORDS);
    let Some(keys) = keys.filter(|_| path.is_file()) else {
        return Ok(());
    };
    let plain = || -> std::io::Result<bool> {
        for line in BufReader::new(fs::File::open(&path)?).lines() {
            if serde_json::from_str::<Past>(&line?).is_ok_and(|past| !past.is_sealed()) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if !all && !plain().map_err(|error| files::io_failure("reading", &path, &error))? {
        return Ok(());
    }
    replace(home, |past| {
        past.opened(Some(keys))?.sealed(Some(keys)).map(Some)
    })
}

/// Writes the file anew, line by line. Lines that are added meanwhile are kept: the bulk is copied without the lock, the rest
/// and the renaming with it.
fn replace(
    home: &Home,
    mut change: impl FnMut(Past) -> Result<Option<Past>, Failure>,
) -> Result<(), Failure> {
    let path = home.path(RECORDS);
    let failed = |error: std::io::Error| files::io_failure("reading", &path, &error);
    let mut reader = BufReader::new(fs::File::open(&path).map_err(failed)?);
    let mut text = Vec::new();
    let mut copy = |reader: &mut BufReader<fs::File>, until: u64, text: &mut Vec<u8>| {
        let mut line = String::new();
        let mut at = reader.stream_position().map_err(failed)?;
        while at < until {
            line.clear();
            let read = reader.read_line(&mut line).map_err(failed)? as u64;
            if read == 0 || !line.ends_with('\n') {
                // Somebody writes it now: it is read again under the lock. Or a crash cut it off, and it is no decision.
                reader.seek(SeekFrom::Start(at)).map_err(failed)?;
                break;
            }
            at += read;
            let past: Past = serde_json::from_str(&line).map_err(|error| {
                Failure::new(Exit::Store, format!("{}: {error}", path.display()))
            })?;
            if let Some(past) = change(past)? {
                serde_json::to_writer(&mut *text, &past).map_err(Failure::of(Exit::Internal))?;
                text.push(b'\n');
            }
        }
        Ok::<(), Failure>(())
    };
    let length = |reader: &BufReader<fs::File>| {
        let about = reader.get_ref().metadata().map_err(failed)?;
        Ok::<u64, Failure>(about.len())
    };
    let bulk = length(&reader)?;
    copy(&mut reader, bulk, &mut text)?;
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let rest = length(&reader)?;
    copy(&mut reader, rest, &mut text)?;
    files::write_atomic(&path, &text, files::Mode::Private)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn home(times: &[u64]) -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home::at(dir.path().to_path_buf());
        for time in times {
            let past = Past {
                time: *time,
                receipt_id: Some(format!("receipt of {time}")),
                served: true,
                decision: hex::encode(format!("facts of {time}")),
                rung: None,
                tau: None,
            };
            remember_unsynced(&home, &past).expect("written");
        }
        (dir, home)
    }

    fn times(home: &Home) -> Vec<u64> {
        let past = past(home.root()).expect("read");
        past.iter().map(|past| past.time).collect()
    }

    #[test]
    fn decisions_are_forgotten_by_their_time() {
        let (_dir, home) = home(&[10, 30, 20, 40]);
        assert_eq!(forget(&home, 10).expect("nothing to do"), 0);
        assert_eq!(forget(&home, 25).expect("forgotten"), 2);
        assert_eq!(times(&home), [30, 40]);
        assert_eq!(forget(&home, 1000).expect("forgotten"), 2);
        assert!(times(&home).is_empty());
        assert_eq!(forget(&home, 1000).expect("nothing to do"), 0);
    }

    #[test]
    fn decisions_are_sealed_with_their_line() {
        let (_dir, home) = home(&[10, 20]);
        let path = home.path(RECORDS);
        // A crash cut off the last line.
        let mut text = fs::read_to_string(&path).expect("read");
        text.push_str("{\"time\": 3");
        fs::write(&path, text).expect("write");
        let (old, new) = (Keys::new(&[1; 32], &[]), Keys::new(&[2; 32], &[[1; 32]]));
        let all = |keys: &Keys| -> Vec<String> {
            let past = past(home.root()).expect("read").into_iter();
            past.map(|past| past.opened(Some(keys)).expect("opens").decision)
                .collect()
        };
        let before = all(&old);
        settle(&home, None, true).expect("nothing to do");
        settle(&home, Some(&old), false).expect("sealed");
        let text = fs::read_to_string(&path).expect("read");
        assert!(!text.contains(&hex::encode("facts")), "{text}");
        assert_eq!(all(&old), before);
        // Once is enough; with another key it is done again.
        settle(&home, Some(&new), false).expect("nothing to do");
        assert_eq!(fs::read_to_string(&path).expect("read"), text);
        settle(&home, Some(&new), true).expect("sealed again");
        let alone = Keys::new(&[2; 32], &[]);
        assert_eq!(all(&alone), before);
        // Not without a key, nor in another line's place.
        let mut sealed = past(home.root()).expect("read");
        assert!(sealed[0].clone().opened(None).is_err());
        let moved = sealed[1].decision.clone();
        sealed[0].decision = moved;
        assert!(sealed[0].clone().opened(Some(&alone)).is_err());
    }
}
