//! How votes, places, members and entries look as bytes, in the store and between nodes. Structs
//! of one version never change; what is added becomes a new version with a `From`.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload as Content, Membership};
use serde::{Deserialize, Serialize};

use super::types::{Entry, EntryPayload, LogId, NodeAttributes, StoredMembership, Vote};
use crate::catalogue::Bytes;
use crate::command::{EnvelopeError, decode, open, seal};

/// The longest entry: a batch of change sets whose last one is as long as one may be.
pub const ENTRY_BYTES_MAX: usize = 12 << 20;
const ENTRY_MAGIC: [u8; 4] = *b"VDLE";
const ENTRY_VERSION: u16 = 1;

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteV1 {
    pub term: u64,
    pub node_id: u64,
    pub committed: bool,
}

impl From<&Vote> for VoteV1 {
    fn from(vote: &Vote) -> Self {
        let leader = vote.leader_id();
        Self {
            term: leader.term,
            node_id: leader.voted_for().unwrap_or_default(),
            committed: vote.committed,
        }
    }
}

impl From<VoteV1> for Vote {
    fn from(vote: VoteV1) -> Self {
        if vote.committed {
            Self::new_committed(vote.term, vote.node_id)
        } else {
            Self::new(vote.term, vote.node_id)
        }
    }
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogIdV1 {
    pub term: u64,
    pub leader_id: u64,
    pub index: u64,
}

impl From<&LogId> for LogIdV1 {
    fn from(id: &LogId) -> Self {
        let leader = id.leader_id;
        Self { term: leader.term, leader_id: leader.node_id, index: id.index }
    }
}

impl From<LogIdV1> for LogId {
    fn from(id: LogIdV1) -> Self {
        Self::new(CommittedLeaderId::new(id.term, id.leader_id), id.index)
    }
}

/// What the members know of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeV1 {
    id: u64,
    name: String,
    peer_address: String,
    http_address: String,
    admin_address: String,
    region: String,
    zone: String,
}

impl NodeV1 {
    pub fn new(id: u64, node: &NodeAttributes) -> Self {
        Self {
            id,
            name: node.name.clone(),
            peer_address: node.peer_address.clone(),
            http_address: node.http_address.clone(),
            admin_address: node.admin_address.clone(),
            region: node.region.clone(),
            zone: node.zone.clone(),
        }
    }

    pub fn into_parts(self) -> (u64, NodeAttributes) {
        let node = NodeAttributes {
            name: self.name,
            peer_address: self.peer_address,
            http_address: self.http_address,
            admin_address: self.admin_address,
            region: self.region,
            zone: self.zone,
        };
        (self.id, node)
    }
}

/// The members: sets of voters (two while it changes) and everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersV1 {
    at: Option<LogIdV1>,
    voters: Vec<Vec<u64>>,
    nodes: Vec<NodeV1>,
}

impl MembersV1 {
    fn of(at: Option<LogIdV1>, members: &Membership<u64, NodeAttributes>) -> Self {
        let voters = members.get_joint_config().iter();
        Self {
            at,
            voters: voters.map(|set| set.iter().copied().collect()).collect(),
            nodes: members.nodes().map(|(id, node)| NodeV1::new(*id, node)).collect(),
        }
    }

    fn membership(self) -> Result<Membership<u64, NodeAttributes>, EnvelopeError> {
        let nodes: BTreeMap<_, _> = self.nodes.into_iter().map(NodeV1::into_parts).collect();
        let voters: Vec<BTreeSet<u64>> =
            self.voters.into_iter().map(|set| set.into_iter().collect()).collect();
        if !voters.iter().flatten().all(|id| nodes.contains_key(id)) {
            return Err(EnvelopeError::Payload("a voter is not among the nodes".to_owned()));
        }
        Ok(Membership::new(voters, nodes))
    }
}

impl From<&StoredMembership> for MembersV1 {
    fn from(stored: &StoredMembership) -> Self {
        Self::of(stored.log_id().as_ref().map(LogIdV1::from), stored.membership())
    }
}

impl TryFrom<MembersV1> for StoredMembership {
    type Error = EnvelopeError;

    fn try_from(members: MembersV1) -> Result<Self, EnvelopeError> {
        let at = members.at.map(LogId::from);
        Ok(Self::new(at, members.membership()?))
    }
}

/// An entry.
#[derive(Serialize, Deserialize)]
pub struct EntryV1 {
    id: LogIdV1,
    content: ContentV1,
}

#[derive(Serialize, Deserialize)]
enum ContentV1 {
    Blank,
    Command(Bytes),
    Members(MembersV1),
}

impl From<&Entry> for EntryV1 {
    fn from(entry: &Entry) -> Self {
        let content = match &entry.payload {
            Content::Blank => ContentV1::Blank,
            Content::Normal(payload) => ContentV1::Command(Bytes(payload.0.clone())),
            Content::Membership(members) => ContentV1::Members(MembersV1::of(None, members)),
        };
        Self { id: (&entry.log_id).into(), content }
    }
}

impl TryFrom<EntryV1> for Entry {
    type Error = EnvelopeError;

    fn try_from(entry: EntryV1) -> Result<Self, EnvelopeError> {
        let payload = match entry.content {
            ContentV1::Blank => Content::Blank,
            ContentV1::Command(bytes) => Content::Normal(EntryPayload(bytes.0)),
            ContentV1::Members(members) => Content::Membership(members.membership()?),
        };
        Ok(Self { log_id: entry.id.into(), payload })
    }
}

/// An entry as the store keeps it.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, EnvelopeError> {
    let bytes = seal(ENTRY_MAGIC, ENTRY_VERSION, &EntryV1::from(entry))?;
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(EnvelopeError::TooLong { bytes: bytes.len(), limit: ENTRY_BYTES_MAX });
    }
    Ok(bytes)
}

/// Reads an entry back.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, EnvelopeError> {
    let (_, payload) = open(ENTRY_MAGIC, ENTRY_VERSION, ENTRY_BYTES_MAX, bytes)?;
    decode::<EntryV1>(payload)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored form of version 1, for ever.
    const GOLDEN: &str =
        "56444c45010003020702000101010201026e31017001680161027231017a03000000000000";

    #[test]
    fn golden_bytes() {
        let node = |name: &str| NodeAttributes {
            name: name.to_owned(),
            peer_address: "p".to_owned(),
            http_address: "h".to_owned(),
            admin_address: "a".to_owned(),
            region: "r1".to_owned(),
            zone: "z".to_owned(),
        };
        let nodes = BTreeMap::from([(1, node("n1")), (3, NodeAttributes::default())]);
        let id = LogId::new(CommittedLeaderId::new(3, 2), 7);
        let members = Membership::new(vec![BTreeSet::from([1])], nodes);
        let commands = [
            Entry { log_id: id, payload: Content::Blank },
            Entry { log_id: id, payload: Content::Normal(EntryPayload(b"xy".as_slice().into())) },
            Entry { log_id: id, payload: Content::Membership(members) },
        ];
        let encoded: Vec<_> =
            commands.iter().map(|e| hex::encode(encode_entry(e).unwrap())).collect();
        assert_eq!(encoded[0], "56444c45010003020700");
        assert_eq!(encoded[1], "56444c4501000302070102".to_owned() + "7879");
        assert_eq!(encoded[2], GOLDEN);
        for (entry, text) in commands.iter().zip(&encoded) {
            let again = decode_entry(&hex::decode(text).unwrap()).unwrap();
            assert_eq!((again.log_id, format!("{again:?}")), (id, format!("{entry:?}")));
        }
    }
}
