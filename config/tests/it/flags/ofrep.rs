//! OFREP's bodies, statuses and entity tags.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use verdict_config::TimestampMs;
use verdict_config::flags::ofrep::{
    BulkOptions, STALE_KEY, config_tag, evaluate_all, evaluate_one, failure, parse_request,
};
use verdict_config::flags::{EvaluationContext, FlagSet};

use super::{compile, compile_with, context};

const AT: TimestampMs = TimestampMs(0);

fn sample() -> FlagSet {
    let files = BTreeMap::from([(
        "a".to_owned(),
        json!({"form": "object", "document": {
        "flags": ["float"], "metadata": {"flagSetId": "demo"}}}),
    )]);
    let flags = json!({
        "bool": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"},
        "disabled": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"},
        "float": {"state": "ENABLED", "variants": {"ten": 10, "half": 0.5}, "defaultVariant": "ten"},
        "int": {"state": "ENABLED", "variants": {"ten": 10}, "defaultVariant": "ten"},
        "object": {"state": "ENABLED", "variants": {"o": {"a": [1, "x\n"]}}, "defaultVariant": "o"},
        "written": {"state": "ENABLED", "variants": {"ten": 10.0}, "defaultVariant": "ten"},
        "wrong": {"state": "ENABLED", "variants": {"on": true}, "targeting": {"cat": ["no\"where"]}},
    });
    compile_with(&flags, &Json::Null, &files).unwrap()
}

#[test]
fn single_bodies_are_what_clients_need() {
    let set = sample();
    let cases = [
        ("bool", 200, r#"{"key":"bool","reason":"STATIC","variant":"on","value":true}"#),
        ("disabled", 200, r#"{"key":"disabled","reason":"DISABLED","variant":""}"#),
        (
            "float",
            200,
            r#"{"key":"float","reason":"STATIC","variant":"ten","value":10.0,"metadata":{"flagSetId":"demo"}}"#,
        ),
        ("int", 200, r#"{"key":"int","reason":"STATIC","variant":"ten","value":10}"#),
        (
            "object",
            200,
            r#"{"key":"object","reason":"STATIC","variant":"o","value":{"a":[1,"x\n"]}}"#,
        ),
        ("written", 200, r#"{"key":"written","reason":"STATIC","variant":"ten","value":10.0}"#),
        (
            "wrong",
            400,
            r#"{"key":"wrong","errorCode":"GENERAL","errorDetails":"targeting gave \"no\\\"where\", which is no variant"}"#,
        ),
        (
            "a\"b",
            404,
            r#"{"key":"a\"b","errorCode":"FLAG_NOT_FOUND","errorDetails":"there is no flag \"a\\\"b\""}"#,
        ),
    ];
    for (key, status, body) in cases {
        let answer = evaluate_one(&set, key, &EvaluationContext::empty(), (AT, false));
        let parsed: Json = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(parsed["key"], key);
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{key}");
    }
}

#[test]
fn bulk_has_every_flag_and_the_sets_metadata() {
    let set = sample();
    let streams =
        json!([{"type": "sse", "endpoint": {"requestUri": "/e"}, "inactivityDelaySec": 120}]);
    let options = BulkOptions { event_streams: Some(&streams), ..BulkOptions::default() };
    let answer = evaluate_all(&set, &EvaluationContext::empty(), AT, &options);
    let body: Json = serde_json::from_str(&answer.body).unwrap();
    let keys: Vec<&str> = body["flags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flag| flag["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["bool", "disabled", "float", "int", "object", "written", "wrong"]);
    assert_eq!(body["flags"][6]["errorCode"], "GENERAL");
    assert_eq!(body["metadata"], json!({"flagSetId": "demo"}));
    assert_eq!(body["eventStreams"], streams);
    assert_eq!(answer.status, 200);
}

#[test]
fn entity_tags_cover_all_that_an_answer_depends_on() {
    let set = sample();
    let tag = |set: &FlagSet, context: &EvaluationContext<'_>, scope: &str| {
        let options = BulkOptions { auth_scope: scope, ..BulkOptions::default() };
        evaluate_all(set, context, AT, &options).etag.unwrap()
    };
    let user = |json: Json| context(json);
    let base = tag(&set, &user(json!({"targetingKey": "u", "a": 1, "b": {"x": 1, "y": 2}})), "k");
    assert!(base.starts_with('"') && base.ends_with('"'));
    // The order of keys does not matter.
    assert_eq!(
        base,
        tag(&set, &user(json!({"b": {"y": 2, "x": 1}, "a": 1, "targetingKey": "u"})), "k")
    );
    for (context, scope) in [
        (user(json!({"targetingKey": "v", "a": 1, "b": {"x": 1, "y": 2}})), "k"),
        (user(json!({"targetingKey": "u", "a": 2, "b": {"x": 1, "y": 2}})), "k"),
        (user(json!({"a": 1, "b": {"x": 1, "y": 2}})), "k"),
        (user(json!({"targetingKey": "u", "a": 1, "b": {"x": 1, "y": 2}})), "other"),
        (
            user(json!({"targetingKey": "u", "a": 1, "b": {"x": 1, "y": 2}})).in_region(Some("eu")),
            "k",
        ),
    ] {
        assert_ne!(base, tag(&set, &context, scope));
    }
    let other = compile(json!({"bool": {"state": "ENABLED", "variants": {"on": true}}}));
    assert_ne!(tag(&other, &user(json!({})), ""), tag(&set, &user(json!({})), ""));
    let timed = compile(json!({"t": {"state": "ENABLED", "variants": {"on": true},
        "targeting": {"if": [{">": [{"var": "$flagd.timestamp"}, 5]}, "on"]}}}));
    let options = BulkOptions { if_none_match: Some("*"), ..BulkOptions::default() };
    let answer = evaluate_all(&timed, &user(json!({})), AT, &options);
    assert_eq!((answer.status, answer.etag), (200, None));
}

#[test]
fn not_modified_only_if_the_client_knows_of_no_other_configuration() {
    let set = sample();
    let context = context(json!({"targetingKey": "u"}));
    let etag = evaluate_all(&set, &context, AT, &BulkOptions::default()).etag.unwrap();
    let config = config_tag(&set, "");
    let weak = format!("\"zzz\", W/{etag}");
    let bare = config.trim_matches('"').to_owned();
    let cases = [
        (Some(etag.as_str()), None, 304),
        (Some(weak.as_str()), None, 304),
        (Some("*"), None, 304),
        (Some("\"other\""), None, 200),
        (None, None, 200),
        (Some(etag.as_str()), Some(config.as_str()), 304),
        (Some(etag.as_str()), Some(bare.as_str()), 304),
        (Some(etag.as_str()), Some("\"newer\""), 200),
        (None, Some(config.as_str()), 200),
    ];
    for (if_none_match, flag_config_etag, status) in cases {
        let options = BulkOptions { if_none_match, flag_config_etag, ..BulkOptions::default() };
        let answer = evaluate_all(&set, &context, AT, &options);
        assert_eq!(answer.status, status, "{if_none_match:?} {flag_config_etag:?}");
        assert_eq!(answer.etag.as_deref(), Some(etag.as_str()));
        assert_eq!(answer.body.is_empty(), status == 304);
    }
}

#[test]
fn request_bodies_are_read_leniently_and_refused_clearly() {
    for body in ["", " ", "{}", r#"{"context":{}}"#, r#"{"context":null}"#, r#"{"other":1}"#] {
        let context = parse_request(body.as_bytes()).unwrap();
        assert_eq!(context.targeting_key(), None, "{body}");
    }
    let body = br#"{"context":{"targetingKey":"u","a":1}}"#;
    assert_eq!(parse_request(body).unwrap().targeting_key(), Some("u"));
    let deep = format!("{{\"context\":{{\"a\":{}1{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, code) in [
        ("nope", "PARSE_ERROR"),
        ("[]", "PARSE_ERROR"),
        (r#"{"context":[]}"#, "INVALID_CONTEXT"),
        (r#"{"context":{"targetingKey":7}}"#, "INVALID_CONTEXT"),
        (deep.as_str(), "PARSE_ERROR"),
    ] {
        let answer = failure("k", &parse_request(body.as_bytes()).unwrap_err());
        let json: Json = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &json["errorCode"]), (400, &json!(code)), "{body:.40}");
        assert_eq!(json["key"], "k");
        assert!(json["errorDetails"].is_string());
    }
}

#[test]
fn a_node_out_of_touch_marks_what_it_answers() {
    let set = compile(json!({
        "plain": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"},
        "told": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on",
            "metadata": {"owner": "risk"}},
    }));
    let context = EvaluationContext::empty();
    let metadata = |key: &str, stale: bool| -> Json {
        let answer = evaluate_one(&set, key, &context, (AT, stale));
        serde_json::from_str::<Json>(&answer.body).unwrap()["metadata"].clone()
    };
    assert_eq!(metadata("plain", false), Json::Null);
    assert_eq!(metadata("plain", true), json!({ STALE_KEY: true }));
    assert_eq!(metadata("told", true), json!({ STALE_KEY: true, "owner": "risk" }));

    // The bulk answer says it once, and a client that has the other answer is sent this one.
    let fresh = evaluate_all(&set, &context, AT, &BulkOptions::default());
    let options =
        BulkOptions { stale: true, if_none_match: fresh.etag.as_deref(), ..BulkOptions::default() };
    let stale = evaluate_all(&set, &context, AT, &options);
    assert_eq!(stale.status, 200);
    let body: Json = serde_json::from_str(&stale.body).unwrap();
    assert_eq!(body["metadata"], json!({ STALE_KEY: true }));
    assert!(!fresh.body.contains(STALE_KEY));
}
