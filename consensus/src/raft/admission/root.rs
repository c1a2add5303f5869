//! The trust of a node whose log does not say whom to follow: the voters that the answer to joining
//! named, and the leader that an operator named.
//!
//! The file `trust` of the log's folder. The answer to joining counts until the log names members;
//! what an operator named counts until the log names that node as a voter.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::folder::open_folder;
use super::super::types::NodeId;
use crate::error::LogError;
use crate::local::folder::{damaged, io, write_whole};

const FILE: &str = "trust";
/// The longest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// Whom a node follows where its log does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustRoot {
    /// Voters and their peer addresses, as the answer to joining named them.
    #[serde(default)]
    pub voters: BTreeMap<NodeId, String>,
    /// The leader that an operator named.
    #[serde(default)]
    pub named: Option<NodeId>,
}

impl TrustRoot {
    /// Reads the file; nobody where there is none.
    pub fn load(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join(FILE);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(io(&path, source)),
            Ok(file) if file.len() > BYTES_MAX => return Err(damaged(&path, 0, "it is too long")),
            Ok(_) => {}
        }
        let bytes = std::fs::read(&path).map_err(|source| io(&path, source))?;
        serde_json::from_slice(&bytes).map_err(|error| damaged(&path, 0, error.to_string()))
    }

    /// Writes the file, durably.
    pub fn save(&self, folder: &Path) -> Result<(), LogError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| io(folder, std::io::Error::other(error.to_string())))?;
        write_whole(folder, FILE, &text)
    }
}

/// Names the node that a node which does not run follows at its next start, where the voters that
/// its log names are gone.
///
/// # Errors
/// A folder that is in use or no log's; the node itself; the disk.
pub fn trust_leader(folder: &Path, leader: NodeId) -> Result<(), LogError> {
    let (_locked, identity) = open_folder(folder)?;
    if identity.node_id == leader || leader == 0 {
        let detail = format!("node {leader} cannot be named: name another node of the cluster");
        return Err(LogError::Foreign { folder: folder.display().to_string(), detail });
    }
    let root = TrustRoot { named: Some(leader), ..TrustRoot::load(folder)? };
    root.save(folder)?;
    tracing::warn!(leader, "an operator named the leader that this node follows");
    Ok(())
}
