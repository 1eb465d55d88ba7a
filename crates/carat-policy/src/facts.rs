//! The facts of a request: what a policy's expressions read.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::Micros;
use crate::cel::{Number, ROOTS, Value};

/// Largest facts, as JSON.
pub const MAX_FACTS_BYTES: usize = 64 * 1024;
/// Deepest nesting of facts.
const MAX_DEPTH: usize = 16;

/// Facts of one request, and what its caller stated to be at stake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    tree: BTreeMap<String, Value>,
    /// The value that the caller stated; it overrides the values of the policy's rules, and nothing else of them.
    pub at_stake: Option<Micros>,
}

/// Facts cannot be read. Whoever gave them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// Not JSON.
    #[error("the facts are not JSON: {0}")]
    Json(String),
    /// A fact is not one of the kinds that there are.
    #[error("the fact {place}: {reason}")]
    Value {
        /// Where.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

fn refuse(place: &str, reason: impl Into<String>) -> FactsError {
    FactsError::Value {
        place: place.into(),
        reason: reason.into(),
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self::new()
    }
}

impl Facts {
    /// No facts.
    pub const fn new() -> Self {
        Self {
            tree: BTreeMap::new(),
            at_stake: None,
        }
    }

    /// Reads a JSON object such as `{"request": {"route": "/agent/pay", "action": {"amount": "30.50"}}}`. Besides `request`,
    /// `model` and `tenant` it may hold `at_stake`, a number in the policy's currency. A null is an absent fact.
    pub fn from_json(text: &str) -> Result<Self, FactsError> {
        if text.len() > MAX_FACTS_BYTES {
            return Err(FactsError::Json(format!(
                "{} bytes; the limit is {MAX_FACTS_BYTES}",
                text.len()
            )));
        }
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| FactsError::Json(error.to_string()))?;
        let serde_json::Value::Object(object) = json else {
            return Err(FactsError::Json("an object is expected".into()));
        };
        let mut facts = Self::new();
        for (name, value) in &object {
            if name == "at_stake" {
                let number = match read(name, value, 0)? {
                    None => continue,
                    Some(Value::Number(number)) => number,
                    Some(Value::Text(text)) => text
                        .parse()
                        .map_err(|error| refuse(name, format!("{error}")))?,
                    Some(_) => return Err(refuse(name, "a number is expected")),
                };
                let micros = number
                    .to_micros()
                    .ok_or_else(|| refuse(name, "an amount of money is expected"))?;
                facts.at_stake = Some(micros);
            } else if !ROOTS.contains(&name.as_str()) {
                return Err(refuse(
                    name,
                    format!("facts start with {}", ROOTS.join(", ")),
                ));
            } else if let Some(value) = read(name, value, 0)? {
                match value {
                    Value::Map(_) => facts.tree.insert(name.clone(), value),
                    _ => return Err(refuse(name, "an object of facts is expected")),
                };
            }
        }
        Ok(facts)
    }

    /// Sets a fact; what stood there is replaced.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let mut map = &mut self.tree;
        for name in parents {
            let entry = map
                .entry((*name).into())
                .or_insert_with(|| Value::Map(BTreeMap::new()));
            if !matches!(entry, Value::Map(_)) {
                *entry = Value::Map(BTreeMap::new());
            }
            let Value::Map(inner) = entry else { return };
            map = inner;
        }
        map.insert((*last).into(), value);
    }

    /// The fact at a path.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let rest: Vec<String> = rest.iter().map(|name| (*name).into()).collect();
        self.tree.get(*first)?.get(&rest)
    }

    /// The facts as one value, for expressions.
    pub fn value(&self) -> Value {
        Value::Map(self.tree.clone())
    }

    /// The one text of these facts: names in order, no white space, numbers as the shortest decimals. Reading it gives the
    /// same facts.
    pub fn canonical(&self) -> String {
        let mut text = String::from("{");
        if let Some(micros) = self.at_stake {
            let _ = write!(text, "\"at_stake\":\"{}\"", Number::from_micros(micros));
        }
        for (name, value) in &self.tree {
            if text.len() > 1 {
                text.push(',');
            }
            write_text(&mut text, name);
            text.push(':');
            write_value(&mut text, value);
        }
        text.push('}');
        text
    }
}

fn read(place: &str, json: &serde_json::Value, depth: usize) -> Result<Option<Value>, FactsError> {
    if depth > MAX_DEPTH {
        return Err(refuse(place, format!("nested more than {MAX_DEPTH} deep")));
    }
    Ok(Some(match json {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Number(number) => {
            let text = number.to_string();
            // A float with more digits than it holds was rounded on the way; nobody should decide on that.
            let digits = text
                .bytes()
                .take_while(|byte| *byte != b'e')
                .filter(u8::is_ascii_digit)
                .count();
            if number.is_f64() && digits > 16 {
                return Err(refuse(
                    place,
                    "JSON numbers lose digits beyond 16; write the number as text",
                ));
            }
            Value::Number(
                text.parse()
                    .map_err(|error| refuse(place, format!("{error}")))?,
            )
        }
        serde_json::Value::Array(items) => {
            let mut values = Vec::new();
            for item in items {
                match read(place, item, depth + 1)? {
                    Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Text(_))) => {
                        values.push(value)
                    }
                    _ => return Err(refuse(place, "a list holds truth values, numbers or texts")),
                }
            }
            Value::List(values)
        }
        serde_json::Value::Object(object) => {
            let mut map = BTreeMap::new();
            for (name, value) in object {
                if let Some(value) = read(&format!("{place}.{name}"), value, depth + 1)? {
                    map.insert(name.clone(), value);
                }
            }
            Value::Map(map)
        }
    }))
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) => {
            // JSON numbers of this length would be rounded by a reader that has only floats, this one included.
            let text = number.to_string();
            if text.contains('.') && text.bytes().filter(u8::is_ascii_digit).count() > 15 {
                write_text(out, &text);
            } else {
                out.push_str(&text);
            }
        }
        Value::Text(text) => write_text(out, text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (i, (name, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(out, name);
                out.push(':');
                write_value(out, value);
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
