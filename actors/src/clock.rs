//! The clock of the runtime. Pure crates get times as arguments; this is where they come from.

use std::time::{SystemTime, UNIX_EPOCH};

use verdict_config::TimestampMs;

/// Now, in milliseconds since the epoch. A clock before 1970 reads as 1970.
#[must_use]
pub fn now() -> TimestampMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
