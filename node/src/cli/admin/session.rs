//! Which nodes a command asks, with which key.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value as Json;
use verdict_admin::{
    Answered, CallError, Client, ClientOptions, Enrolment, KeyFile, OpenKey, Request,
};

use super::super::Failure;
use super::super::client::faults_of;
use crate::output::Output;

/// How long a look takes at whether a node of this folder listens.
const PROBE_WITHIN: Duration = Duration::from_millis(200);

/// How long a removal waits for this key's file to follow the authority that takes the place of the
/// one that the removed voter had, and between two looks.
const ROTATION_WITHIN: Duration = Duration::from_secs(30);
const ROTATION_PAUSE: Duration = Duration::from_millis(300);

/// Nodes and a key.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdminTarget {
    /// A node's admin address, more than once for several; those of this folder if absent.
    #[arg(long = "node", value_name = "ADDR", global = true)]
    nodes: Vec<String>,
    /// The operator's key file.
    #[arg(long, value_name = "FILE", global = true)]
    key: Option<PathBuf>,
    /// A file that holds the key's passphrase; asked for if the key has one and this is absent.
    #[arg(long, value_name = "FILE", global = true)]
    passphrase_file: Option<PathBuf>,
}

impl AdminTarget {
    /// These nodes (those of this folder, if there are none) and this key.
    pub const fn new(
        nodes: Vec<String>,
        key: Option<PathBuf>,
        passphrase_file: Option<PathBuf>,
    ) -> Self {
        Self { nodes, key, passphrase_file }
    }
}

/// Key files that are looked for in the working folder, with where the nodes are listed.
const KNOWN: [(&str, Option<&str>); 2] = [
    ("verdict-dev/operator.key", None),
    ("verdict-cluster/operator.key", Some("verdict-cluster/cluster.json")),
];

/// A key that was found, and where its cluster's nodes are.
#[derive(Debug)]
struct Found {
    key: PathBuf,
    nodes: Vec<String>,
}

/// The key of this folder: of a cluster that runs before one that does not.
fn find(folder: &Path) -> Option<Found> {
    let found = KNOWN.iter().filter_map(|(key, cluster)| {
        let key = folder.join(key);
        let nodes = match cluster {
            None => Vec::new(),
            Some(cluster) => admin_addresses(&folder.join(cluster)),
        };
        key.is_file().then_some(Found { key, nodes })
    });
    let mut found: Vec<Found> = found.collect();
    let runs = found.iter().position(|found| found.addresses().iter().any(|node| listens(node)));
    (!found.is_empty()).then(|| found.swap_remove(runs.unwrap_or(0)))
}

impl Found {
    fn addresses(&self) -> Vec<String> {
        if !self.nodes.is_empty() {
            return self.nodes.clone();
        }
        let file = KeyFile::load(&self.key);
        let known = file.map(|file| file.addresses).unwrap_or_default();
        known.into_iter().map(|known| known.address).collect()
    }
}

fn listens(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.truncate(2);
    addresses.iter().any(|address| TcpStream::connect_timeout(address, PROBE_WITHIN).is_ok())
}

fn admin_addresses(cluster: &Path) -> Vec<String> {
    let cluster = std::fs::read(cluster).unwrap_or_default();
    let cluster: Json = serde_json::from_slice(&cluster).unwrap_or_default();
    let nodes = cluster["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().filter_map(|node| node["admin"].as_str().map(str::to_owned)).collect()
}

/// A command's way to the nodes.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
    key: OpenKey,
    key_path: PathBuf,
    nodes: Vec<String>,
    /// Whether the key's file was renewed, or could not be.
    renewed: bool,
}

impl Session {
    /// Opens the key.
    ///
    /// # Errors
    /// No key is found, it cannot be used, or no node is known.
    pub fn open(target: &AdminTarget) -> Result<Self, Failure> {
        Self::open_by(target, || ask_passphrase("Passphrase: "))
    }

    /// As [`Session::open`], for those who must not ask anybody anything: none, where it fails.
    pub fn open_unasked(target: &AdminTarget) -> Option<Self> {
        Self::open_by(target, || Err(Failure::new("the key has a passphrase"))).ok()
    }

    fn open_by(
        target: &AdminTarget,
        ask: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let found = if target.key.is_none() { find(Path::new(".")) } else { None };
        let key_path = target.key.clone().or_else(|| found.as_ref().map(|found| found.key.clone()));
        let key_path = key_path.ok_or_else(|| {
            Failure::new(
                "no operator's key here: name one with --key, or work in a folder with \
                 verdict-dev or verdict-cluster",
            )
        })?;
        let file = KeyFile::load(&key_path).map_err(|error| Failure::new(error.to_string()))?;
        let passphrase = match (&target.passphrase_file, file.is_sealed()) {
            (_, false) => None,
            (Some(path), true) => Some(read_passphrase(path)?),
            (None, true) => Some(ask()?),
        };
        let key = file.open(passphrase.as_deref());
        let key = key.map_err(|error| Failure::new(error.to_string()))?;
        let nodes = match (&target.nodes, found) {
            (named, _) if !named.is_empty() => named.clone(),
            (_, Some(found)) => found.nodes,
            (_, None) => Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)?;
        let client = runtime.block_on(Client::new(&key, nodes.clone(), ClientOptions::default()));
        let client = client.map_err(failure)?;
        Ok(Self { runtime, client, key, key_path, nodes, renewed: false })
    }

    /// Asks.
    ///
    /// # Errors
    /// No node answers, or one refuses.
    pub fn ask(&mut self, request: &Request) -> Result<Answered, Failure> {
        let answered = self.runtime.block_on(self.client.call(request)).map_err(failure)?;
        if self.client.is_outdated() && !self.renewed {
            self.renewed = true;
            if let Err(error) = self.renew() {
                // What was asked for was answered.
                let text = format!(
                    "{} was not renewed and works on until its certificate ends: {error}",
                    self.key_path.display()
                );
                crate::output::write_err(&text);
            }
        }
        Ok(answered)
    }

    /// Stays while the removal of a voter replaces the cluster's authority, until this key's file follows
    /// the new one. Where a member holds that up, says so.
    pub fn follow_rotation(&mut self, output: &Output) {
        let until = Instant::now() + ROTATION_WITHIN;
        while Instant::now() < until {
            std::thread::sleep(ROTATION_PAUSE);
            self.renewed = false;
            let Ok(answered) = self.ask(&Request::Authority {}) else { continue };
            let shown = &answered.answer;
            let follows = shown["next"] == "remove" && !self.client.is_outdated();
            if shown["pending"].is_null() || follows {
                return;
            }
        }
        output.say(
            "The authority that the node had is still being replaced: `admin authority show`.",
        );
    }

    /// Follows a change of the cluster's authority: the key's file gets a certificate of the one that
    /// signs now, and trusts what the cluster trusts.
    fn renew(&mut self) -> Result<(), String> {
        let tell = |error: &dyn std::fmt::Display| error.to_string();
        let renewal = self.runtime.block_on(self.client.call(&Request::Renew {}));
        let renewal = renewal.map_err(|error| tell(&error))?.answer;
        let renewal: Enrolment = serde_json::from_value(renewal).map_err(|error| tell(&error))?;
        let mut file = self.key.file.clone();
        file.renew(renewal).map_err(|error| tell(&error))?;
        file.save(&self.key_path).map_err(|error| tell(&error))?;
        self.key.file = file;
        let options = ClientOptions::default();
        let client = self.runtime.block_on(Client::new(&self.key, self.nodes.clone(), options));
        self.client = client.map_err(|error| tell(&error))?;
        Ok(())
    }
}

/// The passphrase of a file: its first line.
pub fn read_passphrase(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(super::super::data::unreadable(path, &error)))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks on the terminal, without showing what is typed.
pub fn ask_passphrase(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt).map_err(|error| {
        let reason = crate::reasons::io(&error);
        Failure::new(format!(
            "the passphrase cannot be read from the terminal: {reason}. Without a terminal, name a \
                 file with --passphrase-file"
        ))
    })
}

fn failure(error: CallError) -> Failure {
    if let CallError::Refused(refusal) = &error
        && !refusal.faults.is_empty()
    {
        return Failure::Faults(faults_of(&serde_json::json!({ "faults": refusal.faults })));
    }
    let code = error.code();
    Failure::new(match &error {
        CallError::Refused(_) => advised(&error.to_string(), code.advice()),
        CallError::Unreachable(detail) if detail.contains("UnknownIssuer") => format!(
            "{code} {error}. The cluster's authority was changed since this key was used last: have \
             another operator run `verdict admin keys renew`."
        ),
        CallError::Unreachable(_) | CallError::Unknown(_) | CallError::Key(_) => {
            advised(&format!("{code} {error}"), code.advice())
        }
    })
}

/// A sentence with what to do about it, which a node may have said already.
fn advised(sentence: &str, advice: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    if sentence.ends_with(advice.trim_end_matches('.')) {
        return format!("{sentence}.");
    }
    format!("{sentence}. {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_once() {
        assert_eq!(advised("It is late", "Go home."), "It is late. Go home.");
        assert_eq!(advised("It is late. Go home..", "Go home."), "It is late. Go home.");
    }

    #[test]
    fn the_key_of_a_folder_is_found_and_running_clusters_come_first() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(folder.path()).is_none());
        for name in ["verdict-dev", "verdict-cluster"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("operator.key"), "{}").unwrap();
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cluster = folder.path().join("verdict-cluster/cluster.json");
        std::fs::write(&cluster, format!(r#"{{"nodes":[{{"admin":"{address}"}}]}}"#)).unwrap();
        let found = find(folder.path()).unwrap();
        assert_eq!(found.key, folder.path().join("verdict-cluster/operator.key"));
        assert_eq!(found.nodes, [address]);
        drop(listener);
        let found = find(folder.path()).unwrap();
        assert_eq!(found.key, folder.path().join("verdict-dev/operator.key"));
    }
}
