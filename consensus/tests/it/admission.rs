//! Attacks on the log by nodes that are members of something, or were: none of them is followed.

use std::time::Duration;

use verdict_consensus::{Log, MemberAnswer, MemberCommand, NodeId, PeerHandler, RaftLogOptions};

use super::cluster::{Cluster, options, propose, until};

/// A request as it is on the wire, by hand: the tests speak it like an attacker would.
fn request(from: NodeId, to: NodeId, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"VDPQ\x01\x00".to_vec();
    bytes.extend_from_slice(&[u8::try_from(from).unwrap(), u8::try_from(to).unwrap(), 4]);
    bytes.extend_from_slice(b"test");
    bytes.extend_from_slice(body);
    bytes
}

/// A vote of a term that fits in 16 bits.
fn vote(term: u16, node: NodeId, committed: bool) -> Vec<u8> {
    let mut bytes = vec![0xfb];
    bytes.extend_from_slice(&term.to_le_bytes());
    bytes.extend_from_slice(&[u8::try_from(node).unwrap(), u8::from(committed)]);
    bytes
}

/// No entry, behind nothing.
fn append(term: u16, node: NodeId) -> Vec<u8> {
    [&[0][..], &vote(term, node, true), &[0, 0, 0]].concat()
}

fn stand(term: u16, node: NodeId) -> Vec<u8> {
    [&[1][..], &vote(term, node, false), &[1, 0xfb, 0xff, 0xff, 1, 0xfb, 0xff, 0xff]].concat()
}

/// The refusals that an answer may be.
const REMOVED: &[u8] = &[0, 4];
const NO_VOTER: &[u8] = &[0, 5];

async fn ask(handler: &PeerHandler, from: NodeId, to: NodeId, body: &[u8]) -> Vec<u8> {
    handler.answer(from, &request(from, to, body)).await[6..].to_vec()
}

async fn term_of(cluster: &Cluster, node: NodeId) -> u64 {
    cluster.nodes[&node].cluster().unwrap().term
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_neither_leads_nor_stands_nor_speaks_for_another() {
    let mut cluster = Cluster::of(3, options()).await;
    let learner = cluster.add_learner().await;
    let revision = propose(&cluster.nodes[&1], 1).await.unwrap().revision;
    cluster.agree(revision).await;
    let leader = cluster.leader().await;
    for target in 1..=3 {
        let handler = cluster.nodes[&target].peer_handler();
        let before = term_of(&cluster, target).await;
        for body in [append(1_000, learner), stand(1_000, learner), append(1_000, leader)] {
            let answer = ask(&handler, learner, target, &body).await;
            assert!(answer.starts_with(NO_VOTER), "{answer:?}");
        }
        // A voter in another's name.
        let other = (1..=3).find(|id| *id != target).unwrap();
        let third = (1..=3).find(|id| ![target, other].contains(id)).unwrap();
        let answer = ask(&handler, other, target, &append(1_000, third)).await;
        assert!(answer.starts_with(NO_VOTER), "{answer:?}");
        assert_eq!(term_of(&cluster, target).await, before);
    }
    assert_eq!(propose(&cluster.nodes[&1], 2).await.unwrap().revision, revision + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_refused_and_learns_of_it() {
    let mut cluster = Cluster::of(3, options()).await;
    let leader = cluster.leader().await;
    let removed = (1..=3).find(|id| *id != leader).unwrap();
    let remaining = (1..=3).find(|id| ![leader, removed].contains(id)).unwrap();
    // It does not hear of its removal, and so believes that it votes.
    cluster.network.isolate(removed);
    let remove = MemberCommand::Remove { node_id: removed };
    assert_eq!(cluster.nodes[&leader].change_members(remove).await, Ok(MemberAnswer::Done));
    let revision = propose(&cluster.nodes[&leader], 1).await.unwrap().revision;
    until("the other applied it", || cluster.nodes[&remaining].is_removed(removed)).await;
    for target in [leader, remaining] {
        let handler = cluster.nodes[&target].peer_handler();
        let read = [4];
        for body in [&append(1_000, removed)[..], &stand(1_000, removed), &read] {
            assert_eq!(ask(&handler, removed, target, body).await, REMOVED);
        }
    }
    cluster.network.heal();
    until("it says that it was removed", || cluster.nodes[&removed].status().removed).await;
    let told = cluster.nodes[&removed].elect().await;
    assert!(told.is_err(), "it stands for no election");
    let term = term_of(&cluster, removed).await;
    tokio::time::sleep(options().election_timeout_max * 4).await;
    assert_eq!(term_of(&cluster, removed).await, term);
    assert_eq!(propose(&cluster.nodes[&leader], 2).await.unwrap().revision, revision + 1);
    // The same after a start with the old folder.
    cluster.kill(removed);
    cluster.open(removed).unwrap();
    until("it says so again", || cluster.nodes[&removed].status().removed).await;
    assert_eq!(term_of(&cluster, removed).await, term);
}

/// Voters 2, 4 and 5, and node 3, which was away while 4 and 5 took the places of 1 and itself.
async fn replaced(options: RaftLogOptions) -> Cluster {
    let mut cluster = Cluster::of(3, options).await;
    cluster.network.isolate(3);
    for _ in 0..2 {
        let node_id = cluster.add_learner().await;
        cluster.network.isolate(3);
        cluster.promote(node_id).await;
    }
    cluster
}

/// Stands for election until it leads.
async fn lead(cluster: &Cluster, node_id: NodeId) {
    let log = &cluster.nodes[&node_id];
    for _ in 0..100 {
        if log.cluster().is_some_and(|status| status.role == "leader") {
            return;
        }
        log.elect().await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("node {node_id} never led");
}

async fn remove(cluster: &Cluster, by: NodeId, node_id: NodeId) {
    loop {
        let change = MemberCommand::Remove { node_id };
        match cluster.nodes[&by].change_members(change).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_follows_a_leader_that_voters_confirm() {
    let cluster = replaced(options()).await;
    // A node that 3 never heard of leads.
    lead(&cluster, 4).await;
    let revision = propose(&cluster.nodes[&4], 1).await.unwrap().revision;
    cluster.network.heal();
    cluster.agree(revision).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_that_it_knows_are_gone_an_operator_names_a_leader() {
    let mut cluster = replaced(options()).await;
    lead(&cluster, 4).await;
    remove(&cluster, 4, 1).await;
    remove(&cluster, 4, 2).await;
    cluster.kill(1);
    cluster.kill(2);
    let revision = propose(&cluster.nodes[&4], 1).await.unwrap().revision;
    cluster.network.heal();
    until("it says whom it does not follow", || {
        cluster.nodes[&3].status().unknown_leader.is_some()
    })
    .await;
    assert_eq!(cluster.nodes[&3].catalogue().revision(), 0);
    let leader = cluster.nodes[&4].leader().unwrap();
    cluster.kill(3);
    verdict_consensus::trust_leader(&cluster.folder(3), leader).unwrap();
    cluster.open(3).unwrap();
    cluster.agree(revision).await;
    until("the log names it now", || {
        std::fs::read_to_string(cluster.folder(3).join("trust"))
            .is_ok_and(|text| text.contains("\"named\":null"))
    })
    .await;
}
