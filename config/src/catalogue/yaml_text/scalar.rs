//! Values of scalars without quotes, by YAML 1.2's core schema without its traps.

use serde_json::{Number, Value as Json};

use crate::csv::shown;
use crate::number::is_kept_by_float;

/// The value of a text without quotes.
///
/// # Errors
/// A sentence for a missing value and for a number that YAML versions or people read differently.
pub fn plain(text: &str) -> Result<Json, String> {
    match text {
        "" => Err("the value is missing: write it, or remove the key (is it behind a `#`, which \
                   begins a comment? Then put it in quotes)"
            .to_owned()),
        "~" | "null" | "Null" | "NULL" => Ok(Json::Null),
        "true" | "True" | "TRUE" => Ok(true.into()),
        "false" | "False" | "FALSE" => Ok(false.into()),
        _ => number(text).unwrap_or_else(|| Ok(text.into())),
    }
}

/// Reads a text that looks like a number; `None` for any other.
fn number(text: &str) -> Option<Result<Json, String>> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = digits.to_ascii_lowercase();
    if matches!(lower.as_str(), ".inf" | ".nan") {
        return Some(Err("a number must be finite".to_owned()));
    }
    let looks = digits.strip_prefix('.').unwrap_or(digits);
    if !looks.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if is_of_other_base(&lower) {
        let message = format!(
            "{} is a number to some programs and a text to others: put it in quotes if it is a \
             text, or write the number in decimal digits",
            shown(text)
        );
        return Some(Err(message));
    }
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = is_whole || crate::number::parse_float(text).is_ok();
    // `1e999` is written as a number and is none.
    let is_too_large = !is_number && text.parse::<f64>().is_ok_and(f64::is_infinite);
    if !is_number && !is_too_large {
        return None;
    }
    let is_padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if is_padded && !lower.starts_with("0e") {
        let message = format!(
            "{} begins with a zero: put it in quotes if it is a code, or remove the zero",
            shown(text)
        );
        return Some(Err(message));
    }
    let exact = exact(text, is_whole);
    Some(exact.map(Json::Number).ok_or_else(|| {
        format!("{} has more digits than a number keeps: put it in quotes", shown(text))
    }))
}

fn exact(text: &str, is_whole: bool) -> Option<Number> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    if is_whole {
        let signed = plain.parse::<i64>().map(Number::from);
        return signed.or_else(|_| plain.parse::<u64>().map(Number::from)).ok();
    }
    let number = plain.parse::<f64>().ok().filter(|number| number.is_finite())?;
    is_kept_by_float(plain, number).then(|| Number::from_f64(number)).flatten()
}

/// Whether a text is a number in another base, or one with underscores.
fn is_of_other_base(lower: &str) -> bool {
    let has_base = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().any(|(lead, base)| {
        lower.strip_prefix(lead).is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c == '_' || c.is_digit(base))
        })
    });
    has_base
        || (lower.contains('_')
            && lower.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | '.')))
}
