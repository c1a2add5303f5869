//! Questions to the voters that a node names: do you follow this leader, is this candidate a voter?
//!
//! One inquiry runs at a time, each voter has a second to answer, and an answer is reused for a
//! moment: a leader that this node does not know yet sends heartbeats all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::super::messages::{Answer, RequestBody};
use super::super::network::PeerNetwork;
use super::super::transport::{Peer, PeerChannel};
use super::super::types::{NodeAttributes, NodeId};
use super::{Claim, Standing, is_majority};

/// How long a voter may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// For how long a candidate that was confirmed is taken without asking again.
const CONFIRMED_FOR: Duration = Duration::from_secs(5);
/// The same of a leader of a term. A term has one leader, so that stays true: a node that catches up
/// meets memberships of long ago, whose voters may be gone.
const LEADS_FOR: Duration = Duration::from_secs(86_400);
/// For how long one that was not is refused without asking again.
const REFUSED_FOR: Duration = Duration::from_millis(500);
/// Senders that are remembered; the oldest goes.
const REMEMBERED_MAX: usize = 32;

/// What became of a sender's claim, and until when that is reused.
struct Known {
    confirmed: bool,
    until: Instant,
}

/// Asks voters, and remembers what they answered.
#[derive(Default)]
pub struct Inquiry {
    known: Mutex<BTreeMap<(NodeId, Claim), Known>>,
    turn: tokio::sync::Mutex<()>,
    /// The sender that was refused last, for people.
    refused: Mutex<Option<(NodeId, Instant)>>,
}

impl Inquiry {
    fn known(&self, sender: NodeId, claim: Claim) -> Option<bool> {
        let known = self.known.lock();
        let found = known.get(&(sender, claim))?;
        (Instant::now() < found.until).then_some(found.confirmed)
    }

    fn remember(&self, sender: NodeId, claim: Claim, confirmed: bool) {
        let now = Instant::now();
        let until = now
            + match claim {
                _ if !confirmed => REFUSED_FOR,
                Claim::Lead { .. } => LEADS_FOR,
                Claim::Stand => CONFIRMED_FOR,
            };
        let mut known = self.known.lock();
        known.retain(|_, one| one.until > now);
        if known.len() >= REMEMBERED_MAX
            && let Some(oldest) = known.iter().min_by_key(|(_, one)| one.until).map(|(key, _)| *key)
        {
            known.remove(&oldest);
        }
        known.insert((sender, claim), Known { confirmed, until });
    }

    /// The sender that was refused within a time, where its claim was to lead.
    pub fn refused_within(&self, span: Duration) -> Option<NodeId> {
        self.refused.lock().filter(|(_, at)| at.elapsed() < span).map(|(sender, _)| sender)
    }

    /// Whether a majority of each set of voters confirms what a sender claims.
    pub async fn confirmed(
        &self,
        standing: &Standing,
        network: &Arc<PeerNetwork>,
        (sender, claim): (NodeId, Claim),
        sets: &[BTreeSet<NodeId>],
    ) -> bool {
        if let Some(known) = self.known(sender, claim) {
            return known;
        }
        let _turn = self.turn.lock().await;
        // Another request of this sender may have asked meanwhile.
        if let Some(known) = self.known(sender, claim) {
            return known;
        }
        let confirmed = ask(standing, network, (sender, claim), sets).await;
        self.remember(sender, claim, confirmed);
        if confirmed {
            *self.refused.lock() = None;
            tracing::info!(sender, ?claim, "the voters that this node names confirm a node");
        } else {
            if matches!(claim, Claim::Lead { .. }) {
                *self.refused.lock() = Some((sender, Instant::now()));
            }
            tracing::warn!(
                sender,
                ?claim,
                "a node that is no voter here is refused: the voters do not confirm it"
            );
        }
        confirmed
    }
}

/// Asks all at once, and returns as soon as they are enough.
async fn ask(
    standing: &Standing,
    network: &Arc<PeerNetwork>,
    (sender, claim): (NodeId, Claim),
    sets: &[BTreeSet<NodeId>],
) -> bool {
    let own = standing.own;
    let term = match claim {
        Claim::Lead { term } => Some(term),
        Claim::Stand => None,
    };
    let mut asked = JoinSet::new();
    let voters: BTreeSet<NodeId> = sets.iter().flatten().copied().collect();
    for node_id in voters.into_iter().filter(|id| *id != own && *id != sender) {
        let Some(peer) = peer(standing, node_id) else { continue };
        let network = Arc::clone(network);
        asked.spawn(async move {
            let body = RequestBody::Confirm { node_id: sender, term };
            let answer = network.ask(&peer, PeerChannel::Forward, body, ANSWER_WITHIN).await;
            matches!(answer, Ok(Answer::Confirmed { confirmed: true })).then_some(node_id)
        });
    }
    let mut confirming = BTreeSet::new();
    while let Some(answer) = asked.join_next().await {
        confirming.extend(answer.ok().flatten());
        if is_majority(sets, own, &confirming) {
            return true;
        }
    }
    false
}

/// A voter that this node names, with the address where it is found.
fn peer(standing: &Standing, node_id: NodeId) -> Option<Peer> {
    let known = {
        let metrics = standing.metrics.borrow();
        metrics.membership_config.membership().get_node(&node_id).cloned()
    };
    let of_root = || {
        let peer_address = standing.root.read().voters.get(&node_id)?.clone();
        Some(NodeAttributes { peer_address, ..NodeAttributes::default() })
    };
    let attributes = known.or_else(of_root)?;
    Some(Peer { node_id, attributes: Arc::new(attributes) })
}
