//! The flows of the demo and their models, in a real process; windows that a change adds.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::fixture::FILES;
use crate::process::{Node, eventually};

/// Copies a folder with what is below it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder").map(|entry| entry.expect("an entry"))
    {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

/// An answer of the demo whose models must all have answered, and nothing be degraded.
fn decided(node: &Node, flow: &str, input: &Json) -> Json {
    let answer = node.post(&format!("/v1/decisions/{flow}"), &json!({ "input": input }));
    assert_eq!(answer.status, 200, "{flow} {input}: {}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["degraded"], json!([]), "{flow} {input}: {answer}");
    for kind in ["models", "shadow"] {
        for model in answer[kind].as_array().expect("a list") {
            assert_eq!(model["failure"], json!(null), "{flow} {input}: {model}");
            assert!(model["score"].is_number(), "{flow} {input}: {model}");
        }
    }
    answer
}

fn stages(answer: &Json) -> Vec<&str> {
    let models = answer["models"].as_array().expect("a list").iter();
    models.filter_map(|model| model["stage"].as_str()).collect()
}

#[test]
fn each_flow_of_the_demo_uses_its_models() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/demo");
    copy(&demo, &temporary.path().join("catalogue"));
    let node = Node::start_in(temporary.path());
    eventually(
        || node.get("/v1/objects/flow").json(),
        |flows| flows.to_string().contains("payment"),
    );

    let mut shadowed = 0;
    for unit in 0..40 {
        let payment = json!({"amount": 20 + 5 * unit, "currency": "EUR", "account_id": format!("acc-{unit}"),
            "card_id": format!("tok-{unit}"), "channel": "online", "card_country": "DE", "mcc": "5411",
            "merchant_country": "DE", "ip_country": "DE", "basket": "groceries", "items": 3});
        let answer = decided(&node, "payment", &payment);
        assert_eq!(stages(&answer), ["scores.risk", "scores.anomaly"], "{answer}");
        shadowed += answer["shadow"].as_array().expect("a list").len();
    }
    assert!(shadowed > 0, "a fifth of the units has the anomaly forest in shadow");
    let recurring =
        json!({"amount": 9, "currency": "EUR", "channel": "recurring", "card_id": "tok-r"});
    assert_eq!(stages(&decided(&node, "payment", &recurring)), ["scores.anomaly"]);

    let bank = json!({"name": "Haus am See", "description": "Guest rooms with breakfast and a terrace",
        "country": "DE", "registration_number": "HRB 1"});
    let answer = decided(&node, "merchant_onboarding", &bank);
    assert_eq!(stages(&answer), ["classify"], "{answer}");
    assert!(answer["classification"]["source"].as_str().is_some_and(|by| by.starts_with("model:")));

    let message =
        json!({"text": "The meeting moved to room 4, see you at ten.", "sender": "office"});
    assert_eq!(stages(&decided(&node, "message", &message)), ["scores.fraud"]);
}

#[test]
fn a_window_that_a_change_adds_is_partial_for_as_long_as_it_is() {
    let node = Node::start(FILES);
    let pay = || {
        let body = json!({"input": {"card": "c-1", "amount": 5, "country": "DE"}});
        let answer = node.post("/v1/decisions/payment", &body).json();
        (answer["degraded"].clone(), answer["windows"]["partial"].clone())
    };
    let complete = (json!([]), json!(false));
    for _ in 0..5 {
        assert_eq!(pay(), complete, "a flow begins with its windows");
    }
    let body = |text: &str| {
        json!({"request_id": "add", "why": "a new window", "dry_run": true, "changes": [
            {"kind": "rule_set", "name": "payment", "op": "put",
             "body": serde_json::from_str::<Json>(text).expect("JSON")}]})
    };
    let stored = node.get("/v1/objects/rule_set/payment").json();
    let mut set = stored["body"].clone();
    set["rules"].as_array_mut().expect("rules").push(json!({"id": "sum_of_a_moment",
        "when": "window_sum(\"2s\", card, amount) > 1000000", "then": {"points": 1}}));
    let mut change = body(&set.to_string());
    let dry = node.post("/v1/changes", &change);
    assert_eq!(dry.status, 200, "{dry:?}");
    assert!(dry.text.contains("windows_partial"), "a dry run names the new window: {}", dry.text);
    assert_eq!(pay(), complete, "a dry run changes nothing");
    change["dry_run"] = json!(false);
    let done = node.post("/v1/changes", &change);
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(pay(), (json!(["windows_partial"]), json!(true)));
    eventually(pay, |seen| *seen == complete);
}
