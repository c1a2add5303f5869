//! Tokens.

use super::{Span, SyntaxError, hints};
use crate::folding::is_invisible;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(Box<str>),
    /// A name in backticks: never a keyword.
    QuotedName(Box<str>),
    Number(Box<str>),
    Text(Box<str>),
    /// A fixed sign: `&&`, `(`, `<=` ...
    Sign(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 21] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")",
    "[", "]", ",",
];

/// Quotes that word processors put in the place of straight ones.
const TYPOGRAPHIC_QUOTES: [char; 10] = [
    '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{ab}', '\u{bb}',
    '\u{2032}', '\u{2033}',
];

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn span_from(&self, start: usize) -> Span {
        // Expressions are bounded far below 4 GiB before they are read.
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: offset(start), end: offset(self.at) }
    }

    fn error<T>(&self, at: usize, message: impl Into<String>) -> Result<T, SyntaxError> {
        let offset = u32::try_from(at).unwrap_or(u32::MAX);
        Err(SyntaxError { offset, message: message.into() })
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    pub(super) fn next(&mut self) -> Result<(Token, Span), SyntaxError> {
        self.skip_blanks();
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, self.span_from(start)));
        };
        if let Some(hint) = hints::for_sign(rest) {
            return self.error(start, hint);
        }
        let second_digit = || rest[1..].starts_with(|c: char| c.is_ascii_digit());
        let token = match first {
            'r' | 'R' if rest[1..].starts_with(['"', '\'']) => {
                self.at += 1;
                self.text_literal(true)?
            }
            '"' | '\'' => self.text_literal(false)?,
            '0'..='9' => self.number()?,
            '.' if second_digit() => self.number()?,
            '.' => {
                self.at += 1;
                Token::Sign(".")
            }
            '`' => self.quoted_name()?,
            'a'..='z' | 'A'..='Z' | '_' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                self.at += length;
                Token::Name(rest[..length].into())
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => {
                    self.at += sign.len();
                    Token::Sign(sign)
                }
                None => return self.error(start, unexpected(rest, first)),
            },
        };
        Ok((token, self.span_from(start)))
    }

    fn quoted_name(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        let inner = &self.rest()[1..];
        let Some(length) = inner.find(['`', '\n']).filter(|at| inner[*at..].starts_with('`'))
        else {
            return self.error(start, "a name in backticks has no end: add `");
        };
        if length == 0 {
            return self.error(start, "a name in backticks is empty");
        }
        self.at += length + 2;
        Ok(Token::QuotedName(inner[..length].into()))
    }

    fn digits(&mut self) -> usize {
        let rest = self.rest();
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at += length;
        length
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        let rest = self.rest();
        if rest.starts_with("0x") || rest.starts_with("0X") {
            self.at += 2;
            let digits = self.rest();
            let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            self.at += length;
            if length == 0 {
                return self.error(start, "a number in hexadecimal needs digits behind 0x");
            }
        } else {
            self.digits();
            let fraction = self.rest();
            if fraction.starts_with('.') && fraction[1..].starts_with(|c: char| c.is_ascii_digit())
            {
                self.at += 1;
                self.digits();
            }
            if self.rest().starts_with(['e', 'E']) {
                self.at += 1;
                if self.rest().starts_with(['+', '-']) {
                    self.at += 1;
                }
                if self.digits() == 0 {
                    return self.error(start, "an exponent needs digits: 1e6");
                }
            }
        }
        if self.rest().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return self.error(
                self.at,
                "a number ends in a letter; there are no suffixes (write 5, 5.5 or 0x1F)",
            );
        }
        Ok(Token::Number(self.text[start..self.at].into()))
    }

    fn text_literal(&mut self, raw: bool) -> Result<Token, SyntaxError> {
        let start = self.at;
        let rest = self.rest();
        let quote = if rest.starts_with('"') { '"' } else { '\'' };
        if rest[1..].starts_with([quote]) && rest[2..].starts_with([quote]) {
            return self.error(start, "texts in triple quotes are not part of the language");
        }
        let mut text = String::new();
        let mut characters = rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                _ if character == quote => {
                    self.at += at + 1;
                    return Ok(Token::Text(text.into()));
                }
                '\n' => break,
                '\\' if !raw => match escape(&mut characters) {
                    Some(character) => text.push(character),
                    None => {
                        return self.error(
                            start + at,
                            "unknown escape; there are \\\\ \\\" \\' \\n \\r \\t \\xHH \\uHHHH and \
                             \\UHHHHHHHH (for a pattern write r\"...\")",
                        );
                    }
                },
                _ => text.push(character),
            }
        }
        self.error(start, format!("a text has no end: add {quote}"))
    }
}

fn escape(characters: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let (_, kind) = characters.next()?;
    let length = match kind {
        '\\' | '"' | '\'' | '`' | '?' => return Some(kind),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'x' | 'X' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let mut code = 0u32;
    for _ in 0..length {
        let (_, digit) = characters.next()?;
        code = code.checked_mul(16)?.checked_add(digit.to_digit(16)?)?;
    }
    char::from_u32(code)
}

fn unexpected(rest: &str, first: char) -> String {
    match first {
        '=' => "found =; equality is ==".to_owned(),
        '&' => "found &; both is &&".to_owned(),
        '|' => "found |; either is ||".to_owned(),
        '{' => "maps are not part of the language".to_owned(),
        _ if rest.starts_with(TYPOGRAPHIC_QUOTES) => {
            "found a typographic quote; texts stand in straight quotes: \"GB\" or 'GB'".to_owned()
        }
        _ if is_invisible(first) => {
            format!("found a character that shows nothing (U+{:04X}): delete it", u32::from(first))
        }
        _ if first.is_whitespace() => format!(
            "found a space that is not a plain one (U+{:04X}): replace it",
            u32::from(first)
        ),
        _ => format!("found {first:?}, which begins nothing"),
    }
}
