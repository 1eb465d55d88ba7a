//! The policy file: TOML with CEL expressions. Rules state consequence; mechanism appears only as `require` and `forbid`.
//!
//! Strictest wins: of all rules that match a request the largest value, the strictest timing, the shortest deadline and the
//! smallest budget hold, and every requirement and every prohibition. No rule lowers what another demands, so adding one
//! never makes a plan cheaper. The schema is in `docs/policy.md`.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use carat_receipt::{Currency, Digest};

use crate::cel::{Expression, Outcome, Type, Types, Value};
use crate::consequence::{AtomPattern, Consequence, Demand, Timing, strictness};
use crate::facts::Facts;
use crate::money::{Factor, Micros, Price};
use crate::plan::Level;
use crate::probability::Fraction;

mod check;
mod read;

pub use check::{Finding, Severity};

/// Largest policy file in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most rules in each list.
pub const MAX_RULES: usize = 1024;
/// Domain of policy digests.
pub const POLICY_DOMAIN: &str = "carat/policy/v1";
/// The policy that ships.
pub const DEFAULT_POLICY: &str = include_str!("../policies/default.toml");

/// A policy file that was read and whose types were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    text: String,
    /// The one currency of all its amounts.
    pub currency: Currency,
    /// What happens on a refusal.
    pub mode: Mode,
    /// Tolerated expected loss for one request.
    pub epsilon: Micros,
    /// Floor on audits.
    pub p_min: Fraction,
    /// Gain to a cheat as a multiple of the value.
    pub gamma: Factor,
    /// Total undetected loss that is tolerated without a bond (T4).
    pub loss_cap: Option<Micros>,
    /// Timing of a stated `at_stake` where no rule that puts anything at stake matches.
    pub timing: Timing,
    /// What a fact that is not there does to a rule that reads it.
    pub absent: Absent,
    /// Amounts of the impact levels low, moderate, high.
    pub impact: [Option<Micros>; 3],
    consequences: Vec<Rule>,
    requires: Vec<Check<Level>>,
    forbids: Vec<Check<AtomPattern>>,
    types: Types,
}

/// What happens on a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The request is not served.
    Enforce,
    /// It is served, with a warning.
    Warn,
    /// It is served as if there were no policy; differences are recorded.
    Shadow,
}

/// What a fact that is not there does to a rule that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The rule applies: leaving a fact out never lowers a demand. The default.
    Strict,
    /// The rule does not apply.
    NoMatch,
}

/// The impact levels, for people who cannot name a number (the words of FIPS 199).
pub const IMPACTS: [&str; 3] = ["low", "moderate", "high"];

/// A rule that states a consequence.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    name: String,
    when: Placed<Expression>,
    value: Option<Placed<Expression>>,
    impact: Option<usize>,
    max: Option<Micros>,
    timing: Timing,
    irreversible: bool,
    deadline_micros: Option<u64>,
    budget: Option<Price>,
}

/// A rule that demands something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check<T> {
    what: T,
    when: Placed<Expression>,
    by: String,
}

/// Something and the line where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed<T> {
    is: T,
    line: usize,
    column: usize,
}

/// A policy file is not usable. Its author is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// The policy does not say what is at stake for these facts. Fails closed: the request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unjudged {
    /// No rule matches and nothing was stated to be at stake.
    #[error(
        "no rule of the policy says what is at stake for this request; add a rule with when = 'true', or state the amount"
    )]
    NoRule,
    /// A fact that a rule needs is not there or is of another type.
    #[error("line {line}, {rule}: {reason}")]
    Rule {
        /// Line of the expression.
        line: usize,
        /// The rule.
        rule: String,
        /// Why it cannot be computed.
        reason: String,
    },
}

/// What a policy says about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The strictest of all that matched.
    pub consequence: Consequence,
    /// The rules that matched, in sentences.
    pub because: Vec<String>,
    /// What happens on a refusal.
    pub mode: Mode,
}

/// Names a policy by its text.
pub fn digest(text: &str) -> Digest {
    Digest::of(POLICY_DOMAIN, &[text.as_bytes()])
}

impl Policy {
    /// Reads a policy file and checks the types of its expressions.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        read::parse(text)
    }

    /// The text, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names the policy: the digest that Statements carry.
    pub fn digest(&self) -> Digest {
        digest(&self.text)
    }

    /// The facts that its expressions read, with the type of each.
    pub fn facts(&self) -> impl Iterator<Item = (String, &Type)> {
        self.types
            .iter()
            .map(|(path, of)| (crate::cel::join(path), of))
    }

    /// What the policy says about a request.
    ///
    /// # Errors
    /// [`Unjudged`] where it does not say what is at stake, or a fact that it needs is missing or of another type.
    pub fn judge(&self, facts: &Facts) -> Result<Judged, Unjudged> {
        let tree = facts.value();
        let mut consequence = Consequence::new(self.currency, Micros::ZERO, Timing::BeforeSettle);
        consequence.gamma = self.gamma;
        consequence.epsilon = self.epsilon;
        consequence.p_min = self.p_min;
        consequence.loss_cap = self.loss_cap;
        let mut because = Vec::new();
        let (mut matched, mut valued) = (false, false);
        for rule in &self.consequences {
            let Some(note) = self.applies(&rule.when, &rule.name, &tree)? else {
                continue;
            };
            let value = self.value(rule, facts, &tree)?;
            matched = true;
            valued |= value > Micros::ZERO;
            consequence.value = consequence.value.max(value);
            if strictness(rule.timing) > strictness(consequence.timing) {
                consequence.timing = rule.timing;
            }
            consequence.irreversible |= rule.irreversible;
            consequence.deadline_micros = least(consequence.deadline_micros, rule.deadline_micros);
            consequence.budget = least(consequence.budget, rule.budget);
            because.push(format!(
                "{} (line {}): value {}, {}{}{note}",
                rule.name,
                rule.when.line,
                crate::explain::amount(value, self.currency),
                crate::consequence::timing_name(rule.timing),
                if rule.irreversible {
                    ", irreversible"
                } else {
                    ""
                }
            ));
        }
        if let Some(stated) = facts.at_stake {
            // Rules that put nothing at stake did not have this amount in mind.
            if !valued && strictness(self.timing) > strictness(consequence.timing) {
                consequence.timing = self.timing;
            }
            let shown = crate::explain::amount(stated, self.currency);
            because.push(if matched && stated < consequence.value {
                let rules = crate::explain::amount(consequence.value, self.currency);
                format!("stated to be at stake: {shown}, which overrides the {rules} of the rules")
            } else {
                format!("stated to be at stake: {shown}")
            });
            consequence.value = stated;
        } else if !matched {
            return Err(Unjudged::NoRule);
        }
        for check in &self.requires {
            if let Some(note) = self.applies(&check.when, &check.by, &tree)? {
                because.push(format!(
                    "{} (line {}): requires {}{note}",
                    check.by,
                    check.when.line,
                    check.what.as_str()
                ));
                consequence.require.push(Demand {
                    what: check.what,
                    by: check.named(),
                });
            }
        }
        for check in &self.forbids {
            if let Some(note) = self.applies(&check.when, &check.by, &tree)? {
                because.push(format!(
                    "{} (line {}): forbids {}{note}",
                    check.by,
                    check.when.line,
                    check.what.as_str()
                ));
                consequence.forbid.push(Demand {
                    what: check.what.clone(),
                    by: check.named(),
                });
            }
        }
        Ok(Judged {
            consequence,
            because,
            mode: self.mode,
        })
    }

    /// Whether a rule applies: a note for the explanation, or nothing.
    fn applies(
        &self,
        when: &Placed<Expression>,
        rule: &str,
        tree: &Value,
    ) -> Result<Option<String>, Unjudged> {
        match when.is.evaluate(tree, &self.types) {
            Outcome::Value(Value::Bool(true)) => Ok(Some(String::new())),
            Outcome::Value(_) => Ok(None),
            Outcome::Absent(fact) => Ok(match self.absent {
                Absent::Strict => Some(format!("; applies because the fact {fact} is missing")),
                Absent::NoMatch => None,
            }),
            Outcome::Error(error) => Err(Unjudged::Rule {
                line: when.line,
                rule: rule.to_string(),
                reason: error.message,
            }),
        }
    }

    fn value(&self, rule: &Rule, facts: &Facts, tree: &Value) -> Result<Micros, Unjudged> {
        let by_impact = rule
            .impact
            .and_then(|level| self.impact[level])
            .unwrap_or_default();
        let Some(expression) = &rule.value else {
            return Ok(by_impact);
        };
        let refuse = |reason: String| Unjudged::Rule {
            line: expression.line,
            rule: rule.name.clone(),
            reason,
        };
        let number = match expression.is.evaluate(tree, &self.types) {
            Outcome::Value(Value::Number(number)) => number,
            Outcome::Value(_) => return Err(refuse("the value is no number".into())),
            // What the caller states replaces a value that cannot be computed.
            Outcome::Absent(_) if facts.at_stake.is_some() => return Ok(by_impact),
            Outcome::Absent(fact) => {
                return Err(refuse(format!(
                    "the value cannot be computed: the fact {fact} is missing; give it, or state the amount at stake"
                )));
            }
            Outcome::Error(error) => return Err(refuse(error.message)),
        };
        let value = number.to_micros().ok_or_else(|| {
            refuse(format!(
                "the value {number} is no amount of money: it is negative or too large"
            ))
        })?;
        match rule.max {
            Some(max) if value > max => Err(refuse(format!(
                "the value {} is above the rule's max, {}",
                crate::explain::amount(value, self.currency),
                crate::explain::amount(max, self.currency)
            ))),
            _ => Ok(value.max(by_impact)),
        }
    }
}

impl<T> Check<T> {
    /// For sentences: `rule large-payouts (line 22)`.
    fn named(&self) -> String {
        format!("rule {} (line {})", self.by, self.when.line)
    }
}

impl Mode {
    /// As policy files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Shadow => "shadow",
        }
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
