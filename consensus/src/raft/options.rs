//! How a Raft log works.

use std::sync::Arc;
use std::time::Duration;

use verdict_config::TimestampMs;

use crate::catalogue::Limits;
use crate::durable::{EngineOpener, open_sled};
use crate::error::LogError;
use crate::validate::{DefinitionValidator, Validator};

/// How a Raft log works. Every node of a cluster should have the same timeouts.
#[derive(Clone)]
pub struct RaftLogOptions {
    /// The clock whose time a leader stamps on change sets.
    pub clock: Arc<dyn Fn() -> TimestampMs + Send + Sync>,
    /// What bodies must be, checked by the leader.
    pub validator: Arc<dyn Validator>,
    /// History limits of a catalogue that is new; one that exists keeps its own.
    pub limits: Limits,
    /// Opens the store under the log.
    pub engine: EngineOpener,
    /// How often a leader is heard. It is also how long a follower may take over entries: on a slow
    /// link it must be longer than the longest change takes to cross it.
    pub heartbeat: Duration,
    /// The shortest time that a follower adds before it stands for election, once it has heard no
    /// leader for `election_timeout_max`.
    pub election_timeout_min: Duration,
    /// For how long a leader that was heard counts as one, and the longest time that is added to it;
    /// each attempt draws a time between the two.
    pub election_timeout_max: Duration,
    /// Entries after which a snapshot is made.
    pub snapshot_entries: u64,
    /// Change sets after which a snapshot is made, however few entries they share: what a start has
    /// to apply again.
    pub snapshot_changes: u64,
    /// Bytes of entries after which a snapshot is made.
    pub snapshot_bytes: u64,
    /// Entries that are kept behind a snapshot, for followers that are a little late.
    pub entries_kept: u64,
    /// Most proposals that wait; more are refused as overload.
    pub queue_max: usize,
    /// Most bytes of bodies that wait; more are refused as overload.
    pub queue_bytes_max: usize,
    /// Most change sets that share an entry.
    pub batch_max: usize,
    /// Bytes from which on an entry takes no further change set.
    pub batch_bytes: usize,
    /// How long a proposal or a linearizable read may take.
    pub timeout: Duration,
    /// Threads of the consensus.
    pub threads: usize,
}

impl RaftLogOptions {
    /// Defaults with a clock.
    pub fn new(clock: impl Fn() -> TimestampMs + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            validator: Arc::new(DefinitionValidator),
            limits: Limits::default(),
            engine: Arc::new(open_sled),
            heartbeat: Duration::from_millis(150),
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(500),
            snapshot_entries: 10_000,
            snapshot_changes: 20_000,
            snapshot_bytes: 64 << 20,
            entries_kept: 1_000,
            queue_max: 4_096,
            queue_bytes_max: 64 << 20,
            batch_max: 256,
            batch_bytes: 1 << 20,
            timeout: Duration::from_secs(8),
            threads: 2,
        }
    }

    /// The same as openraft takes it.
    pub(super) fn config(&self, cluster_id: &str) -> Result<Arc<openraft::Config>, LogError> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let entries = self.snapshot_entries.max(1);
        let config = openraft::Config {
            cluster_name: cluster_id.to_owned(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_timeout_min),
            election_timeout_max: ms(self.election_timeout_max),
            // Elections are this crate's own: see `elector`.
            enable_elect: false,
            install_snapshot_timeout: 60_000,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(entries),
            replication_lag_threshold: entries.saturating_mul(2),
            max_in_snapshot_log_to_keep: self.entries_kept,
            purge_batch_size: self.entries_kept.clamp(1, 256),
            max_payload_entries: 256,
            ..openraft::Config::default()
        };
        config.validate().map(Arc::new).map_err(|error| LogError::Start(error.to_string()))
    }
}
