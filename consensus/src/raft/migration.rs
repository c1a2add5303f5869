//! From the log of a single node to a cluster of one voter.

use std::path::Path;

use super::folder::{FolderIdentity, FolderStart, Seed, create_raft_folder};
use super::types::NodeAttributes;
use crate::error::LogError;
use crate::local::{LocalLogOptions, recovery};

/// The format of a local folder whose catalogue lives on elsewhere: no program opens it any more.
const MOVED: u32 = 2;

/// Makes a Raft folder of what a local log holds: catalogue, history, remembered request ids, and
/// the revision. The local folder stays, marked so that nothing is written to it by mistake; a
/// migration that was cut short is simply done again.
///
/// # Errors
/// As opening the local log, and as making the folder.
pub fn migrate_local_folder(
    local: &Path,
    raft: &Path,
    identity: &FolderIdentity,
    attributes: NodeAttributes,
    options: &LocalLogOptions,
) -> Result<(), LogError> {
    let (state, _) = recovery::open(local, options)?;
    let seed = Seed {
        attributes,
        catalogue: crate::catalogue::Catalogue::clone(&state.catalogue),
        log_index: state.index,
        next_node_id: 0,
    };
    create_raft_folder(raft, identity, FolderStart::Bootstrap(Box::new(seed)))?;
    state.folder.write_format(MOVED)
}
