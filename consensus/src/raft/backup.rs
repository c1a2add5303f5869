//! Backup, restore, and what the only survivor still knows.
//!
//! A backup is a snapshot file of the applied state: consistent, checked by its own hash, and with
//! the id of the cluster it is from. Restored, it begins a new cluster under another id, so that a
//! node of the old one that comes back is turned away.

use std::path::Path;

use openraft::EntryPayload as Content;
use serde::Serialize;

use super::bodies::{self, ApplyError, Bodies};
use super::folder::{FolderIdentity, FolderStart, Seed, create_raft_folder, open_folder};
use super::log_store::opening;
use super::machine::Machine;
use super::options::RaftLogOptions;
use super::snapshot_file;
use super::state_machine;
use super::types::{NodeAttributes, NodeId};
use crate::catalogue::Catalogue;
use crate::digest::ContentHash;
use crate::error::LogError;
use crate::local::folder::{damaged, io, write_whole};

/// Entries that are read at once.
const READ_ENTRIES: u64 = 256;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupInfo {
    /// The cluster it is from.
    pub cluster_id: String,
    /// Revision of the catalogue.
    pub revision: u64,
    /// Index of the last entry that it holds.
    pub log_index: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: ContentHash,
    /// Hash of the state.
    pub state_hash: ContentHash,
}

fn info(machine: &Machine, bytes: &[u8]) -> BackupInfo {
    BackupInfo {
        cluster_id: machine.cluster.cluster_id.clone(),
        revision: machine.catalogue.revision(),
        log_index: machine.last_applied.map_or(0, |id| id.index),
        bytes: bytes.len() as u64,
        sha256: ContentHash::of(bytes),
        state_hash: machine.catalogue.state_hash(),
    }
}

/// Writes a state as a backup, whole and durable.
pub fn write_backup(machine: &Machine, path: &Path) -> Result<BackupInfo, LogError> {
    let bytes = snapshot_file::encode(machine)
        .map_err(|error| io(path, std::io::Error::other(error.to_string())))?;
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(folder), Some(name)) = (path.parent(), name) else {
        return Err(io(path, std::io::Error::from(std::io::ErrorKind::InvalidInput)));
    };
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    write_whole(here, name, &bytes)?;
    Ok(info(machine, &bytes))
}

fn read_backup_file(path: &Path) -> Result<(Machine, BackupInfo), LogError> {
    let file = snapshot_file::SnapshotFile::open(path).map_err(|source| io(path, source))?;
    let bytes = file.read().map_err(|source| io(path, source))?;
    let machine =
        snapshot_file::decode_machine(&bytes).map_err(|detail| damaged(path, 0, detail))?;
    let info = info(&machine, &bytes);
    Ok((machine, info))
}

/// What a backup holds, once it was read and found whole.
///
/// # Errors
/// The disk's, or damage.
pub fn check_backup(path: &Path) -> Result<BackupInfo, LogError> {
    read_backup_file(path).map(|(_, info)| info)
}

/// Makes the folder of the first node of a new cluster from a backup. Catalogue, history and request
/// ids are kept; the members are not. The revision continues at the next multiple of
/// [`REVISION_STEP`](crate::REVISION_STEP).
///
/// # Errors
/// The disk's, damage, or the id of the cluster that the backup is from.
pub fn restore_backup(
    backup: &Path,
    folder: &Path,
    identity: &FolderIdentity,
    attributes: NodeAttributes,
) -> Result<BackupInfo, LogError> {
    let (machine, info) = read_backup_file(backup)?;
    begin_again(machine, folder, identity, attributes)?;
    Ok(info)
}

fn begin_again(
    machine: Machine,
    folder: &Path,
    identity: &FolderIdentity,
    attributes: NodeAttributes,
) -> Result<(), LogError> {
    if machine.cluster.cluster_id == identity.cluster_id {
        let detail = "a cluster that begins again needs an id of its own".to_owned();
        return Err(LogError::Foreign { folder: folder.display().to_string(), detail });
    }
    let mut catalogue = Catalogue::clone(&machine.catalogue);
    // The cluster of before may have gone on: what it did after this state had revisions too.
    catalogue.begin_again();
    let seed = Seed {
        attributes,
        log_index: machine.last_applied.map_or(0, |id| id.index),
        next_node_id: machine.cluster.next_node_id,
        catalogue,
    };
    create_raft_folder(folder, identity, FolderStart::Bootstrap(Box::new(seed)))
}

/// What the only survivor brought into a new cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SurvivorReport {
    /// Revision of the catalogue.
    pub revision: u64,
    /// Index of the last entry.
    pub log_index: u64,
    /// Entries of which the survivor did not know whether they were committed. They are taken over:
    /// one of them may have been acknowledged.
    pub uncertain_entries: u64,
    /// The other members, which are left behind.
    pub left_behind: Vec<NodeId>,
}

/// Begins a new cluster with what the only survivor of another one has, when its majority is lost
/// for good. The node must not run. Whatever the others had acknowledged and this node never got is
/// lost; so this is for people to decide, and the old folder stays as it is.
///
/// # Errors
/// As opening the log, and as making the new folder.
pub fn recover_survivor(
    from: &Path,
    to: &Path,
    cluster_id: &str,
    options: &RaftLogOptions,
) -> Result<SurvivorReport, LogError> {
    let (_locked, identity) = open_folder(from)?;
    let store_path = from.join("store");
    let engine = (options.engine)(&store_path).map_err(|source| io(&store_path, source))?;
    let (store, _) = opening::open(from, engine)?;
    let empty = Catalogue::new(options.limits);
    let (_, shared) = state_machine::open(&from.join("snapshots"), empty, store.purged())?;
    let mut machine = shared.machine();
    let committed = store.committed().map_or(0, |id| id.index);
    let mut uncertain_entries = 0;
    let last = store.last().map_or(0, |id| id.index);
    let mut next = machine.last_applied.map_or(0, |id| id.index.saturating_add(1));
    while next <= last {
        let end = next.saturating_add(READ_ENTRIES);
        let entries = store
            .read(next, end, usize::MAX)
            .map_err(|error| damaged(&store_path, 0, error.to_string()))?;
        let Some(entry) = entries.last() else { break };
        next = entry.log_id.index.saturating_add(1);
        for entry in &entries {
            if entry.log_id.index > committed && !matches!(entry.payload, Content::Blank) {
                uncertain_entries += 1;
            }
            let failed = |error: ApplyError| damaged(&store_path, 0, error.to_string());
            match machine.apply(entry, &Bodies::new()) {
                Err(ApplyError::Missing(wanted)) => {
                    let bodies = bodies::find(options.bodies.as_ref(), &wanted, false);
                    machine.apply(entry, &bodies).map_err(failed)?
                }
                applied => applied.map_err(failed)?,
            };
        }
    }
    let members = machine.members.membership().clone();
    let node_id = identity.node_id;
    let attributes = members.get_node(&node_id).cloned().unwrap_or_default();
    let report = SurvivorReport {
        revision: machine.catalogue.revision(),
        log_index: machine.last_applied.map_or(0, |id| id.index),
        uncertain_entries,
        left_behind: members.nodes().map(|(id, _)| *id).filter(|id| *id != node_id).collect(),
    };
    let identity = FolderIdentity { cluster_id: cluster_id.to_owned(), node_id };
    begin_again(machine, to, &identity, attributes)?;
    tracing::warn!(?report, "a cluster begins again with what one node had");
    Ok(report)
}
