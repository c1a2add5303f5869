//! The types that openraft is made concrete with. None of them leaves this crate.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::snapshot_file::SnapshotFile;
use crate::catalogue::Bytes;

/// Identifies a node for ever: an id is given once, by the log itself.
pub type NodeId = u64;

/// What the members know of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeAttributes {
    /// The name that people gave it.
    pub name: String,
    /// Address of its peer listener.
    pub peer_address: String,
    /// Address of its HTTP listener.
    pub http_address: String,
    /// Address of its admin listener.
    pub admin_address: String,
    /// Region; empty if none was given.
    pub region: String,
    /// Zone in the region; empty if none was given.
    pub zone: String,
}

/// The longest text of an attribute in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 256;

impl NodeAttributes {
    /// Whether every text is within its limit.
    #[must_use]
    pub fn fits(&self) -> bool {
        let texts = [
            &self.name,
            &self.peer_address,
            &self.http_address,
            &self.admin_address,
            &self.region,
            &self.zone,
        ];
        texts.iter().all(|text| text.len() <= ATTRIBUTE_BYTES_MAX)
    }
}

/// What an entry of the log carries: an envelope of [`super::entry::EntryCommand`]. It stays encoded
/// from the proposer through store and network, and is decoded once, where it is applied.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryPayload(pub Arc<[u8]>);

impl std::fmt::Debug for EntryPayload {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl Serialize for EntryPayload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(Arc::clone(&self.0)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EntryPayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(|bytes| Self(bytes.0))
    }
}

/// What applying an entry gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryReply {
    /// Nothing to tell: an entry of the consensus itself.
    Nothing,
    /// Change sets were applied; this is the revision now.
    Applied {
        /// The revision.
        revision: u64,
    },
    /// The change sets were evaluated on another revision than the one they met. Nothing of them
    /// was applied; whoever proposed evaluates them again.
    Stale {
        /// The revision they met.
        revision: u64,
    },
    /// A node id was given.
    Allocated {
        /// The id.
        node_id: NodeId,
    },
    /// A command that is refused, equally on every node.
    Refused {
        /// Why.
        detail: String,
    },
}

openraft::declare_raft_types!(
    /// openraft with our types.
    pub TypeConfig:
        D = EntryPayload,
        R = EntryReply,
        NodeId = NodeId,
        Node = NodeAttributes,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = openraft::TokioRuntime,
);

/// A place in the log, with the leader that put it there.
pub type LogId = openraft::LogId<NodeId>;
/// An entry of the log.
pub type Entry = openraft::Entry<TypeConfig>;
/// A vote.
pub type Vote = openraft::Vote<NodeId>;
/// Who the members are, and where in the log that was said.
pub type StoredMembership = openraft::StoredMembership<NodeId, NodeAttributes>;
/// A failure of the storage.
pub type StorageError = openraft::StorageError<NodeId>;
/// The consensus.
pub type Raft = openraft::Raft<TypeConfig>;
