//! Window events as records keep them: which series, when, and what is added.
//!
//! Keys and told-apart values stand as keyed hashes; amounts are masked with a keyed hash of record
//! and series, which no two amounts share. So windows can be built again from records whose unit was
//! erased, and the file alone tells nobody whose they are. (An encryption of its own for these few
//! bytes would cost a decision more than everything else that the journal does.)
//!
//! An event is 50 bytes, little-endian:
//! `[series u128][measure u8][window ms u64][at ms i64][tag u8][masked value 16]`.

use rust_decimal::Decimal;
use verdict_config::{TimestampMs, Value};
use verdict_rules::WindowRead;
use verdict_rules::window::{WindowMeasure, WindowSpan};

use super::keys::Keys;
use super::record::NewWindowEvent;

/// One series: a window of a flow for one value of its key, as a keyed hash that names neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesId(pub(super) u128);

/// An event of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEvent {
    pub series: u128,
    pub measure: WindowMeasure,
    pub window_ms: u64,
    pub at_ms: i64,
    pub value: Option<EventValue>,
}

/// What is added.
#[derive(Debug, Clone, PartialEq)]
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
pub fn series_of(keys: &Keys, flow: &str, read: &WindowRead, key: &Value) -> SeriesId {
    let measure = match WindowMeasure::of(read.function) {
        WindowMeasure::Events => b"e",
        WindowMeasure::Amounts => b"a",
        WindowMeasure::Values => b"v",
    };
    let fields = read.text.split_once('(').map_or(read.text.as_str(), |(_, fields)| fields);
    let parts = [flow.as_bytes(), measure.as_slice(), fields.as_bytes(), &canonical(key)];
    SeriesId(keys.hash(b"window series", &parts))
}

/// The events of a decision, each series once. Those too far ahead of `now` are left out and
/// counted: one event of the year 2099 would make all others of its series old.
pub fn events_of(
    keys: &Keys,
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
        let SeriesId(series) = event.series;
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

/// Bytes of an event.
const EVENT_BYTES: usize = 50;

/// The events of a record as bytes.
pub fn encode(keys: &Keys, record: u128, events: &[SeriesEvent]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(events.len() * EVENT_BYTES);
    for event in events {
        bytes.extend_from_slice(&event.series.to_le_bytes());
        bytes.push(match event.measure {
            WindowMeasure::Events => 0,
            WindowMeasure::Amounts => 1,
            WindowMeasure::Values => 2,
        });
        bytes.extend_from_slice(&event.window_ms.to_le_bytes());
        bytes.extend_from_slice(&event.at_ms.to_le_bytes());
        let (tag, mut value) = match &event.value {
            None => (0, [0; 16]),
            Some(EventValue::Int(number)) => (1, i128::from(*number).to_le_bytes()),
            Some(EventValue::Decimal(bytes)) => (2, *bytes),
            Some(EventValue::Float(bits)) => (3, u128::from(*bits).to_le_bytes()),
            Some(EventValue::Token(hash)) => (4, i128::from(*hash).to_le_bytes()),
        };
        mask(keys, record, event.series, tag, &mut value);
        bytes.push(tag);
        bytes.extend_from_slice(&value);
    }
    bytes
}

/// Masks or unmasks the value of an event; hashes need no mask.
fn mask(keys: &Keys, record: u128, series: u128, tag: u8, value: &mut [u8; 16]) {
    if matches!(tag, 1..=3) {
        let parts = [&record.to_le_bytes()[..], &series.to_le_bytes()];
        let mask = keys.hash(b"window amount", &parts).to_le_bytes();
        value.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// The events of such bytes; `None` if they are none.
pub fn decode(keys: &Keys, record: u128, bytes: &[u8]) -> Option<Vec<SeriesEvent>> {
    let (events, rest) = bytes.as_chunks::<EVENT_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    events.iter().map(|event| decode_one(keys, record, event)).collect()
}

fn decode_one(keys: &Keys, record: u128, bytes: &[u8; EVENT_BYTES]) -> Option<SeriesEvent> {
    let series = u128::from_le_bytes(bytes[..16].try_into().ok()?);
    let measure = match bytes[16] {
        0 => WindowMeasure::Events,
        1 => WindowMeasure::Amounts,
        2 => WindowMeasure::Values,
        _ => return None,
    };
    let mut value: [u8; 16] = bytes[34..].try_into().ok()?;
    mask(keys, record, series, bytes[33], &mut value);
    let whole = i64::try_from(i128::from_le_bytes(value));
    let value = match bytes[33] {
        0 => None,
        1 => Some(EventValue::Int(whole.ok()?)),
        2 => Some(EventValue::Decimal(value)),
        3 => Some(EventValue::Float(u64::try_from(u128::from_le_bytes(value)).ok()?)),
        4 => Some(EventValue::Token(whole.ok()?)),
        _ => return None,
    };
    Some(SeriesEvent {
        series,
        measure,
        window_ms: u64::from_le_bytes(bytes[17..25].try_into().ok()?),
        at_ms: i64::from_le_bytes(bytes[25..33].try_into().ok()?),
        value,
    })
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
