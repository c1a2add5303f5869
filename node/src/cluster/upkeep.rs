//! What a node does as a member beside answering: catching up, and telling how it stands.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict_actors::Handle;
use verdict_consensus::Log;

use super::Cluster;

/// How often the metrics are told how the cluster stands.
const CLUSTER_WATCH: Duration = Duration::from_secs(1);
/// How often the store of models and large bodies is looked through.
const BLOB_CHECK_EVERY: Duration = Duration::from_secs(3_600);
/// How soon again, after something was damaged that nobody could give; it doubles.
const DAMAGED_PAUSE_MIN: Duration = Duration::from_secs(1);
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
    }
}

/// Looks through the store of models and large bodies, at the start and every hour; sooner again where
/// something is damaged that nobody could give.
pub(crate) async fn check_blobs(runtime: Handle) {
    let mut pause = DAMAGED_PAUSE_MIN;
    loop {
        match runtime.check_blobs().await {
            Ok(0) => {
                pause = DAMAGED_PAUSE_MIN;
                tokio::time::sleep(BLOB_CHECK_EVERY).await;
                continue;
            }
            Ok(damaged) => tracing::warn!(damaged, "models or large bodies here are damaged"),
            Err(error) => tracing::warn!(%error, "the store of models cannot be looked through"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BLOB_CHECK_EVERY);
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
