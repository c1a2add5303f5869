//! How a Raft log works.

use std::sync::Arc;
use std::time::Duration;

use verdict_config::TimestampMs;

use super::bodies::BodyStore;
use crate::catalogue::Limits;
use crate::command::COMMAND_VERSION;
use crate::durable::{EngineOpener, open_sled};
use crate::error::LogError;
use crate::proof::ProofCheck;
use crate::validate::{DefinitionValidator, Validator};

use super::steps::{Probe, no_probe};

/// The highest version of commands that this program knows. A command that an older program cannot
/// read is used from a later version on, once every member has said that it knows it.
pub const CLUSTER_VERSION: u16 = COMMAND_VERSION;

/// The shortest heartbeat: shorter ones cost more than they find out.
const HEARTBEAT_MIN: Duration = Duration::from_millis(150);

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
    /// Where bodies are that stand outside the log; without it they stand in the log.
    pub bodies: Option<Arc<dyn BodyStore>>,
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
    /// How far the clock may be from the newest time that the node knows, before most voters or an
    /// operator have to confirm it.
    pub clock_bound: Duration,
    /// The same of a node that votes alone: it may have been switched off for so long.
    pub clock_bound_alone: Duration,
    /// Threads of the consensus.
    pub threads: usize,
    /// The highest version of commands that this node knows; tests play older programs with it.
    pub version: u16,
    /// Checks what other nodes forward, once the cluster's version is [`PROOF_FROM_VERSION`](crate::PROOF_FROM_VERSION); without
    /// it, nodes believe each other. Only tests of the log alone go without.
    pub proofs: Option<Arc<dyn ProofCheck>>,
    /// Called before each step; tests interrupt them with it.
    pub probe: Probe,
}

impl RaftLogOptions {
    /// Defaults with a clock.
    pub fn new(clock: impl Fn() -> TimestampMs + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            validator: Arc::new(DefinitionValidator),
            limits: Limits::default(),
            engine: Arc::new(open_sled),
            bodies: None,
            heartbeat: Duration::from_millis(150),
            election_timeout_min: Duration::from_millis(200),
            election_timeout_max: Duration::from_millis(500),
            snapshot_entries: 10_000,
            snapshot_changes: 20_000,
            snapshot_bytes: 64 << 20,
            entries_kept: 1_000,
            queue_max: 4_096,
            queue_bytes_max: 64 << 20,
            batch_max: 512,
            batch_bytes: 1 << 20,
            timeout: Duration::from_secs(8),
            clock_bound: Duration::from_secs(3_600),
            clock_bound_alone: Duration::from_secs(60 * 86_400),
            threads: 2,
            version: CLUSTER_VERSION,
            proofs: None,
            probe: no_probe(),
        }
    }

    /// The same with timeouts for voters that take so long to answer each other, there and back.
    ///
    /// A follower's answer to entries must come within a heartbeat, or the entries are sent again: so
    /// that is three round trips and 50 ms for a sync. An election begins after three heartbeats were
    /// missed, and lasts longer than a vote takes.
    #[must_use]
    pub fn for_round_trip(mut self, round_trip: Duration) -> Self {
        self.heartbeat = (round_trip * 3 + Duration::from_millis(50)).max(HEARTBEAT_MIN);
        let missed = self.heartbeat * 3;
        self.election_timeout_min = missed.max(self.election_timeout_min);
        self.election_timeout_max = (missed * 2).max(self.election_timeout_max);
        self.timeout = (self.election_timeout_max * 5).max(self.timeout);
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_follow_the_round_trip() {
        let lan = RaftLogOptions::new(|| TimestampMs(0));
        for round_trip_ms in [0, 1, 20, 75, 150, 300, 1_000] {
            let round_trip = Duration::from_millis(round_trip_ms);
            let options = lan.clone().for_round_trip(round_trip);
            // Entries and their answer, with a sync, fit in a heartbeat.
            assert!(options.heartbeat >= round_trip * 2 + Duration::from_millis(50));
            // A vote, and its own sync, come before the next election may begin.
            let least = options.heartbeat * 2 + round_trip;
            assert!(options.election_timeout_min >= least, "{round_trip_ms} ms");
            let spread = options.election_timeout_max - options.election_timeout_min;
            assert!(spread >= round_trip, "two candidates must come apart");
            // Whoever proposes outlives two elections.
            assert!(options.timeout >= options.election_timeout_max * 4);
            assert!(options.config("c").is_ok());
        }
        let near = lan.clone().for_round_trip(Duration::from_millis(1));
        assert_eq!(near.heartbeat, lan.heartbeat);
        assert!(near.election_timeout_min <= lan.heartbeat * 3);
    }
}
