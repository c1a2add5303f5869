//! Settings of what decides: rules, inference, the journal.

use serde::{Deserialize, Serialize};

/// Feature flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlagsSettings {
    /// Whether flags that this node takes must have the form of flagd's schema. With false, flags of its
    /// catalogue folder and of changes sent to it that flagd serves with a warning get
    /// `"strict": false`, and are served with a finding.
    pub strict: bool,
}

impl Default for FlagsSettings {
    fn default() -> Self {
        Self { strict: true }
    }
}

/// Rule evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RulesSettings {
    /// Workers; 0 for one a core.
    pub workers: usize,
    /// Requests that wait for a worker; one more is shed.
    pub queue_max: usize,
    /// Worst-case cost that a rule set may have when it names no limit itself.
    pub cost_units_max: u64,
}

impl Default for RulesSettings {
    fn default() -> Self {
        Self { workers: 0, queue_max: 1_024, cost_units_max: 10_000_000 }
    }
}

/// Inference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InferenceSettings {
    /// Compute threads; 0 for one a core.
    pub threads: usize,
    /// Rows that wait for one model; one more is shed.
    pub queue_max: usize,
    /// Most rows of a batch.
    pub batch_rows_max: usize,
    /// Results that are remembered.
    pub cache_entries_max: u64,
    /// Memory of loaded models.
    pub models_bytes_max: u64,
    /// A model call that takes longer counts as failed.
    pub timeout_ms: u64,
    /// Failures in a row that open a model's circuit breaker.
    pub breaker_failures: u32,
    /// How long an open breaker waits before it tries again.
    pub breaker_pause_ms: u64,
}

impl Default for InferenceSettings {
    fn default() -> Self {
        Self {
            threads: 0,
            queue_max: 1_024,
            batch_rows_max: 32,
            cache_entries_max: 16_384,
            models_bytes_max: 1 << 30,
            timeout_ms: 1_000,
            breaker_failures: 5,
            breaker_pause_ms: 5_000,
        }
    }
}

/// Records, outcomes and windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Size of the whole journal; the oldest segment goes first.
    pub retention_bytes: u64,
    /// Age of the oldest record, in days.
    pub retention_days: u32,
    /// Longest time an `async` record waits for its sync.
    pub sync_interval_ms: u64,
    /// Keys of velocity windows that are remembered; the longest idle goes first.
    pub window_keys_max: usize,
    /// How long a `request_id` is remembered, in hours.
    pub request_id_hours: u32,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            retention_bytes: 2 << 30,
            retention_days: 90,
            sync_interval_ms: 100,
            window_keys_max: 100_000,
            request_id_hours: 24,
        }
    }
}
