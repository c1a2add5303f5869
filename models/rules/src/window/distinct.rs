//! How many different values: exact while they are few, a sketch beyond.

use serde::{Deserialize, Serialize};
use verdict_config::Value;

/// Up to this many different values a bucket is exact.
pub const DISTINCT_EXACT_MAX: usize = 64;

/// log2 of the sketch's registers.
const INDEX_BITS: u32 = 10;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The largest value of a register: leading zeros of what the index leaves, and one.
const RANK_MAX: u8 = 64 - 10 + 1;

/// The different values among some events. Exact as a sorted set of 64-bit hashes up to
/// [`DISTINCT_EXACT_MAX`], then a HyperLogLog of 1,024 registers (Flajolet, Fusy, Gandouet and
/// Meunier 2007; standard error 1.04 / sqrt(1024) = 3.3 %), which never turns back. What it is
/// depends on the set of values only, so merging is associative, commutative and idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub enum Distinct {
    /// Ascending hashes.
    Exact(Vec<u64>),
    /// Registers.
    Sketch(Box<[u8; REGISTERS]>),
}

#[derive(Clone, Serialize, Deserialize)]
enum Encoded {
    Exact(Vec<u64>),
    Sketch(Vec<u8>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Distinct {
    /// Takes note of a value.
    pub fn add(&mut self, value: &Value) {
        self.insert(hash(value));
    }

    fn insert(&mut self, hash: u64) {
        match self {
            Self::Sketch(registers) => note(registers, hash),
            Self::Exact(hashes) => {
                if let Err(place) = hashes.binary_search(&hash) {
                    hashes.insert(place, hash);
                    if hashes.len() > DISTINCT_EXACT_MAX {
                        let mut registers = Box::new([0; REGISTERS]);
                        hashes.iter().for_each(|hash| note(&mut registers, *hash));
                        *self = Self::Sketch(registers);
                    }
                }
            }
        }
    }

    /// Takes note of another's values.
    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Exact(hashes) => hashes.iter().for_each(|hash| self.insert(*hash)),
            Self::Sketch(theirs) => {
                let mut registers = theirs.clone();
                match self {
                    Self::Exact(hashes) => {
                        hashes.iter().for_each(|hash| note(&mut registers, *hash));
                    }
                    Self::Sketch(ours) => {
                        let pairs = registers.iter_mut().zip(ours.iter());
                        pairs.for_each(|(register, ours)| *register = (*register).max(*ours));
                    }
                }
                *self = Self::Sketch(registers);
            }
        }
    }

    /// How many different values the parts have together, and whether the number is exact: it is if
    /// each part is, however many there are.
    #[must_use]
    pub fn count_of<'p>(parts: impl Iterator<Item = &'p Self>) -> (u64, bool) {
        let mut exact: Vec<u64> = Vec::new();
        let mut sketch: Option<Box<[u8; REGISTERS]>> = None;
        for part in parts {
            match (part, &mut sketch) {
                (Self::Exact(hashes), _) => exact.extend_from_slice(hashes),
                (Self::Sketch(registers), None) => sketch = Some(registers.clone()),
                (Self::Sketch(theirs), Some(registers)) => {
                    let pairs = registers.iter_mut().zip(theirs.iter());
                    pairs.for_each(|(register, theirs)| *register = (*register).max(*theirs));
                }
            }
        }
        match sketch {
            None => {
                exact.sort_unstable();
                exact.dedup();
                (exact.len() as u64, true)
            }
            Some(mut registers) => {
                exact.iter().for_each(|hash| note(&mut registers, *hash));
                (estimate(&registers), false)
            }
        }
    }
}

fn note(registers: &mut [u8; REGISTERS], hash: u64) {
    let index = (hash >> (64 - INDEX_BITS)) as usize;
    let rest = hash << INDEX_BITS;
    let rank = u8::try_from(rest.leading_zeros() + 1).unwrap_or(RANK_MAX).min(RANK_MAX);
    registers[index] = registers[index].max(rank);
}

/// The estimate with the small-range correction of the paper; 64-bit hashes need no other.
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "1,024 is exact")]
    let count = REGISTERS as f64;
    let alpha = 0.721_3 / (1.0 + 1.079 / count);
    let inverse: f64 = registers.iter().map(|rank| 0.5f64.powi(i32::from(*rank))).sum();
    let raw = alpha * count * count / inverse;
    let empty = registers.iter().filter(|rank| **rank == 0).count();
    #[expect(clippy::cast_precision_loss, reason = "at most 1,024")]
    let corrected =
        if raw <= 2.5 * count && empty > 0 { count * (count / empty as f64).ln() } else { raw };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and below 2^64; casts saturate"
    )]
    let rounded = corrected.round() as u64;
    rounded
}

/// A stable 64-bit hash of a value: FNV-1a over its type and bytes, then MurmurHash3's finaliser for
/// the spread of high bits that the sketch reads. Equal numbers of one type hash alike however they
/// were written.
fn hash(value: &Value) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    match value {
        Value::Bool(value) => hash.bytes(b'b', &[u8::from(*value)]),
        Value::Int(value) => hash.bytes(b'i', &value.to_le_bytes()),
        Value::Decimal(value) => {
            let plain = value.normalize();
            hash.bytes(b'd', &plain.mantissa().to_le_bytes());
            hash.bytes(b's', &plain.scale().to_le_bytes());
        }
        // Adding zero turns -0.0 into 0.0.
        Value::Float(value) => hash.bytes(b'f', &(value + 0.0).to_bits().to_le_bytes()),
        Value::Text(value) => hash.bytes(b't', value.as_bytes()),
        Value::Time(value) => hash.bytes(b'm', &value.0.to_le_bytes()),
        Value::Set(values) => {
            for value in values {
                hash.bytes(b'e', &(value.len() as u64).to_le_bytes());
                hash.bytes(b't', value.as_bytes());
            }
        }
    }
    let mut mixed = hash.0;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, kind: u8, bytes: &[u8]) {
        for byte in std::iter::once(&kind).chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl From<Distinct> for Encoded {
    fn from(distinct: Distinct) -> Self {
        match distinct {
            Distinct::Exact(hashes) => Self::Exact(hashes),
            Distinct::Sketch(registers) => Self::Sketch(registers.to_vec()),
        }
    }
}

impl TryFrom<Encoded> for Distinct {
    type Error = &'static str;

    fn try_from(encoded: Encoded) -> Result<Self, Self::Error> {
        match encoded {
            Encoded::Exact(hashes) => {
                let ascending = hashes.windows(2).all(|pair| pair[0] < pair[1]);
                if !ascending || hashes.len() > DISTINCT_EXACT_MAX {
                    return Err("the distinct values of a bucket are not a small sorted set");
                }
                Ok(Self::Exact(hashes))
            }
            Encoded::Sketch(registers) => {
                if registers.iter().any(|rank| *rank > RANK_MAX) {
                    return Err("a register of a distinct count is out of range");
                }
                let registers: Box<[u8; REGISTERS]> = registers
                    .into_boxed_slice()
                    .try_into()
                    .map_err(|_| "a distinct count has another number of registers")?;
                Ok(Self::Sketch(registers))
            }
        }
    }
}
