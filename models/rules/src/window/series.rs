//! One key's events of the last window.

use serde::{Deserialize, Serialize};
use verdict_config::{FieldType, TimestampMs, Value};

use super::{
    Amounts, BUCKETS, Bucket, Distinct, WindowFunction, WindowMeasure, WindowReading, WindowSpan,
    WindowUnknown,
};

/// One key's events of the last window, in at most 60 buckets. Serializes compactly (only buckets
/// that hold something, places relative to the newest); what is decoded is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub struct WindowSeries {
    span: WindowSpan,
    measure: WindowMeasure,
    /// Buckets that hold something by place, ascending, all within 60 of the last.
    buckets: Vec<(i64, Bucket)>,
    /// The newest place of which an event was dropped.
    dropped_through: Option<i64>,
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

/// Two series of different windows or measures cannot merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the series are of different windows or measures")]
pub struct MergeMismatch;

impl WindowSeries {
    /// A series without events.
    #[must_use]
    pub const fn new(span: WindowSpan, measure: WindowMeasure) -> Self {
        Self { span, measure, buckets: Vec::new(), dropped_through: None }
    }

    /// Its window.
    #[must_use]
    pub const fn span(&self) -> WindowSpan {
        self.span
    }

    /// What it keeps.
    #[must_use]
    pub const fn measure(&self) -> WindowMeasure {
        self.measure
    }

    /// Counts an event of time `at`. The value is the event's amount, or what is told apart.
    pub fn add(&mut self, at: TimestampMs, value: Option<&Value>) -> Added {
        let place = self.span.bucket_of(at);
        if self.is_old(place) {
            self.dropped_through = self.dropped_through.max(Some(place));
            return Added::TooOld;
        }
        match self.buckets.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(index) => {
                if !self.buckets[index].1.add(value) {
                    return Added::NoValue;
                }
            }
            Err(index) => {
                let mut bucket = Bucket::empty(self.measure);
                if !bucket.add(value) {
                    return Added::NoValue;
                }
                self.buckets.insert(index, (place, bucket));
                self.drop_old();
            }
        }
        Added::Counted
    }

    /// Adds the events of another series. Not idempotent: each node's events are merged once.
    ///
    /// # Errors
    /// Another window or measure; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeMismatch> {
        if self.span != other.span || self.measure != other.measure {
            return Err(MergeMismatch);
        }
        for (place, bucket) in &other.buckets {
            match self.buckets.binary_search_by_key(place, |(place, _)| *place) {
                Ok(index) => {
                    self.buckets[index].1.merge(bucket);
                }
                Err(index) => self.buckets.insert(index, (*place, bucket.clone())),
            }
        }
        self.dropped_through = self.dropped_through.max(other.dropped_through);
        self.drop_old();
        Ok(())
    }

    /// What the window at `as_of` answers, in the type asked for (`int` for count and distinct).
    #[must_use]
    pub fn read(
        &self,
        function: WindowFunction,
        result: FieldType,
        as_of: TimestampMs,
    ) -> WindowReading {
        read_merged([self], function, result, as_of)
    }

    /// Buckets that hold something, by place since the epoch, ascending.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = (i64, &Bucket)> {
        self.buckets.iter().map(|(place, bucket)| (*place, bucket))
    }

    /// Whether no window from `as_of` on can hold one of its events, so that it can be forgotten.
    #[must_use]
    pub fn is_over(&self, as_of: TimestampMs) -> bool {
        let first = self.span.first_bucket(as_of);
        self.buckets.last().is_none_or(|(newest, _)| *newest < first)
    }

    fn is_old(&self, place: i64) -> bool {
        let newest = self.buckets.last().map(|(newest, _)| *newest);
        newest.is_some_and(|newest| place < newest.saturating_sub(BUCKETS - 1))
    }

    fn drop_old(&mut self) {
        let old = self.buckets.iter().take_while(|(place, _)| self.is_old(*place)).count();
        if let Some((newest_dropped, _)) = self.buckets.drain(..old).next_back() {
            self.dropped_through = self.dropped_through.max(Some(newest_dropped));
        }
    }

    fn is_complete(&self, first: i64) -> bool {
        self.dropped_through.is_none_or(|dropped| dropped < first)
    }

    fn within(&self, first: i64, last: i64) -> impl Iterator<Item = &Bucket> {
        let start = self.buckets.partition_point(|(place, _)| *place < first);
        let rest = self.buckets[start..].iter();
        rest.take_while(move |(place, _)| *place <= last).map(|(_, bucket)| bucket)
    }
}

/// What the window at `as_of` answers over several series of one key: one a node. The answer is that
/// of one series that saw all events.
#[must_use]
pub fn read_merged<'s>(
    series: impl IntoIterator<Item = &'s WindowSeries>,
    function: WindowFunction,
    result: FieldType,
    as_of: TimestampMs,
) -> WindowReading {
    let mut complete = true;
    let mut count: u64 = 0;
    let mut amounts = Amounts::default();
    let mut values: Vec<&Distinct> = Vec::new();
    let mut kept = true;
    for series in series {
        let first = series.span.first_bucket(as_of);
        complete &= series.is_complete(first);
        kept &= function == WindowFunction::Count || series.measure == WindowMeasure::of(function);
        for bucket in series.within(first, series.span.bucket_of(as_of)) {
            count = count.saturating_add(bucket.count());
            match bucket {
                Bucket::Events(_) => {}
                Bucket::Amounts(more) => amounts.merge(more),
                Bucket::Values(_, more) => values.push(more),
            }
        }
    }
    let mut exact = true;
    let value = match function {
        _ if !kept => Err(WindowUnknown::NotKept),
        WindowFunction::Count => counted(count, result),
        WindowFunction::Distinct => {
            let (distinct, is_exact) = Distinct::count_of(values.into_iter());
            exact = is_exact;
            counted(distinct, result)
        }
        WindowFunction::Sum | WindowFunction::Min | WindowFunction::Max | WindowFunction::Mean => {
            amounts.read(function, result)
        }
    };
    WindowReading { value, exact, complete }
}

fn counted(count: u64, result: FieldType) -> Result<Value, WindowUnknown> {
    super::typed(count.into(), result)
}

/// What the window at `as_of` answers over a plain list of events in any order: the definition that
/// series are a bounded form of, for oracles and replay.
#[must_use]
pub fn aggregate<'v>(
    span: WindowSpan,
    events: impl IntoIterator<Item = (TimestampMs, Option<&'v Value>)>,
    function: WindowFunction,
    result: FieldType,
    as_of: TimestampMs,
) -> WindowReading {
    let mut series = WindowSeries::new(span, WindowMeasure::of(function));
    for (at, value) in events {
        if span.holds(as_of, at) {
            series.add(at, value);
        }
    }
    series.read(function, result, as_of)
}

#[derive(Clone, Serialize, Deserialize)]
struct Encoded {
    span: WindowSpan,
    measure: WindowMeasure,
    newest: i64,
    dropped_through: Option<i64>,
    /// Buckets by their age in buckets.
    buckets: Vec<(u8, Bucket)>,
}

impl From<WindowSeries> for Encoded {
    fn from(series: WindowSeries) -> Self {
        let newest = series.buckets.last().map_or(0, |(newest, _)| *newest);
        let aged = |(place, bucket): (i64, Bucket)| {
            // Buckets are within 60 of the newest.
            (u8::try_from(newest.saturating_sub(place)).unwrap_or(u8::MAX), bucket)
        };
        Self {
            span: series.span,
            measure: series.measure,
            newest,
            dropped_through: series.dropped_through,
            buckets: series.buckets.into_iter().map(aged).collect(),
        }
    }
}

impl TryFrom<Encoded> for WindowSeries {
    type Error = &'static str;

    fn try_from(encoded: Encoded) -> Result<Self, Self::Error> {
        let ages = || encoded.buckets.iter().map(|(age, _)| *age);
        let descending = ages().zip(ages().skip(1)).all(|(one, next)| one > next);
        let bounded = ages().all(|age| i64::from(age) < BUCKETS);
        if !descending || !bounded || ages().next_back().is_some_and(|age| age != 0) {
            return Err("the buckets of a window are out of order");
        }
        let sound = |bucket: &Bucket| bucket.measure() == encoded.measure && bucket.is_sound();
        if !encoded.buckets.iter().all(|(_, bucket)| sound(bucket)) {
            return Err("a bucket of a window is not of its measure");
        }
        let placed = |(age, bucket)| (encoded.newest.saturating_sub(i64::from(age)), bucket);
        Ok(Self {
            span: encoded.span,
            measure: encoded.measure,
            dropped_through: encoded.dropped_through,
            buckets: encoded.buckets.into_iter().map(placed).collect(),
        })
    }
}
