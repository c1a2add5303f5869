//! Clocks that are wrong when a log is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use verdict_config::{Code, TimestampMs};
use verdict_consensus::{Limits, Log, RaftLogOptions};

use super::cluster::{Cluster, bootstrap, open_alone, options, propose, until};

const DAY: i64 = 86_400_000;
const BEGUN: i64 = 20_000 * DAY;

/// A clock that is so many days off.
fn at(days: i64) -> RaftLogOptions {
    let now = AtomicI64::new(BEGUN + days * DAY);
    let clock = move || TimestampMs(now.fetch_add(1, Ordering::Relaxed));
    RaftLogOptions { clock: Arc::new(clock), ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_votes_alone_stamps_nothing_by_a_clock_that_is_far_off() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("raft");
    bootstrap(&folder);
    let log = open_alone(&folder, at(0)).unwrap();
    for number in 1..=100 {
        propose(&log, number).await.unwrap();
    }
    let kept = log.catalogue().history_len();
    log.drain().await;
    for days in [730, -730] {
        let log = open_alone(&folder, at(days)).unwrap();
        assert!(log.clock_doubt().is_some() && !log.trusts_clock(), "{days}");
        let refused = propose(&log, 101).await.unwrap_err();
        assert!([Code::ClockDoubtful, Code::NoLeader].contains(&refused.code()), "{refused}");
        assert_eq!(log.catalogue().history_len(), kept);
        log.drain().await;
    }
    // A month off is no reason for doubt; two years are, until an operator confirms them.
    let log = open_alone(&folder, at(31)).unwrap();
    propose(&log, 101).await.unwrap();
    log.drain().await;
    let log = open_alone(&folder, at(730)).unwrap();
    assert!(log.confirm_clock() && !log.confirm_clock());
    until("it leads", || log.leader() == Some(1)).await;
    propose(&log, 102).await.unwrap();
    // All of it is too old now: one change lets go of a part.
    let most = Limits::default().history_entries_max;
    assert!(log.catalogue().history_len() as u64 <= most);
    assert!(log.catalogue().history_len() >= kept + 2 - 64, "{}", log.catalogue().history_len());
}

#[tokio::test(flavor = "multi_thread")]
async fn most_voters_outvote_a_clock_and_agree_on_a_later_time() {
    let mut cluster = Cluster::of(3, at(0)).await;
    let mut revision = 0;
    for number in 1..=20 {
        revision = propose(&cluster.nodes[&1], number).await.unwrap().revision;
    }
    cluster.agree(revision).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.kill(leader);
    cluster.options = at(730);
    cluster.open(leader).unwrap();
    let next = propose(&cluster.nodes[&others[0]], 21).await.unwrap().revision;
    cluster.agree(next).await;
    assert!(cluster.nodes[&leader].clock_doubt().is_some());
    assert!(cluster.nodes[&leader].elect().await.is_err(), "it stands for no election");
    assert!(cluster.nodes[&leader].catalogue().at().0 < BEGUN + DAY);
    // Off for 100 days, all of them.
    (1..=3).for_each(|id| cluster.kill(id));
    cluster.options = at(100);
    for id in 1..=3 {
        cluster.open(id).unwrap();
    }
    let last = propose(&cluster.nodes[&1], 22).await.unwrap().revision;
    cluster.agree(last).await;
    assert!(cluster.nodes[&1].catalogue().at().0 > BEGUN + 99 * DAY);
}
