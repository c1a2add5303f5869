//! When a failed child starts again: a pure decision over a window of recent failures.

use std::collections::VecDeque;
use std::time::Duration;

/// How often and how fast a child is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Failures older than this no longer count.
    pub window: Duration,
    /// Failures within the window that are answered by a restart; one more exhausts the policy.
    pub restarts_max: usize,
    /// Failures within the window that are answered at once, before back-off begins.
    pub immediate: usize,
    /// The first delay of the back-off; it doubles with each further failure in the window.
    pub backoff_first: Duration,
    /// The longest delay.
    pub backoff_max: Duration,
    /// What follows when the policy is exhausted.
    pub exhausted: Exhausted,
}

/// What follows when a child fails more often than its policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The supervisor itself fails, and its own supervisor restarts the whole branch.
    Escalate,
    /// The child goes on being restarted, each time after the longest delay. For children whose
    /// branch holds no state that a larger restart could clear, and for children of the root.
    KeepTrying,
}

/// What to do about one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Restart after this delay.
    Restart(Duration),
    /// Give up on the branch.
    Escalate,
}

/// The recent failures of one child.
#[derive(Debug, Default)]
pub struct RestartWindow {
    failures: VecDeque<Duration>,
}

impl RestartWindow {
    /// Records a failure at `now` (time since any fixed start, never decreasing).
    pub fn record(&mut self, policy: &RestartPolicy, now: Duration) -> Verdict {
        while self.failures.front().is_some_and(|at| *at + policy.window <= now) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let count = self.failures.len();
        if count > policy.restarts_max {
            // One entry over the limit is enough to know that it is exceeded.
            self.failures.pop_front();
            return match policy.exhausted {
                Exhausted::Escalate => Verdict::Escalate,
                Exhausted::KeepTrying => Verdict::Restart(policy.backoff_max),
            };
        }
        let doublings = count.saturating_sub(policy.immediate);
        if doublings == 0 {
            return Verdict::Restart(Duration::ZERO);
        }
        let factor = 1u32 << (doublings - 1).min(20);
        Verdict::Restart(policy.backoff_first.saturating_mul(factor).min(policy.backoff_max))
    }
}

impl RestartPolicy {
    /// For services: five restarts a minute with back-off from 50 ms to 5 s, then the branch.
    #[must_use]
    pub const fn service() -> Self {
        Self {
            window: Duration::from_secs(60),
            restarts_max: 5,
            immediate: 1,
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            exhausted: Exhausted::Escalate,
        }
    }

    /// For children of the root, behind which there is nobody to escalate to.
    #[must_use]
    pub const fn branch() -> Self {
        Self { exhausted: Exhausted::KeepTrying, ..Self::service() }
    }

    /// For workers without state. A poisoned request may come many times a second, and every
    /// restart costs microseconds: so many are immediate, the back-off stays short, and nothing
    /// escalates, because a worker's branch has no state that a larger restart would clear.
    #[must_use]
    pub const fn worker() -> Self {
        Self {
            window: Duration::from_secs(10),
            restarts_max: 1_000,
            immediate: 100,
            backoff_first: Duration::from_millis(1),
            backoff_max: Duration::from_millis(20),
            exhausted: Exhausted::KeepTrying,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn policy(exhausted: Exhausted) -> RestartPolicy {
        RestartPolicy {
            window: Duration::from_secs(10),
            restarts_max: 5,
            immediate: 1,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_millis(500),
            exhausted,
        }
    }

    fn check(exhausted: Exhausted, failures_ms: &[u64], expected: &[Option<u64>]) {
        let mut window = RestartWindow::default();
        let verdicts: Vec<Option<u64>> = failures_ms
            .iter()
            .map(|at| match window.record(&policy(exhausted), Duration::from_millis(*at)) {
                Verdict::Restart(delay) => Some(u64::try_from(delay.as_millis()).unwrap()),
                Verdict::Escalate => None,
            })
            .collect();
        assert_eq!(verdicts, expected, "{exhausted:?} {failures_ms:?}");
    }

    #[test]
    fn delays_double_up_to_the_longest_and_then_the_policy_is_exhausted() {
        let storm = [0, 1, 2, 3, 4, 5, 6];
        let delays = [Some(0), Some(100), Some(200), Some(400), Some(500)];
        let escalated = [&delays[..], &[None, None]].concat();
        let kept = [&delays[..], &[Some(500), Some(500)]].concat();
        check(Exhausted::Escalate, &storm, &escalated);
        check(Exhausted::KeepTrying, &storm, &kept);
    }

    #[test]
    fn failures_outside_the_window_are_forgotten() {
        check(
            Exhausted::Escalate,
            &[0, 10_000, 20_000, 20_001, 30_000],
            &[Some(0), Some(0), Some(0), Some(100), Some(100)],
        );
    }
}
