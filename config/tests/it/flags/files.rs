//! Files, content hashes and metadata.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::{parse_file, split_file};

use super::{compile_with, context, told};

fn flag(value: Json) -> Json {
    json!({"state": "ENABLED", "variants": {"v": value}, "defaultVariant": "v"})
}

#[test]
fn text_is_read_strictly() {
    let cases = [
        ("", vec!["VD0102 "]),
        ("{", vec!["VD0102 "]),
        ("[]", vec!["VD0301 "]),
        ("{}", vec!["VD0105 flags"]),
        (r#"{"flags": 1}"#, vec!["VD0301 flags"]),
        (r#"{"flags": {}} x"#, vec!["VD0102 "]),
        (r#"{"flags": {"a": {"state": "ENABLED", "state": "DISABLED"}}}"#, vec!["VD0102 "]),
        (r#"{"flags": {"a": {}, "a": {}}}"#, vec!["VD0102 "]),
        (r#"{"flags": [{"state": "ENABLED"}]}"#, vec!["VD0105 flags[0].key"]),
        (r#"{"flags": [{"key": "a"}, {"key": "a"}]}"#, vec!["VD0106 flags[1].key"]),
        (r#"{"flags": {}, "metadata": {"a": null}}"#, vec!["VD0301 metadata.a"]),
        (r#"{"flags": {}, "metadata": {"version": 1}}"#, vec!["VD0301 metadata.version"]),
        (r#"{"flags": {}, "$evaluators": 1}"#, vec!["VD0301 $evaluators"]),
        (r#"{"flags": {}, "$evaluators": {"e": {"nope": 1}}}"#, vec!["VD0301 $evaluators.e.nope"]),
        (
            r#"{"flags": {}, "$evaluators": {"e": {"!": [{"$ref": "f"}]}}}"#,
            vec!["VD0301 $evaluators.e.![0].$ref"],
        ),
        (r#"{"flags": {}, "$evaluators": {"e": {}}, "x": 1}"#, vec![]),
    ];
    for (text, expected) in cases {
        let faults = parse_file(text.as_bytes()).err().unwrap_or_default();
        assert_eq!(told(&faults), expected, "{text}");
    }
    let list =
        br#"{"flags": [{"key": "a.b", "state": "ENABLED", "variants": {"on": 1}}, {"key": "a"}]}"#;
    let faults = parse_file(list).unwrap_err();
    assert_eq!(told(&faults), ["VD0105 flags[1].state", "VD0105 flags[1].variants"]);
    let fault = &parse_file(b"{\n  \"flags\": nope\n}").unwrap_err()[0];
    assert_eq!((fault.line, fault.column), (Some(2), Some(13)));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(told(&parse_file(deep.as_bytes()).unwrap_err()), ["VD0102 "]);
    assert_eq!(told(&parse_file(b"{\"flags\": \"\xff\"}").unwrap_err()), ["VD0102 "]);
}

#[test]
fn metadata_of_the_file_lies_under_the_flags() {
    let mut mine = flag(json!(1));
    mine["metadata"] = json!({"team": "pay", "own": 1.5});
    let files = BTreeMap::from([
        (
            "a".to_owned(),
            json!({"form": "object", "document": {
            "flags": ["mine"], "metadata": {"team": "all", "flagSetId": "a", "version": "1"}}}),
        ),
        (
            "b".to_owned(),
            json!({"form": "object", "document": {
            "flags": [], "metadata": {"flagSetId": "b", "version": "1"}}}),
        ),
    ]);
    let flags = json!({"mine": mine, "other": flag(json!(1))});
    let set = compile_with(&flags, &Json::Null, &files).unwrap();
    let metadata = |key| set.evaluate(key, &context(json!({})), TimestampMs(0)).metadata.cloned();
    assert_eq!(
        metadata("mine").map(Json::Object),
        Some(json!({"team": "pay", "flagSetId": "a", "version": "1", "own": 1.5}))
    );
    assert_eq!(metadata("other"), None);
    // Of the set as a whole it is what the files agree on.
    assert_eq!(Json::Object(set.metadata().clone()), json!({"team": "all", "version": "1"}));
}

#[test]
fn the_content_hash_is_of_the_content() {
    let hash = |flags: &Json, segments: &Json| {
        compile_with(flags, segments, &BTreeMap::new()).unwrap().content_hash().to_owned()
    };
    let text = r#"{"f": {"variants": {"v": 1}, "state": "ENABLED"}}"#;
    let moved = r#"{ "f": {"state":"ENABLED","variants":{"v":1}} }"#;
    let (one, other): (Json, Json) =
        (serde_json::from_str(text).unwrap(), serde_json::from_str(moved).unwrap());
    assert_eq!(hash(&one, &Json::Null), hash(&other, &Json::Null));
    let float = json!({"f": {"variants": {"v": 1.0}, "state": "ENABLED"}});
    assert_ne!(hash(&one, &Json::Null), hash(&float, &Json::Null));
    assert_ne!(hash(&one, &Json::Null), hash(&one, &json!({"s": {"var": "x"}})));
    // Pinned: other versions of this program must give the same.
    assert_eq!(
        hash(&one, &Json::Null),
        "37edf5f35b6c7bee2b7980aad5b1539589e17b79dafef89890ff757585395955"
    );
}

#[test]
fn the_list_form_needs_a_schema_that_has_it() {
    let list = |schema: &str| split_file(json!({"$schema": schema, "flags": []})).is_ok();
    assert!(list("https://flagd.dev/schema/v0/flagd.json"));
    assert!(list(""));
    assert!(!list("https://flagd.dev/schema/v0/flags.json"));
}

#[test]
fn expired_flags_are_named_and_go_on() {
    let mut old = flag(json!(true));
    old["expires"] = json!("2026-01-01");
    let set =
        compile_with(&json!({"old": old, "new": flag(json!(true))}), &Json::Null, &BTreeMap::new())
            .unwrap();
    let at = TimestampMs::parse("2026-01-01").unwrap();
    assert_eq!(set.expired(at).collect::<Vec<_>>(), ["old"]);
    assert_eq!(set.expired(TimestampMs(at.0 - 1)).count(), 0);
    assert_eq!(set.resolve_bool("old", &context(json!({})), at), Some(true));
}
