//! JsonLogic's conversions: what counts as true, equal and ordered, and how values become numbers
//! and texts. They are JavaScript's, with two differences: lists and objects are compared by
//! content, and texts are compared and cut by Unicode characters.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use super::datum::{Datum, List, Number, whole};

/// What counts as true: not null, false, 0, NaN, the empty text and the empty list.
pub fn truthy(value: &Datum<'_>) -> bool {
    match value {
        Datum::Null => false,
        Datum::Bool(truth) => *truth,
        Datum::Number(number) => {
            let number = number.as_f64();
            number != 0.0 && !number.is_nan()
        }
        Datum::Text(text) => !text.is_empty(),
        Datum::List(items) => items.len() > 0,
        Datum::Object(_) => true,
    }
}

/// `Number(value)`: null is 0, texts are read as decimal numbers, the rest is NaN.
pub fn to_number(value: &Datum<'_>) -> f64 {
    match value {
        Datum::Null => 0.0,
        Datum::Bool(truth) => f64::from(u8::from(*truth)),
        Datum::Number(number) => number.as_f64(),
        Datum::Text(text) => text_to_number(text),
        Datum::List(items) if items.len() == 0 => 0.0,
        Datum::List(items) if items.len() == 1 => {
            items.get(0).map_or(f64::NAN, |item| text_to_number(&to_text(&item)))
        }
        Datum::List(_) | Datum::Object(_) => f64::NAN,
    }
}

fn text_to_number(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    // Rust also reads "inf", "nan" and "infinity"; JavaScript does not.
    if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) {
        return f64::NAN;
    }
    text.parse().unwrap_or(f64::NAN)
}

/// `String(value)`.
pub fn to_text<'v>(value: &'v Datum<'_>) -> Cow<'v, str> {
    match value {
        Datum::Null => Cow::Borrowed("null"),
        Datum::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        Datum::Text(text) => Cow::Borrowed(text),
        Datum::Number(_) | Datum::List(_) | Datum::Object(_) => {
            let mut out = String::new();
            push_text(&mut out, value, 0);
            Cow::Owned(out)
        }
    }
}

/// Appends `String(value)`; null appends nothing inside a list, as `join` does.
pub fn push_joined(out: &mut String, value: &Datum<'_>) {
    push_text(out, value, 1);
}

fn push_text(out: &mut String, value: &Datum<'_>, depth: usize) {
    match value {
        Datum::Null if depth == 0 => out.push_str("null"),
        Datum::Null => {}
        Datum::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Datum::Number(number) => push_number(out, *number),
        Datum::Text(text) => out.push_str(text),
        Datum::List(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_text(out, &item, depth + 1);
            }
        }
        Datum::Object(_) => out.push_str("[object Object]"),
    }
}

fn push_number(out: &mut String, number: Number) {
    // Writing to a String cannot fail.
    let _ = match number {
        Number::Int(number) => write!(out, "{number}"),
        Number::Large(number) => write!(out, "{number}"),
        Number::Float(number) if number.is_nan() => write!(out, "NaN"),
        Number::Float(number) if number.is_infinite() => {
            write!(out, "{}Infinity", if number < 0.0 { "-" } else { "" })
        }
        Number::Float(number) => {
            let size = number.abs();
            if let Some(number) = whole(number) {
                write!(out, "{number}")
            } else if (1e-6..1e21).contains(&size) {
                write!(out, "{number}")
            } else {
                let text = format!("{number:e}");
                write!(out, "{}", if size < 1.0 { text } else { text.replace('e', "e+") })
            }
        }
    };
}

/// `===`, and by content for lists and objects.
pub fn strictly_equal(a: &Datum<'_>, b: &Datum<'_>) -> bool {
    match (a, b) {
        (Datum::Null, Datum::Null) => true,
        (Datum::Bool(a), Datum::Bool(b)) => a == b,
        (Datum::Number(a), Datum::Number(b)) => numbers_equal(*a, *b),
        (Datum::Text(a), Datum::Text(b)) => a == b,
        (Datum::List(a), Datum::List(b)) => lists_equal(a, b),
        (Datum::Object(a), Datum::Object(b)) => a.fields() == b.fields(),
        _ => false,
    }
}

fn lists_equal(a: &List<'_>, b: &List<'_>) -> bool {
    a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| strictly_equal(&a, &b))
}

fn numbers_equal(a: Number, b: Number) -> bool {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a == b,
        (Number::Large(a), Number::Large(b)) => a == b,
        #[expect(clippy::float_cmp, reason = "JsonLogic compares floats exactly")]
        (a, b) => a.as_f64() == b.as_f64(),
    }
}

/// `==` with JavaScript's conversions.
pub fn loosely_equal(a: &Datum<'_>, b: &Datum<'_>) -> bool {
    match (a, b) {
        (Datum::Null, Datum::Null)
        | (Datum::Bool(_), Datum::Bool(_))
        | (Datum::Number(_), Datum::Number(_))
        | (Datum::Text(_), Datum::Text(_))
        | (Datum::List(_) | Datum::Object(_), Datum::List(_) | Datum::Object(_)) => {
            strictly_equal(a, b)
        }
        (Datum::Null, _) | (_, Datum::Null) => false,
        (Datum::Text(text), list @ (Datum::List(_) | Datum::Object(_)))
        | (list @ (Datum::List(_) | Datum::Object(_)), Datum::Text(text)) => {
            to_text(list).as_ref() == text.as_ref()
        }
        #[expect(clippy::float_cmp, reason = "JsonLogic compares floats exactly")]
        (a, b) => to_number(a) == to_number(b),
    }
}

/// The order of two values: of two texts by characters, of everything else as numbers; none where
/// one is no number.
pub fn order(a: &Datum<'_>, b: &Datum<'_>) -> Option<Ordering> {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Number(Number::Int(a)), Datum::Number(Number::Int(b))) => Some(a.cmp(b)),
        (a, b) => to_number(a).partial_cmp(&to_number(b)),
    }
}

/// `substr(text, start, length)` by characters: a negative start counts from the end, a negative
/// length leaves off that many at the end.
pub fn substring(text: &str, start: i64, length: Option<i64>) -> &str {
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let start = if start < 0 { (count.saturating_add(start)).max(0) } else { start.min(count) };
    let rest = count - start;
    let take = match length {
        None => rest,
        Some(length) if length < 0 => rest.saturating_add(length).max(0),
        Some(length) => length.min(rest),
    };
    let offset = |position: i64| {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        text.char_indices().nth(position).map_or(text.len(), |(offset, _)| offset)
    };
    &text[offset(start)..offset(start + take)]
}
