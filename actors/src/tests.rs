//! Faults that no honest rule makes, put into the decision path of this crate's own tests.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use verdict_config::{Code, ObjectKind};
use verdict_consensus::{Author, Change, ChangeSet, LocalLog, LocalLogOptions};
use verdict_decisions::{DecideRequest, Session};

use crate::{DecideOptions, Proposal, Runtime, RuntimeOptions};

/// Panics for the unit that asks for it.
pub(crate) fn fault_in_rules(session: &Session) {
    let unit = session.unit().map(|unit| unit.to_string());
    assert!(unit.as_deref() != Some("panic-in-rules"), "deliberate");
}

fn change(kind: ObjectKind, name: &str, body: &serde_json::Value) -> Change {
    Change::put(kind, name, body.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_rule_costs_one_request_a_coded_error_and_a_counted_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = LocalLogOptions::new(crate::clock::now);
    let (log, _) = LocalLog::open(&folder.path().join("log"), options).unwrap();
    let options = RuntimeOptions::new(folder.path(), Arc::new(log));
    let (handle, _) = Runtime::start(options).await.unwrap();
    let fields = json!({"x": {"type": "int"}});
    let review = json!({"rules": "review"});
    let changes = vec![
        change(ObjectKind::Flow, "refuses", &json!({"flow": "refuses", "fields": fields})),
        change(
            ObjectKind::Flow,
            "reviews",
            &json!({"flow": "reviews", "fields": fields, "on_failure": review}),
        ),
    ];
    let change_set = ChangeSet::new("first", "a test", changes);
    handle.propose(Proposal { change_set, author: Author::named("test") }).await.unwrap();
    let ask = |flow: &'static str, unit: &str| {
        let request = DecideRequest { unit: Some(unit.to_owned()), ..DecideRequest::default() };
        let handle = handle.clone();
        async move { handle.decide(flow, request, DecideOptions::within(Duration::from_secs(20))).await }
    };
    for _ in 0..20 {
        let panicked = ask("refuses", "panic-in-rules").await.unwrap_err();
        assert_eq!(panicked.code(), Code::Internal);
        assert!(!panicked.to_string().contains("deliberate"), "panics tell clients nothing");
        assert!(ask("refuses", "calm").await.is_ok());
    }
    let answer = ask("reviews", "panic-in-rules").await.unwrap();
    assert_eq!(answer.outcome, verdict_config::definition::Outcome::Review);
    let counted = async {
        while handle.tree().restarts_total() < 21 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
    let tree = handle.tree();
    let failed = tree.children[0].children.iter().find(|worker| worker.restarts > 0).unwrap();
    assert_eq!(failed.last_panic.as_deref(), Some("deliberate"));
}
