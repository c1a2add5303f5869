//! API keys that the catalogue holds, and what roles may do.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use verdict_config::Code;
use verdict_consensus::Limits;
use verdict_node::http::keys::digest;

use crate::flag_events::{Events, stream_address};
use crate::gateway::{Reply, World, payment};

async fn change(world: &World, by: &str, id: &str, changes: Json) -> Reply {
    let body = json!({"request_id": id, "why": "a test", "changes": changes});
    world.send(by, "POST", "/v1/changes", body.to_string().as_bytes()).await
}

fn put_key(name: &str, secret: &str, role: &str, more: Json) -> Json {
    let mut body = json!({"role": role, "hash": hex::encode(digest(secret))});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    json!([{"kind": "key", "name": name, "op": "put", "body": body}])
}

async fn decide(world: &World, key: &str, flow: &str) -> u16 {
    let path = format!("/v1/decisions/{flow}");
    world.send(key, "POST", &path, payment(1.0).to_string().as_bytes()).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_catalogue_lets_in_until_it_is_revoked() {
    let world = World::start(|_| {}).await;
    assert_eq!(decide(&world, "vk_shop", "payment").await, 401);
    let put = put_key("shop", "vk_shop", "decider", json!({"comment": "the shop"}));
    assert_eq!(change(&world, "releaser", "r1", put.clone()).await.status, 403);
    assert_eq!(change(&world, "operator", "r2", put).await.status, 200);
    assert_eq!(decide(&world, "vk_shop", "payment").await, 200);
    let reply = world.send("vk_shop", "GET", "/v1/status", b"").await;
    assert_eq!(reply.status, 403, "a decider looks at nothing");

    // A role that grew counts at once; the name of the key stands in the history.
    let put = put_key("shop", "vk_shop", "editor", json!({}));
    assert_eq!(change(&world, "operator", "r3", put).await.status, 200);
    let list = json!([{"kind": "list", "name": "words", "op": "put", "body": {"entries": []}}]);
    assert_eq!(change(&world, "vk_shop", "r4", list).await.status, 200);
    let history = world.get("/v1/history?kind=list").await.json();
    assert_eq!(history["entries"][0]["author"], "shop");

    // What the key opened ends with it.
    let address = stream_address(&world, "vk_shop").await;
    let mut events = Events::open(&world, &address, None).await;
    assert!(events.next().await.is_some());
    let watch = Request::get("/v1/watch").header("x-api-key", "vk_shop");
    let watched = world.gateway.handle(watch.body(Body::empty()).unwrap()).await;
    assert_eq!(watched.status(), 200);
    let delete = json!([{"kind": "key", "name": "shop", "op": "delete"}]);
    assert_eq!(change(&world, "operator", "r5", delete).await.status, 200);
    let told = watched.into_body().collect().await.unwrap().to_bytes();
    assert!(told.is_empty(), "not even the change that ended it: {told:?}");
    assert_eq!(decide(&world, "vk_shop", "payment").await, 401);
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_its_flows_and_its_time() {
    let world = World::start(|_| {}).await;
    let keys = [
        ("one", json!({"flows": ["payment"]})),
        ("other", json!({"flows": ["message"]})),
        ("none", json!({"flows": []})),
        ("young", json!({"expires": "2999-01-01T00:00:00Z"})),
        ("old", json!({"expires": "2020-01-01T00:00:00Z"})),
    ];
    for (name, more) in keys {
        let put = put_key(name, &format!("vk_{name}"), "decider", more);
        let answer = change(&world, "operator", name, put).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let table = [
        ("vk_one", "payment", 200),
        ("vk_one", "pay%6Dent", 200),
        ("vk_one", "message", 403),
        ("vk_other", "payment", 403),
        ("vk_other", "pay%6Dent", 403),
        ("vk_other", "payment:batch", 403),
        ("vk_none", "payment", 403),
        ("vk_young", "payment", 200),
        ("vk_old", "payment", 401),
    ];
    for (key, flow, status) in table {
        assert_eq!(decide(&world, key, flow).await, status, "{key} {flow}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_right_is_refused() {
    let world = World::start(|_| {}).await;
    for body in [json!({}), json!({"role": "decider", "hash": "secret"}), json!({"role": "x"})] {
        let put = json!([{"kind": "key", "name": "k", "op": "put", "body": body}]);
        let refused = change(&world, "operator", "r", put).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "VD0602"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_over_keys_and_members_is_an_operators() {
    let world = World::start(|_| {}).await;
    let start = world.handle.log().catalogue().revision();
    let list = json!([{"kind": "list", "name": "words", "op": "put", "body": {"entries": []}}]);
    assert_eq!(change(&world, "editor", "r1", list).await.status, 200);
    let member = json!([{"kind": "member", "name": "n2", "op": "put", "body": {}}]);
    assert_eq!(change(&world, "operator", "r2", member).await.status, 200);
    let back = |id: &str, objects: Json| json!({"request_id": id, "why": "a test", "to_revision": start, "objects": objects});
    let only_list = json!([{"kind": "list", "name": "words"}]);
    let table = [
        ("editor", back("b1", only_list.clone()), 403),
        ("releaser", back("b2", json!([])), 403),
        ("releaser", back("b3", json!([{"kind": "member", "name": "n2"}])), 403),
        ("releaser", back("b4", only_list), 200),
        ("operator", back("b5", json!([])), 200),
    ];
    for (by, body, status) in table {
        let reply = world.send(by, "POST", "/v1/rollback", body.to_string().as_bytes()).await;
        assert_eq!(reply.status.as_u16(), status, "{by} {body}: {reply:?}");
    }
}

/// Who watches from before the history is told where it begins, and misses nothing from there on.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_before_the_history_is_told_where_it_begins() {
    let limits = Limits { history_entries_max: 4, ..Limits::default() };
    let world = World::with_limits(limits, |_| {}).await;
    for number in 0..10 {
        let body = json!({"entries": [{"value": format!("v{number}")}]});
        let put = json!([{"kind": "list", "name": "words", "op": "put", "body": body}]);
        assert_eq!(change(&world, "operator", &format!("w{number}"), put).await.status, 200);
    }
    let newest = world.handle.log().catalogue().revision();
    let refused = world.get("/v1/watch?from=0&poll_ms=0").await;
    assert_eq!(refused.status, 410, "{}", refused.text);
    let refused = refused.json();
    assert_eq!(refused["code"], Code::RevisionNotRetained.as_str(), "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    let digits = detail.split(|letter: char| !letter.is_ascii_digit());
    let oldest: u64 = digits.filter_map(|digits| digits.parse().ok()).next().unwrap();
    assert!(oldest > 0 && oldest < newest, "{detail}");
    let polled = world.get(&format!("/v1/watch?from={oldest}&poll_ms=0")).await.json();
    let seen: Vec<u64> = polled["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, (oldest + 1..=newest).collect::<Vec<_>>());
    assert_eq!(polled["next"], newest);
}
