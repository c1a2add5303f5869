//! Admission of other nodes: who may lead, who may stand for election, and who was removed.
//!
//! A certificate proves which node speaks. It does not say what the node may do, and it outlives the
//! node's membership. So votes, entries and snapshots are taken from voters alone:
//!
//! ```text
//!   sender is a voter of the effective or of the committed membership ─> admitted
//!   sender was a member once and is none now                          ─> refused, everywhere
//!   anybody else: this node's log may be behind                       ─> a majority of the voters
//!                                                                        that it names must confirm
//! ```
//!
//! [`decide`] is pure; [`Inquiry`] asks the voters and remembers their answers for a moment.

mod inquiry;
mod root;

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::RaftMetrics;
use tokio::sync::watch;

pub(super) use inquiry::Inquiry;
pub(super) use root::TrustRoot;
pub use root::trust_leader;

use super::state_machine::Shared;
use super::types::{NodeAttributes, NodeId};

/// From this version of the cluster on, members are asked for more than a certificate. Below it a
/// member may run a program that cannot answer what is asked of it.
pub const TRUST_VERSION: u16 = 3;

/// What a sender claims with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// To lead in a term: entries and snapshots.
    Lead {
        /// The term.
        term: u64,
    },
    /// To stand for election.
    Stand,
}

/// What this node knows when it decides.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// This node.
    pub own: NodeId,
    /// Whether the cluster's version asks for more than a certificate.
    pub strict: bool,
    /// Sets of voters: one, or two while the membership changes. Empty while the log is.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// The voters of the last committed membership.
    pub committed: BTreeSet<NodeId>,
    /// Whether the membership has this node. Until then the log of a node that joined is of before it
    /// joined, and names voters that may be long gone.
    pub knows_itself: bool,
    /// The voters that the answer to joining named.
    pub root: BTreeSet<NodeId>,
    /// The leader that an operator named.
    pub named: Option<NodeId>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is taken.
    Admit,
    /// It is refused, for a reason.
    Refuse(&'static str),
    /// It is taken once a majority of these sets of voters has confirmed the sender.
    Confirm(Vec<BTreeSet<NodeId>>),
}

impl View {
    /// Whether this node has joined and its log does not say so yet.
    fn joins(&self) -> bool {
        !self.root.is_empty() && !self.knows_itself
    }

    /// The voters whose word counts: those that let the node in, or the leader that an operator named,
    /// or those of the log.
    fn naming(&self) -> Vec<BTreeSet<NodeId>> {
        match self.named {
            _ if self.joins() => vec![self.root.clone()],
            Some(named) => vec![BTreeSet::from([named])],
            None => self.voters.clone(),
        }
    }
}

/// Whether these nodes are a majority in each set of voters. This node counts where it votes, as in
/// an election; its word alone is no confirmation.
pub fn is_majority(sets: &[BTreeSet<NodeId>], own: NodeId, nodes: &BTreeSet<NodeId>) -> bool {
    let agrees = |id: &&NodeId| nodes.contains(*id) || **id == own;
    let others = nodes.iter().any(|id| *id != own && sets.iter().any(|set| set.contains(id)));
    others && sets.iter().all(|set| set.iter().filter(agrees).count() > set.len() / 2)
}

/// Decides about votes, entries or a snapshot of `sender` that carry the vote of `candidate`.
pub fn decide(view: &View, sender: NodeId, candidate: NodeId) -> Admission {
    if sender != candidate {
        return Admission::Refuse("the vote is another node's");
    }
    let votes = view.voters.iter().any(|set| set.contains(&sender));
    let known = match view.joins() {
        true => view.root.contains(&sender),
        false => votes || view.committed.contains(&sender) || view.named == Some(sender),
    };
    let naming = view.naming();
    let knows_nobody = naming.iter().all(BTreeSet::is_empty);
    if known || knows_nobody || !(view.strict || view.joins()) {
        // The last two: a log without a membership, made by a program of before; the rules of before.
        return Admission::Admit;
    }
    let others = naming.iter().flatten().any(|id| *id != view.own);
    if others { Admission::Confirm(naming) } else { Admission::Refuse("this node votes alone") }
}

type Metrics = RaftMetrics<NodeId, NodeAttributes>;

/// The membership as this node knows it, read for each decision.
#[derive(Clone)]
pub struct Standing {
    pub(super) own: NodeId,
    pub(super) metrics: watch::Receiver<Metrics>,
    pub(super) shared: Arc<Shared>,
    pub(super) root: Arc<parking_lot::RwLock<TrustRoot>>,
}

impl Standing {
    /// Whether the cluster's version asks for more than a certificate.
    pub fn is_strict(&self) -> bool {
        self.shared.version() >= TRUST_VERSION
    }

    /// What this node knows now.
    pub fn view(&self) -> View {
        let (voters, knows_itself) = {
            let metrics = self.metrics.borrow();
            let members = metrics.membership_config.membership();
            (members.get_joint_config().clone(), members.get_node(&self.own).is_some())
        };
        let root = self.root.read();
        View {
            own: self.own,
            strict: self.is_strict(),
            voters,
            committed: self.shared.committed_voters(),
            knows_itself,
            root: root.voters.keys().copied().collect(),
            named: root.named,
        }
    }

    /// Whether a node's word about votes counts: a learner's does not.
    pub fn may_depose(&self, node_id: NodeId) -> bool {
        let View { strict, voters, committed, .. } = self.view();
        !strict || committed.contains(&node_id) || voters.iter().any(|set| set.contains(&node_id))
    }

    /// Whether a node is a voter, as far as this one knows.
    pub fn is_voter(&self, node_id: NodeId) -> bool {
        self.metrics.borrow().membership_config.membership().voter_ids().any(|id| id == node_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[NodeId]) -> BTreeSet<NodeId> {
        ids.iter().copied().collect()
    }

    fn view(voters: &[&[NodeId]]) -> View {
        View {
            own: 3,
            strict: true,
            voters: voters.iter().map(|ids| set(ids)).collect(),
            knows_itself: true,
            ..View::default()
        }
    }

    #[test]
    fn only_voters_lead_and_in_their_own_name() {
        let known = view(&[&[1, 2, 3]]);
        assert_eq!(decide(&known, 1, 1), Admission::Admit);
        assert!(matches!(decide(&known, 1, 2), Admission::Refuse(_)), "another node's vote");
        assert!(matches!(decide(&known, 4, 1), Admission::Refuse(_)), "a learner for a voter");
        assert_eq!(decide(&known, 4, 4), Admission::Confirm(vec![set(&[1, 2, 3])]));
        // The rules of before ask for a certificate; the name is asked for by both.
        let before = View { strict: false, ..known };
        assert_eq!(decide(&before, 4, 4), Admission::Admit);
        assert!(matches!(decide(&before, 4, 1), Admission::Refuse(_)));
    }

    #[test]
    fn a_leader_that_its_own_entry_removes_ends_what_it_began() {
        let appended = View { committed: set(&[1, 2, 3]), ..view(&[&[2, 3]]) };
        assert_eq!(decide(&appended, 1, 1), Admission::Admit);
        let committed = View { committed: set(&[2, 3]), ..view(&[&[2, 3]]) };
        assert_eq!(decide(&committed, 1, 1), Admission::Confirm(vec![set(&[2, 3])]));
    }

    #[test]
    fn a_node_that_joined_follows_those_that_let_it_in() {
        let empty = View { strict: false, knows_itself: false, root: set(&[1, 2]), ..view(&[]) };
        assert_eq!(decide(&empty, 1, 1), Admission::Admit);
        assert_eq!(decide(&empty, 9, 9), Admission::Confirm(vec![set(&[1, 2])]));
        // The beginning of the log names voters of long ago.
        let begun = View { voters: vec![set(&[8])], committed: set(&[8]), ..empty };
        assert_eq!(decide(&begun, 1, 1), Admission::Admit);
        assert_eq!(decide(&begun, 8, 8), Admission::Confirm(vec![set(&[1, 2])]));
        // A folder that a program of before made knows nobody.
        assert_eq!(decide(&view(&[]), 9, 9), Admission::Admit);
        // Once the log has the node itself, the answer to joining counts no more.
        let knows = View { root: set(&[1, 2]), ..view(&[&[5, 6]]) };
        assert_eq!(decide(&knows, 1, 1), Admission::Confirm(vec![set(&[5, 6])]));
    }

    #[test]
    fn an_operator_names_a_leader_where_those_that_are_known_are_gone() {
        let named = View { named: Some(9), ..view(&[&[1, 2, 3]]) };
        assert_eq!(decide(&named, 9, 9), Admission::Admit);
        // One that follows it in the lead is confirmed by it.
        assert_eq!(decide(&named, 8, 8), Admission::Confirm(vec![set(&[9])]));
        assert!(matches!(decide(&view(&[&[3]]), 9, 9), Admission::Refuse(_)));
    }

    #[test]
    fn a_majority_of_every_set_confirms() {
        let check = |sets: &[&[NodeId]], own, nodes: &[NodeId], expected| {
            let sets: Vec<_> = sets.iter().map(|ids| set(ids)).collect();
            assert_eq!(is_majority(&sets, own, &set(nodes)), expected, "{sets:?} {nodes:?}");
        };
        check(&[&[1, 2, 3]], 3, &[2], true);
        check(&[&[1, 2, 3]], 3, &[], false);
        check(&[&[1, 2, 3]], 3, &[3], false);
        check(&[&[1, 2, 3]], 4, &[2], false);
        check(&[&[1, 2, 3]], 4, &[1, 2], true);
        check(&[&[1, 2, 3, 4, 5]], 5, &[1], false);
        check(&[&[1, 2, 3, 4, 5]], 5, &[1, 2], true);
        check(&[&[1, 2, 3, 4, 5]], 5, &[8, 9], false);
        check(&[&[1, 2, 3], &[3, 4, 5]], 3, &[1], false);
        check(&[&[1, 2, 3], &[3, 4, 5]], 3, &[1, 4], true);
    }
}
