//! The replicated log: commits with one and three voters, a lost leader and a restart, beside the bare disk.
//!
//! `cargo bench -p verdict-consensus --bench raft`
//!
//! Every node of a cluster shares one disk and the cores of one machine here, over links within the
//! process: figures for comparing one version with the next.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, FolderIdentity, FolderStart, InProcessNetwork, Log,
    MemberAnswer, MemberCommand, NodeAttributes, NodeId, RaftLog, RaftLogOptions, Seed,
    create_raft_folder,
};

const FLAGS: u64 = 10_000;
const ENTRIES: u64 = 100_000;

fn options() -> RaftLogOptions {
    let now = AtomicI64::new(1);
    RaftLogOptions::new(move || TimestampMs(now.fetch_add(1, Ordering::Relaxed)))
}

fn flag(number: u64, value: u64) -> Change {
    let body = format!(
        r#"{{"state":"ENABLED","variants":{{"on":{value},"off":0}},"defaultVariant":"on"}}"#
    );
    Change::put(ObjectKind::Flag, format!("flag-{number}"), body)
}

fn identity(node_id: NodeId) -> FolderIdentity {
    FolderIdentity { cluster_id: "bench".to_owned(), node_id }
}

fn open(folder: &Path, node_id: NodeId, network: &InProcessNetwork) -> Arc<RaftLog> {
    let opened = RaftLog::open(folder, None, options(), network.transport(node_id)).unwrap();
    network.join(node_id, opened.0.peer_handler());
    Arc::new(opened.0)
}

async fn cluster(dir: &Path, count: NodeId, network: &InProcessNetwork) -> Vec<Arc<RaftLog>> {
    let seed = Box::new(Seed::new(NodeAttributes::default(), Catalogue::default()));
    let folder = |id: NodeId| dir.join(format!("n{count}-{id}"));
    std::fs::create_dir_all(dir).unwrap();
    create_raft_folder(&folder(1), &identity(1), FolderStart::Bootstrap(seed)).unwrap();
    let mut nodes = vec![open(&folder(1), 1, network)];
    for number in 1..count {
        let allocate = MemberCommand::Allocate { request_id: format!("r{number}") };
        let given = nodes[0].change_members(allocate).await.unwrap();
        let MemberAnswer::Allocated(node_id) = given else { panic!("{given:?}") };
        create_raft_folder(&folder(node_id), &identity(node_id), FolderStart::Join).unwrap();
        nodes.push(open(&folder(node_id), node_id, network));
        let attributes = NodeAttributes::default();
        let add = MemberCommand::AddLearner { node_id, attributes };
        nodes[0].change_members(add).await.unwrap();
        nodes[0].change_members(MemberCommand::Promote { node_id }).await.unwrap();
    }
    nodes
}

fn percentile(latencies: &mut [Duration], share: f64) -> Duration {
    latencies.sort_unstable();
    latencies[((latencies.len() - 1) as f64 * share) as usize]
}

/// Writers that each propose one change after another, spread over the nodes.
async fn commits(name: &str, nodes: &[Arc<RaftLog>], writers: u64, period: Duration) {
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let log = Arc::clone(&nodes[writer as usize % nodes.len()]);
        let (next, name) = (Arc::clone(&next), format!("{name}-{writers}"));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < period {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let change = flag(number % FLAGS, number);
                let set = ChangeSet::new(format!("{name}-{number}"), "b", vec![change]);
                let begun = Instant::now();
                log.propose(set, Author::named("bench")).await.unwrap();
                latencies.push(begun.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = started.elapsed();
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    let (half, most) = (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99));
    println!("{name}, {writers} writers: {rate:.0}/s, p50 {half:.1?}, p99 {most:.1?}");
}

fn bare_disk(dir: &Path) {
    let mut file = std::fs::File::create(dir.join("plain")).unwrap();
    let started = Instant::now();
    let mut syncs = 0;
    while started.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 300]).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    let rate = f64::from(syncs) / started.elapsed().as_secs_f64();
    println!("one write and one fdatasync: {rate:.0}/s");
}

/// From the end of a leader to the next change that is acknowledged elsewhere.
async fn failover(dir: &Path) {
    let network = InProcessNetwork::new();
    let dir = dir.join("failover");
    let mut nodes = cluster(&dir, 3, &network).await;
    let mut taken = Vec::new();
    for round in 0..10 {
        let set = |text: &str| ChangeSet::new(format!("{text}-{round}"), "b", vec![flag(1, round)]);
        nodes[0].propose(set("before"), Author::default()).await.unwrap();
        let leader = nodes[0].leader().unwrap();
        let at = nodes.iter().position(|log| log.node_id() == leader).unwrap();
        let started = Instant::now();
        network.leave(leader);
        drop(nodes.swap_remove(at));
        nodes[0].propose(set("after"), Author::default()).await.unwrap();
        taken.push(started.elapsed());
        nodes.push(open(&dir.join(format!("n3-{leader}")), leader, &network));
    }
    let (half, most) = (percentile(&mut taken, 0.5), percentile(&mut taken, 1.0));
    println!("leader lost to next change: p50 {half:.0?}, longest of 10 {most:.0?}");
}

async fn restart(dir: &Path) {
    let network = InProcessNetwork::new();
    let nodes = cluster(&dir.join("restart"), 1, &network).await;
    let log = Arc::clone(&nodes[0]);
    for start in (0..FLAGS).step_by(500) {
        let changes = (start..start + 500).map(|number| flag(number, 1)).collect();
        let set = ChangeSet::new(format!("f{start}"), "b", changes);
        log.propose(set, Author::default()).await.unwrap();
    }
    // One change set an entry: each waits for the one before.
    let from = log.status().last_index;
    let mut number = 0;
    while log.status().last_index < from + ENTRIES {
        let changes = vec![flag(number % FLAGS, number)];
        let set = ChangeSet::new(format!("e{number}"), "b", changes);
        log.propose(set, Author::default()).await.unwrap();
        number += 1;
    }
    let revision = log.catalogue().revision();
    drop((log, nodes));
    let folder = dir.join("restart").join("n1-1");
    for _ in 0..3 {
        let started = Instant::now();
        let (log, found) = RaftLog::open(&folder, None, options(), network.transport(1)).unwrap();
        assert_eq!(log.catalogue().revision(), revision);
        println!("open after {number} entries, {FLAGS} flags: {:.0?} {found:?}", started.elapsed());
        println!("the store has {} MiB", log.status().log_bytes >> 20);
        log.drain().await;
    }
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    bare_disk(dir.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for count in [1, 3] {
            let network = InProcessNetwork::new();
            let nodes = cluster(dir.path(), count, &network).await;
            let name = format!("{count} voters");
            for writers in [1, 64, 500] {
                commits(&name, &nodes, writers, Duration::from_secs(5)).await;
            }
        }
        failover(dir.path()).await;
        restart(dir.path()).await;
    });
}
