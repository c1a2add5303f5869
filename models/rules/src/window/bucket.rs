//! What one bucket keeps.

use serde::{Deserialize, Serialize};
use verdict_config::Value;

use super::{Amounts, Distinct, WindowMeasure};

/// The events of one bucket, as far as a measure needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bucket {
    /// How many.
    Events(u64),
    /// Their amounts.
    Amounts(Amounts),
    /// How many, and their different values.
    Values(u64, Distinct),
}

impl Bucket {
    /// A bucket without events.
    #[must_use]
    pub fn empty(measure: WindowMeasure) -> Self {
        match measure {
            WindowMeasure::Events => Self::Events(0),
            WindowMeasure::Amounts => Self::Amounts(Amounts::default()),
            WindowMeasure::Values => Self::Values(0, Distinct::default()),
        }
    }

    /// What it keeps.
    #[must_use]
    pub const fn measure(&self) -> WindowMeasure {
        match self {
            Self::Events(_) => WindowMeasure::Events,
            Self::Amounts(_) => WindowMeasure::Amounts,
            Self::Values(..) => WindowMeasure::Values,
        }
    }

    /// How many events.
    #[must_use]
    pub const fn count(&self) -> u64 {
        match self {
            Self::Events(count) | Self::Values(count, _) => *count,
            Self::Amounts(amounts) => amounts.count(),
        }
    }

    /// Counts an event; `false` if it has no value that the measure can keep.
    pub fn add(&mut self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Events(count), _) => *count = count.saturating_add(1),
            (Self::Amounts(amounts), Some(value)) => return amounts.add(value),
            (Self::Values(count, values), Some(value)) => {
                *count = count.saturating_add(1);
                values.add(value);
            }
            (Self::Amounts(_) | Self::Values(..), None) => return false,
        }
        true
    }

    /// Adds another bucket's events; `false`, and nothing is added, if it keeps another measure.
    pub fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Events(count), Self::Events(more)) => *count = count.saturating_add(*more),
            (Self::Amounts(amounts), Self::Amounts(more)) => amounts.merge(more),
            (Self::Values(count, values), Self::Values(more, others)) => {
                *count = count.saturating_add(*more);
                values.merge(others);
            }
            _ => return false,
        }
        true
    }

    pub(super) const fn is_sound(&self) -> bool {
        match self {
            Self::Events(count) | Self::Values(count, _) => *count > 0,
            Self::Amounts(amounts) => amounts.count() > 0 && amounts.is_sound(),
        }
    }
}
