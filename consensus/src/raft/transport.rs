//! How requests reach other nodes: a trait, so that the process brings its own connections.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::types::{NodeAttributes, NodeId};

/// Kinds of traffic that must not hold each other up; each deserves a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerChannel {
    /// Entries, heartbeats, votes: small and urgent.
    Raft,
    /// Pieces of snapshots: long and patient.
    Snapshot,
    /// Forwarded proposals, reads and changes of members.
    Forward,
    /// Pieces of models and other large bodies.
    Blob,
}

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node_id: NodeId,
    /// Its addresses.
    pub attributes: Arc<NodeAttributes>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no connection; the request was not sent.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// No answer came in time, or the connection broke: whether it arrived is unknown.
    #[error("no answer came: {0}")]
    NoAnswer(String),
    /// The node refuses this one, which was removed from the cluster.
    #[error("node {0} refuses this node: it was removed from the cluster")]
    Removed(NodeId),
    /// One of the two does not trust who signed the other's certificate: this node was away while the
    /// authority changed, which happens to removed nodes alone, or has other files of certificates.
    #[error("node {0} and this node do not trust each other's authority")]
    Distrusted(NodeId),
    /// The answer is not what was asked for.
    #[error("the answer cannot be used: {0}")]
    Invalid(String),
}

/// A request under way.
pub type PeerFuture<'transport> =
    Pin<Box<dyn Future<Output = Result<Vec<u8>, PeerError>> + Send + 'transport>>;

/// Carries requests to other nodes and their answers back. A request and an answer are at most
/// [`PEER_FRAME_BYTES_MAX`](super::PEER_FRAME_BYTES_MAX) long; what arrives is given to
/// [`PeerHandler::answer`](super::PeerHandler::answer) there.
pub trait PeerTransport: Send + Sync + 'static {
    /// Sends a request and waits for its answer, at most for `timeout`. Dropping the future gives
    /// the answer up. It is called on the threads of the consensus: tasks that it begins with
    /// `Handle::current()` run there as well.
    fn call(
        &self,
        peer: Peer,
        channel: PeerChannel,
        request: Vec<u8>,
        timeout: Duration,
    ) -> PeerFuture<'_>;
}

/// The transport of a node that is alone: nobody can be reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl PeerTransport for NoPeers {
    fn call(&self, peer: Peer, _: PeerChannel, _: Vec<u8>, _: Duration) -> PeerFuture<'_> {
        let error = PeerError::Unreachable(format!("there is no way to node {}", peer.node_id));
        Box::pin(std::future::ready(Err(error)))
    }
}
