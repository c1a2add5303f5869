//! The cluster's authority is replaced while everything runs: by the command line, under writes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value as Json, json};
use verdict_consensus::peers::{
    KeptIdentity, NodeAnswer, NodeRequest, PeerClients, PeerClientsOptions,
};
use verdict_consensus::{NodeAttributes, Peer, PeerChannel, PeerError, PeerTransport};

use crate::admin::{Desk, until};
use crate::cluster::harness::answer;
use crate::process::{VERDICT, eventually};

/// Writes at one node after the other, one at a time; each is tried again, under its `request_id`,
/// until it was applied.
struct Writes {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Writes {
    fn start(desk: &Desk) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, agent, key) =
            (Arc::clone(&stop), desk.cluster.agent.clone(), desk.cluster.key.clone());
        let nodes: Vec<String> = desk.cluster.nodes.iter().map(|node| node.http.clone()).collect();
        let thread = std::thread::spawn(move || {
            let mut revisions = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let number = revisions.len();
                let body = json!({ "request_id": format!("w{number}"), "why": "load", "changes": [
                    { "kind": "setting", "name": "s", "op": "put", "body": { "n": number } }] });
                let mut tries = number;
                let write = || {
                    tries += 1;
                    let node = &nodes[tries % nodes.len()];
                    let request = agent.post(format!("{node}/v1/changes"));
                    let request = request.header("X-API-Key", &key);
                    let request = request.content_type("application/json");
                    let told = answer(request.send(serde_json::to_vec(&body).expect("JSON")));
                    told.map(|told| (told.status, told.body))
                };
                let told = eventually(write, |told| matches!(told, Some((200, _))));
                let told = told.expect("an answer").1;
                revisions.push(told["revision"].as_u64().expect("a revision"));
            }
            revisions
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every write was taken")
    }
}

/// Asks a node something, as another node with an identity of its disk.
fn ask_as(
    identity: &KeptIdentity,
    folder: &Path,
    (id, http): (u64, &str),
) -> Result<u16, PeerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (host, port) = http.trim_start_matches("http://").rsplit_once(':').unwrap();
    let peer_address = format!("{host}:{}", port.parse::<u16>().unwrap() + 1);
    let attributes = Arc::new(NodeAttributes { peer_address, ..NodeAttributes::default() });
    let peer = Peer { node_id: id, attributes };
    let request = NodeRequest::CommandVersion.encode().unwrap();
    let answer = runtime.block_on(async {
        let clients = PeerClients::new(
            identity.peer_identity(folder).unwrap(),
            PeerClientsOptions::default(),
        );
        clients.call(peer, PeerChannel::Blob, request, Duration::from_secs(10)).await
    });
    match NodeAnswer::decode(&answer?).expect("an answer") {
        NodeAnswer::CommandVersion(version) => Ok(version),
        other => panic!("{other:?}"),
    }
}

fn digits(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a key file");
    let file: Json = serde_json::from_str(&text).expect("JSON");
    let list = file["authorities"].as_array().expect("authorities").clone();
    list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// The authorities as they are shown, until every node has done what the next step waits for.
fn settled(desk: &Desk, next: &str) -> Json {
    let shown = || desk.run(&["authority", "show"]);
    eventually(shown, |shown| shown["next"] == next && shown["waits_for"] == json!([]))
}

#[test]
fn the_authority_gives_way_to_another_under_writes_and_restarts() {
    let mut desk = Desk::new(3);
    let first = desk.run(&["status"])["revision"].as_u64().expect("a revision");
    // Key files of before: of one who goes on working, and of one who is away.
    let (working, away) = (desk.path("working.key"), desk.path("away.key"));
    std::fs::copy(&desk.key, &working).unwrap();
    std::fs::copy(&desk.key, &away).unwrap();
    let old_trust = digits(&desk.key);
    let folder = |desk: &Desk, node: usize| desk.cluster.nodes[node].dir.join("data/identity");
    let before = KeptIdentity::load(&folder(&desk, 0)).unwrap().unwrap();
    let old_key = before.authority_key_pem.clone().expect("a voter has the key");
    // Nodes that join at once get their ids in the order in which they are let in.
    let ids: Vec<u64> = (0..3)
        .map(|node| KeptIdentity::load(&folder(&desk, node)).unwrap().unwrap().node_id)
        .collect();
    let (id, http) = (ids[1], desk.cluster.nodes[1].http.clone());
    ask_as(&before, &folder(&desk, 0), (id, &http)).expect("one of the cluster is answered");
    let writes = Writes::start(&desk);

    // Installed: what would happen is shown first, and is not done.
    let dry = desk.run(&["authority", "install", "--dry-run"]);
    assert_eq!(dry["differences"].as_array().map(Vec::len), Some(1), "{dry}");
    assert_eq!(desk.run(&["authority", "show"])["trusted"].as_array().map(Vec::len), Some(1));
    let too_early = desk.run_with(&desk.key, &["authority", "use"]);
    assert!(too_early.err.contains("VD0612"), "{}", too_early.err);
    desk.run(&["authority", "install", "--why", "yearly"]);

    // A node that is away keeps the next step from being taken, by its name.
    let leader = eventually(
        || {
            let members = desk.cluster.get(0, "/v1/admin/members", 0)?.body;
            ids.iter().position(|id| members["leader"] == *id)
        },
        Option::is_some,
    );
    let leader = leader.expect("a leader");
    let follower = (leader + 1) % 3;
    desk.cluster.signal(follower, "-KILL");
    let name = format!("node {} cannot be reached", ids[follower]);
    until("the node that is away is named", || {
        let told = desk.run_with(&desk.key, &["authority", "use"]);
        assert_eq!(told.code, Some(1), "{}", told.out);
        told.err.contains("VD0612") && told.err.contains(&name)
    });
    desk.cluster.restart(follower);
    settled(&desk, "use");

    // Used, and the leader ends at that moment: whoever comes back goes on.
    desk.run(&["authority", "use"]);
    desk.cluster.signal(leader, "-KILL");
    let waiting = desk.run_with(&desk.key, &["authority", "remove"]);
    assert_eq!(waiting.code, Some(1), "{}", waiting.out);
    desk.cluster.restart(leader);
    let shown = settled(&desk, "remove");
    let certified = shown["members"].as_array().expect("members").iter();
    assert!(certified.clone().all(|member| member["certified_by"] == shown["issues"]), "{shown}");
    // A file of before reaches every node still, and follows.
    for node in 0..3 {
        let address = desk.admin_address(node);
        desk.run_with(&working, &["--node", &address, "status"]).json();
    }
    let both = digits(&working);
    assert_eq!(both.len(), 2);
    assert_eq!(both[1], old_trust[0], "the new one is the first");
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&working), 0o600);

    // Removed: nobody trusts the old one, nobody has its key, and no rollback brings it back.
    desk.run(&["authority", "remove"]);
    let gone = |shown: &Json| {
        let mut members = shown["members"].as_array().expect("members").iter();
        members.all(|member| member["trusts"] == json!([shown["issues"]]))
    };
    eventually(|| desk.run(&["authority", "show"]), gone);
    for node in 0..3 {
        let text = std::fs::read_to_string(folder(&desk, node).join("identity.json")).unwrap();
        assert!(!text.contains(&old_trust[0]), "node {node} trusts the old authority");
        let secret = old_key.lines().nth(1).expect("a line of the key");
        assert!(!text.contains(secret), "node {node} has the old key");
    }
    let refused = ask_as(&before, &folder(&desk, 0), (id, &http));
    assert!(matches!(refused, Err(PeerError::Distrusted(_))), "{refused:?}");
    let now = KeptIdentity::load(&folder(&desk, 0)).unwrap().unwrap();
    ask_as(&now, &folder(&desk, 0), (id, &http)).expect("one of the cluster is answered");
    let revisions = writes.end();
    assert!(revisions.len() > 10, "{revisions:?}");
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "{revisions:?}");
    desk.run(&["rollback", "--to", &first.to_string(), "--why", "everything"]);
    assert_eq!(desk.run(&["authority", "show"])["trusted"].as_array().map(Vec::len), Some(1));
    let restored = desk.run_with(
        &desk.key,
        &["rollback", "--to", &first.to_string(), "--object", "member/authority"],
    );
    assert!(restored.code != Some(0) && restored.out.contains("VD0104"), "{}", restored.out);
    let put = json!({ "request_id": "forged", "why": "w", "changes": [
        { "kind": "member", "name": "authority", "op": "delete" }] });
    let told = desk.cluster.post(0, "/v1/changes", &put, 0).expect("an answer");
    assert_eq!((told.status, &told.body["code"]), (422, &json!("VD0602")), "{}", told.body);

    // Who worked meanwhile works on; who was away is told what to do, and does it.
    desk.run_with(&working, &["status"]).json();
    assert_eq!(digits(&working), [both[0].clone()]);
    let told = desk.run_with(&away, &["status"]);
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.err.contains("keys renew"), "{}", told.err);
    desk.run_with(&working, &["keys", "renew", "operator", "--out", "away.enrolment"]);
    let completed = desk.run_with(&away, &["keys", "enrolled", "away.key", "away.enrolment"]);
    assert_eq!(completed.code, Some(0), "{}", completed.err);
    desk.run_with(&away, &["status"]).json();

    // A node joins by the new authority, and signs: it votes.
    let token = desk.token();
    desk.join(4, &token);
    until("the fourth node votes", || desk.voters() == 4);
    let shown = eventually(
        || desk.run(&["authority", "show"]),
        |shown| {
            shown["members"].as_array().is_some_and(|members| {
                members.len() == 4
                    && members.iter().all(|member| member["keys"] == json!([shown["issues"]]))
            })
        },
    );
    assert_eq!(shown["next"], "install");

    // Every step stands in the log of every node.
    let expected = ["yearly", "use the authority", "remove the authority"];
    for node in 0..3 {
        let path = "/v1/history?kind=member&name=authority&limit=100";
        let told = desk.cluster.get(node, path, 0).expect("an answer").body;
        let entries = told["entries"].as_array().expect("entries").iter().rev();
        let whys: Vec<&str> = entries.filter_map(|entry| entry["why"].as_str()).collect();
        assert_eq!(whys, expected, "node {node}: {told}");
    }
}

#[test]
fn an_authority_that_is_not_used_is_abandoned() {
    let desk = Desk::new(1);
    let before = digits(&desk.key);
    desk.run(&["authority", "install"]);
    settled(&desk, "use");
    let twice = desk.run_with(&desk.key, &["authority", "install"]);
    assert!(twice.err.contains("VD0612"), "{}", twice.err);
    let early = desk.run_with(&desk.key, &["authority", "remove"]);
    assert!(early.err.contains("VD0612"), "{}", early.err);
    desk.run(&["authority", "abandon"]);
    settled(&desk, "install");
    desk.run(&["status"]);
    assert_eq!(digits(&desk.key), before);
    // And over HTTP, with the same code below; a retry is answered by what was done.
    let step = |step: &str, id: &str| {
        let path = format!("/v1/admin/authority/{step}");
        let told = desk.cluster.post(0, &path, &json!({ "request_id": id, "why": "w" }), 0);
        told.map(|told| (told.status, told.body)).expect("an answer")
    };
    let (status, installed) = step("install", "i");
    assert_eq!(status, 200, "{installed}");
    let again = step("install", "i");
    assert_eq!((again.0, &again.1["revision"]), (200, &installed["revision"]), "{}", again.1);
    assert_eq!(step("install", "j").0, 409);
    assert_eq!(step("grow", "k").0, 404);
    settled(&desk, "use");
    assert_eq!(step("use", "u").0, 200);
    settled(&desk, "remove");
    assert_eq!(step("remove", "r").0, 200);
    let kept = desk.cluster.nodes[0].dir.join("data/identity");
    let certified = || KeptIdentity::load(&kept).unwrap().unwrap();
    eventually(certified, |kept| kept.authorities.len() == 1 && kept.spare_authorities.is_empty());
    desk.run(&["status"]);
}

#[test]
fn a_cluster_from_a_backup_has_an_authority_of_its_own() {
    let mut desk = Desk::new(1);
    for step in ["install", "use", "remove"] {
        desk.run(&["authority", step]);
        let next = if step == "install" { "use" } else { "remove" };
        settled(&desk, if step == "remove" { "install" } else { next });
    }
    desk.run(&["backup", "saved.tar"]);
    let before = digits(&desk.key);
    // Whoever was an operator is one there, by the file that the new node completes.
    let restored = desk.path("restored.key");
    std::fs::copy(&desk.key, &restored).unwrap();
    let port = desk.cluster.port(5);
    let settings = format!(
        "[node]\nid = 5\ndata_dir = {:?}\n\n[http]\naddress = \"127.0.0.1:{port}\"\n\n\
         [admin]\nfirst_key_file = {restored:?}\n\n[[keys]]\nname = \"k\"\nrole = \"operator\"\n\
         sha256 = \"{}\"\n",
        desk.path("restored"),
        "0".repeat(64)
    );
    std::fs::write(desk.path("restored.toml"), settings).unwrap();
    desk.run(&["restore", "saved.tar", "--config", "restored.toml"]);
    let node = Command::new(VERDICT)
        .args(["node", "--config", "restored.toml"])
        .current_dir(desk.cluster.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the node starts");
    desk.cluster.adopt(node);
    let address = format!("127.0.0.1:{}", port + 2);
    let ask = |arguments: &[&str]| {
        desk.run_with(&restored, &[&["--node", &address][..], arguments].concat())
    };
    eventually(|| ask(&["status"]).code, |code| *code == Some(0));
    assert_ne!(digits(&restored), before);
    // What was agreed of the cluster of before is nothing here, and makes room for what is.
    let shown = ask(&["authority", "show"]).json();
    assert_eq!(
        (shown["trusted"].as_array().map(Vec::len), &shown["next"]),
        (Some(1), &json!("install"))
    );
    assert_ne!(shown["trusted"][0]["certificate"], json!(before[0]));
    ask(&["authority", "install"]).json();
    eventually(
        || ask(&["authority", "show"]).json(),
        |shown| shown["next"] == "use" && shown["waits_for"] == json!([]),
    );
}
