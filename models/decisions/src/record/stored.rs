//! Values as records keep them: exact, and readable without the flow.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use verdict_config::model::ModelOutput;
use verdict_config::{TimestampMs, Value};

use crate::session::ModelFailure;

/// A typed value, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StoredValue {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A decimal with its scale.
    Decimal([u8; 16]),
    /// The bits of a float.
    Float(u64),
    /// A text.
    Text(Arc<str>),
    /// Milliseconds since the epoch.
    Time(i64),
    /// A set of texts.
    Set(Vec<String>),
}

impl From<&Value> for StoredValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Decimal(value) => Self::Decimal(value.serialize()),
            Value::Float(value) => Self::Float(value.to_bits()),
            Value::Text(value) => Self::Text(value.as_ref().into()),
            Value::Time(value) => Self::Time(value.0),
            Value::Set(values) => Self::Set(values.iter().map(|item| item.to_string()).collect()),
        }
    }
}

impl From<&StoredValue> for Value {
    fn from(stored: &StoredValue) -> Self {
        match stored {
            StoredValue::Bool(value) => Self::Bool(*value),
            StoredValue::Int(value) => Self::Int(*value),
            StoredValue::Decimal(bytes) => Self::Decimal(Decimal::deserialize(*bytes)),
            StoredValue::Float(bits) => Self::Float(f64::from_bits(*bits)),
            StoredValue::Text(value) => Self::Text(value.as_ref().into()),
            StoredValue::Time(value) => Self::Time(TimestampMs(*value)),
            StoredValue::Set(values) => Self::set(values.iter().map(String::as_str)),
        }
    }
}

/// A flag as it resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredFlag {
    /// Its key.
    pub key: Arc<str>,
    /// Whether there was such a flag.
    pub found: bool,
    /// The variant.
    pub variant: Option<Arc<str>>,
    /// The value as JSON text; none where it gave none.
    pub value: Option<Arc<str>>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredCall {
    /// `NAME@VERSION`.
    pub model: Arc<str>,
    /// Content hash of the model's folder.
    pub content_hash: Arc<str>,
    /// Scores, or why there are none.
    pub result: Result<StoredScores, ModelFailure>,
}

/// Raw scores with what computed them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredScores {
    /// Bits of the scores.
    pub bits: Vec<u32>,
    /// Bits of the distance from the training data.
    pub ood_bits: Option<u32>,
    /// The kernel.
    pub kernel: Arc<str>,
}

impl From<&ModelOutput> for StoredScores {
    fn from(output: &ModelOutput) -> Self {
        Self {
            bits: output.scores.iter().map(|score| score.to_bits()).collect(),
            ood_bits: output.ood_distance.map(f32::to_bits),
            kernel: output.kernel.as_str().into(),
        }
    }
}

impl From<&StoredScores> for ModelOutput {
    fn from(stored: &StoredScores) -> Self {
        Self {
            scores: stored.bits.iter().map(|bits| f32::from_bits(*bits)).collect(),
            ood_distance: stored.ood_bits.map(f32::from_bits),
            kernel: stored.kernel.as_ref().to_owned(),
        }
    }
}

/// Bytes as one block, not as a sequence of numbers.
pub(super) mod bytes {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }

    struct BytesVisitor;

    impl Visitor<'_> for BytesVisitor {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}
