//! Plain sentences in the place of the words of parsing libraries.
//!
//! serde describes a mismatch by Rust types (`expected i32`, `expected struct RuleDefinition`), and
//! JSON syntax errors by parser states. People who write a flow know neither.

/// A JSON syntax error without its place, which faults carry beside the message.
#[must_use]
pub fn plain_json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    plain_message(message)
}

/// The sentence for a message of serde, serde_json or serde-saphyr; others come back as they are.
#[must_use]
pub fn plain_message(message: &str) -> String {
    if let Some(sentence) = syntax(message) {
        return sentence.to_owned();
    }
    for (lead, lead_plain) in
        [("unknown field ", "there is no key "), ("unknown variant ", "there is no value ")]
    {
        if let Some(rest) = message.strip_prefix(lead) {
            return unknown(lead_plain, rest);
        }
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return format!("the key {name} is missing");
    }
    if let Some(name) = message.strip_prefix("duplicate field ") {
        return format!("the key {name} is written twice: remove one of the two");
    }
    for lead in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) =
            message.strip_prefix(lead).and_then(|rest| rest.split_once(", expected "))
        {
            return format!("expected {}, got {}", expected_plain(expected), found_plain(found));
        }
    }
    message.to_owned()
}

fn syntax(message: &str) -> Option<&'static str> {
    Some(match message {
        "EOF while parsing a value" => "the text ends where a value should be",
        "EOF while parsing a list" => "the text ends inside a list: add the `]`",
        "EOF while parsing an object" => "the text ends inside an object: add the `}`",
        "EOF while parsing a string" => "the text ends inside a text: add the closing quote",
        "expected value" => {
            "there is no JSON value here: texts and keys stand in double quotes, and words are \
             true, false and null"
        }
        "expected ident" => "there is no such word: true, false and null are the words of JSON",
        "expected `:`" => "a colon is missing behind the key",
        "expected `,` or `}`" => "a comma or `}` is missing here",
        "expected `,` or `]`" => "a comma or `]` is missing here",
        "key must be a string" => "a key must be a text in double quotes (or a comma is too many)",
        "trailing comma" => "a comma is too many: remove the one before this",
        "trailing characters" => "text follows the end of the value: remove it",
        "invalid number" => "the number is not written as JSON writes it (like 12, -0.5 or 1e3)",
        "number out of range" => "the number is too large",
        "invalid escape" => "a backslash begins no known escape: double it",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "an escape `\\u` is incomplete"
        }
        "control character (\\u0000-\\u001F) found while parsing a string" => {
            "a text goes over its line, or holds a control character: write it as \\n or \\t"
        }
        "recursion limit exceeded" => "there are too many levels",
        "invalid unicode code point" => "the text is not UTF-8",
        _ => return None,
    })
}

/// `x`, expected one of `a`, `b`.
fn unknown(lead: &str, rest: &str) -> String {
    let (name, known) = rest.split_once(", expected ").unwrap_or((rest, ""));
    let known = known.trim_start_matches("one of ");
    if known.is_empty() || known == "there are no fields" {
        return format!("{lead}{name} here");
    }
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let near = crate::spelling::nearest(name.trim_matches('`'), names);
    let guess = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("{lead}{name}{guess} (known: {known})")
}

fn expected_plain(expected: &str) -> String {
    let plain = match expected {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "f32" | "f64" => "a number",
        "a string" | "string" | "str" | "a borrowed string" => "a text",
        "a boolean" | "bool" => "true or false",
        "a sequence" | "an array" | "array" => "a list",
        "a map" | "map" => "keys with values",
        "unit" | "null" | "option" => "null",
        "any valid JSON value" => "a value",
        _ => "",
    };
    if !plain.is_empty() {
        return plain.to_owned();
    }
    for lead in ["struct variant ", "struct ", "internally tagged enum ", "enum ", "a map with "] {
        if expected.starts_with(lead) {
            return match lead {
                "enum " => "one of the words that the documentation lists".to_owned(),
                _ => "keys with values".to_owned(),
            };
        }
    }
    if let Some((lead, _)) = expected.split_once(" with ")
        && (lead.starts_with("struct") || lead.starts_with("tuple"))
    {
        return "a list or keys with values".to_owned();
    }
    expected.replace("nonzero", "not zero")
}

fn found_plain(found: &str) -> String {
    let rest = |lead: &str| found.strip_prefix(lead).map(str::to_owned);
    if let Some(text) = rest("string ") {
        return format!("the text {}", text.trim());
    }
    for lead in ["integer ", "floating point ", "boolean ", "number "] {
        if let Some(value) = rest(lead) {
            return value.trim_matches('`').to_owned();
        }
    }
    match found {
        "null" | "unit value" | "Option value" => "nothing (null)".to_owned(),
        "map" | "struct" => "keys with values".to_owned(),
        "sequence" | "tuple" => "a list".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only read by serde")]
        points: Option<i32>,
        #[allow(dead_code, reason = "only read by serde")]
        label: Option<String>,
        #[allow(dead_code, reason = "only read by serde")]
        below: Option<Box<Sample>>,
        #[allow(dead_code, reason = "only read by serde")]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Any,
        First,
    }

    #[test]
    fn words_of_libraries_become_sentences() {
        let check = |json: &str, expected: &str| {
            let error = serde_json::from_str::<Sample>(json).unwrap_err();
            assert_eq!(plain_json_error(&error), expected, "{json}");
        };
        check(r#"{"points": "x"}"#, "expected a whole number, got the text \"x\"");
        check(r#"{"points": 1.5}"#, "expected a whole number, got 1.5");
        check(r#"{"points": 99999999999}"#, "expected a whole number, got 99999999999");
        check(r#"{"label": 5}"#, "expected a text, got 5");
        check(r#"{"label": []}"#, "expected a text, got a list");
        check(r#"{"below": 5}"#, "expected keys with values, got 5");
        check(
            r#"{"point": 5}"#,
            "there is no key `point`; did you mean `points`? (known: `points`, `label`, \
             `below`, `kind`)",
        );
        check(
            r#"{"kind": "frist"}"#,
            "there is no value `frist`; did you mean `first`? (known: `any` or `first`)",
        );
        check(r#"{"label": "a"#, "the text ends inside a text: add the closing quote");
        check("", "the text ends where a value should be");
        check("{\"label\": \"a\",}", "a comma is too many: remove the one before this");
    }
}
