//! The handle: everything that a node does with its runtime, as plain async functions.
//!
//! No actor, channel or session leaves this crate.

mod changes;
mod holdings;
mod outcomes;
mod reading;
mod repair;
mod staging;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use ractor::rpc::CallResult;
use verdict_consensus::ProposeError;
use verdict_decisions::{DecideRequest, RequestRejected};

use crate::core::Core;
use crate::decide::{Answer, Timing, caught, decide};
use crate::error::RuntimeError;
use crate::gate::Inside;
use crate::serving::ServingState;
use crate::supervisor::{ChildSpec, SupervisorMessage, TreeNode};

pub use changes::{Proposal, Proposed, Rollback};
pub use holdings::NodeHoldings;
pub use outcomes::NewOutcomeInput;
pub use reading::{Explained, ModelContributions, ReplayReport, Snapshot};
pub use staging::NodeReadiness;
pub use status::{Readiness, RuntimeStatus};

/// How a request is decided.
#[derive(Debug, Clone, Copy)]
pub struct DecideOptions {
    /// When it came in and when its answer must be there.
    pub timing: Timing,
    /// The least revision that it may be decided under: waited for, within bounds.
    pub min_revision: Option<u64>,
}

impl DecideOptions {
    /// A request that comes in now and may take so long.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { timing: Timing::starting_now(limit), min_revision: None }
    }
}

/// A running node's inside. Cloning is cheap and shares it.
#[derive(Clone)]
pub struct Handle {
    core: Arc<Core>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Handle(revision {})", self.core.serving.state().revision)
    }
}

impl Handle {
    pub(crate) fn new(core: Core) -> Self {
        Self { core: Arc::new(core) }
    }

    /// Decides one request.
    ///
    /// # Errors
    /// [`RuntimeError`]; a panic in a rule, a model or the path itself is `Internal` and costs this
    /// request only.
    pub async fn decide(
        &self,
        flow: &str,
        request: DecideRequest,
        options: DecideOptions,
    ) -> Result<Answer, RuntimeError> {
        let _inside = self.enter()?;
        let state = self.state_for(options).await?;
        caught(decide(&self.core, &state, flow, request, options.timing)).await
    }

    /// Decides many requests against one state, each with its own result, in order. What could not
    /// be read is passed through.
    ///
    /// # Errors
    /// What concerns the batch as a whole: draining, an unknown flow, a revision not reached.
    pub async fn decide_batch(
        &self,
        flow: &str,
        requests: Vec<Result<DecideRequest, RequestRejected>>,
        options: DecideOptions,
    ) -> Result<Vec<Result<Answer, RuntimeError>>, RuntimeError> {
        let _inside = self.enter()?;
        let state = self.state_for(options).await?;
        if !state.flows.contains_key(flow) {
            return Err(RuntimeError::FlowNotFound(flow.chars().take(80).collect()));
        }
        let (core, state) = (&self.core, &state);
        let deciding = requests.into_iter().map(|request| async move {
            // Each item's time begins when it is its turn, the deadline is the batch's.
            let timing = Timing { received: std::time::Instant::now(), ..options.timing };
            caught(decide(core, state, flow, request?, timing)).await
        });
        let concurrency = core.options.batch_concurrency;
        Ok(futures::stream::iter(deciding).buffered(concurrency).collect().await)
    }

    /// The state that is served now.
    #[must_use]
    pub fn serving(&self) -> Arc<ServingState> {
        self.core.serving.state()
    }

    /// Waits until a revision is served, within bounds.
    ///
    /// # Errors
    /// [`RuntimeError::RevisionNotReached`]; a revision of the cluster that this one was restored from.
    pub async fn wait_for_revision(
        &self,
        revision: u64,
        limit: Duration,
    ) -> Result<Arc<ServingState>, RuntimeError> {
        self.check_revision(revision)?;
        let reached = self.core.serving.reached(revision, limit).await;
        let state = self.core.serving.state();
        if state.revision >= revision {
            return Ok(state);
        }
        Err(RuntimeError::RevisionNotReached { wanted: revision, serving: reached })
    }

    fn check_revision(&self, revision: u64) -> Result<(), RuntimeError> {
        let made = self.core.log.catalogue().check_made(revision);
        made.map_err(|refused| RuntimeError::Change(ProposeError::Refused(refused)))
    }

    /// The revision that is served, as it changes.
    #[must_use]
    pub fn watch_revision(&self) -> tokio::sync::watch::Receiver<u64> {
        self.core.serving.watch_revision()
    }

    /// The supervision tree as it is now.
    #[must_use]
    pub fn tree(&self) -> TreeNode {
        self.core.tree.snapshot()
    }

    /// Goes on with something behind an answer: a panic in it is counted, and a drain waits for it.
    pub fn run_behind(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.core.spawner.spawn(name, work));
    }

    /// Starts another child of the tree's root, which is supervised like the others until the drain.
    ///
    /// # Errors
    /// Why it does not start; it is tried again nevertheless.
    pub async fn supervise(&self, child: ChildSpec) -> Result<(), RuntimeError> {
        let add = |reply| SupervisorMessage::Add(Box::new(child), reply);
        match self.core.root.call(add, Some(ADD_WITHIN)).await {
            Ok(CallResult::Success(added)) => added.map_err(RuntimeError::Internal),
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => {
                Err(RuntimeError::Draining)
            }
        }
    }

    /// Takes no more requests, waits for those that run, writes everything down, and stops the
    /// tree. Returns whether all of it was done within `limit`. A second call does nothing more.
    pub async fn drain(&self, limit: Duration) -> bool {
        let until = tokio::time::Instant::now() + limit;
        let finished = self.core.gate.close(limit).await;
        let storing = async {
            self.core.log.drain().await;
            self.core.recording.journal.drain().await;
        };
        let stored = tokio::time::timeout_at(until, storing).await.is_ok();
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        let stopped = self.core.root.stop_and_wait(None, Some(left.max(STOP_LEAST))).await.is_ok();
        let ended = self.core.spawner.close_and_wait(left.max(STOP_LEAST)).await;
        finished && stored && stopped && ended
    }

    fn enter(&self) -> Result<Inside, RuntimeError> {
        self.core.gate.enter().ok_or(RuntimeError::Draining)
    }

    /// The state that a request is decided against, for its whole life.
    async fn state_for(&self, options: DecideOptions) -> Result<Arc<ServingState>, RuntimeError> {
        let state = self.core.serving.pinned();
        if let Some(wanted) = options.min_revision {
            self.check_revision(wanted)?;
        }
        match options.min_revision {
            Some(wanted) if state.revision < wanted => {
                let now = std::time::Instant::now();
                let patience = options.timing.deadline.saturating_duration_since(now);
                let limit = patience.min(self.core.options.revision_wait);
                self.wait_for_revision(wanted, limit).await
            }
            _ => Ok(state),
        }
    }

    /// Runs blocking work of a read (disk, compilation) off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Core) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let core = Arc::clone(&self.core);
        match self.core.spawner.spawn_blocking(name, move || work(&core)).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(RuntimeError::Internal(format!("{name} panicked"))),
            Err(error) => Err(RuntimeError::internal(error)),
        }
    }
}

/// How long another child of the tree may take to start.
const ADD_WITHIN: Duration = Duration::from_secs(10);
/// What stopping the tree may take at least, even when the limit is spent.
const STOP_LEAST: Duration = Duration::from_secs(1);
