//! A flow's schema: typed fields in slots, and the check that turns a JSON input into facts.

use std::collections::HashMap;

use indexmap::IndexMap;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Code, EvaluationVersion, Fault, Faults, FieldType, TimestampMs, Value};

/// The longest text of a field that names no `max_chars` itself.
pub const CHARS_MAX: u32 = 8_192;
/// The most items of a set that names no `max_items` itself.
pub const ITEMS_MAX: u32 = 256;

/// What the absence of a field means.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Absent: the request is refused.
    Required,
    /// Absent: unknown, and the flow abstains.
    Expected,
    /// Absent: unknown.
    #[default]
    Optional,
}

/// One field as it is written in a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its type.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// What its absence means.
    #[serde(default)]
    pub need: Need,
    /// Encrypted in records under a key of the unit, redacted in explanations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
    /// Longest text in characters (string, symbol, each item of a set).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u32>,
    /// Most items of a set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// Smallest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The symbols that are allowed; any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Vec<String>>,
    /// What the field means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Field {
    /// An optional field of a type, without bounds.
    #[must_use]
    pub const fn plain(field_type: FieldType) -> Self {
        Self {
            field_type,
            need: Need::Optional,
            sensitive: false,
            max_chars: None,
            max_items: None,
            min: None,
            max: None,
            symbols: None,
            description: None,
        }
    }
}

/// A flow's fields by slot: a field's position is its slot everywhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    fields: Vec<(String, Field)>,
    slots: HashMap<String, u32>,
    decimals: Decimals,
}

/// The reading of decimals that have more digits than a decimal holds (28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decimals {
    /// They are refused.
    #[default]
    Exact,
    /// They are rounded, as the first evaluation version did. Records of it stay readable.
    Rounded,
}

/// The typed input of one request, by slot; `None` is unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// One entry a field of the schema, in its order.
    pub slots: Vec<Option<Value>>,
}

impl Facts {
    /// The value in a slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&Value> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }
}

impl Schema {
    /// A schema of fields in the order given.
    #[must_use]
    pub fn new(fields: &IndexMap<String, Field>) -> Self {
        let slots = fields.keys().zip(0u32..).map(|(name, slot)| (name.clone(), slot)).collect();
        let fields = fields.iter().map(|(name, field)| (name.clone(), field.clone())).collect();
        Self { fields, slots, decimals: Decimals::Exact }
    }

    /// The same schema as it reads input under an evaluation version.
    #[must_use]
    pub const fn evaluated_by(mut self, version: EvaluationVersion) -> Self {
        self.decimals = match version {
            EvaluationVersion::V1 => Decimals::Rounded,
            EvaluationVersion::V2 => Decimals::Exact,
        };
        self
    }

    /// How decimals are read.
    #[must_use]
    pub const fn decimals(&self) -> Decimals {
        self.decimals
    }

    /// The slot of a field.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<u32> {
        self.slots.get(name).copied()
    }

    /// A field by slot.
    #[must_use]
    pub fn field(&self, slot: u32) -> Option<(&str, &Field)> {
        self.fields.get(slot as usize).map(|(name, field)| (name.as_str(), field))
    }

    /// Every field in slot order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &Field)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), field))
    }

    /// Checks an input object and types it. `null` counts as absent.
    ///
    /// # Errors
    /// Every fault: unknown fields, absent required fields, wrong types, values out of range.
    pub fn read(&self, input: &serde_json::Map<String, Json>) -> Result<Facts, Faults> {
        self.read_as(input, self.decimals)
    }

    /// As [`Self::read`], for the input of a record, which an earlier program may have read.
    ///
    /// # Errors
    /// As [`Self::read`], but long decimals are rounded.
    pub fn read_recorded(&self, input: &serde_json::Map<String, Json>) -> Result<Facts, Faults> {
        self.read_as(input, Decimals::Rounded)
    }

    fn read_as(
        &self,
        input: &serde_json::Map<String, Json>,
        decimals: Decimals,
    ) -> Result<Facts, Faults> {
        let mut faults = Faults::new();
        let mut slots = vec![None; self.fields.len()];
        for (name, json) in input {
            let Some(slot) = self.slot(name) else {
                faults.push(self.unknown_field(name));
                continue;
            };
            if json.is_null() {
                continue;
            }
            match read_value_as(&self.fields[slot as usize].1, json, decimals) {
                Ok(value) => slots[slot as usize] = Some(value),
                Err((code, message)) => {
                    faults.push(Fault::new(code, format!("input.{name}"), message));
                }
            }
        }
        for ((name, field), value) in self.fields.iter().zip(&slots) {
            let absent = input.get(name).is_none_or(Json::is_null);
            if field.need == Need::Required && value.is_none() && absent {
                let message = format!("{name} is required: send a {}", field.field_type.as_str());
                faults.push(Fault::new(Code::MissingKey, format!("input.{name}"), message));
            }
        }
        if faults.is_empty() { Ok(Facts { slots }) } else { Err(faults) }
    }

    fn unknown_field(&self, name: &str) -> Fault {
        let known =
            self.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let shown: String = name.chars().take(64).collect();
        Fault::new(
            Code::UnknownKey,
            format!("input.{shown}"),
            format!("the flow has no field {shown:?}; its fields are {known}"),
        )
    }
}

type Refusal = (Code, String);

/// Types one JSON value for a field.
///
/// # Errors
/// The code and a sentence that says what was expected.
pub fn read_value(field: &Field, json: &Json) -> Result<Value, Refusal> {
    read_value_as(field, json, Decimals::Exact)
}

/// As [`read_value`], with a choice for decimals of too many digits.
///
/// # Errors
/// As [`read_value`].
pub fn read_value_as(field: &Field, json: &Json, decimals: Decimals) -> Result<Value, Refusal> {
    let mismatch = || {
        let message = format!("expected {}, got {}", expectation(field.field_type), kind_of(json));
        (Code::InvalidValue, message)
    };
    match field.field_type {
        FieldType::Bool => json.as_bool().map(Value::Bool).ok_or_else(mismatch),
        FieldType::Int => {
            let number = json.as_i64().or_else(|| whole_number(json)).ok_or_else(mismatch)?;
            #[expect(clippy::cast_precision_loss, reason = "bounds are floats in the schema")]
            in_range(field, number as f64)?;
            Ok(Value::Int(number))
        }
        FieldType::Float => {
            let number = json.as_f64().filter(|number| number.is_finite()).ok_or_else(mismatch)?;
            in_range(field, number)?;
            Ok(Value::Float(number))
        }
        FieldType::Decimal => {
            let number = match read_decimal(json, decimals) {
                Some(read) => read.map_err(|message| (Code::InvalidValue, message))?,
                None => return Err(mismatch()),
            };
            in_range(field, f64::try_from(number).unwrap_or(f64::MAX))?;
            Ok(Value::Decimal(number))
        }
        FieldType::Symbol | FieldType::String => {
            read_text(field, json.as_str().ok_or_else(mismatch)?).map(Value::Text)
        }
        FieldType::Time => {
            let text = json.as_str().ok_or_else(mismatch)?;
            TimestampMs::parse(text)
                .map(Value::Time)
                .map_err(|message| (Code::InvalidValue, message))
        }
        FieldType::Set => {
            let items = json.as_array().ok_or_else(mismatch)?;
            let limit = field.max_items.unwrap_or(ITEMS_MAX);
            if items.len() > limit as usize {
                return Err((
                    Code::LimitExceeded,
                    format!("at most {limit} items, got {}", items.len()),
                ));
            }
            let texts: Result<Vec<Box<str>>, Refusal> = items
                .iter()
                .map(|item| read_text(field, item.as_str().ok_or_else(mismatch)?))
                .collect();
            texts.map(Value::set)
        }
    }
}

fn read_text(field: &Field, text: &str) -> Result<Box<str>, Refusal> {
    let limit = field.max_chars.unwrap_or(CHARS_MAX) as usize;
    // A text of at most `limit` bytes has at most `limit` characters: count only the others.
    if text.len() > limit && text.chars().count() > limit {
        return Err((
            Code::LimitExceeded,
            format!("at most {limit} characters, got {}", text.chars().count()),
        ));
    }
    if let Some(symbols) = &field.symbols
        && !symbols.iter().any(|symbol| symbol == text)
    {
        return Err((Code::InvalidValue, format!("expected one of {}", symbols.join(", "))));
    }
    Ok(text.into())
}

/// `None` for a value of another kind.
fn read_decimal(json: &Json, decimals: Decimals) -> Option<Result<Decimal, String>> {
    let written;
    let text = match json {
        Json::String(text) => text,
        Json::Number(number) => {
            written = number.to_string();
            &written
        }
        _ => return None,
    };
    Some(crate::number::parse_decimal(text).or_else(|message| {
        let rounded = || text.parse().ok().or_else(|| Decimal::from_scientific(text).ok());
        match decimals {
            Decimals::Exact => Err(message),
            Decimals::Rounded => rounded().ok_or(message),
        }
    }))
}

/// `3.0` is an integer to people who send JSON from languages with one number type.
fn whole_number(json: &Json) -> Option<i64> {
    let number = json.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and below 2^53")]
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn in_range(field: &Field, number: f64) -> Result<(), Refusal> {
    let below = field.min.is_some_and(|min| number < min);
    let above = field.max.is_some_and(|max| number > max);
    if below || above {
        let bound = |bound: Option<f64>| bound.map_or("any".to_owned(), |bound| bound.to_string());
        let message =
            format!("{number} is not between {} and {}", bound(field.min), bound(field.max));
        return Err((Code::InvalidValue, message));
    }
    Ok(())
}

const fn expectation(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Bool => "true or false",
        FieldType::Int => "a whole number of at most 64 bits",
        FieldType::Decimal => "a decimal number of at most 28 digits, as a number or a text",
        FieldType::Float => "a finite number",
        FieldType::Symbol | FieldType::String => "a text",
        FieldType::Time => "a time like 2026-01-31T12:00:00Z",
        FieldType::Set => "an array of texts",
    }
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
