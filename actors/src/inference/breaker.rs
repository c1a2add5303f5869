//! A circuit breaker as a pure state machine: time comes in as an argument.

use std::time::{Duration, Instant};

/// When a model's circuit opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// How long it stays open before one request may probe.
    pub open_for: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures_max: 5, open_for: Duration::from_secs(5) }
    }
}

/// Whether requests may reach a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// They may; so many failed in a row.
    Closed { failures: u32 },
    /// They may not until then.
    Open { until: Instant },
    /// One probes since then; the others wait for what becomes of it.
    HalfOpen { since: Instant },
}

/// One model's breaker.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(options: BreakerOptions) -> Self {
        Self { options, state: State::Closed { failures: 0 } }
    }

    /// Whether a request may go on at `now`. In the half-open state only one may: the probe. A
    /// probe that never reports is replaced after another `open_for`.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } if now < until => false,
            State::HalfOpen { since } if now < since + self.options.open_for => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { since: now };
                true
            }
        }
    }

    /// A request was answered.
    pub const fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// A request failed. Returns whether this opened the circuit.
    pub fn failed(&mut self, now: Instant) -> bool {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            State::HalfOpen { .. } => self.options.failures_max,
            State::Open { .. } => return false,
        };
        let opens = failures >= self.options.failures_max;
        self.state = if opens {
            State::Open { until: now + self.options.open_for }
        } else {
            State::Closed { failures }
        };
        opens
    }

    /// Whether requests are refused or probing.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_decides() {
        let options = BreakerOptions { failures_max: 3, open_for: Duration::from_secs(5) };
        let mut breaker = Breaker::new(options);
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)));
        breaker.succeeded();
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)), "a success begins anew");
        assert!(breaker.failed(at(1)), "the third in a row opens it");
        assert!(!breaker.admits(at(5)));
        assert!(breaker.admits(at(6)), "the probe");
        assert!(!breaker.admits(at(6)), "only one probe");
        assert!(breaker.failed(at(7)), "a failed probe opens it again");
        assert!(!breaker.admits(at(11)));
        assert!(breaker.admits(at(12)));
        breaker.succeeded();
        assert!(breaker.admits(at(12)) && !breaker.is_open());
    }

    #[test]
    fn a_probe_that_never_reports_is_replaced() {
        let options = BreakerOptions { failures_max: 1, open_for: Duration::from_secs(5) };
        let mut breaker = Breaker::new(options);
        let start = Instant::now();
        breaker.failed(start);
        assert!(breaker.admits(start + Duration::from_secs(5)));
        assert!(!breaker.admits(start + Duration::from_secs(9)));
        assert!(breaker.admits(start + Duration::from_secs(10)));
    }
}
