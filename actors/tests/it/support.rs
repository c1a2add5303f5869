//! A small catalogue, and a node's inside that serves it from a temporary folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use verdict_actors::inference::ModelLoader;
use verdict_actors::{
    Answer, DecideOptions, Handle, Proposal, Proposed, Runtime, RuntimeError, RuntimeOptions,
};
use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::{Author, Change, ChangeSet, LocalLog, LocalLogOptions};
use verdict_decisions::DecideRequest;

pub const PATIENCE: Duration = Duration::from_secs(20);

#[allow(clippy::disallowed_methods, reason = "of a test")]
fn now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    TimestampMs(i64::try_from(since.as_millis()).unwrap())
}

/// A started node's inside.
pub struct Node {
    pub handle: Handle,
    pub folder: tempfile::TempDir,
}

pub async fn open(folder: &Path, loader: Option<Arc<dyn ModelLoader>>) -> Handle {
    let (log, _) = LocalLog::open(&folder.join("log"), LocalLogOptions::new(now)).unwrap();
    let mut options = RuntimeOptions::new(folder, Arc::new(log));
    options.rules_workers = 2;
    options.inference.threads = 1;
    options.loader = loader;
    Runtime::start(options).await.unwrap().0
}

pub async fn node(loader: Option<Arc<dyn ModelLoader>>, changes: Vec<Change>) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let handle = open(folder.path(), loader).await;
    propose(&handle, "first", changes).await.unwrap();
    Node { handle, folder }
}

pub async fn payment_node() -> Node {
    node(None, payment()).await
}

pub fn put(kind: ObjectKind, name: &str, body: &Json) -> Change {
    Change::put(kind, name, body.to_string().into_bytes())
}

pub fn payment() -> Vec<Change> {
    vec![
        put(ObjectKind::Flow, "payment", &payment_flow()),
        put(ObjectKind::RuleSet, "payment_risk", &payment_rules(1_000)),
        put(ObjectKind::List, "blocked_cards", &json!({"entries": [{"value": "stolen"}]})),
    ]
}

pub fn payment_flow() -> Json {
    json!({
        "flow": "payment",
        "unit": "card",
        "fields": {
            "card": {"type": "symbol", "need": "required"},
            "amount": {"type": "decimal", "need": "required"},
            "holder": {"type": "string", "sensitive": true}
        },
        "rules": ["payment_risk"],
        "record": "async"
    })
}

pub fn payment_rules(limit: u32) -> Json {
    json!({
        "rule_set": "payment_risk",
        "flow": "payment",
        "rules": [
            {
                "id": "large",
                "when": format!("amount > {limit}"),
                "then": {"outcome": "review", "reason": "LARGE"},
                "tests": [
                    {"given": {"card": "a", "amount": "1000000"}, "expect": {"hit": true}},
                    {"given": {"card": "a", "amount": "1"}, "expect": {"hit": false}}
                ]
            },
            {
                "id": "velocity",
                "when": "window_count(\"1h\", card) >= 2",
                "then": {"outcome": "decline", "reason": "VELOCITY"}
            },
            {
                "id": "blocked",
                "when": "listed(\"blocked_cards\", card)",
                "then": {"outcome": "decline", "reason": "BLOCKED_CARD"}
            }
        ]
    })
}

pub async fn propose(
    handle: &Handle,
    request_id: &str,
    changes: Vec<Change>,
) -> Result<Proposed, RuntimeError> {
    let change_set = ChangeSet::new(request_id, "a test", changes);
    handle.propose(Proposal { change_set, author: Author::named("test") }).await
}

pub fn request(input: Json) -> DecideRequest {
    let Json::Object(input) = input else { panic!("an object") };
    DecideRequest { input, ..DecideRequest::default() }
}

pub async fn decide(
    handle: &Handle,
    flow: &str,
    request: DecideRequest,
) -> Result<Answer, RuntimeError> {
    handle.decide(flow, request, DecideOptions::within(PATIENCE)).await
}

pub fn json_of(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.json).unwrap()
}

pub async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never reached: {what}");
}
