//! openraft's network on a [`PeerTransport`]: one client for each peer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError,
    Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend, Snapshot};
use parking_lot::Mutex;

use super::admission::Standing;
use super::messages::{
    Answer, AppendAnswerV1, FailureV1, Request, RequestBody, SNAPSHOT_PIECE_BYTES, SnapshotPieceV1,
};
use super::transport::{Peer, PeerChannel, PeerError, PeerTransport};
use super::types::{LogId, NodeAttributes, NodeId, TypeConfig, Vote};
use super::wire::{EntryV1, LogIdV1, VoteV1};
use crate::catalogue::Bytes;
use crate::log::NEVER_HEARD;

type RpcError = RPCError<NodeId, NodeAttributes, RaftError<NodeId>>;
type SendError = StreamingError<TypeConfig, Fatal<NodeId>>;

/// How long a piece of a snapshot may take; the last one is installed before it is answered.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses after a failed call, growing.
const BACKOFF_MS: [u64; 5] = [20, 50, 100, 200, 400];

/// What every client of a node shares.
pub struct PeerNetwork {
    pub node_id: NodeId,
    pub cluster_id: String,
    pub transport: Arc<dyn PeerTransport>,
    /// When each peer last answered.
    heard: Mutex<BTreeMap<NodeId, Instant>>,
    /// When a leader was last heard here.
    leader_heard: Mutex<Option<Instant>>,
    /// When this node last gave another its vote.
    voted: Mutex<Option<Instant>>,
    /// Whether a peer that was asked for its vote had more of the log.
    longer_log: AtomicBool,
    /// The peers that refused this node, until they answer it again, and whether they said that it was
    /// removed.
    refused_by: Mutex<BTreeMap<NodeId, bool>>,
    /// Who may vote, once the log is open.
    standing: OnceLock<Standing>,
    /// Requests that this node forwards and that fail.
    forwarding: Mutex<Option<FailedForwards>>,
}

/// Forwarded requests that failed since the last one that succeeded.
#[derive(Debug, Clone)]
pub struct FailedForwards {
    /// The node that the last one was for.
    pub peer: NodeId,
    /// When the first one failed.
    pub since: Instant,
    /// The number of them.
    pub count: u64,
    /// Why the last one failed.
    pub last: String,
}

impl PeerNetwork {
    pub fn new(node_id: NodeId, cluster_id: String, transport: Arc<dyn PeerTransport>) -> Self {
        Self {
            node_id,
            cluster_id,
            transport,
            heard: Mutex::new(BTreeMap::new()),
            leader_heard: Mutex::new(None),
            voted: Mutex::new(None),
            longer_log: AtomicBool::new(false),
            refused_by: Mutex::new(BTreeMap::new()),
            standing: OnceLock::new(),
            forwarding: Mutex::new(None),
        }
    }

    /// From here on a learner's word about votes does not count.
    pub fn set_standing(&self, standing: Standing) {
        // It is said once, when the log is opened.
        let _ = self.standing.set(standing);
    }

    /// A vote that a peer answers with, where its word about votes counts. A learner that answers a
    /// leader with a higher vote would depose it.
    fn vote_of(&self, peer: NodeId, vote: VoteV1) -> Result<Vote, PeerError> {
        match self.standing.get() {
            Some(standing) if !standing.may_depose(peer) => {
                let detail = format!("node {peer} is no voter and answers with a higher vote");
                tracing::warn!(peer, "a node that is no voter answers with a higher vote");
                Err(PeerError::Invalid(detail))
            }
            _ => Ok(vote.into()),
        }
    }

    /// The peers that refuse this node.
    pub fn refused_by(&self) -> BTreeSet<NodeId> {
        self.refused_by.lock().keys().copied().collect()
    }

    /// Whether a peer says that this node was removed.
    pub fn is_said_to_be_removed(&self) -> bool {
        self.refused_by.lock().values().any(|removed| *removed)
    }

    /// Requests forwarded to a node that failed since the last one that succeeded.
    pub fn failed_forwards(&self, peer: NodeId) -> Option<FailedForwards> {
        self.forwarding.lock().clone().filter(|failed| failed.peer == peer)
    }

    fn note_forward(&self, peer: NodeId, result: &Result<Vec<u8>, PeerError>) {
        let mut forwarding = self.forwarding.lock();
        let Err(error) = result else {
            *forwarding = None;
            return;
        };
        let before = forwarding.take().filter(|failed| failed.peer == peer);
        let (since, count) =
            before.map_or((Instant::now(), 0), |failed| (failed.since, failed.count));
        let (count, last) = (count.saturating_add(1), error.to_string());
        *forwarding = Some(FailedForwards { peer, since, count, last });
    }

    /// Notes that a leader was heard: it brings what others had more of the log.
    pub fn note_leader(&self) {
        self.forget_longer_log();
        *self.leader_heard.lock() = Some(Instant::now());
    }

    /// Notes that another node was given this one's vote.
    pub fn note_vote(&self) {
        *self.voted.lock() = Some(Instant::now());
    }

    /// When another node was last given this one's vote.
    pub fn voted(&self) -> Option<Instant> {
        *self.voted.lock()
    }

    /// Whether a peer that was asked for its vote since this was last forgotten had more of the log.
    pub fn saw_longer_log(&self) -> bool {
        self.longer_log.load(Ordering::Relaxed)
    }

    /// Forgets that.
    pub fn forget_longer_log(&self) {
        self.longer_log.store(false, Ordering::Relaxed);
    }

    /// When a leader was last heard here.
    pub fn leader_heard(&self) -> Option<Instant> {
        *self.leader_heard.lock()
    }

    /// How long ago a leader was last heard here.
    pub fn leader_heard_ago(&self) -> Duration {
        self.leader_heard.lock().map_or(NEVER_HEARD, |heard| heard.elapsed())
    }

    /// How long ago so many of these peers had last answered.
    pub fn so_many_heard_ago(
        &self,
        peers: impl Iterator<Item = NodeId>,
        needed: usize,
    ) -> Duration {
        let Some(position) = needed.checked_sub(1) else { return Duration::ZERO };
        let ago = |peer| self.heard_ago(peer).unwrap_or(NEVER_HEARD);
        let mut ages: Vec<Duration> = peers.map(ago).collect();
        ages.sort_unstable();
        ages.get(position).copied().unwrap_or(NEVER_HEARD)
    }

    /// How long ago a peer last answered.
    pub fn heard_ago(&self, peer: NodeId) -> Option<Duration> {
        self.heard.lock().get(&peer).map(Instant::elapsed)
    }

    /// Forgets peers that are no members any more.
    pub fn keep(&self, members: impl Fn(NodeId) -> bool) {
        self.heard.lock().retain(|id, _| members(*id));
    }

    /// Asks a peer.
    pub async fn ask(
        &self,
        peer: &Peer,
        channel: PeerChannel,
        body: RequestBody,
        timeout: Duration,
    ) -> Result<Answer, PeerError> {
        let invalid = |error: crate::command::EnvelopeError| PeerError::Invalid(error.to_string());
        let request = Request {
            from: self.node_id,
            to: peer.node_id,
            cluster_id: self.cluster_id.clone(),
            body,
        };
        let bytes = request.encode().map_err(invalid)?;
        let call = self.transport.call(peer.clone(), channel, bytes, timeout);
        let answer = tokio::time::timeout(timeout, call).await;
        let answer = answer.map_err(|_| PeerError::NoAnswer(format!("within {timeout:?}")));
        let answer = answer.and_then(|answer| answer);
        if channel == PeerChannel::Forward {
            self.note_forward(peer.node_id, &answer);
        }
        let answer = match answer {
            Ok(answer) => Answer::decode(&answer).map_err(invalid)?,
            Err(error) => {
                let refused = match error {
                    PeerError::Removed(_) => Some(true),
                    PeerError::Distrusted(_) => Some(false),
                    _ => None,
                };
                if let Some(removed) = refused {
                    self.refused_by.lock().insert(peer.node_id, removed);
                }
                return Err(error);
            }
        };
        if matches!(answer, Answer::Failed(FailureV1::Removed)) {
            self.refused_by.lock().insert(peer.node_id, true);
            return Err(PeerError::Removed(peer.node_id));
        }
        self.refused_by.lock().remove(&peer.node_id);
        self.heard.lock().insert(peer.node_id, Instant::now());
        Ok(answer)
    }
}

/// Makes clients.
pub struct Clients(pub Arc<PeerNetwork>);

impl RaftNetworkFactory<TypeConfig> for Clients {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, node: &NodeAttributes) -> Client {
        let peer = Peer { node_id: target, attributes: Arc::new(node.clone()) };
        Client { network: Arc::clone(&self.0), peer }
    }
}

/// A client of one peer.
pub struct Client {
    network: Arc<PeerNetwork>,
    peer: Peer,
}

fn rpc_error(error: &PeerError) -> RpcError {
    match error {
        PeerError::NoAnswer(_) => NetworkError::new(error).into(),
        PeerError::Unreachable(_)
        | PeerError::Invalid(_)
        | PeerError::Removed(_)
        | PeerError::Distrusted(_) => Unreachable::new(error).into(),
    }
}

/// An answer that is none to what was asked.
fn unexpected(answer: &Answer) -> PeerError {
    match answer {
        Answer::Failed(failure) => PeerError::Unreachable(format!("{failure:?}")),
        _ => PeerError::Invalid("an answer to another question".to_owned()),
    }
}

impl RaftNetwork<TypeConfig> for Client {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RpcError> {
        let body = RequestBody::Append {
            vote: (&rpc.vote).into(),
            previous: rpc.prev_log_id.as_ref().map(LogIdV1::from),
            entries: rpc.entries.iter().map(EntryV1::from).collect(),
            committed: rpc.leader_commit.as_ref().map(LogIdV1::from),
        };
        let timeout = option.hard_ttl();
        let answer = self.network.ask(&self.peer, PeerChannel::Raft, body, timeout).await;
        match answer.map_err(|error| rpc_error(&error))? {
            Answer::Append(AppendAnswerV1::Success) => Ok(AppendEntriesResponse::Success),
            Answer::Append(AppendAnswerV1::PartialSuccess(upto)) => {
                Ok(AppendEntriesResponse::PartialSuccess(upto.map(LogId::from)))
            }
            Answer::Append(AppendAnswerV1::Conflict) => Ok(AppendEntriesResponse::Conflict),
            Answer::Append(AppendAnswerV1::HigherVote(vote)) => {
                let vote = self.network.vote_of(self.peer.node_id, vote);
                vote.map(AppendEntriesResponse::HigherVote).map_err(|error| rpc_error(&error))
            }
            other => Err(rpc_error(&unexpected(&other))),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, RpcError> {
        let last = rpc.last_log_id.as_ref().map(LogIdV1::from);
        let body = RequestBody::Vote { vote: (&rpc.vote).into(), last };
        let timeout = option.hard_ttl();
        let answer = self.network.ask(&self.peer, PeerChannel::Raft, body, timeout).await;
        match answer.map_err(|error| rpc_error(&error))? {
            Answer::Vote { vote, granted, last } => {
                let last = last.map(LogId::from);
                if last > rpc.last_log_id {
                    self.network.longer_log.store(true, Ordering::Relaxed);
                }
                let vote = self.network.vote_of(self.peer.node_id, vote);
                let vote = vote.map_err(|error| rpc_error(&error))?;
                Ok(VoteResponse::new(vote, last, granted))
            }
            other => Err(rpc_error(&unexpected(&other))),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, SendError> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, &snapshot) => sent,
        }
    }

    fn backoff(&self) -> Backoff {
        let last = BACKOFF_MS[BACKOFF_MS.len() - 1];
        let pauses = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Backoff::new(pauses.map(Duration::from_millis))
    }
}

impl Client {
    /// Sends piece after piece; the receiver says where to go on, so that a transfer that broke is
    /// resumed.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: &Snapshot<TypeConfig>,
    ) -> Result<SnapshotResponse<NodeId>, SendError> {
        let file = &snapshot.snapshot;
        let mut offset = 0;
        // A receiver that asks for the same piece for ever is no receiver.
        let pieces_max = 2 * (file.bytes / SNAPSHOT_PIECE_BYTES as u64 + 2);
        for _ in 0..pieces_max {
            let data = file.piece(offset, SNAPSHOT_PIECE_BYTES).map_err(|error| {
                let error = AnyError::new(&error);
                StreamingError::StorageError(
                    openraft::StorageIOError::read_snapshot(None, error).into(),
                )
            })?;
            let piece = SnapshotPieceV1 {
                vote: (&vote).into(),
                last: snapshot.meta.last_log_id.as_ref().map(LogIdV1::from),
                members: (&snapshot.meta.last_membership).into(),
                snapshot_id: snapshot.meta.snapshot_id.clone(),
                bytes: file.bytes,
                offset,
                data: Bytes(data.into()),
            };
            let body = RequestBody::Snapshot(piece);
            let asked = self.network.ask(&self.peer, PeerChannel::Snapshot, body, PIECE_TIMEOUT);
            let answer = asked.await.map_err(|error| stream_error(&error))?;
            match answer {
                Answer::Snapshot { vote: other, installed, .. }
                    if installed || Vote::from(other) > vote =>
                {
                    if Vote::from(other) <= vote {
                        return Ok(SnapshotResponse::new(other.into()));
                    }
                    let other = self.network.vote_of(self.peer.node_id, other);
                    let other = other.map_err(|error| stream_error(&error))?;
                    return Ok(SnapshotResponse::new(other));
                }
                Answer::Snapshot { next_offset, .. } => offset = next_offset.min(file.bytes),
                Answer::Failed(FailureV1::Stopped) => {
                    let fatal = RemoteError::new(self.peer.node_id, Fatal::Stopped);
                    return Err(StreamingError::RemoteError(fatal));
                }
                other => return Err(stream_error(&unexpected(&other))),
            }
        }
        Err(stream_error(&PeerError::Invalid("the snapshot makes no progress".to_owned())))
    }
}

fn stream_error(error: &PeerError) -> SendError {
    StreamingError::Unreachable(Unreachable::new(error))
}

#[cfg(test)]
mod tests {
    use super::super::transport::PeerFuture;
    use super::*;

    /// Answers as it is told.
    struct Told(Mutex<Result<Vec<u8>, PeerError>>);

    impl PeerTransport for Told {
        fn call(&self, _: Peer, _: PeerChannel, _: Vec<u8>, _: Duration) -> PeerFuture<'_> {
            Box::pin(std::future::ready(self.0.lock().clone()))
        }
    }

    #[tokio::test]
    async fn forwards_that_fail_are_counted_until_one_succeeds() {
        let told = Arc::new(Told(Mutex::new(Err(PeerError::NoAnswer("silence".to_owned())))));
        let network =
            PeerNetwork::new(1, "c".to_owned(), Arc::clone(&told) as Arc<dyn PeerTransport>);
        let peer = Peer { node_id: 2, attributes: Arc::default() };
        let ask = async |channel| {
            let wait = Duration::from_secs(5);
            network.ask(&peer, channel, RequestBody::ReadIndex, wait).await.is_ok()
        };
        assert!(!ask(PeerChannel::Raft).await);
        assert!(network.failed_forwards(2).is_none(), "only what is forwarded counts");
        assert!(!ask(PeerChannel::Forward).await && !ask(PeerChannel::Forward).await);
        let failed = network.failed_forwards(2).unwrap();
        assert_eq!((failed.count, failed.last.contains("silence")), (2, true));
        assert!(network.failed_forwards(3).is_none());
        *told.0.lock() = Ok(Answer::ReadIndex { index: 1 }.encode().unwrap());
        assert!(ask(PeerChannel::Forward).await);
        assert!(network.failed_forwards(2).is_none());
    }
}
