//! Attacks by a learner that acts for people it has no proof of, and by web pages.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use verdict_admin::{KeyFile, NodeSigner, RequestEnvelope};
use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::command::Change;
use verdict_consensus::peers::{DecisionRead, KeptIdentity, NodeKey, NodeRequest, Order};
use verdict_consensus::{Author, ChangeSet, Command, PeerChannel, Propose};

use crate::attacks::{Attacker, number, numbers};
use crate::cluster::harness::{Cluster, answer};
use crate::process::{KEY, Node, eventually};

/// The answer to a request in the form of before requests needed proof: a failure, of this kind.
const NEEDS_PROOF: [u8; 2] = [0, 6];
/// A key that stands in the learner's settings alone.
const LOCAL_KEY: &str = "a-key-that-only-the-learner-knows";

/// A learner of a cluster of three, and whoever has its identity.
struct Hostile {
    cluster: Cluster,
    attacker: Attacker,
    /// Its position among the nodes.
    learner: usize,
    leader: usize,
}

fn join_learner(cluster: &mut Cluster, place: u16) -> (usize, PathBuf) {
    let token = cluster.post(0, "/v1/admin/tokens", &json!({ "voter": false }), 0);
    let token = token.expect("an answer").body["token"].as_str().expect("a token").to_owned();
    let hash = verdict_config::model::sha256_hex(LOCAL_KEY.as_bytes());
    let key = format!("[[keys]]\nname = \"local\"\nrole = \"operator\"\nsha256 = \"{hash}\"\n");
    cluster.add(place, &format!("join = {token:?}\n\n{key}"));
    let node = cluster.nodes.len() - 1;
    cluster.wait_ready(node);
    let folder = cluster.nodes[node].dir.join("data/identity");
    cluster.nodes[node].id = KeptIdentity::load(&folder).unwrap().unwrap().node_id;
    (node, folder)
}

/// A change that makes an operator's API key.
fn forged() -> ChangeSet {
    let body = json!({ "role": "operator", "hash": "a".repeat(64) });
    let change = Change::put(ObjectKind::Key, "forged", body.to_string());
    ChangeSet::new("forged", "w", vec![change])
}

fn command(set: ChangeSet, author: &str) -> Vec<u8> {
    let change_set = set.normalised().unwrap();
    let propose = Propose { change_set, author: Author::named(author), at: TimestampMs(0) };
    Command::Propose(propose).encode().unwrap()
}

fn bytes(content: &[u8], to: &mut Vec<u8>) {
    number(content.len() as u64, to);
    to.extend_from_slice(content);
}

/// A proof as it is sent: which kind, and what the person sent.
type Shown<'a> = Option<(u64, &'a [u8])>;

fn push_proof(proof: Shown<'_>, to: &mut Vec<u8>) {
    match proof {
        None => number(0, to),
        Some((kind, content)) => {
            to.extend(numbers(&[1, kind]));
            bytes(content, to);
        }
    }
}

/// A forwarded change set, with a proof.
fn proved(set: ChangeSet, author: &str, proof: Shown<'_>) -> Vec<u8> {
    let mut body = numbers(&[10, 1]);
    bytes(&command(set, author), &mut body);
    push_proof(proof, &mut body);
    number(5_000, &mut body);
    body
}

/// A forwarded change of the members, by its number among them, with a proof.
fn member(command: &[u64], proof: Shown<'_>) -> Vec<u8> {
    let mut body = numbers(&[11]);
    body.extend(numbers(command));
    push_proof(proof, &mut body);
    body
}

fn holds(answer: &[u8], code: &str) -> bool {
    answer.windows(code.len()).any(|window| window == code.as_bytes())
}

impl Hostile {
    fn new() -> Self {
        let mut cluster = Cluster::up(3, &["--empty"]);
        cluster.set_flag(0, "before", "a");
        let (learner, folder) = join_learner(&mut cluster, 4);
        let leader = cluster.leader(0);
        Self { attacker: Attacker::with(&folder), cluster, learner, leader }
    }

    fn target(&self, node: usize) -> (u64, &str) {
        (self.cluster.nodes[node].id, &self.cluster.nodes[node].http)
    }

    fn forward(&self, body: &[u8]) -> Vec<u8> {
        self.attacker.raft(self.target(self.leader), body).expect("the leader sends a response")
    }

    fn ask(&self, node: usize, request: &NodeRequest) -> Vec<u8> {
        let request = request.encode().unwrap();
        let asked = self.attacker.call(self.target(node), PeerChannel::Blob, request);
        asked.expect("a member sends a response")
    }

    /// Nothing of an attack is left.
    fn unharmed(&self) {
        for node in 0..3 {
            let keys = self.cluster.get(node, "/v1/objects/key", 0).expect("keys").body;
            assert!(!keys.to_string().contains("forged"), "{keys}");
            let members = self.cluster.get(node, "/v1/admin/members", 0).expect("members").body;
            let voters = members["peers"].as_array().expect("peers").iter();
            let voters = voters.filter(|peer| peer["member"]["voter"] == true).count();
            assert_eq!(voters, 3, "{members}");
        }
    }

    fn change_at_learner(&self, key: &str, request_id: &str) -> (u16, Json) {
        let list = json!({ "kind": "list", "name": "l", "op": "put", "body": { "entries": [] } });
        let body = json!({ "request_id": request_id, "why": "an attack", "changes": [list] });
        let url = format!("{}/v1/changes", self.cluster.nodes[self.learner].http);
        let request = self.cluster.agent.post(url).header("X-API-Key", key);
        let request = request.content_type("application/json");
        let sent = answer(request.send(body.to_string().into_bytes())).expect("an answer");
        (sent.status, sent.body)
    }
}

/// A signed request of the cluster's operator, as the node with this id would take it.
fn signed(folder: &Path, node_id: u64, body: &Json) -> Vec<u8> {
    let key = KeyFile::load(&folder.join("cluster/operator.key")).unwrap().open(None).unwrap();
    let now = verdict_actors::clock::now();
    let envelope = RequestEnvelope {
        cluster_id: key.file.cluster_id.clone(),
        node_id,
        key: key.file.name.clone(),
        nonce: [7; 16],
        issued_at: now,
        expires_at: TimestampMs(now.0 + 60_000),
        body: body.to_string().into_bytes(),
    };
    key.signer().unwrap().seal(&envelope).unwrap()
}

#[test]
fn a_learner_brings_no_change_by_its_own_word() {
    let hostile = Hostile::new();
    let learner = hostile.cluster.nodes[hostile.learner].id;
    // As before requests needed proof.
    let mut old = numbers(&[3, 1]);
    bytes(&command(forged(), "alice"), &mut old);
    number(5_000, &mut old);
    let promote = [2, learner];
    for body in [old, [numbers(&[5]), numbers(&promote)].concat()] {
        assert_eq!(hostile.forward(&body)[..2], NEEDS_PROOF, "{body:?}");
    }
    // In today's form, without proof, under any author; and with a key that nobody has.
    let made_up: Shown<'_> = Some((0, b"vk_made_up"));
    let own = format!("node:{learner}");
    let cases = [
        (proved(forged(), "alice", None), "VD0819"),
        (proved(forged(), "duty:members", None), "VD0819"),
        (proved(forged(), &own, None), "VD0819"),
        (proved(forged(), "operator", made_up), "VD0820"),
        (proved(forged(), "operator", Some((1, b"no envelope"))), "VD0813"),
        (member(&promote, None), "VD0819"),
        (member(&[3, 1], None), "VD0819"),
        (member(&[3, 1], made_up), "VD0820"),
    ];
    for (body, code) in cases {
        let response = hostile.forward(&body);
        assert!(holds(&response, code), "{code}: {response:?}");
    }
    hostile.unharmed();
    an_operators_request_is_good_for_itself_alone(&hostile);
    a_person_at_the_learner_is_believed_by_the_key(&hostile);
    hostile.unharmed();
}

fn an_operators_request_is_good_for_itself_alone(hostile: &Hostile) {
    let learner = hostile.cluster.nodes[hostile.learner].id;
    let entries = json!({ "entries": [] });
    let change = json!({ "kind": "list", "name": "meant", "op": "put", "body": entries });
    let meant =
        json!({ "command": "change", "request_id": "meant", "why": "w", "changes": [change] });
    let folder = hostile.cluster.folder.path();
    let set = || {
        let change = Change::put(ObjectKind::List, "meant", entries.to_string());
        ChangeSet::new("meant", "w", vec![change])
    };
    let envelope = signed(folder, learner, &meant);
    let for_another = signed(folder, 1, &meant);
    let mut other_reason = set();
    other_reason.why = "another".to_owned();
    let remove = [3, hostile.cluster.nodes[0].id];
    let cases = [
        (proved(forged(), "operator", Some((1, &envelope))), "VD0821"),
        (proved(other_reason, "operator", Some((1, &envelope))), "VD0821"),
        (member(&remove, Some((1, &envelope))), "VD0821"),
        (proved(set(), "operator", Some((1, &for_another))), "VD0816"),
    ];
    for (body, code) in cases {
        let response = hostile.forward(&body);
        assert!(holds(&response, code), "{code}: {response:?}");
    }
    // The author is the one who signed, whatever the learner says.
    hostile.forward(&proved(set(), "mallory", Some((1, &envelope))));
    let history = eventually(
        || hostile.cluster.get(0, "/v1/history?kind=list&name=meant", 0).expect("history").body,
        |history| history["entries"].as_array().is_some_and(|entries| !entries.is_empty()),
    );
    assert_eq!(history["entries"][0]["author"], "operator", "{history}");
}

fn a_person_at_the_learner_is_believed_by_the_key(hostile: &Hostile) {
    let (status, told) = hostile.change_at_learner(LOCAL_KEY, "by-local");
    assert_eq!((status, &told["code"]), (403, &json!("VD0820")), "{told}");
    let (status, told) = hostile.change_at_learner(&hostile.cluster.key, "by-cluster");
    assert_eq!(status, 200, "{told}");
    let history = hostile.cluster.history(0, told["revision"].as_u64().expect("a revision"));
    assert_eq!(history["entries"][0]["author"], "cluster", "{history}");
    let nodes = hostile.cluster.nodes.iter();
    for log in nodes.map(|node| std::fs::read_to_string(node.dir.join("node.log")).unwrap()) {
        assert!(!log.contains(LOCAL_KEY) && !log.contains(&hostile.cluster.key), "{log}");
    }
}

#[test]
fn a_learner_erases_reads_and_certifies_nothing_by_its_own_word() {
    let hostile = Hostile::new();
    let unit = || "card-1".to_owned();
    let id = || "01J00000000000000000000000".to_owned();
    let own = KeptIdentity::load(&hostile.cluster.nodes[hostile.learner].dir.join("data/identity"));
    let own = own.unwrap().unwrap();
    let key = NodeKey::from_pem(&own.key_pem).unwrap().pkcs8();
    let signer = NodeSigner::new(&key, own.chain.clone()).unwrap();
    let order =
        |order: Order| signer.state(&own.cluster_id, own.node_id, order.encode().unwrap()).unwrap();
    let erasure = order(Order::EraseUnit { unit: unit() });
    let read = DecisionRead::Explain { sees_sensitive: true };
    let reading =
        order(Order::ReadDecision { id: id(), read, reader: own.node_id, expires_ms: i64::MAX });
    let nodes = vec![1, 2, 3];
    let requests = [
        (NodeRequest::EraseUnit { unit: unit() }, "VD0819"),
        (NodeRequest::KeepErasure { unit: unit(), nodes: nodes.clone() }, "VD0819"),
        (NodeRequest::Decision { id: id(), read }, "VD0819"),
        (
            NodeRequest::CertifyOperator { name: "operator".to_owned(), public_key: vec![1; 32] },
            "VD0819",
        ),
        (NodeRequest::StandForElection, "VD0819"),
        (NodeRequest::CarryOut { sealed: erasure.clone() }, "VD0821"),
        (NodeRequest::KeepOrder { sealed: erasure, nodes }, "VD0821"),
        (NodeRequest::CarryOut { sealed: reading }, "VD0821"),
        (NodeRequest::CarryOut { sealed: b"nothing".to_vec() }, "VD0821"),
    ];
    for node in 0..3 {
        for (request, code) in &requests {
            let response = hostile.ask(node, request);
            assert!(holds(&response, code), "{request:?} {code}: {response:?}");
        }
    }
    hostile.unharmed();
    // A person's erasure goes through the learner: a voter signs it.
    let url = format!("{}/v1/units/card-1", hostile.cluster.nodes[hostile.learner].http);
    let erase = |key: &str| {
        let request = hostile.cluster.agent.delete(&url).header("X-API-Key", key);
        answer(request.call()).expect("an answer")
    };
    let refused = erase(LOCAL_KEY);
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("VD0820")));
    let erased = erase(&hostile.cluster.key);
    assert_eq!((erased.status, &erased.body["erased"]), (200, &json!(true)), "{}", erased.body);
    // Its outbox, and what the others keep for it, hold no key.
    let away = (hostile.leader + 1) % 3;
    hostile.cluster.signal(away, "-STOP");
    let pending = erase(&hostile.cluster.key);
    hostile.cluster.signal(away, "-CONT");
    assert_eq!(pending.status, 202, "{}", pending.body);
    for node in &hostile.cluster.nodes {
        let outbox = std::fs::read(node.dir.join("data/outbox/outbox")).unwrap_or_default();
        assert!(!holds(&outbox, &hostile.cluster.key));
    }
}

/// Sends a request as a browser would.
fn send(address: &str, head: &[&str], body: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = format!("content-length: {}", body.len());
    let head = [head, &[length.as_str(), "connection: close"]].concat().join("\r\n");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).expect("a status").parse().unwrap();
    (status, text)
}

#[test]
fn a_web_page_changes_nothing_at_a_node_on_loopback() {
    let node = Node::start(&[]);
    let (own, key) = (format!("host: {}", node.address), format!("x-api-key: {KEY}"));
    let (own, key) = (own.as_str(), key.as_str());
    let body = json!({ "request_id": "r", "why": "an attack", "changes": [
        { "kind": "list", "name": "l", "op": "put", "body": { "entries": [] } } ] });
    let body = body.to_string();
    let post = "POST /v1/changes HTTP/1.1";
    let json = "content-type: application/json";
    let rebound = "host: evil.example:7700";
    let check = |head: &[&str], status: u16, code: &str| {
        let (found, text) = send(&node.address, head, &body);
        assert!(found == status && text.contains(code), "{head:?}: {text}");
        assert!(!text.contains("access-control-allow-origin: *"), "{text}");
    };
    check(&[post, rebound, key, json], 421, "VD0822");
    check(&["GET /metrics HTTP/1.1", rebound], 421, "VD0822");
    check(&[post, own, key, json, "origin: https://evil.example"], 403, "VD0823");
    check(&[post, own, key, json, "origin: null"], 403, "VD0823");
    check(&[post, own, key], 415, "VD0810");
    check(&[post, own, key, "content-type: text/plain"], 415, "VD0810");
    check(&[post, own, json], 401, "VD0801");
    check(&[post, own, key, json], 200, "revision");
}

#[test]
fn a_node_without_keys_makes_one() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::start_without_keys();
    let file = node.folder.join("data/api-key");
    let mode = std::fs::metadata(&file).expect("a key's file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(node.log().contains("api-key"), "{}", node.log());
    let key = std::fs::read_to_string(&file).unwrap();
    let (own, key) = (format!("host: {}", node.address), format!("x-api-key: {}", key.trim()));
    let (own, key) = (own.as_str(), key.as_str());
    let status = |head: &[&str]| send(&node.address, head, "").0;
    let get = "GET /v1/status HTTP/1.1";
    assert_eq!(status(&[get, own]), 401);
    assert_eq!(status(&[get, own, key]), 200);
    // Its catalogue folder has no key: a save is refused with a code.
    let list = node.folder.join("catalogue/lists/words.csv");
    std::fs::create_dir_all(list.parent().unwrap()).unwrap();
    std::fs::write(&list, "value\na\n").unwrap();
    eventually(|| node.log(), |log| log.contains("VD0819"));
    assert_eq!(status(&["GET /v1/objects/list/words HTTP/1.1", own, key]), 404);
}
