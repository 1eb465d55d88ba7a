//! Evaluation: a value, or which fact is missing, or which fact is of another type than the policy uses it as.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{CelError, Kind, Node, Number, Op, Path, TextTest, Type, Types, Value, join};

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A value.
    Value(Value),
    /// It cannot be decided: this fact is not there.
    Absent(String),
    /// It cannot be computed: a fact has another type, or a number is too large.
    Error(CelError),
}

pub(super) fn evaluate(node: &Node, facts: &Value, types: &Types) -> Outcome {
    match eval(node, &Scope { facts, types }) {
        Ok(value) => Outcome::Value(value),
        Err(Stop::Absent(path)) => Outcome::Absent(join(&path)),
        Err(Stop::Error(error)) => Outcome::Error(error),
    }
}

struct Scope<'a> {
    facts: &'a Value,
    types: &'a Types,
}

enum Stop {
    Absent(Path),
    Error(CelError),
}

type Evaluated = Result<Value, Stop>;

fn fault(at: usize, message: impl Into<String>) -> Stop {
    Stop::Error(CelError::new(at, message))
}

fn eval(node: &Node, scope: &Scope<'_>) -> Evaluated {
    match &node.kind {
        Kind::Literal(value) => Ok(value.clone()),
        Kind::List(items) => items
            .iter()
            .map(|item| eval(item, scope))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::List),
        Kind::Fact(path) => fact(node.at, path, scope),
        Kind::Has(path) => Ok(Value::Bool(scope.facts.get(path).is_some())),
        Kind::Not(inner) => Ok(Value::Bool(!truth(inner, scope)?)),
        Kind::Negate(inner) => Ok(Value::Number(number(inner, scope)?.negate())),
        Kind::Size(inner) => {
            let size = match eval(inner, scope)? {
                Value::Text(text) => text.chars().count(),
                Value::List(items) => items.len(),
                other => return Err(fault(inner.at, format!("a {} has no size", other.kind()))),
            };
            let size = i64::try_from(size).map_err(|_| fault(node.at, "the size is too large"))?;
            Ok(Value::Number(Number::from_int(size)))
        }
        Kind::Text(test, on, argument) => {
            let (on, argument) = (text(on, scope)?, text(argument, scope)?);
            Ok(Value::Bool(match test {
                TextTest::StartsWith => on.starts_with(&argument),
                TextTest::EndsWith => on.ends_with(&argument),
                TextTest::Contains => on.contains(&argument),
            }))
        }
        Kind::Choose(condition, yes, no) => {
            eval(if truth(condition, scope)? { yes } else { no }, scope)
        }
        Kind::Binary(op, left, right) => binary(node.at, *op, left, right, scope),
    }
}

fn binary(at: usize, op: Op, left: &Node, right: &Node, scope: &Scope<'_>) -> Evaluated {
    match op {
        // As CEL has it: a side that decides hides a fact that is missing on the other.
        Op::And | Op::Or => {
            let deciding = op == Op::Or;
            match (truth(left, scope), truth(right, scope)) {
                (Ok(value), _) | (_, Ok(value)) if value == deciding => Ok(Value::Bool(deciding)),
                (Ok(_), Ok(_)) => Ok(Value::Bool(!deciding)),
                // A fault says more than an absence.
                (Err(stop @ Stop::Error(_)), _) | (_, Err(stop @ Stop::Error(_))) => Err(stop),
                (Err(stop), _) | (_, Err(stop)) => Err(stop),
            }
        }
        Op::Equal => Ok(Value::Bool(same(
            at,
            &eval(left, scope)?,
            &eval(right, scope)?,
        )?)),
        Op::NotEqual => Ok(Value::Bool(!same(
            at,
            &eval(left, scope)?,
            &eval(right, scope)?,
        )?)),
        Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => Ok(Value::Bool(
            op.holds(number(left, scope)?.cmp(&number(right, scope)?)),
        )),
        Op::In => match eval(right, scope)? {
            Value::List(items) => {
                let wanted = eval(left, scope)?;
                Ok(Value::Bool(items.contains(&wanted)))
            }
            other => Err(fault(
                right.at,
                format!("a list is expected after in, this is a {}", other.kind()),
            )),
        },
        Op::Add | Op::Subtract | Op::Multiply => {
            let (a, b) = (number(left, scope)?, number(right, scope)?);
            let result = match op {
                Op::Add => a.add(b),
                Op::Subtract => a.subtract(b),
                _ => a.multiply(b),
            };
            result
                .map(Value::Number)
                .ok_or_else(|| fault(at, "the number is too large"))
        }
    }
}

fn same(at: usize, a: &Value, b: &Value) -> Result<bool, Stop> {
    // Only two facts without a type can differ in kind here.
    if core::mem::discriminant(a) == core::mem::discriminant(b) {
        Ok(a == b)
    } else {
        Err(fault(
            at,
            format!("a {} is compared with a {}", a.kind(), b.kind()),
        ))
    }
}

/// A fact, of the type that the policy uses it as. Where that is a number, a text that is one counts: amounts travel as
/// text where JSON numbers would lose digits.
fn fact(at: usize, path: &Path, scope: &Scope<'_>) -> Evaluated {
    let Some(value) = scope.facts.get(path) else {
        return Err(Stop::Absent(path.clone()));
    };
    let Some(of) = scope.types.of(path) else {
        return Ok(value.clone());
    };
    typed(value, of).ok_or_else(|| {
        fault(
            at,
            format!(
                "{} is used as a {of}, but the fact given is a {}",
                join(path),
                value.kind()
            ),
        )
    })
}

fn typed(value: &Value, of: &Type) -> Option<Value> {
    match (value, of) {
        (Value::Bool(_), Type::Bool)
        | (Value::Number(_), Type::Number)
        | (Value::Text(_), Type::Text) => Some(value.clone()),
        (Value::Text(text), Type::Number) => text.parse().ok().map(Value::Number),
        (Value::List(items), Type::List(of)) => items
            .iter()
            .map(|item| typed(item, of))
            .collect::<Option<Vec<_>>>()
            .map(Value::List),
        _ => None,
    }
}

fn truth(node: &Node, scope: &Scope<'_>) -> Result<bool, Stop> {
    match eval(node, scope)? {
        Value::Bool(value) => Ok(value),
        other => Err(fault(
            node.at,
            format!("a bool is expected here, this is a {}", other.kind()),
        )),
    }
}

fn number(node: &Node, scope: &Scope<'_>) -> Result<Number, Stop> {
    match eval(node, scope)? {
        Value::Number(value) => Ok(value),
        other => Err(fault(
            node.at,
            format!("a number is expected here, this is a {}", other.kind()),
        )),
    }
}

fn text(node: &Node, scope: &Scope<'_>) -> Result<String, Stop> {
    match eval(node, scope)? {
        Value::Text(value) => Ok(value),
        other => Err(fault(
            node.at,
            format!("a text is expected here, this is a {}", other.kind()),
        )),
    }
}
