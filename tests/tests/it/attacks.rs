//! Attacks by nodes that are, or were, members: by hand over the peers' protocol, with the identity of
//! a state folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use verdict_consensus::peers::{
    JoinRequest, KeptIdentity, NodeRequest, PeerClients, PeerClientsOptions,
};
use verdict_consensus::{
    Author, Change, ChangeSet, NodeAttributes, Peer, PeerChannel, PeerError, PeerTransport, Propose,
};

use crate::cluster::harness::Cluster;
use crate::process::{VERDICT, eventually};

/// The answer to what only a voter may send.
const NO_VOTER: [u8; 2] = [0, 5];

/// Whoever has the identity of a state folder.
pub struct Attacker {
    pub identity: KeptIdentity,
    clients: PeerClients,
    runtime: tokio::runtime::Runtime,
}

/// A number as the peers' messages have it.
pub fn number(number: u64, to: &mut Vec<u8>) {
    match number {
        0..=250 => to.push(u8::try_from(number).unwrap()),
        251..=0xffff => {
            to.push(251);
            to.extend_from_slice(&u16::try_from(number).unwrap().to_le_bytes());
        }
        _ => {
            to.push(252);
            to.extend_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
        }
    }
}

pub fn numbers(list: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    list.iter().for_each(|one| number(*one, &mut bytes));
    bytes
}

/// A place in the log, after the mark that there is one.
fn place(term: u64, leader: u64, index: u64) -> Vec<u8> {
    numbers(&[1, term, leader, index])
}

/// An entry that makes an operator's API key, by "alice".
fn forged_entry(term: u64, leader: u64, index: u64, revision: u64) -> Vec<u8> {
    let body = json!({ "kind": "api", "role": "operator", "sha256": "a".repeat(64) });
    let change = Change::put(verdict_config::ObjectKind::Key, "forged", body.to_string());
    let change_set = ChangeSet::new("forged", "w", vec![change]);
    let (author, at) = (Author::named("alice"), verdict_config::TimestampMs(1));
    let command = verdict_consensus::Command::Propose(Propose { change_set, author, at });
    let command = command.encode().unwrap();
    let mut payload = b"VDEC\x01\x00\x00".to_vec();
    number(revision, &mut payload);
    number(1, &mut payload);
    number(command.len() as u64, &mut payload);
    payload.extend_from_slice(&command);
    let mut entry = numbers(&[term, leader, index, 1, payload.len() as u64]);
    entry.extend_from_slice(&payload);
    entry
}

impl Attacker {
    pub fn with(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let identity = KeptIdentity::load(folder).unwrap().unwrap();
        let clients = PeerClients::new(
            identity.peer_identity(folder).unwrap(),
            PeerClientsOptions { pause_max: Duration::from_millis(50), ..Default::default() },
        );
        Self { identity, clients, runtime }
    }

    pub fn call(
        &self,
        target: (u64, &str),
        channel: PeerChannel,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, PeerError> {
        let peer_address = peer_address(target.1);
        let attributes = Arc::new(NodeAttributes { peer_address, ..NodeAttributes::default() });
        let peer = Peer { node_id: target.0, attributes };
        let _inside = self.runtime.enter();
        let within = Duration::from_secs(10);
        self.runtime.block_on(self.clients.call(peer, channel, request, within))
    }

    /// Sends a request of the log; what is answered, without its head.
    pub fn raft(&self, target: (u64, &str), body: &[u8]) -> Result<Vec<u8>, PeerError> {
        let mut request = b"VDPQ\x01\x00".to_vec();
        request.extend(numbers(&[self.identity.node_id, target.0]));
        number(self.identity.cluster_id.len() as u64, &mut request);
        request.extend_from_slice(self.identity.cluster_id.as_bytes());
        request.extend_from_slice(body);
        let answer = self.call(target, PeerChannel::Raft, request)?;
        Ok(answer[6..].to_vec())
    }

    /// What a node that wants to lead sends, in its own name and in another's.
    fn claims(&self, seen: &Seen, another: u64) -> Vec<Vec<u8>> {
        let (term, own) = (seen.term + 1_000, self.identity.node_id);
        let previous = place(seen.term, seen.leader, seen.last_index);
        let append = |node: u64| {
            let mut body = numbers(&[0, term, node, 1]);
            body.extend_from_slice(&previous);
            number(1, &mut body);
            body.extend(forged_entry(term, node, seen.last_index + 1, seen.revision));
            body.extend(place(term, node, seen.last_index + 1));
            body
        };
        let mut stand = numbers(&[1, term, own, 0]);
        stand.extend(place(term, own, seen.last_index + 1_000));
        // A snapshot's first piece: of the whole log, with this node as the only voter.
        let mut snapshot = numbers(&[2, term, own, 1]);
        snapshot.extend(place(term, own, seen.last_index + 1_000));
        snapshot.extend(numbers(&[0, 1, 1, own, 1, own, 0, 0, 0, 0, 0, 0]));
        snapshot.extend(numbers(&[1, u64::from(b's'), 4, 0, 4, 1, 2, 3, 4]));
        vec![append(own), append(another), stand, snapshot]
    }
}

fn peer_address(http: &str) -> String {
    let (host, port) = http.trim_start_matches("http://").rsplit_once(':').unwrap();
    format!("{host}:{}", port.parse::<u16>().unwrap() + 1)
}

/// How the cluster stands, as a node sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    term: u64,
    leader: u64,
    last_index: u64,
    revision: u64,
}

fn seen(cluster: &Cluster, node: usize) -> Seen {
    let look = || {
        let status = cluster.get(node, "/v1/status", 0)?.body;
        let raft = &status["cluster"];
        Some(Seen {
            term: raft["term"].as_u64()?,
            leader: raft["leader"].as_u64()?,
            last_index: raft["last_index"].as_u64()?,
            revision: status["revision"].as_u64()?,
        })
    };
    eventually(look, Option::is_some).expect("a leader")
}

/// Nothing of an attack is left: no node is in a later term by a thousand, or has the forged key.
fn unharmed(cluster: &Cluster, nodes: &[usize], before: &Seen, request_id: &str) {
    for node in nodes {
        let now = seen(cluster, *node);
        assert!(now.term < before.term + 500, "{now:?}");
        let keys = cluster.get(*node, "/v1/objects/key", 0).expect("an answer").body;
        assert!(!keys.to_string().contains("forged"), "{keys}");
    }
    cluster.set_flag(nodes[0], request_id, "b");
}

/// Starts a node that joins as a learner; its folder.
fn join_learner(cluster: &mut Cluster, place: u16) -> (u64, PathBuf) {
    let token = cluster.post(0, "/v1/admin/tokens", &json!({ "voter": false }), 0);
    let token = token.expect("an answer").body["token"].as_str().expect("a token").to_owned();
    cluster.add(place, &format!("join = {token:?}\n"));
    let node = cluster.nodes.len() - 1;
    cluster.wait_ready(node);
    let folder = cluster.nodes[node].dir.join("data/identity");
    let node_id = KeptIdentity::load(&folder).unwrap().unwrap().node_id;
    cluster.nodes[node].id = node_id;
    (node_id, folder)
}

fn remove(cluster: &Cluster, by: usize, node_id: u64) {
    let path = format!("/v1/admin/members/{node_id}:remove");
    let told = eventually(
        || cluster.post(by, &path, &json!(null), 0).map(|told| (told.status, told.body)),
        |told| told.as_ref().is_some_and(|(status, _)| *status == 200),
    );
    assert!(told.is_some());
}

#[test]
fn a_learner_cannot_lead_and_a_removed_one_can_do_nothing() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    cluster.set_flag(0, "before", "a");
    let (learner, folder) = join_learner(&mut cluster, 4);
    let attacker = Attacker::with(&folder);
    let targets: Vec<(u64, String)> =
        cluster.nodes[..3].iter().map(|node| (node.id, node.http.clone())).collect();
    let before = seen(&cluster, 0);
    for (id, http) in &targets {
        let another = targets.iter().map(|(id, _)| *id).find(|other| other != id).unwrap();
        for claim in attacker.claims(&before, another) {
            let answer = attacker.raft((*id, http), &claim).expect("a member is answered");
            assert_eq!(answer[..2], NO_VOTER, "{claim:?}");
        }
    }
    unharmed(&cluster, &[0, 1, 2], &before, "after-1");
    // What a learner may ask: its connections are open when it is removed.
    let ask = |target: &(u64, String)| {
        let request = NodeRequest::CommandVersion.encode().unwrap();
        attacker.call((target.0, &target.1), PeerChannel::Blob, request)
    };
    targets.iter().for_each(|target| assert!(ask(target).is_ok()));
    cluster.signal(3, "-KILL");
    remove(&cluster, 0, learner);
    let before = seen(&cluster, 0);
    for target in &targets {
        let refused =
            |answer: &Result<Vec<u8>, PeerError>| matches!(answer, Err(PeerError::Removed(_)));
        let answer = eventually(|| ask(target), refused);
        assert!(refused(&answer), "{answer:?}");
        for claim in attacker.claims(&before, 1) {
            let answer = attacker.raft((target.0, &target.1), &claim);
            assert!(refused(&answer), "{answer:?}");
        }
        let forward = attacker.call((target.0, &target.1), PeerChannel::Forward, vec![0]);
        assert!(refused(&forward), "{forward:?}");
        // It asks to join, and shows the certificate that it has.
        let request = JoinRequest {
            token_id: "t".to_owned(),
            secret: "s".to_owned(),
            public_key: vec![1],
            attributes: NodeAttributes::default(),
        };
        let tls = attacker.identity.peer_identity(&folder).unwrap().joining();
        let joining = attacker.runtime.block_on(PeerClients::ask_to_join(
            &peer_address(&target.1),
            (&attacker.identity.cluster_id, target.0),
            &tls,
            request.encode().unwrap(),
            Duration::from_secs(10),
        ));
        assert!(joining.is_err(), "{joining:?}");
    }
    unharmed(&cluster, &[0, 1, 2], &before, "after-2");
    // It is started again with the folder that it had.
    cluster.start(3);
    says_that_it_was_removed(&cluster, 3);
}

fn says_that_it_was_removed(cluster: &Cluster, node: usize) {
    let told = eventually(
        || cluster.get(node, "/readyz", 0).map(|told| (told.status, told.body.to_string())),
        |told| {
            told.as_ref().is_some_and(|(status, body)| *status == 503 && body.contains("VD0620"))
        },
    );
    let (status, body) = told.expect("an answer");
    assert!(status == 503 && body.contains("VD0620"), "{status} {body}");
}

#[test]
fn a_removed_voter_takes_the_authority_with_it() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    cluster.set_flag(0, "before", "a");
    let leader = cluster.leader(0);
    let gone = (leader + 1) % 3;
    let stay: Vec<usize> = (0..3).filter(|node| *node != gone).collect();
    let folder = cluster.nodes[gone].dir.join("data/identity");
    let old = KeptIdentity::load(&folder).unwrap().unwrap();
    let authority =
        |cluster: &Cluster| cluster.get(stay[0], "/v1/admin/authority", 0).expect("an answer").body;
    let issued_before = authority(&cluster)["issues"].clone();
    let attacker = Attacker::with(&folder);
    // It is away, so that it does not hear of its removal.
    cluster.signal(gone, "-KILL");
    remove(&cluster, stay[0], cluster.nodes[gone].id);
    let entry = cluster.history(stay[0], 0)["entries"].clone();
    // The newest comes first.
    let named = |name: &str| {
        let mut entries = entry.as_array().expect("entries").iter();
        entries.find(|entry| entry["name"] == name).map(|entry| entry["revision"].clone())
    };
    let standing = format!("standing-{}", cluster.nodes[gone].id);
    assert!(named("rotation").is_some() && named("rotation") == named(&standing), "{entry}");
    let before = seen(&cluster, stay[0]);
    for node in &stay {
        let target = (cluster.nodes[*node].id, cluster.nodes[*node].http.as_str());
        for claim in attacker.claims(&before, cluster.nodes[leader].id) {
            let refused = |answer: &Result<Vec<u8>, PeerError>| {
                matches!(answer, Err(PeerError::Removed(_) | PeerError::Distrusted(_)))
            };
            let answer = eventually(|| attacker.raft(target, &claim), refused);
            assert!(refused(&answer), "{answer:?}");
        }
    }
    unharmed(&cluster, &stay, &before, "after");
    // The rotation ends by itself, and nobody trusts what the voter had.
    let done = eventually(
        || authority(&cluster),
        |shown| shown["pending"] == Json::Null && shown["issues"] != issued_before,
    );
    assert_eq!(done["pending"], Json::Null, "{done}");
    assert_eq!(done["trusted"].as_array().map(Vec::len), Some(1), "{done}");
    let old_key = old.authority_key_pem.expect("a voter has the key");
    for node in &stay {
        let text = cluster.nodes[*node].dir.join("data/identity/identity.json");
        let secret = old_key.lines().nth(1).expect("a line of the key");
        let is_gone = || !std::fs::read_to_string(&text).expect("an identity").contains(secret);
        assert!(eventually(is_gone, |gone| *gone), "node {node} has the old key");
    }
    cluster.start(gone);
    says_that_it_was_removed(&cluster, gone);
    let before = seen(&cluster, stay[0]);
    unharmed(&cluster, &stay, &before, "at-last");
}

#[test]
fn a_clock_that_is_wrong_at_the_start_costs_nothing() {
    // One that votes alone: nobody else can be asked, so an operator is.
    let mut cluster = Cluster::bare();
    let ahead = cluster.folder.path().join("clock");
    std::fs::write(&ahead, "0").unwrap();
    cluster.add(1, "");
    cluster.wait_ready(0);
    for number in 0..20 {
        cluster.set_flag(0, &format!("c{number}"), if number % 2 == 0 { "a" } else { "b" });
    }
    let before = cluster.history(0, 0)["entries"].as_array().map(Vec::len);
    cluster.signal(0, "-TERM");
    let two_years = 2_i64 * 365 * 86_400_000;
    std::fs::write(&ahead, two_years.to_string()).unwrap();
    start_with_clock(&mut cluster, 0, &ahead);
    cluster.wait_ready(0);
    let change = json!({ "request_id": "x", "why": "w", "changes": [
        { "kind": "setting", "name": "s", "op": "put", "body": { "n": 1 } }] });
    let refused = cluster.post(0, "/v1/changes", &change, 0).expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(cluster.history(0, 0)["entries"].as_array().map(Vec::len), before);
    let status = cluster.get(0, "/v1/status", 0).expect("an answer").body;
    assert!(status["cluster"]["clock_doubt"].is_object(), "{status}");
    // It was right after all, and an operator says so.
    let shown = cluster.post(0, "/v1/admin/clock?dry_run=true", &json!(null), 0).expect("answer");
    assert_eq!((shown.status, &shown.body["doubted"]), (200, &json!(true)), "{}", shown.body);
    let confirmed = cluster.post(0, "/v1/admin/clock", &json!(null), 0).expect("an answer");
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    cluster.set_flag(0, "confirmed", "c");
}

#[test]
fn a_node_whose_clock_is_wrong_does_not_lead_while_others_agree() {
    let mut cluster = Cluster::up(3, &["--empty"]);
    for number in 0..20 {
        cluster.set_flag(0, &format!("c{number}"), if number % 2 == 0 { "a" } else { "b" });
    }
    let before = cluster.history(0, 0)["entries"].as_array().map(Vec::len).expect("entries");
    let leader = cluster.leader(0);
    let other = (leader + 1) % 3;
    cluster.signal(leader, "-KILL");
    let ahead = cluster.folder.path().join("clock");
    std::fs::write(&ahead, (2_i64 * 365 * 86_400_000).to_string()).unwrap();
    start_with_clock(&mut cluster, leader, &ahead);
    cluster.wait_ready(leader);
    // It is asked to lead, and does not; the others do.
    let after = cluster.set_flag(other, "after", "c");
    let leads = cluster.leader(other);
    assert_ne!(leads, leader);
    let history = cluster.history(leader, after);
    let entries = history["entries"].as_array().expect("entries");
    assert!(entries.len() > before, "{history}");
    let far = entries.iter().any(|entry| entry["at"].to_string().contains("2028"));
    assert!(!far, "{history}");
    // All start again at another time than before: most voters agree on it.
    (0..3).for_each(|node| cluster.signal(node, "-KILL"));
    std::fs::write(&ahead, (70_i64 * 86_400_000).to_string()).unwrap();
    (0..3).for_each(|node| start_with_clock(&mut cluster, node, &ahead));
    cluster.set_flag(other, "much-later", "d");
}

/// Starts a node again, with a clock that a file moves.
fn start_with_clock(cluster: &mut Cluster, node: usize, ahead: &Path) {
    let dir = cluster.nodes[node].dir.clone();
    let log = std::fs::File::options().append(true).open(dir.join("node.log")).expect("log");
    let child = Command::new(VERDICT)
        .args(["node", "--config"])
        .arg(dir.join("node.toml"))
        .env(verdict_tests::chaos::cluster::CLOCK_FILE, ahead)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("log"))
        .stderr(log)
        .spawn()
        .expect("the node starts");
    cluster.nodes[node].pid = u64::from(child.id());
    cluster.adopt(child);
}
