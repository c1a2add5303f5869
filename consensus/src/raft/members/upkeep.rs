//! What the leader does about the members by itself, and changes of more than one step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;

use super::super::core::{Core, Leadership};
use super::super::messages::{Answer, RequestBody};
use super::super::transport::{Peer, PeerChannel};
use super::super::types::NodeId;
use super::checks::{check_majority, check_promotion};
use super::{MemberAnswer, MemberCommand, MembershipError, carry_out, change, refused};

/// How long a member may take to say which commands it knows.
const VERSION_WITHIN: Duration = Duration::from_secs(1);

/// Puts a learner in the place of a voter.
pub(super) async fn replace(
    core: &Core,
    node_id: NodeId,
    by: NodeId,
) -> Result<MemberAnswer, MembershipError> {
    let members = core.members();
    let voters = || members.members.iter().filter(|member| member.voter).map(|m| m.node_id);
    if members.get(node_id).is_none() {
        // Said again after it was done.
        let done = members.get(by).is_some_and(|member| member.voter);
        return if done { Ok(MemberAnswer::Done) } else { refused(no_member(node_id)) };
    }
    if node_id == by {
        return refused("a node cannot take its own place");
    }
    if node_id == core.node_id {
        return refused("the node that leads is not replaced: hand its lead over first");
    }
    if !voters().any(|voter| voter == node_id) {
        return refused(format!("node {node_id} is a learner: remove it, and add another"));
    }
    let is_voter = check_promotion(core, by)?;
    let next: BTreeSet<NodeId> =
        voters().filter(|voter| *voter != node_id).chain(std::iter::once(by)).collect();
    let next_list: Vec<NodeId> = next.iter().copied().collect();
    check_majority(core, &next_list)?;
    if is_voter {
        return change(core, ChangeMembers::RemoveVoters(BTreeSet::from([node_id]))).await;
    }
    change(core, ChangeMembers::ReplaceAllVoters(next)).await
}

fn no_member(node_id: NodeId) -> String {
    format!("node {node_id} is no member")
}

/// Whether every member knows commands of a version. One that cannot be asked may not.
pub(super) async fn all_know(core: &Core, version: u16) -> Result<(), MembershipError> {
    if core.options.version < version {
        return refused(format!("this program knows commands up to {}", core.options.version));
    }
    for member in core.members().members {
        let node_id = member.node_id;
        if node_id == core.node_id {
            continue;
        }
        let peer = Peer { node_id, attributes: Arc::new(member.attributes) };
        let body = RequestBody::Version;
        match core.network.ask(&peer, PeerChannel::Forward, body, VERSION_WITHIN).await {
            Ok(Answer::Version { version: known }) if known >= version => {}
            Ok(Answer::Version { version: known }) => {
                return refused(format!("node {node_id} knows commands up to version {known}"));
            }
            // A program from before there was a question does not understand it.
            _ => return refused(format!("node {node_id} did not say which commands it knows")),
        }
    }
    Ok(())
}

/// Ends a change that a leader of before has left half done, and raises the version of the cluster
/// once every member knows a higher one.
pub(in crate::raft) async fn look_after(core: &Core) {
    if !matches!(core.leadership(), Leadership::Here(_)) {
        return;
    }
    if core.members().changing {
        // A change that changes nothing takes the second step of the one that was begun.
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        let ended = tokio::time::timeout(core.options.timeout, change(core, nothing)).await;
        tracing::debug!(?ended, "a change of members was half done");
    }
    let version = core.options.version;
    if core.shared.machine().cluster.version < version {
        let raising = carry_out(core, MemberCommand::RaiseVersion { version });
        match tokio::time::timeout(core.options.timeout, raising).await {
            Ok(Ok(_)) => tracing::info!(version, "the cluster uses commands of a new version"),
            Ok(Err(error)) => tracing::debug!(version, %error, "the version stays"),
            Err(_) => tracing::debug!(version, "the version stays"),
        }
    }
}
