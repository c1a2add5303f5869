//! What a change of the members would make of them, or why it may not be made. Pure: a dry run shows
//! it, and the change itself is checked by it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::core::Core;
use super::super::types::NodeId;
use super::{MemberCommand, Members, MembershipError, refused};

/// How far behind a learner may be when it is made a voter, in entries.
const PROMOTE_LAG_MAX: u64 = 1_000;

/// A member before or after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct PlannedMember {
    /// Its id.
    pub node_id: NodeId,
    /// Whether it votes.
    pub voter: bool,
}

/// What a change would make of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPlan {
    /// The node that leads, and planned it.
    pub leader: NodeId,
    /// The members now, by id.
    pub before: Vec<PlannedMember>,
    /// The members after it, by id.
    pub after: Vec<PlannedMember>,
}

impl MemberPlan {
    /// Whether the members are already what they would become.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.before == self.after
    }
}

/// What the leader knows when it plans.
pub(super) struct Seen {
    leader: NodeId,
    members: Members,
    /// Index of the last entry of its log.
    last_index: u64,
    /// Up to which index each member has the log.
    matched: BTreeMap<NodeId, u64>,
    /// The members that were heard from lately; the leader is one of them.
    heard: BTreeSet<NodeId>,
}

impl Seen {
    pub(super) fn of(core: &Core) -> Self {
        let members = core.members();
        let metrics = core.metrics();
        let replication = metrics.replication.unwrap_or_default();
        let matched =
            replication.into_iter().map(|(id, matched)| (id, matched.map_or(0, |id| id.index)));
        let recent = core.options.election_timeout_max * 2 + Duration::from_secs(1);
        let is_heard = |id: &NodeId| {
            *id == core.node_id || core.network.heard_ago(*id).is_some_and(|ago| ago < recent)
        };
        let ids = members.members.iter().map(|member| member.node_id);
        Self {
            leader: core.node_id,
            last_index: metrics.last_log_index.unwrap_or(0),
            matched: matched.collect(),
            heard: ids.filter(is_heard).collect(),
            members,
        }
    }

    fn voters(&self) -> impl Iterator<Item = NodeId> {
        self.members.members.iter().filter(|member| member.voter).map(|member| member.node_id)
    }

    /// Whether a member may vote: it does already, or has caught up.
    fn check_promotion(&self, node_id: NodeId) -> Result<(), MembershipError> {
        match self.members.get(node_id) {
            None => return refused(no_member(node_id)),
            Some(member) if member.voter => return Ok(()),
            Some(_) => {}
        }
        let (last, matched) = (self.last_index, self.matched.get(&node_id).copied().unwrap_or(0));
        if last.saturating_sub(matched) > PROMOTE_LAG_MAX {
            return refused(format!(
                "node {node_id} is at entry {matched} of {last}: it must catch up"
            ));
        }
        Ok(())
    }

    /// Voters that are to decide must have a majority that is heard from.
    fn check_majority(&self, voters: &BTreeSet<NodeId>) -> Result<(), MembershipError> {
        let alive = voters.intersection(&self.heard).count();
        let needed = voters.len() / 2 + 1;
        if alive < needed {
            return refused(format!(
                "of the {} voters that would remain, {alive} can be reached and {needed} are needed",
                voters.len()
            ));
        }
        Ok(())
    }
}

/// What becomes of the members.
pub(super) fn plan(seen: &Seen, command: &MemberCommand) -> Result<MemberPlan, MembershipError> {
    let now: BTreeMap<NodeId, bool> =
        seen.members.members.iter().map(|member| (member.node_id, member.voter)).collect();
    let mut next = now.clone();
    if seen.members.changing {
        // Half of it would be shown; whoever leads ends it first.
        return Err(MembershipError::InProgress);
    }
    match *command {
        MemberCommand::Promote { node_id } => {
            seen.check_promotion(node_id)?;
            next.insert(node_id, true);
        }
        MemberCommand::Remove { node_id } => {
            if next.remove(&node_id) == Some(true) {
                let remain: BTreeSet<NodeId> = seen.voters().filter(|id| *id != node_id).collect();
                if remain.is_empty() {
                    return refused("the last voter cannot be removed");
                }
                seen.check_majority(&remain)?;
            }
        }
        MemberCommand::Replace { node_id, by } => {
            if !now.contains_key(&node_id) {
                // Said again after it was done.
                let done = now.get(&by) == Some(&true);
                return if done {
                    Ok(planned(seen, &now, &now))
                } else {
                    refused(no_member(node_id))
                };
            }
            if node_id == by {
                return refused("a node cannot take its own place");
            }
            if node_id == seen.leader {
                return refused("the node that leads is not replaced: hand its lead over first");
            }
            if next.remove(&node_id) != Some(true) {
                return refused(format!("node {node_id} is a learner: remove it, and add another"));
            }
            seen.check_promotion(by)?;
            next.insert(by, true);
            let voters = next.iter().filter(|(_, votes)| **votes).map(|(id, _)| *id);
            seen.check_majority(&voters.collect())?;
        }
        MemberCommand::Allocate { .. }
        | MemberCommand::AddLearner { .. }
        | MemberCommand::SetAttributes { .. }
        | MemberCommand::RaiseVersion { .. } => {
            return refused("only promotions, removals and replacements are planned");
        }
    }
    Ok(planned(seen, &now, &next))
}

fn planned(
    seen: &Seen,
    before: &BTreeMap<NodeId, bool>,
    after: &BTreeMap<NodeId, bool>,
) -> MemberPlan {
    let list = |members: &BTreeMap<NodeId, bool>| {
        members.iter().map(|(&node_id, &voter)| PlannedMember { node_id, voter }).collect()
    };
    MemberPlan { leader: seen.leader, before: list(before), after: list(after) }
}

fn no_member(node_id: NodeId) -> String {
    format!("node {node_id} is no member")
}

#[cfg(test)]
mod tests {
    use super::super::Member;
    use super::*;
    use crate::raft::types::NodeAttributes;

    /// Members 1 to 4: the first leads, the last is a learner; `heard` were heard from.
    fn seen(heard: &[NodeId], learner_at: u64) -> Seen {
        let member = |node_id| Member {
            node_id,
            voter: node_id != 4,
            attributes: NodeAttributes::default(),
        };
        let members = Members { members: (1..=4).map(member).collect(), ..Members::default() };
        Seen {
            leader: 1,
            members,
            last_index: 5_000,
            matched: BTreeMap::from([(2, 5_000), (3, 5_000), (4, learner_at)]),
            heard: heard.iter().copied().collect(),
        }
    }

    fn after(seen: &Seen, command: MemberCommand) -> Result<Vec<(NodeId, bool)>, String> {
        let plan = plan(seen, &command).map_err(|error| error.to_string())?;
        let list = |members: &[PlannedMember]| -> Vec<(NodeId, bool)> {
            members.iter().map(|member| (member.node_id, member.voter)).collect()
        };
        assert_eq!(list(&plan.before), [(1, true), (2, true), (3, true), (4, false)]);
        assert_eq!(plan.is_done(), plan.before == plan.after);
        Ok(list(&plan.after))
    }

    const PROMOTE: MemberCommand = MemberCommand::Promote { node_id: 4 };

    #[test]
    fn a_learner_votes_once_it_has_caught_up() {
        let all = [1, 2, 3, 4];
        let voting = vec![(1, true), (2, true), (3, true), (4, true)];
        assert_eq!(after(&seen(&all, 4_000), PROMOTE), Ok(voting));
        let lags = after(&seen(&all, 3_999), PROMOTE).expect_err("it lags");
        assert!(lags.contains("3999 of 5000"), "{lags}");
        let same = vec![(1, true), (2, true), (3, true), (4, false)];
        assert_eq!(after(&seen(&all, 0), MemberCommand::Promote { node_id: 2 }), Ok(same));
        let nobody = after(&seen(&all, 0), MemberCommand::Promote { node_id: 9 });
        assert_eq!(nobody, Err("node 9 is no member".to_owned()));
    }

    #[test]
    fn nothing_is_removed_below_a_majority_that_is_heard_from() {
        let remove = |node_id| MemberCommand::Remove { node_id };
        let two = vec![(1, true), (2, true), (4, false)];
        assert_eq!(after(&seen(&[1, 2], 0), remove(3)), Ok(two));
        let refused = after(&seen(&[1, 3], 0), remove(3)).expect_err("2 is silent");
        assert!(refused.contains("2 voters") && refused.contains("1 can be reached"), "{refused}");
        // A learner counts for no majority; whoever is gone already is gone.
        let three = vec![(1, true), (2, true), (3, true)];
        assert_eq!(after(&seen(&[1], 0), remove(4)), Ok(three));
        assert_eq!(after(&seen(&[1], 0), remove(9)).map(|members| members.len()), Ok(4));

        let mut changing = seen(&[1, 2, 3], 0);
        changing.members.changing = true;
        assert_eq!(plan(&changing, &remove(3)), Err(MembershipError::InProgress));
        let mut alone = seen(&[1], 0);
        alone.members.members.truncate(1);
        let last = plan(&alone, &remove(1)).expect_err("it is the last");
        assert_eq!(last.to_string(), "the last voter cannot be removed");
    }

    #[test]
    fn a_learner_takes_a_voters_place_in_one_change() {
        let replace = |node_id, by| MemberCommand::Replace { node_id, by };
        let taken = vec![(1, true), (2, true), (4, true)];
        assert_eq!(after(&seen(&[1, 2, 4], 5_000), replace(3, 4)), Ok(taken));
        let cases = [
            (seen(&[1], 5_000), replace(3, 4), "can be reached"),
            (seen(&[1, 2, 4], 10), replace(3, 4), "it must catch up"),
            (seen(&[1, 2, 4], 5_000), replace(1, 4), "hand its lead over"),
            (seen(&[1, 2, 4], 5_000), replace(4, 2), "is a learner"),
            (seen(&[1, 2, 4], 5_000), replace(3, 3), "its own place"),
            (seen(&[1, 2, 4], 5_000), replace(9, 4), "no member"),
        ];
        for (seen, command, reason) in cases {
            let refused = after(&seen, command).expect_err(reason);
            assert!(refused.contains(reason), "{refused}");
        }
        // Said again after it was done.
        let done = plan(&seen(&[1, 2], 0), &replace(9, 2)).expect("it is done");
        assert!(done.is_done());
    }
}
