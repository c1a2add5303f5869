//! `cluster up`, `cluster down`: several nodes on this machine, for trying things out and for tests.
//!
//! The first node begins a cluster, the others join it by one-time tokens, as on machines of their
//! own. Each has its folder, its settings file and its log; all of it stays for the next start.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use verdict_admin::{AdminAddress, KeyFile};
use verdict_config::settings::Role;

use super::client::Client;
use super::connect::Target;
use super::objects::{self, ApplyArgs};
use super::{EXIT_OK, Failure, Outcome, data};
use crate::http::keys::digest;
use crate::output::{GOOD, Output};
use crate::process;

/// Between two looks at a condition.
const POLL_PERIOD: Duration = Duration::from_millis(50);
/// How long one node may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a node may take to stop.
const DOWN_WITHIN: Duration = Duration::from_secs(45);

/// Commands for a cluster on this machine.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Start it; node N listens on 7700 + 10 N. Returns when every node is ready.
    #[command(after_help = "Example: verdict cluster up 3")]
    Up(UpArgs),
    /// Stop it. Its state stays.
    #[command(after_help = "Example: verdict cluster down")]
    Down(DownArgs),
}

/// Arguments of `cluster up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// How many nodes.
    #[arg(value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Folder of the cluster's state.
    #[arg(long, value_name = "DIR", default_value = "verdict-cluster")]
    dir: PathBuf,
    /// Regions that the nodes are spread over in turn.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    regions: Vec<String>,
    /// Node N listens from this port on, plus 10 N.
    #[arg(long, value_name = "PORT", default_value_t = 7700, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    base_port: u16,
    /// Begin with an empty catalogue instead of the demo.
    #[arg(long)]
    empty: bool,
}

/// Arguments of `cluster down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Folder of the cluster's state.
    #[arg(long, value_name = "DIR", default_value = "verdict-cluster")]
    dir: PathBuf,
}

/// One node of the cluster.
struct Member {
    id: u16,
    /// Of HTTP; peers and operators have the next two.
    port: u16,
    dir: PathBuf,
    region: String,
    child: Child,
}

impl Member {
    fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn json(&self) -> Json {
        let port = self.port;
        json!({
            "id": self.id,
            "http": self.http(),
            "peer": format!("127.0.0.1:{}", port + 1),
            "admin": format!("127.0.0.1:{}", port + 2),
            "pid": self.child.id(),
            "dir": self.dir,
            "region": self.region,
        })
    }
}

struct Starting<'a> {
    dir: PathBuf,
    key: String,
    regions: &'a [String],
    base_port: u16,
    output: &'a Output,
}

/// Runs one of the commands.
pub fn run(command: &ClusterCommand, output: &Output) -> Outcome {
    match command {
        ClusterCommand::Up(arguments) => up(arguments, output),
        ClusterCommand::Down(arguments) => down(&arguments.dir, output),
    }
}

fn up(arguments: &UpArgs, output: &Output) -> Outcome {
    let dir = std::path::absolute(&arguments.dir).map_err(anyhow::Error::from)?;
    if let Some(running) = read(&dir)?.filter(|cluster| pids(cluster).into_iter().any(runs_here)) {
        let text = format!("it runs already, in {}: stop it first", dir.display());
        drop(running);
        return Err(Failure::new(text));
    }
    std::fs::create_dir_all(&dir).map_err(anyhow::Error::from)?;
    let (key, _) = process::key_file(&dir.join("api-key"), "cluster", Role::Operator)
        .map_err(|error| Failure::new(error.to_string()))?;
    let starting =
        Starting { dir, key, regions: &arguments.regions, base_port: arguments.base_port, output };
    let mut members = Vec::new();
    let started = starting.start(arguments, &mut members);
    if started.is_err() {
        // Nothing is left half started.
        for member in &mut members {
            drop(member.child.kill());
            drop(member.child.wait());
        }
    }
    let cluster = started?;
    if output.is_json() {
        output.json(&cluster);
        return Ok(EXIT_OK);
    }
    let rows = members.iter().map(|member| {
        vec![
            member.id.to_string(),
            member.http(),
            member.region.clone(),
            member.child.id().to_string(),
        ]
    });
    output.table(&["node", "http", "region", "pid"], rows.collect());
    let file = starting.dir.join("cluster.json");
    output.say(format!("{} {}", output.styled(GOOD, "Ready."), file.display()));
    Ok(EXIT_OK)
}

impl Starting<'_> {
    fn start(&self, arguments: &UpArgs, members: &mut Vec<Member>) -> Result<Json, Failure> {
        let fresh = !self.node_dir(1).join("data/identity/identity.json").exists();
        members.push(self.spawn(1)?);
        if fresh {
            self.wait_ready(&mut members[0])?;
        }
        for id in 2..=arguments.nodes {
            let joins = !self.node_dir(id).join("data/identity/identity.json").exists();
            if joins {
                if !fresh {
                    self.wait_majority(members)?;
                }
                self.write_settings(id, &self.token(&members[0])?)?;
            }
            members.push(self.spawn(id)?);
            // One after the other: ids are given in the order in which nodes join.
            if joins && let Some(member) = members.last_mut() {
                self.wait_ready(member)?;
            }
        }
        for member in members.iter_mut() {
            self.wait_ready(member)?;
        }
        self.wait_voters(members)?;
        if fresh && !arguments.empty {
            self.put_demo(&members[0])?;
        }
        self.wait_same_revision(members)?;
        let nodes: Vec<Json> = members.iter().map(Member::json).collect();
        // Operators' keys come with the admin RPC; until then the API key has every role.
        let (operator_key, ca) = self.write_operator(members)?;
        let cluster = json!({
            "nodes": nodes, "api_key": self.key, "operator_key": operator_key, "ca": ca,
        });
        write(&self.dir, &cluster)?;
        Ok(cluster)
    }

    /// Tells the operator's key where every node is, and writes the authority's certificate beside
    /// it: the paths of both.
    fn write_operator(&self, members: &[Member]) -> Result<(Json, Json), Failure> {
        let (key, ca) = (self.dir.join("operator.key"), self.dir.join("ca.pem"));
        if !key.is_file() {
            return Ok((Json::Null, Json::Null));
        }
        let told = |error: verdict_admin::KeyFileError| Failure::new(error.to_string());
        let mut file = KeyFile::load(&key).map_err(told)?;
        let address = |member: &Member| AdminAddress {
            node_id: u64::from(member.id),
            address: format!("127.0.0.1:{}", member.port + 2),
        };
        file.addresses = members.iter().map(address).collect();
        file.save(&key).map_err(told)?;
        data::write_bytes(&ca, file.authorities_pem().as_bytes())?;
        Ok((json!(key), json!(ca)))
    }

    fn node_dir(&self, id: u16) -> PathBuf {
        self.dir.join(format!("node-{id}"))
    }

    const fn port(&self, id: u16) -> u16 {
        self.base_port + 10 * id
    }

    fn region(&self, id: u16) -> String {
        let named = self.regions.get(usize::from(id - 1) % self.regions.len().max(1));
        named.cloned().unwrap_or_else(|| "local".to_owned())
    }

    fn write_settings(&self, id: u16, join: &str) -> Result<(), Failure> {
        let (dir, port) = (self.node_dir(id), self.port(id));
        // The first node begins the cluster, and with it the first operator.
        let first_key = if id == 1 { self.dir.join("operator.key") } else { PathBuf::new() };
        let text = format!(
            "[node]\nid = {id}\nregion = {region:?}\ndata_dir = {data:?}\n\n\
             [http]\naddress = \"127.0.0.1:{port}\"\n\n\
             [cluster]\npeer_address = \"127.0.0.1:{peer}\"\njoin = {join:?}\n\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\nfirst_key_file = {first_key:?}\n\n\
             [[keys]]\nname = \"cluster\"\nrole = \"operator\"\nsha256 = \"{hash}\"\n",
            region = self.region(id),
            data = dir.join("data"),
            peer = port + 1,
            admin = port + 2,
            first_key = first_key,
            hash = hex::encode(digest(&self.key)),
        );
        std::fs::create_dir_all(&dir).map_err(anyhow::Error::from)?;
        data::write_bytes(&dir.join("node.toml"), text.as_bytes())
    }

    fn spawn(&self, id: u16) -> Result<Member, Failure> {
        use std::os::unix::process::CommandExt;
        let dir = self.node_dir(id);
        if !dir.join("node.toml").exists() {
            self.write_settings(id, "")?;
        }
        let log = OpenOptions::new().create(true).append(true).open(dir.join("node.log"));
        let log = log.map_err(anyhow::Error::from)?;
        let program = std::env::current_exe().map_err(anyhow::Error::from)?;
        let child = Command::new(program)
            .arg("node")
            .arg("--config")
            .arg(dir.join("node.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(anyhow::Error::from)?)
            .stderr(log)
            // An interrupt at the keyboard ends this command, not the nodes.
            .process_group(0)
            .spawn()
            .map_err(anyhow::Error::from)?;
        Ok(Member { id, port: self.port(id), dir, region: self.region(id), child })
    }

    fn client(&self, member: &Member) -> Result<Client, Failure> {
        Client::new(member.http(), Some(self.key.clone()), None)
    }

    fn token(&self, member: &Member) -> Result<String, Failure> {
        let answer = self.client(member)?.post("/v1/admin/tokens", &json!({}))?;
        let token = answer["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| Failure::new("the node gave no token"))
    }

    fn wait_ready(&self, member: &mut Member) -> Result<(), Failure> {
        let client = self.client(member)?;
        wait(&format!("node {} is not ready", member.id), || {
            if let Some(status) = member.child.try_wait().map_err(anyhow::Error::from)? {
                let log = member.dir.join("node.log");
                let text = format!("node {} ended ({status}): see {}", member.id, log.display());
                return Err(Failure::new(text));
            }
            Ok(client.try_get("/readyz").is_ok_and(|answer| answer.status == 200))
        })
    }

    fn wait_majority(&self, members: &mut [Member]) -> Result<(), Failure> {
        members.iter_mut().try_for_each(|member| self.wait_ready(member))
    }

    fn wait_voters(&self, members: &[Member]) -> Result<(), Failure> {
        let bar = self.output.progress(0, "nodes become voters");
        let client = self.client(&members[0])?;
        wait("not every node votes", || {
            let cluster = client.get("/v1/admin/members")?;
            let peers = cluster["peers"].as_array();
            let voters = peers.into_iter().flatten().filter(|peer| peer["member"]["voter"] == true);
            Ok(voters.count() >= members.len())
        })?;
        bar.finish_and_clear();
        Ok(())
    }

    fn put_demo(&self, member: &Member) -> Result<(), Failure> {
        let catalogue = self.dir.join("catalogue");
        if !catalogue.exists() {
            super::node::write_demo(&catalogue)?;
            objects::write_schemas(&catalogue)?;
        }
        let target = Target {
            url: Some(member.http()),
            key: None,
            api_key: Some(self.key.clone()),
            ca: None,
        };
        let quiet = Output::silent();
        objects::apply(&ApplyArgs::new(catalogue, "the demo", target), &quiet).map(|_| ())
    }

    fn wait_same_revision(&self, members: &[Member]) -> Result<(), Failure> {
        let revision = self.client(&members[0])?.get("/v1/status")?["revision"].as_u64();
        for member in members {
            let client = self.client(member)?;
            wait(&format!("node {} does not serve the newest revision", member.id), || {
                Ok(client.get("/v1/status")?["revision"].as_u64() >= revision)
            })?;
        }
        Ok(())
    }
}

fn wait(what: &str, mut done: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let until = Instant::now() + READY_WITHIN;
    while !done()? {
        if Instant::now() >= until {
            return Err(Failure::new(format!("{what} after {} s", READY_WITHIN.as_secs())));
        }
        std::thread::sleep(POLL_PERIOD);
    }
    Ok(())
}

fn down(dir: &Path, output: &Output) -> Outcome {
    let dir = std::path::absolute(dir).map_err(anyhow::Error::from)?;
    let cluster = read(&dir)?;
    let mut cluster =
        cluster.ok_or_else(|| Failure::new(format!("there is no cluster in {}: name its folder with --dir, or start one with `verdict cluster up`", dir.display())))?;
    let running: Vec<u64> = pids(&cluster).into_iter().filter(|pid| runs_here(*pid)).collect();
    for pid in &running {
        signal(*pid, "-TERM")?;
    }
    let until = Instant::now() + DOWN_WITHIN;
    for pid in &running {
        while runs_here(*pid) {
            if Instant::now() >= until {
                return Err(Failure::new(format!("process {pid} does not stop")));
            }
            std::thread::sleep(POLL_PERIOD);
        }
    }
    for node in cluster["nodes"].as_array_mut().into_iter().flatten() {
        node["pid"] = Json::Null;
    }
    write(&dir, &cluster)?;
    if output.is_json() {
        output.json(&json!({ "stopped": running }));
    } else {
        output.say(format!("{} {} nodes", output.styled(GOOD, "Stopped"), running.len()));
    }
    Ok(EXIT_OK)
}

fn read(dir: &Path) -> Result<Option<Json>, Failure> {
    let file = dir.join("cluster.json");
    if !file.is_file() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&data::read_bytes(&file)?);
    parsed.map(Some).map_err(|error| {
        Failure::new(format!("{}: {}", file.display(), crate::reasons::json(&error)))
    })
}

/// The file holds the API key: it is for its owner only.
fn write(dir: &Path, cluster: &Json) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let file = dir.join("cluster.json");
    let text = serde_json::to_vec_pretty(cluster).map_err(anyhow::Error::from)?;
    data::write_bytes(&file, &text)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| anyhow::Error::from(error).into())
}

fn pids(cluster: &Json) -> Vec<u64> {
    let nodes = cluster["nodes"].as_array().into_iter().flatten();
    nodes.filter_map(|node| node["pid"].as_u64()).collect()
}

/// Whether a process is one of ours: ids are given again.
fn runs_here(pid: u64) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline"));
    command.is_ok_and(|command| {
        let command = String::from_utf8_lossy(&command);
        command.contains("node.toml") && command.contains("--config")
    })
}

fn signal(pid: u64, name: &str) -> Result<(), Failure> {
    let status = Command::new("kill").arg(name).arg(pid.to_string()).status();
    match status {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = crate::reasons::io(&error);
            Err(Failure::new(format!(
                "process {pid} cannot be sent a signal with `kill`: {reason}"
            )))
        }
    }
}
