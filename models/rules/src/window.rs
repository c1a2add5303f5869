//! Velocity windows as pure arithmetic: the one definition that journal, replay and every oracle use.
//!
//! A window of `w` milliseconds is counted in 60 buckets of `ceil(w / 60)` milliseconds, aligned to
//! the epoch. The window at `as_of` is the 60 buckets that end with the one that holds `as_of`, so it
//! reaches back between 59/60 and all of `w`, rounded up:
//!
//! ```text
//!            59 whole buckets                  as_of
//!      ├────┼────┼────┼ ... ┼────┼────┼────┼───●┤
//!  dropped │              counted                │ later
//! ```
//!
//! The decision that asks does not count itself: it is added after it was read. A series holds one
//! key's events of the last window and nothing older, in at most 60 buckets, whatever happens.
//! Buckets of the same place add up in any order and grouping, so series of several nodes merge.
//!
//! **Events are placed by their own time.** Whoever adds events whose time a client may choose must
//! refuse times far ahead of the clock first: one event of the year 2099 would make all others old.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use verdict_config::{FieldType, TimestampMs, Value};

mod amounts;
mod bucket;
mod distinct;
mod series;

pub use crate::rule::WindowFunction;
pub use amounts::{AMOUNT_ABS_MAX, AMOUNT_DECIMALS, Amounts};
pub use bucket::Bucket;
pub use distinct::{DISTINCT_EXACT_MAX, Distinct};
pub use series::{Added, MergeMismatch, WindowSeries, aggregate, read_merged};

/// Buckets in a window.
pub const BUCKETS: i64 = 60;
/// The longest window: 90 days.
pub const WINDOW_MS_MAX: u64 = 90 * 24 * 3_600 * 1_000;

/// A window's length, and by it the buckets that stand for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct WindowSpan {
    window_ms: u64,
}

impl WindowSpan {
    /// A window of 1 to [`WINDOW_MS_MAX`] milliseconds.
    #[must_use]
    pub const fn new(window_ms: u64) -> Option<Self> {
        if window_ms == 0 || window_ms > WINDOW_MS_MAX { None } else { Some(Self { window_ms }) }
    }

    /// The window's length in milliseconds.
    #[must_use]
    pub const fn window_ms(self) -> u64 {
        self.window_ms
    }

    /// The width of a bucket in milliseconds, at least 1.
    #[must_use]
    pub const fn bucket_ms(self) -> i64 {
        // At most 90 days: far below i64::MAX.
        self.window_ms.div_ceil(BUCKETS as u64).cast_signed()
    }

    /// The bucket that holds a time, counted from the epoch.
    #[must_use]
    pub const fn bucket_of(self, at: TimestampMs) -> i64 {
        at.0.div_euclid(self.bucket_ms())
    }

    /// The oldest bucket of the window at a time.
    #[must_use]
    pub const fn first_bucket(self, as_of: TimestampMs) -> i64 {
        self.bucket_of(as_of).saturating_sub(BUCKETS - 1)
    }

    /// Whether the window at `as_of` counts an event of time `at`.
    #[must_use]
    pub const fn holds(self, as_of: TimestampMs, at: TimestampMs) -> bool {
        let bucket = self.bucket_of(at);
        self.first_bucket(as_of) <= bucket && bucket <= self.bucket_of(as_of)
    }
}

impl TryFrom<u64> for WindowSpan {
    type Error = String;

    fn try_from(window_ms: u64) -> Result<Self, String> {
        Self::new(window_ms)
            .ok_or_else(|| format!("a window is 1 to {WINDOW_MS_MAX} ms long, not {window_ms}"))
    }
}

impl From<WindowSpan> for u64 {
    fn from(span: WindowSpan) -> Self {
        span.window_ms
    }
}

/// What is kept of events to answer a function; reads of one measure, window, key and value field
/// can share a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowMeasure {
    /// Count only.
    Events,
    /// Count, sum, smallest and largest.
    Amounts,
    /// Count and the different values.
    Values,
}

impl WindowMeasure {
    /// The measure that a function is answered from.
    #[must_use]
    pub const fn of(function: WindowFunction) -> Self {
        match function {
            WindowFunction::Count => Self::Events,
            WindowFunction::Sum
            | WindowFunction::Min
            | WindowFunction::Max
            | WindowFunction::Mean => Self::Amounts,
            WindowFunction::Distinct => Self::Values,
        }
    }
}

/// What a window answers at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowReading {
    /// The value in the type that was asked for, or why it is unknown.
    pub value: Result<Value, WindowUnknown>,
    /// Whether a distinct count is exact; beyond [`DISTINCT_EXACT_MAX`] in one bucket it is an
    /// estimate (standard error 3.3 %). Everything else is always exact.
    pub exact: bool,
    /// Whether no event that belongs to the window was dropped before.
    pub complete: bool,
}

/// Why a window's value is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowUnknown {
    /// The smallest, largest or mean of no event.
    Empty,
    /// An amount is beyond [`AMOUNT_ABS_MAX`], or the answer beyond its type.
    Overflow,
    /// The series keeps another measure than the function needs, or the type asked for cannot hold
    /// the answer.
    NotKept,
}

impl WindowUnknown {
    /// The cause in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "the window holds no event",
            Self::Overflow => "an amount of the window, or its sum, is too large",
            Self::NotKept => "the window does not keep what is asked for",
        }
    }
}

/// A decimal in the type asked for.
fn typed(number: Decimal, result: FieldType) -> Result<Value, WindowUnknown> {
    match result {
        FieldType::Decimal => Ok(Value::Decimal(number)),
        FieldType::Float => {
            f64::try_from(number).map(Value::Float).map_err(|_| WindowUnknown::Overflow)
        }
        FieldType::Int => {
            i64::try_from(number).map(Value::Int).map_err(|_| WindowUnknown::Overflow)
        }
        FieldType::Bool
        | FieldType::Symbol
        | FieldType::String
        | FieldType::Time
        | FieldType::Set => Err(WindowUnknown::NotKept),
    }
}

#[cfg(test)]
mod tests;
