//! What the cluster's log and its connections say about themselves to Prometheus.

use std::sync::atomic::Ordering;

use metrics::{Unit, describe_counter, describe_gauge, gauge};
use verdict_consensus::Log;

use super::Cluster;

const GAUGES: &[(&str, Unit, &str)] = &[
    ("verdict_raft_leader", Unit::Count, "1 while this node leads."),
    ("verdict_raft_leader_known", Unit::Count, "1 while this node knows of a leader."),
    ("verdict_raft_term", Unit::Count, "Term of the log, as this node knows it."),
    ("verdict_raft_last_index", Unit::Count, "Index of the last entry of this node's log."),
    ("verdict_raft_applied_index", Unit::Count, "Index up to which entries are applied here."),
    ("verdict_raft_snapshot_index", Unit::Count, "Index that the newest snapshot here holds."),
    ("verdict_raft_commit_seconds", Unit::Seconds, "Duration of the last commit on the leader."),
    ("verdict_raft_sync_seconds_max", Unit::Seconds, "Longest sync of the log since the start."),
    (
        "verdict_raft_out_of_touch_seconds",
        Unit::Seconds,
        "Time since a leader, or a majority on the leader, was last heard.",
    ),
    ("verdict_raft_voters", Unit::Count, "Members that vote."),
    ("verdict_raft_learners", Unit::Count, "Members that follow without voting."),
    (
        "verdict_raft_entries_behind_max",
        Unit::Count,
        "Entries that the member furthest behind lacks, on the leader.",
    ),
    (
        "verdict_raft_snapshots_corrupted",
        Unit::Count,
        "Snapshots that were found corrupted when the log was opened.",
    ),
    ("verdict_raft_clock_doubted", Unit::Count, "1 while this node's clock is in doubt."),
    (
        "verdict_rotation_pending",
        Unit::Count,
        "1 while the authority that a removed voter had is being replaced.",
    ),
    ("verdict_outbox_entries", Unit::Count, "What waits for nodes that are away."),
    ("verdict_outbox_bytes", Unit::Bytes, "Bytes of what waits for nodes that are away."),
    ("verdict_outbox_oldest_seconds", Unit::Seconds, "Age of the oldest of what waits."),
    ("verdict_peer_connections_opened", Unit::Count, "Connections to peers made since the start."),
    (
        "verdict_peer_connections_refused",
        Unit::Count,
        "Connections to peers that could not be made since the start.",
    ),
    ("verdict_peer_sent_bytes", Unit::Bytes, "Bytes sent to peers since the start."),
    ("verdict_peer_received_bytes", Unit::Bytes, "Bytes received from peers since the start."),
];

/// Says what each metric means.
pub fn describe() {
    for (name, unit, help) in GAUGES {
        describe_gauge!(*name, *unit, *help);
    }
    let delivered = "What waited and was delivered, since the start.";
    describe_counter!("verdict_outbox_delivered_total", Unit::Count, delivered);
    let refused = "Outcomes that waited and were refused by their node, since the start.";
    describe_counter!("verdict_outbox_refused_total", Unit::Count, refused);
    describe_counter!("verdict_raft_syncs_total", Unit::Count, "Syncs of the log since the start.");
}

/// Brings the gauges up to date.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn record(cluster: &Cluster) {
    let Some(status) = cluster.log().cluster() else { return };
    let set = |name: &'static str, value: f64| gauge!(name).set(value);
    set("verdict_raft_leader", f64::from(status.leader == Some(status.node_id)));
    set("verdict_raft_leader_known", f64::from(status.leader.is_some()));
    set("verdict_raft_term", status.term as f64);
    set("verdict_raft_last_index", status.last_index as f64);
    set("verdict_raft_applied_index", status.applied_index as f64);
    set("verdict_raft_snapshot_index", status.snapshot_index as f64);
    set("verdict_raft_commit_seconds", status.commit_us_last as f64 / 1e6);
    set("verdict_raft_sync_seconds_max", status.sync_us_max as f64 / 1e6);
    set("verdict_raft_out_of_touch_seconds", cluster.log().out_of_touch().as_secs_f64());
    let voters = status.peers.iter().filter(|peer| peer.member.voter).count();
    set("verdict_raft_voters", voters as f64);
    set("verdict_raft_learners", (status.peers.len() - voters) as f64);
    let behind = |matched: u64| status.last_index.saturating_sub(matched);
    let furthest = status.peers.iter().filter_map(|peer| peer.matched_index).map(behind).max();
    set("verdict_raft_entries_behind_max", furthest.unwrap_or(0) as f64);
    set("verdict_raft_snapshots_corrupted", cluster.log().snapshots_corrupted() as f64);
    set("verdict_raft_clock_doubted", f64::from(status.clock_doubt.is_some()));
    set("verdict_rotation_pending", f64::from(cluster.rotation_now().is_some()));
    metrics::counter!("verdict_raft_syncs_total").absolute(status.syncs);
    let outbox = cluster.outbox().status();
    set("verdict_outbox_entries", outbox.entries as f64);
    set("verdict_outbox_bytes", outbox.bytes as f64);
    let age_ms = outbox.oldest.map_or(0, |oldest| crate::http::now().0.saturating_sub(oldest.0));
    set("verdict_outbox_oldest_seconds", age_ms.max(0) as f64 / 1e3);
    let counts = cluster.clients().counts();
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed) as f64;
    set("verdict_peer_connections_opened", of(&counts.opened));
    set("verdict_peer_connections_refused", of(&counts.refused));
    set("verdict_peer_sent_bytes", of(&counts.bytes_sent));
    set("verdict_peer_received_bytes", of(&counts.bytes_received));
}
