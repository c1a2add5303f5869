//! A watched catalogue folder: saves become changes, changes become saves, faults change nothing.

use serde_json::json;

use crate::fixture::FILES;
use crate::process::{Node, eventually};

fn decide(node: &Node, note: &str) -> (String, u64) {
    let body = json!({"input": {"card": note, "amount": 1, "note": note}, "test": true});
    let answer = node.post("/v1/decisions/payment", &body);
    assert_eq!(answer.content_type, "application/json", "{answer:?}");
    let outcome = answer.json()["outcome"].as_str().expect("an outcome").to_owned();
    (outcome, answer.revision.expect("every answer tells its revision"))
}

#[test]
fn a_save_is_one_change_and_a_fault_changes_nothing() {
    let node = Node::start(FILES);
    let catalogue = node.folder.join("catalogue");
    let (before, first) = decide(&node, "lottery tickets");
    assert_eq!(before, "approve");

    std::fs::write(catalogue.join("lists/bad_words.csv"), "value\ncasino\nlottery\n").unwrap();
    let (_, second) =
        eventually(|| decide(&node, "lottery tickets"), |(outcome, _)| outcome == "review");
    assert_eq!(second, first + 1);
    let history = node.get("/v1/history?kind=list&name=bad_words").json();
    assert_eq!(history["entries"][0]["revision"], json!(second), "{history}");

    // A rule that names no field, beside a list that would be fine: neither is applied.
    let rules = std::fs::read_to_string(catalogue.join("rules/payment.yaml")).unwrap();
    let broken = rules.replace("amount > 5000", "amonut > 5000");
    std::fs::write(catalogue.join("rules/payment.yaml"), broken).unwrap();
    std::fs::write(catalogue.join("lists/bad_words.csv"), "value\ncasino\ntickets\n").unwrap();
    eventually(|| node.log(), |log| log.contains("VD0203") && log.contains("rules/payment.yaml:"));
    assert_eq!(decide(&node, "lottery tickets"), ("review".to_owned(), second));

    std::fs::write(catalogue.join("rules/payment.yaml"), rules).unwrap();
    eventually(|| decide(&node, "lottery sold"), |(outcome, _)| outcome == "approve");
    assert_eq!(decide(&node, "tickets").0, "review");
}

#[test]
fn a_change_that_comes_by_http_updates_its_file_alone() {
    let node = Node::start(FILES);
    let catalogue = node.folder.join("catalogue");
    let list = catalogue.join("lists/bad_words.csv");
    let rules = std::fs::read_to_string(catalogue.join("rules/payment.yaml")).unwrap();
    let change = json!({
        "request_id": "r-1", "why": "a new word",
        "changes": [{"kind": "list", "name": "bad_words", "op": "put",
                     "body": {"entries": [{"value": "casino"}, {"value": "raffle"}]}}],
    });
    let dry = {
        let mut dry = change.clone();
        dry["dry_run"] = json!(true);
        node.post("/v1/changes", &dry)
    };
    assert_eq!(dry.status, 200, "{dry:?}");
    assert_eq!(decide(&node, "raffle").0, "approve", "a dry run changes nothing");

    let answer = node.post("/v1/changes", &change);
    assert_eq!(answer.status, 200, "{answer:?}");
    let revision = answer.json()["revision"].as_u64().expect("a revision");
    assert_eq!(decide(&node, "raffle"), ("review".to_owned(), revision));
    let again = node.post("/v1/changes", &change);
    assert_eq!(again.json()["revision"], json!(revision), "a retry is not a second change");
    eventually(|| std::fs::read_to_string(&list).unwrap(), |text| text.contains("raffle"));
    assert_eq!(std::fs::read_to_string(catalogue.join("rules/payment.yaml")).unwrap(), rules);

    let back = json!({"request_id": "r-2", "why": "too strict", "to_revision": revision - 1});
    let answer = node.post("/v1/rollback", &back);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(decide(&node, "raffle"), ("approve".to_owned(), revision + 1));
    eventually(|| std::fs::read_to_string(&list).unwrap(), |text| !text.contains("raffle"));
    // The node's own writes are not changes of their own.
    let history = node.get("/v1/history").json();
    assert_eq!(history["entries"][0]["revision"], json!(revision + 1), "{history}");
}
