//! A cluster of real processes, and a client for it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use verdict_tests::ports::PortBlock;

use crate::process::{VERDICT, eventually};

/// A cluster on this machine. Dropping it kills every node.
pub struct Cluster {
    pub folder: TempDir,
    pub nodes: Vec<Node>,
    pub key: String,
    pub agent: ureq::Agent,
    /// What every node of it listens on.
    ports: PortBlock,
    /// Nodes that the test itself started.
    children: Vec<Child>,
}

pub struct Node {
    pub id: u64,
    pub http: String,
    pub pid: u64,
    pub dir: PathBuf,
}

pub struct Answer {
    pub status: u16,
    pub body: Json,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .new_agent()
}

impl Cluster {
    pub fn up(nodes: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = PortBlock::claim().expect("ports");
        let port = ports.first().to_string();
        let output = Command::new(VERDICT)
            .args(["--json", "cluster", "up", &nodes.to_string(), "--base-port", &port])
            .args(arguments)
            .arg("--dir")
            .arg(folder.path().join("cluster"))
            .stdin(Stdio::null())
            .output()
            .expect("the command runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        let cluster: Json = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Json| value.as_str().expect("a text").to_owned();
        let nodes = cluster["nodes"].as_array().expect("nodes").iter().map(|node| Node {
            id: node["id"].as_u64().expect("an id"),
            http: text(&node["http"]),
            pid: node["pid"].as_u64().expect("a pid"),
            dir: text(&node["dir"]).into(),
        });
        Self {
            nodes: nodes.collect(),
            key: text(&cluster["api_key"]),
            agent: agent(),
            folder,
            ports,
            children: Vec::new(),
        }
    }

    /// A cluster without a node: [`add`](Self::add) starts them one by one.
    pub fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = PortBlock::claim().expect("ports");
        let key = "the-key-of-a-cluster-of-tests".to_owned();
        Self { folder, nodes: Vec::new(), key, agent: agent(), ports, children: Vec::new() }
    }

    /// Starts the node of a place, counted from 1, with what stands in its section `cluster`.
    pub fn add(&mut self, place: u16, section: &str) {
        let dir = self.write_settings(place, section);
        std::fs::write(dir.join("node.log"), "").expect("log");
        let http = format!("http://127.0.0.1:{}", self.port(place));
        self.nodes.push(Node { id: u64::from(place), http, pid: 0, dir });
        self.start(self.nodes.len() - 1);
    }

    /// Runs a node that does not start: what it tells.
    pub fn run_node(&self, place: u16, section: &str) -> String {
        let dir = self.write_settings(place, section);
        let mut command = Command::new(VERDICT);
        command.args(["node", "--config"]).arg(dir.join("node.toml")).stdin(Stdio::null());
        let output = command.output().expect("the node runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        told
    }

    fn write_settings(&self, place: u16, section: &str) -> PathBuf {
        let (dir, port) = (self.folder.path().join(format!("node-{place}")), self.port(place));
        let text = format!(
            "[node]\nid = {place}\ndata_dir = {data:?}\n\n[http]\naddress = \"127.0.0.1:{port}\"\n\n\
             [cluster]\n{section}\n[[keys]]\nname = \"tests\"\nrole = \"operator\"\n\
             sha256 = \"{hash}\"\n",
            data = dir.join("data"),
            hash = verdict_config::model::sha256_hex(self.key.as_bytes()),
        );
        std::fs::create_dir_all(&dir).expect("folder");
        std::fs::write(dir.join("node.toml"), text).expect("settings");
        dir
    }

    /// Waits until a node takes requests.
    pub fn wait_ready(&self, node: usize) {
        eventually(
            || self.get(node, "/readyz", 0).map(|answer| answer.status),
            |status| *status == Some(200),
        );
    }

    /// The HTTP port of the node at a place, counted from 1, of a cluster of up to nine; those
    /// behind the nodes that were started are free for nodes that join.
    pub const fn port(&self, place: u16) -> u16 {
        assert!(place >= 1 && place < 10);
        self.ports.first() + 10 * place
    }

    pub fn get(&self, node: usize, path: &str, revision: u64) -> Option<Answer> {
        let request = self.agent.get(format!("{}{path}", self.nodes[node].http));
        let request = request.header("X-API-Key", &self.key);
        answer(request.header("X-Verdict-Min-Revision", revision.to_string()).call())
    }

    pub fn post(&self, node: usize, path: &str, body: &Json, revision: u64) -> Option<Answer> {
        let request = self.agent.post(format!("{}{path}", self.nodes[node].http));
        let request = request.header("X-API-Key", &self.key).content_type("application/json");
        let request = request.header("X-Verdict-Min-Revision", revision.to_string());
        answer(request.send(serde_json::to_vec(body).expect("JSON")))
    }

    /// Sets a flag at a node, trying again with the same `request_id` until it is told that it was
    /// applied; the revision.
    pub fn set_flag(&self, node: usize, request_id: &str, variant: &str) -> u64 {
        let body = json!({
            "request_id": request_id,
            "why": "a test",
            "changes": [{ "kind": "flag", "name": "f", "op": "put", "body": {
                "state": "ENABLED",
                "variants": { "a": "a", "b": "b", "c": "c", "d": "d" },
                "defaultVariant": variant,
            }}],
        });
        let applied = eventually(
            || self.post(node, "/v1/changes", &body, 0).map(|answer| (answer.status, answer.body)),
            |answer| answer.as_ref().is_some_and(|(status, _)| *status == 200),
        );
        applied.expect("an answer").1["revision"].as_u64().expect("a revision")
    }

    /// The flag as a node answers it once it serves a revision.
    pub fn flag(&self, node: usize, revision: u64) -> String {
        let context = json!({ "context": { "targetingKey": "u" } });
        let path = "/ofrep/v1/evaluate/flags/f";
        let seen = eventually(
            || self.post(node, path, &context, revision).map(|answer| (answer.status, answer.body)),
            |answer| answer.as_ref().is_some_and(|(status, _)| *status == 200),
        );
        seen.expect("an answer").1["value"].as_str().expect("a value").to_owned()
    }

    /// The position of the leader, as a node sees it.
    pub fn leader(&self, node: usize) -> usize {
        let look = || {
            let members = self.get(node, "/v1/admin/members", 0)?.body;
            let leader = members["leader"].as_u64()?;
            self.nodes.iter().position(|node| node.id == leader)
        };
        eventually(look, Option::is_some).expect("a leader")
    }

    /// Sends a signal; one that ends the process is waited for.
    pub fn signal(&self, node: usize, name: &str) {
        let pid = self.nodes[node].pid.to_string();
        let done = Command::new("kill").args([name, &pid]).status();
        assert!(done.expect("kill runs").success());
        if matches!(name, "-STOP" | "-CONT") {
            return;
        }
        let look = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            Some((stat, threads.count()))
        };
        // A zombie has ended: its parent, which ended before it, cannot tell so. While other threads
        // than its first are still ending, it has its ports.
        eventually(look, |look| {
            look.as_ref().is_none_or(|(stat, threads)| *threads <= 1 && stat.contains(") Z "))
        });
    }

    /// Takes a process that a test started: it ends with the cluster.
    pub fn adopt(&mut self, child: Child) {
        self.children.push(child);
    }

    /// Starts a node again, without waiting for it.
    pub fn start(&mut self, node: usize) {
        let dir = self.nodes[node].dir.clone();
        let log = std::fs::File::options().append(true).open(dir.join("node.log")).expect("log");
        let child = Command::new(VERDICT)
            .args(["node", "--config"])
            .arg(dir.join("node.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the node starts");
        self.nodes[node].pid = u64::from(child.id());
        self.children.push(child);
    }

    pub fn restart(&mut self, node: usize) {
        self.start(node);
        self.wait_ready(node);
    }

    pub fn history(&self, node: usize, revision: u64) -> Json {
        let history = self.get(node, "/v1/history?limit=1000", revision).expect("an answer");
        assert_eq!(history.status, 200, "{}", history.body);
        history.body
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            let _ = Command::new("kill").args(["-KILL", &node.pid.to_string()]).output();
            if std::thread::panicking() {
                let log = std::fs::read_to_string(node.dir.join("node.log")).unwrap_or_default();
                let tail = log.lines().rev().take(15).collect::<Vec<_>>();
                eprintln!("node {}:\n{}", node.id, tail.join("\n"));
            }
        }
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<Answer> {
    // Tests that need an answer fail on its absence: what stood in its place is in their output.
    let told = |error| eprintln!("no answer: {error}");
    let mut response = result.map_err(told).ok()?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(told).ok()?;
    Some(Answer { status, body: serde_json::from_str(&text).unwrap_or(Json::Null) })
}
