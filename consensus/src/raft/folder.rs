//! The folder of a Raft log, and how one comes to be.
//!
//! ```text
//!   format      version of this layout
//!   lock        held by the process that has the folder
//!   identity    the node and the cluster it belongs to
//!   trust       whom the node follows while its log does not say; absent where it says
//!   mark        last durable index and vote, outside the store
//!   committed   how far entries were committed, a hint
//!   store/      the log: sled
//!   snapshots/  states as files
//! ```
//!
//! A folder is made beside its place and renamed into it, so that it is there whole or not at all:
//! one whose `format` is missing was damaged, never half made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use openraft::Membership;
use serde::{Deserialize, Serialize};

use super::admission::TrustRoot;
use super::log_store::opening::create_marks;
use super::machine::{ClusterState, Machine};
use super::options::CLUSTER_VERSION;
use super::snapshot_file;
use super::types::{LogId, NodeAttributes, NodeId, StoredMembership};
use super::wire::LogIdV1;
use crate::catalogue::Catalogue;
use crate::error::LogError;
use crate::local::folder::{Folder, Layout, damaged, io, sync_folder, write_whole};

/// The folder's layout.
const RAFT: Layout = Layout { label: "verdict raft", format: 1 };

/// Which node of which cluster a folder belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: NodeId,
}

impl FolderIdentity {
    /// Whose a folder is, without opening it; `None` if there is none yet.
    ///
    /// # Errors
    /// The disk's, or a folder that does not say whose it is.
    pub fn read(folder: &Path) -> Result<Option<Self>, LogError> {
        let path = folder.join("identity");
        if !folder.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => damaged(&path, 0, "absent"),
            _ => io(&path, source),
        })?;
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| damaged(&path, 0, error.to_string()))
    }
}

/// What the first voter of a new cluster begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// What is known of the node.
    pub attributes: NodeAttributes,
    /// The catalogue, with its history; its revision is kept.
    pub catalogue: Catalogue,
    /// The index that the log goes on from.
    pub log_index: u64,
    /// The id that the next node gets; at least one more than the first node's.
    pub next_node_id: NodeId,
}

impl Seed {
    /// An empty catalogue.
    #[must_use]
    pub fn new(attributes: NodeAttributes, catalogue: Catalogue) -> Self {
        Self { attributes, catalogue, log_index: 0, next_node_id: 0 }
    }
}

/// What a new folder begins with.
#[derive(Debug, Clone, PartialEq)]
pub enum FolderStart {
    /// The first voter of a new cluster.
    Bootstrap(Box<Seed>),
    /// A node that was allocated an id and waits to be added by the leader.
    Join,
    /// The same, of a node that follows these voters and nobody else until its log names members.
    /// By id, with the addresses where they listen for peers.
    JoinTrusting(BTreeMap<NodeId, String>),
}

/// Makes the folder of a node. It must not exist yet.
///
/// # Errors
/// The operating system's, or a catalogue beyond the limit of a snapshot.
pub fn create_raft_folder(
    folder: &Path,
    identity: &FolderIdentity,
    start: FolderStart,
) -> Result<(), LogError> {
    if folder.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(io(folder, source));
    }
    let mut unfinished = folder.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(|source| io(&unfinished, source))?;
    }
    let snapshots = unfinished.join("snapshots");
    fs::create_dir_all(&snapshots).map_err(|source| io(&snapshots, source))?;
    let made = Folder::open(&unfinished, RAFT)?;
    let text = serde_json::to_vec(identity)
        .map_err(|error| io(&unfinished, std::io::Error::other(error.to_string())))?;
    write_whole(&unfinished, "identity", &text)?;
    create_marks(&unfinished)?;
    if let FolderStart::JoinTrusting(voters) = &start {
        TrustRoot { voters: voters.clone(), named: None }.save(&unfinished)?;
    }
    if let FolderStart::Bootstrap(seed) = start {
        let machine = seeded(identity, *seed);
        let index = machine.last_applied.map_or(0, |id| id.index);
        let bytes = snapshot_file::encode(&machine)
            .map_err(|error| io(&snapshots, std::io::Error::other(error.to_string())))?;
        snapshot_file::write(&snapshots, index, &bytes)?;
        snapshot_file::write_copy(&snapshots, index, &bytes)?;
    }
    made.finish_new()?;
    drop(made);
    fs::rename(&unfinished, folder).map_err(|source| io(folder, source))?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// A cluster of one voter, as if it had agreed on all this in term 0.
fn seeded(identity: &FolderIdentity, seed: Seed) -> Machine {
    let node_id = identity.node_id;
    let place = LogIdV1 { term: 0, leader_id: node_id, index: seed.log_index };
    let place = LogId::from(place);
    let nodes = BTreeMap::from([(node_id, seed.attributes)]);
    let members = Membership::new(vec![std::collections::BTreeSet::from([node_id])], nodes);
    Machine {
        last_applied: Some(place),
        members: StoredMembership::new(Some(place), members),
        catalogue: std::sync::Arc::new(seed.catalogue.at_version(CLUSTER_VERSION)),
        cluster: ClusterState {
            cluster_id: identity.cluster_id.clone(),
            version: CLUSTER_VERSION,
            next_node_id: seed.next_node_id.max(node_id.saturating_add(1)),
            ..ClusterState::default()
        },
    }
}

/// Locks a folder and reads whose it is.
pub fn open_folder(path: &Path) -> Result<(Folder, FolderIdentity), LogError> {
    if !path.is_dir() {
        return Err(io(path, std::io::Error::from(std::io::ErrorKind::NotFound)));
    }
    let folder = Folder::open(path, RAFT)?;
    if folder.is_new {
        return Err(damaged(&path.join("format"), 0, "absent"));
    }
    let identity = FolderIdentity::read(path)?;
    let identity = identity.ok_or_else(|| damaged(path, 0, "it was taken away"))?;
    Ok((folder, identity))
}
