//! Models and large objects on every node: fetched from whoever has them, loaded before a change
//! makes them active, and in the log by their hash only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use verdict_config::model::sha256_hex;

use crate::cluster::harness::Cluster;
use crate::process::{VERDICT, eventually};

/// Runs a command against a node and reads its JSON.
fn verdict(cluster: &Cluster, node: usize, arguments: &[&str], path: &Path) -> Json {
    let output = Command::new(VERDICT)
        .arg("--json")
        .args(arguments)
        .arg(path)
        .args(["--url", &cluster.nodes[node].http, "--api-key", &cluster.key])
        .stdin(Stdio::null())
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A model folder like one of the demo's, that no node has yet.
fn new_model(cluster: &Cluster, version: &str) -> PathBuf {
    let exported = cluster.folder.path().join("exported");
    if !exported.exists() {
        verdict(cluster, 0, &["export"], &exported);
    }
    let mut models = std::fs::read_dir(exported.join("models")).expect("models");
    let model = models.next().expect("a model of the demo").expect("it").path();
    let folder = cluster.folder.path().join(version);
    std::fs::create_dir_all(&folder).expect("folder");
    for file in std::fs::read_dir(&model).expect("files") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), folder.join(file.file_name())).expect("copied");
    }
    let manifest = folder.join("model.json");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    let mut json: Json = serde_json::from_str(&text).expect("JSON");
    json["version"] = json!(version);
    std::fs::write(&manifest, json.to_string()).expect("written");
    folder
}

fn status(cluster: &Cluster, node: usize, revision: u64) -> Json {
    let look =
        || cluster.get(node, "/v1/status", revision).map(|answer| (answer.status, answer.body));
    let seen = eventually(look, |seen| seen.as_ref().is_some_and(|(status, _)| *status == 200));
    seen.expect("an answer").1
}

fn blobs(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.nodes[node].dir.join("data/blobs")
}

/// The evidence that a node's history has of a revision: node ids, and hashes of models.
fn evidence(cluster: &Cluster, node: usize, revision: u64) -> (BTreeSet<u64>, BTreeSet<String>) {
    let history = cluster.history(node, revision);
    let entries = history["entries"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["revision"] == revision).expect("the change");
    let of = entry["evidence"].as_array().expect("evidence");
    let nodes = of.iter().map(|one| one["node_id"].as_u64().expect("an id")).collect();
    let models = of.iter().map(|one| one["model"].as_str().expect("a hash").to_owned()).collect();
    assert!(of.iter().all(|one| one["at"].is_string()), "{of:?}");
    (nodes, models)
}

#[test]
fn a_model_given_to_a_follower_is_active_once_every_node_has_loaded_it() {
    let mut cluster = Cluster::up(3, &[]);
    let follower = (cluster.leader(0) + 1) % 3;
    let folder = new_model(&cluster, "fresh-1");
    let pushed = verdict(&cluster, follower, &["model", "push", "--name", "fresh"], &folder);
    let revision = pushed["revision"].as_u64().expect("a revision");
    let hash = pushed["content_hash"].as_str().expect("a hash").to_owned();
    for node in 0..3 {
        let status = status(&cluster, node, revision);
        assert_eq!(status["revision"], revision);
        let models = status["models"].as_array().expect("models");
        assert!(models.contains(&json!("fresh")), "{models:?}");
        assert_eq!(status["runtime"]["publisher"]["models_unavailable"], json!({}));
        assert!(blobs(&cluster, node).join(&hash).is_dir());
        let expected = (BTreeSet::from([1, 2, 3]), BTreeSet::from([hash.clone()]));
        assert_eq!(evidence(&cluster, node, revision), expected);
        let told = cluster.get(node, &format!("/v1/models/{hash}:readiness"), 0).expect("answer");
        let ready = |node: &Json| node["ready"] == true && node["reason"] == json!(null);
        let nodes = told.body["nodes"].as_array().expect("nodes");
        assert!(nodes.len() == 3 && nodes.iter().all(ready), "{}", told.body);
    }

    // A node that runs and cannot have the model holds a change to it back, and is named.
    let broken = (follower + 1) % 3;
    cluster.signal(broken, "-KILL");
    std::fs::remove_dir_all(blobs(&cluster, broken).join(&hash)).expect("the folder goes");
    let obstacle = blobs(&cluster, broken).join(format!(".partial-{hash}"));
    std::fs::write(&obstacle, "no folder").expect("written");
    cluster.signal(follower, "-KILL");
    let settings = cluster.nodes[follower].dir.join("node.toml");
    let text = std::fs::read_to_string(&settings).expect("settings");
    let text = text.replace("[cluster]\n", "[cluster]\nactivation_wait_ms = 1500\n");
    std::fs::write(&settings, text).expect("settings");
    cluster.start(broken);
    cluster.restart(follower);
    let alias = json!({ "request_id": "alias", "why": "a test", "changes": [
        { "kind": "alias", "name": "the-fresh", "op": "put", "body": { "model": "fresh" } } ] });
    let put = |cluster: &Cluster| cluster.post(follower, "/v1/changes", &alias, 0);
    let refused = eventually(
        || put(&cluster).map(|answer| (answer.status, answer.body)),
        |seen| seen.as_ref().is_some_and(|(_, body)| body["code"] == "VD0611"),
    );
    let (status_code, body) = refused.expect("an answer");
    assert_eq!(status_code, 503);
    let detail = body["detail"].as_str().expect("a detail");
    assert!(detail.contains(&format!("node {}", cluster.nodes[broken].id)), "{detail}");
    assert!(!detail.contains(&format!("node {}:", cluster.nodes[follower].id)), "{detail}");

    // Once it can, the same change is taken; what it has brought is told.
    std::fs::remove_file(&obstacle).expect("the obstacle goes");
    let taken = eventually(
        || put(&cluster).map(|answer| (answer.status, answer.body)),
        |seen| seen.as_ref().is_some_and(|(status, _)| *status == 200),
    );
    let moved = taken.expect("an answer").1["revision"].as_u64().expect("a revision");
    assert_eq!(moved, revision + 1);
    assert_eq!(evidence(&cluster, broken, moved).0, BTreeSet::from([1, 2, 3]));

    // One that is down holds nothing back: a majority has it, and that is what is written down.
    cluster.signal(broken, "-KILL");
    let mut again = alias.clone();
    again["request_id"] = json!("again");
    let taken = cluster.post(follower, "/v1/changes", &again, 0).expect("an answer");
    assert_eq!(taken.status, 200, "{}", taken.body);
    let last = taken.body["revision"].as_u64().expect("a revision");
    let here: BTreeSet<u64> =
        (0..3).filter(|node| *node != broken).map(|node| cluster.nodes[node].id).collect();
    assert_eq!(evidence(&cluster, follower, last).0, here);
}

#[test]
fn a_folder_that_was_brought_in_part_is_not_brought_from_the_start() {
    let mut cluster = Cluster::up(3, &[]);
    let leader = cluster.leader(0);
    let (source, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let folder = new_model(&cluster, "parts-1");
    cluster.signal(other, "-KILL");
    let pushed = verdict(&cluster, source, &["model", "push", "--name", "parts"], &folder);
    let hash = pushed["content_hash"].as_str().expect("a hash").to_owned();
    let revision = pushed["revision"].as_u64().expect("a revision");

    // As a kill in the middle of a fetch leaves it: half of the largest file.
    let files = std::fs::read_dir(&folder).expect("files");
    let files = files.map(|file| file.expect("a file").path());
    let largest =
        files.max_by_key(|file| file.metadata().expect("a length").len()).expect("a file");
    let bytes = std::fs::read(&largest).expect("bytes");
    let partial = blobs(&cluster, other).join(format!(".partial-{hash}"));
    std::fs::create_dir_all(&partial).expect("folder");
    let half = &bytes[..bytes.len() / 2];
    std::fs::write(partial.join(largest.file_name().expect("a name")), half).expect("written");

    cluster.restart(other);
    let served = status(&cluster, other, revision);
    assert_eq!(served["runtime"]["publisher"]["models_unavailable"], json!({}));
    let counts = &served["runtime"]["blobs"];
    assert_eq!(counts["bytes_resumed"], half.len(), "{counts}");
    assert_eq!((&counts["brought"], &counts["lies"]), (&json!(1), &json!(0)), "{counts}");
    assert!(!partial.exists());
    let kept = std::fs::read(blobs(&cluster, other).join(&hash).join(largest.file_name().unwrap()));
    assert_eq!(kept.expect("the file"), bytes);
}

/// A list whose body is far beyond what the log carries.
fn list(count: usize) -> Json {
    let entries = (0..count).map(|number| json!({ "value": format!("value-{number:08}") }));
    json!({ "entries": entries.collect::<Vec<_>>() })
}

fn put_list(cluster: &Cluster, node: usize, request_id: &str, body: &Json) -> u64 {
    let set = json!({ "request_id": request_id, "why": "a test", "changes": [
        { "kind": "list", "name": "long", "op": "put", "body": body } ] });
    let put = cluster.post(node, "/v1/changes", &set, 0).expect("an answer");
    assert_eq!(put.status, 200, "{}", put.body);
    put.body["revision"].as_u64().expect("a revision")
}

fn read_list(cluster: &Cluster, node: usize, revision: u64) -> Json {
    let look = || {
        let answer = cluster.get(node, "/v1/objects/list/long", revision)?;
        Some((answer.status, answer.body["body"].clone()))
    };
    let seen = eventually(look, |seen| seen.as_ref().is_some_and(|(status, _)| *status == 200));
    seen.expect("an answer").1
}

#[test]
fn a_long_list_is_in_the_log_by_its_hash_and_reaches_every_node() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    let leader = cluster.leader(0);
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let body = list(4_000);
    let hash = sha256_hex(body.to_string().as_bytes());
    let revision = put_list(&cluster, follower, "first", &body);
    for node in 0..3 {
        assert_eq!(read_list(&cluster, node, revision), body, "node {node}");
        assert!(blobs(&cluster, node).join("objects").join(&hash).is_file(), "node {node}");
    }
    // A retry is the same change, and the whole body is in its history.
    assert_eq!(put_list(&cluster, leader, "first", &body), revision);
    let history = cluster.history(other, revision);
    assert_eq!(history["entries"][0]["after"]["hash"], hash);
    assert_eq!(history["entries"][0]["after"]["body"], body);

    // A node that was away, to whom nobody can give the body: it serves what it has, says what it
    // lacks, and is killed while it looks for it.
    cluster.signal(other, "-KILL");
    let longer = list(5_000);
    let hash = sha256_hex(longer.to_string().as_bytes());
    let second = put_list(&cluster, follower, "second", &longer);
    let hidden = cluster.folder.path().join("hidden");
    std::fs::rename(blobs(&cluster, leader).join("objects").join(&hash), &hidden).expect("hidden");
    let gone = blobs(&cluster, follower).join("objects").join(&hash);
    std::fs::remove_file(gone).expect("it goes");
    let third = cluster.set_flag(follower, "third", "a");
    for _ in 0..2 {
        cluster.start(other);
        let waits = || {
            let answer = cluster.get(other, "/readyz", 0)?;
            Some((answer.status, answer.body["status"].as_str().unwrap_or_default().to_owned()))
        };
        let seen = eventually(waits, |seen| {
            seen.as_ref().is_some_and(|(status, text)| *status == 503 && text.contains(&hash))
        });
        assert!(seen.is_some());
        assert_eq!(read_list(&cluster, other, revision), body, "it serves what it has");
        cluster.signal(other, "-KILL");
    }
    // It is found again: the node goes on where it stood.
    std::fs::rename(&hidden, blobs(&cluster, leader).join("objects").join(&hash)).expect("back");
    cluster.restart(other);
    assert_eq!(cluster.flag(other, third), "a");
    assert_eq!(read_list(&cluster, other, third), longer);

    // Back to the shorter one, by a forward change that names what it restores.
    let back = json!({ "request_id": "back", "why": "a test", "to_revision": revision,
        "objects": [{ "kind": "list", "name": "long" }] });
    let rolled = cluster.post(other, "/v1/rollback", &back, 0).expect("an answer");
    assert_eq!(rolled.status, 200, "{}", rolled.body);
    assert_eq!(second + 2, rolled.body["revision"].as_u64().expect("a revision"));
    for node in 0..3 {
        assert_eq!(read_list(&cluster, node, second + 2), body, "node {node}");
    }
}

#[test]
fn a_node_that_joins_later_gets_the_long_list() {
    let cluster = Cluster::up(2, &["--empty"]);
    let body = list(3_000);
    let revision = put_list(&cluster, 1, "first", &body);
    let token = cluster.post(0, "/v1/admin/tokens", &json!({ "voter": false }), 0).expect("answer");
    let token = token.body["token"].as_str().expect("a token").to_owned();
    let (dir, port) = (cluster.folder.path().join("joiner"), cluster.port(3));
    std::fs::create_dir_all(&dir).expect("folder");
    let settings = format!(
        "[node]\ndata_dir = {:?}\n[http]\naddress = \"127.0.0.1:{port}\"\n[cluster]\njoin = {token:?}\n",
        dir.join("data"),
    );
    std::fs::write(dir.join("node.toml"), settings).expect("settings");
    let mut joiner = Command::new(VERDICT)
        .args(["node", "--config"])
        .arg(dir.join("node.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the node starts");
    let read = || {
        // A node without keys makes one.
        let key = std::fs::read_to_string(dir.join("data/api-key")).ok()?;
        let request = cluster.agent.get(format!("http://127.0.0.1:{port}/v1/objects/list/long"));
        let request = request.header("X-API-Key", key.trim());
        let answer = request.header("X-Verdict-Min-Revision", revision.to_string()).call();
        let answer = crate::cluster::harness::answer(answer)?;
        (answer.status == 200).then(|| answer.body["body"].clone())
    };
    let seen = eventually(read, Option::is_some);
    let _ = joiner.kill();
    let _ = joiner.wait();
    assert_eq!(seen.expect("an answer"), body);
}
