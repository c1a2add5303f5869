//! Snoozes: what must be so when one is put, and what may change under it later.

use serde_json::{Value as Json, json};
use verdict_config::definition::{SNOOZE_SALTS_MAX, SNOOZES_MAX};
use verdict_config::{Code, ObjectKind, TimestampMs};
use verdict_consensus::{
    Catalogue, Change, ChangeRefused, ChangeSet, DefinitionValidator, apply, plan_rollback,
};

use super::support::{after, command, flow, id, put, rule_set, run};

/// The time at which `run` proposes is 1 s after the epoch.
const LATER: TimestampMs = TimestampMs(1_001);

fn body() -> Json {
    json!({ "flow": "f", "rule_set": "s", "rule": "r", "salt": "0a".repeat(16),
        "unit_hash": "0b".repeat(32), "until": LATER, "comment": "case 7" })
}

fn snooze(name: &str, body: &Json) -> Change {
    put(ObjectKind::Setting, name, body)
}

fn base() -> Catalogue {
    let fields = json!({ "amount": { "type": "decimal" } });
    let changes = vec![
        flow("f", &fields, &["s"]),
        rule_set("s", "f", "amount > 1"),
        flow("g", &fields, &[]),
        put(
            ObjectKind::RuleSet,
            "x",
            &json!({ "rule_set": "x", "flow": "f", "rules": [{ "id": "r", "category": "sanctions",
                "when": "amount > 1", "then": { "points": 1 } }] }),
        ),
    ];
    after(&Catalogue::default(), "r1", changes)
}

#[test]
fn what_a_snooze_names_is_there_and_may_be_snoozed() {
    let base = base();
    let check = |changes: &[(&str, Json)], expected: &[(&str, Code)]| {
        let mut changed = body();
        changes.iter().for_each(|(key, value)| changed[*key] = value.clone());
        let found: Vec<(String, Code)> = match run(&base, "r2", vec![snooze("snooze-1", &changed)])
        {
            Ok(_) => Vec::new(),
            Err(ChangeRefused::Invalid(faults)) => {
                faults.into_iter().map(|fault| (fault.path, fault.code)).collect()
            }
            Err(other) => panic!("{other:?}"),
        };
        let path = |key: &str| format!("changes[0].body.{key}");
        let expected: Vec<_> = expected.iter().map(|(key, code)| (path(key), *code)).collect();
        assert_eq!(found, expected);
    };
    check(&[], &[]);
    check(&[("rule_set", json!("nowhere"))], &[("rule_set", Code::UnknownReference)]);
    check(&[("rule", json!("other"))], &[("rule", Code::UnknownReference)]);
    check(&[("flow", json!("g"))], &[("flow", Code::InvalidValue)]);
    check(&[("rule_set", json!("x"))], &[("rule", Code::InvalidValue)]);
    check(&[("until", json!(TimestampMs(1_000)))], &[("until", Code::InvalidValue)]);
    check(&[("salt", json!("short"))], &[("salt", Code::InvalidValue)]);
    // A setting of another name is anybody's.
    run(&base, "r2", vec![snooze("other", &json!({ "flow": 7 }))]).unwrap();
}

#[test]
fn a_snooze_holds_up_no_change_of_its_rules_and_no_rollback_when_its_time_is_over() {
    let with = after(&base(), "r2", vec![snooze("snooze-1", &body())]);
    let without = after(&with, "r3", vec![Change::delete(ObjectKind::Setting, "snooze-1")]);
    // Two seconds after the epoch its time is over, and a rollback brings it back nevertheless.
    let set = plan_rollback(&without, "back", "why", with.revision(), &[]).unwrap();
    let back = apply(&without, &command(set, 2_000), 9, &DefinitionValidator).unwrap().catalogue;
    assert!(back.get(&id(ObjectKind::Setting, "snooze-1")).is_some());
    let put_late = ChangeSet::new("late", "why", vec![snooze("snooze-1", &body())]);
    assert!(apply(&without, &command(put_late, 2_000), 9, &DefinitionValidator).is_err());

    let rules = json!([{ "id": "other", "when": "amount > 1", "then": { "points": 1 } }]);
    let rules = json!({ "rule_set": "s", "flow": "f", "rules": rules });
    after(&with, "r3", vec![put(ObjectKind::RuleSet, "s", &rules)]);
}

#[test]
fn there_are_so_many_and_no_more() {
    let many = |count: usize, salt: &dyn Fn(usize) -> String| -> Vec<Change> {
        let one = |at: usize| {
            let mut changed = body();
            changed["salt"] = json!(salt(at));
            snooze(&format!("snooze-{at}"), &changed)
        };
        (0..count).map(one).collect()
    };
    let code = |changes: Vec<Change>| match run(&base(), "r2", changes) {
        Ok(_) => None,
        Err(ChangeRefused::Invalid(faults)) => Some(faults[0].code),
        Err(other) => panic!("{other:?}"),
    };
    let own = |at: usize| format!("{at:032x}");
    assert_eq!(code(many(SNOOZE_SALTS_MAX, &own)), None);
    assert_eq!(code(many(SNOOZE_SALTS_MAX + 1, &own)), Some(Code::LimitExceeded));

    let shared = |_: usize| "0a".repeat(16);
    let mut catalogue = base();
    for (at, part) in many(SNOOZES_MAX, &shared).chunks(500).enumerate() {
        catalogue = after(&catalogue, &format!("p{at}"), part.to_vec());
    }
    let refused = run(&catalogue, "more", vec![snooze("snooze-more", &body())]).unwrap_err();
    let ChangeRefused::Invalid(faults) = refused else { panic!("{refused:?}") };
    assert_eq!(faults[0].code, Code::LimitExceeded);
    // One that is there already may be changed.
    let mut longer = body();
    longer["until"] = json!(TimestampMs(9_000));
    run(&catalogue, "same", vec![snooze("snooze-7", &longer)]).unwrap();
}
