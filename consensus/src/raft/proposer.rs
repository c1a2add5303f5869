//! The proposer: what waits becomes one entry, here or at the leader.
//!
//! ```text
//!   queue ─> waiting ──leader here──> apply one after another on the applied catalogue
//!               ^                      ├─ refused, repeated: answered with the rest
//!               │                      └─ accepted: into the entry ─> commit ─> answer all
//!               │                           stale (another leader came first): once more
//!               └──leader there──> Propose ─> results, or once more at the next leader
//! ```
//!
//! Trying again is safe: a change set that was applied after all is found by its `request_id`.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use verdict_config::{Code, Fault, TimestampMs};

use super::core::{Core, Leadership};
use super::entry::EntryCommand;
use super::messages::{Answer, FORWARD_MAX, FailureV1, ProvedV1, RequestBody, results};
use super::options::RaftLogOptions;
use super::prepared::Prepared;
use super::transport::{Peer, PeerChannel, PeerError};
use super::types::EntryReply;
use crate::apply::{Applied, LogPosition, apply_in_place};
use crate::catalogue::{Bytes, Catalogue};
use crate::command::{Author, ChangeSet, Command, Propose};
use crate::error::{ChangeRefused, ProposeError};
use crate::proof::Proof;

/// What a proposal costs beside its bodies.
const PROPOSAL_OVERHEAD_BYTES: usize = 512;

/// A change set on its way into the queue.
pub struct Submitted {
    pub command: Propose,
    /// What a person sent, for a leader elsewhere.
    pub proof: Option<Proof>,
    pub until: Instant,
    /// Whether it came from another node: it is not passed on again.
    pub forwarded: bool,
}

/// A change set that waits.
pub struct Proposal {
    command: Propose,
    proof: Option<Proof>,
    bytes: usize,
    until: Instant,
    /// Whether it came from another node: it is not passed on again.
    forwarded: bool,
    /// Whether it may be in a log already.
    sent: bool,
    reply: oneshot::Sender<Result<Applied, ProposeError>>,
    core: Arc<Core>,
}

impl Proposal {
    /// Puts a change set into the queue; the answer comes by the receiver.
    pub fn enqueue(
        core: &Arc<Core>,
        submitted: Submitted,
    ) -> Result<oneshot::Receiver<Result<Applied, ProposeError>>, ProposeError> {
        let Submitted { command, proof, until, forwarded } = submitted;
        let sender = core.proposals.lock().clone();
        let sender = sender.ok_or_else(|| match core.failure() {
            Some(failure) => ProposeError::Storage(failure),
            None => ProposeError::Draining,
        })?;
        let bodies = command.change_set.changes.iter().filter_map(|change| change.body.as_ref());
        let proof_bytes = proof.as_ref().map_or(0, Proof::bytes);
        let bytes = bodies.map(Vec::len).sum::<usize>() + proof_bytes + PROPOSAL_OVERHEAD_BYTES;
        let (reply, answer) = oneshot::channel();
        core.counts.lock().waiting += 1;
        let before = core.waiting_bytes.fetch_add(bytes, Ordering::SeqCst);
        let core = Arc::clone(core);
        let full = before + bytes > core.options.queue_bytes_max;
        let proposal = Self { command, proof, bytes, until, forwarded, sent: false, reply, core };
        if full {
            proposal.answer(Err(ProposeError::Overloaded));
        } else if let Err(refused) = sender.try_send(proposal) {
            let (error, proposal) = match refused {
                mpsc::error::TrySendError::Full(proposal) => (ProposeError::Overloaded, proposal),
                mpsc::error::TrySendError::Closed(proposal) => (ProposeError::Draining, proposal),
            };
            proposal.answer(Err(error));
        }
        Ok(answer)
    }

    fn answer(self, result: Result<Applied, ProposeError>) {
        {
            let mut counts = self.core.counts.lock();
            counts.waiting = counts.waiting.saturating_sub(1);
            match &result {
                Ok(applied) if !applied.repeated => counts.applied += 1,
                Ok(_) => {}
                Err(_) => counts.refused += 1,
            }
        }
        self.core.waiting_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        // Whoever asked may have gone; the change stands all the same.
        let _ = self.reply.send(result);
    }

    fn give_up(self) {
        let error = if self.sent { ProposeError::OutcomeUnknown } else { ProposeError::NoLeader };
        self.answer(Err(error));
    }
}

/// The proposer of a node.
pub struct Proposer {
    core: Arc<Core>,
    queue: mpsc::Receiver<Proposal>,
    waiting: VecDeque<Proposal>,
}

/// Proposals with the answers they get once the entry they depend on is committed.
type Held = Vec<(Proposal, Result<Applied, ProposeError>)>;

/// What came of the change sets that are to share an entry.
struct Evaluated {
    held: Held,
    /// Those that were accepted, as the entry carries them.
    commands: Vec<Vec<u8>>,
    /// The catalogue after them.
    next: Arc<Catalogue>,
    /// Whether the entry holds all that it takes to apply them.
    whole: bool,
}

impl Proposer {
    pub fn new(core: Arc<Core>, queue: mpsc::Receiver<Proposal>) -> Self {
        Self { core, queue, waiting: VecDeque::new() }
    }

    /// Works until the queue is closed and empty.
    pub async fn run(mut self) {
        loop {
            if self.waiting.is_empty() {
                let Some(first) = self.queue.recv().await else { return };
                self.waiting.push_back(first);
            }
            self.gather();
            self.expire();
            let Some(until) = self.waiting.front().map(|first| first.until) else { continue };
            match self.core.leadership() {
                Leadership::Here(_) if self.core.clock.is_doubted() => self.refuse_doubtful(),
                Leadership::Here(_) if !self.core.clock.is_trusted() => {
                    let core = Arc::clone(&self.core);
                    self.meanwhile(core.look_again(until)).await;
                }
                Leadership::Here(term) if self.core.shared.applied_term() == term => {
                    self.propose_here().await;
                }
                Leadership::There(peer) => self.forward(peer).await,
                Leadership::Ended(failure) => self.fail(&failure),
                Leadership::Here(_) | Leadership::Nobody => {
                    let core = Arc::clone(&self.core);
                    self.meanwhile(core.look_again(until)).await;
                }
            }
        }
    }

    /// Takes what has come in, up to the bound of the queue.
    fn gather(&mut self) {
        while self.waiting.len() < self.core.options.queue_max {
            let Ok(next) = self.queue.try_recv() else { return };
            self.waiting.push_back(next);
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        if self.waiting.iter().all(|proposal| proposal.until > now) {
            return;
        }
        for proposal in std::mem::take(&mut self.waiting) {
            if proposal.until > now {
                self.waiting.push_back(proposal);
            } else {
                proposal.give_up();
            }
        }
    }

    /// A leader whose clock is in doubt stamps nothing.
    fn refuse_doubtful(&mut self) {
        for proposal in std::mem::take(&mut self.waiting) {
            proposal.answer(Err(ProposeError::ClockDoubtful));
        }
    }

    fn fail(&mut self, failure: &str) {
        for proposal in std::mem::take(&mut self.waiting) {
            proposal.answer(Err(ProposeError::Storage(failure.to_owned())));
        }
    }

    /// Waits for something while others queue and run out of time.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let room = self.waiting.len() < self.core.options.queue_max;
            let first_ends = self.waiting.iter().map(|proposal| proposal.until).min();
            tokio::select! {
                biased;
                output = &mut future => return output,
                Some(next) = self.queue.recv(), if room => self.waiting.push_back(next),
                () = sleep_until(first_ends) => self.expire(),
            }
        }
    }

    /// Makes one entry of what waits, and answers when it is committed and applied.
    async fn propose_here(&mut self) {
        let (base, applied) = self.core.shared.applied_catalogue();
        let (base_revision, index) = (base.revision(), applied.saturating_add(1));
        let Evaluated { held, commands, next, whole } = self.evaluate(&base, index);
        if commands.is_empty() {
            return answer_all(held);
        }
        let core = Arc::clone(&self.core);
        let payload = match (EntryCommand::Changes { base_revision, commands }).encode() {
            Ok(payload) => payload,
            Err(error) => return refuse_all(held, &ProposeError::Storage(error.to_string())),
        };
        let prepared =
            || Prepared { payload: payload.clone(), index, base: Arc::clone(&base), next };
        core.shared.prepare(whole.then(prepared));
        let until = held.iter().map(|(proposal, _)| proposal.until).max();
        let until = until.unwrap_or_else(Instant::now);
        let begun = Instant::now();
        let write = tokio::time::timeout_at(until, core.raft.client_write(payload));
        let written = self.meanwhile(write).await;
        core.shared.prepare(None);
        match written {
            Ok(Ok(response)) if matches!(response.data, EntryReply::Applied { .. }) => {
                let commit_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                core.counts.lock().commit_us_last = commit_us;
                answer_all(held);
            }
            // Another entry came first: nothing of this one was applied.
            Ok(Ok(_)) => self.put_back(held, false),
            // It may stand in the log of the next leader, or not: that one knows.
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) | Err(_) => {
                self.put_back(held, true);
            }
            Ok(Err(RaftError::APIError(error))) => {
                refuse_all(held, &ProposeError::Storage(error.to_string()));
            }
            Ok(Err(RaftError::Fatal(fatal))) => {
                // The store says what happened; what openraft says of it is for its developers.
                let failure = core.failure().unwrap_or_else(|| fatal.to_string());
                refuse_all(held, &ProposeError::Storage(failure));
            }
        }
    }

    /// Applies what waits, one on top of the other, as every node will.
    fn evaluate(&mut self, base: &Catalogue, index: u64) -> Evaluated {
        let mut catalogue = base.clone();
        let (mut held, mut commands, mut bytes) = (Held::new(), Vec::<Vec<u8>>::new(), 0);
        let mut whole = true;
        let options = &self.core.options;
        while held.len() < options.batch_max && bytes < options.batch_bytes {
            let Some(mut proposal) = self.waiting.pop_front() else { break };
            // A clock may run behind the leader's before: time never goes back.
            proposal.command.at = self.core.clock.now(options).max(catalogue.at());
            let command = Command::Propose(proposal.command.clone());
            let position = u32::try_from(commands.len()).unwrap_or(u32::MAX);
            let place = LogPosition { index, position };
            let step = || apply_next(&mut catalogue, &command, place, options);
            let result = match catch_unwind(AssertUnwindSafe(step)) {
                Ok(Ok((applied, encoded))) => {
                    bytes += encoded.as_ref().map_or(0, Vec::len);
                    // Bodies outside the log are found, and checked, where they are applied.
                    let changes = &proposal.command.change_set.changes;
                    whole &= changes.iter().all(|change| change.stored.is_none());
                    commands.extend(encoded);
                    Ok(applied)
                }
                Ok(Err(refused)) => Err(refused),
                // A panic in a check costs the change set that met it, not the log; what it left
                // of the catalogue is not used.
                Err(_) => {
                    let message = "the change set could not be checked: a fault of our own";
                    proposal.answer(Err(fault(Code::Internal, message)));
                    self.put_back(held, false);
                    let next = Arc::new(catalogue);
                    return Evaluated { held: Held::new(), commands: Vec::new(), next, whole };
                }
            };
            held.push((proposal, result));
        }
        Evaluated { held, commands, next: Arc::new(catalogue), whole }
    }

    fn put_back(&mut self, held: Held, sent: bool) {
        for (mut proposal, _) in held.into_iter().rev() {
            proposal.sent |= sent;
            self.waiting.push_front(proposal);
        }
    }

    /// Sends what waits to the leader. What came from another node goes back there instead.
    async fn forward(&mut self, peer: Peer) {
        let (back, mine): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|p| p.forwarded);
        back.into_iter().for_each(Proposal::give_up);
        self.waiting = mine;
        let (mut batch, mut proposals, mut bytes) = (Vec::new(), Vec::<ProvedV1>::new(), 0);
        while batch.len() < FORWARD_MAX && bytes < self.core.options.batch_bytes {
            let Some(proposal) = self.waiting.pop_front() else { break };
            match Command::Propose(proposal.command.clone()).encode() {
                Ok(encoded) => {
                    bytes += encoded.len() + proposal.proof.as_ref().map_or(0, Proof::bytes);
                    let proof = proposal.proof.as_ref().map(Into::into);
                    proposals.push(ProvedV1 { command: Bytes(encoded.into()), proof });
                    batch.push(proposal);
                }
                Err(error) => proposal.answer(Err(ProposeError::Storage(error.to_string()))),
            }
        }
        let Some(until) = batch.iter().map(|proposal| proposal.until).max() else { return };
        let left = until.saturating_duration_since(Instant::now());
        let wait_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let body = if self.core.needs_proof() {
            RequestBody::ProposeProved { proposals, wait_ms }
        } else {
            let proposals = proposals.into_iter().map(|proved| proved.command).collect();
            RequestBody::Propose { proposals, wait_ms }
        };
        let core = Arc::clone(&self.core);
        let asked = async {
            tokio::select! {
                answer = core.network.ask(&peer, PeerChannel::Forward, body, left) => answer,
                () = core.leader_lost(peer.node_id) => {
                    Err(PeerError::NoAnswer("the leader was lost".to_owned()))
                }
            }
        };
        let answer = self.meanwhile(asked).await;
        let sent = match answer {
            Ok(Answer::Proposed(results)) if results.len() == batch.len() => {
                if self.settle(batch, results) {
                    return;
                }
                return self.meanwhile(core.look_again(until)).await;
            }
            Ok(Answer::Failed(FailureV1::NotLeader | FailureV1::Busy | FailureV1::NeedsProof))
            | Err(PeerError::Unreachable(_) | PeerError::Removed(_) | PeerError::Distrusted(_)) => {
                false
            }
            _ => true,
        };
        for mut proposal in batch.into_iter().rev() {
            proposal.sent |= sent;
            self.waiting.push_front(proposal);
        }
        self.meanwhile(core.look_again(until)).await;
    }

    /// Hands out the leader's answers; what it could not carry out is tried again. Whether all is
    /// done.
    fn settle(&mut self, batch: Vec<Proposal>, results: Vec<results::ProposalResultV1>) -> bool {
        let mut again = VecDeque::new();
        for (mut proposal, result) in batch.into_iter().zip(results) {
            match results::from_wire(result) {
                Ok(Err(ProposeError::NoLeader | ProposeError::Draining)) => {
                    again.push_back(proposal)
                }
                Ok(Err(ProposeError::OutcomeUnknown | ProposeError::Storage(_))) => {
                    proposal.sent = true;
                    again.push_back(proposal);
                }
                Ok(result) => proposal.answer(result),
                Err(error) => {
                    tracing::warn!(%error, "the leader's answer cannot be read");
                    proposal.answer(Err(ProposeError::OutcomeUnknown));
                }
            }
        }
        let done = again.is_empty();
        again.append(&mut self.waiting);
        self.waiting = again;
        done
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn answer_all(held: Held) {
    held.into_iter().for_each(|(proposal, result)| proposal.answer(result));
}

fn refuse_all(held: Held, error: &ProposeError) {
    held.into_iter().for_each(|(proposal, _)| proposal.answer(Err(error.clone())));
}

fn fault(code: Code, message: impl Into<String>) -> ProposeError {
    ChangeRefused::Invalid(vec![Fault::new(code, "", message)]).into()
}

/// The answer to a change set, with its bytes if it is new.
fn apply_next(
    catalogue: &mut Catalogue,
    command: &Command,
    place: LogPosition,
    options: &RaftLogOptions,
) -> Result<(Applied, Option<Vec<u8>>), ProposeError> {
    let encoded = command.encode();
    let encoded = encoded.map_err(|error| fault(Code::LimitExceeded, error.to_string()))?;
    let applied = apply_in_place(catalogue, command, place, &*options.validator)?;
    let new = !applied.repeated;
    Ok((applied, new.then_some(encoded)))
}

/// A change set with its author, without a time yet.
pub fn unstamped(change_set: ChangeSet, author: Author) -> Propose {
    Propose { change_set, author: author.without_proof(), at: TimestampMs(0) }
}
