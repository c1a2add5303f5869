//! What must hold before the members change.

use std::time::Duration;

use super::super::core::Core;
use super::super::types::NodeId;
use super::{MembershipError, refused};

/// How far behind a learner may be when it is made a voter, in entries.
const PROMOTE_LAG_MAX: u64 = 1_000;

/// Whether it is a voter already.
pub(super) fn check_promotion(core: &Core, node_id: NodeId) -> Result<bool, MembershipError> {
    let members = core.members();
    match members.get(node_id) {
        None => return refused(format!("node {node_id} is no member")),
        Some(member) if member.voter => return Ok(true),
        Some(_) => {}
    }
    let metrics = core.metrics();
    let last = metrics.last_log_index.unwrap_or(0);
    let replication = metrics.replication.unwrap_or_default();
    let matched = replication.get(&node_id).copied().flatten().map_or(0, |id| id.index);
    if last.saturating_sub(matched) > PROMOTE_LAG_MAX {
        return refused(format!(
            "node {node_id} is at entry {matched} of {last}: it must catch up"
        ));
    }
    Ok(false)
}

pub(super) enum Removal {
    Voter,
    Learner,
    Absent,
}

/// A voter goes only if those that remain and are heard from still make a majority.
pub(super) fn check_removal(core: &Core, node_id: NodeId) -> Result<Removal, MembershipError> {
    let members = core.members();
    match members.get(node_id) {
        None => return Ok(Removal::Absent),
        Some(member) if !member.voter => return Ok(Removal::Learner),
        Some(_) => {}
    }
    let remain: Vec<NodeId> = members
        .members
        .iter()
        .filter(|member| member.voter && member.node_id != node_id)
        .map(|member| member.node_id)
        .collect();
    if remain.is_empty() {
        return refused("the last voter cannot be removed");
    }
    check_majority(core, &remain)?;
    Ok(Removal::Voter)
}

/// Voters that are to decide must have a majority that is heard from.
pub(super) fn check_majority(core: &Core, voters: &[NodeId]) -> Result<(), MembershipError> {
    let alive = |id: &&NodeId| {
        let recent = core.options.election_timeout_max * 2 + Duration::from_secs(1);
        **id == core.node_id || core.network.heard_ago(**id).is_some_and(|ago| ago < recent)
    };
    let (alive, needed) = (voters.iter().filter(alive).count(), voters.len() / 2 + 1);
    if alive < needed {
        return refused(format!(
            "of the {} voters that would remain, {alive} can be reached and {needed} are needed",
            voters.len()
        ));
    }
    Ok(())
}
