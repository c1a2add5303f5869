//! The words of a rule expression: names, and the lists and tables that calls name by text.

use std::collections::BTreeSet;

use verdict_config::ObjectKind;

use super::Reference;

/// What one expression names.
#[derive(Debug, Default, PartialEq)]
pub struct Words {
    /// Names that are neither called nor members of another name: possible fields.
    pub names: BTreeSet<String>,
    /// Lists of `keywords`, `listed` and `name_match`.
    lists: BTreeSet<String>,
    /// Tables and columns of `lookup`.
    lookups: BTreeSet<(String, String)>,
}

#[derive(Debug, PartialEq)]
enum Token<'text> {
    Name(&'text str),
    Text(String),
    Sign(char),
}

impl Words {
    /// Reads any text; what is no expression gives fewer words, never an error.
    pub fn read(expression: &str) -> Self {
        let tokens = tokens(expression);
        let mut words = Self::default();
        for (at, token) in tokens.iter().enumerate() {
            let Token::Name(name) = token else { continue };
            let called = tokens.get(at + 1) == Some(&Token::Sign('('));
            let member = at > 0 && tokens.get(at - 1) == Some(&Token::Sign('.'));
            if !called && !member {
                words.names.insert((*name).to_owned());
            }
            let argument = |position: usize| match tokens.get(at + 2 + 2 * position) {
                Some(Token::Text(text)) => Some(text.clone()),
                _ => None,
            };
            match (called && !member, *name) {
                (true, "keywords" | "listed" | "name_match") => words.lists.extend(argument(0)),
                (true, "lookup") => words.lookups.extend(argument(0).zip(argument(1))),
                _ => {}
            }
        }
        words
    }

    /// The lists and tables as references.
    pub fn references(&self, path: &str) -> Vec<Reference> {
        let list = |name: &String| Reference::to(&[ObjectKind::List], name, path);
        let table = |(name, column): &(String, String)| {
            let mut table = Reference::to(&[ObjectKind::Table], name, path);
            table.parts.push(column.clone());
            table
        };
        self.lists.iter().map(list).chain(self.lookups.iter().map(table)).collect()
    }
}

fn tokens(expression: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let (text, length) = quoted(rest, first);
            tokens.push(Token::Text(text));
            rest = &rest[length..];
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Name(&rest[..end]));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// A quoted text from its opening quote on, and how many bytes it takes.
fn quoted(rest: &str, quote: char) -> (String, usize) {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            end if end == quote => return (text, at + end.len_utf8()),
            other => text.push(other),
        }
    }
    (text, rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_lists_and_lookups() {
        let check = |text: &str, names: &[&str], lists: &[&str], lookups: &[(&str, &str)]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            let pair = |&(a, b): &(&str, &str)| (a.to_owned(), b.to_owned());
            let lookups = lookups.iter().map(pair).collect();
            let expected = Words { names: owned(names), lists: owned(lists), lookups };
            assert_eq!(Words::read(text), expected, "{text}");
        };
        check(
            r#"keywords("gambling", description) && !listed('ok', registration_number)"#,
            &["description", "registration_number"],
            &["gambling", "ok"],
            &[],
        );
        check(
            r#"lookup("mcc", "risk", mcc) == "high" || scores.risk > 0.5"#,
            &["mcc", "scores"],
            &[],
            &[("mcc", "risk")],
        );
        check(r#"name.contains("keywords(\"x\")") ? a : b"#, &["name", "a", "b"], &[], &[]);
        check(r#""unclosed"#, &[], &[], &[]);
    }
}
