//! One body: its members as they were read, and what is wrong with them.

use serde_json::{Map, Value as Json};
use verdict_config::{Code, Fault, Faults, TimestampMs};

use super::{DecideRequest, REQUEST_ID_CHARS_MAX, UNIT_CHARS_MAX};

/// A body whose members were read but not yet judged.
#[derive(Default)]
pub(super) struct Body {
    pub(super) input: Option<Map<String, Json>>,
    pub(super) request_id: Option<Json>,
    pub(super) unit: Option<Json>,
    pub(super) as_of: Option<Json>,
    pub(super) test: Option<Json>,
    pub(super) faults: Faults,
}

impl Body {
    pub(super) fn into_request(self) -> Result<DecideRequest, Faults> {
        let mut faults = self.faults;
        let request_id =
            read_text("request_id", self.request_id, REQUEST_ID_CHARS_MAX, &mut faults);
        let unit = read_text("unit", self.unit, UNIT_CHARS_MAX, &mut faults);
        let as_of = read_time(self.as_of, &mut faults);
        let test = read_bool("test", self.test, &mut faults);
        if self.input.is_none() && !faults.iter().any(|fault| fault.path == "input") {
            let message = "input is required: send an object with the flow's fields";
            faults.push(Fault::new(Code::MissingKey, "input", message));
        }
        match self.input {
            Some(input) if faults.is_empty() => Ok(DecideRequest {
                input,
                exact: Default::default(),
                request_id,
                unit,
                as_of,
                test,
            }),
            _ => Err(faults),
        }
    }
}

fn read_text(
    key: &str,
    json: Option<Json>,
    chars_max: usize,
    faults: &mut Faults,
) -> Option<String> {
    let text = match json? {
        Json::Null => return None,
        Json::String(text) => text,
        other => {
            faults.push(mismatch(key, "a text", &other));
            return None;
        }
    };
    let chars = if text.len() <= chars_max { text.len() } else { text.chars().count() };
    if text.is_empty() || chars > chars_max {
        let message = format!("{key} has 1 to {chars_max} characters, got {chars}");
        faults.push(Fault::new(Code::LimitExceeded, key, message));
        return None;
    }
    Some(text)
}

fn read_time(json: Option<Json>, faults: &mut Faults) -> Option<TimestampMs> {
    match json? {
        Json::Null => None,
        Json::String(text) => TimestampMs::parse(&text)
            .map_err(|message| faults.push(Fault::new(Code::InvalidValue, "as_of", message)))
            .ok(),
        other => {
            faults.push(mismatch("as_of", "a time like 2026-01-31T12:00:00Z", &other));
            None
        }
    }
}

fn read_bool(key: &str, json: Option<Json>, faults: &mut Faults) -> bool {
    match json {
        None | Some(Json::Null) => false,
        Some(Json::Bool(value)) => value,
        Some(other) => {
            faults.push(mismatch(key, "true or false", &other));
            false
        }
    }
}

pub(super) fn mismatch(key: &str, expected: &str, got: &Json) -> Fault {
    Fault::new(Code::InvalidValue, key, format!("expected {expected}, got {}", kind_of(got)))
}

const fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

pub(super) fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}
