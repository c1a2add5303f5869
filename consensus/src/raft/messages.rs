//! What nodes say to each other, in versioned envelopes: typed, bounded, and free of any transport.
//!
//! ```text
//!   [VDPQ][version][from, to, cluster][request]   ->   [VDPR][version][answer]
//! ```
//!
//! A request names the node and the cluster it is for, so that an address that was given to another
//! node since is noticed at the first message.

pub mod results;

use serde::{Deserialize, Serialize};

use self::results::{MemberResultV1, PlanResultV1, ProposalResultV1};
use super::wire::{EntryV1, LogIdV1, MembersV1, NodeV1, VoteV1};
use crate::catalogue::Bytes;
use crate::command::{EnvelopeError, decode_within, open, seal};
use crate::proof::ProofV1;

/// The longest message between nodes.
pub const PEER_FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of one piece of a snapshot.
pub const SNAPSHOT_PIECE_BYTES: usize = 1 << 20;
/// Most change sets of one forwarded message.
pub const FORWARD_MAX: usize = 512;

/// What decoding a message may take: numbers are longer in memory than on the wire.
const DECODED_BYTES_MAX: usize = 2 * PEER_FRAME_BYTES_MAX;

const REQUEST_MAGIC: [u8; 4] = *b"VDPQ";
const ANSWER_MAGIC: [u8; 4] = *b"VDPR";
const VERSION: u16 = 1;

/// A request with its addresses.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub from: u64,
    pub to: u64,
    pub cluster_id: String,
    pub body: RequestBody,
}

/// What is asked. Grows at its end only.
#[derive(Serialize, Deserialize)]
pub enum RequestBody {
    Append {
        vote: VoteV1,
        previous: Option<LogIdV1>,
        entries: Vec<EntryV1>,
        committed: Option<LogIdV1>,
    },
    Vote {
        vote: VoteV1,
        last: Option<LogIdV1>,
    },
    Snapshot(SnapshotPieceV1),
    /// Commands without a time: the leader stamps it.
    Propose {
        proposals: Vec<Bytes>,
        wait_ms: u32,
    },
    ReadIndex,
    Member(MemberCommandV1),
    /// Up to which version the asked node knows commands.
    Version,
    /// What a change of the members would make of them.
    PlanMembers(MemberCommandV1),
    /// Whether a node is a voter, and, with a term, whether the asked node follows it in that term.
    Confirm {
        node_id: u64,
        term: Option<u64>,
    },
    /// What the clock of the asked node shows.
    Clock,
    /// Commands without a time, each with what proves who asked for it.
    ProposeProved {
        proposals: Vec<ProvedV1>,
        wait_ms: u32,
    },
    /// A change of the members, with what proves who asked for it.
    MemberProved {
        command: MemberCommandV1,
        proof: Option<ProofV1>,
    },
}

/// A command and its proof.
#[derive(Serialize, Deserialize)]
pub struct ProvedV1 {
    pub command: Bytes,
    /// None where the sending node acts by itself.
    pub proof: Option<ProofV1>,
}

/// A piece of a snapshot.
#[derive(Serialize, Deserialize)]
pub struct SnapshotPieceV1 {
    pub vote: VoteV1,
    pub last: Option<LogIdV1>,
    pub members: MembersV1,
    pub snapshot_id: String,
    pub bytes: u64,
    pub offset: u64,
    pub data: Bytes,
}

/// A change of the members.
#[derive(Serialize, Deserialize)]
pub enum MemberCommandV1 {
    Allocate { request_id: String },
    AddLearner(NodeV1),
    Promote { node_id: u64 },
    Remove { node_id: u64 },
    SetAttributes(NodeV1),
    RaiseVersion { version: u16 },
    Replace { node_id: u64, by: u64 },
}

/// What is answered. Grows at its end only.
#[derive(Serialize, Deserialize)]
pub enum Answer {
    /// The request cannot be answered here.
    Failed(FailureV1),
    Append(AppendAnswerV1),
    Vote {
        vote: VoteV1,
        granted: bool,
        last: Option<LogIdV1>,
    },
    /// The receiver's vote, and up to where it has the snapshot.
    Snapshot {
        vote: VoteV1,
        next_offset: u64,
        installed: bool,
    },
    Proposed(Vec<ProposalResultV1>),
    ReadIndex {
        index: u64,
    },
    Member(MemberResultV1),
    Version {
        version: u16,
    },
    Planned(PlanResultV1),
    Confirmed {
        confirmed: bool,
    },
    /// Milliseconds since the epoch.
    Clock {
        now_ms: i64,
    },
}

/// Why a request cannot be answered here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureV1 {
    /// It is for another node or cluster, or cannot be read.
    Misdirected(String),
    /// This node does not lead.
    NotLeader,
    /// This node is ending.
    Stopped,
    /// Too much waits.
    Busy,
    /// The asking node was removed from the cluster.
    Removed,
    /// Only a voter may ask for this, and the asking node is none that is known here.
    NotAVoter(String),
    /// The request comes in the form of a cluster of before requests needed proof.
    NeedsProof,
}

/// How entries were taken.
#[derive(Serialize, Deserialize)]
pub enum AppendAnswerV1 {
    Success,
    PartialSuccess(Option<LogIdV1>),
    Conflict,
    HigherVote(VoteV1),
}

fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, EnvelopeError> {
    if bytes.len() > PEER_FRAME_BYTES_MAX {
        return Err(EnvelopeError::TooLong { bytes: bytes.len(), limit: PEER_FRAME_BYTES_MAX });
    }
    Ok(bytes)
}

impl Request {
    /// The request as it is sent.
    pub fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        bounded(seal(REQUEST_MAGIC, VERSION, self)?)
    }

    /// Reads a request.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (_, payload) = open(REQUEST_MAGIC, VERSION, PEER_FRAME_BYTES_MAX, bytes)?;
        decode_within::<Self, DECODED_BYTES_MAX>(payload)
    }
}

impl Answer {
    /// The answer as it is sent.
    pub fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        bounded(seal(ANSWER_MAGIC, VERSION, self)?)
    }

    /// Reads an answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (_, payload) = open(ANSWER_MAGIC, VERSION, PEER_FRAME_BYTES_MAX, bytes)?;
        decode_within::<Self, DECODED_BYTES_MAX>(payload)
    }
}

#[cfg(test)]
mod tests;
