//! How the journal works, what opening it found, and how it stands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::{Fault, Faults, TimestampMs};

/// Where the journal takes the time from.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// Whether the time may be believed so far that records expire by it.
pub type MayExpire = Arc<dyn Fn() -> bool + Send + Sync>;

/// Settings of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalOptions {
    /// Bytes at which a segment file is full.
    pub segment_bytes: u64,
    /// Most bytes of all segments; the oldest segment goes first.
    pub bytes_max: u64,
    /// Most days that a record is kept.
    pub days_max: u32,
    /// Longest time in milliseconds until a record of an `async` flow is synced.
    pub sync_ms_max: u64,
    /// Most bytes that are written and not synced before a sync begins.
    pub sync_bytes_max: u64,
    /// Most bytes that are written and not synced at all; then appends are refused as overload.
    pub unsynced_bytes_max: u64,
    /// For how many hours a `request_id` is remembered.
    pub request_hours: u32,
    /// Most window series (one a window and key); the longest inactive go first.
    pub window_series_max: usize,
    /// Events further ahead of the clock than this many milliseconds are not counted in windows.
    pub window_ahead_ms_max: u64,
    /// Most rows that one search looks at.
    pub search_rows_max: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            bytes_max: 2 << 30,
            days_max: 90,
            sync_ms_max: 100,
            sync_bytes_max: 1 << 20,
            unsynced_bytes_max: 64 << 20,
            request_hours: 24,
            window_series_max: 100_000,
            window_ahead_ms_max: 300_000,
            search_rows_max: 500_000,
        }
    }
}

impl JournalOptions {
    /// Every fault of the settings.
    #[must_use]
    pub fn validate(&self) -> Faults {
        let mut faults = Faults::new();
        let mut check = |path: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                let message = format!("{value} is not between {least} and {most}");
                faults.push(Fault::new(verdict_config::Code::InvalidValue, path, message));
            }
        };
        check("segment_bytes", self.segment_bytes, 64 << 10, 1 << 30);
        check("bytes_max", self.bytes_max, 2 * self.segment_bytes, 1 << 44);
        check("days_max", self.days_max.into(), 1, 36_500);
        check("sync_ms_max", self.sync_ms_max, 1, 60_000);
        check("sync_bytes_max", self.sync_bytes_max, 1, 1 << 30);
        check("unsynced_bytes_max", self.unsynced_bytes_max, 1 << 20, 1 << 32);
        check("request_hours", self.request_hours.into(), 1, 24 * 90);
        check("window_series_max", self.window_series_max as u64, 64, 100_000_000);
        check("window_ahead_ms_max", self.window_ahead_ms_max, 0, 86_400_000);
        check("search_rows_max", self.search_rows_max as u64, 1_000, 100_000_000);
        faults
    }
}

/// What is not whole in a journal that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file, within the journal's folder.
    pub file: String,
    /// Where the damage begins.
    pub offset: u64,
    /// How many bytes cannot be read.
    pub bytes: u64,
    /// How many records were lost, where it can be told.
    pub records: Option<u64>,
    /// What is wrong.
    pub detail: String,
}

impl JournalStatus {
    /// What to do, in a sentence, where records go before the days that the settings say.
    #[must_use]
    pub fn short_retention(&self) -> Option<String> {
        let days = self.days_held.filter(|days| *days < f64::from(self.retention_days))?;
        Some(format!(
            "at the present rate the journal holds {days:.1} days of records, not the {} of \
             journal.retention_days: raise journal.retention_bytes, or export records before they go",
            self.retention_days
        ))
    }
}

/// What opening the journal found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct JournalRecovery {
    /// Segments.
    pub segments: u64,
    /// Records and outcomes read at the start: those behind the last checkpoint.
    pub records_read: u64,
    /// Bytes of a record that was being written when the process ended, cut off at the end. It was
    /// never answered.
    pub torn_bytes: u64,
    /// Sidecar indexes that were absent or damaged, and built again.
    pub indexes_rebuilt: u64,
    /// Window series that were restored.
    pub window_series: u64,
    /// Records that are lost, and damaged files that were passed over.
    pub damage: Vec<Damage>,
}

/// How the journal stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct JournalStatus {
    /// Segments.
    pub segments: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Days of records that the bound in bytes holds at the rate of the last day, at most
    /// `retention_days`; none while less than a minute was measured.
    pub days_held: Option<f64>,
    /// Days that a record is kept, as the settings say.
    pub retention_days: u32,
    /// Records written since the start.
    pub records: u64,
    /// Outcomes written since the start.
    pub outcomes: u64,
    /// Bytes written and not yet synced.
    pub unsynced_bytes: u64,
    /// Age of the oldest record that is not yet synced, in milliseconds.
    pub sync_lag_ms: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Duration of the last sync in microseconds.
    pub sync_us_last: u64,
    /// Window series in memory.
    pub window_series: u64,
    /// Series that were dropped within their window, to make room for others.
    pub window_series_evicted: u64,
    /// Events not counted because their time was too far ahead.
    pub window_events_refused: u64,
    /// Units that have a key.
    pub units: u64,
    /// Segments dropped by retention since the start.
    pub segments_dropped: u64,
    /// Why the journal takes no more, if so.
    pub failed: Option<String>,
}
