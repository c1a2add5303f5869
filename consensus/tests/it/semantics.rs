//! What holds whatever is interrupted, replaced, upgraded, or shown by a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use proptest::prelude::*;
use verdict_config::{Code, TimestampMs};
use verdict_consensus::{
    CLUSTER_VERSION, HistoryQuery, Log, MemberAnswer, MemberCommand, MembershipError, NodeId,
    RaftLogOptions, Step,
};

use super::cluster::{Cluster, bootstrap, open_alone, options, propose, until};

/// Panics once, at a step that was chosen.
#[derive(Default)]
struct Trap {
    armed: Mutex<Option<Step>>,
    sprung: AtomicU64,
}

impl Trap {
    fn options(self: &Arc<Self>, options: RaftLogOptions) -> RaftLogOptions {
        let trap = Arc::clone(self);
        let probe = move |step: Step| {
            let springs = {
                let mut armed = trap.armed.lock();
                let springs = *armed == Some(step);
                if springs {
                    *armed = None;
                }
                springs
            };
            if springs {
                trap.sprung.fetch_add(1, Ordering::SeqCst);
                panic!("a panic at {step:?}, as the test wants it");
            }
        };
        RaftLogOptions { probe: Arc::new(probe), ..options }
    }

    fn sprung(&self) -> bool {
        self.sprung.load(Ordering::SeqCst) > 0
    }
}

/// Whoever panics, at whatever step: nothing acknowledged is lost, the others go on, and the node
/// says that it failed, and is itself again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_at_any_step_loses_nothing() {
    for step in Step::ALL.into_iter().filter(|step| *step != Step::InstallSnapshot) {
        for leads in [true, false] {
            panic_at(step, leads).await;
        }
    }
}

async fn panic_at(step: Step, leads: bool) {
    let context = format!("{step:?} of {}", if leads { "the leader" } else { "a follower" });
    let mut cluster = Cluster::of(3, options()).await;
    propose(&cluster.nodes[&1], 1).await.unwrap();
    let leader = cluster.leader().await;
    let victim = if leads { leader } else { cluster.follower().await };
    // The victim starts again with a trap, and takes its part.
    let trap = Arc::new(Trap::default());
    let plain = cluster.options.clone();
    cluster.options = trap.options(plain.clone());
    cluster.kill(victim);
    cluster.open(victim).unwrap();
    if leads {
        let leading = || cluster.nodes[&victim].leader() == Some(victim);
        while !leading() {
            cluster.nodes[&victim].elect().await.unwrap();
            until("an election", || cluster.nodes[&victim].leader().is_some()).await;
        }
    }
    let other = cluster.nodes.keys().copied().find(|id| *id != victim).unwrap();
    let mut last = propose(&cluster.nodes[&other], 2).await.unwrap().revision;
    *trap.armed.lock() = Some(step);
    let mut acknowledged: BTreeMap<i64, u64> = BTreeMap::new();
    for number in 3.. {
        match step {
            Step::Vote if number == 3 && leads => cluster.nodes[&other].elect().await.unwrap(),
            Step::Vote if number == 3 => cluster.nodes[&victim].elect().await.unwrap(),
            // Its failure is told in the log's state: the build goes on beside the call.
            Step::BuildSnapshot => drop(cluster.nodes[&victim].snapshot().await),
            _ => {}
        }
        if let Ok(applied) = propose(&cluster.nodes[&other], number).await {
            acknowledged.insert(number, applied.revision);
            last = last.max(applied.revision);
        }
        if trap.sprung() && acknowledged.len() > 5 {
            break;
        }
        assert!(number < 2_000, "never sprung: {context}");
    }
    until("the panic is told", || cluster.nodes[&victim].status().failed.is_some()).await;
    // It takes nothing more, and lies about nothing.
    assert!(propose(&cluster.nodes[&victim], 9_999).await.is_err(), "{context}");
    cluster.kill(victim);
    cluster.options = plain;
    cluster.open(victim).unwrap();
    let agreed = cluster.nodes[&other].linearizable().await.unwrap().revision();
    assert!(agreed >= last, "{context}");
    cluster.agree(agreed).await;
    for (number, revision) in acknowledged {
        let again = propose(&cluster.nodes[&victim], number).await.unwrap();
        assert_eq!((again.revision, again.repeated), (revision, true), "{context}");
    }
}

/// A node that panics while it takes over a snapshot starts again and takes it over.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_snapshot_is_taken_over_is_survived() {
    let small = RaftLogOptions { snapshot_entries: 20, entries_kept: 5, ..options() };
    let mut cluster = Cluster::of(3, small).await;
    let behind = cluster.follower().await;
    cluster.kill(behind);
    let other = *cluster.nodes.keys().next().unwrap();
    let mut revision = 0;
    for number in 1..=80 {
        revision = propose(&cluster.nodes[&other], number).await.unwrap().revision;
    }
    let leader = cluster.leader().await;
    until("the log was purged", || cluster.nodes[&leader].cluster().unwrap().purged_index > 40)
        .await;
    let trap = Arc::new(Trap::default());
    *trap.armed.lock() = Some(Step::InstallSnapshot);
    let plain = cluster.options.clone();
    cluster.options = trap.options(plain.clone());
    cluster.open(behind).unwrap();
    until("the panic is told", || {
        trap.sprung() && cluster.nodes[&behind].status().failed.is_some()
    })
    .await;
    assert_eq!(propose(&cluster.nodes[&other], 81).await.unwrap().revision, revision + 1);
    cluster.kill(behind);
    cluster.options = plain;
    cluster.open(behind).unwrap();
    cluster.agree(revision + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_voter_is_replaced_in_one_change() {
    let mut cluster = Cluster::of(3, options()).await;
    propose(&cluster.nodes[&1], 1).await.unwrap();
    let leader = cluster.leader().await;
    let dead = cluster.follower().await;
    let stays = cluster.nodes.keys().copied().find(|id| *id != leader && *id != dead).unwrap();
    cluster.kill(dead);
    let change =
        async |cluster: &Cluster, command| cluster.nodes[&stays].change_members(command).await;
    let replace = |node_id, by| MemberCommand::Replace { node_id, by };
    let refused = |result: Result<MemberAnswer, MembershipError>| {
        assert!(matches!(result, Err(MembershipError::Refused(_))), "{result:?}");
    };
    // By nobody, by itself.
    refused(change(&cluster, replace(dead, 77)).await);
    refused(change(&cluster, replace(dead, dead)).await);
    let allocate = MemberCommand::Allocate { request_id: "new".to_owned() };
    let Ok(MemberAnswer::Allocated(by)) = change(&cluster, allocate).await else { panic!() };
    let folder = cluster.folder(by);
    let start = verdict_consensus::FolderStart::Join;
    verdict_consensus::create_raft_folder(&folder, &super::cluster::identity(by), start).unwrap();
    cluster.open(by).unwrap();
    let attributes = super::cluster::attributes(by);
    let add = MemberCommand::AddLearner { node_id: by, attributes };
    assert_eq!(change(&cluster, add).await, Ok(MemberAnswer::Done));
    refused(change(&cluster, replace(leader, by)).await);

    // Never four voters of whom three must answer, never two.
    let counts = Arc::new(Mutex::new(Vec::new()));
    let mut watch = cluster.nodes[&stays].watch_members();
    let (seen, own) = (Arc::clone(&counts), watch.get());
    let mut watching = tokio::task::JoinSet::new();
    watching.spawn(async move {
        let mut members = own;
        loop {
            let voters = members.members.iter().filter(|member| member.voter).count();
            seen.lock().push((members.changing, voters));
            let Some(next) = watch.changed(members.log_index).await else { return };
            members = next;
        }
    });
    until("it can take over", || {
        cluster.nodes[&by].catalogue().revision() == cluster.nodes[&leader].catalogue().revision()
            && cluster.nodes[&by].members().get(by).is_some()
    })
    .await;
    assert_eq!(change(&cluster, replace(dead, by)).await, Ok(MemberAnswer::Done));
    assert_eq!(change(&cluster, replace(dead, by)).await, Ok(MemberAnswer::Done), "said again");
    let members = || cluster.nodes[&stays].members();
    until("all know of it", || members().get(by).is_some_and(|member| member.voter)).await;
    until("the change has ended", || !members().changing).await;
    assert!(members().get(dead).is_none());
    watching.abort_all();
    let counts = counts.lock().clone();
    assert!(counts.iter().all(|(changing, voters)| *changing || *voters == 3), "{counts:?}");
    // The new one counts: without another of the old ones the cluster goes on.
    cluster.kill(if leader == 1 { leader } else { stays });
    let left = *cluster.nodes.keys().next().unwrap();
    let revision = propose(&cluster.nodes[&left], 2).await.unwrap().revision;
    cluster.agree(revision).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_used_once_every_member_knows_it() {
    let next = CLUSTER_VERSION + 1;
    let newer = RaftLogOptions { version: next, ..options() };
    let mut cluster = Cluster::of(3, newer.clone()).await;
    let version = |cluster: &Cluster, id: NodeId| cluster.nodes[&id].cluster().unwrap().version;
    // Each joined one knew it, so the cluster went on to it by itself.
    until("the version is raised", || {
        cluster.nodes.keys().all(|id| version(&cluster, *id) == next)
    })
    .await;
    // An older program turns such a folder away instead of misreading it.
    let victim = cluster.follower().await;
    cluster.kill(victim);
    cluster.options = options();
    let refused = cluster.open(victim).unwrap_err();
    assert_eq!(refused.code(), Code::StateVersion, "{refused}");
    cluster.options = newer;
    cluster.open(victim).unwrap();
    cluster.stop_all().await;

    // One older member keeps the version where it was, whoever leads.
    let mut cluster = Cluster::of(2, options()).await;
    let raise = MemberCommand::RaiseVersion { version: next };
    cluster.kill(1);
    cluster.options = RaftLogOptions { version: next, ..options() };
    cluster.open(1).unwrap();
    let refused = cluster.nodes[&1].change_members(raise).await;
    assert!(matches!(refused, Err(MembershipError::Refused(_))), "{refused:?}");
    propose(&cluster.nodes[&2], 1).await.unwrap();
    cluster.agree(1).await;
    assert_eq!([1, 2].map(|id| version(&cluster, id)), [CLUSTER_VERSION; 2]);
    // It is started with the newer program, and then the version is used.
    cluster.kill(2);
    cluster.open(2).unwrap();
    until("the version is raised", || [1, 2].iter().all(|id| version(&cluster, *id) == next)).await;
}

/// A follower comes back from a loss of power with what it had shown, although nobody is there to
/// tell it what is committed: the place of commits follows what is applied onto the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_is_soon_shown_again_after_a_loss_of_power() {
    let mut cluster = Cluster::of(3, options()).await;
    let follower = cluster.follower().await;
    let mut revision = 0;
    for number in 1..=20 {
        revision = propose(&cluster.nodes[&follower], number).await.unwrap().revision;
    }
    cluster.agree(revision).await;
    let log = &cluster.nodes[&follower];
    until("the place of commits is durable", || {
        let status = log.cluster().unwrap();
        status.committed_durable_index >= status.applied_index
    })
    .await;
    for node_id in [1, 2, 3] {
        cluster.kill(node_id);
    }
    cluster.open(follower).unwrap();
    assert_eq!(cluster.nodes[&follower].catalogue().revision(), revision);
}

/// Clocks that jump by years, on every node: times of changes never go back, stay near the time
/// that has passed, and what was applied is known again.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_change_nothing() {
    const START: i64 = 1_700_000_000_000;
    const YEAR_MS: i64 = 365 * 86_400_000;
    let wild = Arc::new(AtomicBool::new(false));
    let state = Arc::new(AtomicI64::new(12_345));
    let clock = {
        let wild = Arc::clone(&wild);
        move || {
            if !wild.load(Ordering::SeqCst) {
                return TimestampMs(START);
            }
            let next = |x: i64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            let random = state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or(0);
            TimestampMs(START + random % (20 * YEAR_MS))
        }
    };
    let options = RaftLogOptions { clock: Arc::new(clock), ..options() };
    let cluster = Cluster::of(3, options).await;
    wild.store(true, Ordering::SeqCst);
    let mut revisions = Vec::new();
    for number in 1..=60i64 {
        let id = 1 + number.unsigned_abs() % 3;
        revisions.push(propose(&cluster.nodes[&id], number).await.unwrap().revision);
        if number % 20 == 0 {
            let next = cluster.follower().await;
            cluster.nodes[&next].elect().await.unwrap();
        }
    }
    for (number, revision) in (1..).zip(&revisions) {
        let again = propose(&cluster.nodes[&2], number).await.unwrap();
        assert_eq!((again.revision, again.repeated), (*revision, true));
    }
    let query = HistoryQuery { limit: 1_000, ..HistoryQuery::default() };
    let entries = cluster.nodes[&1].history(&query).unwrap().entries;
    let times: Vec<i64> = entries.iter().rev().map(|entry| entry.head.at.0).collect();
    assert_eq!(times.len(), 60);
    assert!(times.is_sorted(), "{times:?}");
    let near = |at: &i64| (at - START).abs() <= 2 * 3_600_000;
    assert!(times.iter().all(near), "{times:?}");
    assert!(times.iter().any(|at| *at != START), "the clock did jump");
}

#[derive(Debug, Clone)]
enum Deed {
    Propose(i64),
    Snapshot,
    Restart,
    Kill,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        8 => (1i64..30).prop_map(Deed::Propose),
        1 => Just(Deed::Snapshot),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Kill),
    ];
    prop::collection::vec(deed, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    /// Any order of changes and retries, cut by snapshots and restarts of either kind, gives the state
    /// that the changes alone give, each once, in the order in which they first came.
    #[test]
    fn restarts_and_retries_leave_no_mark(deeds in deeds()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (disturbed, plain) = (folder.path().join("a"), folder.path().join("b"));
        bootstrap(&disturbed);
        bootstrap(&plain);
        // One clock that stands still: times are part of the state.
        let still = || RaftLogOptions { clock: Arc::new(|| TimestampMs(5_000)), ..options() };
        let (one, other) = runtime.block_on(async {
            let mut log = open_alone(&disturbed, still()).unwrap();
            let mut firsts: Vec<i64> = Vec::new();
            for deed in &deeds {
                match deed {
                    Deed::Propose(number) => {
                        let applied = propose(&log, *number).await.unwrap();
                        assert_eq!(applied.repeated, firsts.contains(number));
                        if !applied.repeated {
                            firsts.push(*number);
                        }
                    }
                    Deed::Snapshot => log.snapshot().await.unwrap(),
                    Deed::Restart => {
                        log.drain().await;
                        drop(log);
                        log = open_alone(&disturbed, still()).unwrap();
                    }
                    Deed::Kill => {
                        drop(log);
                        log = open_alone(&disturbed, still()).unwrap();
                    }
                }
            }
            let reference = open_alone(&plain, still()).unwrap();
            for number in firsts {
                propose(&reference, number).await.unwrap();
            }
            (log.catalogue().state_hash(), reference.catalogue().state_hash())
        });
        prop_assert_eq!(one, other);
    }
}
