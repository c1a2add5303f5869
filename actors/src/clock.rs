//! The clock of a node: the one place that every wall-clock time of it comes from, the leader's
//! stamps, ends of tokens and snoozes, times of records and of evidence among them. Pure crates get
//! times as arguments. What is waited for, and for how long, goes by the monotonic clock instead:
//! elections, stale marks, limits of requests, retries.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use verdict_config::TimestampMs;

type Clock = Box<dyn Fn() -> TimestampMs + Send + Sync>;

/// The clock that a program gave; the system's where none did.
static GIVEN: OnceLock<Clock> = OnceLock::new();

/// Now, in milliseconds since the epoch.
#[must_use]
pub fn now() -> TimestampMs {
    GIVEN.get().map_or_else(system_now, |given| given())
}

/// The system's clock. One before 1970 reads as 1970.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
pub fn system_now() -> TimestampMs {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Makes [`now`] read another clock, for the whole process and before anything runs in it: programs
/// of tests do. The first clock stays; gives whether this one is it.
pub fn give(clock: impl Fn() -> TimestampMs + Send + Sync + 'static) -> bool {
    GIVEN.set(Box::new(clock)).is_ok()
}
