//! A small typed subset of CEL: expressions over request facts.
//!
//! Literals, facts (`request.action.amount`, `request.headers["x-id"]`), `! - * + - < <= > >= == != in && || ?:`,
//! parentheses, lists, `has(FACT)`, `size(X)`, and on text `startsWith`, `endsWith`, `contains`. What is valid here is valid
//! CEL and means the same, with these differences, all on the side of money: numbers are exact decimals of nine places and
//! not 64-bit integers or floats (so `0.1 + 0.2 == 0.3` is true here), a product is rounded up at the ninth place, and
//! integers and decimals may be mixed. Everything else of CEL (macros, regular expressions, maps, division, time) is refused
//! by name. Types are checked before anything runs: a fact has the one type that its uses agree on. An expression is
//! bounded in length and depth and cannot loop, so evaluation takes time in proportion to its length.
//!
//! Why not a crate: `docs/adr/0007-own-cel-subset.md`.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

mod eval;
mod lex;
mod number;
mod parse;
mod types;

pub use eval::Outcome;
pub use number::Number;
pub use types::Types;

/// Longest expression in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 32;
/// Most operators between two sides.
pub const MAX_OPERATORS: usize = 256;
/// What facts start with.
pub const ROOTS: [&str; 3] = ["request", "model", "tenant"];

/// A checked expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    root: Node,
}

/// A fault in an expression, at a byte of its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CelError {
    /// Byte offset in the expression.
    pub at: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// A value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Named facts.
    Map(BTreeMap<String, Value>),
}

/// The type of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `bool`
    Bool,
    /// `number`
    Number,
    /// `text`
    Text,
    /// A list.
    List(Box<Type>),
}

/// Where a fact is found: `["request", "action", "amount"]`.
pub type Path = Vec<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    at: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Literal(Value),
    List(Vec<Node>),
    Fact(Path),
    Has(Path),
    Not(Box<Node>),
    Negate(Box<Node>),
    Size(Box<Node>),
    Text(TextTest, Box<Node>, Box<Node>),
    Binary(Op, Box<Node>, Box<Node>),
    Choose(Box<Node>, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
}

impl CelError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

impl Expression {
    /// Reads an expression. Types are checked separately, over all expressions of a policy: [`Types::check`].
    pub fn parse(text: &str) -> Result<Self, CelError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// Whether it reads no facts: it means the same for every request.
    pub fn is_constant(&self) -> bool {
        let mut facts = Vec::new();
        self.root.facts(&mut facts);
        facts.is_empty()
    }

    /// The facts that it reads, in order of first use.
    pub fn facts(&self) -> Vec<Path> {
        let mut facts = Vec::new();
        self.root.facts(&mut facts);
        let mut first = Vec::new();
        for fact in facts {
            if !first.contains(fact) {
                first.push(fact.to_owned());
            }
        }
        first
    }

    /// Evaluates over facts.
    pub fn evaluate(&self, facts: &Value, types: &Types) -> Outcome {
        eval::evaluate(&self.root, facts, types)
    }

    /// Why no facts can make this condition true, if that can be seen: constants, and facts that would have to have two
    /// values at once. `None` says nothing.
    pub fn contradiction(&self) -> Option<String> {
        let mut all = Vec::new();
        self.root.conjuncts(&mut all);
        let mut equal: Vec<(&Path, &Value)> = Vec::new();
        let mut bounds: Vec<(&Path, Op, Number)> = Vec::new();
        for node in all {
            match &node.kind {
                Kind::Literal(Value::Bool(false)) => return Some("it is always false".into()),
                Kind::Binary(op, left, right) => {
                    let (path, op, value) = match (&left.kind, &right.kind) {
                        (Kind::Fact(path), Kind::Literal(value)) => (path, *op, value),
                        (Kind::Literal(value), Kind::Fact(path)) => (path, op.mirrored(), value),
                        _ => continue,
                    };
                    if op == Op::Equal {
                        if let Some((_, other)) = equal
                            .iter()
                            .find(|(other, known)| *other == path && *known != value)
                        {
                            return Some(format!(
                                "{} would have to be {other} and {value}",
                                join(path)
                            ));
                        }
                        equal.push((path, value));
                    }
                    if let Value::Number(number) = value {
                        bounds.push((path, op, *number));
                    }
                }
                _ => {}
            }
        }
        for (i, (path, op, number)) in bounds.iter().enumerate() {
            for (other_path, other_op, other) in &bounds[i + 1..] {
                if path == other_path && op.excludes(*number, *other_op, *other) {
                    return Some(format!(
                        "{} would have to be {} {number} and {} {other}",
                        join(path),
                        op.as_str(),
                        other_op.as_str()
                    ));
                }
            }
        }
        None
    }
}

impl Node {
    fn facts<'n>(&'n self, found: &mut Vec<&'n Path>) {
        match &self.kind {
            Kind::Literal(_) => {}
            Kind::Fact(path) | Kind::Has(path) => found.push(path),
            Kind::List(nodes) => nodes.iter().for_each(|node| node.facts(found)),
            Kind::Not(node) | Kind::Negate(node) | Kind::Size(node) => node.facts(found),
            Kind::Text(_, a, b) | Kind::Binary(_, a, b) => {
                a.facts(found);
                b.facts(found);
            }
            Kind::Choose(a, b, c) => [a, b, c].into_iter().for_each(|node| node.facts(found)),
        }
    }

    fn conjuncts<'n>(&'n self, found: &mut Vec<&'n Self>) {
        match &self.kind {
            Kind::Binary(Op::And, a, b) => {
                a.conjuncts(found);
                b.conjuncts(found);
            }
            _ => found.push(self),
        }
    }
}

impl Op {
    const fn as_str(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
        }
    }

    /// The comparison with its sides exchanged.
    const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            other => other,
        }
    }

    fn holds(self, order: core::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
            _ => false,
        }
    }

    /// Whether `x self a` and `x other b` cannot both hold.
    fn excludes(self, a: Number, other: Self, b: Number) -> bool {
        let upper = |op| matches!(op, Self::Less | Self::LessEqual);
        let lower = |op| matches!(op, Self::Greater | Self::GreaterEqual);
        match (self, other) {
            (Self::Equal, op) => !matches!(op, Self::In) && !op.holds(a.cmp(&b)),
            (op, Self::Equal) => !matches!(op, Self::In) && !op.holds(b.cmp(&a)),
            (low, high) if lower(low) && upper(high) => {
                a > b || (a == b && (low == Self::Greater || high == Self::Less))
            }
            (high, low) if upper(high) && lower(low) => low.excludes(b, high, a),
            _ => false,
        }
    }
}

/// A path as it is written.
pub fn join(path: &Path) -> String {
    path.join(".")
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::Text => f.write_str("text"),
            Self::List(of) => write!(f, "list of {of}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::List(values) => write!(f, "a list of {}", values.len()),
            Self::Map(_) => f.write_str("facts"),
        }
    }
}

impl Value {
    /// The fact at a path.
    pub fn get(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| match value {
            Self::Map(map) => map.get(name),
            _ => None,
        })
    }

    fn kind(&self) -> String {
        match self {
            Self::Bool(_) => "bool".into(),
            Self::Number(_) => "number".into(),
            Self::Text(_) => "text".into(),
            Self::List(_) => "list".into(),
            Self::Map(_) => "facts".to_string(),
        }
    }
}
