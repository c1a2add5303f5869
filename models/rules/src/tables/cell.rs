//! The language of condition cells.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use smallvec::SmallVec;
use verdict_config::{FieldType, TimestampMs, Value};

/// The longest cell in bytes.
const CELL_BYTES_MAX: usize = 16_384;
/// The most tests of a cell.
const TESTS_MAX: usize = 1_024;

/// What a condition cell says.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Any value, and none.
    Any,
    /// One of the tests holds, or with `negated` none does.
    Tests { negated: bool, tests: SmallVec<[Test; 2]> },
}

/// One test of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The value is missing.
    Unknown,
    /// It is this truth value.
    Bool(bool),
    /// It is, or as a set contains, this text.
    Text(Box<str>),
    /// It is a number or time between the ends.
    Range(Range),
}

/// An interval; an end that is `None` is open without limit. A single number is `[a..a]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// The low end and whether it belongs.
    pub low: Option<(Ordered, bool)>,
    /// The high end and whether it belongs.
    pub high: Option<(Ordered, bool)>,
}

/// A number or time that is compared in order: exactly, unless its field is a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ordered {
    /// An int, a decimal, or a time in milliseconds.
    Exact(Decimal),
    /// A float.
    Float(f64),
}

impl Ordered {
    /// A value as it is compared in a column of a type; `None` for values without order.
    pub fn of(value: &Value, field_type: FieldType) -> Option<Self> {
        if field_type == FieldType::Float {
            return value.as_f64().map(Self::Float);
        }
        match value {
            Value::Int(number) => Some(Self::Exact((*number).into())),
            Value::Decimal(number) => Some(Self::Exact(*number)),
            Value::Time(at) => Some(Self::Exact(at.0.into())),
            Value::Float(number) => Decimal::from_f64_retain(*number).map(Self::Exact),
            Value::Bool(_) | Value::Text(_) | Value::Set(_) => None,
        }
    }

    /// The order; a column's numbers are all of one kind.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Exact(one), Self::Exact(other)) => one.cmp(other),
            // Minus zero is zero, as everywhere else.
            (Self::Float(one), Self::Float(other)) => (one + 0.0).total_cmp(&(other + 0.0)),
            (Self::Exact(_), Self::Float(_)) => Ordering::Less,
            (Self::Float(_), Self::Exact(_)) => Ordering::Greater,
        }
    }
}

impl Range {
    /// Whether a value lies within.
    pub fn holds(&self, value: &Ordered) -> bool {
        let above = self.low.as_ref().is_none_or(|(low, belongs)| match value.order(low) {
            Ordering::Greater => true,
            Ordering::Equal => *belongs,
            Ordering::Less => false,
        });
        above
            && self.high.as_ref().is_none_or(|(high, belongs)| match value.order(high) {
                Ordering::Less => true,
                Ordering::Equal => *belongs,
                Ordering::Greater => false,
            })
    }
}

impl Cell {
    /// Reads a trimmed cell.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str, field_type: FieldType) -> Result<Self, String> {
        if text.is_empty() || text == "-" {
            return Ok(Self::Any);
        }
        if text.len() > CELL_BYTES_MAX {
            return Err(format!("at most {CELL_BYTES_MAX} bytes a cell, got {}", text.len()));
        }
        let inner = text.strip_prefix("not(").and_then(|rest| rest.strip_suffix(')'));
        if inner.is_none() && text.starts_with("not(") {
            return Err("not( has no closing parenthesis at the end of the cell".to_owned());
        }
        let tests = split(inner.unwrap_or(text))?
            .into_iter()
            .map(|item| Test::parse(item, field_type))
            .collect::<Result<SmallVec<[Test; 2]>, String>>()?;
        Ok(Self::Tests { negated: inner.is_some(), tests })
    }
}

/// Splits at commas outside of quotes.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut items = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(text[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err("a quotation mark is not closed: add one at the end of the text".to_owned());
    }
    items.push(text[start..].trim());
    if items.len() > TESTS_MAX {
        let count = items.len();
        return Err(format!("at most {TESTS_MAX} tests a cell, got {count}: use a list instead"));
    }
    Ok(items)
}

impl Test {
    fn parse(text: &str, field_type: FieldType) -> Result<Self, String> {
        if text.is_empty() {
            return Err("there is nothing before or behind a comma: remove the comma".to_owned());
        }
        if text == "unknown" {
            return Ok(Self::Unknown);
        }
        if text == "-" {
            return Err("- stands for any value and cannot be part of a list".to_owned());
        }
        match field_type {
            FieldType::Bool => match text {
                "true" => Ok(Self::Bool(true)),
                "false" => Ok(Self::Bool(false)),
                _ => Err(format!("{text:?} is no truth value: write true, false, unknown or -")),
            },
            FieldType::Symbol | FieldType::String | FieldType::Set => text_literal(text),
            FieldType::Int | FieldType::Decimal | FieldType::Float | FieldType::Time => {
                range(text, field_type).map(Self::Range)
            }
        }
    }
}

fn text_literal(text: &str) -> Result<Test, String> {
    if let Some(inner) = text.strip_prefix('"') {
        let inner = inner.strip_suffix('"').filter(|inner| !inner.is_empty());
        let inner = inner.ok_or_else(|| {
            format!("{text} is no text: write it between two quotation marks, or without any")
        })?;
        return Ok(Test::Text(inner.replace("\\\"", "\"").replace("\\\\", "\\").into()));
    }
    if text.starts_with(['<', '>', '=', '[', ']', '(', '!']) || text.starts_with("not(") {
        return Err(format!(
            "{text:?} compares or excludes, but the field is a text: write the text itself, \
             not(...) around the whole cell, or quotation marks around the text"
        ));
    }
    Ok(Test::Text(text.into()))
}

fn range(text: &str, field_type: FieldType) -> Result<Range, String> {
    for (sign, is_low, belongs) in
        [("<=", false, true), (">=", true, true), ("<", false, false), (">", true, false)]
    {
        if let Some(rest) = text.strip_prefix(sign) {
            let end = Some((number(rest.trim(), field_type)?, belongs));
            return Ok(if is_low {
                Range { low: end, high: None }
            } else {
                Range { low: None, high: end }
            });
        }
    }
    let Some(rest) = text.strip_prefix(['[', '(', ']']) else {
        let number = number(text, field_type)?;
        return Ok(Range { low: Some((number, true)), high: Some((number, true)) });
    };
    let shape = || format!("{text:?} is no interval: write [a..b], (a..b), [a..b) or ]a..b[");
    let inner = rest.strip_suffix([']', ')', '[']).ok_or_else(shape)?;
    let (low, high) = inner.split_once("..").ok_or_else(shape)?;
    let low = (number(low.trim(), field_type)?, text.starts_with('['));
    let high = (number(high.trim(), field_type)?, text.ends_with(']'));
    let holds_something = match low.0.order(&high.0) {
        Ordering::Less => true,
        Ordering::Equal => low.1 && high.1,
        Ordering::Greater => false,
    };
    if !holds_something {
        return Err(format!("no value lies in {text}: exchange its ends or include them"));
    }
    Ok(Range { low: Some(low), high: Some(high) })
}

/// Why people and programs may read a cell of numbers differently, although it can be read.
pub fn ambiguity(text: &str, field_type: FieldType) -> Option<String> {
    let is_number = matches!(field_type, FieldType::Int | FieldType::Decimal | FieldType::Float);
    if !is_number {
        return None;
    }
    let inner = text.strip_prefix("not(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    if has_ambiguous_comma(inner, field_type) {
        return Some(format!(
            "{text:?} can be one number or several: write a number without separators of thousands \
             and with a decimal point (1000.5), and a blank behind each comma between numbers \
             (1, 2, 3)"
        ));
    }
    let items = inner.split(',').map(str::trim);
    items.filter(|item| !matches!(*item, "" | "-" | "unknown")).find_map(|item| {
        let numbers = item.trim_start_matches(['<', '>', '=', '[', ']', '(']);
        let numbers = numbers.trim_end_matches([']', ')', '[']);
        numbers.split("..").find_map(|number| number_ambiguity(number.trim(), field_type))
    })
}

/// Whether a comma stands between digits and may be a separator of thousands or a decimal comma.
fn has_ambiguous_comma(text: &str, field_type: FieldType) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let commas = (1..bytes.len()).filter(|at| bytes[*at] == b',');
    commas.filter(|at| is_digit(at - 1) && is_digit(at + 1)).any(|at| {
        let before = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let after = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let item = text[..at].rsplit(',').next().unwrap_or_default();
        field_type != FieldType::Int
            || (after == 3 && before <= 3)
            || item.contains(['<', '>', '[', '(', ']', '.'])
    })
}

fn number_ambiguity(text: &str, field_type: FieldType) -> Option<String> {
    let digits = text.trim_start_matches(['+', '-']);
    let is_padded = digits.len() > 1
        && digits.starts_with('0')
        && digits[1..].starts_with(|next: char| next.is_ascii_digit());
    if is_padded {
        return Some(format!("{text:?} begins with a zero: write the number without it"));
    }
    let has_thousands = field_type == FieldType::Int
        && digits.split_once('.').is_some_and(|(_, fraction)| {
            fraction.len() == 3 && fraction.bytes().all(|byte| byte.is_ascii_digit())
        });
    if has_thousands {
        return Some(format!(
            "{text:?} may have a separator of thousands, and the field holds whole numbers: write \
             the number without a point"
        ));
    }
    let read = match field_type {
        FieldType::Float => verdict_config::number::parse_float(text).map(|_| ()),
        _ => verdict_config::number::parse_decimal(text).map(|_| ()),
    };
    read.err()
}

/// The texts of a cell that stand without quotation marks.
pub fn plain_texts(text: &str) -> Vec<&str> {
    let inner = text.strip_prefix("not(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    let items = split(inner).unwrap_or_default();
    items.into_iter().filter(|item| !item.starts_with('"') && *item != "-").collect()
}

fn number(text: &str, field_type: FieldType) -> Result<Ordered, String> {
    match field_type {
        FieldType::Time => {
            let at = TimestampMs::parse(text.trim_matches('"'))?;
            Ok(Ordered::Exact(at.0.into()))
        }
        FieldType::Float => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.map(Ordered::Float).ok_or_else(|| no_number(text))
        }
        _ => {
            let number = text.parse().ok().or_else(|| Decimal::from_scientific(text).ok());
            number.map(Ordered::Exact).ok_or_else(|| no_number(text))
        }
    }
}

fn no_number(text: &str) -> String {
    format!(
        "{text:?} is no number: write a number like 1000 or 2.5 (no separators of thousands), a \
         comparison like >= 10, an interval like [1..5], unknown or -"
    )
}
