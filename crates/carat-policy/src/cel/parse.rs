//! Tokens to a tree: recursive descent, bounded in depth.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::lex::{self, Token};
use super::{CelError, Kind, MAX_DEPTH, MAX_OPERATORS, Node, Op, Path, ROOTS, TextTest, Value};

pub(super) fn parse(text: &str) -> Result<Node, CelError> {
    let mut parser = Parser {
        tokens: lex::tokens(text)?,
        next: 0,
        depth: 0,
        operators: 0,
    };
    let node = parser.choice()?;
    match parser.peek() {
        (_, Token::End) => Ok(node),
        (at, token) => Err(CelError::new(
            *at,
            format!("{} does not belong here", shown(token)),
        )),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    /// Operators so far: a long chain is a deep tree, which is walked recursively.
    operators: usize,
}

type Parsed = Result<Node, CelError>;

impl Parser {
    fn peek(&self) -> &(usize, Token) {
        // The end is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> (usize, Token) {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(&self.peek().1, Token::Symbol(found) if *found == symbol);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), CelError> {
        let (at, token) = self.peek();
        let error = CelError::new(
            *at,
            format!("{symbol} is expected here, not {}", shown(token)),
        );
        if self.eat(symbol) { Ok(()) } else { Err(error) }
    }

    fn deeper(&mut self) -> Result<(), CelError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(CelError::new(
                self.peek().0,
                format!("nested more than {MAX_DEPTH} deep"),
            ));
        }
        Ok(())
    }

    fn choice(&mut self) -> Parsed {
        self.deeper()?;
        let condition = self.binary(0)?;
        let at = self.peek().0;
        let node = if self.eat("?") {
            let yes = self.binary(0)?;
            self.expect(":")?;
            let no = self.choice()?;
            Node {
                at,
                kind: Kind::Choose(Box::new(condition), Box::new(yes), Box::new(no)),
            }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Operators by strength: `||`, `&&`, comparisons, `+ -`, `*`. All group to the left, as in CEL.
    fn binary(&mut self, level: usize) -> Parsed {
        const LEVELS: [&[Op]; 5] = [
            &[Op::Or],
            &[Op::And],
            &[
                Op::Equal,
                Op::NotEqual,
                Op::LessEqual,
                Op::GreaterEqual,
                Op::Less,
                Op::Greater,
                Op::In,
            ],
            &[Op::Add, Op::Subtract],
            &[Op::Multiply],
        ];
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        loop {
            let at = self.peek().0;
            let found = match &self.peek().1 {
                Token::Symbol(symbol) => operators.iter().find(|op| op.as_str() == *symbol),
                Token::Name(name) if name == "in" => operators.iter().find(|op| **op == Op::In),
                _ => None,
            };
            let Some(op) = found.copied() else {
                return Ok(left);
            };
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                return Err(CelError::new(
                    at,
                    format!("more than {MAX_OPERATORS} operators"),
                ));
            }
            self.next += 1;
            let right = self.binary(level + 1)?;
            left = Node {
                at,
                kind: Kind::Binary(op, Box::new(left), Box::new(right)),
            };
        }
    }

    fn unary(&mut self) -> Parsed {
        let at = self.peek().0;
        let not = self.eat("!");
        if !not && !self.eat("-") {
            return self.member();
        }
        self.deeper()?;
        let inner = Box::new(self.unary()?);
        self.depth -= 1;
        Ok(Node {
            at,
            kind: if not {
                Kind::Not(inner)
            } else {
                Kind::Negate(inner)
            },
        })
    }

    /// Facts by dots and brackets, and tests of texts.
    fn member(&mut self) -> Parsed {
        let mut node = self.primary()?;
        loop {
            let at = self.peek().0;
            if self.eat(".") {
                let (name_at, token) = self.advance();
                let Token::Name(name) = token else {
                    return Err(CelError::new(
                        name_at,
                        format!("a name is expected after the dot, not {}", shown(&token)),
                    ));
                };
                if self.eat("(") {
                    node = self.method(node, &name, name_at)?;
                } else {
                    node = field(node, name, at)?;
                }
            } else if self.eat("[") {
                match self.advance() {
                    (_, Token::Text(name)) => node = field(node, name, at)?,
                    (at, _) => {
                        return Err(CelError::new(
                            at,
                            "between brackets stands the name of a fact in quotes",
                        ));
                    }
                }
                self.expect("]")?;
            } else {
                return match &node.kind {
                    Kind::Fact(path) if path.len() < 2 => Err(CelError::new(
                        node.at,
                        format!("{} is a group of facts; name one, such as {0}.id", path[0]),
                    )),
                    _ => Ok(node),
                };
            }
        }
    }

    fn method(&mut self, on: Node, name: &str, at: usize) -> Parsed {
        let test = match name {
            "startsWith" => TextTest::StartsWith,
            "endsWith" => TextTest::EndsWith,
            "contains" => TextTest::Contains,
            "size" => {
                self.expect(")")?;
                return Ok(Node {
                    at,
                    kind: Kind::Size(Box::new(on)),
                });
            }
            _ => return Err(unknown_function(name, at)),
        };
        let argument = self.choice()?;
        self.expect(")")?;
        Ok(Node {
            at,
            kind: Kind::Text(test, Box::new(on), Box::new(argument)),
        })
    }

    fn primary(&mut self) -> Parsed {
        let (at, token) = self.advance();
        let kind = match token {
            Token::Number(number) => Kind::Literal(Value::Number(number)),
            Token::Text(text) => Kind::Literal(Value::Text(text)),
            Token::Symbol("(") => {
                let inner = self.choice()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Symbol("[") => Kind::List(self.items()?),
            Token::Name(name) => match name.as_str() {
                "true" => Kind::Literal(Value::Bool(true)),
                "false" => Kind::Literal(Value::Bool(false)),
                _ if self.eat("(") => return self.function(&name, at),
                root if ROOTS.contains(&root) => Kind::Fact(vec![name]),
                _ => {
                    let roots = ROOTS.join(", ");
                    return Err(CelError::new(
                        at,
                        format!("there is no {name}; facts start with {roots}"),
                    ));
                }
            },
            token => {
                return Err(CelError::new(
                    at,
                    format!("a value is expected here, not {}", shown(&token)),
                ));
            }
        };
        Ok(Node { at, kind })
    }

    fn items(&mut self) -> Result<Vec<Node>, CelError> {
        let mut items = Vec::new();
        if self.eat("]") {
            return Ok(items);
        }
        loop {
            let item = self.unary()?;
            let plain = match &item.kind {
                Kind::Negate(inner) => matches!(inner.kind, Kind::Literal(_)),
                kind => matches!(kind, Kind::Literal(_) | Kind::Fact(_)),
            };
            if !plain {
                return Err(CelError::new(item.at, "a list holds literals and facts"));
            }
            items.push(item);
            if self.eat("]") {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn function(&mut self, name: &str, at: usize) -> Parsed {
        match name {
            "has" => {
                let argument = self.choice()?;
                self.expect(")")?;
                match argument.kind {
                    Kind::Fact(path) if path.len() > 1 => Ok(Node {
                        at,
                        kind: Kind::Has(path),
                    }),
                    _ => Err(CelError::new(
                        argument.at,
                        "has() takes a fact, such as request.action",
                    )),
                }
            }
            "size" => {
                let argument = Box::new(self.choice()?);
                self.expect(")")?;
                Ok(Node {
                    at,
                    kind: Kind::Size(argument),
                })
            }
            _ => Err(unknown_function(name, at)),
        }
    }
}

fn field(on: Node, name: String, at: usize) -> Parsed {
    let mut path: Path = match on.kind {
        Kind::Fact(path) => path,
        _ => return Err(CelError::new(at, "only facts have fields")),
    };
    path.push(name);
    Ok(Node {
        at: on.at,
        kind: Kind::Fact(path),
    })
}

fn unknown_function(name: &str, at: usize) -> CelError {
    CelError::new(
        at,
        format!(
            "{name}() is not part of the subset, which has has(), size(), startsWith(), endsWith() and contains()"
        ),
    )
}

fn shown(token: &Token) -> String {
    match token {
        Token::Number(number) => format!("{number}"),
        Token::Text(text) => format!("{text:?}"),
        Token::Name(name) => name.clone(),
        Token::Symbol(symbol) => (*symbol).into(),
        Token::End => "the end".into(),
    }
}
