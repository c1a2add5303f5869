//! Several nodes in one process, over links that can be cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use verdict_config::TimestampMs;
use verdict_consensus::{
    Applied, Author, Catalogue, ChangeSet, ContentHash, FolderIdentity, FolderStart,
    InProcessNetwork, Log, LogError, MemberAnswer, MemberCommand, NodeAttributes, NodeId,
    PeerTransport, ProposeError, RaftLog, RaftLogOptions, RaftLogRecovery, Seed,
    create_raft_folder,
};

use super::support::setting;

/// Longer than anything takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn options() -> RaftLogOptions {
    let now = AtomicI64::new(1_000);
    let clock = move || TimestampMs(now.fetch_add(1, Ordering::Relaxed));
    RaftLogOptions {
        heartbeat: Duration::from_millis(60),
        election_timeout_min: Duration::from_millis(150),
        election_timeout_max: Duration::from_millis(300),
        ..RaftLogOptions::new(clock)
    }
}

pub fn identity(node_id: NodeId) -> FolderIdentity {
    FolderIdentity { cluster_id: "test".to_owned(), node_id }
}

pub fn attributes(node_id: NodeId) -> NodeAttributes {
    NodeAttributes { name: format!("n{node_id}"), region: "r".to_owned(), ..Default::default() }
}

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never came true: {what}");
}

pub fn bootstrap(folder: &Path) {
    let seed = Box::new(Seed::new(attributes(1), Catalogue::default()));
    create_raft_folder(folder, &identity(1), FolderStart::Bootstrap(seed)).unwrap();
}

/// A change set whose effect is known by its number.
pub fn numbered(number: i64) -> ChangeSet {
    let change = setting(&format!("s{}", number % 50), number);
    ChangeSet::new(format!("r{number}"), "w", vec![change])
}

pub async fn propose(log: &RaftLog, number: i64) -> Result<Applied, ProposeError> {
    log.propose(numbered(number), Author::named("ann")).await
}

pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub network: InProcessNetwork,
    pub nodes: BTreeMap<NodeId, RaftLog>,
    pub options: RaftLogOptions,
    /// Put around the transport of every node that is opened.
    pub wrap: Option<Wrap>,
}

type Wrap = Arc<dyn Fn(Arc<dyn PeerTransport>) -> Arc<dyn PeerTransport> + Send + Sync>;

impl Cluster {
    /// One voter.
    pub fn alone(options: RaftLogOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let network = InProcessNetwork::new();
        let mut cluster = Self { dir, network, nodes: BTreeMap::new(), options, wrap: None };
        bootstrap(&cluster.folder(1));
        cluster.open(1).unwrap();
        cluster
    }

    /// Voters 1 to `count`, each joined as a learner and promoted.
    pub async fn of(count: NodeId, options: RaftLogOptions) -> Self {
        let mut cluster = Self::alone(options);
        for _ in 1..count {
            let node_id = cluster.add_learner().await;
            cluster.promote(node_id).await;
        }
        cluster
    }

    pub fn folder(&self, node_id: NodeId) -> PathBuf {
        self.dir.path().join(format!("node-{node_id}"))
    }

    pub fn open(&mut self, node_id: NodeId) -> Result<RaftLogRecovery, LogError> {
        let mut transport = self.network.transport(node_id);
        if let Some(wrap) = &self.wrap {
            transport = wrap(transport);
        }
        let options = self.options.clone();
        let folder = self.folder(node_id);
        let (log, recovery) = RaftLog::open(&folder, Some(&identity(node_id)), options, transport)?;
        self.network.join(node_id, log.peer_handler());
        self.nodes.insert(node_id, log);
        Ok(recovery)
    }

    pub async fn add_learner(&mut self) -> NodeId {
        let first = self.nodes.values().next().unwrap();
        let request_id = format!("join-{}", self.nodes.len());
        let given = first.change_members(MemberCommand::Allocate { request_id }).await;
        let Ok(MemberAnswer::Allocated(node_id)) = given else { panic!("{given:?}") };
        create_raft_folder(&self.folder(node_id), &identity(node_id), FolderStart::Join).unwrap();
        self.open(node_id).unwrap();
        let attributes = attributes(node_id);
        let add = MemberCommand::AddLearner { node_id, attributes };
        self.nodes[&1].change_members(add).await.unwrap();
        node_id
    }

    pub async fn promote(&self, node_id: NodeId) {
        let log = &self.nodes[&node_id];
        until("the learner has caught up", || {
            log.catalogue().revision() == self.nodes[&1].catalogue().revision()
                && log.members().get(node_id).is_some()
        })
        .await;
        let promote = MemberCommand::Promote { node_id };
        assert_eq!(self.nodes[&1].change_members(promote).await, Ok(MemberAnswer::Done));
    }

    /// The node that leads, agreed by a majority.
    pub async fn leader(&self) -> NodeId {
        let leads = || {
            let leads = |log: &&RaftLog| log.cluster().is_some_and(|c| c.role == "leader");
            self.nodes.values().find(leads).map(RaftLog::node_id)
        };
        until("a node leads", || leads().is_some()).await;
        leads().unwrap()
    }

    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        self.nodes.keys().copied().find(|id| *id != leader).unwrap()
    }

    /// Ends a node as a crash does: nothing is finished first.
    pub fn kill(&mut self, node_id: NodeId) {
        self.network.leave(node_id);
        self.nodes.remove(&node_id);
    }

    pub async fn stop_all(&mut self) {
        for (node_id, log) in std::mem::take(&mut self.nodes) {
            self.network.leave(node_id);
            log.drain().await;
        }
    }

    /// Waits until every node shows a revision, and compares their states.
    pub async fn agree(&self, revision: u64) -> ContentHash {
        for log in self.nodes.values() {
            let mut watch = log.watch();
            let reached = watch.wait_for(|catalogue| catalogue.revision() >= revision);
            let reached = tokio::time::timeout(PATIENCE, reached).await;
            reached.expect("a node never reached the revision").unwrap();
        }
        let hashes: Vec<_> = self.nodes.values().map(|log| log.catalogue()).collect();
        let first = hashes[0].state_hash();
        for catalogue in &hashes {
            assert_eq!((catalogue.revision(), catalogue.state_hash()), (revision, first));
            assert_eq!(catalogue, &hashes[0], "history as well");
        }
        first
    }
}

/// A log's folder of one voter, opened.
pub fn open_alone(folder: &Path, options: RaftLogOptions) -> Result<RaftLog, LogError> {
    let transport = Arc::new(verdict_consensus::NoPeers);
    RaftLog::open(folder, None, options, transport).map(|(log, _)| log)
}
