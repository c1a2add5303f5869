//! Hand-made histories: good ones pass, and each violation is caught as what it is.

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, Command, NoValidation, Op, Propose, Restores, apply,
};

use super::rebuild::object_id;
use super::{Verdict, check};
use crate::chaos::catalogue;
use crate::chaos::history::{Call, Kind, Record, Reply};

/// A cluster that does everything right, by the pure state machine, and tells it as nodes do.
struct Model {
    catalogue: Catalogue,
    entries: Vec<Json>,
    records: Vec<Record>,
    clock_us: u64,
}

fn change_of(change: &Json) -> Change {
    let id = object_id(change).unwrap();
    let body = change.get("body").map(|body| serde_json::to_vec(body).unwrap());
    Change {
        kind: id.kind,
        name: id.name.as_str().to_owned(),
        op: Op::Put,
        expected_revision: change["expected_revision"].as_u64(),
        body,
        stored: None,
    }
}

impl Model {
    fn new() -> Self {
        let (catalogue, entries) = (Catalogue::default(), Vec::new());
        let mut model = Self { catalogue, entries, records: Vec::new(), clock_us: 0 };
        model.change("first", catalogue::first());
        model
    }

    fn tick(&mut self) -> u64 {
        self.clock_us += 1_000;
        self.clock_us
    }

    fn call(&mut self, node: u64, kind: Kind, request: Json, reply: Reply) {
        let (begin_us, end_us) = (self.tick(), self.tick());
        let client = "client".to_owned();
        let (min_revision, stale) = (None, false);
        let call =
            Call { client, node, kind, request, min_revision, stale, begin_us, end_us, reply };
        self.records.push(Record::Call(call));
    }

    fn ok(revision: u64, body: Json) -> Reply {
        Reply::Ok { revision: Some(revision), body }
    }

    fn apply(&mut self, set: ChangeSet) -> u64 {
        let before = self.catalogue.clone();
        let at = TimestampMs(1_700_000_000_000 + i64::try_from(self.clock_us).unwrap());
        let (request_id, why) = (set.request_id.clone(), set.why.clone());
        let author = Author::named("chaos");
        let propose = Propose { change_set: set.normalised().unwrap(), author, at };
        let changes = propose.change_set.changes.clone();
        let made = apply(&before, &Command::Propose(propose), 1, &NoValidation).unwrap();
        self.catalogue = made.catalogue;
        let version = |catalogue: &Catalogue, change: &Change| {
            catalogue.get(&change.object().unwrap()).map(|object| {
                json!({ "revision": object.revision, "hash": object.hash.to_hex(),
                    "bytes": object.body.len(), "body": object.json().unwrap() })
            })
        };
        for change in &changes {
            self.entries.push(json!({
                "revision": made.applied.revision, "log_index": 1, "request_id": request_id,
                "at": at, "author": "chaos", "why": why, "kind": change.kind,
                "name": change.name, "op": change.op, "before": version(&before, change),
                "after": version(&self.catalogue, change),
            }));
        }
        made.applied.revision
    }

    fn change(&mut self, request_id: &str, changes: Vec<Json>) -> u64 {
        let of = changes.iter().map(change_of).collect();
        let revision = self.apply(ChangeSet::new(request_id, "load", of));
        let request = json!({ "request_id": request_id, "why": "load", "changes": changes });
        let reply = Self::ok(revision, json!({ "revision": revision }));
        self.call(1, Kind::Change, request, reply);
        revision
    }

    fn rollback(&mut self, request_id: &str, to_revision: u64) -> u64 {
        let objects =
            catalogue::EPOCH_OBJECTS.map(|(kind, name)| json!({"kind": kind, "name": name}));
        let ids: Vec<_> = objects.iter().map(|object| object_id(object).unwrap()).collect();
        let then = self.catalogue.at_revision(to_revision).unwrap();
        let changes = ids.iter().map(|id| {
            let body = then.get(id).unwrap().body.to_vec();
            let now = self.catalogue.get(id).unwrap().revision;
            Change::put(id.kind, id.name.as_str(), body).expecting(now)
        });
        let set = ChangeSet::new(request_id, "load", changes.collect());
        let restores = Some(Restores { to_revision, objects: ids.clone() });
        let revision = self.apply(ChangeSet { restores, ..set });
        let request = json!({ "request_id": request_id, "why": "load",
            "to_revision": to_revision, "objects": objects });
        self.call(2, Kind::Rollback, request, Self::ok(revision, json!({ "revision": revision })));
        revision
    }

    fn decision(&mut self, node: u64, request_id: &str, revision: u64, epoch: (u64, u64)) {
        let body = json!({
            "decision_id": format!("d-{request_id}"), "revision": revision, "stale": false,
            "flags": { "epoch": format!("e{}", epoch.0) },
            "reasons": [{ "code": format!("E{}", epoch.1) }],
        });
        let request = json!({ "request_id": request_id, "input": { "amount": 1 } });
        self.call(node, Kind::Decision, request, Self::ok(revision, body));
    }

    fn status(&mut self, node: u64, hash: Option<String>) {
        let revision = self.catalogue.revision();
        let hash = hash.unwrap_or_else(|| self.catalogue.state_hash().to_hex());
        let body = json!({ "revision": revision, "stale": false,
            "state": { "revision": revision, "hash": hash } });
        self.call(node, Kind::Status, json!("/v1/status"), Self::ok(revision, body));
    }

    fn watch(&mut self, watcher: &str, ids: &[u64]) {
        let (watcher, node) = (watcher.to_owned(), 1);
        self.records.push(Record::WatchBegan { watcher: watcher.clone(), from: 0 });
        for id in ids {
            let mut of = self.entries.iter().filter(|entry| entry["revision"] == *id);
            let first = of.next().unwrap();
            let changes = std::iter::once(first).chain(of).map(
                |entry| json!({ "kind": entry["kind"], "name": entry["name"], "op": entry["op"] }),
            );
            let data = json!({ "revision": id, "at": first["at"], "author": first["author"],
                "why": first["why"], "changes": changes.collect::<Vec<_>>() });
            let watcher = watcher.clone();
            self.records.push(Record::Watched { watcher, node, id: *id, data, at_us: 0 });
        }
    }

    fn verdict(mut self) -> Verdict {
        for node in 1..=2 {
            self.records.push(Record::Catalogue { node, entries: self.entries.clone() });
        }
        check(&self.records)
    }
}

fn found(verdict: &Verdict) -> Vec<u8> {
    verdict.counts.keys().copied().collect()
}

#[test]
fn a_good_history_passes() {
    let mut model = Model::new();
    let old = model.change("a", catalogue::epoch(7));
    model.decision(1, "x", old, (7, 7));
    let small = model.change("b", vec![catalogue::small(1, "w", 3)]);
    // Another node may be behind, and a retry is told what was decided then.
    model.decision(2, "y", old, (7, 7));
    let new = model.change("c", catalogue::epoch(8));
    model.decision(1, "z", new, (8, 8));
    model.decision(1, "x", old, (7, 7));
    let back = model.rollback("d", old);
    model.decision(1, "w", back, (7, 7));
    // Acknowledged again, at the revision of then.
    let again = json!({ "request_id": "b", "why": "load",
        "changes": [catalogue::small(1, "w", 3)] });
    model.call(2, Kind::Change, again, Model::ok(small, json!({ "revision": small })));
    model.status(1, None);
    model.status(2, None);
    model.watch("one", &[1, 2, 3, 4, 5]);
    let verdict = model.verdict();
    assert_eq!(verdict.violations, []);
    assert_eq!(verdict.checked["acknowledged changes"], 5);
    assert_eq!(verdict.checked["rollbacks"], 1);
    assert_eq!(verdict.checked["state hashes"], 2);
}

#[test]
fn a_lost_write_and_one_that_moved_are_caught() {
    let mut model = Model::new();
    let request = |id: &str| {
        json!({ "request_id": id, "why": "load",
        "changes": [catalogue::small(1, "w", 1)] })
    };
    model.call(1, Kind::Change, request("lost"), Model::ok(9, json!({ "revision": 9 })));
    let verdict = model.verdict();
    assert_eq!(found(&verdict), [1]);
    assert!(verdict.violations[0].what.contains("lost"), "{verdict:?}");

    let mut model = Model::new();
    let revision = model.change("a", vec![catalogue::small(1, "w", 1)]);
    model.call(
        1,
        Kind::Change,
        request("a"),
        Model::ok(revision + 1, json!({"revision": revision + 1})),
    );
    assert_eq!(found(&model.verdict()), [1]);
}

#[test]
fn a_write_that_applies_twice_is_caught() {
    let mut model = Model::new();
    model.change("a", vec![catalogue::small(1, "w", 1)]);
    // As a node does that forgot the request id.
    let twice: Vec<Json> =
        model.entries.iter().filter(|e| e["request_id"] == "a").cloned().collect();
    for mut entry in twice {
        entry["revision"] = json!(3);
        entry["after"]["revision"] = json!(3);
        model.entries.push(entry);
    }
    let verdict = model.verdict();
    assert_eq!(found(&verdict), [1]);
    assert!(verdict.violations[0].what.contains("at revision 2 and at 3"), "{verdict:?}");
}

#[test]
fn a_refused_write_that_stands_is_caught_and_an_unknown_one_may_stand() {
    for (unknown, expected) in [(false, vec![1]), (true, vec![])] {
        let mut model = Model::new();
        model.change("a", vec![catalogue::small(1, "w", 1)]);
        let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
        let (status, code) = (503, "VD0606".to_owned());
        call.reply = Reply::Refused { status, code, revision: Some(1), unknown };
        assert_eq!(found(&model.verdict()), expected);
    }
}

#[test]
fn another_body_than_was_sent_is_caught() {
    let mut model = Model::new();
    model.change("a", vec![catalogue::small(1, "w", 1)]);
    let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
    call.request["changes"][0]["body"]["defaultVariant"] = json!("other");
    assert_eq!(found(&model.verdict()), [1]);
}

#[test]
fn time_orders_writes_and_reads() {
    let mut model = Model::new();
    model.change("a", vec![catalogue::small(1, "w", 1)]);
    model.change("b", vec![catalogue::small(2, "w", 2)]);
    // Told as if the second had been asked and answered before the first.
    let count = model.records.len();
    let mut times = Vec::new();
    for record in &mut model.records[count - 2..] {
        let Record::Call(call) = record else { panic!("a call") };
        times.push((call.begin_us, call.end_us));
        (call.begin_us, call.end_us) = times[0];
    }
    let Record::Call(first) = &mut model.records[count - 2] else { panic!("a call") };
    (first.begin_us, first.end_us) = times[1];
    assert_eq!(found(&model.verdict()), [1]);

    let mut model = Model::new();
    let revision = model.change("a", catalogue::epoch(3));
    let read = |seen: u64| json!({ "kind": "flag", "name": "epoch", "revision": seen });
    model.call(3, Kind::Read, json!("path"), Model::ok(revision, read(revision)));
    model.call(3, Kind::Read, json!("path"), Model::ok(revision, read(revision - 1)));
    let verdict = model.verdict();
    assert_eq!((found(&verdict), verdict.counts[&1]), (vec![1], 1));
}

#[test]
fn a_rollback_that_leaves_something_is_caught() {
    let mut model = Model::new();
    let old = model.change("a", catalogue::epoch(1));
    model.change("b", catalogue::epoch(2));
    model.rollback("c", old);
    // It says that it went back further than it did.
    let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
    call.request["to_revision"] = json!(1);
    let found = found(&model.verdict());
    assert!(found.contains(&1), "{found:?}");
}

#[test]
fn a_revision_that_goes_back_is_caught() {
    let mut model = Model::new();
    model.status(1, None);
    let old = model.catalogue.clone();
    model.change("a", vec![catalogue::small(1, "w", 1)]);
    model.status(2, None);
    model.catalogue = old;
    model.status(2, None);
    let verdict = check(&model.records);
    assert_eq!(found(&verdict), [2]);
}

#[test]
fn a_retired_version_is_caught_on_its_node_only() {
    for (node, expected) in [(1, vec![4]), (2, vec![])] {
        let mut model = Model::new();
        let old = model.change("a", catalogue::epoch(1));
        // Acknowledged by node 1: from here on it serves this or newer.
        model.change("b", catalogue::epoch(2));
        model.decision(node, "x", old, (1, 1));
        assert_eq!(found(&model.verdict()), expected);
    }
}

#[test]
fn mixed_revisions_are_caught() {
    let mut model = Model::new();
    model.change("a", catalogue::epoch(1));
    let new = model.change("b", catalogue::epoch(2));
    model.decision(1, "x", new, (1, 2));
    assert_eq!(found(&model.verdict()), [5]);

    let mut model = Model::new();
    let flags = json!({ "flags": [{ "key": "epoch", "variant": "e1" },
        { "key": "epoch-twin", "variant": "e2" }] });
    model.call(1, Kind::Flags, json!({}), Model::ok(1, flags));
    assert_eq!(found(&model.verdict()), [5]);
}

#[test]
fn flags_of_another_revision_than_they_name_are_caught() {
    for (named, expected) in [(2, vec![]), (1, vec![5])] {
        let mut model = Model::new();
        model.change("a", catalogue::epoch(1));
        let flags = json!({ "flags": [{ "key": "epoch", "variant": "e1" },
            { "key": "epoch-twin", "variant": "e1" }] });
        model.call(3, Kind::Flags, json!({}), Model::ok(named, flags));
        assert_eq!(found(&model.verdict()), expected);
    }
}

#[test]
fn an_older_revision_than_was_asked_for_is_caught() {
    let mut model = Model::new();
    let old = model.change("a", catalogue::epoch(1));
    model.decision(2, "x", old, (1, 1));
    let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
    call.min_revision = Some(old + 1);
    assert_eq!(found(&model.verdict()), [4]);
}

#[test]
fn an_answer_of_another_revision_than_it_names_is_caught() {
    let mut model = Model::new();
    model.change("a", catalogue::epoch(1));
    let new = model.change("b", catalogue::epoch(2));
    model.decision(1, "x", new, (1, 1));
    assert_eq!(found(&model.verdict()), [3]);
}

#[test]
fn a_request_that_is_decided_twice_is_caught() {
    let mut model = Model::new();
    model.decision(1, "x", 1, (0, 0));
    model.decision(1, "x", 1, (0, 0));
    let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
    let Reply::Ok { body, .. } = &mut call.reply else { panic!("a success") };
    body["decision_id"] = json!("another");
    assert_eq!(found(&model.verdict()), [3]);
}

#[test]
fn stale_marks_are_due_and_nobody_refuses() {
    let isolated = |answer: fn(&mut Model)| {
        let mut model = Model::new();
        let (name, at_us) = ("isolate-leader".to_owned(), model.tick());
        model.records.push(Record::Fault { name: name.clone(), isolated: vec![1], at_us });
        model.clock_us += 10_000_000;
        answer(&mut model);
        let at_us = model.tick();
        model.records.push(Record::Healed { name, at_us });
        found(&model.verdict())
    };
    assert_eq!(isolated(|model| model.decision(1, "x", 1, (0, 0))), [7]);
    assert_eq!(isolated(|model| model.decision(2, "x", 1, (0, 0))), Vec::<u8>::new());
    let marked = isolated(|model| {
        model.decision(1, "x", 1, (0, 0));
        let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
        let Reply::Ok { body, .. } = &mut call.reply else { panic!("a success") };
        body["stale"] = json!(true);
    });
    assert_eq!(marked, Vec::<u8>::new());
    let flags = |stale: bool| {
        let mut model = Model::new();
        let (name, at_us) = ("isolate-leader".to_owned(), model.tick());
        model.records.push(Record::Fault { name: name.clone(), isolated: vec![1], at_us });
        model.clock_us += 10_000_000;
        model.call(
            1,
            Kind::Flags,
            json!({}),
            Model::ok(
                1,
                json!({ "flags": [
            { "key": "epoch", "variant": "e0" }, { "key": "epoch-twin", "variant": "e0" }] }),
            ),
        );
        let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
        call.stale = stale;
        let at_us = model.tick();
        model.records.push(Record::Healed { name, at_us });
        found(&model.verdict())
    };
    assert_eq!((flags(true), flags(false)), (vec![], vec![7]));
    let asked_again = isolated(|model| {
        model.decision(1, "early", 1, (0, 0));
        let Some(Record::Call(call)) = model.records.last_mut() else { panic!("a call") };
        (call.begin_us, call.end_us) = (1, 2);
        model.decision(1, "early", 1, (0, 0));
    });
    assert_eq!(asked_again, Vec::<u8>::new());
    let refused = isolated(|model| {
        let (status, code) = (503, "VD0606".to_owned());
        let reply = Reply::Refused { status, code, revision: None, unknown: false };
        model.call(1, Kind::Decision, json!({ "request_id": "x" }), reply);
    });
    assert_eq!(refused, [7]);
}

#[test]
fn watchers_that_miss_repeat_or_stop_are_caught() {
    for (seen, expected) in [
        (vec![1, 2, 3], vec![]),
        (vec![1, 3], vec![8]),
        (vec![1, 2, 2, 3], vec![8]),
        (vec![2, 1, 3], vec![8]),
        (vec![1, 2], vec![8]),
    ] {
        let mut model = Model::new();
        model.change("a", vec![catalogue::small(1, "w", 1)]);
        model.change("b", vec![catalogue::small(2, "w", 1)]);
        model.watch("one", &seen);
        assert_eq!(found(&model.verdict()), expected, "{seen:?}");
    }
    let mut model = Model::new();
    model.watch("one", &[1]);
    let Some(Record::Watched { data, .. }) = model.records.last_mut() else { panic!("an event") };
    data["changes"][0]["name"] = json!("other");
    assert_eq!(found(&model.verdict()), [8]);
}

#[test]
fn states_that_differ_are_caught() {
    let mut model = Model::new();
    model.status(1, None);
    model.status(2, Some("00".to_owned()));
    assert_eq!(found(&model.verdict()), [11]);

    // Equal on every node, and not what the state machine makes.
    let mut model = Model::new();
    model.status(1, Some("00".to_owned()));
    model.status(2, Some("00".to_owned()));
    assert_eq!(found(&model.verdict()), [11]);

    let mut model = Model::new();
    model.change("a", vec![catalogue::small(1, "w", 1)]);
    let mut other = model.entries.clone();
    other[0]["author"] = json!("somebody");
    model.records.push(Record::Catalogue { node: 3, entries: model.entries.clone() });
    model.records.push(Record::Catalogue { node: 4, entries: other });
    assert_eq!(found(&model.verdict()), [11]);
}

#[test]
fn another_content_under_a_hash_is_caught() {
    let mut model = Model::new();
    model.records.push(Record::Stored { node: 1, bodies: 3, damaged: Vec::new() });
    assert!(found(&model.verdict()).is_empty());

    let mut model = Model::new();
    model.records.push(Record::Stored { node: 2, bodies: 3, damaged: vec!["ab".to_owned()] });
    assert_eq!(found(&model.verdict()), [6]);
}

#[test]
fn no_convergence_and_no_restore_are_caught() {
    let mut model = Model::new();
    let (name, failure) = ("delay".to_owned(), Some("node 2 is stale".to_owned()));
    model.records.push(Record::Converged { name, took_ms: 60_000, failure });
    assert_eq!(found(&model.verdict()), [12]);

    let mut model = Model::new();
    let failure = Some("refused".to_owned());
    model.records.push(Record::Restored { least: 1, entries: Vec::new(), failure });
    assert_eq!(found(&model.verdict()), [12]);

    let mut model = Model::new();
    model.change("a", vec![catalogue::small(1, "w", 1)]);
    let entries = model.entries[..model.entries.len() - 1].to_vec();
    model.records.push(Record::Restored { least: 2, entries, failure: None });
    assert_eq!(found(&model.verdict()), [1]);
}
