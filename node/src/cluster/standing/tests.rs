use verdict_actors::blobs::BlobStore;
use verdict_config::settings::Settings;
use verdict_config::{Code, TimestampMs};
use verdict_consensus::{
    ChangeRefused, Command, DefinitionValidator, HistoryQuery, Member, MemberAnswer,
    NodeAttributes, Op, Propose, apply, plan_rollback,
};

use super::*;
use crate::http::keys::KeyRing;

const PROMOTE: MemberCommand = MemberCommand::Promote { node_id: 4 };

fn members(list: &[(u64, bool)]) -> Members {
    let member = |&(node_id, voter): &(u64, bool)| Member {
        node_id,
        voter,
        attributes: NodeAttributes::default(),
    };
    Members { members: list.iter().map(member).collect(), ..Members::default() }
}

/// The catalogue after one more change set.
fn with(catalogue: &Catalogue, author: &str, why: &str, changes: Vec<Change>) -> Catalogue {
    let index = catalogue.revision() + 1;
    let set = ChangeSet::new(format!("r{index}"), why, changes).normalised().expect("a change set");
    let propose =
        Propose { change_set: set, author: Author::named(author), at: TimestampMs(1_000) };
    let applied = apply(catalogue, &Command::Propose(propose), index, &DefinitionValidator);
    applied.expect("it is applied").catalogue
}

fn after(catalogue: &Catalogue, command: &MemberCommand) -> Catalogue {
    with(catalogue, "alice", "more hands", entry(catalogue, &wanted(command, "c")))
}

#[test]
fn what_is_said_is_said_once_and_is_true_after_the_change() {
    let asked = after(&Catalogue::default(), &PROMOTE);
    assert_eq!(entry(&asked, &wanted(&PROMOTE, "c")), []);
    let now = members(&[(1, true), (4, true)]);
    assert_eq!(untrue(&asked, &now, "c"), []);

    let replace = MemberCommand::Replace { node_id: 1, by: 4 };
    let replaced = after(&asked, &replace);
    assert_eq!(replaced.revision(), asked.revision() + 1, "both in one entry");
    let (_, gone) = said(&replaced, 1);
    assert_eq!(gone.map(|one| (one.standing, one.replaced_by)), Some((Standing::Removed, Some(4))));
    let (_, new) = said(&replaced, 4);
    assert_eq!(new.map(|one| (one.standing, one.in_place_of)), Some((Standing::Voter, Some(1))));
    assert_eq!(untrue(&replaced, &members(&[(4, true)]), "c"), []);
}

#[test]
fn an_entry_that_nothing_followed_is_corrected_after_a_time_and_once() {
    let asked = after(&Catalogue::default(), &PROMOTE);
    let now = members(&[(1, true), (4, false)]);
    let found = untrue(&asked, &now, "c");
    let (mut doubts, start) = (Doubts::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let grace = Duration::from_secs(30);
    assert_eq!(doubts.due(found.clone(), at(0), grace), []);
    assert_eq!(doubts.due(found.clone(), at(29), grace), []);
    // What agreed in between is doubted anew.
    assert_eq!(doubts.due(Vec::new(), at(29), grace), []);
    assert_eq!(doubts.due(found.clone(), at(31), grace), []);
    let due = doubts.due(found, at(61), grace);
    let (changes, why) = correction(&due);
    assert_eq!(why, "node 4 is a learner, not what revision 1 says");
    let corrected = with(&asked, "node-1", &why, changes);
    assert_eq!(said(&corrected, 4).1.map(|one| one.standing), Some(Standing::Learner));
    assert_eq!(untrue(&corrected, &now, "c"), []);
    // Made after all, by whoever was believed dead: the entry follows again.
    let (changes, why) = correction(&untrue(&corrected, &members(&[(4, true)]), "c"));
    assert_eq!((changes.len(), why.as_str()), (1, "node 4 is a voter, not what revision 2 says"));
}

#[test]
fn an_edit_meanwhile_is_not_overwritten() {
    let asked = after(&Catalogue::default(), &PROMOTE);
    let (changes, _) = correction(&untrue(&asked, &members(&[(4, false)]), "c"));
    assert_eq!(changes[0].expected_revision, Some(1));
    let first = entry(&Catalogue::default(), &wanted(&PROMOTE, "c"));
    assert_eq!(first[0].expected_revision, Some(0));
}

#[test]
fn members_of_the_cluster_that_a_backup_is_of_are_nobody() {
    let asked = after(&Catalogue::default(), &PROMOTE);
    let found = untrue(&asked, &members(&[(4, true)]), "another");
    let due = Doubts::default().due(found, Instant::now(), AGREE_WITHIN);
    let (changes, why) = correction(&due);
    assert_eq!(changes.iter().map(|change| change.op).collect::<Vec<_>>(), [Op::Delete]);
    assert_eq!(why, "node 4 is of the cluster before this one");
    assert_eq!(said(&with(&asked, "node-1", &why, changes), 4), (0, None));
}

#[test]
fn many_are_corrected_at_once_and_a_few_are_named() {
    let mut asked = Catalogue::default();
    for node_id in 1..=12 {
        asked = after(&asked, &MemberCommand::Promote { node_id });
    }
    let (changes, why) = correction(&untrue(&asked, &members(&[]), "c"));
    assert_eq!(changes.len(), 12);
    assert!(why.ends_with("; and 4 more") && why.contains("is no member"), "{why}");
}

#[test]
fn no_rollback_touches_what_a_node_is() {
    let asked = after(&Catalogue::default(), &PROMOTE);
    let list = Change::put(ObjectKind::List, "l", r#"{"entries":[]}"#);
    let later = with(&asked, "bob", "", vec![list]);
    let planned = plan_rollback(&later, "back", "", 0, &[]).expect("a plan");
    let names: Vec<&str> = planned.changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(names, ["l"]);
    let kind = ObjectKind::Member;
    let named = ObjectId { kind, name: ObjectName::new(kind, "standing-4").expect("a name") };
    match plan_rollback(&later, "back", "", 0, &[named]) {
        Err(ChangeRefused::Invalid(faults)) => {
            assert_eq!((faults.len(), faults[0].code), (1, Code::InvalidValue));
            assert!(faults[0].message.starts_with("member/standing-4 is what a node is"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_of_a_token_names_its_maker_and_is_a_duty() {
    let token = |used_by| {
        let kept = KeptToken {
            secret_sha256: String::new(),
            expires: TimestampMs(0),
            voter: true,
            used_by,
            replaces: None,
        };
        let body = serde_json::to_string(&kept).expect("JSON");
        vec![Change::put(ObjectKind::Member, "join-x", body)]
    };
    let issued = with(&Catalogue::default(), "alice", "a token", token(None));
    let used = with(&issued, "node-1", "it joins", token(Some((4, String::new()))));
    let asked = asked_by_token(&used, 4, "node 4 votes");
    assert_eq!(asked.author.name, "duty:members");
    assert_eq!(asked.why, "node 4 votes: it joined by a token of alice and has caught up");
    let unknown = asked_by_token(&used, 5, "node 5 votes");
    assert_eq!(unknown.author.name, "duty:members");
}

/// A node that is alone.
async fn alone(folder: &std::path::Path) -> Cluster {
    let mut settings = Settings::default();
    settings.node.data_dir = folder.display().to_string();
    let blobs = BlobStore::open(folder.join("blobs")).expect("a store");
    let http = "127.0.0.1:0".parse().expect("an address");
    let opened =
        super::super::start::open(&settings, http, None, (&blobs, &KeyRing::default())).await;
    opened.map_err(|error| error.to_string()).expect("it opens").cluster
}

/// Adds a learner that nobody hears.
async fn with_learner(cluster: &Cluster) -> u64 {
    let allocate = MemberCommand::Allocate { request_id: "x".to_owned() };
    let Ok(MemberAnswer::Allocated(node_id)) = cluster.change_members(allocate).await else {
        panic!("no id was given");
    };
    let attributes = NodeAttributes { peer_address: "127.0.0.1:1".to_owned(), ..<_>::default() };
    let add = MemberCommand::AddLearner { node_id, attributes };
    assert_eq!(cluster.change_members(add).await, Ok(MemberAnswer::Done));
    node_id
}

fn asked(request_id: &str) -> Asked {
    let request_id = Some(request_id.to_owned());
    Asked { author: Author::named("alice"), why: "more hands".to_owned(), request_id }
}

async fn standing_of(cluster: &Cluster, node_id: u64) -> (u64, Option<Standing>) {
    let catalogue = cluster.log().linearizable().await.expect("a catalogue");
    let (_, standing) = said(&catalogue, node_id);
    (catalogue.revision(), standing.map(|one| one.standing))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_between_an_entry_and_its_change_leaves_no_untruth() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = alone(folder.path()).await;
    let node_id = with_learner(&cluster).await;
    let promote = MemberCommand::Promote { node_id };
    let recorded = cluster.record(&promote, &[], &asked("r")).await;
    assert_eq!(recorded.expect("an entry"), Some(1));
    cluster.log().drain().await;
    drop(cluster);

    let cluster = alone(folder.path()).await;
    assert_eq!(standing_of(&cluster, node_id).await, (1, Some(Standing::Voter)));
    // Not at once: the change may be under way.
    let mut doubts = Doubts::default();
    cluster.correct_standings(&mut doubts, AGREE_WITHIN).await.expect("nothing to do");
    assert_eq!(standing_of(&cluster, node_id).await.0, 1);
    cluster.correct_standings(&mut doubts, Duration::ZERO).await.expect("it is corrected");
    assert_eq!(standing_of(&cluster, node_id).await, (2, Some(Standing::Learner)));
    let newest = cluster.log().history(&HistoryQuery::default()).unwrap().entries[0].head.clone();
    assert_eq!(newest.author.name, "duty:members");
    assert_eq!(newest.why, format!("node {node_id} is a learner, not what revision 1 says"));
    // Whoever asks again under the same name is in the log again.
    assert_eq!(cluster.record(&promote, &[], &asked("r")).await.expect("an entry"), Some(3));
    assert_eq!(cluster.record(&promote, &[], &asked("r")).await.expect("it is said"), None);
    cluster.log().drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_after_its_entry_is_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = alone(folder.path()).await;
    let node_id = with_learner(&cluster).await;
    // The newcomer cannot be reached for the authority's key: there is no entry yet.
    let promoted = cluster.promote(node_id, &asked("r")).await.expect_err("it is not reached");
    assert_eq!(promoted.code, Code::PeerUnreachable);
    assert_eq!(standing_of(&cluster, node_id).await, (0, None));

    let remove = MemberCommand::Remove { node_id };
    let recorded = cluster.record(&remove, &[], &asked("s")).await.expect("an entry").expect("new");
    let error = ClusterError::refused("another took it");
    cluster.take_back(recorded, &error, &asked("s")).await;
    assert_eq!(standing_of(&cluster, node_id).await, (2, Some(Standing::Learner)));
    let newest = cluster.log().history(&HistoryQuery::default()).unwrap().entries[0].head.clone();
    assert_eq!(newest.why, "not done for alice: another took it");

    cluster.remove(node_id, &asked("t")).await.expect("it goes");
    assert_eq!(standing_of(&cluster, node_id).await, (3, Some(Standing::Removed)));
    // Of another request's name nothing comes.
    let list = Change::put(ObjectKind::List, "l", r#"{"entries":[]}"#);
    let set = ChangeSet::new("u", "", vec![list]);
    cluster.log().propose(set, Author::named("bob")).await.expect("a list");
    let other = MemberCommand::Promote { node_id };
    let taken = cluster.record(&other, &[], &asked("u")).await.expect_err("the name is taken");
    assert_eq!(taken.code, Code::RequestIdConflict);
    let again = cluster.remove(node_id, &asked("t")).await;
    assert_eq!((again, standing_of(&cluster, node_id).await.0), (Ok(()), 4));
    let mut doubts = Doubts::default();
    cluster.correct_standings(&mut doubts, Duration::ZERO).await.expect("nothing to do");
    assert_eq!(standing_of(&cluster, node_id).await.0, 4);
    cluster.log().drain().await;
}
