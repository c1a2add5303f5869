//! The replicated log: one voter, then three, then faults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use verdict_config::{Code, Faults, ObjectId, ObjectKind};
use verdict_consensus::{
    Author, ChangeSet, FolderIdentity, HistoryQuery, Log, MemberAnswer, MemberCommand,
    MembershipError, NoPeers, ProposeError, RaftLog, RaftLogOptions, ReadError, Validator,
};

use super::cluster::{
    Cluster, attributes, bootstrap, numbered, open_alone, options, propose, until,
};
use super::support::{body, setting};

fn value(log: &RaftLog, name: &str) -> Option<i64> {
    body(&log.catalogue(), ObjectKind::Setting, name).and_then(|body| body["value"].as_i64())
}

#[tokio::test]
async fn one_voter_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("raft");
    bootstrap(&folder);
    let log = open_alone(&folder, options()).unwrap();
    for number in 1..=20 {
        assert_eq!(propose(&log, number).await.unwrap().revision, number.unsigned_abs());
    }
    let hash = log.catalogue().state_hash();
    assert_eq!(open_alone(&folder, options()).err().map(|e| e.code()), Some(Code::StateLocked));
    log.drain().await;
    assert_eq!(propose(&log, 21).await, Err(ProposeError::Draining));
    let again = open_alone(&folder, options()).unwrap();
    assert_eq!(again.catalogue().state_hash(), hash);
    // A retry across the restart, and a refusal.
    let repeated = propose(&again, 7).await.unwrap();
    assert_eq!((repeated.revision, repeated.repeated), (7, true));
    let stale = ChangeSet::new("x", "w", vec![setting("s1", 1).expecting(99)]);
    let refused = again.propose(stale, Author::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ChangeConflict);
    assert_eq!(propose(&again, 21).await.unwrap().revision, 21);
    assert_eq!(again.status().failed, None);
    // A process that dies without a word.
    drop(again);
    let again = open_alone(&folder, options()).unwrap();
    assert_eq!(again.catalogue().revision(), 21);
    // The folder of another node is refused.
    drop(again);
    let other = FolderIdentity { cluster_id: "other".to_owned(), node_id: 1 };
    let opened = RaftLog::open(&folder, Some(&other), options(), Arc::new(NoPeers));
    assert_eq!(opened.err().map(|error| error.code()), Some(Code::StateForeign));
}

#[tokio::test(flavor = "multi_thread")]
async fn change_sets_share_entries_and_each_has_its_own_answer() {
    let cluster = Cluster::alone(options());
    let log = &cluster.nodes[&1];
    let before = log.status().last_index;
    let answers = futures::future::join_all((1..=300).map(|number| async move {
        if number % 10 == 0 {
            let set =
                ChangeSet::new(format!("r{number}"), "w", vec![setting("s", 0).expecting(77)]);
            return log.propose(set, Author::default()).await;
        }
        propose(log, number).await
    }))
    .await;
    let revisions: BTreeSet<u64> = answers.iter().flatten().map(|a| a.revision).collect();
    assert_eq!(revisions, (1..=270).collect());
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 30);
    let entries = log.status().last_index - before;
    assert!(entries < 100, "{entries} entries for 270 change sets");
    // History knows the entry, and the place in it.
    let query = HistoryQuery { limit: 1_000, ..HistoryQuery::default() };
    let mut places: Vec<_> = log
        .history(&query)
        .unwrap()
        .entries
        .iter()
        .map(|entry| (entry.head.log_index, entry.head.log_position, entry.head.revision))
        .collect();
    places.reverse();
    assert!(places.is_sorted(), "{places:?}");
    assert!(places.iter().any(|place| place.1 > 0));
    let status = log.status();
    assert_eq!((status.applied, status.refused, status.waiting), (270, 30, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_a_follower_is_seen_at_all() {
    let cluster = Cluster::of(3, options()).await;
    let follower = cluster.follower().await;
    let mut revision = 0;
    for number in 1..=30 {
        let applied = propose(&cluster.nodes[&follower], number).await.unwrap();
        assert!(applied.revision > revision && !applied.repeated);
        revision = applied.revision;
    }
    cluster.agree(revision).await;
    // Refusals come back with what is wrong.
    let stale = ChangeSet::new("x", "w", vec![setting("s1", 1).expecting(99)]);
    let refused = cluster.nodes[&follower].propose(stale, Author::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ChangeConflict);
    // A read at any node sees what was acknowledged at any other.
    for (id, log) in &cluster.nodes {
        let applied = propose(log, 100 + i64::try_from(*id).unwrap()).await.unwrap();
        for other in cluster.nodes.values() {
            assert!(other.linearizable().await.unwrap().revision() >= applied.revision);
        }
    }
    let status = cluster.nodes[&follower].cluster().unwrap();
    assert_eq!(status.leader, Some(cluster.leader().await));
    assert_eq!(status.peers.len(), 3);
    assert!(status.peers.iter().all(|peer| peer.member.voter));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_loses_nothing() {
    let mut cluster = Cluster::of(3, options()).await;
    let leader = cluster.leader().await;
    let mut last = 0;
    for number in 1..=20 {
        last = propose(&cluster.nodes[&leader], number).await.unwrap().revision;
    }
    cluster.kill(leader);
    let survivor = *cluster.nodes.keys().next().unwrap();
    // A retry at another node, under another leader, is answered by what was done.
    let repeated = propose(&cluster.nodes[&survivor], 20).await.unwrap();
    assert_eq!((repeated.revision, repeated.repeated), (last, true));
    let next = propose(&cluster.nodes[&survivor], 21).await.unwrap();
    assert_eq!(next.revision, last + 1);
    cluster.agree(last + 1).await;
    assert_eq!(value(&cluster.nodes[&survivor], "s20"), Some(20));
    cluster.open(leader).unwrap();
    cluster.agree(last + 1).await;
    assert_eq!(propose(&cluster.nodes[&leader], 22).await.unwrap().revision, last + 2);
    cluster.agree(last + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_catches_up_by_a_snapshot() {
    let options = RaftLogOptions { snapshot_entries: 20, entries_kept: 5, ..options() };
    let mut cluster = Cluster::of(3, options).await;
    let behind = cluster.follower().await;
    cluster.network.isolate(behind);
    let leader = cluster.leader().await;
    let at = cluster.nodes[&behind].cluster().unwrap().last_index;
    let mut revision = 0;
    for number in 1..=100 {
        revision = propose(&cluster.nodes[&leader], number).await.unwrap().revision;
    }
    // What it needs next is no longer in the log of anybody else.
    let leading = &cluster.nodes[&leader];
    until("the log was purged", || leading.cluster().unwrap().purged_index > at + 1).await;
    assert_eq!(cluster.nodes[&behind].linearizable().await, Err(ReadError::NoLeader));
    cluster.network.heal();
    cluster.agree(revision).await;
    assert!(cluster.nodes[&behind].cluster().unwrap().snapshot_index > at);
    // It can be started from what it was given.
    cluster.kill(behind);
    cluster.open(behind).unwrap();
    cluster.agree(revision).await;
    assert_eq!(propose(&cluster.nodes[&behind], 101).await.unwrap().revision, revision + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_end_and_begin_again() {
    let mut cluster = Cluster::of(3, options()).await;
    let mut revision = 0;
    for number in 1..=40i64 {
        let id = 1 + number.unsigned_abs() % 3;
        revision = propose(&cluster.nodes[&id], number).await.unwrap().revision;
    }
    let hash = cluster.agree(revision).await;
    // In good order, then all at once.
    for clean in [true, false] {
        if clean {
            cluster.stop_all().await;
        } else {
            [1, 2, 3].into_iter().for_each(|id| cluster.kill(id));
        }
        for id in 1..=3 {
            cluster.open(id).unwrap();
            // Alone it shows at least what it showed before.
            assert_eq!(cluster.nodes[&id].catalogue().revision(), revision);
        }
        assert_eq!(cluster.agree(revision).await, hash);
        let repeated = propose(&cluster.nodes[&2], 40).await.unwrap();
        assert!(repeated.repeated, "{repeated:?}");
    }
    assert_eq!(propose(&cluster.nodes[&3], 41).await.unwrap().revision, revision + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_acknowledges_nothing() {
    let timeout = Duration::from_secs(2);
    let cluster = Cluster::of(3, RaftLogOptions { timeout, ..options() }).await;
    let revision = propose(&cluster.nodes[&1], 1).await.unwrap().revision;
    cluster.agree(revision).await;
    let old = cluster.leader().await;
    cluster.network.isolate(old);
    let lost = propose(&cluster.nodes[&old], 2).await;
    let lost = lost.unwrap_err();
    assert!(lost.is_retryable(), "{lost}");
    assert_eq!(cluster.nodes[&old].linearizable().await, Err(ReadError::NoLeader));
    let other = cluster.nodes.keys().copied().find(|id| *id != old).unwrap();
    until("another leads", || cluster.nodes[&other].leader().is_some_and(|id| id != old)).await;
    assert_eq!(propose(&cluster.nodes[&other], 3).await.unwrap().revision, revision + 1);
    cluster.network.heal();
    cluster.agree(revision + 1).await;
    // The change that was not acknowledged is nowhere, and can be sent again.
    assert_eq!(value(&cluster.nodes[&old], "s2"), None);
    assert_eq!(propose(&cluster.nodes[&old], 2).await.unwrap().revision, revision + 2);
    cluster.agree(revision + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_every_node_while_leaders_change() {
    let cluster = Arc::new(Cluster::of(3, options()).await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6i64 {
        let cluster = Arc::clone(&cluster);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for step in 0..25 {
                let number = writer * 1_000 + step;
                let id = 1 + number.unsigned_abs() % 3;
                let log = &cluster.nodes[&id];
                // Whoever hears that the outcome is unknown asks again under the same id.
                loop {
                    match propose(log, number).await {
                        Ok(applied) => break acknowledged.push((number, applied.revision)),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
            }
            acknowledged
        });
    }
    let disturb = async {
        for _ in 0..4 {
            let leader = cluster.leader().await;
            cluster.network.isolate(leader);
            let others = cluster.nodes.iter().filter(|(id, _)| **id != leader);
            let others: Vec<_> = others.map(|(_, log)| log).collect();
            until("another leads", || {
                others.iter().any(|log| log.leader().is_some_and(|id| id != leader))
            })
            .await;
            cluster.network.heal();
        }
    };
    let (written, ()) = futures::future::join(writers.join_all(), disturb).await;
    let acknowledged: Vec<(i64, u64)> = written.into_iter().flatten().collect();
    let revisions: BTreeSet<u64> = acknowledged.iter().map(|(_, revision)| *revision).collect();
    assert_eq!(revisions.len(), 150, "each was applied once, at a revision of its own");
    assert_eq!(revisions, (1..=150).collect(), "and nothing beside them");
    cluster.agree(150).await;
    let query = HistoryQuery { limit: 1_000, ..HistoryQuery::default() };
    for entry in cluster.nodes[&1].history(&query).unwrap().entries {
        let number: i64 = entry.head.request_id[1..].parse().unwrap();
        assert!(acknowledged.contains(&(number, entry.head.revision)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_change_only_as_far_as_is_safe() {
    let mut cluster = Cluster::of(3, options()).await;
    let change = async |cluster: &Cluster, command| {
        let any = cluster.nodes.values().next_back().unwrap();
        any.change_members(command).await
    };
    let refused = |result: Result<MemberAnswer, MembershipError>| match result {
        Err(error @ MembershipError::Refused(_)) => {
            assert_eq!(error.code(), Code::MembershipRefused)
        }
        other => panic!("{other:?}"),
    };
    // An id that nobody was given, one that is used up, a node that is not there.
    let add = |node_id| MemberCommand::AddLearner { node_id, attributes: attributes(9) };
    refused(change(&cluster, add(77)).await);
    refused(change(&cluster, add(2)).await);
    refused(change(&cluster, MemberCommand::Promote { node_id: 77 }).await);
    // The same request is given the same id, another one another.
    let allocate = |text: &str| MemberCommand::Allocate { request_id: text.to_owned() };
    assert_eq!(change(&cluster, allocate("a")).await, Ok(MemberAnswer::Allocated(4)));
    assert_eq!(change(&cluster, allocate("a")).await, Ok(MemberAnswer::Allocated(4)));
    assert_eq!(change(&cluster, allocate("b")).await, Ok(MemberAnswer::Allocated(5)));
    // A voter that is gone may be removed, but not one without which the rest is no majority.
    let leader = cluster.leader().await;
    let gone = cluster.follower().await;
    cluster.kill(gone);
    let stays = cluster.nodes.keys().copied().find(|id| *id != leader).unwrap();
    let leading = &cluster.nodes[&leader];
    let silent = || {
        let status = leading.cluster().unwrap();
        let peer = status.peers.iter().find(|peer| peer.member.node_id == gone).unwrap().clone();
        peer.heard_ms.is_none_or(|ms| ms > 1_700)
    };
    until("the lost node is noticed", silent).await;
    refused(change(&cluster, MemberCommand::Remove { node_id: stays }).await);
    let remove = MemberCommand::Remove { node_id: gone };
    assert_eq!(change(&cluster, remove.clone()).await, Ok(MemberAnswer::Done));
    assert_eq!(change(&cluster, remove).await, Ok(MemberAnswer::Done), "once more does nothing");
    assert!(cluster.nodes[&leader].members().get(gone).is_none());
    // Its id is never used again.
    refused(change(&cluster, add(gone)).await);
    // Attributes can be corrected, and are seen by all.
    let region = verdict_consensus::NodeAttributes { region: "eu".to_owned(), ..attributes(stays) };
    let correct = MemberCommand::SetAttributes { node_id: stays, attributes: region.clone() };
    assert_eq!(change(&cluster, correct).await, Ok(MemberAnswer::Done));
    for log in cluster.nodes.values() {
        let mut watch = log.watch_members();
        let seen = || log.members().get(stays).is_some_and(|m| m.attributes == region);
        while !seen() {
            watch.changed(watch.get().log_index).await.unwrap();
        }
    }
    // Two, then one, which must stay.
    assert_eq!(
        change(&cluster, MemberCommand::Remove { node_id: stays }).await,
        Ok(MemberAnswer::Done)
    );
    // One that was removed and still runs changes nothing: its certificate outlives its membership.
    let before = cluster.nodes[&leader].catalogue().revision();
    assert!(propose(&cluster.nodes[&stays], 2).await.is_err());
    assert_eq!(cluster.nodes[&leader].catalogue().revision(), before);
    cluster.kill(stays);
    refused(change(&cluster, MemberCommand::Remove { node_id: leader }).await);
    assert!(propose(&cluster.nodes[&leader], 1).await.is_ok());
}

#[tokio::test]
async fn too_much_is_refused_and_late_is_said() {
    let options = RaftLogOptions { queue_bytes_max: 4_000, ..options() };
    let cluster = Cluster::alone(options);
    let log = &cluster.nodes[&1];
    let many = futures::future::join_all((0..200).map(|number| propose(log, number))).await;
    let overloaded = many.iter().filter(|a| matches!(a, Err(ProposeError::Overloaded))).count();
    assert!(overloaded > 0 && overloaded < 200, "{overloaded}");
    assert_eq!(log.catalogue().revision(), 200 - overloaded as u64);
    let dry = log.dry_run(numbered(9_999), Author::default()).unwrap();
    assert_eq!(dry.revision, log.catalogue().revision() + 1);
    assert_eq!(log.status().waiting, 0);
}

/// A check of ours that panics costs the change set that met it, and nothing else.
struct Panics;

impl Validator for Panics {
    fn check_body(&self, object: &ObjectId, _: &[u8]) -> Faults {
        assert!(object.name.as_str() != "boom", "a bug of ours");
        Faults::new()
    }

    fn checks_references(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_change_set() {
    let cluster = Cluster::alone(RaftLogOptions { validator: Arc::new(Panics), ..options() });
    let log = &cluster.nodes[&1];
    let answers = futures::future::join_all((1..=40).map(|number| async move {
        if number % 10 == 0 {
            let set = ChangeSet::new(format!("b{number}"), "w", vec![setting("boom", 1)]);
            return log.propose(set, Author::default()).await.map(|applied| applied.revision);
        }
        propose(log, number).await.map(|applied| applied.revision)
    }))
    .await;
    let revisions: BTreeSet<u64> = answers.iter().flatten().copied().collect();
    assert_eq!(revisions, (1..=36).collect());
    assert_eq!(log.status().failed, None);
    assert_eq!(log.catalogue().revision(), 36);
}
