//! What a node does as a member beside answering: catching up, and telling how it stands.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict_actors::Handle;
use verdict_consensus::peers::{NodeAnswer, NodeRequest};
use verdict_consensus::{COMMAND_VERSION, Log, MemberCommand};

use super::Cluster;

/// How often the metrics are told how the cluster stands.
const CLUSTER_WATCH: Duration = Duration::from_secs(1);
/// Between two tries.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);
/// How long a node that has just joined waits for its first catalogue.
const JOINED_CATCH_UP: Duration = Duration::from_secs(120);
/// How long a node that restarts tries to reach the others before it goes on alone.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Waits, within bounds, until this node serves what the cluster had agreed when it started. Without
/// a majority it goes on with what it has.
pub(crate) async fn catch_up(
    cluster: &Cluster,
    runtime: &Handle,
    joined: bool,
    stop: &CancellationToken,
) {
    let limit = if joined { JOINED_CATCH_UP } else { CATCH_UP };
    let reaching = async {
        loop {
            match cluster.log().linearizable().await {
                Ok(catalogue) => {
                    let revision = catalogue.revision();
                    return runtime.wait_for_revision(revision, limit).await.is_ok();
                }
                Err(error) => tracing::debug!(%error, "the cluster is not reached yet"),
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        reached = tokio::time::timeout(limit, reaching) => if reached != Ok(true) {
            let revision = runtime.serving().revision;
            tracing::warn!(revision, "the cluster is not reached: going on with what is here");
        }
    }
}

/// Tells the metrics how the cluster stands, and lets go of connections to nodes that were removed.
pub(crate) async fn watch_cluster(cluster: Cluster) {
    let mut ticks = tokio::time::interval(CLUSTER_WATCH);
    loop {
        ticks.tick().await;
        super::metrics::record(&cluster);
        let members = cluster.log().members();
        cluster.clients().keep(|id| members.get(id).is_some());
        raise_version(&cluster).await;
    }
}

/// The leader allows commands of this program's version as soon as every member knows them: after
/// the last node of an older program was replaced.
async fn raise_version(cluster: &Cluster) {
    let log = cluster.log();
    if log.command_version() >= COMMAND_VERSION || log.leader() != Some(cluster.node_id()) {
        return;
    }
    let others = log.members().members.into_iter().map(|member| member.node_id);
    for node_id in others.filter(|id| *id != cluster.node_id()) {
        match cluster.ask_for(node_id, &NodeRequest::CommandVersion).await {
            Ok(NodeAnswer::CommandVersion(known)) if known >= COMMAND_VERSION => {}
            _ => return,
        }
    }
    let raise = MemberCommand::RaiseVersion { version: COMMAND_VERSION };
    match cluster.change_members(raise).await {
        Ok(_) => tracing::info!(version = COMMAND_VERSION, "every member knows these commands"),
        Err(error) => tracing::debug!(%error, "the version of commands is not raised yet"),
    }
}

/// Runs work until it ends or the node leaves.
pub(crate) fn spawn_until(
    tasks: &TaskTracker,
    leave: &CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let leave = leave.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = leave.cancelled() => {}
            () = work => {}
        }
    });
}
