//! Payloads of frames: a head that indexes are built from, then the parts as they were given.
//!
//! `[head length u32][head, bincode][open length u32][open part][sealed sensitive part]` for records,
//! `[head length u32][head, bincode][body]` for outcomes.

use serde::{Deserialize, Serialize};
use verdict_config::definition::Outcome;

use super::keys::KeyRef;

/// The head of a record (kind 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordHead {
    pub id: u128,
    pub at_ms: i64,
    pub flow: String,
    pub outcome: Outcome,
    pub reasons: Vec<String>,
    pub test: bool,
    /// Hash of flow and request id, and of the body: keyed, plain in records of older programs.
    pub request: Option<(u128, u128)>,
    /// The key of the sensitive part.
    pub key: Option<KeyRef>,
    /// Events for windows; empty if there are none.
    #[serde(with = "bytes")]
    pub windows: Vec<u8>,
}

/// Bytes as one piece, not as a sequence of numbers.
mod bytes {
    use std::fmt;

    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// The head of an outcome (kind 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeHead {
    pub id: String,
    /// The decision's id, or the hash of the unit.
    pub target: u128,
    pub received_ms: i64,
}

/// An erased unit (kind 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureHead {
    pub unit: u128,
    pub at_ms: i64,
}

/// Appends a head with its length to a buffer.
pub fn push_head<T: Serialize>(buffer: &mut Vec<u8>, head: &T) -> Result<(), String> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    bincode::serde::encode_into_std_write(head, buffer, bincode::config::standard())
        .map_err(|error| error.to_string())?;
    let length = u32::try_from(buffer.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(place) = buffer.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// Appends a part with its length.
pub fn push_part(buffer: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(part);
}

/// Splits off a part that has its length before it.
pub fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Reads a head; the rest follows it.
pub fn read_head<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<(T, &[u8]), String> {
    let (head, rest) = split_part(payload).ok_or("the head is cut off")?;
    let config = bincode::config::standard().with_limit::<{ 64 << 20 }>();
    let (value, consumed) =
        bincode::serde::decode_from_slice(head, config).map_err(|error| error.to_string())?;
    if consumed != head.len() {
        return Err(format!("the head has {} bytes too many", head.len() - consumed));
    }
    Ok((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored forms, for ever: a changed one needs a new kind of frame.
    #[test]
    fn golden_bytes() {
        let mut buffer = Vec::new();
        let head = RecordHead {
            id: 1 << 100,
            at_ms: 1_000,
            flow: "f".into(),
            outcome: Outcome::Review,
            reasons: vec!["R".into()],
            test: true,
            request: Some((2, 3)),
            key: Some(KeyRef { slot: 7, id: 9, unit: 5 }),
            windows: vec![1],
        };
        push_head(&mut buffer, &head).unwrap();
        assert_eq!(
            hex::encode(&buffer),
            "24000000fe00000000000000000000000010000000fbd00701660201015201010203010709050101"
        );
        assert_eq!(read_head::<RecordHead>(&buffer).unwrap().0, head);
        buffer.clear();
        let outcome = OutcomeHead { id: "o".into(), target: 4, received_ms: 5 };
        push_head(&mut buffer, &outcome).unwrap();
        assert_eq!(hex::encode(&buffer), "04000000016f040a");
        buffer.clear();
        push_head(&mut buffer, &ErasureHead { unit: 6, at_ms: 7 }).unwrap();
        assert_eq!(hex::encode(&buffer), "02000000060e");
    }
}
