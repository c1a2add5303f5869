//! This node as a member of its cluster.
//!
//! ```text
//!  start: identity? ── none, a token ─> join: a member signs the key, adds the node as a learner
//!             │        none ─────────> a cluster of its own (a log of before the cluster moves in)
//!             └─ open the log, listen for peers ─> service: entries, votes, snapshots, joining
//! ```
//!
//! One node is a cluster of one voter: the same log, the same code, nothing to prepare. Who is a
//! member is what the log says; a certificate only proves which node speaks.

pub mod authority;
pub mod blobs;
pub mod given;
pub mod join;
pub mod members;
pub mod metrics;
pub(crate) mod orders;
pub mod outbox;
pub mod policy;
pub(crate) mod proof;
pub mod recovery;
pub mod rotation;
pub mod service;
pub mod standing;
pub mod start;
pub mod token;
pub mod upkeep;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use verdict_actors::outbox::Outbox;
use verdict_config::Code;
use verdict_consensus::peers::{Authority, KeptIdentity, NodeKey, PeerClients, SharedPeerIdentity};
use verdict_consensus::{
    Log, MembershipError, NodeAttributes, Peer, PeerError, ProposeError, RaftLog, ReadError,
};

use self::proof::ProofGate;

/// How long one member may take to answer another about other things than the log.
pub(crate) const ASK_WITHIN: Duration = Duration::from_secs(5);

/// What the node's parts know of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<RaftLog>,
    clients: Arc<PeerClients>,
    identity: Mutex<KeptIdentity>,
    /// How often `identity` was replaced.
    changed: watch::Sender<u64>,
    /// What connections between nodes are made with.
    tls: SharedPeerIdentity,
    /// Files that `tls` comes from, in place of the cluster's own authority.
    given: Option<given::GivenTls>,
    folder: PathBuf,
    attributes: NodeAttributes,
    outbox: Arc<Outbox>,
    /// The check of what other nodes forward.
    gate: Arc<ProofGate>,
    /// Whether this node knows what it is to erase.
    settled: AtomicBool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Cluster({:?})", self.inner.identity.lock())
    }
}

/// What a node proves itself with: chain and authorities in DER, the key in PKCS#8.
pub(crate) struct IdentityParts {
    pub(crate) cluster_id: String,
    pub(crate) chain: Vec<Vec<u8>>,
    /// That of before, while its authority is trusted; else empty.
    pub(crate) previous_chain: Vec<Vec<u8>>,
    pub(crate) key_pkcs8: Vec<u8>,
    pub(crate) authorities: Vec<Vec<u8>>,
}

/// Why something about the members was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ClusterError {
    /// The stable code.
    pub code: Code,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// Whether trying again could help.
    pub retryable: bool,
}

impl ClusterError {
    pub(crate) fn refused(detail: impl Into<String>) -> Self {
        Self { code: Code::MembershipRefused, detail: detail.into(), retryable: false }
    }
}

impl From<MembershipError> for ClusterError {
    fn from(error: MembershipError) -> Self {
        let (code, retryable) = (error.code(), error.is_retryable());
        Self { code, detail: error.to_string(), retryable }
    }
}

impl From<ProposeError> for ClusterError {
    fn from(error: ProposeError) -> Self {
        let (code, retryable) = (error.code(), error.is_retryable());
        Self { code, detail: error.to_string(), retryable }
    }
}

impl From<ReadError> for ClusterError {
    fn from(error: ReadError) -> Self {
        Self { code: error.code(), detail: error.to_string(), retryable: true }
    }
}

impl From<PeerError> for ClusterError {
    fn from(error: PeerError) -> Self {
        Self { code: Code::PeerUnreachable, detail: error.to_string(), retryable: true }
    }
}

impl Cluster {
    pub(crate) fn new(
        log: Arc<RaftLog>,
        (clients, tls, given): (Arc<PeerClients>, SharedPeerIdentity, Option<given::GivenTls>),
        (folder, identity): (PathBuf, KeptIdentity),
        (attributes, outbox, gate): (NodeAttributes, Outbox, Arc<ProofGate>),
    ) -> Self {
        let (identity, outbox) = (Mutex::new(identity), Arc::new(outbox));
        let (settled, changed) = (AtomicBool::new(false), watch::Sender::new(0));
        let inner = Inner {
            log,
            clients,
            identity,
            changed,
            tls,
            given,
            folder,
            attributes,
            outbox,
            gate,
            settled,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<RaftLog> {
        &self.inner.log
    }

    /// This node.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.inner.log.node_id()
    }

    /// The check of what other nodes forward.
    pub(crate) fn gate(&self) -> &ProofGate {
        &self.inner.gate
    }

    /// The connections to other nodes.
    #[must_use]
    pub fn clients(&self) -> &Arc<PeerClients> {
        &self.inner.clients
    }

    /// From here on decisions of this node are shown: it knows what it is to erase.
    pub(crate) fn settle(&self) {
        self.inner.settled.store(true, Ordering::Release);
    }

    /// Whether decisions of this node are shown.
    pub(crate) fn is_settled(&self) -> bool {
        self.inner.settled.load(Ordering::Acquire)
    }

    /// What the members know of this node.
    #[must_use]
    pub fn attributes(&self) -> &NodeAttributes {
        &self.inner.attributes
    }

    /// What this node proves itself with.
    pub(crate) fn identity_parts(&self) -> IdentityParts {
        let identity = self.inner.identity.lock();
        let key = NodeKey::from_pem(&identity.key_pem);
        IdentityParts {
            cluster_id: identity.cluster_id.clone(),
            chain: identity.chain.clone(),
            previous_chain: identity.previous_chain.clone(),
            // A key that was used for connections can be read.
            key_pkcs8: key.map(|key| key.pkcs8()).unwrap_or_default(),
            authorities: identity.authorities.clone(),
        }
    }

    /// The cluster's id.
    pub(crate) fn cluster_id(&self) -> String {
        self.inner.identity.lock().cluster_id.clone()
    }

    /// Whether the operator gives the certificates between nodes.
    pub(crate) fn is_given(&self) -> bool {
        self.inner.given.is_some()
    }

    /// The public half of this node's key.
    ///
    /// # Errors
    /// A key that cannot be read.
    pub(crate) fn public_key(&self) -> Result<Vec<u8>, ClusterError> {
        let key = NodeKey::from_pem(&self.inner.identity.lock().key_pem);
        key.map(|key| key.public()).map_err(|error| ClusterError::refused(error.to_string()))
    }

    /// Tells of every replacement of what this node proves itself with.
    pub(crate) fn identity_changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// A digest of the authorities that this node trusts.
    pub(crate) fn trust_digest(&self) -> String {
        verdict_admin::trust_digest(&self.inner.identity.lock().authorities)
    }

    /// The authority, where this node has its key.
    pub(crate) fn authority(&self) -> Option<Authority> {
        self.inner.identity.lock().authority()
    }

    /// A member other than this node, to ask it something.
    pub(crate) fn peer(&self, node_id: u64) -> Option<Peer> {
        let members = self.inner.log.members();
        let member = members.get(node_id)?;
        Some(Peer { node_id, attributes: Arc::new(member.attributes.clone()) })
    }
}
