//! Versions of evaluation: rules for names, case folding, patterns, numbers and time zones.
//!
//! Two programs that serve one revision must answer alike, so a change of these rules gets a number.
//! A program evaluates by its own number and by the one before; the cluster's version says which one
//! is in force.

use serde::{Deserialize, Serialize};

/// The number of the rules by which expressions are evaluated. It never says which objects are
/// accepted, only what they mean.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum EvaluationVersion {
    /// The rules of the first release of the cluster (cluster versions 1 and 2).
    V1,
    /// Names that cannot be compared are unknown, patterns follow RE2 classes, text is folded on both
    /// sides, times have zones (cluster version 3).
    #[default]
    V2,
}

impl EvaluationVersion {
    /// The version that this program prefers.
    pub const CURRENT: Self = Self::V2;

    /// Its number, as records hold it.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version with a number; `None` where this program does not evaluate by it.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }
}
