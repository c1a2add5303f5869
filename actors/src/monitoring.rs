//! Rolling counts of what was decided, for status pages and for the `metrics` facade.
//!
//! Counters are kept by minute in a ring of one hour. Writing is a lock of some tens of nanoseconds
//! on the request path; nothing is sampled and nothing grows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use verdict_config::TimestampMs;
use verdict_config::definition::Outcome;

/// Minutes that are kept.
const MINUTES: usize = 60;
const OUTCOMES: usize = Outcome::ALL.len();
/// Flows that are counted apart; further ones share one entry, so that labels stay bounded.
const FLOWS_MAX: usize = 256;

/// Counts of one flow in one minute.
#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    number: i64,
    outcomes: [u64; OUTCOMES],
    abstained: u64,
    degraded: u64,
    errors: u64,
    took_us_sum: u64,
    took_us_max: u64,
}

#[derive(Debug)]
struct Ring {
    minutes: [Minute; MINUTES],
}

impl Ring {
    fn at(&mut self, number: i64) -> &mut Minute {
        let position = usize::try_from(number.rem_euclid(MINUTES as i64)).unwrap_or(0);
        let minute = &mut self.minutes[position];
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute
    }
}

/// What one decision counts as.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// The outcome.
    pub outcome: Outcome,
    /// Whether the flow abstained.
    pub abstained: bool,
    /// Whether anything did not run as the flow says.
    pub degraded: bool,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// Sums of one flow over the last minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FlowCounts {
    /// Decisions.
    pub decisions: u64,
    /// Decisions by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Decisions that abstained.
    pub abstained: u64,
    /// Decisions in which something did not run as the flow says.
    pub degraded: u64,
    /// Requests that got an error and no decision.
    pub errors: u64,
    /// Mean duration of a decision in microseconds.
    pub took_us_mean: u64,
    /// Longest duration in microseconds.
    pub took_us_max: u64,
}

/// The counts of all flows. Cloning is cheap and shares them.
#[derive(Debug, Clone, Default)]
pub struct Monitoring {
    flows: Arc<Mutex<BTreeMap<Arc<str>, Ring>>>,
}

impl Monitoring {
    fn with<T>(&self, flow: &Arc<str>, use_ring: impl FnOnce(&mut Ring) -> T) -> T {
        let mut flows = self.flows.lock();
        if let Some(ring) = flows.get_mut(flow) {
            return use_ring(ring);
        }
        let name = if flows.len() < FLOWS_MAX { Arc::clone(flow) } else { "other".into() };
        let empty = || Ring { minutes: [Minute::default(); MINUTES] };
        use_ring(flows.entry(name).or_insert_with(empty))
    }

    /// Counts a decision.
    pub fn decided(&self, flow: &Arc<str>, at: TimestampMs, counted: Counted) {
        self.with(flow, |ring| {
            let minute = ring.at(at.0.div_euclid(60_000));
            minute.outcomes[counted.outcome as usize] += 1;
            minute.abstained += u64::from(counted.abstained);
            minute.degraded += u64::from(counted.degraded);
            minute.took_us_sum = minute.took_us_sum.saturating_add(counted.took_us);
            minute.took_us_max = minute.took_us_max.max(counted.took_us);
        });
    }

    /// Counts a request that got no decision.
    pub fn failed(&self, flow: &Arc<str>, at: TimestampMs) {
        self.with(flow, |ring| ring.at(at.0.div_euclid(60_000)).errors += 1);
    }

    /// Sums over the last `span` (at most an hour, the running minute included), by flow.
    #[must_use]
    pub fn counts(&self, now: TimestampMs, span: Duration) -> BTreeMap<String, FlowCounts> {
        let newest = now.0.div_euclid(60_000);
        let minutes = i64::try_from(span.as_secs().div_ceil(60)).unwrap_or(i64::MAX);
        let oldest = newest - minutes.clamp(1, MINUTES as i64) + 1;
        let flows = self.flows.lock();
        let sum = |ring: &Ring| {
            let mut counts = FlowCounts::default();
            let mut took_us = 0u64;
            let fresh = |minute: &&Minute| (oldest..=newest).contains(&minute.number);
            for minute in ring.minutes.iter().filter(fresh) {
                for (outcome, count) in Outcome::ALL.iter().zip(minute.outcomes) {
                    if count > 0 {
                        *counts.outcomes.entry(outcome.as_str()).or_default() += count;
                        counts.decisions += count;
                    }
                }
                counts.abstained += minute.abstained;
                counts.degraded += minute.degraded;
                counts.errors += minute.errors;
                took_us = took_us.saturating_add(minute.took_us_sum);
                counts.took_us_max = counts.took_us_max.max(minute.took_us_max);
            }
            counts.took_us_mean = took_us.checked_div(counts.decisions).unwrap_or(0);
            counts
        };
        flows.iter().map(|(flow, ring)| (flow.to_string(), sum(ring))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_roll_over_the_hour() {
        let monitoring = Monitoring::default();
        let flow: Arc<str> = "payment".into();
        let counted = |outcome| Counted { outcome, abstained: true, degraded: false, took_us: 30 };
        let at = |minute: i64| TimestampMs(minute * 60_000 + 1);
        monitoring.decided(&flow, at(100), counted(Outcome::Approve));
        monitoring.decided(&flow, at(101), counted(Outcome::Block));
        monitoring.failed(&flow, at(101));
        let hour = Duration::from_secs(3_600);
        let counts = &monitoring.counts(at(101), hour)["payment"];
        assert_eq!((counts.decisions, counts.errors, counts.abstained), (2, 1, 2));
        assert_eq!(counts.outcomes, BTreeMap::from([("approve", 1), ("block", 1)]));
        assert_eq!((counts.took_us_mean, counts.took_us_max), (30, 30));
        let minute = &monitoring.counts(at(101), Duration::from_secs(60))["payment"];
        assert_eq!(minute.decisions, 1);
        monitoring.decided(&flow, at(160), counted(Outcome::Approve));
        assert_eq!(monitoring.counts(at(160), hour)["payment"].decisions, 2);
        assert_eq!(monitoring.counts(at(300), hour)["payment"].decisions, 0);
    }

    #[test]
    fn flows_beyond_the_limit_share_an_entry() {
        let monitoring = Monitoring::default();
        for number in 0..300 {
            monitoring.failed(&format!("flow-{number:03}").into(), TimestampMs(0));
        }
        let counts = monitoring.counts(TimestampMs(0), Duration::from_secs(60));
        assert_eq!(counts.len(), FLOWS_MAX + 1);
        assert_eq!(counts["other"].errors, 44);
    }
}
