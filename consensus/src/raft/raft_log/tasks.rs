//! What goes on beside a log while it is open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use verdict_config::Code;

use super::super::core::{Core, Leadership};
use super::super::members;
use super::super::messages::RequestBody;
use super::super::transport::{Peer, PeerChannel};

/// How often the size of the log is looked at.
const MAINTENANCE_PERIOD: Duration = Duration::from_millis(500);
/// How far what is known committed may trail behind on the disk.
const COMMITTED_PERIOD: Duration = Duration::from_millis(50);
/// How often the leader looks after the members and the version of the cluster, in periods of
/// maintenance.
const MEMBERS_PERIODS: u32 = 4;
/// Between two looks at whether this node is a member still, while it hears no leader.
const STANDING_PERIOD: Duration = Duration::from_millis(500);
/// How long a voter may take to say so.
const STANDING_WITHIN: Duration = Duration::from_secs(1);
/// How long a lone voter may take to lead, before the log is open all the same.
const LEAD_ALONE_MAX: Duration = Duration::from_secs(10);
/// A voter that is alone need not wait to be elected, and has committed whatever its log holds.
pub(super) async fn lead_alone(core: &Core) {
    let members = core.members();
    let voters: Vec<_> = members.members.iter().filter(|member| member.voter).collect();
    if voters.len() != 1 || voters[0].node_id != core.node_id || core.unfit_to_lead().is_some() {
        return;
    }
    let until = Instant::now() + LEAD_ALONE_MAX;
    // A leader of before leads again at once; asking it to stand for election does no harm.
    if core.leadership() == Leadership::Nobody && core.raft.trigger().elect().await.is_err() {
        return;
    }
    while Instant::now() < until {
        match core.leadership() {
            Leadership::Here(term) if core.shared.applied_term() == term => {
                let applied = *core.shared.applied().borrow();
                if core.store.last().is_none_or(|last| last.index <= applied) {
                    return;
                }
            }
            Leadership::Ended(_) => return,
            _ => {}
        }
        core.look_again(until).await;
    }
}

/// Learns whether this node was removed, while it hears no leader: the voters that it names refuse a
/// node that is no member any more.
pub(super) async fn learn_standing(core: Arc<Core>) {
    let lease = core.options.election_timeout_max;
    let mut removed = false;
    while !core.draining.load(Ordering::SeqCst) {
        let leads = matches!(core.leadership(), Leadership::Here(_));
        if !leads && core.standing.is_strict() && core.network.leader_heard_ago() > lease {
            let voters = core.members().members.into_iter().filter(|member| member.voter);
            let mut asked = JoinSet::new();
            for voter in voters.filter(|voter| voter.node_id != core.node_id) {
                let (network, node_id) = (Arc::clone(&core.network), voter.node_id);
                let peer = Peer { node_id, attributes: Arc::new(voter.attributes) };
                let body = RequestBody::Confirm { node_id: core.node_id, term: None };
                // What counts is whether it answers or refuses this node: see `PeerNetwork::ask`.
                asked.spawn(async move {
                    drop(network.ask(&peer, PeerChannel::Forward, body, STANDING_WITHIN).await);
                });
            }
            while asked.join_next().await.is_some() {}
        }
        if core.is_removed() != removed {
            removed = !removed;
            let code = Code::NodeRemoved;
            match removed {
                true => tracing::error!(%code, advice = code.advice(), "this node was removed"),
                false => tracing::warn!("this node is a member"),
            }
        }
        forget_voters_of_joining(&core);
        forget_named_leader(&core);
        tokio::time::sleep(STANDING_PERIOD).await;
    }
}

/// The answer to joining counts until the log has this node.
fn forget_voters_of_joining(core: &Core) {
    let joined = !core.standing.root.read().voters.is_empty();
    if !joined || core.shared.machine().members.membership().get_node(&core.node_id).is_none() {
        return;
    }
    let mut root = core.standing.root.write();
    root.voters.clear();
    if let Err(error) = root.save(&core.folder) {
        tracing::warn!(%error, "what the answer to joining named is not forgotten yet");
    }
}

/// What an operator named counts until the log names that node as a voter.
fn forget_named_leader(core: &Core) {
    let named = core.standing.root.read().named;
    let Some(leader) = named.filter(|leader| core.shared.committed_voters().contains(leader))
    else {
        return;
    };
    let mut root = core.standing.root.write();
    root.named = None;
    match root.save(&core.folder) {
        Ok(()) => tracing::info!(leader, "the log names the leader that an operator named"),
        Err(error) => tracing::warn!(%error, "what an operator named is not forgotten yet"),
    }
}

/// Without its proposer a node would wait for ever: its panic ends the log.
pub(super) async fn end_with(proposer: JoinHandle<()>, core: Arc<Core>) {
    if proposer.await.is_err_and(|error| error.is_panic()) {
        core.store.durable().fail("the proposer panicked");
    }
}

/// Syncs up to where entries are committed, beside the path of a change.
pub(super) async fn keep_committed(core: Arc<Core>) {
    while !core.draining.load(Ordering::SeqCst) {
        tokio::time::sleep(COMMITTED_PERIOD).await;
        let store = core.store.clone();
        let synced = tokio::task::spawn_blocking(move || store.sync_committed()).await;
        if synced.is_err() {
            core.store.durable().fail("a panic while the place of commits was synced");
        }
    }
}

/// Looks after the size of the log: openraft counts entries, which may be short or long.
pub(super) async fn maintain(core: Arc<Core>) {
    let mut round = 0_u32;
    while !core.draining.load(Ordering::SeqCst) {
        tokio::time::sleep(MAINTENANCE_PERIOD).await;
        round = round.wrapping_add(1);
        if round.is_multiple_of(MEMBERS_PERIODS) {
            members::look_after(&core).await;
        }
        let bytes = core.shared.bytes_since_snapshot.load(Ordering::Relaxed);
        // A snapshot that is longer than the entries behind it is not worth writing again.
        let due = core.shared.snapshot_bytes.load(Ordering::Relaxed);
        let changes = core.shared.changes_since_snapshot.load(Ordering::Relaxed);
        let long = bytes >= core.options.snapshot_bytes.max(due);
        if long || changes >= core.options.snapshot_changes {
            // A consensus that has ended says so elsewhere.
            let _ = core.raft.trigger().snapshot().await;
        }
        let members = core.members();
        core.network.keep(|id| members.get(id).is_some());
    }
}
