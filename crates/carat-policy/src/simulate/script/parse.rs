//! From text to a [`Script`].

use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::{
    Action, Expression, Function, Known, Line, MAX_LINES, MAX_SCRIPT_BYTES, NAMES, Operator,
    Script, ScriptError,
};
use crate::simulate::rng::Rng;

/// Deepest nesting of an expression.
const MAX_DEPTH: usize = 64;

const WORDS: [&str; 11] = [
    "let", "set", "cheat", "honest", "evade", "when", "with", "and", "or", "not", "if",
];

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 15] = [
    "<=", ">=", "==", "!=", "<", ">", "=", "+", "-", "*", "/", "%", "(", ")", ",",
];

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    line: usize,
    /// Column after the last token.
    end: usize,
    depth: usize,
    own: BTreeMap<String, usize>,
}

type Parsed<T> = Result<T, ScriptError>;

pub(super) fn script(text: &str, rng: Rng) -> Parsed<Script> {
    let whole = |what: String| ScriptError {
        line: 1,
        column: 1,
        what,
    };
    if text.len() > MAX_SCRIPT_BYTES {
        return Err(whole(format!(
            "a script has at most {MAX_SCRIPT_BYTES} bytes"
        )));
    }
    let mut parser = Parser {
        tokens: vec![],
        at: 0,
        line: 0,
        end: 0,
        depth: 0,
        own: BTreeMap::new(),
    };
    let mut script = Script {
        lines: vec![],
        own: vec![],
        evades: 0.0,
        rng,
    };
    for (number, line) in text.lines().enumerate() {
        parser.line = number + 1;
        parser.read(line)?;
        if !parser.tokens.is_empty() {
            parser.statement(&mut script)?;
        }
        if script.lines.len() > MAX_LINES || script.own.len() > MAX_LINES {
            return Err(parser.wrong(format!("a script has at most {MAX_LINES} lines")));
        }
    }
    let decides = |line: &Line| matches!(line.action, Action::Cheat(_) | Action::Honest);
    if !script.lines.iter().any(decides) {
        return Err(whole(
            "nothing in it decides; write a line like `cheat when value > p99`".to_string(),
        ));
    }
    Ok(script)
}

impl Parser {
    fn wrong(&self, what: impl Into<String>) -> ScriptError {
        let column = self
            .tokens
            .get(self.at)
            .map_or(self.end, |(column, _)| *column);
        ScriptError {
            line: self.line,
            column,
            what: what.into(),
        }
    }

    /// Splits a line into tokens.
    fn read(&mut self, line: &str) -> Parsed<()> {
        self.tokens.clear();
        self.at = 0;
        let line = line.split('#').next().unwrap_or_default();
        let mut rest = line;
        loop {
            rest = rest.trim_start();
            let place = line.len() - rest.len();
            // Columns are counted in characters.
            let column = line[..place].chars().count() + 1;
            self.end = column;
            let Some(first) = rest.chars().next() else {
                return Ok(());
            };
            let length = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
            let (token, length) = if first.is_ascii_digit() || first == '.' {
                let length = length(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
                let number = rest[..length].replace('_', "").parse::<f64>();
                match number {
                    Ok(number) if number.is_finite() => (Token::Number(number), length),
                    _ => {
                        let what = format!("{:?} is no number", &rest[..length]);
                        return Err(ScriptError {
                            line: self.line,
                            column,
                            what,
                        });
                    }
                }
            } else if first.is_ascii_alphabetic() || first == '_' {
                let length = length(|c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Name(rest[..length].to_string()), length)
            } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                (Token::Symbol(symbol), symbol.len())
            } else {
                let what = format!("{first:?} means nothing here");
                return Err(ScriptError {
                    line: self.line,
                    column,
                    what,
                });
            };
            self.tokens.push((column, token));
            rest = &rest[length..];
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn takes(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        self.takes(&Token::Name(word.to_string()))
    }

    fn symbol(&mut self, symbol: &'static str) -> bool {
        self.takes(&Token::Symbol(symbol))
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.symbol(symbol) {
            Ok(())
        } else {
            Err(self.wrong(format!("`{symbol}` should stand here")))
        }
    }

    fn statement(&mut self, script: &mut Script) -> Parsed<()> {
        if self.word("evade") {
            match self.peek() {
                Some(Token::Number(share)) if (0.0..=1.0).contains(share) => script.evades = *share,
                _ => {
                    return Err(self.wrong(
                        "`evade` takes the share of audits that come to nothing, from 0 to 1",
                    ));
                }
            }
            self.at += 1;
            return self.finish();
        }
        if self.word("let") {
            let name = self.new_name()?;
            self.expect("=")?;
            let minus = self.symbol("-");
            let Some(Token::Number(number)) = self.peek().cloned() else {
                return Err(self.wrong("`let` gives a variable its first value, a number; later values come with `set`"));
            };
            self.at += 1;
            self.own.insert(name, script.own.len());
            script.own.push(if minus { -number } else { number });
            return self.finish();
        }
        let action = if self.word("set") {
            let name = match self.peek() {
                Some(Token::Name(name)) => self.own.get(name).copied(),
                _ => None,
            };
            let Some(name) = name else {
                return Err(self.wrong("`set` changes a variable of the script's own: declare it above with `let NAME = NUMBER`"));
            };
            self.at += 1;
            self.expect("=")?;
            Action::Set(name, self.expression()?)
        } else if self.word("cheat") {
            let chance = if self.word("with") {
                self.expression()?
            } else {
                Expression::Number(1.0)
            };
            Action::Cheat(chance)
        } else if self.word("honest") {
            Action::Honest
        } else {
            return Err(self.wrong("a line begins with cheat, honest, let, set or evade"));
        };
        let when = if self.word("when") {
            Some(self.expression()?)
        } else {
            None
        };
        script.lines.push(Line { action, when });
        self.finish()
    }

    fn finish(&self) -> Parsed<()> {
        if self.at < self.tokens.len() {
            return Err(self.wrong("the line should end here; a condition begins with `when`"));
        }
        Ok(())
    }

    fn new_name(&mut self) -> Parsed<String> {
        let Some(Token::Name(name)) = self.peek().cloned() else {
            return Err(self.wrong("a name should stand here"));
        };
        if WORDS.contains(&name.as_str())
            || NAMES.contains(&name.as_str())
            || self.own.contains_key(&name)
        {
            return Err(self.wrong(format!("the name {name} is taken")));
        }
        self.at += 1;
        Ok(name)
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.deeper(|parser| parser.chain(0))
    }

    /// Guards against expressions that nest too deeply.
    fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong(format!("more than {MAX_DEPTH} levels of brackets")));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    /// Operators from the loosest to the tightest: or, and, comparison, sum, product.
    fn chain(&mut self, level: usize) -> Parsed<Expression> {
        if level == 2 && self.word("not") {
            let of = self.deeper(|parser| parser.chain(2))?;
            return Ok(Expression::One(Function::Not, Box::new(of)));
        }
        if level == 5 {
            return self.atom();
        }
        let mut left = self.chain(level + 1)?;
        let mut length = 0;
        while let Some(operator) = self.operator(level) {
            self.at += 1;
            length += 1;
            // A long chain is a deep tree.
            if length > MAX_DEPTH {
                return Err(self.wrong(format!(
                    "more than {MAX_DEPTH} terms in a row; use brackets or several lines"
                )));
            }
            let right = self.chain(level + 1)?;
            left = Expression::Two(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operator(&self, level: usize) -> Option<Operator> {
        let operator = match self.peek()? {
            Token::Name(name) => match (level, name.as_str()) {
                (0, "or") => Operator::Or,
                (1, "and") => Operator::And,
                _ => return None,
            },
            Token::Symbol(symbol) => match (level, *symbol) {
                (2, "<") => Operator::Less,
                (2, "<=") => Operator::LessOrEqual,
                (2, ">") => Operator::More,
                (2, ">=") => Operator::MoreOrEqual,
                (2, "==") => Operator::Equal,
                (2, "!=") => Operator::NotEqual,
                (3, "+") => Operator::Plus,
                (3, "-") => Operator::Minus,
                (4, "*") => Operator::Times,
                (4, "/") => Operator::Divide,
                (4, "%") => Operator::Remainder,
                _ => return None,
            },
            Token::Number(_) => return None,
        };
        Some(operator)
    }

    fn atom(&mut self) -> Parsed<Expression> {
        if self.symbol("-") {
            let of = self.deeper(Self::atom)?;
            return Ok(Expression::One(Function::Negate, Box::new(of)));
        }
        if self.symbol("(") {
            let inside = self.expression()?;
            self.expect(")")?;
            return Ok(inside);
        }
        match self.peek().cloned() {
            Some(Token::Number(number)) => {
                self.at += 1;
                Ok(Expression::Number(number))
            }
            Some(Token::Name(name)) => self.named(&name),
            _ => Err(self.wrong("a number, a name or a bracket should stand here")),
        }
    }

    fn named(&mut self, name: &str) -> Parsed<Expression> {
        let one = match name {
            "abs" => Some(Function::Absolute),
            "floor" => Some(Function::Floor),
            "sqrt" => Some(Function::Root),
            "ln" => Some(Function::Logarithm),
            "exp" => Some(Function::Exponential),
            _ => None,
        };
        let two = match name {
            "min" => Some(Operator::Least),
            "max" => Some(Operator::Most),
            _ => None,
        };
        if let Some(function) = one {
            self.at += 1;
            self.expect("(")?;
            let of = self.expression()?;
            self.expect(")")?;
            return Ok(Expression::One(function, Box::new(of)));
        }
        if let Some(operator) = two {
            self.at += 1;
            self.expect("(")?;
            let a = self.expression()?;
            self.expect(",")?;
            let b = self.expression()?;
            self.expect(")")?;
            return Ok(Expression::Two(operator, Box::new(a), Box::new(b)));
        }
        if let Some(own) = self.own.get(name) {
            let own = *own;
            self.at += 1;
            return Ok(Expression::Own(own));
        }
        match NAMES.iter().position(|known| *known == name) {
            Some(known) => {
                self.at += 1;
                Ok(Expression::Known(Known(known)))
            }
            None => Err(self.wrong(format!(
                "nothing is called {name}; a script can read {}",
                NAMES.join(", ")
            ))),
        }
    }
}
