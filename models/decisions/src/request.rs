//! Requests as they come in: bytes to a typed request, or every fault of them.
//!
//! Pure functions. A single body is `{"input":{...},"request_id"?,"unit"?,"as_of"?,"test"?}`; a batch
//! is `{"items":[...]}` with such bodies, or one body a line. Keys that stand twice are refused,
//! because two readers of such a body would read different requests.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use verdict_config::{Code, Fault, Faults, TimestampMs};

use crate::canonical;

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
    check_depth(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = BodySeed.deserialize(&mut deserializer).map_err(not_json)?;
    deserializer.end().map_err(not_json)?;
    parsed.into_request().map_err(RequestRejected::invalid)
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
    check_depth(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let batch = BatchSeed { items_max }.deserialize(&mut deserializer).map_err(not_json)?;
    deserializer.end().map_err(not_json)?;
    let Batch { items, over_limit, faults } = batch;
    if over_limit {
        return Err(too_many_items("items", items_max));
    }
    match items {
        Some(items) if faults.is_empty() => Ok(items
            .into_iter()
            .enumerate()
            .map(|(position, item)| item.into_request().map_err(|faults| placed(faults, position)))
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
    RequestRejected::not_json(error.to_string())
}

/// Counts brackets outside of strings before anything is built from them.
fn check_depth(bytes: &[u8]) -> Result<(), RequestRejected> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
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
    Ok(())
}

/// A body whose members were read but not yet judged.
#[derive(Default)]
struct Body {
    input: Option<Map<String, Json>>,
    request_id: Option<Json>,
    unit: Option<Json>,
    as_of: Option<Json>,
    test: Option<Json>,
    faults: Faults,
}

impl Body {
    fn into_request(self) -> Result<DecideRequest, Faults> {
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
            Some(input) if faults.is_empty() => {
                Ok(DecideRequest { input, request_id, unit, as_of, test })
            }
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

fn mismatch(key: &str, expected: &str, got: &Json) -> Fault {
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

fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}

/// Reads a body; what is not an object becomes a fault, not an error, so that the other items of a
/// batch are still read.
struct BodySeed;

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Body;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body, D::Error> {
        match deserializer.deserialize_any(ObjectVisitor { sink: Body::default() })? {
            Either::Object(body) => Ok(body),
            Either::Other(json) => {
                let mut body = Body::default();
                let expected = "an object like {\"input\":{...}}";
                body.faults.push(mismatch("", expected, &json));
                body.input = Some(Map::new());
                Ok(body)
            }
        }
    }
}

/// What takes the members of an object one by one.
trait Sink: Sized {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

impl Sink for Body {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let twice = match key {
            "input" => {
                let twice = self.input.is_some();
                match map.next_value_seed(InputSeed)? {
                    Either::Object(input) => {
                        self.faults.extend(input.faults);
                        self.input = Some(input.members);
                    }
                    Either::Other(json) => {
                        self.faults.push(mismatch("input", "an object", &json));
                    }
                }
                twice
            }
            "request_id" => self.request_id.replace(map.next_value()?).is_some(),
            "unit" => self.unit.replace(map.next_value()?).is_some(),
            "as_of" => self.as_of.replace(map.next_value()?).is_some(),
            "test" => self.test.replace(map.next_value()?).is_some(),
            _ => {
                let _: serde::de::IgnoredAny = map.next_value()?;
                let message = "the keys of a request are input, request_id, unit, as_of, test";
                if self.faults.len() < FAULTS_MAX {
                    self.faults.push(Fault::new(Code::UnknownKey, shown(key), message));
                }
                false
            }
        };
        if twice && self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault::new(Code::InvalidValue, key, "the key stands twice"));
        }
        Ok(())
    }
}

/// The members of `input`.
#[derive(Default)]
struct Input {
    members: Map<String, Json>,
    faults: Faults,
}

impl Sink for Input {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let value: Json = map.next_value()?;
        if self.members.insert(key.to_owned(), value).is_some() && self.faults.len() < FAULTS_MAX {
            let path = format!("input.{}", shown(key));
            self.faults.push(Fault::new(Code::InvalidValue, path, "the key stands twice"));
        }
        Ok(())
    }
}

struct InputSeed;

impl<'de> DeserializeSeed<'de> for InputSeed {
    type Value = Either<Input>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(ObjectVisitor { sink: Input::default() })
    }
}

/// `items` of a batch, and what is wrong with the rest of it.
#[derive(Default)]
struct Batch {
    items: Option<Vec<Body>>,
    over_limit: bool,
    faults: Faults,
}

struct BatchSeed {
    items_max: usize,
}

impl<'de> DeserializeSeed<'de> for BatchSeed {
    type Value = Batch;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Batch, D::Error> {
        let sink = BatchSink { batch: Batch::default(), items_max: self.items_max };
        let mut batch = match deserializer.deserialize_any(ObjectVisitor { sink })? {
            Either::Object(sink) => sink.batch,
            Either::Other(json) => {
                let fault = mismatch("", "an object like {\"items\":[...]}", &json);
                return Ok(Batch { faults: vec![fault], ..Batch::default() });
            }
        };
        if batch.items.is_none() && batch.faults.is_empty() {
            let message = "items is required: send an array of requests";
            batch.faults.push(Fault::new(Code::MissingKey, "items", message));
        }
        Ok(batch)
    }
}

struct BatchSink {
    batch: Batch,
    items_max: usize,
}

impl Sink for BatchSink {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key == "items" {
            let Items { bodies, over_limit, fault } =
                map.next_value_seed(ItemsSeed { items_max: self.items_max })?;
            self.batch.over_limit |= over_limit;
            self.batch.faults.extend(fault);
            if self.batch.items.replace(bodies).is_some() {
                let fault = Fault::new(Code::InvalidValue, "items", "the key stands twice");
                self.batch.faults.push(fault);
            }
        } else {
            let _: serde::de::IgnoredAny = map.next_value()?;
            if self.batch.faults.len() < FAULTS_MAX {
                let fault = Fault::new(Code::UnknownKey, shown(key), "the key of a batch is items");
                self.batch.faults.push(fault);
            }
        }
        Ok(())
    }
}

struct ItemsSeed {
    items_max: usize,
}

struct Items {
    bodies: Vec<Body>,
    over_limit: bool,
    fault: Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for ItemsSeed {
    type Value = Items;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Items, D::Error> {
        deserializer.deserialize_any(ItemsVisitor { items_max: self.items_max })
    }
}

struct ItemsVisitor {
    items_max: usize,
}

impl ItemsVisitor {
    fn refused(got: &Json) -> Items {
        let fault = mismatch("items", "an array of requests", got);
        Items { bodies: Vec::new(), over_limit: false, fault: Some(fault) }
    }
}

macro_rules! other_values {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<Self::Value, E> {
            Ok(Self::other(Json::from(value)))
        })*

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(Self::other(Json::Null))
        }
    };
}

macro_rules! every_other_value {
    () => {
        other_values! {
            visit_bool: bool;
            visit_i64: i64;
            visit_u64: u64;
            visit_f64: f64;
            visit_str: &str;
        }
    };
}

impl ItemsVisitor {
    fn other(json: Json) -> Items {
        Self::refused(&json)
    }
}

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
        let mut items = Items { bodies: Vec::new(), over_limit: false, fault: None };
        while items.bodies.len() < self.items_max {
            match seq.next_element_seed(BodySeed)? {
                Some(body) => items.bodies.push(body),
                None => return Ok(items),
            }
        }
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
            items.over_limit = true;
        }
        Ok(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(Self::other(Json::Object(Map::new())))
    }

    every_other_value!();
}

/// An object taken apart by a sink, or a value of another kind.
enum Either<T> {
    Object(T),
    Other(Json),
}

struct ObjectVisitor<S> {
    sink: S,
}

impl<S> ObjectVisitor<S> {
    const fn other(json: Json) -> Either<S> {
        Either::Other(json)
    }
}

impl<'de, S: Sink> Visitor<'de> for ObjectVisitor<S> {
    type Value = Either<S>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            self.sink.member(&key, &mut map)?;
        }
        Ok(Either::Object(self.sink))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Self::other(Json::Array(Vec::new())))
    }

    every_other_value!();
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
