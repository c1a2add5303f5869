//! Changes that a node may make without a person: a short list, checked by the leader.
//!
//! A learner changes nothing by itself. A voter lets nodes in and keeps the audit of the members true;
//! it holds the certificate authority's key for that, so this list stops mistakes and learners, not a
//! hostile voter.

use serde::Deserialize;
use verdict_config::definition::{JOIN_TOKEN_PREFIX, MemberStanding, PendingRotation};
use verdict_config::{Code, ObjectKind};

use crate::catalogue::Catalogue;
use crate::command::{Author, Change, ChangeSet, Op};
use crate::proof::{Denied, Forwarded};
use crate::raft::{MemberCommand, NodeId};

/// The author of what a node does to keep the members and their audit as they were agreed.
pub const DUTY_MEMBERS: &str = "duty:members";

/// The author of what a node does for itself and for the nodes that it lets in.
#[must_use]
pub fn node_author(node_id: NodeId) -> String {
    format!("node:{node_id}")
}

/// What a used token says of its node.
#[derive(Deserialize)]
struct UsedToken {
    voter: bool,
    #[serde(default)]
    used_by: Option<(u64, String)>,
    #[serde(default)]
    replaces: Option<u64>,
}

fn denied<T>(detail: String) -> Result<T, Denied> {
    Err(Denied::new(Code::ProofMissing, detail))
}

fn votes(forwarded: &Forwarded<'_>) -> bool {
    forwarded.members.get(forwarded.from).is_some_and(|member| member.voter)
}

/// Checks a change set that a node brings by itself; its author.
///
/// # Errors
/// [`Code::ProofMissing`] that says what the node may not do.
pub fn node_may_change(forwarded: &Forwarded<'_>, set: &ChangeSet) -> Result<Author, Denied> {
    let from = forwarded.from;
    if !votes(forwarded) {
        return denied(format!(
            "node {from} is a learner: it brings no change without a person's proof"
        ));
    }
    let joins = node_author(from);
    let is_duty = forwarded.claimed.name == DUTY_MEMBERS;
    let allowed = |change: &Change| {
        let token = change.kind == ObjectKind::Member
            && change.op == Op::Put
            && change.name.starts_with(JOIN_TOKEN_PREFIX);
        MemberStanding::is_named(change.kind, &change.name)
            || PendingRotation::is_named(change.kind, &change.name)
            || (token && !is_duty)
    };
    if let Some(change) = set.changes.iter().find(|change| !allowed(change)) {
        return denied(format!(
            "node {from} may not change {}/{} by itself: the change needs a person's proof",
            change.kind, change.name
        ));
    }
    if set.restores.is_some() {
        return denied(format!("node {from} may not roll back by itself"));
    }
    Ok(Author::named(if is_duty { DUTY_MEMBERS.to_owned() } else { joins }))
}

/// Checks a change of the members that a node asks for by itself.
///
/// # Errors
/// [`Code::ProofMissing`] that says what the node may not do.
pub fn node_may_change_members(
    forwarded: &Forwarded<'_>,
    command: &MemberCommand,
) -> Result<(), Denied> {
    let from = forwarded.from;
    let own_place = matches!(
        command, MemberCommand::SetAttributes { node_id, .. } if *node_id == from
    );
    if own_place {
        return Ok(());
    }
    if !votes(forwarded) {
        return denied(format!(
            "node {from} is a learner: it changes no member without a person's proof"
        ));
    }
    match *command {
        MemberCommand::Allocate { .. }
        | MemberCommand::AddLearner { .. }
        | MemberCommand::SetAttributes { .. } => Ok(()),
        MemberCommand::Promote { node_id } => by_token(forwarded.catalogue, node_id, None),
        MemberCommand::Replace { node_id, by } => by_token(forwarded.catalogue, by, Some(node_id)),
        MemberCommand::Remove { .. } | MemberCommand::RaiseVersion { .. } => {
            denied(format!("node {from} may not do this by itself: it needs a person's proof"))
        }
    }
}

/// Whether the token that a node joined with says what becomes of it.
fn by_token(catalogue: &Catalogue, node_id: u64, replaces: Option<u64>) -> Result<(), Denied> {
    let mut objects = catalogue.of_kind(ObjectKind::Member);
    let says_so = objects.any(|object| {
        object.id.name.as_str().starts_with(JOIN_TOKEN_PREFIX)
            && serde_json::from_slice::<UsedToken>(&object.body).is_ok_and(|token| {
                token.used_by.is_some_and(|(used_by, _)| used_by == node_id)
                    && (token.voter || replaces.is_some())
                    && token.replaces == replaces
            })
    });
    if says_so {
        return Ok(());
    }
    denied(format!("no token says that node {node_id} becomes this: it needs a person's proof"))
}
