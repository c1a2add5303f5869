//! Who the members are, and how that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Membership};
use tokio::sync::watch;
use verdict_config::Code;

use super::core::Core;
use super::entry::EntryCommand;
use super::messages::MemberCommandV1;
use super::types::{EntryReply, NodeAttributes, NodeId};
use super::wire::NodeV1;
use crate::command::REQUEST_ID_BYTES_MAX;
use crate::proof::Denied;

mod plan;
mod upkeep;

pub use plan::{MemberPlan, PlannedMember};
use plan::{Seen, plan};
use upkeep::all_know;
pub(super) use upkeep::look_after;

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Its id.
    pub node_id: NodeId,
    /// Whether it votes; a learner only follows.
    pub voter: bool,
    /// What is known of it.
    pub attributes: NodeAttributes,
}

/// The members, as this node knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Members {
    /// Index of the entry that said so.
    pub log_index: u64,
    /// Whether a change is under way.
    pub changing: bool,
    /// By node id.
    pub members: Vec<Member>,
}

impl Members {
    pub(super) fn of(log_index: u64, members: &Membership<NodeId, NodeAttributes>) -> Self {
        let voters: BTreeSet<NodeId> = members.voter_ids().collect();
        let member = |(id, node): (&NodeId, &NodeAttributes)| Member {
            node_id: *id,
            voter: voters.contains(id),
            attributes: node.clone(),
        };
        Self {
            log_index,
            changing: members.get_joint_config().len() > 1,
            members: members.nodes().map(member).collect(),
        }
    }

    /// A member by its id.
    #[must_use]
    pub fn get(&self, node_id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node_id == node_id)
    }
}

type Metrics = openraft::RaftMetrics<NodeId, NodeAttributes>;

/// The members, as they change.
pub struct MembersWatch {
    metrics: watch::Receiver<Metrics>,
}

impl MembersWatch {
    pub(super) const fn new(metrics: watch::Receiver<Metrics>) -> Self {
        Self { metrics }
    }

    /// The members now.
    #[must_use]
    pub fn get(&self) -> Members {
        let stored = Arc::clone(&self.metrics.borrow().membership_config);
        Members::of(stored.log_id().map_or(0, |id| id.index), stored.membership())
    }

    /// Waits until they are others than at `log_index`; `None` when the log has ended.
    pub async fn changed(&mut self, log_index: u64) -> Option<Members> {
        let other = |metrics: &Metrics| {
            metrics.membership_config.log_id().map_or(0, |id| id.index) != log_index
        };
        self.metrics.wait_for(other).await.ok()?;
        Some(self.get())
    }
}

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberCommand {
    /// Gives a node id that was never given before; the same request gets the same id until the
    /// node has joined.
    Allocate {
        /// Names the request.
        request_id: String,
    },
    /// Adds a node that follows without voting. Its id must have been allocated.
    AddLearner {
        /// The node.
        node_id: NodeId,
        /// Its addresses.
        attributes: NodeAttributes,
    },
    /// Makes a learner that has caught up a voter.
    Promote {
        /// The node.
        node_id: NodeId,
    },
    /// Removes a voter or a learner; its id is never given again.
    Remove {
        /// The node.
        node_id: NodeId,
    },
    /// Replaces what is known of a member.
    SetAttributes {
        /// The node.
        node_id: NodeId,
        /// What is known of it from now on.
        attributes: NodeAttributes,
    },
    /// Allows commands of a newer version, once every member runs a program that knows them.
    RaiseVersion {
        /// The version.
        version: u16,
    },
    /// Puts a learner that has caught up in the place of a voter, in one change: the voters are never
    /// one more, of whom one is dead, and never one fewer.
    Replace {
        /// The node that goes; its id is never given again.
        node_id: NodeId,
        /// The learner.
        by: NodeId,
    },
}

/// What a change of members gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberAnswer {
    /// It is done.
    Done,
    /// The id that was given.
    Allocated(NodeId),
}

/// Why a change of members failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// No leader could be reached; nothing changed.
    #[error("the cluster has no leader that can be reached")]
    NoLeader,
    /// It may not be done.
    #[error("{0}")]
    Refused(String),
    /// Another change of members is under way; try again.
    #[error("another change of members is under way")]
    InProgress,
    /// It may or may not have been done; look at the members.
    #[error("the change of members may or may not have been made")]
    OutcomeUnknown,
    /// The storage failed.
    #[error("the log cannot be written: {0}")]
    Storage(String),
    /// The leader found no proof that whoever asked may do it; nothing changed.
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl MembershipError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NoLeader => Code::NoLeader,
            Self::Refused(_) => Code::MembershipRefused,
            Self::InProgress => Code::ChangeConflict,
            Self::OutcomeUnknown => Code::OutcomeUnknown,
            Self::Storage(_) => Code::StorageFailed,
            Self::Denied(denied) => denied.code,
        }
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NoLeader | Self::InProgress | Self::OutcomeUnknown)
    }
}

impl From<MemberCommand> for MemberCommandV1 {
    fn from(command: MemberCommand) -> Self {
        match command {
            MemberCommand::Allocate { request_id } => Self::Allocate { request_id },
            MemberCommand::AddLearner { node_id, attributes } => {
                Self::AddLearner(NodeV1::new(node_id, &attributes))
            }
            MemberCommand::Promote { node_id } => Self::Promote { node_id },
            MemberCommand::Remove { node_id } => Self::Remove { node_id },
            MemberCommand::SetAttributes { node_id, attributes } => {
                Self::SetAttributes(NodeV1::new(node_id, &attributes))
            }
            MemberCommand::RaiseVersion { version } => Self::RaiseVersion { version },
            MemberCommand::Replace { node_id, by } => Self::Replace { node_id, by },
        }
    }
}

impl From<MemberCommandV1> for MemberCommand {
    fn from(command: MemberCommandV1) -> Self {
        match command {
            MemberCommandV1::Allocate { request_id } => Self::Allocate { request_id },
            MemberCommandV1::AddLearner(node) => {
                let (node_id, attributes) = node.into_parts();
                Self::AddLearner { node_id, attributes }
            }
            MemberCommandV1::Promote { node_id } => Self::Promote { node_id },
            MemberCommandV1::Remove { node_id } => Self::Remove { node_id },
            MemberCommandV1::SetAttributes(node) => {
                let (node_id, attributes) = node.into_parts();
                Self::SetAttributes { node_id, attributes }
            }
            MemberCommandV1::RaiseVersion { version } => Self::RaiseVersion { version },
            MemberCommandV1::Replace { node_id, by } => Self::Replace { node_id, by },
        }
    }
}

fn refused<T>(detail: impl Into<String>) -> Result<T, MembershipError> {
    Err(MembershipError::Refused(detail.into()))
}

/// Carries out a command on the leader.
pub(super) async fn carry_out(
    core: &Core,
    command: MemberCommand,
) -> Result<MemberAnswer, MembershipError> {
    match command {
        MemberCommand::Allocate { request_id } => allocate(core, request_id).await,
        MemberCommand::AddLearner { node_id, attributes } => {
            check_attributes(&attributes)?;
            let machine = core.shared.machine();
            let member = machine.members.membership().get_node(&node_id);
            if member.is_some_and(|known| *known == attributes) {
                return Ok(MemberAnswer::Done);
            }
            if member.is_some() || !machine.cluster.pending.contains_key(&node_id) {
                return refused(format!("node id {node_id} was not allocated, or is used up"));
            }
            change(core, ChangeMembers::AddNodes(BTreeMap::from([(node_id, attributes)]))).await
        }
        MemberCommand::Promote { .. }
        | MemberCommand::Remove { .. }
        | MemberCommand::Replace { .. } => {
            let planned = plan(&Seen::of(core), &command)?;
            match change_of(&command, &planned) {
                Some(wanted) => change(core, wanted).await,
                None => Ok(MemberAnswer::Done),
            }
        }
        MemberCommand::SetAttributes { node_id, attributes } => {
            check_attributes(&attributes)?;
            if core.members().get(node_id).is_none() {
                return refused(format!("node {node_id} is no member"));
            }
            change(core, ChangeMembers::SetNodes(BTreeMap::from([(node_id, attributes)]))).await
        }
        MemberCommand::RaiseVersion { version } => {
            all_know(core, version).await?;
            write(core, EntryCommand::RaiseVersion { version }).await.map(|_| MemberAnswer::Done)
        }
    }
}

/// What a change would make of the members, as the leader sees them: nothing is changed.
pub(super) fn planned(core: &Core, command: &MemberCommand) -> Result<MemberPlan, MembershipError> {
    plan(&Seen::of(core), command)
}

/// The change that brings the members to what was planned; none where they are that already.
fn change_of(
    command: &MemberCommand,
    planned: &MemberPlan,
) -> Option<ChangeMembers<NodeId, NodeAttributes>> {
    if planned.is_done() {
        return None;
    }
    let votes = |members: &[PlannedMember], node_id| {
        members.iter().any(|member| member.node_id == node_id && member.voter)
    };
    let change = match *command {
        MemberCommand::Promote { node_id } => ChangeMembers::AddVoterIds(BTreeSet::from([node_id])),
        MemberCommand::Remove { node_id } if !votes(&planned.before, node_id) => {
            ChangeMembers::RemoveNodes(BTreeSet::from([node_id]))
        }
        // In place of one that goes, one that votes already: the one just goes.
        MemberCommand::Replace { by, .. } if !votes(&planned.before, by) => {
            let voters = planned.after.iter().filter(|member| member.voter);
            ChangeMembers::ReplaceAllVoters(voters.map(|member| member.node_id).collect())
        }
        MemberCommand::Remove { node_id } | MemberCommand::Replace { node_id, .. } => {
            ChangeMembers::RemoveVoters(BTreeSet::from([node_id]))
        }
        MemberCommand::Allocate { .. }
        | MemberCommand::AddLearner { .. }
        | MemberCommand::SetAttributes { .. }
        | MemberCommand::RaiseVersion { .. } => return None,
    };
    Some(change)
}

fn check_attributes(attributes: &NodeAttributes) -> Result<(), MembershipError> {
    if attributes.fits() { Ok(()) } else { refused("an attribute is too long") }
}

async fn allocate(core: &Core, request_id: String) -> Result<MemberAnswer, MembershipError> {
    if request_id.is_empty() || request_id.len() > REQUEST_ID_BYTES_MAX {
        return refused(format!("a request id has 1 to {REQUEST_ID_BYTES_MAX} bytes"));
    }
    match write(core, EntryCommand::AllocateNode { request_id }).await? {
        EntryReply::Allocated { node_id } => Ok(MemberAnswer::Allocated(node_id)),
        EntryReply::Refused { detail } => Err(MembershipError::Refused(detail)),
        other => Err(MembershipError::Storage(format!("an unexpected reply: {other:?}"))),
    }
}

async fn write(core: &Core, command: EntryCommand) -> Result<EntryReply, MembershipError> {
    let payload = command.encode().map_err(|error| MembershipError::Refused(error.to_string()))?;
    core.raft.client_write(payload).await.map(|response| response.data).map_err(write_error)
}

fn write_error(
    error: RaftError<NodeId, ClientWriteError<NodeId, NodeAttributes>>,
) -> MembershipError {
    match error {
        // The leader may have changed after the entry was appended.
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
            MembershipError::OutcomeUnknown
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) => MembershipError::InProgress,
            other => MembershipError::Refused(other.to_string()),
        },
        RaftError::Fatal(fatal) => MembershipError::Storage(fatal.to_string()),
    }
}

async fn change(
    core: &Core,
    change: ChangeMembers<NodeId, NodeAttributes>,
) -> Result<MemberAnswer, MembershipError> {
    core.raft.change_membership(change, false).await.map_err(write_error)?;
    Ok(MemberAnswer::Done)
}
