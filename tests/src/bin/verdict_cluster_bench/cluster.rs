//! Three nodes on this machine, as operators start them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::Common;
use super::http::Client;

/// How long any condition is waited for.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Clock ticks a second in `/proc`: what the kernel shows to programs, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// A node.
pub struct Node {
    pub id: u64,
    pub http: SocketAddr,
    pub pid: u32,
    dir: PathBuf,
    /// Set where it was started again by this program.
    child: Option<Child>,
}

/// A cluster; it is stopped, and its state removed, when this is dropped.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub key: String,
    program: PathBuf,
    dir: PathBuf,
}

impl Cluster {
    /// Starts three nodes: with the demo catalogue, or empty.
    pub fn up(common: &Common, demo: bool) -> Result<Self> {
        let program = match &common.verdict {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("verdict"),
        };
        let dir = std::path::absolute(&common.dir)?.join("verdict");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let port = common.base_port.to_string();
        let mut command = Command::new(&program);
        command.args(["cluster", "up", "3", "--json", "--base-port", &port, "--dir"]).arg(&dir);
        if !demo {
            command.arg("--empty");
        }
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("starting {}", program.display()))?;
        ensure!(output.status.success(), "the cluster does not start");
        let file = std::fs::read(dir.join("cluster.json"))?;
        let told: Json = serde_json::from_slice(&file)?;
        let node = |node: &Json| {
            let http = node["http"].as_str().context("an address")?;
            Ok(Node {
                id: node["id"].as_u64().context("an id")?,
                http: http.trim_start_matches("http://").parse()?,
                pid: u32::try_from(node["pid"].as_u64().context("a process")?)?,
                dir: node["dir"].as_str().context("a folder")?.into(),
                child: None,
            })
        };
        let nodes = told["nodes"].as_array().context("nodes")?;
        let nodes: Result<Vec<Node>> = nodes.iter().map(node).collect();
        let key = told["api_key"].as_str().context("a key")?.to_owned();
        Ok(Self { nodes: nodes?, key, program, dir })
    }

    /// A client of one node.
    pub fn client(&self, node: usize) -> Client {
        Client::new(self.nodes[node].http, &self.key)
    }

    /// The place of the leader among the nodes, as one of them knows it.
    pub async fn leader(&self, asked: usize) -> Result<usize> {
        let mut client = self.client(asked);
        let until = Instant::now() + WAIT_MAX;
        while Instant::now() < until {
            if let Ok(members) = client.get("/v1/admin/members").await
                && let Some(leader) = members["leader"].as_u64()
                && let Some(place) = self.nodes.iter().position(|node| node.id == leader)
            {
                return Ok(place);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("no leader")
    }

    /// Kills a node at once.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        let node = &mut self.nodes[node];
        let status = Command::new("kill").args(["-KILL", &node.pid.to_string()]).status()?;
        ensure!(status.success(), "node {} cannot be killed", node.id);
        match &mut node.child {
            Some(child) => drop(child.wait()?),
            // A child of a program that has ended: it is gone when the kernel says so.
            None => {
                let until = Instant::now() + WAIT_MAX;
                while is_running(node.pid) && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        Ok(())
    }

    /// Starts a node that was killed. Gives how long it took to be ready.
    pub async fn start(&mut self, node: usize) -> Result<Duration> {
        let started = Instant::now();
        let program = self.program.clone();
        let told = &mut self.nodes[node];
        let log = std::fs::OpenOptions::new().append(true).open(told.dir.join("node.log"))?;
        let child = Command::new(program)
            .args(["node", "--config"])
            .arg(told.dir.join("node.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        told.pid = child.id();
        told.child = Some(child);
        self.ready(node).await?;
        Ok(started.elapsed())
    }

    /// Waits until a node is ready.
    pub async fn ready(&self, node: usize) -> Result<()> {
        let until = Instant::now() + WAIT_MAX;
        let mut client = self.client(node);
        while Instant::now() < until {
            let answer = client.ask(hyper::Method::GET, "/readyz", hyper::body::Bytes::new());
            if answer.await.is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("node {} is not ready", self.nodes[node].id)
    }

    /// Waits until every node serves one revision, and gives it.
    pub async fn settled(&self) -> Result<u64> {
        let until = Instant::now() + WAIT_MAX;
        while Instant::now() < until {
            let mut revisions = Vec::new();
            for node in 0..self.nodes.len() {
                let status = self.client(node).get("/v1/status").await;
                revisions.push(status.ok().and_then(|status| status["revision"].as_u64()));
            }
            if let Some(Some(first)) = revisions.first()
                && revisions.iter().all(|revision| *revision == Some(*first))
            {
                return Ok(*first);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the nodes do not come to one revision")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            drop(Command::new("kill").args(["-KILL", &node.pid.to_string()]).output());
            if let Some(child) = &mut node.child {
                drop(child.wait());
            }
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// Whether a process holds anything still, its ports for one. One that nobody waits for stays as a
/// zombie, and its first thread is one while others are on their way out.
fn is_running(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let is_zombie =
        |stat: String| stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z');
    threads > 1 || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !is_zombie(s))
}

/// Processor time of a process so far, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Names of programs may hold spaces; the fields behind the last bracket do not.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
    Ok(ticks.context("times of a process")? / TICKS_PER_SECOND)
}

/// Resident memory of a process, in MB (10^6 bytes).
pub fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("VmRSS")? * 1.024 / 1_000.0)
}
