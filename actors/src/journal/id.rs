//! Decision ids: ULIDs that say which node holds the record.
//!
//! `[48 bits: milliseconds since the epoch][16 bits: the node's short id][64 bits: random]`, written
//! as 26 characters of Crockford's base 32. Any node can read the short id and route a GET, and the
//! time says in which segments to look.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;
use verdict_config::{Code, Fault, TimestampMs};

/// The id of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(pub u128);

impl DecisionId {
    /// An id of its parts. Times beyond 48 bits are cut.
    #[must_use]
    pub const fn new(at: TimestampMs, node: u16, random: u64) -> Self {
        let time = (at.0.cast_unsigned() & 0xffff_ffff_ffff) as u128;
        Self(time << 80 | (node as u128) << 64 | random as u128)
    }

    /// When it was made, in milliseconds since the epoch.
    #[must_use]
    pub const fn at(self) -> TimestampMs {
        TimestampMs(((self.0 >> 80) as u64).cast_signed())
    }

    /// The short id of the node that made it.
    #[must_use]
    pub const fn node(self) -> u16 {
        (self.0 >> 64 & 0xffff) as u16
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        formatter.write_str(Ulid(self.0).array_to_str(&mut buffer))
    }
}

impl FromStr for DecisionId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let parsed = Ulid::from_string(text).ok().map(|ulid| Self(ulid.0));
        // One text an id: lower case and lookalike letters are read by ULID libraries as well.
        parsed.filter(|id| id.to_string() == text).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            Fault::new(Code::DecisionNotFound, "id", format!("{shown:?} is no decision id"))
        })
    }
}
