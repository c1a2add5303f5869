//! Deciding, and reading back what was decided.

use std::time::Duration;

use serde_json::json;
use verdict_actors::journal::{OutcomeState, SearchQuery};
use verdict_actors::{DecideOptions, NewOutcomeInput, RuntimeError};
use verdict_config::Code;
use verdict_config::definition::Outcome;
use verdict_decisions::{DecideRequest, ExplainOptions, RequestRejected};

use crate::support::{PATIENCE, decide, json_of, open, payment_node, request};

fn of(card: &str, amount: u32) -> DecideRequest {
    request(json!({"card": card, "amount": amount}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_answered_recorded_explained_and_replayed() {
    let node = payment_node().await;
    let answer = decide(&node.handle, "payment", of("a", 5_000)).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Review);
    let json = json_of(&answer);
    assert_eq!(json["reasons"][0]["code"], "LARGE");
    assert_eq!(json["decision_id"], *answer.decision_id);
    assert_eq!(json["revision"], answer.revision);
    let explained =
        node.handle.explain(&answer.decision_id, ExplainOptions::default()).await.unwrap();
    assert_eq!(explained.decision, json);
    assert_eq!(explained.explanation.hits.len(), 1);
    assert_eq!(explained.explanation.misses.len(), 2);
    let replayed = node.handle.replay(&answer.decision_id, true).await.unwrap();
    assert!(replayed.replayed.equal, "{:?}", replayed.replayed.differences);
    let unknown = node.handle.replay("01ARZ3NDEKTSV4RRFFQ69G5FAV", false).await.unwrap_err();
    assert_eq!(unknown.code(), Code::DecisionNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_count_decisions_but_not_tests_retries_and_refusals() {
    let node = payment_node().await;
    let handle = &node.handle;
    for _ in 0..3 {
        let test = DecideRequest { test: true, ..of("w", 1) };
        assert_eq!(decide(handle, "payment", test).await.unwrap().outcome, Outcome::Approve);
        let retried = DecideRequest { request_id: Some("same".into()), ..of("w", 1) };
        assert_eq!(decide(handle, "payment", retried).await.unwrap().outcome, Outcome::Approve);
        let refused = decide(handle, "payment", request(json!({"card": "w"}))).await;
        assert_eq!(refused.unwrap_err().code(), Code::InputInvalid);
    }
    assert_eq!(decide(handle, "payment", of("w", 1)).await.unwrap().outcome, Outcome::Approve);
    assert_eq!(decide(handle, "payment", of("w", 1)).await.unwrap().outcome, Outcome::Decline);
    assert_eq!(decide(handle, "payment", of("other", 1)).await.unwrap().outcome, Outcome::Approve);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_requests_with_one_id_one_decides() {
    let node = payment_node().await;
    let request = DecideRequest { request_id: Some("one".into()), ..of("c", 1) };
    let asked = (0..32).map(|_| decide(&node.handle, "payment", request.clone()));
    let answers = futures::future::join_all(asked).await;
    let first = answers[0].as_ref().unwrap();
    let repeated = answers.iter().filter(|answer| answer.as_ref().unwrap().repeated).count();
    assert_eq!(repeated, 31);
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().json == first.json));
    let other = DecideRequest { request_id: Some("one".into()), ..of("c", 2) };
    let conflict = decide(&node.handle, "payment", other).await.unwrap_err();
    assert_eq!(conflict.code(), Code::RequestIdConflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_keeps_its_order_and_its_faults() {
    let node = payment_node().await;
    let unread = RequestRejected::new(Code::InputNotJson, Vec::new());
    let mut requests: Vec<Result<DecideRequest, RequestRejected>> =
        (0..200).map(|number| Ok(of(&format!("card-{number}"), number * 10))).collect();
    requests[7] = Err(unread);
    requests[9] = Ok(request(json!({"card": 1})));
    let options = DecideOptions::within(PATIENCE);
    let answers = node.handle.decide_batch("payment", requests, options).await.unwrap();
    for (number, answer) in answers.iter().enumerate() {
        match (number, answer) {
            (7, Err(error)) => assert_eq!(error.code(), Code::InputNotJson),
            (9, Err(error)) => assert_eq!(error.code(), Code::InputInvalid),
            (_, Ok(answer)) => {
                let expected = if number > 100 { Outcome::Review } else { Outcome::Approve };
                assert_eq!(answer.outcome, expected, "item {number}");
            }
            (_, Err(error)) => panic!("item {number}: {error}"),
        }
    }
    let unknown = node.handle.decide_batch("nothing", Vec::new(), options).await.unwrap_err();
    assert_eq!(unknown.code(), Code::FlowNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_find_what_was_decided_and_not_tests() {
    let node = payment_node().await;
    decide(&node.handle, "payment", of("a", 5_000)).await.unwrap();
    decide(&node.handle, "payment", of("b", 1)).await.unwrap();
    let test = DecideRequest { test: true, ..of("c", 5_000) };
    decide(&node.handle, "payment", test).await.unwrap();
    let find = |query: SearchQuery| async { node.handle.search(query).await.unwrap().hits.len() };
    assert_eq!(find(SearchQuery::default()).await, 2);
    assert_eq!(find(SearchQuery { include_test: true, ..Default::default() }).await, 3);
    assert_eq!(find(SearchQuery { reason: Some("LARGE".into()), ..Default::default() }).await, 1);
    assert_eq!(
        find(SearchQuery { outcome: Some(Outcome::Approve), ..Default::default() }).await,
        1
    );
    let counts = node.handle.counts(Duration::from_secs(3_600));
    assert_eq!(counts["payment"].decisions, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_checked_recorded_once_and_explained() {
    let node = payment_node().await;
    let answer = decide(&node.handle, "payment", of("a", 1)).await.unwrap();
    let outcome = |id: &str, decision: &str| NewOutcomeInput {
        id: id.into(),
        decision_id: Some(decision.into()),
        unit: None,
        metric: "chargeback".into(),
        value: json!(true),
        at: Some(verdict_config::TimestampMs(0)),
    };
    let sent = vec![outcome("o1", &answer.decision_id)];
    let states = node.handle.record_outcomes(sent.clone()).await.unwrap();
    assert_eq!(states, [OutcomeState::Recorded]);
    assert_eq!(node.handle.record_outcomes(sent).await.unwrap(), [OutcomeState::Repeated]);
    let bad = vec![outcome("", &answer.decision_id), outcome("o2", "nothing")];
    let error = node.handle.record_outcomes(bad).await.unwrap_err();
    let paths: Vec<String> = error.faults().into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths, ["outcomes[0].id", "outcomes[1].decision_id"]);
    let explained =
        node.handle.explain(&answer.decision_id, ExplainOptions::default()).await.unwrap();
    assert_eq!(explained.observed[0]["metric"], "chargeback");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_unit_can_be_read_by_nobody() {
    let node = payment_node().await;
    let input = json!({"card": "erased", "amount": 1, "holder": "Jane Doe"});
    let answer = decide(&node.handle, "payment", request(input)).await.unwrap();
    assert!(node.handle.replay(&answer.decision_id, false).await.unwrap().replayed.equal);
    assert!(node.handle.erase_unit("erased").await.unwrap());
    let gone = node.handle.replay(&answer.decision_id, false).await.unwrap_err();
    assert_eq!(gone.code(), Code::UnitErased);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_refuses_finishes_and_keeps_everything() {
    let node = payment_node().await;
    let first = decide(&node.handle, "payment", of("d", 1)).await.unwrap();
    decide(&node.handle, "payment", of("d", 1)).await.unwrap();
    assert!(node.handle.drain(PATIENCE).await);
    let refused = decide(&node.handle, "payment", of("d", 1)).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Draining));
    assert!(!node.handle.readiness().ready);
    let again = open(node.folder.path(), None).await;
    assert!(again.replay(&first.decision_id, false).await.unwrap().replayed.equal);
    let third = decide(&again, "payment", of("d", 1)).await.unwrap();
    assert_eq!(third.outcome, Outcome::Decline, "windows survive");
    assert!(again.tree().all_running(), "{}", again.tree().draw());
}
