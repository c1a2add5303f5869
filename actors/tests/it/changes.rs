//! Changing the catalogue while it serves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use verdict_actors::{DecideOptions, Proposal, Rollback, RuntimeError};
use verdict_config::definition::Outcome;
use verdict_config::{Code, ObjectKind};
use verdict_consensus::{Author, Change, ChangeSet};

use crate::support::{
    PATIENCE, decide, payment_flow, payment_node, payment_rules, propose, put, request,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_served_rolled_back_and_old_decisions_replay() {
    let node = payment_node().await;
    let handle = &node.handle;
    let pay = || request(json!({"card": "a", "amount": 500}));
    let before = decide(handle, "payment", pay()).await.unwrap();
    assert_eq!(before.outcome, Outcome::Approve);
    let rules = put(ObjectKind::RuleSet, "payment_risk", &payment_rules(100));
    let applied = propose(handle, "stricter", vec![rules.clone()]).await.unwrap();
    assert!(applied.served);
    let test = || verdict_decisions::DecideRequest { test: true, ..pay() };
    assert_eq!(decide(handle, "payment", test()).await.unwrap().outcome, Outcome::Review);
    let replayed = handle.replay(&before.decision_id, false).await.unwrap();
    assert!(replayed.replayed.equal && replayed.revision < applied.applied.revision);
    let repeated = propose(handle, "stricter", vec![rules]).await.unwrap();
    assert_eq!(repeated.applied.revision, applied.applied.revision);
    let rollback = Rollback {
        request_id: "back".into(),
        why: "a test".into(),
        to_revision: before.revision,
        objects: Vec::new(),
        author: Author::named("test"),
    };
    handle.rollback(rollback).await.unwrap();
    assert_eq!(decide(handle, "payment", test()).await.unwrap().outcome, Outcome::Approve);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalogue_that_does_not_compile_or_whose_tests_fail_is_refused_whole() {
    let node = payment_node().await;
    let revision = node.handle.serving().revision;
    let unknown = payment_rules(1_000).to_string().replace("amount >", "amuont >");
    let failing = payment_rules(2_000_000).to_string();
    for (body, code) in [(unknown, Code::RuleUnknownField), (failing, Code::RuleTestFailed)] {
        let list = put(ObjectKind::List, "more", &json!({"entries": [{"value": "x"}]}));
        let changes = vec![Change::put(ObjectKind::RuleSet, "payment_risk", body), list];
        let error = propose(&node.handle, "bad", changes).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Check(_)), "{error:?}");
        let fault = &error.faults()[0];
        assert_eq!(fault.code, code);
        assert!(fault.path.starts_with("rule_set/payment_risk.rules[0]"), "{}", fault.path);
    }
    assert_eq!(node.handle.serving().revision, revision);
    assert_eq!(node.handle.log().catalogue().revision(), revision);
    assert!(node.handle.readiness().ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_change_is_shared_and_a_dry_run_changes_nothing() {
    let node = payment_node().await;
    let other = json!({"flow": "other", "fields": {"x": {"type": "int"}}});
    let change = put(ObjectKind::Flow, "other", &other);
    let change_set = ChangeSet::new("dry", "a test", vec![change.clone()]);
    let proposal = Proposal { change_set, author: Author::named("test") };
    let before = node.handle.serving();
    let (dry, report) = node.handle.dry_run(&proposal).await.unwrap();
    assert_eq!(dry.revision, before.revision + 1);
    assert_eq!((report.tests_run(), report.tests_failed()), (2, 0));
    assert_eq!(report.never_hit(), ["payment_risk/velocity", "payment_risk/blocked"]);
    assert_eq!(node.handle.serving().revision, before.revision);
    propose(&node.handle, "other", vec![change]).await.unwrap();
    let after = node.handle.serving();
    assert!(Arc::ptr_eq(&before.flows["payment"].flow, &after.flows["payment"].flow));
    let list = json!({"entries": [{"value": "a"}]});
    let list = put(ObjectKind::List, "blocked_cards", &list);
    propose(&node.handle, "list", vec![list]).await.unwrap();
    let changed = node.handle.serving();
    assert!(!Arc::ptr_eq(&changed.flows["payment"].flow, &after.flows["payment"].flow));
    assert!(Arc::ptr_eq(&changed.flows["other"].flow, &after.flows["other"].flow));
    let blocked = decide(&node.handle, "payment", request(json!({"card": "a", "amount": 1}))).await;
    assert_eq!(blocked.unwrap().outcome, Outcome::Decline);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_can_be_waited_for_within_bounds() {
    let node = payment_node().await;
    let next = node.handle.serving().revision + 1;
    let pay = || request(json!({"card": "a", "amount": 1}));
    let mut options = DecideOptions::within(Duration::from_millis(50));
    options.min_revision = Some(next);
    let early = node.handle.decide("payment", pay(), options).await.unwrap_err();
    assert_eq!(early.code(), Code::RevisionNotReached);
    let mut options = DecideOptions::within(PATIENCE);
    options.min_revision = Some(next);
    let mut flow = payment_flow();
    flow["description"] = json!("changed");
    let changes = vec![put(ObjectKind::Flow, "payment", &flow)];
    let (decided, proposed) = tokio::join!(
        node.handle.decide("payment", pay(), options),
        propose(&node.handle, "next", changes),
    );
    proposed.unwrap();
    assert_eq!(decided.unwrap().revision, next);
}
