//! Velocity windows.

use serde::{Deserialize, Serialize};
use verdict_config::{TimestampMs, Value};

/// Buckets in a window.
pub const BUCKETS: i64 = 60;
/// The longest window: 90 days.
pub const WINDOW_MS_MAX: u64 = 90 * 24 * 3_600 * 1_000;

/// A window's length and the buckets that stand for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowSpan {
    window_ms: u64,
}

/// What a window answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowFunction {
    /// How many events.
    Count,
    /// The sum of their amounts.
    Sum,
    /// The smallest amount.
    Min,
    /// The largest amount.
    Max,
    /// The mean amount.
    Mean,
    /// How many different values.
    Distinct,
}

/// What is kept of events to answer a function; functions of one measure can share a series.
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

/// One key's events of the last window, in at most 60 buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSeries {
    span: WindowSpan,
    measure: WindowMeasure,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It counts.
    Counted,
    /// It is older than the window that ends with the newest event.
    TooOld,
    /// It has no value (or not a number) where the measure needs one.
    NoValue,
}

/// What a window answers at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowReading {
    /// Int for count and distinct, decimal for the others; `None` is unknown.
    pub value: Option<Value>,
    /// Why it is unknown.
    pub cause: Option<WindowUnknown>,
    /// Whether a distinct count is exact; the others always are.
    pub exact: bool,
    /// Whether no event that belongs to the window was already dropped.
    pub complete: bool,
}

/// Why a window's value is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowUnknown {
    /// The smallest, largest or mean of no event.
    Empty,
    /// An amount or the sum is beyond what is kept exactly.
    Overflow,
}

impl WindowSeries {
    /// An empty series.
    #[must_use]
    pub fn new(span: WindowSpan, measure: WindowMeasure) -> Self {
        Self { span, measure }
    }

    /// Counts an event.
    pub fn add(&mut self, _at: TimestampMs, _value: Option<&Value>) -> Added {
        Added::Counted
    }

    /// What the window that ends with the bucket of `as_of` answers.
    #[must_use]
    pub fn read(&self, _function: WindowFunction, _as_of: TimestampMs) -> WindowReading {
        WindowReading { value: None, cause: None, exact: true, complete: true }
    }
}
