//! Requests: their JSON, and the route of each.

use verdict_admin::{ChangeRequest, ObjectChange, Request};
use verdict_config::ObjectKind;
use verdict_consensus::Op;

fn check(json: &str, method: &str, path: &str) {
    let request: Request = serde_json::from_str(json).unwrap();
    let route = request.route();
    assert_eq!((route.method, route.path.as_str()), (method, path), "{json}");
    let again: Request = serde_json::from_slice(&serde_json::to_vec(&request).unwrap()).unwrap();
    assert_eq!(again, request);
}

#[test]
fn every_request_has_its_route() {
    check(r#"{"command":"status"}"#, "GET", "/v1/status");
    check(
        r#"{"command":"history","kind":"flag","name":"a b&c","limit":5}"#,
        "GET",
        "/v1/history?kind=flag&name=a%20b%26c&limit=5",
    );
    check(r#"{"command":"history"}"#, "GET", "/v1/history");
    check(r#"{"command":"diff","from":3}"#, "GET", "/v1/admin/diff?from=3");
    check(
        r#"{"command":"object","kind":"rule_set","name":"../x","revision":4}"#,
        "GET",
        "/v1/objects/rule_set/..%2Fx?revision=4",
    );
    check(r#"{"command":"objects","kind":"flag"}"#, "GET", "/v1/objects/flag");
    check(
        r#"{"command":"objects","kind":"list","names_only":true}"#,
        "GET",
        "/v1/objects/list?bodies=false",
    );
    check(r#"{"command":"remove","node_id":4}"#, "POST", "/v1/admin/members/4:remove");
    check(r#"{"command":"explain","id":"d:replay?x"}"#, "GET", "/v1/decisions/d%3Areplay%3Fx");
}

#[test]
fn a_dry_run_is_asked_of_the_same_route_and_its_absence_is_not_said() {
    let body = |json: &str| {
        let request: Request = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        serde_json::from_slice::<serde_json::Value>(&request.route().body.unwrap()).unwrap()
    };
    let check = |json: &str, expected: &str| {
        assert_eq!(
            body(json),
            serde_json::from_str::<serde_json::Value>(expected).unwrap(),
            "{json}"
        );
    };
    check(r#"{"command":"promote","node_id":4}"#, "{}");
    check(
        r#"{"command":"retire","node_id":4,"request_id":"r","why":"w","dry_run":true}"#,
        r#"{"dry_run":true,"request_id":"r","why":"w"}"#,
    );
    check(r#"{"command":"drain"}"#, "{}");
    check(r#"{"command":"drain","dry_run":true}"#, r#"{"dry_run":true}"#);
    let level = r#"{"command":"log_level","directives":"info","for_s":1"#;
    check(&format!("{level}}}"), r#"{"directives":"info","for_s":1}"#);
    check(
        &format!(r#"{level},"dry_run":true}}"#),
        r#"{"directives":"info","dry_run":true,"for_s":1}"#,
    );
    let token = r#"{"command":"token","valid_s":1,"voter":true"#;
    check(&format!("{token}}}"), r#"{"valid_s":1,"voter":true}"#);
    check(
        &format!(r#"{token},"why":"w","dry_run":true}}"#),
        r#"{"dry_run":true,"valid_s":1,"voter":true,"why":"w"}"#,
    );
}

#[test]
fn the_steps_of_a_transfer_have_theirs() {
    let path = "/v1/admin/transfers";
    check(r#"{"command":"transfer","step":"begin","purpose":"model","bytes":7}"#, "POST", path);
    let step = |step: &str, rest: &str| {
        format!(r#"{{"command":"transfer","step":"{step}","id":"a/b"{rest}}}"#)
    };
    let one = format!("{path}/a%2Fb");
    check(&step("send", r#","offset":0,"data":"YQ==""#), "POST", &one);
    check(&step("stage", ""), "POST", &format!("{one}:stage"));
    check(&step("state", ""), "GET", &one);
    check(&step("read", r#","offset":9"#), "GET", &format!("{one}?offset=9"));
    check(&step("end", ""), "DELETE", &one);
    let more = r#"{"command":"transfer","step":"end","id":"a","x":1}"#;
    assert!(serde_json::from_str::<Request>(more).is_err());
}

#[test]
fn unknown_commands_and_keys_are_refused() {
    for json in [
        r#"{"command":"shutdown"}"#,
        r#"{"command":"status","x":1}"#,
        r#"{"command":"promote"}"#,
        r#"{"command":"history","kind":"planet"}"#,
        "{}",
        "[]",
    ] {
        assert!(serde_json::from_str::<Request>(json).is_err(), "{json}");
    }
}

#[test]
fn a_change_is_the_body_of_its_route() {
    let change = ObjectChange {
        kind: ObjectKind::Flag,
        name: "f".to_owned(),
        op: Op::Put,
        expected_revision: Some(3),
        body: Some(serde_json::json!({ "state": "ENABLED" })),
    };
    let request = Request::Change(ChangeRequest {
        request_id: "r".to_owned(),
        why: "w".to_owned(),
        dry_run: false,
        changes: vec![change],
    });
    let body = String::from_utf8(request.route().body.unwrap()).unwrap();
    assert_eq!(
        body,
        r#"{"request_id":"r","why":"w","changes":[{"kind":"flag","name":"f","op":"put","expected_revision":3,"body":{"state":"ENABLED"}}]}"#
    );
}
