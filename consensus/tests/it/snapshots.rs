//! Snapshots that a disk has corrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use verdict_consensus::{Log, NoPeers, RaftLog, RaftLogOptions, RaftLogRecovery, recover_survivor};

use super::cluster::{bootstrap, open_alone, options, propose, until};

fn few_entries() -> RaftLogOptions {
    RaftLogOptions { snapshot_entries: 20, entries_kept: 1, ..options() }
}

/// Snapshots that count, by name; the newest last.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("snapshots")).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("snapshot-") && name.ends_with(".vraft")
    });
    paths.sort();
    paths
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn open(folder: &Path) -> (RaftLog, RaftLogRecovery) {
    RaftLog::open(folder, None, few_entries(), Arc::new(NoPeers)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_snapshot_and_the_log_behind_it_take_the_place_of_a_corrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("raft");
    bootstrap(&folder);
    // The first one has no older one: its copy takes its place.
    flip(&snapshots(&folder)[0]);
    let log = open_alone(&folder, few_entries()).unwrap();
    for number in 1..=120 {
        propose(&log, number).await.unwrap();
    }
    until("there are two snapshots, and the log before them is gone", || {
        snapshots(&folder).len() == 2 && log.status().purged_index > 0
    })
    .await;
    let hash = log.catalogue().state_hash();
    log.drain().await;

    flip(snapshots(&folder).last().unwrap());
    // The only survivor may be this one, and it has all.
    let recovered = dir.path().join("recovered");
    let report = recover_survivor(&folder, &recovered, "another", &few_entries()).unwrap();
    assert_eq!(report.revision, 120);
    let again = open_alone(&recovered, few_entries()).unwrap();
    assert_eq!(again.catalogue().revision(), 120);
    again.drain().await;

    let (log, _) = open(&folder);
    assert_eq!(log.catalogue().state_hash(), hash);
    log.drain().await;
    // It is counted where it is found, and the one that is left is not let go.
    assert_eq!(snapshots(&folder).len(), 1);
    let (log, recovery) = open(&folder);
    assert_eq!((recovery.snapshots_corrupted, log.catalogue().state_hash()), (0, hash));
    for number in 121..=200 {
        propose(&log, number).await.unwrap();
    }
    until("there are two snapshots again", || snapshots(&folder).len() == 2).await;
    log.drain().await;
    flip(snapshots(&folder).last().unwrap());
    let (log, recovery) = open(&folder);
    assert_eq!((recovery.snapshots_corrupted, log.catalogue().revision()), (1, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_node_has_a_copy() {
    let mut cluster = super::cluster::Cluster::of(3, few_entries()).await;
    let behind = cluster.follower().await;
    cluster.network.isolate(behind);
    let leader = cluster.leader().await;
    let at = cluster.nodes[&behind].cluster().unwrap().last_index;
    let mut revision = 0;
    for number in 1..=100 {
        revision = propose(&cluster.nodes[&leader], number).await.unwrap().revision;
    }
    let leading = &cluster.nodes[&leader];
    until("the log was purged", || leading.cluster().unwrap().purged_index > at + 1).await;
    cluster.network.heal();
    cluster.agree(revision).await;
    cluster.kill(behind);
    flip(snapshots(&cluster.folder(behind)).last().unwrap());
    cluster.open(behind).unwrap();
    cluster.agree(revision).await;
}
