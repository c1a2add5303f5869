//! What the parts of a Raft log share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use openraft::RaftMetrics;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admission::{Inquiry, Standing, is_majority};
use super::clock::LeaderClock;
use super::log_store::LogStore;
use super::members::{self, MemberAnswer, MemberCommand, MemberPlan, Members, MembershipError};
use super::messages::{Answer, FailureV1, RequestBody};
use super::network::PeerNetwork;
use super::options::RaftLogOptions;
use super::proposer::Proposal;
use super::state_machine::Shared;
use super::transport::{Peer, PeerChannel, PeerError};
use super::types::{NodeAttributes, NodeId, Raft};
use crate::catalogue::Catalogue;
use crate::error::ReadError;
use crate::proof::{PROOF_FROM_VERSION, Proof};

/// How long to wait before a leader is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long is waited for a leader that has been gone for long.
const FAIL_WITHIN: Duration = Duration::from_millis(500);

/// Figures since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub waiting: u64,
    pub applied: u64,
    pub refused: u64,
    pub commit_us_last: u64,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// This node, in a term.
    Here(u64),
    /// Another one.
    There(Peer),
    /// Nobody that is known.
    Nobody,
    /// The consensus has ended here.
    Ended(String),
}

/// What the parts of a Raft log share.
pub struct Core {
    pub node_id: NodeId,
    pub folder: PathBuf,
    pub raft: Raft,
    pub store: LogStore,
    pub shared: Arc<Shared>,
    pub network: Arc<PeerNetwork>,
    pub options: RaftLogOptions,
    pub clock: LeaderClock,
    pub counts: Mutex<Counts>,
    /// Bytes of bodies that wait.
    pub waiting_bytes: AtomicUsize,
    /// Taken away when the log closes.
    pub proposals: Mutex<Option<mpsc::Sender<Proposal>>>,
    pub draining: AtomicBool,
    /// Who may lead and stand for election, as this node knows it.
    pub standing: Standing,
    /// What voters answered about nodes that this one does not name.
    pub inquiry: Inquiry,
}

impl Core {
    /// Whether a node is a voter, and, with a term, whether this node follows it in that term.
    pub fn confirms(&self, node_id: NodeId, term: Option<u64>) -> bool {
        let follows = |term| {
            let vote = self.raft.metrics().borrow().vote;
            let leader = vote.leader_id();
            vote.is_committed() && leader.term == term && leader.voted_for() == Some(node_id)
        };
        self.standing.is_voter(node_id) && term.is_none_or(follows)
    }

    /// A leader that this node refused lately, while it hears no other.
    pub fn unknown_leader(&self) -> Option<NodeId> {
        let lease = self.options.election_timeout_max * 4;
        let lost = self.network.leader_heard_ago() > lease;
        self.inquiry.refused_within(lease.max(Duration::from_secs(3))).filter(|_| lost)
    }

    /// Why this node does not stand for election, if so.
    pub fn unfit_to_lead(&self) -> Option<&'static str> {
        if self.is_removed() {
            return Some("this node was removed from the cluster");
        }
        (!self.clock.is_trusted()).then_some("this node's clock is in doubt")
    }

    /// Whether this node was removed: its own log says so, or voters that it names refuse it, a majority
    /// with this node where it votes. They refuse it by its id, or because the authority changed: no
    /// step of that is taken while a member has not followed the one before.
    pub fn is_removed(&self) -> bool {
        if self.shared.is_removed(self.node_id) {
            return true;
        }
        let refused_by = self.network.refused_by();
        !refused_by.is_empty()
            && self.standing.is_strict()
            && is_majority(&self.standing.view().voters, self.node_id, &refused_by)
    }

    /// Whether all that is known is that the voters do not share this node's authority.
    pub fn is_only_distrusted(&self) -> bool {
        !self.shared.is_removed(self.node_id) && !self.network.is_said_to_be_removed()
    }

    pub fn metrics(&self) -> RaftMetrics<NodeId, NodeAttributes> {
        self.raft.metrics().borrow().clone()
    }

    /// The members as this node's log has them, committed or not.
    pub fn members(&self) -> Members {
        let stored = Arc::clone(&self.raft.metrics().borrow().membership_config);
        Members::of(stored.log_id().map_or(0, |id| id.index), stored.membership())
    }

    /// Why the log takes no more, if so.
    pub fn failure(&self) -> Option<String> {
        let failed = self.store.durable().failure().borrow().clone();
        failed.or_else(|| match &self.raft.metrics().borrow().running_state {
            _ if self.draining.load(Ordering::SeqCst) => None,
            Err(fatal) => Some(fatal.to_string()),
            // A panic ends openraft's own task, which cannot say so any more.
            Ok(()) if self.raft.metrics().has_changed().is_err() => {
                Some("the consensus has panicked".to_owned())
            }
            Ok(()) => None,
        })
    }

    /// Who leads, as far as this node knows.
    pub fn leadership(&self) -> Leadership {
        if let Some(failure) = self.failure() {
            return Leadership::Ended(failure);
        }
        let watch = self.raft.metrics();
        let metrics = watch.borrow();
        match metrics.current_leader {
            Some(id) if id == self.node_id && metrics.state.is_leader() => {
                Leadership::Here(metrics.current_term)
            }
            Some(id) if id != self.node_id => {
                match metrics.membership_config.membership().get_node(&id) {
                    Some(node) => {
                        Leadership::There(Peer { node_id: id, attributes: Arc::new(node.clone()) })
                    }
                    None => Leadership::Nobody,
                }
            }
            _ => Leadership::Nobody,
        }
    }

    /// Waits until something may have changed about who leads, a moment at most.
    pub async fn look_again(&self, until: Instant) {
        let mut metrics = self.raft.metrics();
        let mut applied = self.shared.applied();
        let until = until.min(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            _ = metrics.changed() => {}
            _ = applied.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// Waits until a node other than `leader` leads, or none.
    pub async fn leader_lost(&self, leader: NodeId) {
        let mut metrics = self.raft.metrics();
        let lost = metrics.wait_for(|metrics| metrics.current_leader != Some(leader)).await;
        // An error says that the consensus has ended, which is a loss as well.
        drop(lost);
    }

    /// Index that a read must have applied to see everything that was acknowledged.
    pub async fn read_index(&self) -> Result<u64, FailureV1> {
        match self.raft.get_read_log_id().await {
            Ok((index, applied)) => Ok(index.max(applied).map_or(0, |id| id.index)),
            Err(openraft::error::RaftError::Fatal(_)) => Err(FailureV1::Stopped),
            Err(_) => Err(FailureV1::NotLeader),
        }
    }

    /// How long to wait for a leader. One that has not been heard of for several elections will not
    /// be there in a moment either: then whoever asks is told at once.
    fn patience(&self) -> Duration {
        let lost = self.network.leader_heard_ago() > self.options.election_timeout_max * 5;
        match self.leadership() {
            Leadership::Nobody if lost => FAIL_WITHIN,
            _ => self.options.timeout,
        }
    }

    /// A catalogue with everything that was acknowledged before the call.
    pub async fn linearizable(&self) -> Result<Arc<Catalogue>, ReadError> {
        let until = Instant::now() + self.patience();
        while Instant::now() < until {
            let index = match self.leadership() {
                Leadership::Here(_) => self.read_index().await.ok(),
                Leadership::There(peer) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let body = RequestBody::ReadIndex;
                    let asked = self.network.ask(&peer, PeerChannel::Forward, body, left);
                    tokio::select! {
                        answer = asked => match answer {
                            Ok(Answer::ReadIndex { index }) => Some(index),
                            _ => None,
                        },
                        () = self.leader_lost(peer.node_id) => None,
                    }
                }
                Leadership::Nobody => None,
                Leadership::Ended(failure) => return Err(ReadError::Closed(failure)),
            };
            let Some(index) = index else {
                self.look_again(until).await;
                continue;
            };
            let mut applied = self.shared.applied();
            let reached = applied.wait_for(|applied| *applied >= index);
            if let Ok(Ok(_)) = tokio::time::timeout_at(until, reached).await {
                return Ok(Arc::clone(&self.shared.watch().borrow()));
            }
        }
        Err(ReadError::NoLeader)
    }

    /// Whether this node leads, and has applied what the leaders before it agreed.
    pub fn leads(&self) -> bool {
        matches!(self.leadership(), Leadership::Here(term) if self.shared.applied_term() == term)
    }

    /// What a change of the members would make of them, as the leader sees it. None where the leader
    /// runs a program that does not plan.
    pub async fn plan_members(
        &self,
        command: MemberCommand,
    ) -> Result<Option<MemberPlan>, MembershipError> {
        let until = Instant::now() + self.patience();
        while Instant::now() < until {
            match self.leadership() {
                Leadership::Here(_) if self.leads() => {
                    return members::planned(self, &command).map(Some);
                }
                Leadership::There(peer) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let body = RequestBody::PlanMembers(command.clone().into());
                    let asked = self.network.ask(&peer, PeerChannel::Forward, body, left);
                    match asked.await {
                        Ok(Answer::Planned(result)) => return Result::from(result).map(Some),
                        Ok(Answer::Failed(FailureV1::Misdirected(_))) => return Ok(None),
                        _ => {}
                    }
                }
                Leadership::Ended(failure) => return Err(MembershipError::Storage(failure)),
                Leadership::Here(_) | Leadership::Nobody => {}
            }
            self.look_again(until).await;
        }
        Err(MembershipError::NoLeader)
    }

    /// Whether forwarded requests need proof: every member's program sends it.
    pub fn needs_proof(&self) -> bool {
        self.shared.version() >= PROOF_FROM_VERSION
    }

    fn member_request(&self, command: &MemberCommand, proof: Option<&Proof>) -> RequestBody {
        let command = command.clone().into();
        if self.needs_proof() {
            RequestBody::MemberProved { command, proof: proof.map(Into::into) }
        } else {
            RequestBody::Member(command)
        }
    }

    /// Changes the members, here or at the leader.
    pub async fn change_members(
        &self,
        command: MemberCommand,
        proof: Option<Proof>,
    ) -> Result<MemberAnswer, MembershipError> {
        let until = Instant::now() + self.options.timeout;
        while Instant::now() < until {
            match self.leadership() {
                Leadership::Here(term) if self.shared.applied_term() == term => {
                    let done = members::carry_out(self, command);
                    let done = tokio::time::timeout_at(until, done).await;
                    return done.unwrap_or(Err(MembershipError::OutcomeUnknown));
                }
                Leadership::There(peer) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let body = self.member_request(&command, proof.as_ref());
                    let asked = self.network.ask(&peer, PeerChannel::Forward, body, left);
                    let repeatable = matches!(command, MemberCommand::Allocate { .. });
                    match asked.await {
                        Ok(Answer::Member(result)) => return result.into(),
                        Ok(Answer::Failed(FailureV1::NotLeader | FailureV1::NeedsProof)) => {}
                        Err(PeerError::Unreachable(_)) => {}
                        // The leader finds an allocation again by its request id.
                        Err(PeerError::NoAnswer(_)) if repeatable => {}
                        _ => return Err(MembershipError::OutcomeUnknown),
                    }
                }
                Leadership::Ended(failure) => return Err(MembershipError::Storage(failure)),
                Leadership::Here(_) | Leadership::Nobody => {}
            }
            self.look_again(until).await;
        }
        Err(MembershipError::NoLeader)
    }
}
