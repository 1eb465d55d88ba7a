//! What is suspicious about a policy that can be read: rules that never apply or never bind, values without bound, requests
//! that no rule speaks about, consequences that nothing here covers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Placed, Policy, Rule};
use crate::cel::{Expression, Outcome, Value};
use crate::consequence::{Consequence, Demand, strictness};
use crate::environment::Environment;
use crate::facts::Facts;
use crate::money::Micros;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Probably meant, worth knowing.
    Note,
    /// Probably not meant.
    Warning,
    /// Cannot be meant.
    Error,
}

/// Something suspicious about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What it is and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(
            f,
            "line {}, column {}: {severity}: {}",
            self.line, self.column, self.message
        )
    }
}

fn finding<T>(severity: Severity, at: &Placed<T>, message: String) -> Finding {
    Finding {
        severity,
        line: at.line,
        column: at.column,
        message,
    }
}

impl Policy {
    /// Everything suspicious, in the order of the file. With an environment, also what nothing there covers.
    pub fn check(&self, environment: Option<&Environment>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for rule in &self.consequences {
            self.unreachable(&rule.name, &rule.when, &mut findings);
            self.value_findings(rule, &mut findings);
            if let Some(other) = self
                .consequences
                .iter()
                .find(|other| self.outdoes(other, rule))
            {
                findings.push(finding(
                    Severity::Warning,
                    &rule.when,
                    format!(
                        "{} never binds: {} always applies and is at least as strict",
                        rule.name, other.name
                    ),
                ));
            }
            if let Some(environment) = environment {
                self.feasible(rule, environment, &mut findings);
            }
        }
        for (name, when) in self
            .requires
            .iter()
            .map(|rule| (&rule.by, &rule.when))
            .chain(self.forbids.iter().map(|rule| (&rule.by, &rule.when)))
        {
            self.unreachable(name, when, &mut findings);
        }
        if !self
            .consequences
            .iter()
            .any(|rule| self.constant(&rule.when.is) == Some(true))
        {
            findings.push(Finding {
                severity: Severity::Warning,
                line: 1,
                column: 1,
                message:
                    "some requests match no consequence and are refused; add one with when = 'true'"
                        .into(),
            });
        }
        findings.sort_by_key(|finding| (finding.line, finding.column));
        findings
    }

    /// The value of a condition that reads no facts.
    fn constant(&self, expression: &Expression) -> Option<bool> {
        if !expression.is_constant() {
            return None;
        }
        match expression.evaluate(&Facts::new().value(), &self.types) {
            Outcome::Value(Value::Bool(value)) => Some(value),
            _ => None,
        }
    }

    fn unreachable(&self, name: &str, when: &Placed<Expression>, findings: &mut Vec<Finding>) {
        let reason = match self.constant(&when.is) {
            Some(false) => Some("its condition is always false".into()),
            Some(true) => None,
            None => when.is.contradiction(),
        };
        if let Some(reason) = reason {
            findings.push(finding(
                Severity::Warning,
                when,
                format!("{name} can never apply: {reason}"),
            ));
        }
    }

    /// The largest value of a rule, where it does not depend on facts or is capped.
    fn bound(&self, rule: &Rule) -> Option<Micros> {
        let by_impact = rule
            .impact
            .and_then(|level| self.impact[level])
            .unwrap_or_default();
        let Some(value) = &rule.value else {
            return Some(by_impact);
        };
        if let Some(max) = rule.max {
            return Some(max.max(by_impact));
        }
        if !value.is.is_constant() {
            return None;
        }
        match value.is.evaluate(&Facts::new().value(), &self.types) {
            Outcome::Value(Value::Number(number)) => {
                number.to_micros().map(|value| value.max(by_impact))
            }
            _ => None,
        }
    }

    fn value_findings(&self, rule: &Rule, findings: &mut Vec<Finding>) {
        let Some(value) = &rule.value else { return };
        if value.is.is_constant() {
            if self.bound(rule).is_none() {
                let message = format!(
                    "the value of {} is no amount of money: it is negative or too large",
                    rule.name
                );
                findings.push(finding(Severity::Error, value, message));
            }
        } else if rule.max.is_none() {
            let facts: Vec<String> = value.is.facts().iter().map(crate::cel::join).collect();
            let message = format!(
                "the value of {} has no bound: it grows with {}; add max = AMOUNT, above which requests are refused",
                rule.name,
                facts.join(", ")
            );
            findings.push(finding(Severity::Warning, value, message));
        }
    }

    /// Whether `other` always applies and demands at least what `rule` does.
    fn outdoes(&self, other: &Rule, rule: &Rule) -> bool {
        // The exact value, not a cap on it.
        let fixed = |rule: &Rule| match &rule.value {
            Some(value) if !value.is.is_constant() => None,
            _ => self.bound(rule),
        };
        let tighter = |ours: Option<u64>, theirs: Option<u64>| {
            theirs.is_none() || ours.is_some_and(|ours| theirs.is_some_and(|theirs| ours <= theirs))
        };
        let budget = |rule: &Rule| rule.budget.map(|budget| budget.0);
        !core::ptr::eq(other, rule)
            && self.constant(&other.when.is) == Some(true)
            && matches!((fixed(other), self.bound(rule)), (Some(theirs), Some(ours)) if theirs >= ours)
            && strictness(other.timing) >= strictness(rule.timing)
            && (other.irreversible || !rule.irreversible)
            && tighter(other.deadline_micros, rule.deadline_micros)
            && tighter(budget(other), budget(rule))
            // Of two that are alike one is enough; the first stays.
            && (self.constant(&rule.when.is) != Some(true) || self.place(other) < self.place(rule))
    }

    fn place(&self, rule: &Rule) -> Option<usize> {
        self.consequences
            .iter()
            .position(|other| core::ptr::eq(other, rule))
    }

    /// Whether anything here covers the largest value of a rule.
    fn feasible(&self, rule: &Rule, environment: &Environment, findings: &mut Vec<Finding>) {
        let Some(value) = self.bound(rule) else {
            return;
        };
        let mut consequence = Consequence::new(self.currency, value, rule.timing);
        consequence.gamma = self.gamma;
        consequence.epsilon = self.epsilon;
        consequence.p_min = self.p_min;
        consequence.loss_cap = self.loss_cap;
        consequence.irreversible = rule.irreversible;
        consequence.deadline_micros = rule.deadline_micros;
        consequence.budget = rule.budget;
        // Rules that apply to every request apply to these.
        let always = |when: &Placed<Expression>| self.constant(&when.is) == Some(true);
        for check in self.requires.iter().filter(|check| always(&check.when)) {
            consequence.require.push(Demand {
                what: check.what,
                by: check.named(),
            });
        }
        for check in self.forbids.iter().filter(|check| always(&check.when)) {
            consequence.forbid.push(Demand {
                what: check.what.clone(),
                by: check.named(),
            });
        }
        if let Err(refusal) = crate::plan(&consequence, environment) {
            let reasons = crate::explain::refusal(&refusal, self.currency);
            let covered = reasons
                .iter()
                .find(|line| line.starts_with("what is supplied"));
            let message = format!(
                "nothing here is sufficient for {} at {}: {}",
                rule.name,
                crate::explain::amount(value, self.currency),
                covered.map_or("", String::as_str)
            );
            findings.push(finding(Severity::Warning, &rule.when, message));
        }
    }
}
