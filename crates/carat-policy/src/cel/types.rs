//! One type for each fact: the one that all its uses agree on.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;

use super::{CelError, Expression, Kind, Node, Op, Path, Type, Value, join};

/// Types of facts, as far as expressions fixed them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Types(BTreeMap<Path, Type>);

/// What is known about a part of an expression.
enum Known<'n> {
    Type(Type),
    /// A fact whose uses so far fix nothing.
    Fact(&'n Path),
    /// The empty list.
    Empty,
}

impl Types {
    /// Checks that an expression has a type, and learns the types of the facts in it.
    pub fn check(&mut self, expression: &Expression, expected: &Type) -> Result<(), CelError> {
        self.expect(&expression.root, expected)
    }

    /// The type of a fact; `None` where no use fixed one.
    pub fn of(&self, path: &Path) -> Option<&Type> {
        self.0.get(path)
    }

    /// All facts with their types.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Type)> {
        self.0.iter()
    }

    /// Declares the type of a fact.
    pub fn declare(&mut self, path: Path, of: Type) {
        self.0.insert(path, of);
    }

    fn expect(&mut self, node: &Node, expected: &Type) -> Result<(), CelError> {
        let found = self.infer(node)?;
        self.unify(node, found, expected)
    }

    fn unify(&mut self, node: &Node, found: Known<'_>, expected: &Type) -> Result<(), CelError> {
        match found {
            Known::Type(found) if found == *expected => Ok(()),
            Known::Empty if matches!(expected, Type::List(_)) => Ok(()),
            Known::Fact(path) => {
                self.0.insert(path.clone(), expected.clone());
                Ok(())
            }
            Known::Type(found) => Err(CelError::new(
                node.at,
                match &node.kind {
                    Kind::Fact(path) => {
                        format!(
                            "{} is a {found} elsewhere and a {expected} here",
                            join(path)
                        )
                    }
                    _ => format!("a {expected} is expected here, this is a {found}"),
                },
            )),
            Known::Empty => Err(CelError::new(
                node.at,
                format!("a {expected} is expected here, this is a list"),
            )),
        }
    }

    /// Both sides have one type, which either may fix for the other.
    fn agree(&mut self, left: &Node, right: &Node) -> Result<Option<Type>, CelError> {
        if let Known::Type(of) = self.infer(left)? {
            self.expect(right, &of)?;
            return Ok(Some(of));
        }
        if let Known::Type(of) = self.infer(right)? {
            self.expect(left, &of)?;
            return Ok(Some(of));
        }
        // Two facts, neither fixed: they are compared as they come.
        Ok(None)
    }

    fn infer<'n>(&mut self, node: &'n Node) -> Result<Known<'n>, CelError> {
        let known = match &node.kind {
            Kind::Literal(value) => match value {
                Value::Bool(_) => Type::Bool,
                Value::Number(_) => Type::Number,
                _ => Type::Text,
            },
            Kind::Has(_) => Type::Bool,
            Kind::Fact(path) => match self.0.get(path) {
                Some(of) => of.clone(),
                None => return Ok(Known::Fact(path)),
            },
            Kind::Not(inner) => {
                self.expect(inner, &Type::Bool)?;
                Type::Bool
            }
            Kind::Negate(inner) => {
                self.expect(inner, &Type::Number)?;
                Type::Number
            }
            Kind::Size(inner) => {
                match self.infer(inner)? {
                    Known::Type(Type::Text | Type::List(_)) | Known::Empty | Known::Fact(_) => {}
                    Known::Type(other) => {
                        return Err(CelError::new(inner.at, format!("a {other} has no size")));
                    }
                }
                Type::Number
            }
            Kind::Text(_, on, argument) => {
                self.expect(on, &Type::Text)?;
                self.expect(argument, &Type::Text)?;
                Type::Bool
            }
            Kind::List(items) => {
                let Some((first, rest)) = items.split_first() else {
                    return Ok(Known::Empty);
                };
                let mut of = None;
                for item in rest {
                    of = self.agree(first, item)?;
                }
                let of = match (of, self.infer(first)?) {
                    (Some(of), _) | (None, Known::Type(of)) => of,
                    _ => {
                        return Err(CelError::new(
                            first.at,
                            "nothing says what type this list has",
                        ));
                    }
                };
                for item in rest {
                    self.expect(item, &of)?;
                }
                Type::List(Box::new(of))
            }
            Kind::Choose(condition, yes, no) => {
                self.expect(condition, &Type::Bool)?;
                match self.agree(yes, no)? {
                    Some(of) => of,
                    None => {
                        return Err(CelError::new(
                            yes.at,
                            "nothing says what type these facts have",
                        ));
                    }
                }
            }
            Kind::Binary(op, left, right) => self.binary(*op, left, right)?,
        };
        Ok(Known::Type(known))
    }

    fn binary(&mut self, op: Op, left: &Node, right: &Node) -> Result<Type, CelError> {
        match op {
            Op::And | Op::Or => {
                self.expect(left, &Type::Bool)?;
                self.expect(right, &Type::Bool)?;
                Ok(Type::Bool)
            }
            Op::Add | Op::Subtract | Op::Multiply => {
                self.expect(left, &Type::Number)?;
                self.expect(right, &Type::Number)?;
                Ok(Type::Number)
            }
            Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                self.expect(left, &Type::Number)?;
                self.expect(right, &Type::Number)?;
                Ok(Type::Bool)
            }
            Op::Equal | Op::NotEqual => {
                self.agree(left, right)?;
                Ok(Type::Bool)
            }
            Op::In => {
                match self.infer(right)? {
                    Known::Type(Type::List(of)) => self.expect(left, &of)?,
                    Known::Empty => {
                        self.infer(left)?;
                    }
                    Known::Fact(_) => {
                        let Known::Type(of) = self.infer(left)? else {
                            return Err(CelError::new(
                                left.at,
                                "nothing says what type these facts have",
                            ));
                        };
                        self.expect(right, &Type::List(Box::new(of)))?;
                    }
                    Known::Type(other) => {
                        return Err(CelError::new(
                            right.at,
                            format!("a list is expected after in, this is a {other}"),
                        ));
                    }
                }
                Ok(Type::Bool)
            }
        }
    }
}
