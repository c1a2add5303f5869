//! Operators at work, by the command line alone, on a cluster of real processes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use verdict_admin::{CallError, Client, ClientOptions, KeyFile, Request, every_request};
use verdict_config::settings::Role;

use crate::cluster::harness::Cluster;
use crate::process::{VERDICT, eventually};

/// A cluster with the demo, and the folder of an operator.
pub struct Desk {
    pub cluster: Cluster,
    pub key: PathBuf,
}

/// What a command came to.
pub struct Told {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Told {
    pub fn json(&self) -> Json {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Desk {
    pub fn new(nodes: u16) -> Self {
        let cluster = Cluster::up(nodes, &[]);
        let key = cluster.folder.path().join("cluster/operator.key");
        Self { cluster, key }
    }

    /// The admin address of a node: two behind that of HTTP.
    pub fn admin_address(&self, node: usize) -> String {
        let http = self.cluster.nodes[node].http.trim_start_matches("http://").to_owned();
        let (host, port) = http.rsplit_once(':').expect("a port");
        format!("{host}:{}", port.parse::<u16>().expect("a number") + 2)
    }

    pub fn run_with(&self, key: &Path, arguments: &[&str]) -> Told {
        let output = Command::new(VERDICT)
            .args(["--json", "admin", "--key"])
            .arg(key)
            .args(arguments)
            .current_dir(self.cluster.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the command runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub fn run(&self, arguments: &[&str]) -> Json {
        self.run_with(&self.key, arguments).json()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.cluster.folder.path().join(name)
    }

    /// Makes a colleague's key and enrols it, as the help texts say.
    pub fn colleague(&self, name: &str, rights: &[&str]) -> PathBuf {
        let file = format!("{name}.key");
        let made = self.run(&["keys", "new", name, "--out", &file]);
        let public = made["public_key"].as_str().expect("a key").to_owned();
        let enrolment = format!("{name}.enrolment");
        let fixed = ["keys", "enrol", name, "--public-key", &public, "--out", &enrolment];
        self.run(&[&fixed[..], rights].concat());
        self.run(&["keys", "enrolled", &file, &enrolment]);
        self.path(&file)
    }

    /// Starts a node beside the cluster, at a place behind it, that joins by a token.
    pub fn join(&mut self, place: u16, token: &str) {
        let port = self.cluster.port(place);
        let data = self.path(&format!("joined-{place}"));
        let settings = format!(
            "[node]\nid = {place}\ndata_dir = {data:?}\n\n[http]\naddress = \"127.0.0.1:{port}\"\n\n\
             [cluster]\njoin = {token:?}\n\n[[keys]]\nname = \"k\"\nrole = \"operator\"\n\
             sha256 = \"{}\"\n",
            "0".repeat(64)
        );
        let file = self.path(&format!("joined-{place}.toml"));
        std::fs::write(&file, settings).unwrap();
        let log = std::fs::File::create(self.path(&format!("joined-{place}.log"))).unwrap();
        let node = Command::new(VERDICT)
            .args(["node", "--config"])
            .arg(file)
            .current_dir(self.cluster.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the node starts");
        self.cluster.adopt(node);
    }

    pub fn token(&self) -> String {
        let token = self.run(&["members", "token", "--valid-s", "600"]);
        token["token"].as_str().expect("a token").to_owned()
    }

    pub fn voters(&self) -> usize {
        let members = self.run(&["members", "list"]);
        let peers = members["peers"].as_array().cloned().unwrap_or_default();
        peers.iter().filter(|peer| peer["member"]["voter"] == true).count()
    }

    /// The author and reason of every revision from one on, as a node's audit has it.
    pub fn audit(&self, node: usize, from: u64) -> Vec<(u64, String, String)> {
        self.audit_at(&self.admin_address(node), from)
    }

    /// The same, of the node at an admin address.
    pub fn audit_at(&self, address: &str, from: u64) -> Vec<(u64, String, String)> {
        let log = self.run(&["--node", address, "log", "--limit", "200"]);
        let mut seen: Vec<(u64, String, String)> = Vec::new();
        for entry in log["entries"].as_array().expect("entries") {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let revision = entry["revision"].as_u64().expect("a revision");
            // The steps of a rotation that a removal begins come by themselves.
            if text("author") == "duty:authority" {
                continue;
            }
            if revision >= from && seen.last().is_none_or(|last| last.0 != revision) {
                seen.push((revision, text("author"), text("why")));
            }
        }
        seen.reverse();
        seen
    }
}

/// Looks again until something is so; fails where it never is.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    assert!(eventually(&mut so, |so| *so), "{what}");
}

#[test]
fn an_operator_publishes_activates_rolls_both_back_and_every_node_has_it_in_its_log() {
    let desk = Desk::new(3);
    let first = desk.run(&["status"])["revision"].as_u64().expect("a revision");

    // A rule set by a draft, which serves nobody until it is published.
    let rules = desk.path("cluster/catalogue/rules/merchant_risk.yaml");
    let text = std::fs::read_to_string(&rules).expect("the demo's rules");
    assert!(text.contains("points: 300"));
    std::fs::write(desk.path("risk.yaml"), text.replace("points: 300", "points: 310")).unwrap();
    desk.run(&["rules", "draft", "risk.yaml"]);
    let tests = desk.run(&["rules", "test", "merchant_risk", "--draft"]);
    assert_eq!((&tests["failed"], tests["run"].as_u64() > Some(10)), (&json!(0), true), "{tests}");
    let published = desk.run(&["rules", "publish", "merchant_risk", "--why", "case 12"]);
    assert_eq!(published["revision"], first + 2, "{published}");

    // A model under another alias.
    let activated =
        desk.run(&["model", "activate", "risk", "payment-risk", "--why", "the new one"]);
    assert_eq!(activated["revision"], first + 3);

    // Both back, in one entry.
    let dry = ["rollback", "--to", &first.to_string(), "--dry-run"];
    let shown = desk.run(&dry);
    assert_eq!(shown["differences"].as_array().map(Vec::len), Some(2), "{shown}");
    let back = desk.run(&["rollback", "--to", &first.to_string(), "--why", "false positives"]);
    assert_eq!(back["revision"], first + 4);
    let same = desk.run(&["diff", &first.to_string()]);
    assert_eq!(same["differences"], json!([]));

    // A colleague comes, and is gone from one revision on.
    let bob = desk.colleague("bob", &["--role", "editor"]);
    let toggle = ["flag", "toggle", "checkout-copy", "--why", "bob's"];
    assert_eq!(desk.run_with(&bob, &toggle).json()["revision"], first + 6);
    let rollback = desk.run_with(&bob, &["rollback", "--last"]);
    assert_eq!(rollback.code, Some(1));
    assert!(rollback.err.contains("VD0802"), "{}", rollback.err);
    desk.run(&["keys", "revoke", "bob", "--why", "left"]);
    for node in 0..3 {
        let address = desk.admin_address(node);
        until("the key is refused everywhere", || {
            let told = desk.run_with(&bob, &["--node", &address, "status"]);
            told.code == Some(1) && told.err.contains("VD0817")
        });
    }

    let expected = [
        ("operator", "draft of rule set merchant_risk"),
        ("operator", "case 12"),
        ("operator", "the new one"),
        ("operator", "false positives"),
        ("operator", "enrol operator bob"),
        ("bob", "bob's"),
        ("operator", "left"),
    ];
    for node in 0..3 {
        let audit = desk.audit(node, first + 1);
        let told: Vec<(&str, &str)> =
            audit.iter().map(|(_, author, why)| (author.as_str(), why.as_str())).collect();
        assert_eq!(told, expected, "node {}", node + 1);
    }
}

#[test]
fn an_operator_adds_and_removes_a_node_and_asks_on_while_one_is_down() {
    let mut desk = Desk::new(3);
    let token = desk.token();
    desk.join(4, &token);
    until("the fourth node votes", || desk.voters() == 4);
    // Any node answers: the newcomer, too, by the key that it never saw.
    let newcomer = format!("127.0.0.1:{}", desk.cluster.port(4) + 2);
    let status = desk.run(&["--node", &newcomer, "status"]);
    assert!(status["revision"].as_u64() > Some(0), "{status}");
    desk.run(&["members", "remove", "4"]);
    until("three nodes vote", || desk.voters() == 3);

    // The first address does not answer: the next one is asked, and a write is made once.
    desk.cluster.signal(0, "-KILL");
    let before = desk.audit(1, 1).len();
    let toggled = ["flag", "toggle", "checkout-copy", "--why", "without the first"];
    until("a change is taken without the first node", || {
        desk.run_with(&desk.key, &toggled).code == Some(0)
    });
    until("it is in the log once", || desk.audit(1, 1).len() == before + 1);
}

#[test]
fn a_model_and_a_backup_go_through_admin_calls() {
    let desk = Desk::new(1);
    let models = desk.path("cluster/catalogue/models");
    let folder =
        std::fs::read_dir(models).expect("models").next().expect("one").expect("it").path();
    let folder = folder.to_str().expect("a path");
    let push = ["model", "push", folder, "--name", "pushed", "--why", "case 31"];
    let shown = desk.run(&[&push[..], &["--dry-run"]].concat());
    assert_eq!(shown["differences"][0]["name"], "pushed", "{shown}");
    let pushed = desk.run(&push);
    let revision = pushed["revision"].as_u64().expect("a revision");
    assert_eq!(shown["revision"], revision);
    let listed = desk.run(&["model", "list"]);
    let models = listed["models"].as_array().expect("models");
    assert!(models.iter().any(|model| model["name"] == "pushed"), "{listed}");
    // No folder is taken for one of a model.
    std::fs::create_dir(desk.path("no-model")).expect("a folder");
    std::fs::write(desk.path("no-model/readme"), "x".repeat(300_000)).expect("a file");
    let refused = desk.run_with(&desk.key, &["model", "push", "no-model", "--name", "x"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("VD"), "{}", refused.err);

    let saved = desk.run(&["backup", "saved.tar"]);
    assert_eq!(saved["revision"], revision, "{saved}");
    let length = std::fs::metadata(desk.path("saved.tar")).expect("a backup").len();
    assert_eq!(saved["bytes"], length);
    let port = desk.cluster.port(5);
    let settings = format!(
        "[node]\ndata_dir = {:?}\n\n[http]\naddress = \"127.0.0.1:{port}\"\n",
        desk.path("restored"),
    );
    std::fs::write(desk.path("restored.toml"), settings).expect("settings");
    let restore = ["restore", "saved.tar", "--config", "restored.toml"];
    let shown = desk.run(&[&restore[..], &["--dry-run"]].concat());
    assert_eq!((&shown["dry_run"], &shown["revision"]), (&json!(true), &json!(revision)));
    assert!(!desk.path("restored").exists(), "a dry run makes nothing");
    let restored = desk.run(&restore);
    assert_eq!(restored["revision"], revision, "{restored}");
    let again = desk.run_with(&desk.key, &[&restore[..], &["--dry-run"]].concat());
    assert!(again.err.contains("has state already"), "{}", again.err);
    // Of a colleague who edits, no backup is made.
    let bob = desk.colleague("bob", &["--role", "editor"]);
    let refused = desk.run_with(&bob, &["backup", "other.tar"]);
    assert!(refused.err.contains("VD0802"), "{}", refused.err);
    assert!(!desk.path("other.tar").exists());
}

#[test]
fn every_role_is_tried_against_every_command() {
    let desk = Desk::new(1);
    let address = desk.admin_address(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut refused = 0;
    for role in Role::ALL {
        let name = format!("a-{role}");
        let file = desk.colleague(&name, &["--role", role.as_str()]);
        let key = KeyFile::load(&file).expect("a key file").open(None).expect("no passphrase");
        let call = |request: &Request| {
            runtime.block_on(async {
                let nodes = vec![address.clone()];
                let client = Client::new(&key, nodes, ClientOptions::default()).await;
                client.expect("a client").call(request).await
            })
        };
        for request in every_request() {
            let allowed = role >= request.needs();
            if allowed && request == (Request::Drain { dry_run: false }) {
                // The node would end; another test drains.
                continue;
            }
            let forbidden = match call(&request) {
                Ok(_) => false,
                Err(CallError::Refused(refusal)) => refusal.code == "VD0802",
                Err(error) => panic!("{role} {}: {error}", request.name()),
            };
            assert_eq!(forbidden, !allowed, "{role} {}", request.name());
            refused += u64::from(forbidden);
        }
    }
    // All of them are counted and listed.
    let told = desk.run(&["refusals"]);
    assert_eq!(told["total"], refused, "{told}");
    let listed = told["refusals"].as_array().expect("refusals");
    assert!(listed.iter().all(|one| one["code"] == "VD0802"), "{told}");
    assert!(listed.iter().all(|one| one["key"].as_str().is_some_and(|key| key.starts_with("a-"))));
}

#[test]
fn a_limited_key_changes_what_it_is_for_and_nothing_else() {
    let desk = Desk::new(1);
    let carol = desk.colleague("carol", &["--role", "releaser", "--flow", "merchant_onboarding"]);
    let rules = desk.path("cluster/catalogue/rules/merchant_risk.yaml");
    let text = std::fs::read_to_string(&rules).expect("the demo's rules");
    std::fs::write(desk.path("risk.yaml"), text.replace("points: 300", "points: 310")).unwrap();
    desk.run_with(&carol, &["rules", "publish", "risk.yaml"]).json();
    let payment = desk.path("cluster/catalogue/rules/payment_fraud.yaml");
    let payment = payment.display().to_string();
    let refused = |arguments: &[&str]| {
        let told = desk.run_with(&carol, arguments);
        assert_eq!(told.code, Some(1), "{arguments:?}: {}", told.out);
        assert!(told.err.contains("VD0818"), "{arguments:?}: {}", told.err);
    };
    refused(&["rules", "publish", &payment]);
    refused(&["flag", "toggle", "checkout-copy"]);
    refused(&["list", "add", "gambling", "bingo"]);
    // What it may not change it may not roll back.
    desk.run(&["flag", "toggle", "checkout-copy"]);
    refused(&["rollback", "--last"]);
}

#[test]
fn a_snoozed_rule_does_not_count_for_its_key_until_it_is_removed() {
    let desk = Desk::new(3);
    let decide = |node: usize, account: &str, revision: u64| {
        let input = json!({"amount": 10, "currency": "EUR", "account_id": account,
            "card_id": "TOK_STOLEN_0001"});
        let body = json!({ "input": input });
        let decided = desk.cluster.post(node, "/v1/decisions/payment", &body, revision);
        let decided = decided.expect("an answer");
        assert_eq!(decided.status, 200, "{}", decided.body);
        decided.body
    };
    assert_eq!(decide(0, "acct-7", 0)["outcome"], "block");
    let add = ["snooze", "add", "payment_fraud", "stolen_card", "--unit", "acct-7", "--for", "7d"];
    let comment = ["--comment", "case 12"];
    let shown = desk.run(&[&add[..], &comment, &["--dry-run"]].concat());
    assert_eq!(shown["differences"][0]["after"]["body"]["comment"], "case 12", "{shown}");
    let added = desk.run(&[&add[..], &comment].concat());
    let revision = added["revision"].as_u64().expect("a revision");
    assert!(!added.to_string().contains("acct-7") && !shown.to_string().contains("acct-7"));

    for node in 0..3 {
        let snoozed = decide(node, "acct-7", revision);
        assert_ne!(snoozed["outcome"], "block", "{snoozed}");
        assert_eq!(snoozed["rules"]["snoozed"], json!(["stolen_card"]));
        let other = decide(node, "acct-8", revision);
        assert_eq!((&other["outcome"], &other["rules"]["snoozed"]), (&json!("block"), &json!([])));
        let id = snoozed["decision_id"].as_str().expect("an id");
        let replay = format!("/v1/decisions/{id}:replay");
        let replayed = desk.cluster.post(node, &replay, &json!({}), 0).expect("an answer");
        assert_eq!(replayed.body["equal"], true, "{}", replayed.body);
    }
    let listed = desk.run(&["snooze", "list", "--unit", "acct-7"]);
    let name = listed["snoozes"][0]["name"].as_str().expect("a name").to_owned();
    assert_eq!(listed["snoozes"][0]["expired"], false);
    assert_eq!(desk.run(&["snooze", "list", "--unit", "acct-8"])["snoozes"], json!([]));
    let id = decide(0, "acct-7", revision)["decision_id"].as_str().expect("an id").to_owned();
    let explained = desk.run(&["explain", &id]).to_string();
    assert!(explained.contains(&format!("\"snoozed_by\":[\"{name}\"]")), "{explained}");

    // The same rule and key again: a new end, not a second snooze.
    let longer = [&add[..7], &["30d"], &comment].concat();
    desk.run(&longer);
    assert_eq!(desk.run(&["snooze", "list"])["snoozes"].as_array().map(Vec::len), Some(1));

    // What cannot be is refused, by a code.
    let refused = |key: &Path, arguments: &[&str], code: &str| {
        let told = desk.run_with(key, arguments);
        assert_ne!(told.code, Some(0), "{arguments:?}: {}", told.out);
        let said = told.out + &told.err;
        assert!(said.contains(code), "{arguments:?}: {said}");
    };
    let rest = ["--unit", "acct-7", "--comment", "case 12"];
    let over = ["snooze", "add", "payment_fraud", "stolen_card", "--until", "2020-01-01"];
    refused(&desk.key, &[&over[..], &rest].concat(), "VD0104");
    let nowhere = ["snooze", "add", "payment_fraud", "no_such_rule", "--for", "1h"];
    refused(&desk.key, &[&nowhere[..], &rest].concat(), "VD0107");
    let dave = desk.colleague("dave", &["--role", "editor", "--flow", "merchant_onboarding"]);
    refused(&dave, &[&add[..], &comment].concat(), "VD0818");
    refused(&dave, &["snooze", "remove", &name], "VD0818");
    let own = ["snooze", "add", "merchant_risk", "gambling_words", "--for", "1h"];
    desk.run_with(&dave, &[&own[..], &rest].concat()).json();

    let removed = desk.run(&["snooze", "remove", &name]);
    let back = decide(1, "acct-7", removed["revision"].as_u64().expect("a revision"));
    assert_eq!((&back["outcome"], &back["rules"]["snoozed"]), (&json!("block"), &json!([])));
}

#[test]
fn the_audit_says_from_where_whichever_way_a_change_came() {
    let desk = Desk::new(3);
    let leader = desk.cluster.leader(0);
    let follower = (leader + 1) % 3;
    let address = desk.admin_address(follower);
    let signed = desk.run(&["--node", &address, "flag", "toggle", "checkout-copy", "--why", "rpc"]);
    let revision = desk.cluster.set_flag(follower, "over-http", "a");
    assert_eq!(revision, signed["revision"].as_u64().expect("a revision") + 1);
    for node in 0..3 {
        let history = desk.cluster.history(node, revision);
        let entries = history["entries"].as_array().expect("entries");
        let from = |wanted: u64| {
            let entry = entries.iter().find(|entry| entry["revision"] == wanted);
            entry.expect("an entry")["address"].clone()
        };
        assert_eq!((from(revision - 1), from(revision)), (json!("127.0.0.1"), json!("127.0.0.1")));
        let log = desk.run(&["--node", &desk.admin_address(node), "log", "--limit", "2"]);
        assert!(log["entries"].as_array().unwrap().iter().all(|e| e["address"] == "127.0.0.1"));
    }
}

#[test]
fn status_actors_blobs_and_completions_say_how_the_cluster_is() {
    let desk = Desk::new(3);
    let verdict = |arguments: &[&str], completing: Option<usize>| {
        let mut command = Command::new(VERDICT);
        command.args(arguments).current_dir(desk.cluster.folder.path()).stdin(Stdio::null());
        if let Some(index) = completing {
            command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index.to_string());
        }
        let output = command.output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (key, address) = (desk.key.display().to_string(), desk.admin_address(0));
    let target = ["--key", key.as_str(), "--node", address.as_str()];

    // `verdict status` is `verdict admin status`.
    let status = verdict(&[&["status", "--json"][..], &target].concat(), None);
    let status: Json = serde_json::from_str(&status).expect("JSON");
    let same = desk.run(&["--node", &address, "status"]);
    for part in ["revision", "flows", "models", "version"] {
        assert_eq!(status[part], same[part], "{part}");
    }
    let table = verdict(&[&["status"][..], &target].concat(), None);
    assert!(table.contains("leader") && table.contains("merchant_onboarding"), "{table}");

    // The actors that answer stand in the tree like all others.
    let tree = desk.run(&["--node", &address, "actors"]);
    let children = tree["children"].as_array().expect("children");
    let admin = children.iter().find(|child| child["name"] == "admin").expect("a branch");
    let members: Vec<&Json> = admin["children"].as_array().expect("children").iter().collect();
    let names: Vec<&Json> = members.iter().map(|member| &member["name"]).collect();
    assert_eq!(names, ["sessions", "actor", "listener"]);
    for member in &members {
        assert_eq!((&member["state"], &member["restarts"]), (&json!("running"), &json!(0)));
    }
    assert!(members[0]["queue_depth"].as_u64() >= Some(1), "the session that asks: {tree}");
    assert!(members[1]["queue_depth"].as_u64() >= Some(1), "the request that asks: {tree}");

    // Names are completed with what the cluster has, by the words typed so far.
    let words = |last: &[&str]| {
        let line = [&["--", "verdict", "admin"][..], &target, last].concat();
        verdict(&line, Some(line.len() - 2))
    };
    assert_eq!(words(&["flag", "get", "checkout-c"]), "checkout-copy");
    assert_eq!(words(&["rules", "show", "payment_f"]), "payment_fraud");
    assert_eq!(words(&["list", "show", "stolen"]), "stolen_cards");
    assert_eq!(words(&["flow", "show", "mess"]), "message");
    assert_eq!(words(&["model", "activate", "industry", "payment-r"]), "payment-risk");
    assert_eq!(words(&["flag", "set", "checkout-copy", "lo"]), "long");
    assert_eq!(words(&["flag", "kill", "checkout-copy", "--variant", "lo"]), "long");
    assert_eq!(words(&["snooze", "add", "payment_fraud", "blocked_dev"]), "blocked_device");
    let nobody = ["--", "verdict", "admin", "--node", "127.0.0.1:1", "--key", &key];
    let nobody = [&nobody[..], &["flag", "get", "checkout-c"]].concat();
    assert_eq!(verdict(&nobody, Some(nobody.len() - 2)), "");

    // Which node has what, and which node did not say.
    let all = |blobs: &Json| {
        let nodes = blobs["nodes"].as_array().expect("nodes");
        let whole = |node: &&Json| {
            let models = node["models"].as_array().expect("models");
            models.len() == 4 && models.iter().all(|model| model["loaded"] == true)
        };
        nodes.iter().filter(whole).map(|node| node["node_id"].clone()).collect::<Vec<_>>()
    };
    until("every node has every model", || all(&desk.run(&["blobs"])).len() == 3);
    desk.cluster.signal(2, "-KILL");
    let asked = desk.run(&["--node", &address, "blobs"]);
    let gone = desk.cluster.nodes[2].id;
    assert_eq!(asked["not_asked"][0]["node_id"], gone, "{asked}");
    assert_eq!(all(&asked).len(), 2, "{asked}");
}
