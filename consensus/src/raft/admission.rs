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
    /// The voters whose word counts.
    fn naming(&self) -> Vec<BTreeSet<NodeId>> {
        if self.voters.iter().any(|set| !set.is_empty()) {
            return self.voters.clone();
        }
        vec![self.root.clone()]
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
    let named = view.voters.iter().any(|set| set.contains(&sender));
    if named || view.committed.contains(&sender) || view.named == Some(sender) {
        return Admission::Admit;
    }
    let naming = view.naming();
    let knows_nobody = naming.iter().all(BTreeSet::is_empty);
    let joined = view.voters.iter().all(BTreeSet::is_empty) && !view.root.is_empty();
    if knows_nobody || !(view.strict || joined) {
        // A log without a membership, made by a program of before, or the rules of before.
        return Admission::Admit;
    }
    if joined && view.root.contains(&sender) {
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
        let voters = {
            let metrics = self.metrics.borrow();
            metrics.membership_config.membership().get_joint_config().clone()
        };
        let root = self.root.read();
        View {
            own: self.own,
            strict: self.is_strict(),
            voters,
            committed: self.shared.committed_voters(),
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
        let empty = View { strict: false, root: set(&[1, 2]), ..view(&[]) };
        assert_eq!(decide(&empty, 1, 1), Admission::Admit);
        assert_eq!(decide(&empty, 9, 9), Admission::Confirm(vec![set(&[1, 2])]));
        // A folder that a program of before made knows nobody.
        assert_eq!(decide(&view(&[]), 9, 9), Admission::Admit);
        // Once it knows the members, the answer to joining counts no more.
        let knows = View { root: set(&[1, 2]), ..view(&[&[5, 6]]) };
        assert_eq!(decide(&knows, 1, 1), Admission::Confirm(vec![set(&[5, 6])]));
    }

    #[test]
    fn an_operator_names_a_leader_where_those_that_are_known_are_gone() {
        let named = View { named: Some(9), ..view(&[&[1, 2, 3]]) };
        assert_eq!(decide(&named, 9, 9), Admission::Admit);
        assert!(matches!(decide(&named, 8, 8), Admission::Confirm(_)));
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
