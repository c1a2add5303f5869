//! Every route answers; every refusal is coded.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::gateway::{World, payment};

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_made_explained_found_and_replayed() {
    let world = World::start(|_| {}).await;
    let decided = world.post("/v1/decisions/payment", payment(6000.0)).await;
    assert_eq!(decided.status, 200, "{decided:?}");
    assert_eq!(decided.json()["reasons"][0]["code"], "LARGE");
    assert!(decided.header("x-verdict-revision").is_some());
    assert!(decided.header("x-request-id").is_some());
    let id = decided.json()["decision_id"].as_str().unwrap().to_owned();

    let explained = world.get(&format!("/v1/decisions/{id}")).await;
    assert_eq!(explained.status, 200, "{explained:?}");
    assert_eq!(explained.json()["decision"]["decision_id"], json!(id));
    let replayed = world.post(&format!("/v1/decisions/{id}:replay"), json!({})).await;
    assert_eq!((replayed.status.as_u16(), replayed.json()["equal"].clone()), (200, json!(true)));

    let found = world.get("/v1/decisions?flow=payment&reason=LARGE").await.json();
    assert_eq!(found["decisions"][0]["decision_id"], json!(id));
    let outcome =
        json!({"outcomes": [{"id": "o1", "decision_id": id, "metric": "label", "value": "bad"}]});
    let recorded = world.post("/v1/outcomes", outcome.clone()).await;
    assert_eq!(recorded.json()["outcomes"][0]["state"], "recorded", "{recorded:?}");
    let again = world.post("/v1/outcomes", outcome).await;
    assert_eq!(again.json()["outcomes"][0]["state"], "repeated", "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_in_order_and_a_fault_costs_its_item_only() {
    let world = World::start(|_| {}).await;
    let items = json!({"items": [payment(1.0), {"input": {"card": "c"}}, payment(9000.0)]});
    let answers = world.post("/v1/decisions/payment:batch", items).await.json();
    assert_eq!(answers["items"][0]["outcome"], "approve");
    assert_eq!(answers["items"][1]["code"], "VD0402");
    assert_eq!(answers["items"][2]["reasons"][0]["code"], "LARGE");

    let lines = format!("{}\nnot json\n{}\n", payment(1.0), payment(9000.0));
    let request = Request::post("/v1/decisions/payment:batch")
        .header("x-api-key", "decider")
        .header("content-type", "application/x-ndjson")
        .body(Body::from(lines))
        .unwrap();
    let reply = world.send_request(request).await;
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<serde_json::Value> =
        reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), lines[1]["code"].as_str()), (3, Some("VD0401")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_coded() {
    let world = World::start(|_| {}).await;
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = vec![b' '; 3 << 20];
    let decide = "/v1/decisions/payment";
    let table: &[(&str, &str, &[u8], u16, &str)] = &[
        ("POST", decide, b"", 400, "VD0401"),
        ("POST", decide, b"{", 400, "VD0401"),
        ("POST", decide, b"\"\xff\"", 400, "VD0401"),
        ("POST", decide, deep.as_bytes(), 400, "VD0401"),
        ("POST", decide, &large, 413, "VD0803"),
        ("POST", decide, br#"{"input":{"card":1,"amount":1}}"#, 400, "VD0402"),
        ("POST", "/v1/decisions/none", b"{}", 404, "VD0403"),
        ("POST", "/v1/decisions/payment:dance", b"{}", 404, "VD0806"),
        ("GET", "/v1/decisions/none", b"", 404, "VD0404"),
        ("GET", "/v1/decisions?limit=0&flw=x", b"", 400, "VD0808"),
        ("GET", "/v1/nothing", b"", 404, "VD0806"),
        ("PUT", decide, b"", 405, "VD0807"),
        ("GET", "/v1/objects/thing", b"", 400, "VD0808"),
        ("GET", "/v1/objects/flow/none", b"", 404, "VD0605"),
        ("GET", "/v1/objects/flow/payment?revision=999", b"", 410, "VD0603"),
        ("POST", "/v1/changes", b"{}", 400, "VD0808"),
        ("POST", "/v1/outcomes", br#"{"outcomes":[{"id":"1"}]}"#, 400, "VD0408"),
    ];
    for (method, path, body, status, code) in table {
        let reply = world.send("operator", method, path, body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (*status, *code),
            "{method} {path} {reply:?}"
        );
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
        assert!(reply.header("x-verdict-revision").is_some(), "{path}");
    }
    let reply = world.send("operator", "PUT", decide, b"").await;
    assert_eq!(reply.header("allow"), Some("GET, HEAD, POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_asked_for() {
    let world = World::start(|_| {}).await;
    let change = json!({"request_id": "r", "why": "w", "changes": [
        {"kind": "key", "name": "k", "op": "put", "body": {}}]});
    let table = [
        ("nobody", "GET", "/v1/status", None, 401),
        ("decider", "GET", "/v1/objects/flow", None, 403),
        ("viewer", "GET", "/v1/objects/flow", None, 200),
        ("viewer", "POST", "/v1/changes", Some(change.clone()), 403),
        ("editor", "POST", "/v1/changes", Some(change), 403),
        ("editor", "DELETE", "/v1/units/u", None, 403),
        ("operator", "DELETE", "/v1/units/u", None, 200),
    ];
    for (key, method, path, body, status) in table {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let reply = world.send(key, method, path, body.as_bytes()).await;
        assert_eq!(reply.status.as_u16(), status, "{key} {method} {path}: {reply:?}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(world.send("nobody", "GET", path, b"").await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_applied_seen_in_history_and_rolled_back() {
    let world = World::start(|_| {}).await;
    let before = world.get("/v1/objects/list").await.json();
    assert_eq!(before["objects"], json!([]));
    let body = json!({"entries": [{"value": "x"}]});
    let change = |dry_run: bool| {
        json!({"request_id": "r1", "why": "a list", "dry_run": dry_run, "changes": [
            {"kind": "list", "name": "words", "op": "put", "expected_revision": 0, "body": body}]})
    };
    let dry = world.post("/v1/changes", change(true)).await;
    assert_eq!(dry.status, 200, "{dry:?}");
    assert_eq!(world.get("/v1/objects/list/words").await.status, 404);
    let applied = world.post("/v1/changes", change(false)).await.json();
    assert_eq!(applied["applied"][0], json!({"kind": "list", "name": "words", "op": "put"}));
    let revision = applied["revision"].as_u64().unwrap();
    let conflict = json!({"request_id": "r2", "why": "a test", "changes": [
        {"kind": "list", "name": "words", "op": "delete", "expected_revision": 0}]});
    let refused = world.post("/v1/changes", conflict).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "VD0601"), "{refused:?}");
    let invalid = json!({"request_id": "r3", "why": "a test", "changes": [
        {"kind": "rule_set", "name": "payment", "op": "put", "body": {"rule_set": "payment"}}]});
    let refused = world.post("/v1/changes", invalid).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "VD0602"), "{refused:?}");

    let history = world.get("/v1/history?kind=list").await.json();
    assert_eq!(history["entries"][0]["why"], "a list");
    let rollback = json!({"request_id": "r4", "why": "back", "to_revision": revision - 1});
    let back = world.post("/v1/rollback", rollback).await;
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(world.get("/v1/objects/list/words").await.status, 404);
    let old = world.get(&format!("/v1/objects/list/words?revision={revision}")).await;
    assert_eq!(old.status, 200, "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_evaluated_with_entity_tags() {
    let world = World::start(|_| {}).await;
    let one = world.post("/ofrep/v1/evaluate/flags/limit", json!({})).await;
    assert!(one.text.contains("\"value\":10.0"), "{one:?}");
    let absent = world.post("/ofrep/v1/evaluate/flags/none", json!({})).await;
    assert_eq!(
        (absent.status.as_u16(), absent.json()["errorCode"].as_str()),
        (404, Some("FLAG_NOT_FOUND"))
    );
    for path in ["/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/"] {
        let all = world.post(path, json!({"context": {"targetingKey": "u"}})).await;
        assert_eq!(all.json()["flags"].as_array().unwrap().len(), 2, "{all:?}");
        let tag = all.header("etag").unwrap();
        let request = Request::post(path)
            .header("authorization", "Bearer operator")
            .header("if-none-match", tag)
            .header("origin", "https://shop.example")
            .body(Body::from(r#"{"context":{"targetingKey":"u"}}"#))
            .unwrap();
        let same = world.send_request(request).await;
        assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
        assert!(same.header("access-control-expose-headers").unwrap().contains("ETag"));
    }
    let denied = world.send("nobody", "POST", "/ofrep/v1/evaluate/flags/limit", b"{}").await;
    let body = denied.json();
    assert_eq!((denied.status.as_u16(), body["key"].as_str()), (401, Some("limit")));
    assert!(body["errorCode"].is_string(), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_when_to_come_again() {
    let world = World::start(|settings| settings.http.requests_max = 1).await;
    let (body, sender) = tokio::io::duplex(16);
    let slow = Request::post("/v1/decisions/payment")
        .header("x-api-key", "operator")
        .body(Body::from_stream(tokio_util::io::ReaderStream::new(body)))
        .unwrap();
    let held = world.send_request(slow);
    tokio::pin!(held);
    // The first poll takes the permit and waits for the body.
    assert!(futures::poll!(&mut held).is_pending());
    let shed = world.post("/v1/decisions/payment", payment(1.0)).await;
    assert_eq!((shed.status.as_u16(), shed.code().as_str()), (429, "VD0804"));
    assert!(shed.header("retry-after").is_some());
    drop(sender);
    assert_eq!(held.await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_not_reached_is_told() {
    let world = World::start(|_| {}).await;
    let request = Request::get("/v1/objects/flow")
        .header("x-api-key", "operator")
        .header("x-verdict-min-revision", "999")
        .body(Body::empty())
        .unwrap();
    let reply = world.send_request(request).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (412, "VD0809"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_recognised_and_no_hash_of_its_body_can_be_tried() {
    let world = World::start(|_| {}).await;
    let body = json!({"request_id": "r-1", "input": {"card": "c1", "amount": 12}});
    let first = world.post("/v1/decisions/payment", body.clone()).await.json();
    let again = world.post("/v1/decisions/payment", body.clone()).await.json();
    assert_eq!(first["decision_id"], again["decision_id"]);
    let mut other = body.clone();
    other["input"]["amount"] = json!(13);
    assert_eq!(world.post("/v1/decisions/payment", other).await.status, 409);

    let request = verdict_decisions::request::parse_body(body.to_string().as_bytes()).unwrap();
    let hash = request.body_sha256();
    let segment = std::fs::read_dir(world.folder.path().join("data/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "vj"))
        .unwrap();
    let bytes = std::fs::read(segment).unwrap();
    let stands = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(stands(b"r-1") && !stands(&hash) && !stands(&digest_of(&hash)[..16]));
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

/// Whatever a request gets wrong, its status is one that the description names.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_described() {
    let world = World::start(|_| {}).await;
    let document = world.get("/openapi.json").await.json();
    let mut seen = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = template.replace(['{', '}'], "");
            let id = operation["operationId"].as_str().unwrap();
            let request = |query: &str| {
                let method = method.to_uppercase();
                let uri = format!("{path}{query}");
                Request::builder().method(method.as_str()).uri(uri).header("x-api-key", "operator")
            };
            let json = "application/json";
            let wrong = [
                request("?no_such_parameter=1").body(Body::empty()),
                request("").header("x-verdict-min-revision", "abc").body(Body::empty()),
                request("").header("x-verdict-min-revision", "999").body(Body::empty()),
                request("?x=1").header("content-type", "text/plain").body(Body::from("x")),
                request("?x=1").header("content-type", json).body(Body::from("{")),
                request("?x=1").header("content-type", json).body(Body::from(r#"{"no_such":1}"#)),
                request("?x=1").header("x-api-key", "nobody").body(Body::empty()),
            ];
            for (number, request) in wrong.into_iter().enumerate() {
                let reply = world.send_request(request.unwrap()).await;
                let status = reply.status.as_u16();
                let described = operation["responses"].get(status.to_string()).is_some();
                assert!(
                    described,
                    "{id} {method} {path}: request {number} gets {status}: {reply:?}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 200, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_to_go_on_from_are_read_strictly() {
    let world = World::start(|_| {}).await;
    for cursor in ["xx", "1", "1.", "+1.0", "1.0.0", "-1.0"] {
        for path in ["/v1/history", "/v1/decisions"] {
            let reply = world.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (400, "VD0808"),
                "{reply:?}"
            );
            assert!(reply.text.contains("next"), "{reply:?}");
        }
    }
    for header in ["last-event-id", "x-verdict-min-revision"] {
        for value in ["abc", "", "-1", "+1", "1.5", "99999999999999999999999"] {
            let request = Request::get("/v1/watch").header("x-api-key", "operator");
            let request = request.header(header, value).body(Body::empty()).unwrap();
            let reply = world.send_request(request).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (400, "VD0808"),
                "{reply:?}"
            );
            assert!(reply.text.contains("expected a revision"), "{reply:?}");
        }
    }
    // A revision that no node has reached is no place to go on from either.
    let reply = world.get("/v1/watch?from=999&poll_ms=0").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (412, "VD0809"), "{reply:?}");
    let reply = world.get("/v1/history?limit=+5").await;
    assert_eq!(reply.status, 400, "{reply:?}");
}
