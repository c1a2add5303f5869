//! What each metric of this crate means, for whoever installs the recorder.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

const COUNTERS: &[(&str, &str)] = &[
    ("verdict_blob_cut_short_total", "Contents from other nodes that ended before their length."),
    ("verdict_blob_damaged_total", "Contents on this disk that were not what their hash says."),
    ("verdict_blob_lies_total", "Contents from other nodes that were not what was asked for."),
    ("verdict_blob_repaired_total", "Damaged contents that were brought anew."),
    ("verdict_circuit_opened_total", "Circuit breakers of models that opened."),
    ("verdict_decision_errors_total", "Requests for a decision that were refused, by code."),
    ("verdict_decision_retries_total", "Requests answered with the decision of their request_id."),
    ("verdict_decisions_total", "Decisions made, by flow and outcome; tests are not counted."),
    ("verdict_inference_cache_hits_total", "Model answers taken from the cache of results."),
    ("verdict_inference_cache_misses_total", "Model answers that had to be computed."),
    ("verdict_model_failures_total", "Model calls that failed, by reason."),
    ("verdict_model_loads_total", "Models loaded from the store."),
    ("verdict_publish_failures_total", "Catalogues that could not be compiled or loaded."),
    ("verdict_restarts_total", "Restarts of supervised members."),
    ("verdict_shed_total", "Work refused because a queue was full."),
    ("verdict_task_panics_total", "Panics in tasks; each cost one request or one restart."),
    ("verdict_test_decisions_total", "Decisions marked as tests, by flow."),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    ("verdict_journal_bytes", Unit::Bytes, "Size of the journal on the disk."),
    (
        "verdict_journal_days_held",
        Unit::Count,
        "Days of records that the journal's bound in bytes holds at the present rate.",
    ),
    ("verdict_journal_failed", Unit::Count, "1 once the disk refused a write to the journal."),
    ("verdict_journal_segments", Unit::Count, "Segment files of the journal."),
    ("verdict_journal_sync_lag_seconds", Unit::Seconds, "Age of the oldest unsynced record."),
    ("verdict_journal_unsynced_bytes", Unit::Bytes, "Journal bytes written and not yet synced."),
    ("verdict_log_bytes", Unit::Bytes, "Size of the log of changes on the disk."),
    ("verdict_log_failed", Unit::Count, "1 once the disk refused a write to the log."),
    ("verdict_log_waiting", Unit::Count, "Change sets that wait for the log."),
    ("verdict_member_running", Unit::Count, "1 while a supervised member runs."),
    ("verdict_model_resident_bytes", Unit::Bytes, "Memory of the models that are loaded."),
    ("verdict_publisher_faults", Unit::Count, "Faults of the newest catalogue; 0 when it serves."),
    ("verdict_queue_depth", Unit::Count, "Work in a queue, by member."),
    ("verdict_queue_limit", Unit::Count, "Most work that a queue takes, by member."),
    ("verdict_serving_revision", Unit::Count, "Revision that decisions are made under."),
    ("verdict_window_series", Unit::Count, "Keys of velocity windows that are remembered."),
];

const HISTOGRAMS: &[(&str, Unit, &str)] = &[
    ("verdict_decision_seconds", Unit::Seconds, "Time of a decision inside the node, by flow."),
    ("verdict_inference_batch_rows", Unit::Count, "Rows of a model's batch."),
    ("verdict_inference_batch_seconds", Unit::Seconds, "Time of a model's batch."),
    ("verdict_publish_seconds", Unit::Seconds, "Time to compile, load and swap a catalogue."),
    ("verdict_stage_seconds", Unit::Seconds, "Time of one stage of a decision."),
];

/// Describes every metric to the recorder that is installed; without one it does nothing.
pub fn describe_metrics() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, Unit::Count, *text);
    }
    for (name, unit, text) in GAUGES {
        describe_gauge!(*name, *unit, *text);
    }
    for (name, unit, text) in HISTOGRAMS {
        describe_histogram!(*name, *unit, *text);
    }
}
