//! The replicated state as a pure value: what applying one entry makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::EntryPayload as Content;

use super::admission::TRUST_VERSION;
use super::bodies::{self, ApplyError, Bodies};
use super::entry::EntryCommand;
use super::types::{Entry, EntryReply, LogId, NodeId, StoredMembership};
use crate::apply::{LogPosition, apply_in_place};
use crate::catalogue::Catalogue;
use crate::command::Command;
use crate::validate::NoValidation;

/// Ids that may be given but not yet used; more are refused, so that asking costs nothing.
const PENDING_NODES_MAX: usize = 1_000;

/// What the members agreed on beside the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterState {
    /// Names the cluster; peers of another one are turned away.
    pub cluster_id: String,
    /// Commands of later versions are not used yet.
    pub version: u16,
    /// The id that the next node gets. It only grows, so that no id is ever given twice.
    pub next_node_id: NodeId,
    /// Ids that were given to nodes which have not joined yet, with who asked.
    pub pending: BTreeMap<NodeId, String>,
}

/// Everything that is replicated.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub last_applied: Option<LogId>,
    pub members: StoredMembership,
    pub catalogue: Arc<Catalogue>,
    pub cluster: ClusterState,
}

impl Machine {
    /// The state before any entry.
    pub fn empty(catalogue: Catalogue) -> Self {
        let cluster = ClusterState::default();
        Self {
            last_applied: None,
            members: StoredMembership::default(),
            catalogue: Arc::new(catalogue.at_version(cluster.version)),
            cluster,
        }
    }

    /// Whether a node was a member of this cluster and is none any more. Ids are given once and in
    /// order, so the entry that removes a node is all that has to be kept of it.
    pub fn is_removed(&self, node_id: NodeId) -> bool {
        self.cluster.version >= TRUST_VERSION
            && (1..self.cluster.next_node_id).contains(&node_id)
            && !self.cluster.pending.contains_key(&node_id)
            && self.members.membership().get_node(&node_id).is_none()
    }

    /// Applies the next entry, with the bodies that it names.
    ///
    /// # Errors
    /// The entry was written by a newer program: this one cannot go on. Or bodies are missing.
    pub fn apply(&mut self, entry: &Entry, bodies: &Bodies) -> Result<EntryReply, ApplyError> {
        let reply = match &entry.payload {
            Content::Blank => EntryReply::Nothing,
            Content::Membership(members) => {
                self.members = StoredMembership::new(Some(entry.log_id), members.clone());
                let pending = &mut self.cluster.pending;
                pending.retain(|id, _| members.get_node(id).is_none());
                EntryReply::Nothing
            }
            Content::Normal(payload) => match EntryCommand::decode(payload)? {
                EntryCommand::Changes { base_revision, commands } => {
                    self.change(entry.log_id.index, base_revision, (&commands, bodies))?
                }
                EntryCommand::AllocateNode { request_id } => self.allocate(request_id),
                EntryCommand::RaiseVersion { version } => {
                    self.raise_version(version);
                    EntryReply::Nothing
                }
            },
        };
        self.last_applied = Some(entry.log_id);
        Ok(reply)
    }

    fn raise_version(&mut self, version: u16) {
        if version <= self.cluster.version {
            return;
        }
        self.cluster.version = version;
        let mut catalogue = Catalogue::clone(&self.catalogue);
        catalogue.raise_version(version);
        self.catalogue = Arc::new(catalogue);
    }

    /// The next entry is one whose result is known.
    pub fn adopt(&mut self, log_id: LogId, catalogue: Arc<Catalogue>) -> EntryReply {
        let revision = catalogue.revision();
        (self.last_applied, self.catalogue) = (Some(log_id), catalogue);
        EntryReply::Applied { revision }
    }

    /// All of a batch or nothing: its change sets were accepted one on top of the other.
    fn change(
        &mut self,
        index: u64,
        base_revision: u64,
        (commands, bodies): (&[Vec<u8>], &Bodies),
    ) -> Result<EntryReply, ApplyError> {
        let stale = EntryReply::Stale { revision: self.catalogue.revision() };
        if base_revision != self.catalogue.revision() {
            return Ok(stale);
        }
        let mut catalogue = Catalogue::clone(&self.catalogue);
        for (position, bytes) in (0u32..).zip(commands) {
            let mut command = Command::decode(bytes)?;
            let Command::Propose(propose) = &mut command;
            let missing = bodies::fill(&mut propose.change_set, bodies);
            if !missing.is_empty() {
                return Err(ApplyError::Missing(missing));
            }
            // It was validated by the leader on this very revision; checks that differ from one
            // version of the program to the next must not tell nodes apart.
            let place = LogPosition { index, position };
            if apply_in_place(&mut catalogue, &command, place, &NoValidation).is_err() {
                return Ok(stale);
            }
        }
        let revision = catalogue.revision();
        self.catalogue = Arc::new(catalogue);
        Ok(EntryReply::Applied { revision })
    }

    fn allocate(&mut self, request_id: String) -> EntryReply {
        let pending = &mut self.cluster.pending;
        if let Some((id, _)) = pending.iter().find(|(_, request)| **request == request_id) {
            return EntryReply::Allocated { node_id: *id };
        }
        if pending.len() >= PENDING_NODES_MAX {
            let detail = format!("{PENDING_NODES_MAX} node ids were given and wait to be used");
            return EntryReply::Refused { detail };
        }
        let node_id = self.cluster.next_node_id;
        self.cluster.next_node_id = node_id.saturating_add(1);
        pending.insert(node_id, request_id);
        EntryReply::Allocated { node_id }
    }
}

#[cfg(test)]
mod tests;
