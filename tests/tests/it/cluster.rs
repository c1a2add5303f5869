//! Several node processes with one log: any node takes any write, and what was answered stands
//! whoever is killed.

#[path = "cluster/harness.rs"]
pub mod harness;

use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::process::{VERDICT, eventually};
use harness::{Answer, Cluster, answer};

#[test]
fn a_change_at_any_node_is_served_at_all_and_survives_its_leader() {
    let mut cluster = Cluster::up(3, &["--empty"]);

    // A follower takes a change; whoever asks for its revision sees it at every node.
    let leader = cluster.leader(0);
    let follower = (leader + 1) % 3;
    let revision = cluster.set_flag(follower, "first", "a");
    for node in 0..3 {
        assert_eq!(cluster.flag(node, revision), "a", "node {node}");
    }

    // The leader is killed. What was answered stands, a retry is not applied again, and a change
    // at either survivor is taken.
    cluster.signal(leader, "-KILL");
    assert_eq!(cluster.set_flag(follower, "first", "a"), revision);
    let second = cluster.set_flag(follower, "second", "b");
    let other = (leader + 2) % 3;
    assert_eq!(cluster.flag(other, second), "b");
    let third = cluster.set_flag(other, "third", "c");
    assert_eq!(cluster.flag(follower, third), "c");

    // It comes back and has what it missed, in the same order as the others.
    cluster.restart(leader);
    assert_eq!(cluster.flag(leader, third), "c");
    let expected = cluster.history(follower, third);
    assert_eq!(cluster.history(leader, third), expected);
    assert_eq!(cluster.history(other, third), expected);

    // A rollback through the node that was away is one revision everywhere.
    let body = json!({ "request_id": "back", "why": "a test", "to_revision": revision,
        "objects": [{ "kind": "flag", "name": "f" }] });
    let rolled = cluster.post(leader, "/v1/rollback", &body, 0).expect("an answer");
    assert_eq!(rolled.status, 200, "{}", rolled.body);
    let rolled = rolled.body["revision"].as_u64().expect("a revision");
    assert_eq!(rolled, third + 1);
    for node in 0..3 {
        assert_eq!(cluster.flag(node, rolled), "a", "node {node}");
    }
}

#[test]
fn all_nodes_end_at_once_and_nothing_answered_is_lost() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    let mut revision = 0;
    for round in 0..10 {
        revision = cluster.set_flag(round % 3, &format!("r{round}"), ["a", "b", "c"][round % 3]);
    }
    for node in 0..3 {
        cluster.signal(node, "-KILL");
    }
    // Two of three are a majority; the third comes later.
    for node in [2, 1, 0] {
        cluster.start(node);
    }
    for node in 0..3 {
        assert_eq!(cluster.flag(node, revision), "a", "node {node}");
    }
    let next = cluster.set_flag(1, "after", "d");
    assert_eq!(next, revision + 1);
    assert_eq!(cluster.flag(0, next), "d");
}

#[test]
fn a_leader_that_is_told_to_stop_costs_no_request() {
    let cluster = Cluster::up(3, &["--empty"]);
    let leader = cluster.leader(0);
    let survivor = (leader + 1) % 3;
    let before = cluster.set_flag(survivor, "before", "a");
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    std::thread::scope(|scope| {
        let cluster = &cluster;
        let load = scope.spawn(move || {
            let mut revisions = vec![before];
            while stopped.try_recv().is_err() {
                let body = json!({ "request_id": format!("w{}", revisions.len()), "why": "load",
                    "changes": [{ "kind": "setting", "name": "s", "op": "put",
                        "body": { "n": revisions.len() } }] });
                // One try each: a drain must not need any client's patience.
                let answer = cluster.post(survivor, "/v1/changes", &body, 0).expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.body);
                revisions.push(answer.body["revision"].as_u64().expect("a revision"));
            }
            revisions
        });
        cluster.signal(leader, "-TERM");
        let after = cluster.set_flag(survivor, "after", "b");
        stop.send(()).expect("the load goes on");
        let revisions = load.join().expect("every change was taken");
        assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "{revisions:?}");
        assert!(after > before);
    });
    assert_ne!(cluster.leader(survivor), leader);
}

#[test]
fn members_join_once_by_token_and_never_go_below_a_majority() {
    let cluster = Cluster::up(2, &["--empty"]);
    let token = cluster.post(0, "/v1/admin/tokens", &json!({ "voter": false }), 0).expect("answer");
    assert_eq!(token.status, 200, "{}", token.body);
    let token = token.body["token"].as_str().expect("a token").to_owned();

    // Two nodes with the same token: one is let in, the other is told why not.
    let start = |number: u16| {
        let dir = cluster.folder.path().join(format!("joiner-{number}"));
        std::fs::create_dir_all(&dir).expect("folder");
        let settings = format!(
            "[node]\ndata_dir = {:?}\n[http]\naddress = \"127.0.0.1:{}\"\n[cluster]\njoin = {token:?}\n",
            dir.join("data"),
            cluster.port(2 + number),
        );
        std::fs::write(dir.join("node.toml"), settings).expect("settings");
        let mut command = Command::new(VERDICT);
        command.args(["node", "--config"]).arg(dir.join("node.toml")).stdin(Stdio::null());
        command
    };
    let mut first = start(1).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let member = |id: u64| {
        let members = cluster.get(0, "/v1/admin/members", 0)?.body;
        let peers = members["peers"].as_array()?.clone();
        peers.into_iter().map(|peer| peer["member"].clone()).find(|member| member["node_id"] == id)
    };
    let learner = eventually(|| member(3), Option::is_some).expect("a member");
    assert_eq!(learner["voter"], false);
    let second = start(2).output().expect("the node runs");
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("used by another node"), "{told}");

    // Two voters need each other; a learner may go, and its id is not given again.
    let change = |path: &str| cluster.post(0, path, &json!(null), 0).expect("an answer");
    let removed = change("/v1/admin/members/3:remove");
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert!(member(3).is_none());
    let _ = first.kill();
    let _ = first.wait();
    let last = change("/v1/admin/members/1:remove");
    let rest = change("/v1/admin/members/2:remove");
    assert!(last.status == 200 || rest.status == 200, "one of two may go");
    let alone = change("/v1/admin/members/1:remove");
    let other = change("/v1/admin/members/2:remove");
    assert!(alone.status == 409 || other.status == 409, "{} {}", alone.body, other.body);
}

#[test]
fn every_node_decides_by_the_models_that_one_was_given() {
    let cluster = Cluster::up(2, &[]);
    let input = json!({ "input": {
        "name": "Harbour Bakery", "description": "bread, cakes and coffee to take away", "country": "DE",
    }, "test": true });
    let decide = |node| {
        let answer = cluster.post(node, "/v1/decisions/merchant_onboarding", &input, 1);
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let (one, two) = (decide(0), decide(1));
    for part in ["outcome", "classification", "risk", "reasons", "models", "revision"] {
        assert_eq!(one[part], two[part], "{part}");
    }
    assert_ne!(one["models"], json!([]), "a model was asked");

    // Whoever made it, any node tells of it, and computes it again to the same.
    for (maker, asked, decision) in [(0, 1, &one), (1, 0, &two)] {
        let id = decision["decision_id"].as_str().expect("an id");
        let path = format!("/v1/decisions/{id}");
        let told = cluster.get(asked, &path, 0).expect("an answer");
        assert_eq!((told.status, &told.body["decision"]["decision_id"]), (200, &json!(id)));
        assert_eq!(cluster.get(maker, &path, 0).expect("an answer").body, told.body);
        let replayed = cluster.post(asked, &format!("{path}:replay"), &json!(null), 0);
        let replayed = replayed.expect("an answer");
        assert_eq!((replayed.status, &replayed.body["equal"]), (200, &json!(true)));
    }
    // An outcome told to the other node stands where its decision is, and counts once.
    let id = one["decision_id"].as_str().expect("an id");
    let outcome = |id: &str, decision: &str| {
        json!({ "id": id, "decision_id": decision,
        "metric": "label", "value": "44" })
    };
    let absent = format!("{}0000", &id[..22]);
    let report = |outcomes: Json| {
        cluster.post(1, "/v1/outcomes", &json!({ "outcomes": outcomes }), 0).expect("an answer")
    };
    let mine = two["decision_id"].as_str().expect("an id");
    let told = report(json!([outcome("o-1", mine), outcome("o-2", id)]));
    let states =
        json!([{ "id": "o-1", "state": "recorded" }, { "id": "o-2", "state": "recorded" }]);
    assert_eq!((told.status, &told.body["outcomes"]), (200, &states), "{}", told.body);
    let again = report(json!([outcome("o-2", id)]));
    assert_eq!(again.body["outcomes"][0]["state"], "repeated", "{}", again.body);
    let path = format!("/v1/decisions/{id}");
    let explained = cluster.get(0, &path, 0).expect("an answer").body;
    assert_eq!(explained["observed"].as_array().map(Vec::len), Some(1), "{explained}");
    // A fault at the other node is told at its place in the request.
    let refused = report(json!([outcome("o-3", mine), outcome("o-4", &absent)]));
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.body["faults"][0]["path"], "outcomes[1].decision_id", "{}", refused.body);

    let unknown = cluster.get(0, "/v1/decisions/01M868EQR2000JDGBH9X8CQN5F", 0).expect("an answer");
    assert_eq!(unknown.status, 404, "{}", unknown.body);
}

#[test]
fn a_node_that_is_alone_answers_from_what_it_has_and_says_so() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    let flow = json!({ "request_id": "flow", "why": "a test", "changes": [
        { "kind": "flow", "name": "pay", "op": "put",
          "body": { "flow": "pay", "fields": { "amount": { "type": "int" } } } } ] });
    let put = cluster.post(1, "/v1/changes", &flow, 0).expect("an answer");
    assert_eq!(put.status, 200, "{}", put.body);
    let revision = put.body["revision"].as_u64().expect("a revision");

    // A linearizable read at another node needs no revision to see it.
    let read = cluster.get(2, "/v1/objects/flow/pay?consistency=linearizable", 0).expect("answer");
    assert_eq!((read.status, &read.body["revision"]), (200, &json!(revision)), "{}", read.body);
    let wrong = cluster.get(2, "/v1/objects/flow/pay?consistency=maybe", 0).expect("an answer");
    assert_eq!(wrong.status, 400, "{}", wrong.body);

    let decide = |cluster: &Cluster| {
        let body = json!({ "input": { "amount": 5 } });
        cluster.post(0, "/v1/decisions/pay", &body, revision).map(|answer| answer.body)
    };
    assert_eq!(decide(&cluster).expect("an answer")["stale"], false);

    // Without the two others the node goes on, and marks what it answers; also after a cold start.
    let settings = cluster.nodes[0].dir.join("node.toml");
    let text = std::fs::read_to_string(&settings).expect("settings");
    let text = text.replace("join = ", "stale_after_ms = 300\njoin = ");
    std::fs::write(&settings, text).expect("settings");
    for node in [1, 2] {
        cluster.signal(node, "-KILL");
    }
    cluster.signal(0, "-KILL");
    cluster.restart(0);
    let stale = |answer: &Option<Json>| answer.as_ref().is_some_and(|body| body["stale"] == true);
    eventually(|| decide(&cluster), stale);
    let read = cluster.get(0, "/v1/objects/flow/pay?consistency=linearizable", 0).expect("answer");
    assert_eq!((read.status, &read.body["code"]), (503, &json!("VD0606")), "{}", read.body);
    let mut late = flow.clone();
    late["request_id"] = json!("late");
    let refused = cluster.post(0, "/v1/changes", &late, 0).expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.body);

    // The others come back: the mark goes, and changes are taken again.
    cluster.start(1);
    cluster.start(2);
    let fresh = |answer: &Option<Json>| answer.as_ref().is_some_and(|body| body["stale"] == false);
    eventually(|| decide(&cluster), fresh);
    assert_eq!(cluster.set_flag(0, "again", "b"), revision + 1);
}

/// Waits until a cluster that began again says nothing of the members of the one before; its revision.
fn farewell(cluster: &Cluster, node: usize) -> u64 {
    let of_members = || {
        let objects = cluster.get(node, "/v1/objects/member", 0)?.body;
        Some(objects["objects"].as_array()?.iter().filter(is_standing).count())
    };
    assert_eq!(eventually(of_members, |count| *count == Some(0)), Some(0));
    cluster.get(node, "/v1/status", 0).expect("a status").body["revision"].as_u64().expect("it")
}

fn is_standing(object: &&Json) -> bool {
    object["name"].as_str().is_some_and(|name| name.starts_with("standing-"))
}

/// The history without its newest change set, in which the node says that the others are gone.
fn before_farewell(history: &Json) -> Json {
    let entries = history["entries"].as_array().expect("entries");
    let newest = &entries[0]["revision"];
    let (last, before): (Vec<&Json>, Vec<&Json>) =
        entries.iter().partition(|entry| entry["revision"] == *newest);
    assert!(last.iter().all(|entry| is_standing(entry) && entry["op"] == "delete"), "{last:?}");
    assert_eq!(last[0]["author"], "node-1");
    json!(before)
}

#[test]
fn a_backup_is_a_cluster_again_elsewhere() {
    let mut cluster = Cluster::up(2, &[]);
    let revision = cluster.set_flag(1, "kept", "c");
    let history = cluster.history(0, revision);
    let backup = cluster.folder.path().join("backup.tar");
    let fetched = Command::new(VERDICT)
        .args(["backup", "--url", &cluster.nodes[1].http, "--api-key", &cluster.key])
        .arg(&backup)
        .output()
        .expect("the command runs");
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    for node in 0..2 {
        cluster.signal(node, "-KILL");
    }

    // A new folder with the settings of the first node, and nothing else of it.
    let old = cluster.nodes[0].dir.clone();
    let new = cluster.folder.path().join("restored");
    std::fs::create_dir_all(&new).expect("folder");
    let settings = std::fs::read_to_string(old.join("node.toml")).expect("settings");
    let settings = settings.replace(&old.display().to_string(), &new.display().to_string());
    std::fs::write(new.join("node.toml"), settings).expect("settings");
    std::fs::write(new.join("node.log"), "").expect("log");
    let restore = |file: &std::path::Path| {
        let config = new.join("node.toml");
        let mut command = Command::new(VERDICT);
        command.arg("restore").arg(file).arg("--config").arg(config);
        command.output().expect("the command runs")
    };

    // Cut off, or with one bit turned, it is refused and leaves nothing that could be started.
    let whole = std::fs::read(&backup).expect("the backup");
    let damaged = cluster.folder.path().join("damaged.tar");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&whole[..whole.len() / 3], &flipped[..]] {
        std::fs::write(&damaged, bytes).expect("a damaged backup");
        assert!(!restore(&damaged).status.success());
        assert!(!new.join("data/raft").exists());
    }
    let restored = restore(&backup);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    // A folder that has state is not written over.
    assert!(!restore(&backup).status.success());

    let before = std::fs::read_to_string(old.join("data/raft/identity")).expect("an identity");
    cluster.nodes[0].dir = new.clone();
    cluster.restart(0);
    let after = std::fs::read_to_string(new.join("data/raft/identity")).expect("an identity");
    assert_ne!(before, after, "it is a cluster of its own");
    assert_eq!(cluster.flag(0, revision), "c");
    let revision = farewell(&cluster, 0);
    assert_eq!(before_farewell(&cluster.history(0, revision)), history["entries"]);
    let body = json!({ "input": { "name": "Harbour Bakery", "description": "bread and cakes" } });
    let decided = cluster.post(0, "/v1/decisions/merchant_onboarding", &body, revision);
    let decided = decided.expect("an answer");
    assert_eq!((decided.status, &decided.body["degraded"]), (200, &json!([])), "{}", decided.body);
    assert_eq!(cluster.set_flag(0, "further", "a"), revision + 1);
    assert!(revision >= 1_000_000, "{revision}");
    a_revision_of_the_cluster_before_is_gone(&cluster, history["entries"][0]["revision"].as_u64());
}

/// Everything that takes a revision refuses one that only the cluster of before can have made.
fn a_revision_of_the_cluster_before_is_gone(cluster: &Cluster, newest: Option<u64>) {
    let foreign = newest.expect("a revision") + 6;
    let gone = |answer: Option<Answer>, what: &str| {
        let answer = answer.expect("an answer");
        let seen = (answer.status, &answer.body["code"]);
        assert_eq!(seen, (410, &json!("VD0615")), "{what}: {}", answer.body);
    };
    gone(cluster.get(0, "/v1/status", foreign), "X-Verdict-Min-Revision");
    let paths = ["/v1/watch?from=", "/v1/watch?poll_ms=0&from=", "/v1/objects/flag/f?revision="];
    for path in paths {
        gone(cluster.get(0, &format!("{path}{foreign}"), 0), path);
    }
    gone(cluster.get(0, &format!("/v1/history?cursor={foreign}.0"), 0), "cursor");
    let watch = cluster.agent.get(format!("{}/v1/watch", cluster.nodes[0].http));
    let watch = watch.header("X-API-Key", &cluster.key);
    gone(answer(watch.header("Last-Event-ID", foreign.to_string()).call()), "Last-Event-ID");
    let change = json!({ "request_id": "foreign", "why": "a test", "changes": [{ "kind": "flag",
        "name": "f", "op": "delete", "expected_revision": foreign }] });
    gone(cluster.post(0, "/v1/changes", &change, 0), "expected_revision");
    let rollback = json!({ "request_id": "back", "why": "a test", "to_revision": foreign });
    gone(cluster.post(0, "/v1/rollback", &rollback, 0), "to_revision");
    let decision = json!({ "input": { "name": "Harbour Bakery" } });
    gone(cluster.post(0, "/v1/decisions/merchant_onboarding", &decision, foreign), "a decision");
}

#[test]
fn the_only_survivor_begins_again_when_it_is_told_to() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    let revision = cluster.set_flag(0, "kept", "b");
    assert_eq!(cluster.flag(2, revision), "b");
    for node in 0..3 {
        cluster.signal(node, "-KILL");
    }
    let recover = |arguments: &[&str]| {
        let mut command = Command::new(VERDICT);
        command.arg("recover").arg("--config").arg(cluster.nodes[2].dir.join("node.toml"));
        command.args(arguments).output().expect("the command runs")
    };
    let careful = recover(&[]);
    assert!(!careful.status.success());
    assert!(String::from_utf8_lossy(&careful.stderr).contains("--accept-loss"));
    let done = recover(&["--accept-loss"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    cluster.restart(2);
    assert_eq!(cluster.flag(2, revision), "b");
    let revision = farewell(&cluster, 2);
    assert_eq!(cluster.set_flag(2, "alone", "d"), revision + 1);

    // A node of the old cluster is turned away, and does not disturb.
    cluster.start(0);
    assert_eq!(cluster.set_flag(2, "still", "a"), revision + 2);
    let members = cluster.get(2, "/v1/admin/members", 0).expect("an answer").body;
    assert_eq!(members["peers"].as_array().map(Vec::len), Some(1), "{members}");
}

#[test]
fn a_unit_that_is_erased_anywhere_is_erased_everywhere() {
    let cluster = Cluster::up(2, &[]);
    let body = json!({ "input": { "amount": 12, "currency": "EUR", "account_id": "acc-1",
        "card_id": "card-1" } });
    let decide = |node| {
        let answer = cluster.post(node, "/v1/decisions/payment", &body, 1).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["decision_id"].as_str().expect("an id").to_owned()
    };
    let ids = [decide(0), decide(1)];
    let replay = |id: &str| {
        let path = format!("/v1/decisions/{id}:replay");
        cluster.post(0, &path, &json!(null), 0).expect("an answer").status
    };
    assert_eq!(ids.each_ref().map(|id| replay(id)), [200, 200]);
    let request = cluster.agent.delete(format!("{}/v1/units/acc-1", cluster.nodes[0].http));
    let erased = answer(request.header("X-API-Key", &cluster.key).call()).expect("an answer");
    assert_eq!((erased.status, &erased.body["found"]), (200, &json!(true)), "{}", erased.body);
    assert_eq!(ids.each_ref().map(|id| replay(id)), [410, 410]);

    // With a node away, whoever erases is told so, and may say it again.
    let id = decide(1);
    cluster.signal(1, "-STOP");
    let request = cluster.agent.delete(format!("{}/v1/units/acc-1", cluster.nodes[0].http));
    let told = answer(request.header("X-API-Key", &cluster.key).call()).expect("an answer");
    assert_eq!((told.status, &told.body["code"]), (503, &json!("VD0609")), "{}", told.body);
    cluster.signal(1, "-CONT");
    let request = || cluster.agent.delete(format!("{}/v1/units/acc-1", cluster.nodes[0].http));
    eventually(
        || answer(request().header("X-API-Key", &cluster.key).call()).map(|answer| answer.status),
        |status| *status == Some(200),
    );
    assert_eq!(replay(&id), 410);
}
