//! JSON bodies as bytes: checked, and brought into the one form that is stored and hashed.

use verdict_config::{Code, Fault};

/// The deepest nesting of a body.
pub const DEPTH_MAX: usize = 64;

/// Checks a text to be JSON of at most `DEPTH_MAX` levels, and strips the space between its
/// tokens. Keys keep their order and numbers their digits, so nothing a version of a JSON library
/// does differently can change the bytes, and with them a hash.
///
/// # Errors
/// The fault, without a path.
pub fn compact_json(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut compact = Vec::with_capacity(text.len());
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for &byte in text {
        if in_text {
            (escaped, in_text) = (byte == b'\\' && !escaped, byte != b'"' || escaped);
            compact.push(byte);
            continue;
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let message = format!("the JSON is nested deeper than {DEPTH_MAX} levels");
            return Err(Fault::new(Code::LimitExceeded, "", message));
        }
        compact.push(byte);
    }
    // The text as it came: in the compact form `1 2` would have become a valid `12`.
    serde_json::from_slice::<serde::de::IgnoredAny>(text)
        .map_err(|error| Fault::new(Code::InvalidSyntax, "", format!("not JSON: {error}")))?;
    std::str::from_utf8(text)
        .map_err(|_| Fault::new(Code::InvalidSyntax, "", "not JSON: invalid UTF-8"))?;
    Ok(compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_space_and_keeps_order_and_digits() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                compact_json(text.as_bytes()).map(String::from_utf8),
                Ok(Ok(expected.into()))
            );
        };
        check(" { \"b\" : 1.10 ,\n\"a\":[ 1 , 2 ]}", r#"{"b":1.10,"a":[1,2]}"#);
        check(r#"{"t":"a \" b  \\"}"#, r#"{"t":"a \" b  \\"}"#);
        check("12345678901234567890.123456789", "12345678901234567890.123456789");
    }

    #[test]
    fn refuses_what_is_not_json() {
        let check = |text: &[u8], expected: Code| {
            assert_eq!(compact_json(text).map_err(|fault| fault.code), Err(expected));
        };
        check(b"1 2", Code::InvalidSyntax);
        check(b"{", Code::InvalidSyntax);
        check(b"\"\xff\"", Code::InvalidSyntax);
        check("[".repeat(10_000).as_bytes(), Code::LimitExceeded);
    }
}
