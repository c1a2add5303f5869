//! Admin requests that were refused: all counted, the last ones kept, those of known keys logged.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;
use verdict_config::{Code, TimestampMs};

/// Refusals that are kept.
const KEPT_MAX: usize = 256;

/// One refusal.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedRequest {
    /// When.
    pub at: TimestampMs,
    /// The known key that was named. Its owner need not be who sent the request.
    pub key: Option<String>,
    /// The stable code.
    pub code: &'static str,
    /// Why.
    pub detail: String,
}

/// The last refusals.
#[derive(Debug, Default)]
pub struct Refusals {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    total: u64,
    last: VecDeque<RefusedRequest>,
}

/// What is told of them.
#[derive(Debug, Serialize)]
pub struct RefusalReport {
    /// All since the start.
    pub total: u64,
    /// The last, newest first.
    pub refusals: Vec<RefusedRequest>,
}

impl Refusals {
    /// Counts a refusal, keeps it, and logs it if it names a known key: strangers cannot fill logs.
    pub fn add(&self, at: TimestampMs, key: Option<&str>, code: Code, detail: &str) {
        metrics::counter!("verdict_admin_refusals_total", "code" => code.as_str()).increment(1);
        if let Some(key) = key {
            tracing::warn!(key, code = code.as_str(), detail, "an admin request was refused");
        }
        let detail = detail.chars().take(256).collect();
        let refused =
            RefusedRequest { at, key: key.map(str::to_owned), code: code.as_str(), detail };
        let mut kept = self.kept.lock();
        kept.total += 1;
        if kept.last.len() == KEPT_MAX {
            kept.last.pop_back();
        }
        kept.last.push_front(refused);
    }

    /// What there is to tell.
    #[must_use]
    pub fn report(&self) -> RefusalReport {
        let kept = self.kept.lock();
        RefusalReport { total: kept.total, refusals: kept.last.iter().cloned().collect() }
    }
}
