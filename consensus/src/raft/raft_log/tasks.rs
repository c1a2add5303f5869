//! What goes on beside a log while it is open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::core::{Core, Leadership};
use super::super::members;

/// How often the size of the log is looked at.
const MAINTENANCE_PERIOD: Duration = Duration::from_millis(500);
/// How far what is known committed may trail behind on the disk.
const COMMITTED_PERIOD: Duration = Duration::from_millis(50);
/// How often the leader looks after the members and the version of the cluster, in periods of
/// maintenance.
const MEMBERS_PERIODS: u32 = 4;
/// How long a lone voter may take to lead, before the log is open all the same.
const LEAD_ALONE_MAX: Duration = Duration::from_secs(10);
/// A voter that is alone need not wait to be elected, and has committed whatever its log holds.
pub(super) async fn lead_alone(core: &Core) {
    let members = core.members();
    let voters: Vec<_> = members.members.iter().filter(|member| member.voter).collect();
    if voters.len() != 1 || voters[0].node_id != core.node_id {
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
