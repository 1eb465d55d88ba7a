//! Adversaries as data: a small script, or a CSV of decisions. The format is in `docs/simulate.md`.
//!
//! A script runs once for each request, from top to bottom. There are no loops, so it always ends.

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::agents::{Adversary, Window};
use super::rng::Rng;
use super::values::csv_column;

mod parse;

/// Longest script.
pub const MAX_SCRIPT_BYTES: usize = 64 * 1024;
/// Most state variables and lines.
pub const MAX_LINES: usize = 1000;

/// A script or a CSV cannot be read. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ScriptError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// What a script can read. The order is that of [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known(usize);

/// Names of the values that every script can read.
pub const NAMES: [&str; 25] = [
    "value",
    "gain",
    "hazard",
    "proved",
    "request",
    "requests",
    "window",
    "windows",
    "position",
    "window_size",
    "window_value",
    "window_largest",
    "bond",
    "cap",
    "pending",
    "settled",
    "wrong",
    "wrong_in_window",
    "mean",
    "median",
    "p90",
    "p99",
    "p999",
    "largest",
    "random",
];
/// The place of `random` in [`NAMES`]: drawn anew wherever it is read.
const RANDOM: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
    NotEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
    Least,
    Most,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Negate,
    Not,
    Absolute,
    Floor,
    Root,
    Logarithm,
    Exponential,
}

#[derive(Debug, Clone)]
enum Expression {
    Number(f64),
    Known(Known),
    Own(usize),
    One(Function, Box<Expression>),
    Two(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone)]
enum Action {
    /// The answer is wrong, with this chance.
    Cheat(Expression),
    /// The answer is right.
    Honest,
    /// A variable gets a value.
    Set(usize, Expression),
}

#[derive(Debug, Clone)]
struct Line {
    action: Action,
    when: Option<Expression>,
}

/// An adversary from a file.
#[derive(Debug, Clone)]
pub struct Script {
    lines: Vec<Line>,
    /// Values of its own variables.
    own: Vec<f64>,
    evades: f64,
    rng: Rng,
}

/// Decisions, one for each request, as chances; what is missing is honest.
#[derive(Debug, Clone)]
pub struct Decisions {
    chances: Vec<f64>,
    rng: Rng,
}

impl Script {
    /// Reads a script; `seed` is for its `random`.
    ///
    /// # Errors
    /// With line and column.
    pub fn parse(text: &str, seed: u64) -> Result<Self, ScriptError> {
        parse::script(text, Rng::new(seed, 6))
    }

    fn value(&mut self, expression: &Expression, known: &[f64; NAMES.len()]) -> f64 {
        // Recursion is as deep as the parser allowed.
        match expression {
            Expression::Number(number) => *number,
            Expression::Known(Known(RANDOM)) => self.rng.unit(),
            Expression::Known(Known(name)) => known[*name],
            Expression::Own(name) => self.own[*name],
            Expression::One(function, of) => {
                let x = self.value(of, known);
                match function {
                    Function::Negate => -x,
                    Function::Not => truth(x == 0.0),
                    Function::Absolute => x.abs(),
                    Function::Floor => libm::floor(x),
                    Function::Root => libm::sqrt(x),
                    Function::Logarithm => libm::log(x),
                    Function::Exponential => libm::exp(x),
                }
            }
            Expression::Two(operator, a, b) => {
                // Both sides always, so that `random` does not depend on the way.
                let (a, b) = (self.value(a, known), self.value(b, known));
                match operator {
                    Operator::Or => truth(a != 0.0 || b != 0.0),
                    Operator::And => truth(a != 0.0 && b != 0.0),
                    Operator::Less => truth(a < b),
                    Operator::LessOrEqual => truth(a <= b),
                    Operator::More => truth(a > b),
                    Operator::MoreOrEqual => truth(a >= b),
                    Operator::Equal => truth(a == b),
                    Operator::NotEqual => truth(a != b),
                    Operator::Plus => a + b,
                    Operator::Minus => a - b,
                    Operator::Times => a * b,
                    Operator::Divide => a / b,
                    Operator::Remainder => libm::fmod(a, b),
                    Operator::Least => f64::min(a, b),
                    Operator::Most => f64::max(a, b),
                }
            }
        }
    }

    /// The decision about one request.
    fn cheats(&mut self, known: &[f64; NAMES.len()]) -> bool {
        let lines = core::mem::take(&mut self.lines);
        let mut decision = None;
        for line in &lines {
            // NaN is neither: a comparison with it is false.
            if let Some(when) = &line.when
                && self.value(when, known) == 0.0
            {
                continue;
            }
            match &line.action {
                Action::Set(name, value) => self.own[*name] = self.value(value, known),
                Action::Honest if decision.is_none() => decision = Some(false),
                Action::Cheat(chance) if decision.is_none() => {
                    let chance = self.value(chance, known);
                    decision = Some(chance >= 1.0 || self.rng.unit() < chance);
                }
                Action::Honest | Action::Cheat(_) => {}
            }
        }
        self.lines = lines;
        decision.unwrap_or(false)
    }
}

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

impl Adversary for Script {
    fn decide(&mut self, window: &Window<'_>, wrong: &mut [bool]) {
        let facts = window.facts;
        let [median, p90, p99, p999, largest] = facts.percentiles;
        let (mut pending, mut count) = (0.0, 0_u64);
        let all: f64 = window.values.iter().sum();
        let most = window.values.iter().copied().fold(0.0, f64::max);
        for (i, wrong) in wrong.iter_mut().enumerate() {
            let proved = window.proved[i].proved;
            let known = [
                window.values[i],
                window.values[i],
                window.hazards[i],
                truth(proved),
                (window.first + i) as f64,
                facts.requests as f64,
                window.index as f64,
                facts.requests.div_ceil(facts.window) as f64,
                i as f64,
                facts.window as f64,
                all,
                most,
                facts.bond,
                facts.cap,
                pending,
                window.state.settled,
                (window.state.wrong + count) as f64,
                count as f64,
                facts.mean,
                median,
                p90,
                p99,
                p999,
                largest,
                0.0,
            ];
            *wrong = self.cheats(&known) && !proved;
            if *wrong {
                pending += window.values[i];
                count += 1;
            }
        }
    }

    fn evasion(&self) -> f64 {
        self.evades
    }
}

impl Decisions {
    /// Reads a CSV of decisions: a column `wrong` (or `cheat`, `decision`) with 1 for wrong and 0 for right, or a chance in
    /// between, in the order of the requests; or with a column `request` (from 0) in any order. Without a header: one
    /// column of decisions, or two columns, request and decision.
    ///
    /// # Errors
    /// With the line.
    pub fn from_csv(text: &str, seed: u64) -> Result<Self, ScriptError> {
        let at = |line, what: String| ScriptError {
            line,
            column: 1,
            what,
        };
        let two = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .map_or(0, |line| {
                line.split([',', ';', '\t']).count().clamp(1, 2) - 1
            });
        let names = ["wrong", "cheat", "decision"];
        let (column, lines) = csv_column(text, &names, two).map_err(|what| at(1, what))?;
        let named = |names: &[&str]| {
            csv_column(text, names, usize::MAX)
                .ok()
                .map(|(column, _)| column)
        };
        let index = match named(&["request", "index"]) {
            Some(index) if index != usize::MAX => Some(index),
            // Without a header the first of two columns is the request.
            _ if two == 1 && named(&names) == Some(usize::MAX) => Some(0),
            _ => None,
        };
        let mut chances = Vec::new();
        for (place, (line, cells)) in lines.into_iter().enumerate() {
            let cell = cells.get(column).copied().unwrap_or_default();
            let chance = match cell.to_ascii_lowercase().as_str() {
                "true" | "wrong" | "cheat" => Some(1.0),
                "false" | "right" | "honest" => Some(0.0),
                other => other
                    .parse::<f64>()
                    .ok()
                    .filter(|chance| (0.0..=1.0).contains(chance)),
            };
            let Some(chance) = chance else {
                return Err(at(
                    line,
                    format!(
                        "{cell:?} is no decision; write 1 for wrong, 0 for right, or a chance between"
                    ),
                ));
            };
            let request = match index {
                None => Some(place),
                Some(index) => cells.get(index).and_then(|cell| cell.parse::<usize>().ok()),
            };
            let Some(request) = request.filter(|request| *request < super::values::MAX_REQUESTS)
            else {
                let most = super::values::MAX_REQUESTS - 1;
                let reason = format!("the request is a whole number from 0 to {most}");
                return Err(at(line, reason));
            };
            if chances.len() <= request {
                chances.resize(request + 1, 0.0);
            }
            chances[request] = chance;
        }
        Ok(Self {
            chances,
            rng: Rng::new(seed, 7),
        })
    }
}

impl Adversary for Decisions {
    fn decide(&mut self, window: &Window<'_>, wrong: &mut [bool]) {
        for (i, wrong) in wrong.iter_mut().enumerate() {
            let chance = self.chances.get(window.first + i).copied().unwrap_or(0.0);
            *wrong = chance >= 1.0 || self.rng.unit() < chance;
        }
    }
}
