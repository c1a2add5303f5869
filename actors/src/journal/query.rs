//! Searches.

use verdict_config::TimestampMs;
use verdict_config::definition::Outcome;

use super::DecisionId;

/// What is searched for; parts that are absent fit everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchQuery {
    /// The flow.
    pub flow: Option<String>,
    /// The outcome.
    pub outcome: Option<Outcome>,
    /// A reason code among the decision's.
    pub reason: Option<String>,
    /// Received at this time or later.
    pub since: Option<TimestampMs>,
    /// Received before this time.
    pub until: Option<TimestampMs>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Most hits of a page, 1 to 1,000; 50 if 0.
    pub limit: usize,
    /// Whether test decisions are found as well.
    pub include_test: bool,
}

/// One decision found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its id.
    pub id: DecisionId,
    /// When its request came in.
    pub at: TimestampMs,
    /// The flow.
    pub flow: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Reason codes.
    pub reasons: Vec<String>,
    /// Whether it was a test.
    pub test: bool,
}

/// A page of hits, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Hits. A page may be short, even empty, and still have a next one: work is bounded by rows
    /// looked at.
    pub hits: Vec<Hit>,
    /// The cursor of the next page; `None`: there is nothing older.
    pub next: Option<String>,
}
