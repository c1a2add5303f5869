//! Numbers in text: read exactly, or refused.
//!
//! The same text must mean the same number in a table, a list, a rule and a data file. So there is
//! one grammar: an optional sign, digits with an optional point, and an optional exponent
//! (`-12.50`, `.5`, `1e3`). Separators of thousands, decimal commas, underscores, other bases and
//! digits of other scripts are refused, because people and programs read them differently.

use rust_decimal::Decimal;

/// The longest number in bytes.
const NUMBER_BYTES_MAX: usize = 128;
/// The largest exponent, with either sign, that a decimal can need.
const EXPONENT_MAX: i64 = 60;

/// A number taken apart: sign, digits without the point, digits behind the point, exponent.
struct Parts<'t> {
    sign: &'t str,
    whole: &'t str,
    fraction: &'t str,
    exponent: i64,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let exponent = match exponent {
        None => 0,
        Some(text) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if digits.is_empty() || digits.len() > 6 || !is_digits(digits) {
                return None;
            }
            text.parse().ok()?
        }
    };
    Some(Parts { sign, whole, fraction, exponent })
}

/// Why a text is no number, and what to write.
#[must_use]
pub fn refusal(text: &str) -> String {
    let shown = crate::csv::shown(text);
    let has_digit = text.chars().any(|character| character.is_numeric());
    let advice = if !has_digit {
        "write a number like 1000 or 2.5"
    } else if text.chars().any(|character| character.is_numeric() && !character.is_ascii()) {
        "write the digits 0 to 9"
    } else if text.contains([',', '_', '\'', ' ', '\u{a0}', '\u{202f}', '\u{2009}']) {
        "write it without separators of thousands and with a decimal point, like 1000 or 1000.5"
    } else if text.len() > NUMBER_BYTES_MAX {
        "write fewer digits"
    } else {
        "write a number like 1000, 2.5 or 1e3, in decimal digits and without a unit"
    };
    format!("{shown} is no number: {advice}")
}

/// Reads a decimal exactly.
///
/// # Errors
/// A sentence for a text that is no number, and for one that a decimal of 28 digits cannot hold.
pub fn parse_decimal(text: &str) -> Result<Decimal, String> {
    let found = parts(text).filter(|_| text.len() <= NUMBER_BYTES_MAX);
    let Some(parts) = found else { return Err(refusal(text)) };
    let too_long = || {
        let shown = crate::csv::shown(text);
        format!(
            "{shown} has more digits than a decimal holds (28): it would be rounded; shorten it"
        )
    };
    let plain = plain(&parts).ok_or_else(too_long)?;
    Decimal::from_str_exact(&plain).map_err(|_| too_long())
}

/// The number without an exponent, and without zeros at its ends where it has many digits.
fn plain(parts: &Parts<'_>) -> Option<String> {
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    if parts.exponent == 0 && digits.len() <= 28 {
        let whole = if parts.whole.is_empty() { "0" } else { parts.whole };
        let point = if parts.fraction.is_empty() { "" } else { "." };
        return Some(format!("{}{whole}{point}{}", parts.sign, parts.fraction));
    }
    if is_zero {
        return Some("0".to_owned());
    }
    if parts.exponent.abs() > EXPONENT_MAX + NUMBER_BYTES_MAX as i64 {
        return None;
    }
    // The value is `digits` with its point moved `scale` places to the left.
    let scale = i64::try_from(parts.fraction.len()).ok()? - parts.exponent;
    let trimmed = digits.trim_end_matches('0');
    let scale = scale - i64::try_from(digits.len() - trimmed.len()).ok()?;
    let trimmed = trimmed.trim_start_matches('0');
    if scale <= 0 {
        let zeros = usize::try_from(-scale).ok().filter(|zeros| trimmed.len() + zeros <= 29)?;
        return Some(format!("{}{trimmed}{}", parts.sign, "0".repeat(zeros)));
    }
    let scale = usize::try_from(scale).ok().filter(|scale| *scale <= 28)?;
    let padded = format!("{trimmed:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    Some(format!("{}{whole}.{fraction}", parts.sign))
}

/// Reads a finite float.
///
/// # Errors
/// A sentence for a text that is no number.
pub fn parse_float(text: &str) -> Result<f64, String> {
    parts(text)
        .filter(|_| text.len() <= NUMBER_BYTES_MAX)
        .and_then(|_| text.parse::<f64>().ok())
        .filter(|number| number.is_finite())
        .ok_or_else(|| refusal(text))
}

/// Whether a float keeps every digit of the text that it was read from.
#[must_use]
pub fn is_kept_by_float(text: &str, number: f64) -> bool {
    let normal = |text: &str| {
        let parts = parts(text)?;
        let digits = format!("{}{}", parts.whole, parts.fraction);
        let trimmed = digits.trim_end_matches('0');
        let exponent = parts.exponent - i64::try_from(parts.fraction.len()).ok()?
            + i64::try_from(digits.len() - trimmed.len()).ok()?;
        let significant = trimmed.trim_start_matches('0').to_owned();
        let is_zero = significant.is_empty();
        Some((significant, if is_zero { 0 } else { exponent }))
    };
    normal(text).is_some_and(|written| normal(&format!("{number:e}")) == Some(written))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let check = |text: &str, expected: Option<&str>| {
            let found = parse_decimal(text).ok().map(|number| number.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("1.10", Some("1.10"));
        check("-0.5", Some("-0.5"));
        check("+.5", Some("0.5"));
        check("5.", Some("5"));
        check("1e3", Some("1000"));
        check("12.5e-3", Some("0.0125"));
        check("12345678901234567.89", Some("12345678901234567.89"));
        check("1.123456789012345678", Some("1.123456789012345678"));
        check("1.00000000000000000000000000000000000", Some("1"));
        check("79228162514264337593543950335", Some("79228162514264337593543950335"));
        check("79228162514264337593543950336", None);
        check("0.00000000000000000000000000001", None);
        check("1.00000000000000000000000000001", None);
        check("1e-29", None);
        check("1e29", None);
        check("0e999", Some("0"));
        for text in [
            "1,000",
            "1.000,5",
            "1 000",
            "1\u{a0}000",
            "1_000",
            "1'000",
            "0x10",
            "0b1",
            "١٠",
            "１０",
            "1e",
            "e3",
            ".",
            "",
            "-",
            "--1",
            "+-1",
            "1.2.3",
            "inf",
            "NaN",
            "10%",
            "10k",
            "€5",
            "1e1e1",
            " 1",
        ] {
            check(text, None);
            assert!(parse_float(text).is_err(), "{text}");
        }
    }

    #[test]
    fn floats_say_what_they_lose() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_kept_by_float(text, text.parse().unwrap()), expected, "{text}");
        };
        check("0.1", true);
        check("1.50", true);
        check("100000000000000000000", true);
        check("1e3", true);
        check("0.0", true);
        check("-0.30000000000000004", true);
        check("1.123456789012345678", false);
        check("12345678901234567.89", false);
        check("9007199254740993", false);
        check("1e-400", false);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_decimal_comes_back(mantissa in any::<i64>(), scale in 0u32..28) {
            let number = Decimal::new(mantissa, scale);
            prop_assert_eq!(parse_decimal(&number.to_string()).unwrap(), number);
            let scientific = format!("{mantissa}e-{scale}");
            prop_assert_eq!(parse_decimal(&scientific).unwrap(), number);
        }

        #[test]
        fn any_text_is_read_exactly_or_refused(text in "[-+0-9.eE_, x]{0,40}") {
            if let Ok(number) = parse_decimal(&text) {
                let float: f64 = text.parse().unwrap();
                let near = f64::try_from(number).unwrap();
                prop_assert!((near - float).abs() <= float.abs() * 1e-12, "{} {}", text, number);
            }
        }
    }
}
