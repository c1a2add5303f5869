//! How a cluster stands, as one of its nodes sees it.

use super::clock::ClockDoubt;
use super::core::Core;
use super::members::Member;
use super::types::NodeId;
use crate::log::LogStatus;

/// How the cluster stands, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClusterStatus {
    /// Names the cluster.
    pub cluster_id: String,
    /// This node.
    pub node_id: NodeId,
    /// `leader`, `follower`, `candidate`, `learner` or `shutdown`.
    pub role: &'static str,
    /// The node that leads, if one is known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// Commands up to this version may be used.
    pub version: u16,
    /// Index of the last entry of the log.
    pub last_index: u64,
    /// Index of the last entry that is applied.
    pub applied_index: u64,
    /// Index up to which entries would be applied again after a loss of power, whoever is reached.
    pub committed_durable_index: u64,
    /// Index that the newest snapshot holds.
    pub snapshot_index: u64,
    /// Index up to which entries were let go.
    pub purged_index: u64,
    /// On the leader: how long ago a majority last answered, in milliseconds.
    pub quorum_age_ms: Option<u64>,
    /// On the leader: from proposing the last entry to its being applied, in microseconds.
    pub commit_us_last: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Duration of the longest one, in microseconds.
    pub sync_us_max: u64,
    /// Why the clock of this node is not believed, if so.
    pub clock_doubt: Option<ClockDoubt>,
    /// The members.
    pub peers: Vec<PeerStatus>,
}

/// A member, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PeerStatus {
    /// Who it is.
    pub member: Member,
    /// On the leader: index up to which it has the log.
    pub matched_index: Option<u64>,
    /// How long ago it last answered, in milliseconds; `None` if it was not asked, or never did.
    pub heard_ms: Option<u64>,
}

pub(super) fn cluster_status(core: &Core) -> ClusterStatus {
    let metrics = core.metrics();
    let index = |id: Option<super::types::LogId>| id.map_or(0, |id| id.index);
    let replication = metrics.replication.clone().unwrap_or_default();
    let peer = |member: Member| PeerStatus {
        matched_index: replication.get(&member.node_id).map(|id| index(*id)),
        heard_ms: core
            .network
            .heard_ago(member.node_id)
            .map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        member,
    };
    let figures = core.store.durable().figures();
    ClusterStatus {
        cluster_id: core.network.cluster_id.clone(),
        node_id: core.node_id,
        role: match metrics.state {
            openraft::ServerState::Leader => "leader",
            openraft::ServerState::Follower => "follower",
            openraft::ServerState::Candidate => "candidate",
            openraft::ServerState::Learner => "learner",
            openraft::ServerState::Shutdown => "shutdown",
        },
        leader: metrics.current_leader,
        term: metrics.current_term,
        version: core.shared.machine().cluster.version,
        last_index: metrics.last_log_index.unwrap_or(0),
        applied_index: *core.shared.applied().borrow(),
        committed_durable_index: core.store.committed_durable(),
        snapshot_index: index(metrics.snapshot),
        purged_index: index(metrics.purged),
        quorum_age_ms: metrics.millis_since_quorum_ack,
        commit_us_last: core.counts.lock().commit_us_last,
        syncs: figures.syncs,
        sync_us_max: figures.sync_us_max,
        clock_doubt: core.clock_doubt(),
        peers: core.members().members.into_iter().map(peer).collect(),
    }
}

pub(super) fn log_status(core: &Core) -> LogStatus {
    let metrics = core.metrics();
    let counts = *core.counts.lock();
    LogStatus {
        last_index: core.store.last().map_or(0, |id| id.index),
        revision: core.shared.machine().catalogue.revision(),
        snapshot_index: metrics.snapshot.map_or(0, |id| id.index),
        log_bytes: core.store.durable().engine().map_or(0, |engine| engine.disk_bytes()),
        waiting: counts.waiting,
        applied: counts.applied,
        refused: counts.refused,
        sync_us_last: core.store.durable().figures().sync_us_last,
        purged_index: core.store.purged().map_or(0, |id| id.index),
        waits_for: core.shared.waits_for(),
        removed: core.is_removed(),
        distrusted: core.is_only_distrusted(),
        unknown_leader: core.unknown_leader(),
        forwarding: metrics.current_leader.and_then(|leader| failed_forwards(core, leader)),
        failed: core.failure(),
    }
}

/// Why changes that reach this node do not reach the leader.
fn failed_forwards(core: &Core, leader: NodeId) -> Option<String> {
    let failed = core.network.failed_forwards(leader)?;
    Some(format!(
        "{} requests forwarded to the leader, node {leader}, failed within the last {} s: {}",
        failed.count,
        failed.since.elapsed().as_secs().saturating_add(1),
        failed.last
    ))
}
