//! A network inside one process, with links that can be cut: for tests, and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::handler::PeerHandler;
use super::transport::{Peer, PeerChannel, PeerError, PeerFuture, PeerTransport};
use super::types::NodeId;

#[derive(Default)]
struct Links {
    handlers: BTreeMap<NodeId, PeerHandler>,
    /// Directed: (from, to).
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// A network inside one process. Clones are the same network.
#[derive(Clone, Default)]
pub struct InProcessNetwork {
    links: Arc<Mutex<Links>>,
}

impl InProcessNetwork {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a node reachable.
    pub fn join(&self, node_id: NodeId, handler: PeerHandler) {
        self.links.lock().handlers.insert(node_id, handler);
    }

    /// Makes a node unreachable, as its end does.
    pub fn leave(&self, node_id: NodeId) {
        self.links.lock().handlers.remove(&node_id);
    }

    /// Cuts the link from one node to another, in that direction.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.links.lock().cut.insert((from, to));
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&self, node_id: NodeId) {
        let mut links = self.links.lock();
        let others: Vec<NodeId> = links.handlers.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != node_id) {
            links.cut.extend([(node_id, other), (other, node_id)]);
        }
    }

    /// Mends every link.
    pub fn heal(&self) {
        self.links.lock().cut.clear();
    }

    /// The way of one node into the network.
    #[must_use]
    pub fn transport(&self, node_id: NodeId) -> Arc<dyn PeerTransport> {
        Arc::new(InProcessTransport { network: self.clone(), node_id })
    }

    fn handler(&self, from: NodeId, to: NodeId) -> Result<PeerHandler, PeerError> {
        let links = self.links.lock();
        if links.cut.contains(&(from, to)) {
            return Err(PeerError::Unreachable(format!("the link to node {to} is cut")));
        }
        let handler = links.handlers.get(&to).cloned();
        handler.ok_or_else(|| PeerError::Unreachable(format!("node {to} is not there")))
    }
}

struct InProcessTransport {
    network: InProcessNetwork,
    node_id: NodeId,
}

impl PeerTransport for InProcessTransport {
    fn call(&self, peer: Peer, _: PeerChannel, request: Vec<u8>, _: Duration) -> PeerFuture<'_> {
        Box::pin(async move {
            let handler = self.network.handler(self.node_id, peer.node_id)?;
            let answer = handler.answer(self.node_id, &request).await;
            // The answer takes the other direction, which may be cut meanwhile.
            let back = self.network.handler(peer.node_id, self.node_id);
            back.map_err(|error| PeerError::NoAnswer(error.to_string()))?;
            Ok(answer)
        })
    }
}
