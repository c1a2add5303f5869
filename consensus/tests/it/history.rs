//! History, older revisions, rollback, and what retention leaves of them.

use serde_json::json;
use verdict_config::{Code, ObjectKind, TimestampMs};
use verdict_consensus::{
    Catalogue, Change, ChangeSet, DefinitionValidator, HistoryQuery, Limits, Op, apply,
    plan_rollback,
};

use super::support::{DAY_MS, after, body, command, flow, id, put, rule_set, setting};

fn five_revisions() -> Catalogue {
    let mut catalogue = Catalogue::default();
    for revision in 1..=5i64 {
        let mut changes = vec![setting("a", revision)];
        if revision == 2 {
            changes.push(setting("b", 2));
        }
        if revision == 4 {
            changes.push(Change::delete(ObjectKind::Setting, "b"));
        }
        catalogue = after(&catalogue, &format!("r{revision}"), changes);
    }
    catalogue
}

#[test]
fn older_revisions_can_be_read() {
    let catalogue = five_revisions();
    let value = |number: i64| Some(json!({ "value": number }));
    for revision in 0..=5u64 {
        let older = catalogue.at_revision(revision).unwrap();
        let expected = i64::try_from(revision).ok().filter(|r| *r > 0).and_then(value);
        assert_eq!(body(&older, ObjectKind::Setting, "a"), expected, "revision {revision}");
        let b = if (2..4).contains(&revision) { value(2) } else { None };
        assert_eq!(body(&older, ObjectKind::Setting, "b"), b, "revision {revision}");
        for name in ["a", "b"] {
            let id = id(ObjectKind::Setting, name);
            let one = catalogue.object_at(&id, revision).unwrap();
            assert_eq!(one.as_deref(), older.get(&id).map(|object| &**object));
        }
    }
    assert_eq!(catalogue.at_revision(6).unwrap_err().code(), Code::RevisionNotRetained);
}

#[test]
fn history_is_read_in_pages_newest_first() {
    let catalogue = five_revisions();
    let all = |query: HistoryQuery| {
        let (mut found, mut query) = (Vec::new(), HistoryQuery { limit: 2, ..query });
        loop {
            let page = catalogue.history(&query).unwrap();
            assert!(page.entries.len() <= 2);
            found.extend(page.entries.iter().map(|entry| {
                (entry.head.revision, entry.object.name.as_str().to_owned(), entry.op)
            }));
            query.cursor = page.next;
            if query.cursor.is_none() {
                return found;
            }
        }
    };
    let a = |revision| (revision, "a".to_owned(), Op::Put);
    let (put_b, delete_b) = ((2, "b".to_owned(), Op::Put), (4, "b".to_owned(), Op::Delete));
    let everything = vec![a(5), delete_b.clone(), a(4), a(3), put_b.clone(), a(2), a(1)];
    assert_eq!(all(HistoryQuery::default()), everything);
    let kind = Some(ObjectKind::Setting);
    assert_eq!(all(HistoryQuery { kind, ..HistoryQuery::default() }), everything);
    let name = Some("b".to_owned());
    let by_name = HistoryQuery { name: name.clone(), ..HistoryQuery::default() };
    assert_eq!(all(by_name), [delete_b.clone(), put_b.clone()]);
    assert_eq!(all(HistoryQuery { kind, name, ..HistoryQuery::default() }), [delete_b, put_b]);
    let other = HistoryQuery { kind: Some(ObjectKind::Flag), ..HistoryQuery::default() };
    assert_eq!(all(other), []);
    for cursor in
        ["x", "", "3", "3.", ".1", "+3.0", "03.0", "3.0 ", "3.-1", "99999999999999999999.0"]
    {
        let query = HistoryQuery { cursor: Some(cursor.into()), ..Default::default() };
        assert_eq!(
            catalogue.history(&query).unwrap_err().code(),
            Code::RequestInvalid,
            "{cursor:?}"
        );
    }
    // An entry tells who, when, why, and what it was before and after.
    let entry =
        &catalogue.history(&HistoryQuery { limit: 1, ..Default::default() }).unwrap().entries[0];
    assert_eq!((entry.head.author.name.as_str(), entry.head.why.as_str()), ("ann", "test"));
    assert_eq!(entry.head.log_index, 5);
    let of = |version: &Option<verdict_consensus::Version>| version.as_ref().unwrap().revision;
    assert_eq!((of(&entry.before), of(&entry.after)), (4, 5));
}

#[test]
fn watchers_catch_up_with_every_revision_once() {
    let catalogue = five_revisions();
    let revisions = |from, limit| {
        let summaries = catalogue.changes_since(from, limit).unwrap();
        summaries.iter().map(|summary| summary.revision).collect::<Vec<_>>()
    };
    assert_eq!(revisions(0, 100), [1, 2, 3, 4, 5]);
    assert_eq!(revisions(3, 1), [4]);
    assert!(revisions(5, 100).is_empty());
    let summary = &catalogue.changes_since(3, 1).unwrap()[0];
    let expected = json!({ "revision": 4, "at": "1970-01-01T00:00:01Z", "author": "ann",
        "why": "test", "changes": [
            { "kind": "setting", "name": "a", "op": "put" },
            { "kind": "setting", "name": "b", "op": "delete" },
        ] });
    assert_eq!(serde_json::to_value(summary).unwrap(), expected);
}

#[test]
fn rollback_is_a_forward_change_that_names_what_it_restores() {
    let catalogue = five_revisions();
    let set = plan_rollback(&catalogue, "back", "why", 3, &[]).unwrap();
    assert_eq!(set.restores.as_ref().map(|restores| restores.to_revision), Some(3));
    let back = apply(&catalogue, &command(set.clone(), 2_000), 6, &DefinitionValidator).unwrap();
    let (back, applied) = (back.catalogue, back.applied);
    assert_eq!((back.revision(), applied.applied.len()), (6, 2));
    let objects = |catalogue: &Catalogue| {
        catalogue.objects().map(|o| (o.id.clone(), o.hash)).collect::<Vec<_>>()
    };
    assert_eq!(objects(&back), objects(&catalogue.at_revision(3).unwrap()));
    let entry = &back.history(&HistoryQuery { limit: 1, ..Default::default() }).unwrap().entries[0];
    assert_eq!(entry.head.restores.as_ref().map(|restores| restores.to_revision), Some(3));
    // A retry, planned against what the first one made, is the same rollback.
    let again = plan_rollback(&back, "back", "why", 3, &[]).unwrap();
    let again = apply(&back, &command(again, 3_000), 7, &DefinitionValidator).unwrap();
    assert!(again.applied.repeated);
    assert_eq!(again.applied.applied, applied.applied);
    // Of two that race, one takes effect.
    let mut second = set;
    second.request_id = "other".to_owned();
    let refused = apply(&back, &command(second, 3_000), 7, &DefinitionValidator).unwrap_err();
    assert_eq!(refused.code(), Code::ChangeConflict);
}

#[test]
fn rollback_of_named_objects_only() {
    let catalogue = five_revisions();
    let b = id(ObjectKind::Setting, "b");
    let plan = |to, objects: &[_]| plan_rollback(&catalogue, "back", "why", to, objects);
    let set = plan(3, std::slice::from_ref(&b)).unwrap();
    let names: Vec<_> = set.changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!((names, set.changes[0].expected_revision), (vec!["b"], Some(0)));
    assert_eq!(plan(5, &[]).unwrap_err().code(), Code::ChangeInvalid);
    assert_eq!(plan(1, std::slice::from_ref(&b)).unwrap_err().code(), Code::ChangeInvalid);
    assert_eq!(plan(9, &[]).unwrap_err().code(), Code::RevisionNotRetained);
}

/// A token that was used, or taken back, stays so: brought back it would let another node in.
#[test]
fn rollback_never_makes_a_token_good_again() {
    let token = |used: bool| put(ObjectKind::Member, "join-t", &json!({ "used": used }));
    let made = after(&Catalogue::default(), "made", vec![setting("a", 1), token(false)]);
    let used = after(&made, "used", vec![setting("a", 2), token(true)]);
    let set = plan_rollback(&used, "back", "why", 1, &[]).unwrap();
    let names: Vec<_> = set.changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(names, ["a"]);
    let named = [id(ObjectKind::Member, "join-t")];
    let refused = plan_rollback(&used, "back", "why", 1, &named).unwrap_err();
    assert_eq!(refused.code(), Code::ChangeInvalid);
}

#[test]
fn a_rollback_that_would_break_a_reference_is_refused() {
    let fields = json!({ "x": { "type": "int" } });
    let one = after(&Catalogue::default(), "r1", vec![flow("f", &fields, &[])]);
    let two = after(&one, "r2", vec![rule_set("s", "f", "x > 1")]);
    let flow_only = [id(ObjectKind::Flow, "f")];
    let set = plan_rollback(&two, "back", "why", 0, &flow_only).unwrap();
    let refused = apply(&two, &command(set, 2_000), 3, &DefinitionValidator).unwrap_err();
    assert_eq!(refused.code(), Code::ChangeInvalid);
    let set = plan_rollback(&two, "back", "why", 0, &[]).unwrap();
    let all = apply(&two, &command(set, 2_000), 3, &DefinitionValidator).unwrap();
    assert!(all.catalogue.is_empty());
}

#[test]
fn retention_drops_bodies_first_then_entries() {
    let limits = Limits {
        history_entries_max: 6,
        history_bytes_max: 40,
        history_age_ms_max: 10 * DAY_MS,
        ..Limits::default()
    };
    let mut catalogue = Catalogue::new(limits);
    let mut step = |number: i64, at: i64| {
        let set = ChangeSet::new(format!("r{number}"), "test", vec![setting("a", 1_000 + number)]);
        catalogue =
            apply(&catalogue, &command(set, at), 1, &DefinitionValidator).unwrap().catalogue;
        catalogue.clone()
    };
    // {"value":1001} has 14 bytes: two superseded bodies fit.
    let mut now = Catalogue::default();
    for number in 1..=8 {
        now = step(number, 1_000);
    }
    assert_eq!((now.history_len(), now.restorable_from()), (6, 6));
    let read = |catalogue: &Catalogue, revision: u64| {
        catalogue.at_revision(revision).map(|older| body(&older, ObjectKind::Setting, "a"))
    };
    assert_eq!(read(&now, 6), Ok(Some(json!({ "value": 1_006 }))));
    assert_eq!(read(&now, 5).unwrap_err().code(), Code::RevisionNotRetained);
    // Entries outlive their bodies, with hashes.
    let page = now.history(&HistoryQuery::default()).unwrap();
    let oldest = page.entries.last().unwrap();
    assert_eq!(oldest.head.revision, 3);
    assert_eq!(
        oldest.before.as_ref().map(|version| (version.revision, version.body.is_none())),
        Some((2, true))
    );
    // Watchers that are further behind than history reaches are told.
    assert_eq!(now.changes_since(1, 10), Err(2));
    // Age.
    now = step(9, 1_001 + 10 * DAY_MS);
    assert_eq!((now.history_len(), now.at()), (1, TimestampMs(1_001 + 10 * DAY_MS)));
    assert_eq!(read(&now, 8), Ok(Some(json!({ "value": 1_008 }))));
    assert_eq!(read(&now, 7).unwrap_err().code(), Code::RevisionNotRetained);
}
