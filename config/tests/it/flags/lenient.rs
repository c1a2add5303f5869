//! Flags that flagd's schema refuses and flagd serves, and flags that hardly anybody means.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::{
    EvaluationContext, FlagSet, file_text, parse_file, relax_document, validate_flag,
};

use super::compile_with;

fn targeted(targeting: &Json) -> Json {
    json!({ "state": "ENABLED", "variants": { "on": true, "off": false },
        "defaultVariant": "off", "targeting": targeting })
}

/// Targeting that flagd serves against its schema, with a context and what flagd gives.
fn served_by_flagd() -> Vec<(Json, Json, &'static str)> {
    let on_if = |condition: Json| json!({ "if": [condition, "on", "off"] });
    vec![
        (on_if(json!({"sem_ver": [{"var": "v"}, "^", "1"]})), json!({"v": "1.9.0"}), "on"),
        (on_if(json!({"sem_ver": [{"var": "v"}, "=", "v1.2.3"]})), json!({"v": "1.2.3"}), "on"),
        (on_if(json!({"sem_ver": [{"var": "v"}, "=", "v1.0.0"]})), json!({"v": "1.0.1"}), "off"),
        (on_if(json!({"ends_with": [{"var": "id"}, 3]})), json!({"id": "a3"}), "off"),
        (json!({"fractional": [["on", 100], ["off", -50]]}), json!({}), "on"),
        (on_if(json!({"%": [{"var": "n"}, 2, 9]})), json!({"n": 3}), "on"),
        (on_if(json!({"no_such_operator": [1]})), json!({}), "PARSE_ERROR"),
    ]
}

fn evaluate(set: &FlagSet, fields: &Json) -> String {
    let context = EvaluationContext::new(Some("u"), fields.as_object().unwrap());
    let resolution = set.evaluate("f", &context, TimestampMs(0));
    match resolution.error {
        Some(error) => error.code.as_str().to_owned(),
        None => resolution.variant.unwrap_or("-").to_owned(),
    }
}

#[test]
fn what_flagd_serves_with_a_warning_is_refused_unless_the_flag_is_not_strict() {
    for (targeting, context, expected) in served_by_flagd() {
        let strict = targeted(&targeting);
        assert_ne!(validate_flag("f", &strict), [], "{targeting}");
        let mut document = json!({ "flags": { "f": strict, "other": targeted(&json!({})) } });
        assert!(parse_file(document.to_string().as_bytes()).is_err(), "{targeting}");
        let relaxed = relax_document(&mut document);
        assert!(relaxed.is_changed, "{targeting}");
        let place = &relaxed.findings[0].path;
        assert!(place.starts_with("flags.f.targeting"), "{place}");
        assert_eq!(document["flags"]["f"]["strict"], false);
        assert!(document["flags"]["other"].get("strict").is_none());
        parse_file(file_text(&document).as_bytes()).unwrap();
        // Marked once, and nothing more to mark.
        assert!(!relax_document(&mut document).is_changed);
        let flags = json!({ "f": document["flags"]["f"] });
        let set = compile_with(&flags, &Json::Null, &BTreeMap::new()).unwrap();
        assert_eq!(evaluate(&set, &context), expected, "{targeting}");
        assert!(!set.warnings().is_empty(), "{targeting}");
    }
}

#[test]
fn what_cannot_be_compiled_is_refused_in_any_mode() {
    for targeting in [
        json!({"if": [{"==": [1, 1], "!=": [1, 2]}, "on", "off"]}),
        json!({"if": [{"$ref": 3}, "on", "off"]}),
        json!({}),
    ] {
        let mut flag = targeted(&targeting);
        flag["strict"] = json!(false);
        if targeting == json!({}) {
            flag["variants"] = json!({});
        }
        assert_ne!(validate_flag("f", &flag), [], "{targeting}");
    }
    // What a flag of before says there stays, and counts for nothing.
    let mut flag = targeted(&json!({}));
    flag["strict"] = json!("no");
    assert_eq!(validate_flag("f", &flag), []);
    let set = compile_with(&json!({ "f": flag }), &Json::Null, &BTreeMap::new()).unwrap();
    assert_eq!(set.warnings()[0].path, "flag/f.strict");
}

#[test]
fn evaluators_and_lists_of_flags_are_marked_as_well() {
    let condition = json!({"ends_with": [{"var": "id"}, 3]});
    let mut document = json!({
        "$schema": "https://flagd.dev/schema/v0/flagd.json",
        "flags": [{ "key": "f", "state": "ENABLED", "variants": { "on": true, "off": false },
            "defaultVariant": "off", "targeting": { "if": [{ "$ref": "odd" }, "on", "off"] } }],
        "$evaluators": { "odd": condition },
    });
    assert!(parse_file(document.to_string().as_bytes()).is_err());
    let relaxed = relax_document(&mut document);
    assert_eq!(relaxed.findings[0].path, "$evaluators.odd.ends_with[1]");
    assert_eq!(
        (document["strict"].clone(), document["flags"][0].get("strict")),
        (json!(false), None)
    );
    parse_file(document.to_string().as_bytes()).unwrap();
}

/// Paths and first words of what is strange about a flag that is accepted.
fn doubts(targeting: &Json) -> Vec<String> {
    let set = compile_with(&json!({ "f": targeted(targeting) }), &Json::Null, &BTreeMap::new());
    set.unwrap().warnings().into_iter().map(|fault| fault.path).collect()
}

#[test]
fn arguments_that_are_dropped_and_conditions_that_never_hold_are_named() {
    let on_if = |condition: Json| json!({ "if": [condition, "on", "off"] });
    let timestamp = json!({"var": "$flagd.timestamp"});
    for (targeting, path) in [
        (on_if(json!({"==": [{"-": [10, 2, 3]}, 5]})), "if[0].==[0].-"),
        (on_if(json!({"var": ["a", "b", "c"]})), "if[0].var"),
        (on_if(json!({"<": [timestamp, 1_767_225_600_000_i64]})), "if[0].<[1]"),
        (on_if(json!({">=": ["2026-01-01T00:00:00Z", timestamp]})), "if[0].>=[0]"),
        (on_if(json!({"===": [{"var": ["$flagd.timestamp"]}, "1767225600"]})), "if[0].===[1]"),
        (on_if(json!({"<": [0, timestamp, 1_767_225_600_000_i64]})), "if[0].<[2]"),
        (json!({"fractional": [["on", 0], ["off", 0]]}), "fractional"),
        (json!({"fractional": [{"var": "id"}, ["on", 0.0]]}), "fractional"),
    ] {
        assert_eq!(doubts(&targeting), [format!("flag/f.targeting.{path}")], "{targeting}");
    }
    for targeting in [
        on_if(json!({"==": [{"-": [10, 2]}, 8]})),
        on_if(json!({"<": [1_767_225_600, timestamp]})),
        on_if(json!({"<": [timestamp, "1767225600"]})),
        on_if(json!({"<": [{"var": "at"}, 1_767_225_600_000_i64]})),
        json!({"fractional": [["on", 0], ["off", 1]]}),
        json!({"fractional": [["on"], ["off", 0]]}),
        json!({"fractional": [["on", {"var": "w"}], ["off", 0]]}),
    ] {
        assert_eq!(doubts(&targeting), Vec::<String>::new(), "{targeting}");
    }
}

#[test]
fn doubts_about_segments_come_and_go_with_them() {
    let segments = json!({ "odd": {"==": [{"-": [3, 2, 1]}, 0]} });
    let set = compile_with(&json!({}), &segments, &BTreeMap::new()).unwrap();
    assert_eq!(set.warnings()[0].path, "segment/odd.==[0].-");
}
