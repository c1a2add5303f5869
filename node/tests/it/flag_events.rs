//! Clients of OFREP are told when flags changed.

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt;
use serde_json::{Value as Json, json};

use crate::gateway::World;

/// An open stream of events.
pub struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    pub async fn open(world: &World, address: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(address);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = world.gateway.handle(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event as id and data; `None` at the stream's end. Comments are passed over.
    pub async fn next(&mut self) -> Option<(String, Json)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let start = format!("{name}: ");
                    let value = event.lines().find_map(|line| line.strip_prefix(start.as_str()));
                    value.map(str::to_owned)
                };
                let found = (field("event"), field("id"), field("data"));
                self.text = rest.to_owned();
                let (Some(name), Some(id), Some(data)) = found else { continue };
                assert_eq!(name, "message");
                return Some((id, serde_json::from_str(&data).unwrap()));
            }
            let bytes = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

pub async fn stream_address(world: &World, key: &str) -> String {
    let all = world.send(key, "POST", "/ofrep/v1/evaluate/flags", b"{}").await;
    let stream = all.json()["eventStreams"][0].clone();
    assert_eq!((&stream["type"], &stream["inactivityDelaySec"]), (&json!("sse"), &json!(120)));
    stream["endpoint"]["requestUri"].as_str().unwrap().to_owned()
}

async fn set_default(world: &World, variant: &str) {
    let body = json!({"state": "ENABLED", "variants": {"low": 10.0, "high": 99.5},
        "defaultVariant": variant});
    let change = json!({"request_id": format!("r-{variant}"), "why": "a test", "changes": [
        {"kind": "flag", "name": "limit", "op": "put", "body": body}]});
    let applied = world.post("/v1/changes", change).await;
    assert_eq!(applied.status, 200, "{applied:?}");
}

async fn bulk(world: &World, query: &str, known: &str) -> crate::gateway::Reply {
    let request = Request::post(format!("/ofrep/v1/evaluate/flags{query}"))
        .header("x-api-key", "decider")
        .header("if-none-match", known)
        .body(Body::from("{}"))
        .unwrap();
    world.send_request(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_flags_is_told_to_whoever_listens() {
    let world = World::start(|_| {}).await;
    let address = stream_address(&world, "decider").await;
    let mut events = Events::open(&world, &address, None).await;
    // The flags are so new that the client may have older ones.
    let (first, _) = events.next().await.unwrap();

    let before = bulk(&world, "", "none").await;
    let tag = before.header("etag").unwrap().to_owned();
    assert_eq!(bulk(&world, "", &tag).await.status, 304);
    set_default(&world, "high").await;
    let (id, data) = events.next().await.unwrap();
    assert_ne!(id, first);
    assert_eq!((&data["type"], &data["etag"]), (&json!("refetchEvaluation"), &json!(id)));
    assert!(data["lastModified"].is_i64(), "{data}");
    let query = format!("?flagConfigEtag={}", id.trim_matches('"'));
    let after = bulk(&world, &query, &tag).await;
    assert_eq!(after.status, 200);
    assert!(after.text.contains("99.5"), "{after:?}");

    // Another change of the catalogue changes no flag: the next event is the flags' next change.
    let change = json!({"request_id": "r-list", "why": "a test", "changes": [
        {"kind": "list", "name": "words", "op": "put", "body": {"entries": []}}]});
    assert_eq!(world.post("/v1/changes", change).await.status, 200);
    set_default(&world, "low").await;
    let (newest, _) = events.next().await.unwrap();
    assert_ne!(newest, id);

    // Who comes back is told what it missed, and nothing that it knows.
    let mut behind = Events::open(&world, &address, Some(&id)).await;
    assert_eq!(behind.next().await.unwrap().0, newest);
    let mut abreast = Events::open(&world, &address, Some(&newest)).await;
    world.gateway.start_draining();
    assert!(abreast.next().await.is_none(), "the stream ends with the node");
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_asks_for_its_token_or_a_key_and_the_token_opens_nothing_else() {
    let world = World::start(|_| {}).await;
    let address = stream_address(&world, "decider").await;
    let token = address.split_once("token=").unwrap().1;
    assert_ne!(address, stream_address(&world, "viewer").await);
    let table = [
        ("/ofrep/v1/events".to_owned(), 401),
        ("/ofrep/v1/events?token=".to_owned(), 401),
        (format!("/ofrep/v1/events?token={}", "0".repeat(token.len())), 401),
        (format!("/ofrep/v1/events?token={token}&colour=red"), 400),
        (format!("/v1/status?token={token}"), 401),
        (format!("/v1/watch?token={token}"), 401),
    ];
    for (path, status) in table {
        let request = Request::get(&path).body(Body::empty()).unwrap();
        assert_eq!(world.send_request(request).await.status.as_u16(), status, "{path}");
    }
    let request = Request::get("/ofrep/v1/events").header("x-api-key", "decider");
    let response = world.gateway.handle(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    let reply = world.send("operator", "POST", &address, b"").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, HEAD")));
}
