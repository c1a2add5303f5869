//! Durations as text: numbers with units, longest first (`1h30m`, `7d`).

const UNITS: [(&str, i64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Milliseconds of a duration; `None` if it is none or beyond 292 million years.
pub(crate) fn parse_ms(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = rest.get(..letters)?;
        let (_, milliseconds) = UNITS.iter().find(|(known, _)| *known == unit)?;
        total = total.checked_add(number.checked_mul(*milliseconds)?)?;
        rest = rest.get(letters..)?;
    }
    Some(if negative { -total } else { total })
}

/// The one text of a window's length: the largest unit that divides it, days only from two on.
pub(crate) fn canonical(milliseconds: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    for (unit, size) in units {
        let count = milliseconds / size;
        if count > 0 && milliseconds.is_multiple_of(size) && (unit != "d" || count > 1) {
            return format!("{count}{unit}");
        }
    }
    format!("{milliseconds}ms")
}
