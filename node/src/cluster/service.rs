//! What other nodes ask of this one.

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use verdict_actors::blobs::Held;
use verdict_actors::outbox::Kept;
use verdict_actors::readiness::Needs;
use verdict_actors::{Handle, NodeHoldings};
use verdict_config::Code;
use verdict_consensus::peers::{
    DecisionRead, FOLDER_PIECE_BYTES, JoinAnswer, JoinRequest, NodeAnswer, NodeRequest, Order,
    PeerService, Secret, ServiceFuture,
};
use verdict_consensus::{COMMAND_VERSION, ContentHash, Denied, Log, PeerChannel, StoredBody};

use super::{Cluster, orders};

/// Answers other nodes.
pub struct ClusterService {
    cluster: Cluster,
    runtime: Handle,
    tasks: TaskTracker,
}

impl ClusterService {
    /// Answers for a node; what goes on after an answer runs among `tasks`.
    #[must_use]
    pub const fn new(cluster: Cluster, runtime: Handle, tasks: TaskTracker) -> Self {
        Self { cluster, runtime, tasks }
    }

    /// The refusal of what a node asks in the form of before requests needed proof, or may not ask.
    fn without_proof(&self, from: u64, request: &NodeRequest) -> Option<Denied> {
        if !self.cluster.log().needs_proof() {
            return None;
        }
        let members = self.cluster.log().members();
        let voter = members.get(from).is_some_and(|member| member.voter);
        let refused = match request {
            NodeRequest::Decision { .. }
            | NodeRequest::EraseUnit { .. }
            | NodeRequest::KeepErasure { .. }
            | NodeRequest::PendingErasures { .. }
            | NodeRequest::CertifyOperator { .. } => true,
            NodeRequest::StandForElection => !voter,
            _ => false,
        };
        refused.then(|| {
            tracing::warn!(from, ?request, "a request without a person's proof is refused");
            let detail = format!("node {from} may not ask for this without a person's proof");
            Denied::new(Code::ProofMissing, detail)
        })
    }

    async fn erase(&self, unit: &str) -> NodeAnswer {
        match self.runtime.erase_unit(unit).await {
            Ok(found) => NodeAnswer::Erased { found },
            Err(error) => NodeAnswer::Refused { detail: error.to_string() },
        }
    }

    async fn read(&self, id: &str, read: DecisionRead) -> NodeAnswer {
        let (status, body) = if self.cluster.is_settled() {
            crate::http::read_for_peer(&self.runtime, id, read).await
        } else {
            crate::http::starting()
        };
        NodeAnswer::Http { status, body }
    }

    /// Keeps a signed erasure for nodes that are away.
    async fn keep_order(&self, from: u64, sealed: Vec<u8>, nodes: Vec<u64>) -> NodeAnswer {
        let unit = match self.cluster.read_order(from, &sealed) {
            Ok(Order::EraseUnit { unit }) => unit,
            Ok(Order::ReadDecision { .. }) => {
                let detail = "only erasures are kept".to_owned();
                return NodeAnswer::Refused { detail };
            }
            Err(denied) => return orders::denial(denied),
        };
        let members = self.cluster.log().members();
        let known = |node_id: &u64| members.get(*node_id).is_some();
        let nodes = nodes.into_iter().filter(known).collect();
        match self.cluster.keep_for(nodes, vec![Kept::order(unit, &sealed)]).await {
            Ok(()) => NodeAnswer::Done,
            Err(error) => NodeAnswer::Refused { detail: error.to_string() },
        }
    }

    async fn node_request(&self, from: u64, request: &[u8]) -> NodeAnswer {
        let refused = |detail: String| NodeAnswer::Refused { detail };
        let members = self.cluster.log().members();
        let is_voter = |node_id| members.get(node_id).is_some_and(|member| member.voter);
        if members.get(from).is_none() {
            return refused(format!("node {from} is no member"));
        }
        let request = match NodeRequest::decode(request) {
            Ok(request) => request,
            Err(error) => return refused(error.to_string()),
        };
        if let Some(denied) = self.without_proof(from, &request) {
            return orders::denial(denied);
        }
        match request {
            NodeRequest::KeepAuthority { key_pem } => {
                if !is_voter(from) {
                    return refused("only a voter gives the authority away".to_owned());
                }
                match self.cluster.keep_authority(key_pem) {
                    Ok(()) => NodeAnswer::Done,
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::Decision { id, read } => self.read(&id, read).await,
            NodeRequest::Outcomes { json } => {
                let (status, body) = crate::http::record_for_peer(&self.runtime, &json).await;
                NodeAnswer::Http { status, body }
            }
            NodeRequest::EraseUnit { unit } => self.erase(&unit).await,
            NodeRequest::SignOrder { order, proof } => {
                match self.cluster.sign_for(from, &order, &proof.into()) {
                    Ok(sealed) => NodeAnswer::Order { sealed },
                    Err(error) => orders::denial_of(error),
                }
            }
            NodeRequest::CarryOut { sealed } => match self.cluster.read_order(from, &sealed) {
                Ok(Order::EraseUnit { unit }) => self.erase(&unit).await,
                Ok(Order::ReadDecision { id, read, .. }) => self.read(&id, read).await,
                Err(denied) => orders::denial(denied),
            },
            NodeRequest::KeepOrder { sealed, nodes } => self.keep_order(from, sealed, nodes).await,
            NodeRequest::PendingOrders { after } => {
                match self.cluster.orders_of(from, after).await {
                    Ok(orders) => NodeAnswer::Orders(orders),
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::CertifyProved { name, public_key, proof } => {
                match self.cluster.certify_for(from, &name, (&public_key, &proof.into())) {
                    Ok(der) => NodeAnswer::Certificate { der },
                    Err(error) => orders::denial_of(error),
                }
            }
            NodeRequest::CertifyOperator { name, public_key } => {
                match self.cluster.sign_operator(&name, &public_key) {
                    Some(Ok(der)) => NodeAnswer::Certificate { der },
                    Some(Err(error)) => refused(error.to_string()),
                    None => refused("this node has no key of the authority".to_owned()),
                }
            }
            NodeRequest::CertifyNode { public_key } => {
                match self.cluster.sign_node(from, &public_key) {
                    Some(Ok(der)) => NodeAnswer::Certificate { der },
                    Some(Err(error)) => refused(error.to_string()),
                    None => refused("this node has no key of the authority".to_owned()),
                }
            }
            NodeRequest::KeepNextAuthority { .. } | NodeRequest::AuthorityKey { .. }
                if !is_voter(from) =>
            {
                refused("only voters have the authority's keys".to_owned())
            }
            NodeRequest::KeepNextAuthority { certificate, key_pem: Secret(key_pem) } => {
                if !is_voter(self.cluster.node_id()) {
                    return refused("this node does not vote".to_owned());
                }
                match self.cluster.keep_spare(certificate, key_pem) {
                    Ok(()) => NodeAnswer::Done,
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::AuthorityKey { certificate } => {
                match self.cluster.authority_key(&certificate) {
                    Some(key_pem) => NodeAnswer::AuthorityKey(Secret(key_pem)),
                    None => refused("this node has no key of this authority".to_owned()),
                }
            }
            NodeRequest::AuthorityState => {
                NodeAnswer::AuthorityState(self.cluster.authority_state())
            }
            NodeRequest::KeepErasure { unit, nodes } => {
                let known = |node_id: &u64| members.get(*node_id).is_some();
                let nodes = nodes.into_iter().filter(known).collect();
                match self.cluster.keep_for(nodes, vec![Kept::Erasure(unit)]).await {
                    Ok(()) => NodeAnswer::Done,
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::PendingErasures { after } => {
                match self.cluster.erasures_of(from, after).await {
                    Ok(units) => NodeAnswer::Erasures(units),
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::DescribeFolder { hash } => match self.runtime.describe_model(hash).await {
                Ok(files) => NodeAnswer::Folder(
                    files.into_iter().map(|file| (file.path, file.sha256, file.size)).collect(),
                ),
                Err(error) => refused(error.to_string()),
            },
            NodeRequest::FolderPiece { hash, path, offset } => {
                let span = (offset, FOLDER_PIECE_BYTES);
                match self.runtime.model_piece((hash, path), span).await {
                    Ok(bytes) => NodeAnswer::Piece(bytes),
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::ObjectPiece { hash, offset } => {
                match self.runtime.object_piece(hash, (offset, FOLDER_PIECE_BYTES)).await {
                    Ok(bytes) => NodeAnswer::Piece(bytes),
                    Err(error) => refused(error.to_string()),
                }
            }
            NodeRequest::Prepare { models, objects } => {
                let object = |(hash, bytes)| StoredBody { hash: ContentHash(hash), bytes };
                let objects = objects.into_iter().map(object).collect();
                NodeAnswer::Prepared(self.runtime.prepare(&Needs { models, objects }, Some(from)))
            }
            NodeRequest::Holdings => match self.runtime.holdings().await {
                Ok(NodeHoldings { held, loaded }) => NodeAnswer::Holdings {
                    folders: held
                        .folders
                        .into_iter()
                        .map(|Held { hash, bytes }| (hash.clone(), bytes, loaded.contains(&hash)))
                        .collect(),
                    objects: held.objects.into_iter().map(|body| (body.hash, body.bytes)).collect(),
                    left_out: held.left_out,
                },
                Err(error) => refused(error.to_string()),
            },
            NodeRequest::CommandVersion => NodeAnswer::CommandVersion(COMMAND_VERSION),
            NodeRequest::StandForElection => match self.cluster.log().elect().await {
                Ok(()) => NodeAnswer::Done,
                Err(error) => refused(error.to_string()),
            },
        }
    }
}

impl PeerService for ClusterService {
    fn answer(&self, from: u64, channel: PeerChannel, request: Vec<u8>) -> ServiceFuture<'_> {
        Box::pin(async move {
            match channel {
                PeerChannel::Raft | PeerChannel::Snapshot | PeerChannel::Forward => {
                    self.cluster.log().peer_handler().answer(from, &request).await
                }
                PeerChannel::Blob => {
                    self.node_request(from, &request).await.encode().unwrap_or_default()
                }
            }
        })
    }

    fn is_removed(&self, node: u64) -> bool {
        self.cluster.log().is_removed(node)
    }

    fn removals(&self) -> Option<watch::Receiver<u64>> {
        Some(self.cluster.log().watch_removals())
    }

    fn join(&self, certificate: Option<Vec<u8>>, request: Vec<u8>) -> ServiceFuture<'_> {
        Box::pin(async move {
            let answer = match JoinRequest::decode(&request) {
                Ok(request) => self.cluster.admit(request, certificate, &self.tasks).await,
                Err(error) => JoinAnswer::Refused { detail: error.to_string(), retryable: false },
            };
            answer.encode().unwrap_or_default()
        })
    }
}
