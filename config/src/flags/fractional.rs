//! `fractional`: the pseudorandom, sticky split of units over variants, in its three live versions.
//!
//! All hash with MurmurHash3 (x86, 32 bits, seed 0) and walk the cumulative weights:
//! - v1: `abs(i32(h)) / (2^31 - 1) * 100` against cumulative percentages (older clients);
//! - v2: `(u32(h) * total) >> 32` against cumulative integer weights (Go, JavaScript from 4 on);
//! - v3: as v2, over deterministic CBOR of the key (Python from 2 on), so that any value is a key.
//!
//! Without a key of its own v1 and v2 hash the flag's key followed by the targeting key, v3 the
//! array of both. Weights are integers, negative ones count as 0, their sum is at most 2^31 - 1.

use serde::{Deserialize, Serialize};

use super::cbor;
use super::hash::{Murmur3, murmur3, position};
use super::logic::datum::{Datum, Number};
use super::logic::node::Node;

/// The largest sum of weights.
pub const WEIGHT_SUM_MAX: i64 = i32::MAX as i64;

/// Which clients' assignment `fractional` follows; pinned per flag by `hashVersion`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum HashVersion {
    /// Percentages of the absolute signed hash.
    V1,
    /// Integer buckets of the unsigned hash over text.
    #[default]
    V2,
    /// Integer buckets of the unsigned hash over deterministic CBOR.
    V3,
}

impl HashVersion {
    /// Every version.
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];
}

/// A compiled `fractional`.
#[derive(Debug)]
pub struct Split {
    /// How it hashes.
    pub version: HashVersion,
    /// The bucketing value, unless it is flag key and targeting key.
    pub key: Option<Node>,
    /// The buckets; none if one is malformed, which makes the result null.
    pub buckets: Option<Box<[Bucket]>>,
}

/// One bucket.
#[derive(Debug)]
pub struct Bucket {
    /// What is chosen.
    pub variant: Node,
    /// How much of the total.
    pub weight: Weight,
}

/// A bucket's weight.
#[derive(Debug)]
pub enum Weight {
    /// Known.
    Literal(i64),
    /// Computed for each request.
    Computed(Node),
}

impl HashVersion {
    /// The hash of a bucketing value; none where the version cannot hash it.
    pub(super) fn hash(self, key: &Datum<'_>) -> Option<u32> {
        match (self, key) {
            (Self::V1, Datum::Text(text)) if text.is_empty() => None,
            (Self::V1 | Self::V2, Datum::Text(text)) => Some(murmur3(text.as_bytes())),
            (Self::V1 | Self::V2, _) | (Self::V3, Datum::Null | Datum::List(_)) => None,
            (Self::V3, key) => {
                let mut hash = Murmur3::new();
                cbor::encode(&mut hash, key);
                Some(hash.finish())
            }
        }
    }

    /// The hash of a unit of a flag.
    pub(super) fn hash_unit(self, flag_key: &str, targeting_key: &str) -> u32 {
        let mut hash = Murmur3::new();
        match self {
            Self::V1 | Self::V2 => {
                hash.write(flag_key.as_bytes());
                hash.write(targeting_key.as_bytes());
            }
            Self::V3 => cbor::encode_pair(&mut hash, flag_key, targeting_key),
        }
        hash.finish()
    }

    /// The bucket that a hash falls into: the first whose cumulative weight is above its position.
    pub(super) fn choose(self, hash: u32, weights: &[i64]) -> Option<usize> {
        let total = weights.iter().try_fold(0_i64, |sum, weight| sum.checked_add(*weight))?;
        if !(1..=WEIGHT_SUM_MAX).contains(&total) {
            return None;
        }
        match self {
            Self::V1 => choose_by_percentage(hash, weights, total),
            Self::V2 | Self::V3 => {
                let bucket = i64::from(position(hash, u32::try_from(total).ok()?));
                let mut end = 0;
                weights.iter().position(|weight| {
                    end += weight;
                    bucket < end
                })
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "weights are below 2^31")]
fn choose_by_percentage(hash: u32, weights: &[i64], total: i64) -> Option<usize> {
    let bucket = f64::from(hash.cast_signed().unsigned_abs()) / f64::from(i32::MAX) * 100.0;
    let mut end = 0.0;
    weights.iter().position(|weight| {
        end += *weight as f64 * 100.0 / total as f64;
        bucket < end
    })
}

/// A weight as a value gave it: whole numbers, negative ones as 0; none for anything else.
pub(super) fn weight_of(value: &Datum<'_>) -> Option<i64> {
    match value {
        Datum::Number(number @ (Number::Int(_) | Number::Float(_))) => {
            number.as_whole().map(|weight| weight.max(0))
        }
        Datum::Number(Number::Large(_))
        | Datum::Null
        | Datum::Bool(_)
        | Datum::Text(_)
        | Datum::List(_)
        | Datum::Object(_) => None,
    }
}
