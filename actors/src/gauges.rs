//! The member of the tree that writes gauges once a second: queues, restarts, the journal's lag.
//!
//! It reads shared memory and owns nothing that others wait for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use verdict_consensus::Log;

use crate::journal::{Journal, JournalStatus};
use crate::supervisor::{ChildSpec, RestartPolicy, TreeEntry, TreeNode};

const EVERY: Duration = Duration::from_secs(1);
/// Between two warnings that records go before their time.
const WARN_EVERY: Duration = Duration::from_secs(3_600);

/// What is measured.
#[derive(Clone)]
pub(crate) struct Gauges {
    pub journal: Journal,
    pub log: Arc<dyn Log>,
    pub tree: Arc<TreeEntry>,
    /// When it was last said that records go before their time.
    pub warned: Option<Instant>,
}

impl Gauges {
    pub(crate) fn child(&self) -> ChildSpec {
        let gauges = self.clone();
        let entry = TreeEntry::new("monitoring", "service");
        ChildSpec::new::<GaugesActor, _>(entry, RestartPolicy::branch(), move || {
            (GaugesActor, gauges.clone())
        })
    }

    /// Logs, once in a while, that records go before their time.
    fn warn(&mut self, journal: &JournalStatus) {
        let due = self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY);
        if let Some(advice) = journal.short_retention().filter(|_| due) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                days_held = journal.days_held,
                retention_days = journal.retention_days,
                "{advice}"
            );
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    fn write(&mut self) {
        let journal = self.journal.status();
        gauge!("verdict_journal_bytes").set(journal.bytes as f64);
        gauge!("verdict_journal_unsynced_bytes").set(journal.unsynced_bytes as f64);
        gauge!("verdict_journal_sync_lag_seconds").set(journal.sync_lag_ms as f64 / 1e3);
        if let Some(days) = journal.days_held {
            gauge!("verdict_journal_days_held").set(days);
        }
        self.warn(&journal);
        gauge!("verdict_journal_segments").set(journal.segments as f64);
        gauge!("verdict_window_series").set(journal.window_series as f64);
        gauge!("verdict_journal_failed").set(f64::from(u8::from(journal.failed.is_some())));
        let log = self.log.status();
        gauge!("verdict_catalogue_revision").set(log.revision as f64);
        gauge!("verdict_log_bytes").set(log.log_bytes as f64);
        gauge!("verdict_log_waiting").set(log.waiting as f64);
        gauge!("verdict_log_failed").set(f64::from(u8::from(log.failed.is_some())));
        for branch in self.tree.snapshot().children {
            write_member(branch);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn write_member(branch: TreeNode) {
    let running = f64::from(u8::from(branch.all_running()));
    if let (Some(depth), Some(limit)) = (branch.queue_depth, branch.queue_limit) {
        gauge!("verdict_queue_depth", "queue" => branch.name.clone()).set(depth as f64);
        gauge!("verdict_queue_limit", "queue" => branch.name.clone()).set(limit as f64);
    }
    gauge!("verdict_member_running", "member" => branch.name).set(running);
}

struct GaugesActor;

enum GaugesMessage {
    /// A second has passed.
    Tick,
}

impl ractor::Message for GaugesMessage {}

impl Actor for GaugesActor {
    type Msg = GaugesMessage;
    type State = Gauges;
    type Arguments = Gauges;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        gauges: Gauges,
    ) -> Result<Self::State, ActorProcessingErr> {
        drop(myself.send_interval(EVERY, || GaugesMessage::Tick));
        Ok(gauges)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        gauges: &mut Gauges,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GaugesMessage::Tick => gauges.write(),
        }
        Ok(())
    }
}
