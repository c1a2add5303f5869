//! Typed values: what a field of a flow, a cell of a table and an expression can hold.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::TimestampMs;

/// The types of fields and expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// `true` or `false`.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// Exact decimal number of up to 28 digits (money). JSON number or text.
    Decimal,
    /// 64-bit binary floating point number, never NaN or infinite.
    Float,
    /// A short text compared as a whole (a code, a country, an identifier).
    Symbol,
    /// Free text.
    String,
    /// A point in time, RFC 3339 in JSON.
    Time,
    /// A set of symbols; an array of strings in JSON.
    Set,
}

impl FieldType {
    /// The type as it is written in files and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Float => "float",
            Self::Symbol => "symbol",
            Self::String => "string",
            Self::Time => "time",
            Self::Set => "set",
        }
    }
}

/// A value of one of the types. Symbols and strings share one representation; the schema tells which.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An exact decimal.
    Decimal(Decimal),
    /// A finite float.
    Float(f64),
    /// A symbol or a string.
    Text(Box<str>),
    /// A point in time.
    Time(TimestampMs),
    /// A set: sorted, without repetition.
    Set(Box<[Box<str>]>),
}

impl Value {
    /// A set of texts, sorted and without repetition.
    #[must_use]
    pub fn set<I: IntoIterator<Item = T>, T: Into<Box<str>>>(items: I) -> Self {
        let mut items: Vec<Box<str>> = items.into_iter().map(Into::into).collect();
        items.sort_unstable();
        items.dedup();
        Self::Set(items.into_boxed_slice())
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number as a float, if it is a number; exact decimals are rounded to the nearest.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "features and statistics are floats")]
            Self::Int(number) => Some(*number as f64),
            Self::Decimal(number) => f64::try_from(*number).ok(),
            Self::Float(number) => Some(*number),
            Self::Bool(_) | Self::Text(_) | Self::Time(_) | Self::Set(_) => None,
        }
    }

    /// Order of two values of one type; `None` for values of different types and for sets.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Decimal(a), Self::Decimal(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// The value as JSON: decimals and times as text.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Decimal(value) => value.to_string().into(),
            Self::Float(value) => (*value).into(),
            Self::Text(value) => value.as_ref().into(),
            Self::Time(value) => value.to_string().into(),
            Self::Set(values) => values.iter().map(|value| value.as_ref()).collect(),
        }
    }
}
