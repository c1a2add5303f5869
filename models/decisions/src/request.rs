//! Requests as they come in: bytes to a typed request, or every fault of them.
//!
//! Pure functions. A single body is `{"input":{...},"request_id"?,"unit"?,"as_of"?,"test"?}`; a batch
//! is `{"items":[...]}` with such bodies, or one body a line. Keys that stand twice are refused,
//! because two readers of such a body would read different requests.

mod body;
mod exact;
mod read;

use std::collections::BTreeMap;

use serde::de::DeserializeSeed;
use serde_json::{Map, Value as Json};
use verdict_config::{Code, Fault, Faults, TimestampMs};

use crate::canonical;
use read::{Batch, BatchSeed, BodySeed};

/// The deepest nesting of a body.
pub const JSON_DEPTH_MAX: usize = 64;
/// The longest `request_id` in characters.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// The longest `unit` in characters.
pub const UNIT_CHARS_MAX: usize = 256;
/// The most faults that one answer names.
pub const FAULTS_MAX: usize = 64;

/// One request for a decision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecideRequest {
    /// Field values by name, not yet typed.
    pub input: Map<String, Json>,
    /// Numbers of the input that a float does not keep, as they were written, by name: the flow
    /// reads decimals from here.
    pub exact: BTreeMap<String, Box<str>>,
    /// The client's id of the request, 1 to 128 characters: a retry with the same id and body gets
    /// the first decision.
    pub request_id: Option<String>,
    /// The unit of flags, experiments and erasure, 1 to 256 characters; the flow's unit field if absent.
    pub unit: Option<String>,
    /// The time that the decision is made as of; the time of receipt if absent.
    pub as_of: Option<TimestampMs>,
    /// A test: marked, not counted in windows or experiments.
    pub test: bool,
}

/// Why a body is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} {}: {}", code.title(), faults.first().map_or("", |fault| fault.message.as_str()))]
pub struct RequestRejected {
    /// [`Code::InputNotJson`], [`Code::InputInvalid`] or [`Code::LimitExceeded`].
    pub code: Code,
    /// Every fault, at most [`FAULTS_MAX`].
    pub faults: Faults,
}

impl RequestRejected {
    /// A rejection with its faults, cut to [`FAULTS_MAX`].
    #[must_use]
    pub fn new(code: Code, mut faults: Faults) -> Self {
        faults.truncate(FAULTS_MAX);
        Self { code, faults }
    }

    /// The code of the whole.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    fn not_json(message: impl Into<String>) -> Self {
        Self::new(Code::InputNotJson, vec![Fault::new(Code::InputNotJson, "", message)])
    }

    fn invalid(faults: Faults) -> Self {
        Self::new(Code::InputInvalid, faults)
    }
}

impl DecideRequest {
    /// SHA-256 of the canonical body: the same for bodies that mean the same request.
    #[must_use]
    pub fn body_sha256(&self) -> [u8; 32] {
        let mut text = Vec::with_capacity(64 + self.input.len() * 24);
        text.push(b'{');
        if let Some(as_of) = self.as_of {
            text.extend_from_slice(format!("\"as_of\":{},", as_of.0).as_bytes());
        }
        text.extend_from_slice(b"\"input\":");
        canonical::write_object(&mut text, self.input.iter());
        if !self.exact.is_empty() {
            text.extend_from_slice(b",\"exact\":{");
            for (name, number) in &self.exact {
                canonical::write_text(&mut text, name);
                text.push(b':');
                canonical::write_text(&mut text, number);
                text.push(b',');
            }
            text.push(b'}');
        }
        for (key, value) in [("request_id", &self.request_id), ("unit", &self.unit)] {
            if let Some(value) = value {
                text.extend_from_slice(format!(",\"{key}\":").as_bytes());
                canonical::write_text(&mut text, value);
            }
        }
        if self.test {
            text.extend_from_slice(b",\"test\":true");
        }
        text.push(b'}');
        canonical::sha256(&text)
    }
}

/// Parses the body of a single request.
///
/// # Errors
/// Not JSON, too deep, or every fault of its members.
pub fn parse_body(bytes: &[u8]) -> Result<DecideRequest, RequestRejected> {
    let has_long_numbers = scan(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = BodySeed.deserialize(&mut deserializer).map_err(not_json)?;
    deserializer.end().map_err(not_json)?;
    let mut request = parsed.into_request().map_err(RequestRejected::invalid)?;
    if has_long_numbers {
        request.exact = exact::of_body(bytes);
    }
    Ok(request)
}

/// Parses `{"items":[...]}`: one result an item, in order. Paths of an item's faults start with
/// `items[N]`.
///
/// # Errors
/// The body as a whole is no batch, or has more than `items_max` items.
pub fn parse_batch(
    bytes: &[u8],
    items_max: usize,
) -> Result<Vec<Result<DecideRequest, RequestRejected>>, RequestRejected> {
    let has_long_numbers = scan(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let batch = BatchSeed { items_max }.deserialize(&mut deserializer).map_err(not_json)?;
    deserializer.end().map_err(not_json)?;
    let Batch { items, over_limit, faults } = batch;
    if over_limit {
        return Err(too_many_items("items", items_max));
    }
    let mut exact = if has_long_numbers { exact::of_batch(bytes) } else { Vec::new() }.into_iter();
    match items {
        Some(items) if faults.is_empty() => Ok(items
            .into_iter()
            .enumerate()
            .map(|(position, item)| {
                let exact = exact.next().unwrap_or_default();
                let request = item.into_request().map_err(|faults| placed(faults, position))?;
                Ok(DecideRequest { exact, ..request })
            })
            .collect()),
        _ => Err(RequestRejected::invalid(faults)),
    }
}

/// Parses `application/x-ndjson`: one result a line that is not blank, in order.
///
/// # Errors
/// More than `items_max` lines.
pub fn parse_lines(
    bytes: &[u8],
    items_max: usize,
) -> Result<Vec<Result<DecideRequest, RequestRejected>>, RequestRejected> {
    let mut items = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if items.len() == items_max {
            return Err(too_many_items("", items_max));
        }
        items.push(parse_body(line));
    }
    Ok(items)
}

fn placed(faults: Faults, position: usize) -> RequestRejected {
    let prefix = format!("items[{position}]");
    RequestRejected::invalid(faults.into_iter().map(|fault| fault.under(&prefix)).collect())
}

fn too_many_items(path: &str, items_max: usize) -> RequestRejected {
    let message = format!("a batch has at most {items_max} items; split it");
    let fault = Fault::new(Code::LimitExceeded, path, message);
    RequestRejected::new(Code::LimitExceeded, vec![fault])
}

fn not_json(error: serde_json::Error) -> RequestRejected {
    let message = verdict_config::plain::plain_json_error(&error);
    let place = format!("line {}, column {}", error.line(), error.column());
    RequestRejected::not_json(format!("{place}: {message}"))
}

/// Counts brackets outside of strings before anything is built from them. Answers whether some
/// number is so long that a float may not keep it.
fn scan(bytes: &[u8]) -> Result<bool, RequestRejected> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    let (mut number_bytes, mut has_long_numbers) = (0usize, false);
    for byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'0'..=b'9' | b'.' | b'-' | b'+' => number_bytes += 1,
            // With an exponent, few digits can be far out of a float's range.
            b'e' | b'E' if number_bytes > 0 => number_bytes += exact::FLOAT_DIGITS,
            _ => number_bytes = 0,
        }
        has_long_numbers |= number_bytes > exact::FLOAT_DIGITS;
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            let message = format!("brackets may nest at most {JSON_DEPTH_MAX} deep");
            return Err(RequestRejected::not_json(message));
        }
    }
    Ok(has_long_numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[(&str, &str)]) {
        let faults = match parse_body(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(rejected) => rejected.faults,
        };
        let got: Vec<(&str, &str)> =
            faults.iter().map(|fault| (fault.path.as_str(), fault.code.as_str())).collect();
        assert_eq!(got, expected, "{body}");
    }

    #[test]
    fn bodies_are_requests_or_name_every_fault() {
        check(r#"{"input":{}}"#, &[]);
        check(r#"{"input":{"a":1},"request_id":null,"unit":null,"as_of":null,"test":null}"#, &[]);
        check(r#"{"input":{},"test":true,"as_of":"2026-01-31","unit":"u","request_id":"r"}"#, &[]);
        check("{}", &[("input", "VD0105")]);
        check("[]", &[("", "VD0104")]);
        check("1", &[("", "VD0104")]);
        check("null", &[("", "VD0104")]);
        check("", &[("", "VD0401")]);
        check("{", &[("", "VD0401")]);
        check(r#"{"input":{}} x"#, &[("", "VD0401")]);
        check(r#"{"input":{"a":NaN}}"#, &[("", "VD0401")]);
        check(r#"{"input":{"a":1e999}}"#, &[("", "VD0401")]);
        check(r#"{"input":[]}"#, &[("input", "VD0104")]);
        check(
            r#"{"inptu":{},"test":1,"unit":"","as_of":"soon","request_id":{}}"#,
            &[
                ("inptu", "VD0103"),
                ("request_id", "VD0104"),
                ("unit", "VD0108"),
                ("as_of", "VD0104"),
                ("test", "VD0104"),
                ("input", "VD0105"),
            ],
        );
        check(r#"{"input":{"a":1,"a":2}}"#, &[("input.a", "VD0104")]);
        check(r#"{"input":{},"input":{}}"#, &[("input", "VD0104")]);
    }

    #[test]
    fn limits_hold() {
        let body = |id: usize, unit: usize| {
            format!(
                r#"{{"input":{{}},"request_id":"{}","unit":"{}"}}"#,
                "é".repeat(id),
                "é".repeat(unit)
            )
        };
        check(&body(128, 256), &[]);
        check(&body(129, 257), &[("request_id", "VD0108"), ("unit", "VD0108")]);
        let deep = |depth: usize| {
            format!(r#"{{"input":{{"a":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        check(&deep(62), &[]);
        check(&deep(63), &[("", "VD0401")]);
        check(&"[".repeat(10_000), &[("", "VD0401")]);
        check(&format!(r#"{{"input":{{"a":"{}"}}}}"#, "[\\\"".repeat(500)), &[]);
        assert!(parse_body(b"{\"input\":{\"a\":\"\xff\"}}").is_err());
    }

    #[test]
    fn batches_answer_item_by_item() {
        let batch =
            parse_batch(br#"{"items":[{"input":{}},7,{"input":{"a":1},"x":1}]}"#, 3).unwrap();
        assert_eq!(batch.len(), 3);
        assert!(batch[0].is_ok());
        assert_eq!(batch[1].as_ref().unwrap_err().faults[0].path, "items[1]");
        assert_eq!(batch[2].as_ref().unwrap_err().faults[0].path, "items[2].x");
        for (body, code) in [
            (r#"{"items":[{},{},{},{}]}"#, Code::LimitExceeded),
            (r#"{"items":{}}"#, Code::InputInvalid),
            (r#"{"items":"x"}"#, Code::InputInvalid),
            (r#"{}"#, Code::InputInvalid),
            (r#"[]"#, Code::InputInvalid),
            (r#"{"items":[}"#, Code::InputNotJson),
            (r#"{"items":[],"other":1}"#, Code::InputInvalid),
        ] {
            assert_eq!(parse_batch(body.as_bytes(), 3).unwrap_err().code, code, "{body}");
        }
        let lines = parse_lines(b"{\"input\":{}}\r\n\n{oops}\n{\"input\":{}}", 3).unwrap();
        assert_eq!(lines.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(parse_lines(b"1\n2\n3\n4", 3).unwrap_err().code, Code::LimitExceeded);
    }

    #[test]
    fn numbers_that_a_float_does_not_keep_stay_as_they_were_written() {
        let check = |number: &str, kept: bool| {
            let body = format!(r#"{{"unit":"u","input":{{"\u0061":{number},"b":"1.5"}}}}"#);
            let request = parse_body(body.as_bytes()).unwrap();
            let expected = (!kept).then_some(number);
            assert_eq!(request.exact.get("a").map(AsRef::as_ref), expected, "{number}");
            let batch = format!(r#"{{"items":[{{"input":{{}}}},{body}]}}"#);
            let batch = parse_batch(batch.as_bytes(), 2).unwrap();
            assert_eq!(batch[1].as_ref().unwrap().exact, request.exact, "{number}");
        };
        check("1.123456789012345678", false);
        check("12345678901234567.89", false);
        check("123456789012345678901234", false);
        check("1e-400", false);
        check("9007199254740993", true);
        check("-12345678901234567", true);
        check("18446744073709551615", true);
        check("0.1", true);
        check("1.50000000000000000000", true);
        check("1e3", true);
        let hash = |number: &str| {
            let body = format!(r#"{{"input":{{"a":{number}}}}}"#);
            parse_body(body.as_bytes()).unwrap().body_sha256()
        };
        assert_ne!(hash("12345678901234567.89"), hash("12345678901234567.88"));
    }

    #[test]
    fn the_body_hash_ignores_how_it_is_written() {
        let hash = |body: &str| parse_body(body.as_bytes()).unwrap().body_sha256();
        let one = hash(r#"{"input":{"a":1,"b":null,"c":[1,2]},"unit":"u"}"#);
        assert_eq!(one, hash(r#"{ "unit": "u", "input": { "c": [1, 2], "a": 1 } }"#));
        for other in [
            r#"{"input":{"a":2,"c":[1,2]},"unit":"u"}"#,
            r#"{"input":{"a":1,"c":[1,2]},"unit":"v"}"#,
            r#"{"input":{"a":1,"c":[1,2]},"unit":"u","test":true}"#,
            r#"{"input":{"a":1,"c":[1,2]},"request_id":"u"}"#,
            r#"{"input":{"a":1,"c":[1,2]},"unit":"u","as_of":"2026-01-01"}"#,
        ] {
            assert_ne!(one, hash(other), "{other}");
        }
    }
}
