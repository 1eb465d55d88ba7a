//! From the text of a policy file to its rules; every error points at a line and a column.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use carat_receipt::{Currency, Label};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use super::{
    Absent, Check, IMPACTS, MAX_POLICY_BYTES, MAX_RULES, Mode, Placed, Policy, PolicyError, Rule,
};
use crate::cel::{Expression, MAX_EXPRESSION_BYTES, Number, ROOTS, Type, Types};
use crate::consequence::{AtomPattern, Timing, timing_from_name};
use crate::money::{Factor, Micros, Price};
use crate::plan::Level;
use crate::probability::Fraction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: Option<Spanned<String>>,
    currency: Spanned<String>,
    mode: Option<Spanned<String>>,
    epsilon: Option<Spanned<Scalar>>,
    p_min: Option<Spanned<Scalar>>,
    gamma: Option<Spanned<Scalar>>,
    loss_cap: Option<Spanned<Scalar>>,
    timing: Option<Spanned<String>>,
    absent_facts: Option<Spanned<String>>,
    impact: Option<FileImpact>,
    #[serde(default)]
    facts: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    consequence: Vec<FileConsequence>,
    #[serde(default)]
    require: Vec<FileRequire>,
    #[serde(default)]
    forbid: Vec<FileForbid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileImpact {
    low: Option<Spanned<Scalar>>,
    moderate: Option<Spanned<Scalar>>,
    high: Option<Spanned<Scalar>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConsequence {
    name: Spanned<String>,
    when: Spanned<String>,
    value: Option<Spanned<Scalar>>,
    impact: Option<Spanned<String>>,
    max: Option<Spanned<Scalar>>,
    timing: Option<Spanned<String>>,
    irreversible: Option<bool>,
    deadline_ms: Option<Spanned<Scalar>>,
    budget: Option<Spanned<Scalar>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRequire {
    name: Option<Spanned<String>>,
    rung: Spanned<String>,
    when: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForbid {
    name: Option<Spanned<String>>,
    assumption: Spanned<String>,
    when: Spanned<String>,
}

/// A TOML integer, float or string, as text. A float is written back as the shortest decimal that is it, which is what its
/// author wrote for anything with at most 15 digits.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                let text = value.to_string();
                if text.bytes().filter(u8::is_ascii_digit).count() > 15 {
                    return Err(E::custom("write a number of more than 15 digits as text"));
                }
                Ok(Scalar(text))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

/// The text, for places in it.
struct Source<'t>(&'t str);

impl Source<'_> {
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.0.get(..at).unwrap_or(self.0);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, 1 + before[start..].chars().count())
    }

    fn error(&self, at: usize, message: impl Into<String>) -> PolicyError {
        let (line, column) = self.place(at);
        PolicyError {
            line,
            column,
            message: message.into(),
        }
    }

    /// An expression, with the place of its text. Where TOML escapes moved things, its beginning has to do.
    fn expression(
        &self,
        at: &core::ops::Range<usize>,
        text: &str,
    ) -> Result<Placed<Expression>, PolicyError> {
        let raw = self.0.get(at.clone()).unwrap_or_default();
        let inner = if text.is_empty() {
            Some(1.min(raw.len()))
        } else {
            raw.find(text)
        };
        let place = |offset: usize| at.start + inner.map_or(0, |inner| inner + offset);
        let (line, column) = self.place(place(0));
        match Expression::parse(text) {
            Ok(is) => Ok(Placed { is, line, column }),
            Err(error) => Err(self.error(place(error.at), error.message)),
        }
    }

    fn checked(
        &self,
        types: &mut Types,
        at: &core::ops::Range<usize>,
        text: &str,
        expected: &Type,
    ) -> Result<Placed<Expression>, PolicyError> {
        let expression = self.expression(at, text)?;
        types.check(&expression.is, expected).map_err(|error| {
            let raw = self.0.get(at.clone()).unwrap_or_default();
            self.error(
                at.start + raw.find(text).map_or(0, |inner| inner + error.at),
                error.message,
            )
        })?;
        Ok(expression)
    }

    fn read<T>(
        &self,
        value: &Spanned<Scalar>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, PolicyError> {
        read(&value.as_ref().0).map_err(|message| self.error(value.span().start, message))
    }

    /// Money in the policy's currency: a number, or a text like "50 USD".
    fn money(&self, value: &Spanned<Scalar>, currency: Currency) -> Result<Micros, PolicyError> {
        self.read(value, |text| {
            let number = match text.trim().strip_suffix(currency.as_str()) {
                Some(number) => number.trim_end(),
                None => text.trim(),
            };
            let number: Number = number
                .parse()
                .map_err(|_| format!("{text:?} is no amount; write 50 or \"50 {currency}\""))?;
            number
                .to_micros()
                .ok_or_else(|| format!("{text:?} is negative or too large"))
        })
    }

    fn timing(&self, text: &Spanned<String>) -> Result<Timing, PolicyError> {
        timing_from_name(text.as_ref()).ok_or_else(|| {
            self.error(
                text.span().start,
                "timing is before_use, before_settle, after_use or deferred",
            )
        })
    }

    fn name(&self, text: &Spanned<String>) -> Result<String, PolicyError> {
        match Label::new(text.as_ref().as_str()) {
            Ok(label) => Ok(label.as_str().into()),
            Err(error) => Err(self.error(text.span().start, format!("{error}"))),
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Policy, PolicyError> {
    let source = Source(text);
    if text.len() > MAX_POLICY_BYTES {
        return Err(source.error(
            0,
            format!(
                "the policy has {} bytes; the limit is {MAX_POLICY_BYTES}",
                text.len()
            ),
        ));
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.error(at, error.message().replace('\n', " "))
    })?;
    if let Some(schema) = &file.schema
        && schema.as_ref() != "carat-policy/v1"
    {
        return Err(source.error(
            schema.span().start,
            "this software reads \"carat-policy/v1\" only",
        ));
    }
    let currency = Currency::new(file.currency.as_ref()).map_err(|_| {
        source.error(
            file.currency.span().start,
            "a currency is three capital letters, such as \"USD\"",
        )
    })?;
    let mode = match file
        .mode
        .as_ref()
        .map(|mode| (mode, mode.as_ref().as_str()))
    {
        None | Some((_, "enforce")) => Mode::Enforce,
        Some((_, "warn")) => Mode::Warn,
        Some((_, "shadow")) => Mode::Shadow,
        Some((mode, _)) => {
            return Err(source.error(mode.span().start, "mode is enforce, warn or shadow"));
        }
    };
    let absent = match file
        .absent_facts
        .as_ref()
        .map(|absent| (absent, absent.as_ref().as_str()))
    {
        None | Some((_, "strict")) => Absent::Strict,
        Some((_, "no-match")) => Absent::NoMatch,
        Some((absent, _)) => {
            return Err(source.error(absent.span().start, "absent_facts is strict or no-match"));
        }
    };
    let money = |value: &Option<Spanned<Scalar>>| {
        value
            .as_ref()
            .map(|value| source.money(value, currency))
            .transpose()
    };
    let impact = match &file.impact {
        None => [None; 3],
        Some(levels) => [
            money(&levels.low)?,
            money(&levels.moderate)?,
            money(&levels.high)?,
        ],
    };
    if let Some(pair) = impact
        .windows(2)
        .find(|pair| matches!(pair, [Some(a), Some(b)] if a > b))
    {
        let at = file
            .impact
            .as_ref()
            .and_then(|levels| levels.low.as_ref())
            .map_or(0, |low| low.span().start);
        return Err(source.error(
            at,
            format!(
                "the impact levels fall from {} to {} millionths; they must rise",
                pair[0].unwrap_or_default().0,
                pair[1].unwrap_or_default().0
            ),
        ));
    }
    let fraction = |value: &Option<Spanned<Scalar>>| {
        value
            .as_ref()
            .map(|value| {
                source.read(value, |text| {
                    text.parse::<Fraction>().map_err(|e| e.to_string())
                })
            })
            .transpose()
    };
    let gamma = file.gamma.as_ref();
    let gamma = gamma
        .map(|value| {
            source.read(value, |text| {
                text.parse::<Factor>().map_err(|e| e.to_string())
            })
        })
        .transpose()?;
    let mut types = Types::default();
    for (fact, of) in &file.facts {
        declare(&source, &mut types, fact, of)?;
    }
    for (what, len, span) in [
        (
            "consequence",
            file.consequence.len(),
            file.consequence.get(MAX_RULES).map(|rule| rule.when.span()),
        ),
        (
            "require",
            file.require.len(),
            file.require.get(MAX_RULES).map(|rule| rule.when.span()),
        ),
        (
            "forbid",
            file.forbid.len(),
            file.forbid.get(MAX_RULES).map(|rule| rule.when.span()),
        ),
    ] {
        if let Some(span) = span {
            return Err(source.error(
                span.start,
                format!("{len} rules {what}; the limit is {MAX_RULES}"),
            ));
        }
    }
    let consequences = consequences(&source, &file, &mut types, currency, &impact)?;
    let mut requires = Vec::new();
    for (i, rule) in file.require.iter().enumerate() {
        let what = Level::from_name(rule.rung.as_ref()).ok_or_else(|| {
            let known = Level::ALL.map(Level::as_str).join(", ");
            source.error(
                rule.rung.span().start,
                format!(
                    "there is no rung {:?}; there are {known}",
                    rule.rung.as_ref()
                ),
            )
        })?;
        let when = source.checked(
            &mut types,
            &rule.when.span(),
            rule.when.as_ref(),
            &Type::Bool,
        )?;
        let by = rule.name.as_ref().map_or_else(
            || Ok(format!("require[{}]", i + 1)),
            |name| source.name(name),
        )?;
        requires.push(Check { what, when, by });
    }
    let mut forbids = Vec::new();
    for (i, rule) in file.forbid.iter().enumerate() {
        let pattern = Label::new(rule.assumption.as_ref().as_str())
            .map_err(|error| source.error(rule.assumption.span().start, format!("{error}")))?;
        if pattern.as_str().trim_end_matches('*').contains('*') {
            return Err(source.error(rule.assumption.span().start, "a * stands at the end only"));
        }
        let when = source.checked(
            &mut types,
            &rule.when.span(),
            rule.when.as_ref(),
            &Type::Bool,
        )?;
        let by = rule.name.as_ref().map_or_else(
            || Ok(format!("forbid[{}]", i + 1)),
            |name| source.name(name),
        )?;
        forbids.push(Check {
            what: AtomPattern::new(pattern),
            when,
            by,
        });
    }
    Ok(Policy {
        text: text.into(),
        currency,
        mode,
        epsilon: money(&file.epsilon)?.unwrap_or_default(),
        p_min: fraction(&file.p_min)?.unwrap_or_default(),
        gamma: gamma.unwrap_or(Factor::ONE),
        loss_cap: money(&file.loss_cap)?,
        timing: file
            .timing
            .as_ref()
            .map(|timing| source.timing(timing))
            .transpose()?
            .unwrap_or(Timing::AfterUse),
        absent,
        impact,
        consequences,
        requires,
        forbids,
        types,
    })
}

fn declare(
    source: &Source<'_>,
    types: &mut Types,
    fact: &Spanned<String>,
    of: &Spanned<String>,
) -> Result<(), PolicyError> {
    let path: Vec<String> = fact.as_ref().split('.').map(String::from).collect();
    if path.len() < 2 || !ROOTS.contains(&path[0].as_str()) {
        return Err(source.error(
            fact.span().start,
            format!(
                "a fact is like \"request.route\"; facts start with {}",
                ROOTS.join(", ")
            ),
        ));
    }
    let of = match of.as_ref().as_str() {
        "bool" => Type::Bool,
        "number" => Type::Number,
        "text" => Type::Text,
        "list of text" => Type::List(Type::Text.into()),
        "list of number" => Type::List(Type::Number.into()),
        _ => {
            return Err(source.error(
                of.span().start,
                "a type is bool, number, text, \"list of text\" or \"list of number\"",
            ));
        }
    };
    types.declare(path, of);
    Ok(())
}

fn consequences(
    source: &Source<'_>,
    file: &File,
    types: &mut Types,
    currency: Currency,
    impact: &[Option<Micros>; 3],
) -> Result<Vec<Rule>, PolicyError> {
    let mut rules: Vec<Rule> = Vec::new();
    for rule in &file.consequence {
        let name = source.name(&rule.name)?;
        if rules.iter().any(|other| other.name == name) {
            return Err(source.error(
                rule.name.span().start,
                format!("the name {name} stands there twice"),
            ));
        }
        let when = source.checked(types, &rule.when.span(), rule.when.as_ref(), &Type::Bool)?;
        let value = match &rule.value {
            None => None,
            Some(value) if value.as_ref().0.len() > MAX_EXPRESSION_BYTES => {
                return Err(source.error(value.span().start, "the expression is too long"));
            }
            Some(value) => {
                Some(source.checked(types, &value.span(), &value.as_ref().0, &Type::Number)?)
            }
        };
        let level = rule.impact.as_ref().map(|level| {
            IMPACTS
                .iter()
                .position(|known| known == level.as_ref())
                .filter(|at| impact[*at].is_some())
                .ok_or_else(|| {
                    source.error(
                        level.span().start,
                        "impact is low, moderate or high, with its amount under [impact]",
                    )
                })
        });
        let level = level.transpose()?;
        if value.is_none() && level.is_none() {
            return Err(source.error(
                rule.name.span().start,
                format!("{name} says neither value nor impact"),
            ));
        }
        let deadline = rule.deadline_ms.as_ref().map(|value| {
            source.read(value, |text| {
                let millis: Option<u64> = text.parse().ok();
                millis
                    .and_then(|millis| millis.checked_mul(1000))
                    .ok_or("a deadline is a whole number of milliseconds".into())
            })
        });
        let budget = rule.budget.as_ref().map(|value| {
            source.read(value, |text| {
                let number = text
                    .trim()
                    .strip_suffix(currency.as_str())
                    .unwrap_or(text)
                    .trim();
                number
                    .parse::<Price>()
                    .map_err(|_| "a budget is an amount of at most twelve places".into())
            })
        });
        rules.push(Rule {
            when,
            value,
            impact: level,
            max: rule
                .max
                .as_ref()
                .map(|max| source.money(max, currency))
                .transpose()?,
            timing: rule
                .timing
                .as_ref()
                .map(|timing| source.timing(timing))
                .transpose()?
                .unwrap_or(Timing::AfterUse),
            irreversible: rule.irreversible.unwrap_or(false),
            deadline_micros: deadline.transpose()?,
            budget: budget.transpose()?,
            name,
        });
    }
    Ok(rules)
}
