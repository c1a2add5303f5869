//! Change sets: whole or not at all, once, and only when they still fit.

use serde_json::json;
use verdict_config::{Code, ObjectKind, TimestampMs};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeRefused, ChangeSet, DefinitionValidator, Limits, Op,
    Requirement, apply, dry_run, interface_hash,
};

use super::support::{DAY_MS, after, body, command, flow, id, put, run, setting};

#[test]
fn a_change_set_makes_one_revision() {
    let empty = Catalogue::default();
    let transition = run(&empty, "r1", vec![setting("a", 1), setting("b", 2)]).unwrap();
    assert_eq!(transition.applied.revision, 1);
    let json = serde_json::to_value(&transition.applied).unwrap();
    let expected = json!({ "revision": 1, "applied": [
        { "kind": "setting", "name": "a", "op": "put" },
        { "kind": "setting", "name": "b", "op": "put" },
    ] });
    assert_eq!(json, expected);
    let one = transition.catalogue;
    assert_eq!(one.get(&id(ObjectKind::Setting, "a")).unwrap().revision, 1);
    let two = after(&one, "r2", vec![setting("a", 3), Change::delete(ObjectKind::Setting, "b")]);
    assert_eq!((two.revision(), two.len()), (2, 1));
    assert_eq!(body(&two, ObjectKind::Setting, "a"), Some(json!({ "value": 3 })));
    // The catalogues before are as they were.
    assert_eq!((empty.len(), one.len()), (0, 2));
    assert_eq!(body(&one, ObjectKind::Setting, "a"), Some(json!({ "value": 1 })));
}

#[test]
fn expectations_are_compared_object_by_object() {
    let base = after(&Catalogue::default(), "r1", vec![setting("a", 1), setting("b", 1)]);
    let base = after(&base, "r2", vec![setting("b", 2)]);
    let check = |changes: Vec<Change>, expected: &[(&str, u64)]| {
        let found = match run(&base, "r3", changes) {
            Ok(_) => Vec::new(),
            Err(ChangeRefused::Conflict(conflicts)) => conflicts
                .iter()
                .map(|c| (c.object.name.as_str().to_owned(), c.found_revision))
                .collect(),
            Err(other) => panic!("{other:?}"),
        };
        let expected: Vec<_> = expected.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect();
        assert_eq!(found, expected);
    };
    check(vec![setting("a", 9).expecting(1), setting("b", 9).expecting(2)], &[]);
    check(vec![setting("c", 9).expecting(0)], &[]);
    check(vec![setting("a", 9).expecting(1), setting("b", 9).expecting(1)], &[("b", 2)]);
    check(vec![setting("a", 9).expecting(0), setting("c", 9).expecting(4)], &[("a", 1), ("c", 0)]);
    check(vec![Change::delete(ObjectKind::Setting, "b").expecting(1)], &[("b", 2)]);
}

#[test]
fn a_retry_is_answered_once_and_refused_when_it_is_old() {
    let base = Catalogue::default();
    let first = run(&base, "r1", vec![setting("a", 1)]).unwrap();
    assert!(!first.applied.repeated);
    let later = after(&first.catalogue, "r2", vec![setting("a", 2)]);
    // The same change set again, even with an expectation that no longer holds.
    let again = run(&later, "r1", vec![setting("a", 1)]).unwrap();
    assert!(again.applied.repeated);
    assert_eq!((again.applied.revision, &again.applied.applied), (1, &first.applied.applied));
    assert_eq!(again.catalogue, later);
    // Another one under its id.
    let other = run(&later, "r1", vec![setting("a", 5)]).unwrap_err();
    assert_eq!(other.code(), Code::RequestIdConflict);
    let retry = |at| {
        let set = ChangeSet::new("r1", "test", vec![setting("a", 1)]);
        apply(&later, &command(set, at), 9, &DefinitionValidator).map(|t| t.applied.repeated)
    };
    assert_eq!(retry(1_000 + DAY_MS), Ok(true));
    assert_eq!(retry(1_001 + DAY_MS).unwrap_err().code(), Code::ChangeTooOld);
}

#[test]
fn time_never_goes_back() {
    let set = |name: &str| ChangeSet::new(name, "test", vec![setting("a", 1)]);
    let base = Catalogue::default();
    let first = apply(&base, &command(set("r1"), 5_000), 1, &DefinitionValidator).unwrap();
    let second =
        apply(&first.catalogue, &command(set("r2"), 3_000), 2, &DefinitionValidator).unwrap();
    assert_eq!(second.catalogue.at(), TimestampMs(5_000));
}

#[test]
fn request_ids_are_bounded_but_none_is_forgotten_within_its_age() {
    let limits = Limits { requests_kept: 3, requests_max: 5, ..Limits::default() };
    let mut catalogue = Catalogue::new(limits);
    let mut step = |name: &str, at: i64| {
        let set = ChangeSet::new(name, "test", vec![setting("a", 1)]);
        let transition = apply(&catalogue, &command(set, at), 1, &DefinitionValidator);
        transition.map(|transition| catalogue = transition.catalogue).map_err(|e| e.code())
    };
    for name in ["r1", "r2", "r3", "r4", "r5"] {
        assert_eq!(step(name, 1_000), Ok(()));
    }
    assert_eq!(step("r6", 1_000), Err(Code::ChangeInvalid));
    assert_eq!(step("r6", 1_001 + DAY_MS), Ok(()));
    // Of the old ones, as many as are kept are refused as expired.
    assert_eq!(step("r5", 1_001 + DAY_MS), Err(Code::ChangeTooOld));
    assert_eq!(step("r1", 1_001 + DAY_MS), Ok(()));
}

#[test]
fn every_fault_of_form_is_named() {
    let changes = vec![
        put(ObjectKind::Setting, "Bad Name", &json!(1)),
        Change::put(ObjectKind::Setting, "a", "{"),
        Change { body: None, ..setting("b", 1) },
        Change { op: Op::Delete, ..setting("c", 1) },
        setting("d", 1),
        setting("d", 2),
    ];
    let faults = ChangeSet::new("", "w", changes).normalised().unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.path.as_str(), fault.code)).collect();
    let expected = [
        ("request_id", Code::InvalidValue),
        ("changes[5]", Code::DuplicateName),
        ("changes[0].name", Code::InvalidName),
        ("changes[1].body", Code::InvalidSyntax),
        ("changes[2].body", Code::MissingKey),
        ("changes[3].body", Code::InvalidValue),
    ];
    assert_eq!(found, expected);
}

#[test]
fn sizes_are_limited() {
    let check = |changes: Vec<Change>, expected: Option<Code>| {
        let result = ChangeSet::new("r", "w", changes).normalised();
        assert_eq!(result.err().map(|faults| faults[0].code), expected);
    };
    let many = |count: usize| (0..count).map(|n| setting(&format!("s{n}"), 1)).collect();
    check(Vec::new(), Some(Code::MissingKey));
    check(many(1_000), None);
    check(many(1_001), Some(Code::LimitExceeded));
    let large = |bytes: usize| {
        vec![Change::put(ObjectKind::Setting, "a", format!("\"{}\"", "x".repeat(bytes)))]
    };
    check(large((8 << 20) - 2), None);
    check(large(8 << 20), Some(Code::LimitExceeded));
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    check(vec![Change::put(ObjectKind::Setting, "a", deep)], Some(Code::LimitExceeded));
}

#[test]
fn bodies_must_be_what_their_kind_says() {
    let check = |change: Change, expected: Option<(&str, Code)>| {
        let found = match run(&Catalogue::default(), "r", vec![change]) {
            Ok(_) => None,
            Err(ChangeRefused::Invalid(faults)) => Some((faults[0].path.clone(), faults[0].code)),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code)));
    };
    let kind = put;
    check(kind(ObjectKind::List, "l", &json!({ "entries": [{ "value": "a" }] })), None);
    check(
        kind(ObjectKind::List, "l", &json!({ "entries": [{ "valeu": "a" }] })),
        Some(("changes[0].body", Code::UnknownKey)),
    );
    check(
        kind(ObjectKind::Table, "t", &json!({ "columns": ["a", "a"], "rows": [] })),
        Some(("changes[0].body.columns[1]", Code::DuplicateName)),
    );
    check(
        kind(ObjectKind::Table, "t", &json!({ "columns": ["a"], "rows": [["1", "2"]] })),
        Some(("changes[0].body.rows[0]", Code::TableInvalid)),
    );
    check(
        kind(ObjectKind::Flow, "f", &json!({ "flow": "g", "fields": {} })),
        Some(("changes[0].body.flow", Code::InvalidValue)),
    );
    check(
        kind(ObjectKind::Alias, "a", &json!({ "modle": "m" })),
        Some(("changes[0].body", Code::UnknownKey)),
    );
    check(
        kind(ObjectKind::Flag, "f", &json!({ "state": "ENABLED" })),
        Some(("changes[0].body.variants", Code::MissingKey)),
    );
    check(kind(ObjectKind::Setting, "s", &json!([1, "anything"])), None);
}

#[test]
fn requirements_hold_back_what_was_compiled_against_something_else() {
    let fields = json!({ "amount": { "type": "decimal" } });
    let base = after(&Catalogue::default(), "r1", vec![flow("f", &fields, &[])]);
    let object = id(ObjectKind::Flow, "f");
    let interface = Some(interface_hash(base.get(&object).unwrap()));
    let propose = |catalogue: &Catalogue| {
        let set = ChangeSet {
            requires: vec![Requirement { object: object.clone(), interface }],
            ..ChangeSet::new("r9", "test", vec![setting("a", 1)])
        };
        apply(catalogue, &command(set, 1_000), 9, &DefinitionValidator).map(|t| t.applied.revision)
    };
    assert_eq!(propose(&base), Ok(2));
    // What is no part of the interface may change.
    let body = json!({ "flow": "f", "fields": fields, "description": "new" });
    let same = after(&base, "r2", vec![put(ObjectKind::Flow, "f", &body)]);
    assert_eq!(propose(&same), Ok(3));
    let fields = json!({ "amount": { "type": "float" } });
    let other = after(&base, "r2", vec![flow("f", &fields, &[])]);
    assert_eq!(propose(&other).unwrap_err().code(), Code::ChangeConflict);
    let gone = after(&base, "r2", vec![Change::delete(ObjectKind::Flow, "f")]);
    assert_eq!(propose(&gone).unwrap_err().code(), Code::ChangeConflict);
}

#[test]
fn a_dry_run_tells_the_difference_and_changes_nothing() {
    let base = after(&Catalogue::default(), "r1", vec![setting("a", 1), setting("b", 1)]);
    let dry = |id: &str, changes| {
        let set = ChangeSet::new(id, "test", changes);
        dry_run(&base, set, Author::named("ann"), TimestampMs(1_000), &DefinitionValidator)
    };
    let changes = vec![setting("a", 1), setting("c", 1), Change::delete(ObjectKind::Setting, "b")];
    let run = dry("r2", changes).unwrap();
    let found: Vec<_> = run
        .differences
        .iter()
        .map(|d| (d.object.name.as_str(), d.before.is_some(), d.after.is_some(), d.unchanged))
        .collect();
    let expected = [("a", true, true, true), ("c", false, true, false), ("b", true, false, false)];
    assert_eq!((run.revision, found.as_slice()), (2, &expected[..]));
    assert_eq!(dry("r1", vec![setting("a", 1), setting("b", 1)]).unwrap().repeated, Some(1));
    let refused = dry("r2", vec![Change::delete(ObjectKind::Setting, "z")]).unwrap_err();
    assert_eq!(refused.code(), Code::ChangeInvalid);
    assert_eq!(base.revision(), 1);
}
