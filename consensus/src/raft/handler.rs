//! What arrives from other nodes, answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::{Snapshot, SnapshotMeta};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::admission::{self, Admission, Claim};
use super::bodies;
use super::core::{Core, Leadership};
use super::members::{self, MembershipError};
use super::messages::{
    Answer, AppendAnswerV1, FORWARD_MAX, FailureV1, ProvedV1, Request, RequestBody,
    SnapshotPieceV1, results,
};
use super::proposer::{Proposal, Submitted};
use super::snapshot_file::{FILE_BYTES_MAX, SnapshotFile};
use super::types::{Entry, LogId, StoredMembership, TypeConfig, Vote};
use super::wire::{LogIdV1, VoteV1};
use crate::command::{Author, Command, EnvelopeError, Propose};
use crate::error::ProposeError;
use crate::proof::{Denied, Forwarded, Proof};

/// A snapshot that is being received.
struct Incoming {
    snapshot_id: String,
    file: SnapshotFile,
}

/// Answers requests of other nodes. Clones share the log.
#[derive(Clone)]
pub struct PeerHandler {
    core: Arc<Core>,
    incoming: Arc<Mutex<Option<Incoming>>>,
}

fn failed(failure: FailureV1) -> Answer {
    Answer::Failed(failure)
}

fn misdirected(error: &EnvelopeError) -> Answer {
    Answer::Failed(FailureV1::Misdirected(error.to_string()))
}

impl PeerHandler {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, incoming: Arc::new(Mutex::new(None)) }
    }

    /// Answers a request that arrived over a connection with another node. `from` is who the
    /// connection proved to be.
    pub async fn answer(&self, from: super::NodeId, request: &[u8]) -> Vec<u8> {
        let answer = match Request::decode(request) {
            Ok(request) => self.answer_request(from, request).await,
            Err(error) => misdirected(&error),
        };
        let encoded = answer.encode();
        encoded.or_else(|error| misdirected(&error).encode()).unwrap_or_default()
    }

    async fn answer_request(&self, from: super::NodeId, request: Request) -> Answer {
        let network = &self.core.network;
        let here = (self.core.node_id, network.cluster_id.as_str());
        if (request.to, request.cluster_id.as_str()) != here || request.from != from {
            let detail = format!("this is node {} of cluster {}", here.0, here.1);
            return failed(FailureV1::Misdirected(detail));
        }
        // A certificate outlives its membership.
        if self.core.shared.is_removed(from) {
            return failed(FailureV1::Removed);
        }
        if let Some(refused) = self.refusal(from, &request.body).await {
            return failed(refused);
        }
        // What changes the catalogue or the members comes from members only.
        let asks_to_change = match &request.body {
            RequestBody::Append { .. } | RequestBody::Vote { .. } | RequestBody::Snapshot(_) => {
                false
            }
            RequestBody::Propose { .. }
            | RequestBody::ReadIndex
            | RequestBody::Member(_)
            | RequestBody::PlanMembers(_)
            | RequestBody::Version
            | RequestBody::Confirm { .. }
            | RequestBody::Clock
            | RequestBody::ProposeProved { .. }
            | RequestBody::MemberProved { .. } => true,
        };
        if asks_to_change && self.core.members().get(from).is_none() {
            return failed(FailureV1::Misdirected(format!("node {from} is no member")));
        }
        match request.body {
            RequestBody::Append { vote, previous, entries, committed } => {
                let entries = entries.into_iter().map(Entry::try_from).collect();
                match entries {
                    Ok(entries) => self.append(vote, previous, entries, committed).await,
                    Err(error) => misdirected(&error),
                }
            }
            RequestBody::Vote { vote, last } => self.vote(vote, last).await,
            RequestBody::Snapshot(piece) => self.snapshot(piece).await,
            RequestBody::Propose { .. } | RequestBody::Member(_) if self.checks_proof() => {
                // What the cluster's version is, a leader knows once it has applied what was agreed.
                let leads = self.core.leads();
                failed(if leads { FailureV1::NeedsProof } else { FailureV1::NotLeader })
            }
            RequestBody::Propose { proposals, wait_ms } => {
                let unproved = |command| ProvedV1 { command, proof: None };
                let proposals = proposals.into_iter().map(unproved).collect();
                self.propose((from, false), proposals, wait_ms).await
            }
            RequestBody::ProposeProved { proposals, wait_ms } => {
                self.propose((from, true), proposals, wait_ms).await
            }
            RequestBody::ReadIndex => match self.core.read_index().await {
                Ok(index) => Answer::ReadIndex { index },
                Err(failure) => failed(failure),
            },
            RequestBody::Member(command) => self.member(command.into()).await,
            RequestBody::MemberProved { command, proof } => {
                let (command, proof) = (command.into(), proof.map(Proof::from));
                match self.may_change_members(from, proof.as_ref(), &command) {
                    Ok(()) => self.member(command).await,
                    Err(denied) => Answer::Member(Err(MembershipError::Denied(denied)).into()),
                }
            }
            RequestBody::PlanMembers(command) => match self.core.leads() {
                true => Answer::Planned(members::planned(&self.core, &command.into()).into()),
                false => failed(FailureV1::NotLeader),
            },
            RequestBody::Version => Answer::Version { version: self.core.options.version },
            RequestBody::Confirm { node_id, term } => {
                Answer::Confirmed { confirmed: self.core.confirms(node_id, term) }
            }
            RequestBody::Clock => {
                Answer::Clock { now_ms: self.core.clock.shown(&self.core.options).0 }
            }
        }
    }

    /// Why votes, entries or a snapshot are not taken from a node, if so.
    async fn refusal(&self, from: super::NodeId, body: &RequestBody) -> Option<FailureV1> {
        let (vote, claim) = match body {
            RequestBody::Append { vote, .. } => (vote, Claim::Lead { term: vote.term }),
            RequestBody::Snapshot(piece) => (&piece.vote, Claim::Lead { term: piece.vote.term }),
            RequestBody::Vote { vote, .. } => (vote, Claim::Stand),
            _ => return None,
        };
        let core = &self.core;
        match admission::decide(&core.standing.view(), from, vote.node_id) {
            Admission::Admit => None,
            Admission::Refuse(reason) => {
                tracing::warn!(from, ?claim, reason, "a node's claim is refused");
                Some(FailureV1::NotAVoter(reason.to_owned()))
            }
            Admission::Confirm(sets) => {
                let claimed = (from, claim);
                let asked = core.inquiry.confirmed(&core.standing, &core.network, claimed, &sets);
                let detail = format!("the voters that node {} knows do not confirm", core.node_id);
                (!asked.await).then_some(FailureV1::NotAVoter(detail))
            }
        }
    }

    async fn append(
        &self,
        vote: VoteV1,
        previous: Option<LogIdV1>,
        entries: Vec<Entry>,
        committed: Option<LogIdV1>,
    ) -> Answer {
        let rpc = AppendEntriesRequest {
            vote: vote.into(),
            prev_log_id: previous.map(LogId::from),
            entries,
            leader_commit: committed.map(LogId::from),
        };
        let answer = self.core.raft.append_entries(rpc).await;
        if matches!(&answer, Ok(response) if !matches!(response, AppendEntriesResponse::HigherVote(_)))
        {
            self.core.network.note_leader();
        }
        match answer {
            Ok(AppendEntriesResponse::Success) => Answer::Append(AppendAnswerV1::Success),
            Ok(AppendEntriesResponse::PartialSuccess(upto)) => {
                let upto = upto.as_ref().map(LogIdV1::from);
                Answer::Append(AppendAnswerV1::PartialSuccess(upto))
            }
            Ok(AppendEntriesResponse::Conflict) => Answer::Append(AppendAnswerV1::Conflict),
            Ok(AppendEntriesResponse::HigherVote(vote)) => {
                Answer::Append(AppendAnswerV1::HigherVote((&vote).into()))
            }
            Err(_) => failed(FailureV1::Stopped),
        }
    }

    async fn vote(&self, vote: VoteV1, last: Option<LogIdV1>) -> Answer {
        let rpc = VoteRequest::new(vote.into(), last.map(LogId::from));
        match self.core.raft.vote(rpc).await {
            Ok(response) => {
                if response.vote_granted {
                    self.core.network.note_vote();
                }
                Answer::Vote {
                    vote: (&response.vote).into(),
                    granted: response.vote_granted,
                    last: response.last_log_id.as_ref().map(LogIdV1::from),
                }
            }
            Err(_) => failed(FailureV1::Stopped),
        }
    }

    /// Takes a piece; the last one installs the whole, checked against its hash.
    async fn snapshot(&self, piece: SnapshotPieceV1) -> Answer {
        let own = self.core.raft.with_raft_state(|state| *state.vote_ref()).await;
        let Ok(own) = own else { return failed(FailureV1::Stopped) };
        let sender = Vote::from(piece.vote);
        if own > sender || piece.bytes > FILE_BYTES_MAX {
            return Answer::Snapshot { vote: (&own).into(), next_offset: 0, installed: false };
        }
        let (vote, bytes, last) = (piece.vote, piece.bytes, piece.last);
        let (members, snapshot_id) = (piece.members.clone(), piece.snapshot_id.clone());
        let file = match self.take_piece(piece) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot be received");
                return failed(FailureV1::Busy);
            }
        };
        let next_offset = match file {
            Ok(next_offset) => next_offset,
            Err(file) => {
                let members = match StoredMembership::try_from(members) {
                    Ok(members) => members,
                    Err(error) => return misdirected(&error),
                };
                let meta = SnapshotMeta {
                    last_log_id: last.map(LogId::from),
                    last_membership: members,
                    snapshot_id,
                };
                return self.install(sender, meta, file).await;
            }
        };
        debug_assert!(next_offset <= bytes);
        Answer::Snapshot { vote, next_offset, installed: false }
    }

    /// `Ok`: where the next piece begins. `Err`: the whole file.
    fn take_piece(&self, piece: SnapshotPieceV1) -> std::io::Result<Result<u64, SnapshotFile>> {
        let mut incoming = self.incoming.lock();
        let same = incoming.as_ref().is_some_and(|known| known.snapshot_id == piece.snapshot_id);
        if !same {
            if let Some(given_up) = incoming.take() {
                // What stays behind goes at the next start.
                let _ = std::fs::remove_file(&given_up.file.path);
            }
            let file = self.core.shared.incoming()?;
            *incoming = Some(Incoming { snapshot_id: piece.snapshot_id.clone(), file });
        }
        let Some(current) = incoming.as_mut() else { return Ok(Ok(0)) };
        let at = current.file.bytes;
        let fits = piece.offset == at && at + piece.data.0.len() as u64 <= piece.bytes;
        if fits {
            current.file.append(&piece.data.0)?;
        }
        if current.file.bytes < piece.bytes {
            return Ok(Ok(current.file.bytes));
        }
        match incoming.take() {
            Some(whole) => Ok(Err(whole.file)),
            None => Ok(Ok(0)),
        }
    }

    async fn install(
        &self,
        sender: Vote,
        meta: SnapshotMeta<super::NodeId, super::NodeAttributes>,
        file: SnapshotFile,
    ) -> Answer {
        // A damaged transfer must not reach the state machine, where it would be fatal. And openraft
        // lets go of the log that the snapshot covers while it is still being taken over: whoever
        // ends between the two needs the snapshot on the disk already.
        let (received, shared) = (file.clone(), Arc::clone(&self.core.shared));
        let check = move || {
            let bytes = received.read().map_err(|error| error.to_string())?;
            let machine = super::snapshot_file::decode_machine(&bytes)?;
            shared.stage(&machine, &bytes).map_err(|error| error.to_string())?;
            Ok::<_, String>(machine.last_applied)
        };
        match tokio::task::spawn_blocking(check).await {
            Ok(Ok(last_applied)) if last_applied == meta.last_log_id => {}
            _ => {
                tracing::warn!(snapshot = %meta.snapshot_id, "a snapshot arrived damaged");
                let _ = std::fs::remove_file(&file.path);
                return Answer::Snapshot {
                    vote: (&sender).into(),
                    next_offset: 0,
                    installed: false,
                };
            }
        }
        let snapshot = Snapshot::<TypeConfig> { meta, snapshot: Box::new(file) };
        match self.core.raft.install_full_snapshot(sender, snapshot).await {
            Ok(response) => {
                Answer::Snapshot { vote: (&response.vote).into(), next_offset: 0, installed: true }
            }
            Err(_) => failed(FailureV1::Stopped),
        }
    }

    /// Whether requests without proof are refused: every member's program sends it, or this node does
    /// not lead.
    fn checks_proof(&self) -> bool {
        self.core.options.proofs.is_some() && (!self.core.leads() || self.core.needs_proof())
    }

    /// Checks who is behind a change set that a node forwarded, and says so in it.
    fn attribute(
        &self,
        from: super::NodeId,
        proof: Option<&Proof>,
        command: &mut Propose,
    ) -> Result<(), Denied> {
        let Some(checks) = &self.core.options.proofs else { return Ok(()) };
        let (catalogue, _) = self.core.shared.applied_catalogue();
        let (members, claimed) = (&self.core.members(), &command.author);
        let forwarded = Forwarded { from, proof, claimed, members, catalogue: &catalogue };
        command.author = checks.change(&forwarded, &command.change_set)?.without_proof();
        Ok(())
    }

    fn may_change_members(
        &self,
        from: super::NodeId,
        proof: Option<&Proof>,
        command: &super::members::MemberCommand,
    ) -> Result<(), Denied> {
        let Some(checks) = &self.core.options.proofs else { return Ok(()) };
        let (catalogue, _) = self.core.shared.applied_catalogue();
        let (members, claimed) = (&self.core.members(), &Author::default());
        let forwarded = Forwarded { from, proof, claimed, members, catalogue: &catalogue };
        checks.member(&forwarded, command)
    }

    /// Proposes what another node forwarded; `proved`: it comes with proof, which is checked.
    async fn propose(
        &self,
        (from, proved): (super::NodeId, bool),
        proposals: Vec<ProvedV1>,
        wait_ms: u32,
    ) -> Answer {
        let leads = matches!(self.core.leadership(), Leadership::Here(_));
        if !leads || (proved && !self.core.leads()) {
            return failed(FailureV1::NotLeader);
        }
        if proposals.len() > FORWARD_MAX {
            return failed(FailureV1::Busy);
        }
        let wait = Duration::from_millis(wait_ms.into()).min(self.core.options.timeout);
        let until = Instant::now() + wait;
        let mut waiting = Vec::with_capacity(proposals.len());
        for ProvedV1 { command, proof } in proposals {
            let Command::Propose(command) = match Command::decode(&command.0) {
                Ok(command) => command,
                Err(error) => return misdirected(&error),
            };
            // Whoever proposes it has put its bodies here; until they are, it is no proposal.
            let Some(mut command) = self.with_bodies(command).await else {
                waiting.push(Err(ProposeError::NoLeader));
                continue;
            };
            let proof = proof.map(Proof::from);
            if proved && let Err(denied) = self.attribute(from, proof.as_ref(), &mut command) {
                tracing::warn!(from, code = %denied.code, "a forwarded change is refused");
                waiting.push(Err(ProposeError::Denied(denied)));
                continue;
            }
            let submitted = Submitted { command, proof: None, until, forwarded: true };
            waiting.push(Proposal::enqueue(&self.core, submitted));
        }
        let mut results = Vec::with_capacity(waiting.len());
        for receiver in waiting {
            let result = match receiver {
                Ok(receiver) => receiver.await.unwrap_or(Err(ProposeError::OutcomeUnknown)),
                Err(error) => Err(error),
            };
            results.push(results::to_wire(result));
        }
        Answer::Proposed(results)
    }

    /// Fills in the bodies that stand outside the log; `None` where one cannot be found.
    async fn with_bodies(&self, mut command: Propose) -> Option<Propose> {
        let wanted: BTreeSet<_> = bodies::missing(&command.change_set).collect();
        if wanted.is_empty() {
            return Some(command);
        }
        let store = self.core.options.bodies.clone();
        let finding = move || bodies::find(store.as_ref(), &wanted, true);
        let found = tokio::task::spawn_blocking(finding).await.ok()?;
        bodies::fill(&mut command.change_set, &found).is_empty().then_some(command)
    }

    async fn member(&self, command: super::members::MemberCommand) -> Answer {
        let core = &self.core;
        if !core.leads() {
            return failed(FailureV1::NotLeader);
        }
        let done = members::carry_out(core, command);
        let done = tokio::time::timeout(core.options.timeout, done).await;
        Answer::Member(done.unwrap_or(Err(MembershipError::OutcomeUnknown)).into())
    }
}
