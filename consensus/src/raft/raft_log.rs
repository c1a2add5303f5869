//! [`Log`] by consensus.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

mod tasks;

use tasks::{end_with, keep_committed, lead_alone, learn_standing, maintain};

use super::admission::{Inquiry, Standing, TRUST_VERSION, TrustRoot};
use super::backup::{BackupInfo, write_backup};
use super::bodies;
use super::clock::{self, ClockDoubt, LeaderClock};
use super::core::{Core, Counts};
use super::elector;
use super::folder::{FolderIdentity, open_folder};
use super::handler::PeerHandler;
use super::log_store::{self, LogStore};
use super::members::{
    MemberAnswer, MemberCommand, MemberPlan, Members, MembersWatch, MembershipError,
};
use super::network::{Clients, PeerNetwork};
use super::options::RaftLogOptions;
use super::proposer::{Proposal, Proposer, Submitted, unstamped};
use super::state_machine::{self, StateMachine};
use super::status::{ClusterStatus, cluster_status, log_status};
use super::transport::PeerTransport;
use super::types::{NodeId, Raft};
use crate::apply::{Applied, DryRun};
use crate::catalogue::Catalogue;
use crate::command::{Author, ChangeSet};
use crate::error::{ChangeRefused, LogError, ProposeError, ReadError};
use crate::local::folder::{Folder, io};
use crate::log::{Log, LogFuture, LogStatus};
use crate::proof::Proof;

/// How long tasks may take to end.
const END_MAX: Duration = Duration::from_secs(3);

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct RaftLogRecovery {
    /// Index of the snapshot that was read; 0 if none.
    pub snapshot_index: u64,
    /// Entries of the log.
    pub entries: u64,
    /// Index of the last one.
    pub last_index: u64,
    /// Index up to which they are applied.
    pub applied_index: u64,
    /// Snapshots that were corrupted and set aside.
    pub snapshots_corrupted: u64,
}

/// The log of a node of a cluster.
pub struct RaftLog {
    core: Arc<Core>,
    handler: PeerHandler,
    catalogues: watch::Receiver<Arc<Catalogue>>,
    running: Mutex<Option<Running>>,
}

/// What ends with the log.
struct Running {
    runtime: Runtime,
    tasks: Vec<JoinHandle<()>>,
    _folder: Folder,
}

impl RaftLog {
    /// Opens the log in a folder that [`create_raft_folder`](super::create_raft_folder) has made,
    /// and begins to take part in its cluster. `expected` guards against a folder of another node.
    ///
    /// # Errors
    /// Damage, a gap where entries were acknowledged, a newer format, a folder of another node or
    /// cluster, another process, or the disk.
    pub fn open(
        folder: &Path,
        expected: Option<&FolderIdentity>,
        options: RaftLogOptions,
        transport: Arc<dyn PeerTransport>,
    ) -> Result<(Self, RaftLogRecovery), LogError> {
        let (locked, identity) = open_folder(folder)?;
        if let Some(expected) = expected.filter(|expected| **expected != identity) {
            let detail = format!("it belongs to {identity:?}, not to {expected:?}");
            return Err(LogError::Foreign { folder: folder.display().to_string(), detail });
        }
        let store_path = folder.join("store");
        let engine = (options.engine)(&store_path).map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => {
                crate::local::folder::damaged(&store_path, 0, source.to_string())
            }
            _ => io(&store_path, source),
        })?;
        let (store, found) = log_store::opening::open(folder, engine)?;
        let snapshots = folder.join("snapshots");
        let empty = Catalogue::new(options.limits);
        let (machine, shared) = state_machine::open(&snapshots, empty, store.purged())?;
        store.set_probe(Arc::clone(&options.probe));
        let snapshots_shown = Arc::clone(&shared);
        store.set_keep_from(move || snapshots_shown.older_snapshot());
        shared.set_program(Arc::clone(&options.probe), options.version);
        let known = options.version;
        let newer = |found: u16| LogError::Newer {
            folder: folder.display().to_string(),
            found: found.into(),
            known: known.into(),
        };
        let found_version = shared.machine().cluster.version;
        if found_version > known {
            return Err(newer(found_version));
        }
        let applying = Arc::clone(&shared);
        let snapshot_index = *shared.applied().borrow();
        let machine = machine.with_bodies(options.bodies.clone());
        let applicable = bodies::applicable(&store, options.bodies.as_ref(), shared.last_applied());
        store.know_committed(applicable.map_err(|source| io(&store_path, source))?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("verdict-raft")
            .enable_all()
            .build()
            .map_err(|source| io(folder, source))?;
        let root = TrustRoot::load(folder)?;
        let folder_path = folder.to_owned();
        let starting =
            Starting { identity, folder_path, root, options, store, machine, shared, transport };
        // The caller may be inside a runtime of its own, where waiting for another is forbidden.
        let started =
            std::thread::scope(|scope| scope.spawn(|| runtime.block_on(starting.start())).join());
        let panicked = |_| LogError::Start("a panic while starting".to_owned());
        let (core, queue) = match started.map_err(panicked).and_then(|started| started) {
            Ok(started) => started,
            Err(error) => {
                // The caller may be inside a runtime, where this one must not be waited for.
                runtime.shutdown_background();
                return Err(applying.newer_met().map_or(error, newer));
            }
        };
        let recovery = RaftLogRecovery {
            snapshot_index,
            entries: found.entries,
            last_index: found.last_index,
            applied_index: *core.shared.applied().borrow(),
            snapshots_corrupted: core.shared.corrupted_snapshots(),
        };
        let proposer = runtime.spawn(Proposer::new(Arc::clone(&core), queue).run());
        let tasks = vec![
            runtime.spawn(end_with(proposer, Arc::clone(&core))),
            runtime.spawn(maintain(Arc::clone(&core))),
            runtime.spawn(elector::run(Arc::clone(&core))),
            runtime.spawn(clock::watch(Arc::clone(&core))),
            runtime.spawn(learn_standing(Arc::clone(&core))),
            runtime.spawn(keep_committed(Arc::clone(&core))),
        ];
        let log = Self {
            handler: PeerHandler::new(Arc::clone(&core)),
            catalogues: core.shared.watch(),
            running: Mutex::new(Some(Running { runtime, tasks, _folder: locked })),
            core,
        };
        Ok((log, recovery))
    }

    /// Answers requests of other nodes; to be called by whoever listens for them.
    #[must_use]
    pub fn peer_handler(&self) -> PeerHandler {
        self.handler.clone()
    }

    /// The threads of the consensus, until it is drained. Listening for peers belongs there, so that
    /// work which keeps every other thread busy does not make this node look dead.
    #[must_use]
    pub fn threads(&self) -> Option<tokio::runtime::Handle> {
        self.running.lock().as_ref().map(|running| running.runtime.handle().clone())
    }

    /// Whether forwarded requests need proof: every member's program sends it.
    #[must_use]
    pub fn needs_proof(&self) -> bool {
        self.core.needs_proof()
    }

    /// This node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.core.node_id
    }

    /// The cluster.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.core.network.cluster_id
    }

    /// Changes the members, at whichever node leads, as this node's own act.
    pub fn change_members(
        &self,
        command: MemberCommand,
    ) -> LogFuture<'_, Result<MemberAnswer, MembershipError>> {
        self.change_members_for(command, None)
    }

    /// Changes the members, at whichever node leads, for a person with this proof.
    pub fn change_members_for(
        &self,
        command: MemberCommand,
        proof: Option<Proof>,
    ) -> LogFuture<'_, Result<MemberAnswer, MembershipError>> {
        let core = Arc::clone(&self.core);
        let changing = async move { core.change_members(command, proof).await };
        let work = self.on_own_threads(Box::pin(changing));
        Box::pin(async move { work.await.unwrap_or(Err(MembershipError::OutcomeUnknown)) })
    }

    /// What a change of the members would make of them, or why it would be refused; nothing changes.
    /// None where the node that leads runs a program of before there were plans.
    pub fn plan_members(
        &self,
        command: MemberCommand,
    ) -> LogFuture<'_, Result<Option<MemberPlan>, MembershipError>> {
        let core = Arc::clone(&self.core);
        let work = self.on_own_threads(Box::pin(async move { core.plan_members(command).await }));
        Box::pin(async move { work.await.unwrap_or(Err(MembershipError::NoLeader)) })
    }

    /// Whether a node was a member and is none any more, as far as this node has applied the log. Its
    /// certificate counts for nothing.
    #[must_use]
    pub fn is_removed(&self, node_id: NodeId) -> bool {
        self.core.shared.is_removed(node_id)
    }

    /// Changes with every entry about the members that is applied: [`Self::is_removed`] may differ.
    #[must_use]
    pub fn watch_removals(&self) -> watch::Receiver<u64> {
        self.core.shared.memberships()
    }

    /// Snapshots that were found corrupted when the log was opened.
    #[must_use]
    pub fn snapshots_corrupted(&self) -> u64 {
        self.core.shared.corrupted_snapshots()
    }

    /// Why this node's clock is not believed, if so.
    #[must_use]
    pub fn clock_doubt(&self) -> Option<ClockDoubt> {
        self.core.clock_doubt()
    }

    /// Believes this node's clock because an operator says that it is right; whether it was in doubt.
    pub fn confirm_clock(&self) -> bool {
        let doubted = !self.core.clock.is_trusted();
        if doubted {
            self.core.trust_clock();
        }
        doubted
    }

    /// The members, as they change.
    #[must_use]
    pub fn watch_members(&self) -> MembersWatch {
        MembersWatch::new(self.core.raft.metrics())
    }

    /// Makes a snapshot now, and lets go of what it covers; for operators and tests.
    pub fn snapshot(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let triggered = self.core.raft.trigger().snapshot().await;
            triggered.map_err(|fatal| LogError::Start(fatal.to_string()))
        })
    }

    /// Writes what is applied as a backup, while everything goes on.
    pub fn backup(&self, path: &Path) -> LogFuture<'_, Result<BackupInfo, LogError>> {
        let (machine, path) = (self.core.shared.machine(), path.to_owned());
        let work = async move {
            // Encoding and syncing would hold up a worker of the consensus.
            let write = move || write_backup(&machine, &path);
            tokio::task::spawn_blocking(write).await.ok()
        };
        let work = self.on_own_threads(Box::pin(work));
        Box::pin(async move {
            let ended = || LogError::Start("the log has ended".to_owned());
            work.await.flatten().unwrap_or_else(|| Err(ended()))
        })
    }

    /// Stands for election now, for example when another node drains.
    pub fn elect(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            if let Some(reason) = self.core.unfit_to_lead() {
                return Err(LogError::Start(reason.to_owned()));
            }
            let triggered = self.core.raft.trigger().elect().await;
            triggered.map_err(|fatal| LogError::Start(fatal.to_string()))
        })
    }

    /// Runs on the threads of the consensus, whose timers it needs; `None` if it has ended.
    fn on_own_threads<T: Send + 'static>(
        &self,
        work: LogFuture<'static, T>,
    ) -> LogFuture<'static, Option<T>> {
        let task = self.running.lock().as_ref().map(|running| running.runtime.spawn(work));
        Box::pin(async move {
            match task {
                Some(task) => task.await.ok(),
                None => None,
            }
        })
    }

    fn send(
        &self,
        change_set: ChangeSet,
        author: Author,
    ) -> Result<oneshot::Receiver<Result<Applied, ProposeError>>, ProposeError> {
        let change_set = change_set.normalised().map_err(ChangeRefused::Invalid)?;
        let until = Instant::now() + self.core.options.timeout;
        let proof = author.proof.clone();
        let command = unstamped(change_set, author);
        Proposal::enqueue(&self.core, Submitted { command, proof, until, forwarded: false })
    }

    fn close(&self) -> Option<Running> {
        self.core.draining.store(true, Ordering::SeqCst);
        self.core.proposals.lock().take();
        self.running.lock().take()
    }
}

struct Starting {
    identity: FolderIdentity,
    folder_path: PathBuf,
    root: TrustRoot,
    options: RaftLogOptions,
    store: LogStore,
    machine: StateMachine,
    shared: Arc<state_machine::Shared>,
    transport: Arc<dyn PeerTransport>,
}

impl Starting {
    async fn start(self) -> Result<(Arc<Core>, mpsc::Receiver<Proposal>), LogError> {
        let Self { identity, folder_path, root, options, store, machine, shared, transport } = self;
        let FolderIdentity { cluster_id, node_id } = identity;
        let config = options.config(&cluster_id)?;
        let network = Arc::new(PeerNetwork::new(node_id, cluster_id, transport));
        let clients = Clients(Arc::clone(&network));
        let raft = Raft::new(node_id, config, clients, store.clone(), machine).await;
        let raft = raft.map_err(|fatal| LogError::Start(fatal.to_string()))?;
        let (sender, queue) = mpsc::channel(options.queue_max.max(1));
        let standing = Standing {
            own: node_id,
            metrics: raft.metrics(),
            shared: Arc::clone(&shared),
            root: Arc::new(RwLock::new(root)),
        };
        network.set_standing(standing.clone());
        if !standing.is_strict() && shared.version() > 0 {
            tracing::warn!(
                version = shared.version(),
                needed = TRUST_VERSION,
                "the cluster's version is below that of the rules of trust between nodes: until it \
                 is raised, a certificate of a node is all that votes and entries need"
            );
        }
        let core = Arc::new(Core {
            node_id,
            clock: LeaderClock::start(&options, &folder_path),
            folder: folder_path,
            raft,
            store,
            shared,
            network,
            options,
            counts: Mutex::new(Counts::default()),
            waiting_bytes: AtomicUsize::new(0),
            proposals: Mutex::new(Some(sender)),
            draining: AtomicBool::new(false),
            standing,
            inquiry: Inquiry::default(),
        });
        core.judge_clock_alone();
        lead_alone(&core).await;
        Ok((core, queue))
    }
}

impl Log for RaftLog {
    fn propose(
        &self,
        change_set: ChangeSet,
        author: Author,
    ) -> LogFuture<'_, Result<Applied, ProposeError>> {
        let sent = self.send(change_set, author);
        Box::pin(async move { sent?.await.unwrap_or(Err(ProposeError::OutcomeUnknown)) })
    }

    fn dry_run(&self, change_set: ChangeSet, author: Author) -> Result<DryRun, ChangeRefused> {
        let at = (self.core.options.clock)();
        let validator = &*self.core.options.validator;
        crate::apply::dry_run(&self.catalogue(), change_set, author, at, validator)
    }

    fn compiles(&self) -> bool {
        self.core.options.validator.compiles()
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogues.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogues.clone()
    }

    fn status(&self) -> LogStatus {
        log_status(&self.core)
    }

    fn linearizable(&self) -> LogFuture<'_, Result<Arc<Catalogue>, ReadError>> {
        let core = Arc::clone(&self.core);
        let work = self.on_own_threads(Box::pin(async move { core.linearizable().await }));
        Box::pin(async move {
            let closed = || ReadError::Closed("it has ended".to_owned());
            work.await.unwrap_or_else(|| Err(closed()))
        })
    }

    fn leader(&self) -> Option<NodeId> {
        self.core.raft.metrics().borrow().current_leader
    }

    fn members(&self) -> Members {
        self.core.members()
    }

    fn cluster(&self) -> Option<ClusterStatus> {
        Some(cluster_status(&self.core))
    }

    fn command_version(&self) -> u16 {
        self.core.shared.version()
    }

    fn takes_stored_bodies(&self) -> bool {
        self.core.options.bodies.is_some() && self.core.shared.version() >= 2
    }

    fn out_of_touch(&self) -> Duration {
        let core = &self.core;
        let (leads, voters) = {
            let metrics = core.raft.metrics();
            let metrics = metrics.borrow();
            let voters: Vec<NodeId> = metrics.membership_config.membership().voter_ids().collect();
            (metrics.current_leader == Some(core.node_id), voters)
        };
        if !leads {
            return core.network.leader_heard_ago();
        }
        let others = voters.iter().copied().filter(|id| *id != core.node_id);
        core.network.so_many_heard_ago(others, voters.len() / 2)
    }

    fn trusts_clock(&self) -> bool {
        self.core.clock.is_trusted()
    }

    fn drain(&self) -> LogFuture<'_, ()> {
        let running = self.close();
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let Some(running) = running else { return };
            let (ended, end) = oneshot::channel();
            // A runtime must not be ended from within another.
            std::thread::spawn(move || {
                end_running(running, &core);
                let _ = ended.send(());
            });
            let _ = end.await;
        })
    }
}

/// Answers what waits, ends the consensus, then lets go of the files.
fn end_running(running: Running, core: &Core) {
    let Running { runtime, tasks, _folder } = running;
    runtime.block_on(async {
        let wait = core.options.timeout + END_MAX;
        for task in tasks {
            let _ = tokio::time::timeout(wait, task).await;
        }
        let _ = tokio::time::timeout(END_MAX, core.raft.shutdown()).await;
    });
    runtime.shutdown_timeout(END_MAX);
    core.store.durable().close();
}

impl Drop for RaftLog {
    fn drop(&mut self) {
        let Some(running) = self.close() else { return };
        let Running { runtime, tasks, _folder } = running;
        tasks.iter().for_each(JoinHandle::abort);
        runtime.shutdown_background();
        self.core.store.durable().close();
    }
}
