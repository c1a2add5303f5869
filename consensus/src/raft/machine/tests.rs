//! The replicated state is a pure function of the entries.

use std::collections::{BTreeMap, BTreeSet};

use openraft::Membership;
use proptest::prelude::*;
use verdict_config::{EvaluationVersion, ObjectKind, TimestampMs};

use super::*;
use crate::command::{Author, Change, ChangeSet, Evidence, Propose, StoredBody};
use crate::raft::snapshot_file;
use crate::raft::types::EntryPayload;

fn entry(index: u64, command: EntryCommand) -> Entry {
    let log_id = openraft::testing::log_id(1, 1, index);
    Entry { log_id, payload: Content::Normal(command.encode().unwrap()) }
}

/// A change set that puts one of a few settings.
fn put(number: u64, value: u8) -> Vec<u8> {
    let name = format!("s{}", number % 5);
    let change = Change::put(ObjectKind::Setting, name, format!("{{\"v\":{value}}}"));
    let change_set = ChangeSet::new(format!("r{number}"), "w", vec![change]).normalised().unwrap();
    let at = TimestampMs(1_000);
    Command::Propose(Propose { change_set, author: Author::named("a"), at }).encode().unwrap()
}

fn apply(machine: &mut Machine, command: EntryCommand) -> EntryReply {
    let index = machine.last_applied.map_or(0, |id| id.index + 1);
    machine.apply(&entry(index, command), &Bodies::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// However change sets are spread over entries, and whatever stale entries stand between, the
    /// state is the same; and a snapshot of it is it.
    #[test]
    fn entries_may_be_cut_anywhere(
        values in prop::collection::vec(any::<u8>(), 1..40),
        cuts in prop::collection::btree_set(1usize..40, 0..10),
        wrong in prop::collection::vec(any::<u64>(), 0..6),
    ) {
        let commands: Vec<_> = (0..).zip(&values).map(|(number, value)| put(number, *value)).collect();
        let mut one = Machine::empty(Catalogue::default());
        for (base_revision, command) in (0..).zip(&commands) {
            let reply = apply(&mut one, EntryCommand::Changes { base_revision, commands: vec![command.clone()] });
            prop_assert_eq!(reply, EntryReply::Applied { revision: base_revision + 1 });
        }
        let mut other = Machine::empty(Catalogue::default());
        let mut wrong = wrong.into_iter();
        let mut rest = &commands[..];
        let mut done = 0;
        while !rest.is_empty() {
            if let Some(base) = wrong.next().filter(|base| *base != done as u64) {
                let before = other.catalogue.clone();
                let commands = vec![put(900, 9)];
                let reply = apply(&mut other, EntryCommand::Changes { base_revision: base, commands });
                prop_assert_eq!(reply, EntryReply::Stale { revision: done as u64 });
                prop_assert_eq!(&other.catalogue, &before);
            }
            let cut = cuts.iter().find(|cut| **cut > done).map_or(usize::MAX, |cut| cut - done);
            let (batch, behind) = rest.split_at(cut.min(rest.len()));
            let changes = EntryCommand::Changes { base_revision: done as u64, commands: batch.to_vec() };
            done += batch.len();
            prop_assert_eq!(apply(&mut other, changes), EntryReply::Applied { revision: done as u64 });
            rest = behind;
        }
        prop_assert_eq!(one.catalogue.state_hash(), other.catalogue.state_hash());
        let bytes = snapshot_file::encode(&other).unwrap();
        prop_assert_eq!(&snapshot_file::decode_machine(&bytes).unwrap(), &other);
    }

    /// Damage anywhere in a snapshot is noticed, and never a panic.
    #[test]
    fn a_damaged_snapshot_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut machine = Machine::empty(Catalogue::default());
        apply(&mut machine, EntryCommand::Changes { base_revision: 0, commands: vec![put(1, 1)] });
        let mut bytes = snapshot_file::encode(&machine).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(snapshot_file::decode_machine(&bytes).is_err());
        prop_assert!(snapshot_file::decode_machine(&bytes[..at]).is_err());
    }
}

#[test]
fn a_batch_is_all_or_nothing() {
    let mut machine = Machine::empty(Catalogue::default());
    // The second one repeats the request id of the first with other changes: it is refused.
    let commands = vec![put(1, 1), put(1, 2)];
    let reply = apply(&mut machine, EntryCommand::Changes { base_revision: 0, commands });
    assert_eq!((reply, machine.catalogue.revision()), (EntryReply::Stale { revision: 0 }, 0));
}

#[test]
fn a_node_id_is_given_once() {
    let mut machine = Machine::empty(Catalogue::default());
    machine.cluster.next_node_id = 2;
    let ask = |machine: &mut Machine, request: &str| {
        apply(machine, EntryCommand::AllocateNode { request_id: request.to_owned() })
    };
    assert_eq!(ask(&mut machine, "a"), EntryReply::Allocated { node_id: 2 });
    assert_eq!(ask(&mut machine, "a"), EntryReply::Allocated { node_id: 2 });
    assert_eq!(ask(&mut machine, "b"), EntryReply::Allocated { node_id: 3 });
    // Once it has joined, the request is done: asked again, it is another node.
    let nodes = BTreeMap::from([(2, super::super::types::NodeAttributes::default())]);
    let members = Membership::new(vec![BTreeSet::from([2])], nodes);
    let log_id = openraft::testing::log_id(1, 1, 9);
    let entry = Entry { log_id, payload: Content::Membership(members) };
    machine.apply(&entry, &Bodies::new()).unwrap();
    assert_eq!(ask(&mut machine, "a"), EntryReply::Allocated { node_id: 4 });
    for number in 0..PENDING_NODES_MAX {
        ask(&mut machine, &format!("many-{number}"));
    }
    assert!(matches!(ask(&mut machine, "one more"), EntryReply::Refused { .. }));
}

#[test]
fn an_entry_of_a_newer_program_stops_this_one() {
    let mut machine = Machine::empty(Catalogue::default());
    let log_id = openraft::testing::log_id(1, 1, 0);
    let payload = Content::Normal(EntryPayload(b"VDEC\x02\x00".as_slice().into()));
    assert!(machine.apply(&Entry { log_id, payload }, &Bodies::new()).is_err());
    assert_eq!(machine, Machine::empty(Catalogue::default()));
}

#[test]
fn an_entry_waits_for_the_bodies_that_it_names_and_holds_no_byte_of_them() {
    let body = format!("[{}1]", "1,".repeat(40_000)).into_bytes();
    let stored = StoredBody::of(&body);
    let mut change = Change::put(ObjectKind::Setting, "large", body.clone());
    change.stored = Some(stored);
    let evidence = vec![Evidence { model: stored.hash, node_id: 1, at: TimestampMs(5) }];
    let set = ChangeSet { evidence, ..ChangeSet::new("r", "w", vec![change]) };
    let propose = |change_set| {
        let at = TimestampMs(1_000);
        Command::Propose(Propose { change_set, author: Author::named("a"), at }).encode().unwrap()
    };
    let by_hash = propose(set.clone().normalised().unwrap());
    assert!(by_hash.len() < 200, "{} bytes", by_hash.len());
    let changes = EntryCommand::Changes { base_revision: 0, commands: vec![by_hash] };
    let mut machine = Machine::empty(Catalogue::default());
    let waiting = machine.apply(&entry(0, changes.clone()), &Bodies::new()).unwrap_err();
    assert_eq!(waiting, ApplyError::Missing([stored].into()));
    assert_eq!(machine, Machine::empty(Catalogue::default()));
    let bodies = Bodies::from([(stored, body.clone())]);
    let reply = machine.apply(&entry(0, changes), &bodies).unwrap();
    assert_eq!(reply, EntryReply::Applied { revision: 1 });

    // The same state as with the body in the log; and the evidence is kept by a snapshot.
    let mut inline = set;
    inline.changes[0].stored = None;
    let commands = vec![propose(inline.normalised().unwrap())];
    let mut other = Machine::empty(Catalogue::default());
    apply(&mut other, EntryCommand::Changes { base_revision: 0, commands });
    assert_eq!(machine.catalogue.state_hash(), other.catalogue.state_hash());
    let bytes = snapshot_file::encode(&machine).unwrap();
    let restored = snapshot_file::decode_machine(&bytes).unwrap();
    assert_eq!(restored, machine);
    let history = restored.catalogue.history(&crate::HistoryQuery::default()).unwrap();
    assert_eq!(history.entries[0].head.evidence.len(), 1);
    assert_eq!(restored.catalogue.stored_bodies().collect::<Vec<_>>(), [stored.hash; 2]);
}

#[test]
fn a_raise_that_changes_how_rules_evaluate_is_a_revision() {
    let mut machine = Machine::empty(Catalogue::default());
    let raise = |machine: &mut Machine, version| {
        let reply = apply(machine, EntryCommand::RaiseVersion { version });
        assert_eq!(reply, EntryReply::Nothing);
        let catalogue = &machine.catalogue;
        (machine.cluster.version, catalogue.revision(), catalogue.evaluation())
    };
    assert_eq!(raise(&mut machine, 2), (2, 0, EvaluationVersion::V1));
    apply(&mut machine, EntryCommand::Changes { base_revision: 0, commands: vec![put(1, 1)] });
    let before = machine.catalogue.clone();
    assert_eq!(raise(&mut machine, 3), (3, 2, EvaluationVersion::V2));
    // What was evaluated under the old version is turned away, and evaluated again.
    let stale = EntryCommand::Changes { base_revision: 1, commands: vec![put(2, 2)] };
    assert_eq!(apply(&mut machine, stale), EntryReply::Stale { revision: 2 });
    assert_eq!(raise(&mut machine, 3), (3, 2, EvaluationVersion::V2));
    assert_eq!(raise(&mut machine, 2), (3, 2, EvaluationVersion::V2));
    assert_eq!(raise(&mut machine, 4), (4, 2, EvaluationVersion::V2));
    // Objects are what they were; a snapshot keeps the version.
    assert_eq!(machine.catalogue.objects_by_id(), before.objects_by_id());
    let bytes = snapshot_file::encode(&machine).unwrap();
    let restored = snapshot_file::decode_machine(&bytes).unwrap();
    assert_eq!(restored, machine);
    assert_eq!(restored.catalogue.evaluation(), EvaluationVersion::V2);
    assert_eq!(machine.catalogue.at_revision(1).unwrap().evaluation(), EvaluationVersion::V2);
    assert_eq!(before.evaluation(), EvaluationVersion::V1);
}
