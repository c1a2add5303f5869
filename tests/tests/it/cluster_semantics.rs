//! What a cluster of real processes promises beside agreeing: nothing that was taken for a node that
//! is away is lost, answers out of touch say so, and watchers miss nothing.

use serde_json::{Value as Json, json};

use crate::cluster::harness::{Answer, Cluster, answer};
use crate::process::eventually;

fn decide_payment(cluster: &Cluster, node: usize, account: &str) -> String {
    let body = json!({ "input": { "amount": 12, "currency": "EUR", "account_id": account,
        "card_id": "card-1" } });
    let decided = cluster.post(node, "/v1/decisions/payment", &body, 1).expect("an answer");
    assert_eq!(decided.status, 200, "{}", decided.body);
    decided.body["decision_id"].as_str().expect("an id").to_owned()
}

fn erase(cluster: &Cluster, node: usize, unit: &str) -> Answer {
    let request = cluster.agent.delete(format!("{}/v1/units/{unit}", cluster.nodes[node].http));
    answer(request.header("X-API-Key", &cluster.key).call()).expect("an answer")
}

fn waiting(cluster: &Cluster, node: usize) -> Option<u64> {
    cluster.get(node, "/v1/status", 0)?.body["outbox"]["entries"].as_u64()
}

#[test]
fn what_is_taken_for_a_node_that_is_away_reaches_it_when_it_is_back() {
    let mut cluster = Cluster::up(3, &[]);
    let erased = decide_payment(&cluster, 2, "acc-1");
    let observed = decide_payment(&cluster, 2, "acc-2");
    let outcome =
        |id: &str| json!({ "id": id, "decision_id": observed, "metric": "label", "value": 1 });
    let report = |cluster: &Cluster, node: usize, id: &str| {
        let told = cluster.post(node, "/v1/outcomes", &json!({ "outcomes": [outcome(id)] }), 0);
        let told = told.expect("an answer");
        assert_eq!(told.status, 200, "{}", told.body);
        told.body["outcomes"][0]["state"].as_str().expect("a state").to_owned()
    };
    let replay = |cluster: &Cluster, node: usize, id: &str| {
        let path = format!("/v1/decisions/{id}:replay");
        cluster.post(node, &path, &json!(null), 0).map(|answer| answer.status)
    };
    assert_eq!(report(&cluster, 0, "before"), "recorded");
    assert_eq!(replay(&cluster, 2, &erased), Some(200));

    cluster.signal(2, "-KILL");
    let pending = json!([cluster.nodes[2].id]);
    let told = erase(&cluster, 0, "acc-1");
    assert_eq!((told.status, &told.body["erased"]), (202, &json!(false)), "{}", told.body);
    assert_eq!(told.body["pending"], pending, "{}", told.body);
    for (node, id) in [(0, "first"), (0, "second"), (1, "third"), (0, "first")] {
        assert_eq!(report(&cluster, node, id), "pending");
    }
    // Both that answered know of the erasure; an outcome told twice waits once.
    assert_eq!((waiting(&cluster, 0), waiting(&cluster, 1)), (Some(3), Some(2)));

    // Whoever took them ends as hard, and has them still.
    cluster.signal(0, "-KILL");
    cluster.restart(0);
    assert_eq!(waiting(&cluster, 0), Some(3));

    // It is back: what was erased is erased at its first answer, and the outcomes follow.
    cluster.restart(2);
    assert_eq!(replay(&cluster, 2, &erased), Some(410));
    assert_eq!(replay(&cluster, 2, &observed), Some(200));
    let path = format!("/v1/decisions/{observed}");
    let explained = eventually(
        || cluster.get(1, &path, 0).map(|answer| answer.body["observed"].clone()),
        |observed| observed.as_ref().and_then(Json::as_array).is_some_and(|all| all.len() == 4),
    );
    let ids = explained.expect("an answer");
    let position = |id: &str| {
        let all = ids.as_array().expect("outcomes");
        all.iter()
            .position(|outcome| outcome["id"] == id)
            .unwrap_or_else(|| panic!("{id} in {ids}"))
    };
    assert!(position("first") < position("second"), "{ids}");
    for node in [0, 1] {
        eventually(|| waiting(&cluster, node), |left| *left == Some(0));
    }
    assert_eq!(report(&cluster, 1, "first"), "repeated");
    let told = erase(&cluster, 1, "acc-2");
    assert_eq!((told.status, &told.body["pending"]), (200, &json!([])), "{}", told.body);

    // With most members away nobody would keep it safely: it is refused, and may be said again.
    cluster.signal(0, "-STOP");
    cluster.signal(2, "-STOP");
    let told = erase(&cluster, 1, "acc-3");
    assert_eq!((told.status, &told.body["code"]), (503, &json!("VD0609")), "{}", told.body);
    cluster.signal(0, "-CONT");
    cluster.signal(2, "-CONT");
}

#[test]
fn a_node_that_starts_without_the_others_says_so_from_its_first_answer() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    let revision = cluster.set_flag(1, "kept", "b");
    let evaluate = |cluster: &Cluster, path: &str| {
        let request = cluster.agent.post(format!("{}{path}", cluster.nodes[0].http));
        let request = request.header("X-API-Key", &cluster.key).content_type("application/json");
        let request = request.header("X-Verdict-Min-Revision", revision.to_string());
        let mut response = request.send("{}").expect("an answer");
        let mark = response.headers().get("x-verdict-stale").map(|value| value.as_bytes().to_vec());
        let text = response.body_mut().read_to_string().expect("a body");
        (mark.is_some(), serde_json::from_str::<Json>(&text).expect("JSON"))
    };
    let paths = ["/ofrep/v1/evaluate/flags/f", "/ofrep/v1/evaluate/flags"];
    for path in paths {
        let (marked, body) = evaluate(&cluster, path);
        assert!(!marked && body["metadata"].is_null(), "{body}");
    }
    for node in [1, 2, 0] {
        cluster.signal(node, "-KILL");
    }
    // How long it was away nobody can tell, whatever the settings' patience.
    cluster.restart(0);
    for path in paths {
        let (marked, body) = evaluate(&cluster, path);
        assert!(marked && body["metadata"]["verdict.stale"] == true, "{body}");
    }
    cluster.start(1);
    let fresh = || evaluate(&cluster, paths[0]);
    eventually(fresh, |(marked, body)| {
        !marked && body["value"] == "b" && body["metadata"].is_null()
    });
}
