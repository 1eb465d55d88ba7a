//! Text to tokens.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{CelError, MAX_EXPRESSION_BYTES, Number};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Number(Number),
    Text(String),
    Name(String),
    Symbol(&'static str),
    End,
}

/// Longest first: `<=` before `<`.
const SYMBOLS: [&str; 20] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "?", ":", "(", ")", "[", "]",
    ",", ".",
];

pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, CelError> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(CelError::new(
            0,
            format!(
                "an expression has at most {MAX_EXPRESSION_BYTES} bytes, this one {}",
                text.len()
            ),
        ));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let start = at;
        let token = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if c.is_ascii_digit() {
            let (token, len) = number(rest, at)?;
            at += len;
            token
        } else if c == '"' || c == '\'' {
            let (token, len) = string(rest, c, at)?;
            at += len;
            token
        } else if c.is_ascii_alphabetic() || c == '_' {
            let len = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            if matches!(rest.as_bytes().get(len), Some(b'"' | b'\'')) {
                return Err(CelError::new(
                    at,
                    "raw and byte strings are not part of the subset",
                ));
            }
            at += len;
            Token::Name(rest[..len].into())
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            at += symbol.len();
            Token::Symbol(symbol)
        } else {
            let hint = match c {
                '/' | '%' => "; there is no division here, multiply by a decimal instead",
                '=' => "; equality is written ==",
                '&' | '|' => "; and is written &&, or is written ||",
                '{' | '}' => "; maps are not part of the subset",
                _ => "",
            };
            return Err(CelError::new(
                at,
                format!("{c:?} does not belong in an expression{hint}"),
            ));
        };
        tokens.push((start, token));
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), CelError> {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |len| from + len)
    };
    let mut len = digits(0);
    // `1.x` would be a field of a number: not CEL either.
    if rest[len..].starts_with('.') && rest[len + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        len = digits(len + 1);
    }
    if rest[len..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err(CelError::new(
            at,
            "a number is written in plain decimal digits: no exponent, no suffix, no 0x",
        ));
    }
    let number = rest[..len]
        .parse()
        .map_err(|error| CelError::new(at, format!("{error}")))?;
    Ok((Token::Number(number), len))
}

fn string(rest: &str, quote: char, at: usize) -> Result<(Token, usize), CelError> {
    if rest[1..].starts_with([quote, quote]) {
        return Err(CelError::new(
            at,
            "triple quotes are not part of the subset",
        ));
    }
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Text(text), offset + 1)),
            '\n' | '\r' => break,
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '"' | '\''))) => text.push(escaped),
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                _ => {
                    return Err(CelError::new(
                        at + offset,
                        "the escapes are \\\\ \\\" \\' \\n \\t",
                    ));
                }
            },
            _ => text.push(c),
        }
    }
    Err(CelError::new(at, "the text is not closed"))
}
