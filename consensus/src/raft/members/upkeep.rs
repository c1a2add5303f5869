//! What the leader does about the members by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;

use super::super::core::{Core, Leadership};
use super::super::messages::{Answer, RequestBody};
use super::super::transport::{Peer, PeerChannel};
use super::{MemberCommand, MembershipError, carry_out, change, refused};

/// How long a member may take to say which commands it knows.
const VERSION_WITHIN: Duration = Duration::from_secs(1);

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
