//! A cluster of real processes whose nodes reach each other over our links.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::http::{Answer, Ask, NoAnswer, ask};
use super::links::Links;
use super::schedule::{Setup, setup};
use crate::ports::PortBlock;

/// Nodes that a cluster may have had, removed ones too.
pub const NODES_MAX: u64 = 24;
/// From when on a node without a majority marks its answers.
pub const STALE_AFTER_MS: u64 = 1_000;
/// The key of every client.
pub const KEY: &str = "a key for one run on loopback";
/// The variable of the environment that names the file which a clock that can be moved is read from.
pub const CLOCK_FILE: &str = "UNDER_TEST_CLOCK";
/// How long a node may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A node of the cluster.
struct Node {
    child: Option<Child>,
    dir: PathBuf,
    /// Whether its files may not grow.
    limited: bool,
}

/// The cluster. Dropping it kills every node.
pub struct Cluster {
    /// The links between the nodes.
    pub links: Links,
    program: PathBuf,
    folder: PathBuf,
    ports: PortBlock,
    setup: Setup,
    nodes: Mutex<BTreeMap<u64, Node>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.lock().values_mut() {
            if let Some(mut child) = node.child.take() {
                let _ = (child.kill(), child.wait());
            }
        }
    }
}

impl Cluster {
    /// Starts a cluster of `nodes` in a folder.
    ///
    /// # Errors
    /// A node that does not come up.
    pub async fn start(program: &Path, folder: &Path, nodes: u64, seed: u64) -> Result<Self> {
        let links = Links::open(NODES_MAX, seed).await?;
        let ports = PortBlock::claim()?;
        let (program, folder) = (std::path::absolute(program)?, folder.to_owned());
        let setup = setup(seed);
        let cluster = Self { links, program, folder, ports, setup, nodes: Mutex::default() };
        cluster.write_settings(1, "")?;
        cluster.spawn(1)?;
        cluster.wait_ready(1).await?;
        for id in 2..=nodes {
            let joined = cluster.join(1, true).await?;
            ensure!(joined == id, "node {id} became node {joined}");
        }
        let until = Instant::now() + READY_WITHIN;
        while cluster.voters(1).await.unwrap_or_default().len() < usize::try_from(nodes)? {
            ensure!(Instant::now() < until, "not every node votes");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(cluster)
    }

    /// A cluster of one node from a backup.
    ///
    /// # Errors
    /// The backup is refused, or the node does not come up.
    pub async fn restored(program: &Path, folder: &Path, backup: &Path) -> Result<Self> {
        let links = Links::open(NODES_MAX, 0).await?;
        let (program, folder) = (std::path::absolute(program)?, folder.to_owned());
        let ports = PortBlock::claim()?;
        let setup = setup(0);
        let cluster = Self { links, program, folder, ports, setup, nodes: Mutex::default() };
        cluster.write_settings(1, "")?;
        let restoring = Command::new(&cluster.program)
            .arg("restore")
            .arg(backup)
            .arg("--config")
            .arg(cluster.dir(1).join("node.toml"))
            .stdin(Stdio::null())
            .output()?;
        let told = String::from_utf8_lossy(&restoring.stderr);
        ensure!(restoring.status.success(), "the backup is refused: {told}");
        cluster.spawn(1)?;
        cluster.wait_ready(1).await?;
        Ok(cluster)
    }

    const fn port(&self, id: u64) -> u16 {
        self.ports.first() + 2 * (id as u16)
    }

    /// Where a node serves HTTP.
    #[must_use]
    pub fn address(&self, id: u64) -> String {
        format!("127.0.0.1:{}", self.port(id))
    }

    /// The folder of a node: settings, log, and `data`.
    #[must_use]
    pub fn dir(&self, id: u64) -> PathBuf {
        self.folder.join(format!("node-{id}"))
    }

    /// Every node that is a member, whether it runs or not.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.lock().keys().copied().collect()
    }

    fn write_settings(&self, id: u64, join: &str) -> Result<()> {
        let dir = self.dir(id);
        std::fs::create_dir_all(&dir)?;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(id) + 1));
        self.links.set_target(id, peer);
        let routes = self.links.routes(id).into_iter();
        let routes: Vec<String> =
            routes.map(|(to, address)| format!("\"{to}\" = \"{address}\"")).collect();
        let Setup { snapshot_entries, entries_kept, network } = self.setup;
        let text = format!(
            "[node]\nid = {id}\ndata_dir = {data:?}\n\
             [http]\naddress = \"{http}\"\n\
             [admin]\naddress = \"off\"\n\n\
             [cluster]\npeer_address = \"{peer}\"\njoin = {join:?}\n\
             stale_after_ms = {STALE_AFTER_MS}\nsnapshot_entries = {snapshot_entries}\n\
             entries_kept = {entries_kept}\nnetwork = {network:?}\n\
             peer_routes = {{ {routes} }}\n\
             [[keys]]\nname = \"chaos\"\nrole = \"operator\"\nsha256 = \"{hash}\"\n",
            data = dir.join("data"),
            http = self.address(id),
            routes = routes.join(", "),
            hash = verdict_config::model::sha256_hex(KEY.as_bytes()),
        );
        Ok(std::fs::write(dir.join("node.toml"), text)?)
    }

    fn spawn(&self, id: u64) -> Result<()> {
        self.spawn_limited(id, None)
    }

    /// Starts a node whose files may have so many bytes; more, and it is told so as by a full disk.
    fn spawn_limited(&self, id: u64, file_bytes_max: Option<u64>) -> Result<()> {
        let dir = self.dir(id);
        let log = std::fs::File::options().create(true).append(true).open(dir.join("node.log"))?;
        let mut command = Command::new(&self.program);
        if let Some(bytes) = file_bytes_max {
            // The signal that comes with the limit is ignored, so that the write itself fails.
            let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes.div_ceil(512));
            command = Command::new("sh");
            command.arg("-c").arg(limit).arg("sh").arg(&self.program);
        }
        let child = command
            .args(["node", "--config"])
            .arg(dir.join("node.toml"))
            .env(CLOCK_FILE, dir.join("clock"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let node = Node { child: Some(child), dir, limited: file_bytes_max.is_some() };
        self.nodes.lock().insert(id, node);
        Ok(())
    }

    /// Starts a node again that was killed, without room for its files to grow.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart_limited(&self, id: u64, file_bytes_max: u64) -> Result<()> {
        self.spawn_limited(id, Some(file_bytes_max))
    }

    /// Whether a node runs without room for its files.
    #[must_use]
    pub fn is_limited(&self, id: u64) -> bool {
        self.nodes.lock().get(&id).is_some_and(|node| node.limited)
    }

    /// Puts a node's clock so far ahead of the system's, or behind.
    ///
    /// # Errors
    /// The disk.
    pub fn set_clock(&self, id: u64, ahead_ms: i64) -> Result<()> {
        let (file, new) = (self.dir(id).join("clock"), self.dir(id).join("clock.new"));
        std::fs::write(&new, ahead_ms.to_string())?;
        Ok(std::fs::rename(new, file)?)
    }

    /// Starts a node again that was killed. Does not wait.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&self, id: u64) -> Result<()> {
        self.spawn(id)
    }

    /// Whether a node's process was started and not killed by us.
    #[must_use]
    pub fn runs(&self, id: u64) -> bool {
        self.nodes.lock().get(&id).is_some_and(|node| node.child.is_some())
    }

    /// A node that ended by itself, with the end of its log.
    #[must_use]
    pub fn ended(&self) -> Option<(u64, String)> {
        for (id, node) in self.nodes.lock().iter_mut() {
            let status = node.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = status {
                let log = std::fs::read_to_string(node.dir.join("node.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                return Some((*id, format!("{status}: {}", last.join(" | "))));
            }
        }
        None
    }

    /// `kill -9`.
    pub fn kill(&self, id: u64) {
        if let Some(node) = self.nodes.lock().get_mut(&id)
            && let Some(mut child) = node.child.take()
        {
            let _ = (child.kill(), child.wait());
        }
    }

    /// Tells a node to stop, and waits until it has.
    ///
    /// # Errors
    /// It does not stop in time, or not well.
    pub async fn terminate(&self, id: u64) -> Result<()> {
        self.signal(id, "-TERM")?;
        let until = Instant::now() + READY_WITHIN;
        loop {
            let status = {
                let mut nodes = self.nodes.lock();
                let Some(node) = nodes.get_mut(&id) else { return Ok(()) };
                let ended = node.child.as_mut().map(Child::try_wait).transpose()?.flatten();
                if ended.is_some() {
                    node.child = None;
                }
                ended
            };
            match status {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("node {id}, told to stop, ended with {status}"),
                None => ensure!(Instant::now() < until, "node {id} does not stop"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Forgets a node that is a member no more; its process is killed.
    pub fn forget(&self, id: u64) {
        self.kill(id);
        self.nodes.lock().remove(&id);
    }

    /// Stops a process (`-STOP`), or lets it go on (`-CONT`).
    ///
    /// # Errors
    /// `kill` does not run.
    pub fn signal(&self, id: u64, name: &str) -> Result<()> {
        let pid = self.nodes.lock().get(&id).and_then(|node| node.child.as_ref().map(Child::id));
        if let Some(pid) = pid {
            let status = Command::new("kill").args([name, &pid.to_string()]).status()?;
            ensure!(status.success(), "kill {name} {pid}: {status}");
        }
        Ok(())
    }

    /// Asks a node.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask(&self, id: u64, question: Ask<'_>) -> Result<Answer, NoAnswer> {
        ask(&self.address(id), KEY, question).await
    }

    /// Waits until a node is ready.
    ///
    /// # Errors
    /// It ended, or is not in time.
    pub async fn wait_ready(&self, id: u64) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if self.ask(id, Ask::get("/readyz")).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some((ended, log)) = self.ended().filter(|(ended, _)| *ended == id) {
                bail!("node {ended} ended: {log}");
            }
            ensure!(Instant::now() < until, "node {id} is not ready within {READY_WITHIN:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets a new node join by a token of node `at`; its id once it is ready.
    ///
    /// # Errors
    /// No token, or it does not join.
    pub async fn join(&self, at: u64, voter: bool) -> Result<u64> {
        let body = json!({ "voter": voter });
        let until = Instant::now() + READY_WITHIN;
        let token = loop {
            match self.ask(at, Ask::post("/v1/admin/tokens", &body)).await {
                Ok(answer) if answer.status == 200 => break answer.body,
                other => ensure!(Instant::now() < until, "no token: {other:?}"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        // A folder's number is the id that the node gets, where no other try came between.
        let next = (1..=NODES_MAX).find(|id| !self.dir(*id).exists());
        let id = next.context("no number is left for another node")?;
        self.write_settings(id, token["token"].as_str().context("a token")?)?;
        self.spawn(id)?;
        self.wait_ready(id).await?;
        let status = self.ask(id, Ask::get("/v1/status")).await;
        let status = status.map_err(|error| anyhow::anyhow!("{error:?}"))?.body;
        let given = status["cluster"]["node_id"].as_u64();
        ensure!(given == Some(id), "node {id} was given the id {given:?}");
        Ok(id)
    }

    /// The node that leads, as a majority of those that answer sees it.
    pub async fn leader(&self) -> Option<u64> {
        let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
        let ids = self.ids();
        for id in &ids {
            let asked = Ask::get("/v1/admin/members").within(Duration::from_secs(1));
            let Ok(answer) = self.ask(*id, asked).await else { continue };
            if let Some(leader) = answer.body["leader"].as_u64() {
                *votes.entry(leader).or_default() += 1;
            }
        }
        let (leader, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 2 > ids.len()).then_some(leader)
    }

    /// The voters, as a node sees them.
    pub async fn voters(&self, at: u64) -> Option<Vec<u64>> {
        let answer = self.ask(at, Ask::get("/v1/admin/members")).await.ok()?;
        let peers = answer.body["peers"].as_array()?;
        let voters = peers.iter().filter(|peer| peer["member"]["voter"] == true);
        voters.map(|peer| peer["member"]["node_id"].as_u64()).collect()
    }

    /// Changes a member at any node that does it: `promote` or `remove`.
    ///
    /// # Errors
    /// No node does it in time; the last answer.
    pub async fn change_member(&self, id: u64, verb: &str) -> Result<()> {
        let path = format!("/v1/admin/members/{id}:{verb}");
        let until = Instant::now() + Duration::from_secs(30);
        let mut last = String::new();
        while Instant::now() < until {
            for at in self.ids().into_iter().filter(|at| *at != id && self.runs(*at)) {
                match self.ask(at, Ask::post(&path, &Json::Null)).await {
                    Ok(answer) if answer.status == 200 => return Ok(()),
                    Ok(answer) => last = answer.body.to_string(),
                    Err(error) => last = format!("{error:?}"),
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("{verb} of node {id}: {last}")
    }

    /// The whole history as a node tells it, oldest first.
    ///
    /// # Errors
    /// No answer.
    pub async fn history(&self, at: u64) -> Result<Vec<Json>> {
        let (mut entries, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/history?limit=1000{cursor}");
            let answer = self.ask(at, Ask::get(&path).within(Duration::from_secs(30))).await;
            let page = answer.map_err(|error| anyhow::anyhow!("{error:?}"))?.body;
            let found = page["entries"].as_array().context("entries")?;
            entries.extend(found.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        entries.reverse();
        // Newest first also within a revision: back in the order of the change set.
        entries.sort_by_key(|entry| entry["revision"].as_u64());
        Ok(entries)
    }
}
