//! References: nothing may name what is not there, and nothing that is named may go.

use serde_json::{Value as Json, json};
use verdict_config::{Code, ObjectKind};
use verdict_consensus::{Catalogue, Change, ChangeRefused};

use super::support::{after, flow, id, put, rule_set, run};

fn base() -> Catalogue {
    let fields = json!({ "description": { "type": "string" }, "mcc": { "type": "symbol" } });
    let when = r#"keywords("words", description) && lookup("codes", "risk", mcc) == "high""#;
    let changes = vec![
        // In any order: what is named may come in the same change set.
        flow("onboarding", &fields, &["risk"]),
        rule_set("risk", "onboarding", when),
        put(ObjectKind::List, "words", &json!({ "entries": [{ "value": "casino" }] })),
        put(ObjectKind::Table, "codes", &json!({ "columns": ["mcc", "risk"], "rows": [] })),
    ];
    after(&Catalogue::default(), "base", changes)
}

fn faults(catalogue: &Catalogue, changes: Vec<Change>) -> Vec<(String, Code)> {
    match run(catalogue, "r", changes) {
        Ok(_) => Vec::new(),
        Err(ChangeRefused::Invalid(faults)) => {
            faults.into_iter().map(|fault| (fault.path, fault.code)).collect()
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn check(changes: Vec<Change>, paths: &[&str]) {
    let found = faults(&base(), changes);
    assert!(found.iter().all(|(_, code)| *code == Code::UnknownReference), "{found:?}");
    assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), paths);
}

#[test]
fn what_is_named_must_be_there() {
    let fields = json!({ "x": { "type": "int" } });
    check(vec![flow("f", &fields, &["none"])], &["changes[0].body.rules[0]"]);
    check(vec![rule_set("s", "none", "true")], &["changes[0].body.flow"]);
    let when = r#"keywords("none", description)"#;
    check(vec![rule_set("s", "onboarding", when)], &["changes[0].body.rules[0].when"]);
    let when = r#"lookup("codes", "none", mcc) == "x""#;
    check(vec![rule_set("s", "onboarding", when)], &["changes[0].body.rules[0].when"]);
    let alias = put(ObjectKind::Alias, "champion", &json!({ "model": "none" }));
    check(vec![alias], &["changes[0].body.model"]);
    let with = |key: &str, value: Json| {
        let mut body = json!({ "flow": "f", "fields": {} });
        body[key] = value;
        put(ObjectKind::Flow, "f", &body)
    };
    let classify = json!({ "scheme": "s", "model": "no-1", "codes":
        { "table": "codes", "key": "mcc", "columns": { "a": "risk", "b": "none" } } });
    check(
        vec![with("classify", classify)],
        &["changes[0].body.classify.codes.table", "changes[0].body.classify.model"],
    );
    let models = json!({ "m": { "model": { "flag": "none" } } });
    check(vec![with("models", models)], &["changes[0].body.models.m.model.flag"]);
    check(vec![with("models", json!({ "m": { "model": "none" } }))], &[]);
    let ensemble = json!({ "m": { "model": { "shadow": ["no-1"], "ensemble":
        { "method": "voting", "members": [{ "model": "no-2" }] } } } });
    check(
        vec![with("models", ensemble)],
        &[
            "changes[0].body.models.m.model.shadow[0]",
            "changes[0].body.models.m.model.ensemble.members[0].model",
        ],
    );
}

#[test]
fn what_is_named_may_not_go() {
    let delete = Change::delete;
    check(vec![delete(ObjectKind::List, "words")], &["changes[0]"]);
    check(vec![delete(ObjectKind::Table, "codes")], &["changes[0]"]);
    check(vec![delete(ObjectKind::RuleSet, "risk")], &["changes[0]"]);
    check(vec![delete(ObjectKind::Flow, "onboarding")], &["changes[0]"]);
    // Together they may.
    let together = vec![
        delete(ObjectKind::Flow, "onboarding"),
        delete(ObjectKind::RuleSet, "risk"),
        delete(ObjectKind::List, "words"),
        delete(ObjectKind::Table, "codes"),
    ];
    check(together, &[]);
}

#[test]
fn fields_and_columns_that_are_relied_upon_may_not_go() {
    let fields = json!({ "description": { "type": "string" } });
    check(vec![flow("onboarding", &fields, &["risk"])], &["changes[0]"]);
    let columns = json!({ "columns": ["mcc", "level"], "rows": [] });
    check(vec![put(ObjectKind::Table, "codes", &columns)], &["changes[0]"]);
    // More of them are welcome, and so is a rule set that no longer needs one.
    let fields = json!({ "description": { "type": "string" }, "mcc": { "type": "string" },
        "more": { "type": "int" } });
    check(vec![flow("onboarding", &fields, &["risk"])], &[]);
    let fields = json!({ "description": { "type": "string" } });
    let less = rule_set("risk", "onboarding", r#"keywords("words", description)"#);
    check(vec![flow("onboarding", &fields, &["risk"]), less], &[]);
}

#[test]
fn two_valid_edits_never_add_up_to_a_broken_catalogue() {
    // One operator writes a rule over a list, another deletes the list: whoever is second loses.
    let list = put(ObjectKind::List, "more", &json!({ "entries": [] }));
    let base = after(&base(), "list", vec![list]);
    let rule = || rule_set("second", "onboarding", r#"listed("more", mcc)"#);
    let delete = || Change::delete(ObjectKind::List, "more");
    let with_rule = after(&base, "rule", vec![rule()]);
    assert_eq!(faults(&with_rule, vec![delete()]).len(), 1);
    let without_list = after(&base, "delete", vec![delete()]);
    assert_eq!(faults(&without_list, vec![rule()]).len(), 1);
    // An update takes its old references with it.
    let moved = after(&with_rule, "move", vec![rule_set("second", "onboarding", "mcc == 'a'")]);
    assert_eq!(faults(&moved, vec![delete()]), []);
    let referrers: Vec<_> = moved
        .referrers_of(&id(ObjectKind::Flow, "onboarding"))
        .map(|id| id.name.as_str().to_owned())
        .collect();
    assert_eq!(referrers, ["risk", "second"]);
}

#[test]
fn flags_name_segments_and_flags() {
    let flag = |extra: Json| {
        let mut body = json!({ "state": "ENABLED", "variants": { "on": true, "off": false },
            "defaultVariant": "off" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let of = |name: &str, extra| put(ObjectKind::Flag, name, &flag(extra));
    check(
        vec![of("a", json!({ "segments": { "all": ["beta"] } }))],
        &["changes[0].body.segments.all[0]"],
    );
    let prerequisite = json!({ "prerequisites": [{ "flag": "b", "variant": "on" }] });
    check(vec![of("a", prerequisite.clone())], &["changes[0].body.prerequisites[0].flag"]);
    check(vec![of("a", prerequisite), of("b", json!({}))], &[]);
}
