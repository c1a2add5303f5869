//! Stands for election when no leader is heard.
//!
//! openraft draws one election timeout when it starts and looks at it once and a half every
//! heartbeat, so that two nodes which once divide the votes go on to divide them. Here each attempt
//! draws anew, and is made when it is due:
//!
//! ```text
//! leader heard ──lease──┬─draw─> attempt ─draw─> attempt ..
//!                       └ until here, peers turn candidates away
//! ```

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::core::{Core, Leadership};

/// The shortest time between two looks at the clock.
const LOOK_MIN: Duration = Duration::from_millis(5);

/// Works until the log is drained.
pub async fn run(core: Arc<Core>) {
    let mut elector = Elector::new(&core);
    while !core.draining.load(Ordering::SeqCst) {
        let now = Instant::now();
        let due = elector.due(&core, now);
        if now < due {
            tokio::time::sleep(due.duration_since(now).max(LOOK_MIN)).await;
            continue;
        }
        elector.attempted = now;
        core.network.forget_longer_log();
        tracing::info!("no leader is heard: standing for election");
        if core.raft.trigger().elect().await.is_err() {
            // The consensus has ended, and says so elsewhere.
            return;
        }
    }
}

struct Elector {
    /// When it last stood, led, or did not vote.
    attempted: Instant,
    /// What the time of the next attempt counts from, and what is added to it.
    since: Instant,
    draw: Duration,
}

impl Elector {
    fn new(core: &Core) -> Self {
        // A node that starts gives a leader that is there the time to be heard.
        let begun = Instant::now() + core.options.election_timeout_max * 2;
        Self { attempted: begun, since: begun, draw: draw(core) }
    }

    /// When the next attempt is due, as things stand.
    fn due(&mut self, core: &Core, now: Instant) -> Instant {
        let lease = core.options.election_timeout_max;
        let id = core.node_id;
        let votes = core.members().get(id).is_some_and(|member| member.voter);
        if !votes
            || core.unfit_to_lead().is_some()
            || matches!(core.leadership(), Leadership::Here(_) | Leadership::Ended(_))
        {
            // Whoever stops leading, or begins to vote, waits as if it had just stood.
            self.attempted = now;
            return now + lease;
        }
        let heard = core.network.leader_heard().map(|heard| heard + lease);
        let since = heard.max(core.network.voted()).max(Some(self.attempted));
        if since != Some(self.since) {
            self.since = since.unwrap_or(now);
            self.draw = draw(core);
        }
        // Somebody who has more of the log can win where this node cannot.
        let defer = if core.network.saw_longer_log() { lease * 2 } else { Duration::ZERO };
        self.since + self.draw + defer
    }
}

/// A time between the bounds of the options, another one each time.
fn draw(core: &Core) -> Duration {
    let (min, max) = (core.options.election_timeout_min, core.options.election_timeout_max);
    let spread_us = u64::try_from(max.saturating_sub(min).as_micros()).unwrap_or(u64::MAX).max(1);
    // The standard library seeds each of these at random.
    min + Duration::from_micros(RandomState::new().hash_one(core.node_id) % spread_us)
}
