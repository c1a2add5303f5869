//! What a cluster of real processes promises beside agreeing: nothing that was taken for a node that
//! is away is lost, answers out of touch say so, and watchers miss nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cluster::harness::{Answer, Cluster, answer};
use crate::process::{VERDICT, eventually};

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

/// Reads revisions from a node's watch until its connection ends or one was reached.
fn watch(http: &str, key: &str, after: u64, until: u64) -> Vec<u64> {
    let address = http.trim_start_matches("http://").to_owned();
    let Ok(mut stream) = TcpStream::connect(&address) else { return Vec::new() };
    let request = format!(
        "GET /v1/watch?from=0 HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nLast-Event-ID: {after}\r\n\r\n"
    );
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    if stream.write_all(request.as_bytes()).is_err() {
        return Vec::new();
    }
    let mut seen = Vec::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(id) = line.strip_prefix("id: ") {
            seen.push(id.trim().parse().expect("a revision"));
            if seen.last() == Some(&until) {
                break;
            }
        }
    }
    seen
}

#[test]
fn watchers_see_every_revision_once_and_in_order_over_a_lost_leader() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    let first = cluster.set_flag(0, "w0", "a");
    let leader = cluster.leader(0);
    let last = first + 20;
    let nodes: Vec<(String, String)> =
        cluster.nodes.iter().map(|node| (node.http.clone(), cluster.key.clone())).collect();
    std::thread::scope(|scope| {
        let watchers: Vec<_> = nodes
            .iter()
            .map(|(http, key)| {
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    // Whoever is cut off comes back with the last id that it has.
                    eventually(
                        || {
                            let after = seen.last().copied().unwrap_or(0);
                            seen.extend(watch(http, key, after, last));
                            seen.last().copied()
                        },
                        |reached| *reached == Some(last),
                    );
                    seen
                })
            })
            .collect();
        let poller = scope.spawn(|| {
            let survivor = (leader + 1) % 3;
            let (mut from, mut seen) = (0, Vec::new());
            while from < last {
                let path = format!("/v1/watch?from={from}&poll_ms=2000");
                let polled = cluster.get(survivor, &path, 0).expect("an answer");
                assert_eq!(polled.status, 200, "{}", polled.body);
                let changes = polled.body["changes"].as_array().expect("changes").clone();
                seen.extend(changes.iter().map(|change| change["revision"].as_u64().expect("one")));
                from = polled.body["next"].as_u64().expect("a revision");
            }
            seen
        });
        let survivor = (leader + 2) % 3;
        for number in 1..=20 {
            if number == 10 {
                cluster.signal(leader, "-KILL");
            }
            let variant = ["b", "c", "d", "a"][number % 4];
            cluster.set_flag(survivor, &format!("w{number}"), variant);
        }
        let settings = cluster.nodes[leader].dir.join("node.toml");
        let mut again = Command::new(VERDICT)
            .args(["node", "--config"])
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the node starts");
        let expected: Vec<u64> = (1..=last).collect();
        let seen: Vec<Vec<u64>> =
            watchers.into_iter().map(|watcher| watcher.join().expect("a watcher")).collect();
        let _ = again.kill();
        let _ = again.wait();
        for (node, seen) in seen.into_iter().enumerate() {
            assert_eq!(seen, expected, "node {node}");
        }
        assert_eq!(poller.join().expect("a poller"), expected);
    });
    // A process of its own took the place of the one that the cluster would end.
    cluster.nodes.remove(leader);
}

#[test]
fn flags_and_the_lead_follow_regions() {
    let cluster = Cluster::up(3, &["--empty", "--regions", "east,west,south"]);
    let flag = json!({ "request_id": "flag", "why": "a test", "changes": [
        { "kind": "flag", "name": "f", "op": "put", "body": {
            "state": "ENABLED", "variants": { "off": "off", "on": "on" }, "defaultVariant": "off",
            "targeting": { "if": [true, "on"] }, "regions": ["west"] } } ] });
    let put = |body: &Json| {
        let applied = eventually(
            || cluster.post(0, "/v1/changes", body, 0).map(|answer| (answer.status, answer.body)),
            |answer| answer.as_ref().is_some_and(|(status, _)| *status < 500),
        );
        let (status, body) = applied.expect("an answer");
        assert_eq!(status, 200, "{body}");
        body["revision"].as_u64().expect("a revision")
    };
    let revision = put(&flag);
    let values = |revision| [0, 1, 2].map(|node| cluster.flag(node, revision));
    assert_eq!(values(revision), ["off", "on", "off"]);

    // The log says where a node is, from a revision on and everywhere; a rollback takes it back.
    let id = cluster.nodes[2].id;
    let moved = json!({ "request_id": "move", "why": "a test", "changes": [
        { "kind": "member", "name": format!("node-{id}"), "op": "put", "body": { "region": "west" } } ] });
    assert_eq!(values(put(&moved)), ["off", "on", "on"]);
    let wrong = json!({ "request_id": "wrong", "why": "a test", "changes": [
        { "kind": "member", "name": "cluster", "op": "put", "body": { "preferred_region": "west" } } ] });
    let refused = cluster.post(0, "/v1/changes", &wrong, 0).expect("an answer");
    assert_eq!(refused.status, 422, "{}", refused.body);

    // The lead goes where it is wanted, and stays there.
    for (request_id, region, able) in [("p1", "west", vec![1, 2]), ("p2", "east", vec![0])] {
        put(&json!({ "request_id": request_id, "why": "a test", "changes": [
            { "kind": "member", "name": "cluster", "op": "put",
              "body": { "preferred_leader_region": region } } ] }));
        eventually(|| cluster.leader(0), |leader| able.contains(leader));
    }
    cluster.set_flag(1, "still", "a");

    // Whoever is drained hands its office over, and is no member any more.
    let leader = cluster.leader(0);
    let (asked, id) = ((leader + 1) % 3, cluster.nodes[leader].id);
    let path = format!("/v1/admin/members/{id}:drain");
    let drained = cluster.post(asked, &path, &json!(null), 0).expect("an answer");
    assert_eq!(drained.status, 200, "{}", drained.body);
    let members = cluster.get(asked, "/v1/admin/members", 0).expect("an answer").body;
    let peers = members["peers"].as_array().expect("members");
    assert!(peers.iter().all(|peer| peer["member"]["node_id"] != id), "{members}");
    cluster.set_flag(asked, "without", "b");
}

#[test]
fn a_dead_node_is_replaced_by_a_new_one_in_one_operation() {
    let cluster = Cluster::up(3, &["--empty"]);
    let revision = cluster.set_flag(0, "before", "a");
    let leader = cluster.leader(0);
    let dead = (leader + 1) % 3;
    let asked = (leader + 2) % 3;
    let dead_id = cluster.nodes[dead].id;
    cluster.signal(dead, "-KILL");
    let verb = |path: &str| cluster.post(asked, path, &json!(null), 0).expect("an answer");
    let absent = verb("/v1/admin/members/99:replace");
    assert_eq!(absent.status, 409, "{}", absent.body);
    let given = verb(&format!("/v1/admin/members/{dead_id}:replace"));
    assert_eq!(given.status, 200, "{}", given.body);
    let token = given.body["token"].as_str().expect("a token");

    let dir = cluster.folder.path().join("replacement");
    std::fs::create_dir_all(&dir).expect("folder");
    let settings = format!(
        "[node]\ndata_dir = {:?}\n[http]\naddress = \"127.0.0.1:{}\"\n[cluster]\njoin = {token:?}\n\
         [[keys]]\nname = \"cluster\"\nsha256 = \"{}\"\nrole = \"operator\"\n",
        dir.join("data"),
        cluster.port(4),
        // The new node may lead at the end, and a leader takes the keys that it knows.
        verdict_config::model::sha256_hex(cluster.key.as_bytes()),
    );
    std::fs::write(dir.join("node.toml"), settings).expect("settings");
    let mut new = Command::new(VERDICT)
        .args(["node", "--config"])
        .arg(dir.join("node.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let voters = || {
        let members = cluster.get(asked, "/v1/admin/members", 0)?.body;
        let peers = members["peers"].as_array()?.clone();
        let voters = peers.iter().filter(|peer| peer["member"]["voter"] == true);
        Some(voters.filter_map(|peer| peer["member"]["node_id"].as_u64()).collect::<Vec<_>>())
    };
    let mut expected: Vec<u64> =
        cluster.nodes.iter().map(|node| node.id).filter(|id| *id != dead_id).collect();
    expected.push(4);
    eventually(voters, |voters| voters.as_ref() == Some(&expected));
    // It counts: without the old leader the two that are left are a majority of three.
    cluster.signal(leader, "-KILL");
    let next = cluster.set_flag(asked, "after", "b");
    assert_eq!(cluster.flag(asked, next), "b");
    assert!(next > revision);
    let _ = new.kill();
    let _ = new.wait();
}
