//! The clock of a leader, and whether it may be believed.
//!
//! A leader's time trims history and lets request ids expire, and time in the log never goes back. So
//! a clock counts only once it is near to the newest time that this node knows (of the log, or of its
//! own last run), or most voters show the same time, or an operator has confirmed it. Until then the
//! node does not stand for election, stamps nothing and lets nothing expire. From then on the clock is
//! held near to where it was and ran to: a jump ahead would make every later time wrong for good.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use verdict_config::{Code, TimestampMs};

use super::core::Core;
use super::messages::{Answer, RequestBody};
use super::options::RaftLogOptions;
use super::transport::{Peer, PeerChannel};
use crate::local::folder::write_whole;

/// How far a clock may jump from where it was, and ran to, since it was first believed.
const CLOCK_JUMP_MS_MAX: i64 = 3_600_000;
/// How long a voter may take to say what its clock shows.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks at a clock that is in doubt.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the time is written down, so that a cluster without changes knows it after a restart.
const NOTE_EVERY: Duration = Duration::from_secs(600);
/// For how long after the start changes wait for the voters' clocks before they are refused.
const DOUBTED_AFTER: Duration = Duration::from_secs(3);
/// Between two messages about a clock that is in doubt.
const SAY_EVERY: Duration = Duration::from_secs(60);

const FILE: &str = "clock";

/// A clock that differs from what this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ClockDoubt {
    /// What the clock shows.
    pub shown: TimestampMs,
    /// The newest time that this node knows.
    pub newest: TimestampMs,
}

/// What a clock is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    shown: TimestampMs,
    /// The newest time that this node knows, if any.
    newest: Option<TimestampMs>,
    bound_ms: i64,
    /// The bound of a node that votes alone.
    alone_bound_ms: i64,
    voters: usize,
    votes: bool,
    /// Other voters that show the same time.
    agreeing: usize,
}

/// Whether a clock may be believed.
fn is_believable(facts: &Facts) -> bool {
    let Some(newest) = facts.newest else { return true };
    let apart = facts.shown.0.saturating_sub(newest.0).saturating_abs();
    if apart <= facts.bound_ms {
        return true;
    }
    if facts.voters == 1 && facts.votes {
        // Nobody else can be asked: a month switched off is more likely than a wrong clock.
        return apart <= facts.alone_bound_ms;
    }
    facts.agreeing + usize::from(facts.votes) > facts.voters / 2
}

/// The clock of the options, once it is believed held near to where it was then.
pub struct LeaderClock {
    anchor: Mutex<(Instant, TimestampMs)>,
    opened: Instant,
    trusted: AtomicBool,
    /// What the last run of this node wrote down.
    noted: Option<TimestampMs>,
}

impl LeaderClock {
    /// A clock that is not believed yet.
    pub fn start(options: &RaftLogOptions, folder: &Path) -> Self {
        let noted = std::fs::read_to_string(folder.join(FILE)).ok();
        let noted = noted.and_then(|text| text.trim().parse().ok()).map(TimestampMs);
        let anchor = Mutex::new((Instant::now(), (options.clock)()));
        Self { anchor, opened: Instant::now(), trusted: AtomicBool::new(false), noted }
    }

    /// What the clock shows.
    pub fn shown(&self, options: &RaftLogOptions) -> TimestampMs {
        (options.clock)()
    }

    /// The time to stamp.
    pub fn now(&self, options: &RaftLogOptions) -> TimestampMs {
        let (begun, at_start) = *self.anchor.lock();
        let elapsed_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        near(at_start, elapsed_ms, self.shown(options))
    }

    /// Whether the clock is in doubt for so long that the voters have had time to confirm it.
    pub fn is_doubted(&self) -> bool {
        !self.is_trusted() && self.opened.elapsed() >= DOUBTED_AFTER
    }

    /// Whether the clock is believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::SeqCst)
    }
}

/// A time that a clock shows, held near to where it was at the start and ran to since.
fn near(at_start: TimestampMs, elapsed_ms: i64, shown: TimestampMs) -> TimestampMs {
    let expected = at_start.0.saturating_add(elapsed_ms);
    let earliest = expected.saturating_sub(CLOCK_JUMP_MS_MAX);
    let latest = expected.saturating_add(CLOCK_JUMP_MS_MAX);
    TimestampMs(shown.0.clamp(earliest, latest))
}

impl Core {
    /// The newest time that this node knows: of the log, or of its last run.
    fn newest_time(&self) -> Option<TimestampMs> {
        let stamped = Some(self.shared.applied_catalogue().0.at()).filter(|at| at.0 > 0);
        stamped.max(self.clock.noted)
    }

    /// Why the clock is not believed, if so.
    pub fn clock_doubt(&self) -> Option<ClockDoubt> {
        if self.clock.is_trusted() {
            return None;
        }
        let (shown, newest) = (self.clock.shown(&self.options), self.newest_time()?);
        Some(ClockDoubt { shown, newest })
    }

    /// Believes the clock from now on.
    pub fn trust_clock(&self) {
        *self.clock.anchor.lock() = (Instant::now(), self.clock.shown(&self.options));
        self.clock.trusted.store(true, Ordering::SeqCst);
        self.raft.runtime_config().heartbeat(true);
    }

    fn clock_facts(&self, agreeing: usize) -> Facts {
        let ms = |bound: Duration| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
        // The metrics of a consensus that has just begun may know no member yet.
        let voters = self.shared.committed_voters();
        Facts {
            shown: self.clock.shown(&self.options),
            newest: self.newest_time(),
            bound_ms: ms(self.options.clock_bound),
            alone_bound_ms: ms(self.options.clock_bound_alone.max(self.options.clock_bound)),
            voters: voters.len(),
            votes: voters.contains(&self.node_id),
            agreeing,
        }
    }

    /// Believes the clock where nobody has to be asked; else this node does not lead meanwhile.
    pub fn judge_clock_alone(&self) {
        if !self.standing.is_strict() || is_believable(&self.clock_facts(0)) {
            self.trust_clock();
        } else {
            // A leader of before leads again at its start: the others are to elect another.
            self.raft.runtime_config().heartbeat(false);
        }
    }

    /// Asks the other voters what their clocks show, and believes this one where most agree.
    async fn judge_clock(&self) {
        self.judge_clock_alone();
        if self.clock.is_trusted() {
            return;
        }
        let mut asked = JoinSet::new();
        let voters = self.members().members.into_iter().filter(|member| member.voter);
        for voter in voters.filter(|voter| voter.node_id != self.node_id) {
            let (network, node_id) = (Arc::clone(&self.network), voter.node_id);
            let peer = Peer { node_id, attributes: Arc::new(voter.attributes) };
            asked.spawn(async move {
                let (body, channel) = (RequestBody::Clock, PeerChannel::Forward);
                match network.ask(&peer, channel, body, ANSWER_WITHIN).await {
                    Ok(Answer::Clock { now_ms }) => Some((node_id, now_ms)),
                    _ => None,
                }
            });
        }
        let mut agreeing = BTreeSet::new();
        while let Some(answer) = asked.join_next().await {
            let facts = self.clock_facts(0);
            let same = |now_ms: i64| {
                now_ms.saturating_sub(facts.shown.0).saturating_abs() <= facts.bound_ms
            };
            agreeing.extend(answer.ok().flatten().filter(|(_, now_ms)| same(*now_ms)));
            if is_believable(&self.clock_facts(agreeing.len())) {
                tracing::info!("most voters show the same time as this node");
                return self.trust_clock();
            }
        }
    }

    fn note_clock(&self) {
        let text = self.clock.now(&self.options).0.to_string();
        if let Err(error) = write_whole(&self.folder, FILE, text.as_bytes()) {
            tracing::warn!(%error, "the time cannot be written down");
        }
    }
}

/// Judges the clock until it is believed, and writes the time down from then on.
pub(super) async fn watch(core: Arc<Core>) {
    let (mut noted, mut said): (Option<Instant>, Option<Instant>) = (None, None);
    while !core.draining.load(Ordering::SeqCst) {
        if core.clock.is_trusted() {
            if noted.is_none_or(|at| at.elapsed() >= NOTE_EVERY) {
                noted = Some(Instant::now());
                let core = Arc::clone(&core);
                // A disk that refuses it is noticed by the log.
                drop(tokio::task::spawn_blocking(move || core.note_clock()).await);
            }
        } else {
            core.judge_clock().await;
            if let Some(doubt) = core.clock_doubt()
                && said.is_none_or(|at| at.elapsed() >= SAY_EVERY)
            {
                said = Some(Instant::now());
                let (code, advice) = (Code::ClockDoubtful, Code::ClockDoubtful.advice());
                let (shown, newest) = (doubt.shown.0, doubt.newest.0);
                tracing::error!(%code, shown, newest, advice, "this node's clock is in doubt");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    fn facts(apart_ms: i64) -> Facts {
        Facts {
            shown: TimestampMs(1_000 * DAY + apart_ms),
            newest: Some(TimestampMs(1_000 * DAY)),
            bound_ms: HOUR,
            alone_bound_ms: 60 * DAY,
            voters: 3,
            votes: true,
            agreeing: 0,
        }
    }

    #[test]
    fn a_clock_needs_evidence_beyond_the_bound() {
        assert!(is_believable(&facts(HOUR)) && is_believable(&facts(-HOUR)));
        let (ahead, behind) = (facts(730 * DAY), facts(-730 * DAY));
        for doubtful in [ahead, behind] {
            assert!(!is_believable(&doubtful));
            assert!(is_believable(&Facts { agreeing: 1, ..doubtful }), "two of three agree");
            assert!(!is_believable(&Facts { agreeing: 1, votes: false, ..doubtful }), "a learner");
            assert!(!is_believable(&Facts { agreeing: 1, voters: 5, ..doubtful }));
            assert!(is_believable(&Facts { newest: None, ..doubtful }), "nothing to lose");
        }
    }

    #[test]
    fn a_node_that_votes_alone_may_have_been_off_for_a_while() {
        let alone = |apart| Facts { voters: 1, ..facts(apart) };
        assert!(is_believable(&alone(31 * DAY)));
        assert!(!is_believable(&alone(61 * DAY)) && !is_believable(&alone(730 * DAY)));
        // A learner is not alone: it can ask the voter.
        assert!(!is_believable(&Facts { votes: false, ..alone(31 * DAY) }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However a clock jumps, the time that a leader stamps stays within the bound of the time
        /// that has passed, and is the clock's own where that is within it.
        #[test]
        fn a_clock_that_jumps_is_held(
            at_start in any::<i64>(), elapsed_ms in 0..=i64::MAX, shown in any::<i64>(),
        ) {
            let expected = i128::from(at_start) + i128::from(elapsed_ms);
            let held = i128::from(near(TimestampMs(at_start), elapsed_ms, TimestampMs(shown)).0);
            let bound = i128::from(CLOCK_JUMP_MS_MAX);
            let expected = expected.min(i128::from(i64::MAX));
            prop_assert!((held - expected).abs() <= bound, "{held} {expected}");
            if (i128::from(shown) - expected).abs() <= bound {
                prop_assert_eq!(held, i128::from(shown));
            }
        }
    }
}
