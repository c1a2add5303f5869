//! Fixtures that an older release made: its state folder starts, its backup is restored, and both serve
//! what they held. `tests/fixtures/e23b5c5/README.md` says how they came to be.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::process::{KEY, Node, VERDICT, eventually};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/e23b5c5");
/// All fixtures of one release together.
const FIXTURE_BYTES_MAX: u64 = 1 << 20;

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

fn read_json(name: &str) -> Vec<Json> {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn unpack(archive: &str, folder: &Path) {
    let status =
        Command::new("tar").arg("-xzf").arg(fixture(archive)).arg("-C").arg(folder).status();
    assert!(status.unwrap().success(), "{archive}");
}

/// Writes settings of a node whose state is in `folder/state`, and gives its address.
fn write_settings(folder: &Path) -> String {
    let address = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (http, key) = (address(), verdict_config::model::sha256_hex(KEY.as_bytes()));
    let settings = format!(
        "[node]\ndata_dir = {state:?}\n[http]\naddress = \"{http}\"\n\
         [cluster]\npeer_address = \"{peer}\"\n[admin]\naddress = \"{admin}\"\n\
         [[keys]]\nname = \"tests\"\nsha256 = \"{key}\"\nrole = \"operator\"\n",
        state = folder.join("state"),
        peer = address(),
        admin = address(),
    );
    std::fs::write(folder.join("node.toml"), settings).unwrap();
    http
}

/// Waits until the leader has raised the version of the cluster.
fn wait_raised(node: &Node) {
    let version = || node.get("/v1/status").json()["cluster"]["version"].as_u64();
    eventually(version, |version| version.is_some_and(|version| version >= 3));
}

/// Each decision is read as it was sent, and a replay under the version of then comes out the same.
fn check_decisions(node: &Node) {
    for answer in read_json("answers.json") {
        let id = answer["decision_id"].as_str().unwrap();
        let read = node.get(&format!("/v1/decisions/{id}")).json();
        assert_eq!(read["decision"], answer);
        let replayed = node.post(&format!("/v1/decisions/{id}:replay"), &json!({}));
        assert_eq!(replayed.status, 200, "{replayed:?}");
        let replayed = replayed.json();
        assert_eq!(replayed["equal"], json!(true), "{id}: {}", replayed["differences"]);
        assert_eq!(replayed["evaluation_changed"], json!(false));
        assert_eq!(replayed["evaluation"], json!({"recorded": 1, "replayed": 1}));
    }
}

#[test]
fn the_fixtures_of_a_release_are_small() {
    let bytes: u64 = std::fs::read_dir(FIXTURES)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    assert!(bytes < FIXTURE_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn a_state_folder_of_an_older_release_starts_and_serves_what_it_held() {
    let folder = TempDir::new().unwrap();
    unpack("state.tar.gz", folder.path());
    let address = write_settings(folder.path());
    let node = Node::spawn(folder.path(), address);
    wait_raised(&node);
    check_decisions(&node);

    // What evaluates alike under both versions is decided as before.
    let request = &read_json("requests.json")[5]["body"];
    let mut input = request["input"].clone();
    input["card_id"] = json!("a card that was never seen");
    let body = json!({"input": input, "as_of": request["as_of"], "test": true});
    let decided = node.post("/v1/decisions/orders", &body).json();
    let before = &read_json("answers.json")[5];
    for key in ["outcome", "score", "degraded"] {
        assert_eq!(decided[key], before[key], "{key}");
    }
    // Rules may say from now on what the older program could not evaluate.
    let mut rules = node.get("/v1/objects/rule_set/orders").json()["body"].clone();
    let rule = json!({"id": "weekend", "when": "as_of.getDayOfWeek(\"Europe/Berlin\") == 0",
        "then": {"points": 1, "reason": "WEEKEND"}});
    rules["rules"].as_array_mut().unwrap().push(rule);
    let change = json!({"request_id": "weekend", "why": "test",
        "changes": [{"kind": "rule_set", "name": "orders", "op": "put", "body": rules}]});
    let changed = node.post("/v1/changes", &change);
    assert_eq!(changed.status, 200, "{changed:?}");
}

#[test]
fn what_an_older_release_accepted_is_served_and_refused_when_it_changes() {
    let folder = TempDir::new().unwrap();
    unpack("state.tar.gz", folder.path());
    let address = write_settings(folder.path());
    let node = Node::spawn(folder.path(), address);
    wait_raised(&node);
    let listed = || {
        let status = node.get("/v1/status").json();
        let findings = status["runtime"]["publisher"]["findings"].as_array().cloned();
        let shown = |finding: &Json| {
            let (object, code) = (&finding["object"], &finding["refusal"]["code"]);
            format!("{}/{} {code}", object["kind"], object["name"]).replace('"', "")
        };
        findings.iter().flatten().map(shown).collect::<Vec<_>>()
    };
    let expected = ["table/limits VD0206", "flow/refunds VD0503"];
    eventually(listed, |listed| listed == &expected);
    let object = |kind: &str, name: &str| {
        node.get(&format!("/v1/objects/{kind}/{name}")).json()["body"].clone()
    };
    let mut limits = object("table", "limits");
    limits["rows"][0][1] = json!("> 11");
    let mut refunds = object("flow", "refunds");
    refunds["score"] = json!({"base": 1, "levels": {"medium": 300, "high": 600, "critical": 850}});
    for (kind, name, body, code) in
        [("table", "limits", limits, "VD0206"), ("flow", "refunds", refunds, "VD0503")]
    {
        let change = json!({"request_id": name, "why": "test",
            "changes": [{"kind": kind, "name": name, "op": "put", "body": body}]});
        let refused = node.post("/v1/changes", &change);
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(refused.json()["faults"][0]["code"], code, "{refused:?}");
    }
    // Put right, they are accepted, and no finding is left.
    let mut limits = object("table", "limits");
    limits["rows"][1][1] = json!("> 1000");
    let change = json!({"request_id": "right", "why": "test",
        "changes": [{"kind": "table", "name": "limits", "op": "put", "body": limits}]});
    assert_eq!(node.post("/v1/changes", &change).status, 200);
    eventually(listed, |listed| listed == &expected[1..]);
}

#[test]
fn a_backup_of_an_older_release_is_restored() {
    let folder = TempDir::new().unwrap();
    unpack("backup.tar.gz", folder.path());
    let address = write_settings(folder.path());
    let restored = Command::new(VERDICT)
        .args(["restore", "--config"])
        .arg(folder.path().join("node.toml"))
        .arg(folder.path().join("backup.tar"))
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let node = Node::spawn(folder.path(), address);
    wait_raised(&node);
    let objects = |kind: &str| {
        let listed = node.get(&format!("/v1/objects/{kind}")).json();
        listed["objects"].as_array().map_or(0, Vec::len)
    };
    let found = ["flow", "rule_set", "list", "table", "flag", "model"].map(objects);
    assert_eq!(found, [2, 1, 3, 2, 3, 1]);
}
