//! Window events as records keep them: which series, when, and what is added.
//!
//! Keys and told-apart values stand as keyed hashes, amounts as they are; the whole is sealed under
//! the node's key. So windows can be built again from records whose unit was erased, and the files
//! tell nobody whose they are.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use verdict_config::{TimestampMs, Value};
use verdict_rules::WindowRead;
use verdict_rules::window::{WindowMeasure, WindowSpan};

use super::keys::Keys;
use super::record::NewWindowEvent;

/// An event of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesEvent {
    pub series: u128,
    pub measure: WindowMeasure,
    pub window_ms: u64,
    pub at_ms: i64,
    pub value: Option<EventValue>,
}

/// What is added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventValue {
    Int(i64),
    Decimal([u8; 16]),
    /// Bits.
    Float(u64),
    /// A keyed hash of a value that is only told apart from others.
    Token(i64),
}

impl EventValue {
    fn of(measure: WindowMeasure, value: &Value, keys: &Keys) -> Option<Self> {
        match (measure, value) {
            (WindowMeasure::Events, _) => None,
            (WindowMeasure::Amounts, Value::Int(number)) => Some(Self::Int(*number)),
            (WindowMeasure::Amounts, Value::Decimal(number)) => {
                Some(Self::Decimal(number.serialize()))
            }
            (WindowMeasure::Amounts, Value::Float(number)) => Some(Self::Float(number.to_bits())),
            (WindowMeasure::Amounts, _) => None,
            (WindowMeasure::Values, value) => {
                let hash = keys.hash(b"window value", &[&canonical(value)]);
                Some(Self::Token((hash as u64).cast_signed()))
            }
        }
    }

    /// The value as series take it.
    pub fn value(&self) -> Value {
        match self {
            Self::Int(number) | Self::Token(number) => Value::Int(*number),
            Self::Decimal(bytes) => Value::Decimal(Decimal::deserialize(*bytes)),
            Self::Float(bits) => Value::Float(f64::from_bits(*bits)),
        }
    }
}

/// The series that a window of a flow keeps for a key. Functions that are answered from the same
/// measure of the same window, key and value field share it.
pub fn series_of(keys: &Keys, flow: &str, read: &WindowRead, key: &Value) -> u128 {
    let measure = match WindowMeasure::of(read.function) {
        WindowMeasure::Events => b"e",
        WindowMeasure::Amounts => b"a",
        WindowMeasure::Values => b"v",
    };
    let fields = read.text.split_once('(').map_or(read.text.as_str(), |(_, fields)| fields);
    let parts = [flow.as_bytes(), measure.as_slice(), fields.as_bytes(), &canonical(key)];
    keys.hash(b"window series", &parts)
}

/// The events of a decision, each series once. Those too far ahead of `now` are left out and
/// counted: one event of the year 2099 would make all others of its series old.
pub fn events_of(
    keys: &Keys,
    flow: &str,
    given: &[NewWindowEvent<'_>],
    latest: TimestampMs,
) -> (Vec<SeriesEvent>, u64) {
    let mut events: Vec<SeriesEvent> = Vec::with_capacity(given.len());
    let mut refused = 0;
    for event in given {
        let Some(span) = WindowSpan::new(event.read.window_ms) else { continue };
        if event.at > latest {
            refused += 1;
            continue;
        }
        let series = series_of(keys, flow, event.read, event.key);
        if events.iter().any(|known| known.series == series) {
            continue;
        }
        let measure = WindowMeasure::of(event.read.function);
        events.push(SeriesEvent {
            series,
            measure,
            window_ms: span.window_ms(),
            at_ms: event.at.0,
            value: event.value.and_then(|value| EventValue::of(measure, value, keys)),
        });
    }
    (events, refused)
}

/// The events as bytes.
pub fn encode(events: &[SeriesEvent]) -> Result<Vec<u8>, String> {
    bincode::serde::encode_to_vec(events, bincode::config::standard())
        .map_err(|error| error.to_string())
}

/// The events of such bytes.
pub fn decode(bytes: &[u8]) -> Option<Vec<SeriesEvent>> {
    let config = bincode::config::standard().with_limit::<{ 16 << 20 }>();
    let (events, consumed) = bincode::serde::decode_from_slice(bytes, config).ok()?;
    (consumed == bytes.len()).then_some(events)
}

/// Equal values have equal bytes, however they are written: 1.50 is 1.5, and -0.0 is 0.0.
fn canonical(value: &Value) -> Vec<u8> {
    let (tag, bytes) = match value {
        Value::Bool(value) => (b'b', vec![u8::from(*value)]),
        Value::Int(value) => (b'i', value.to_le_bytes().to_vec()),
        Value::Decimal(value) => (b'd', value.normalize().serialize().to_vec()),
        Value::Float(value) => {
            let value = if *value == 0.0 { 0.0 } else { *value };
            (b'f', value.to_bits().to_le_bytes().to_vec())
        }
        Value::Text(text) => (b't', text.as_bytes().to_vec()),
        Value::Time(at) => (b'm', at.0.to_le_bytes().to_vec()),
        Value::Set(items) => {
            let part =
                |item: &str| [&(item.len() as u64).to_le_bytes()[..], item.as_bytes()].concat();
            (b's', items.iter().flat_map(|item| part(item)).collect())
        }
    };
    [&[tag][..], &bytes].concat()
}
