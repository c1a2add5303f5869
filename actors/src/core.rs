//! What every request path shares: the handles of the tree's members, and nothing of their inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Histogram, histogram};
use ractor::ActorRef;
use verdict_config::EvaluationVersion;
use verdict_consensus::Log;
use verdict_rules::{RuleLimits, Scratch};

use crate::blobs::BlobStore;
use crate::gate::Gate;
use crate::inference::Inference;
use crate::monitoring::Monitoring;
use crate::pool::Pool;
use crate::readiness::{ReadyPeers, Staging};
use crate::recording::Recording;
use crate::serving::{Serving, ServingState};
use crate::spawn::Spawner;
use crate::supervisor::{SupervisorMessage, TreeEntry};
use crate::window_ages::WindowAges;

/// The parts of the options that requests read.
#[derive(Debug, Clone)]
pub(crate) struct CoreOptions {
    pub node_id: u16,
    pub region: Option<String>,
    pub limits: RuleLimits,
    pub model_timeout: Duration,
    pub revision_wait: Duration,
    pub stale_after: Duration,
    pub batch_concurrency: usize,
    pub activation_wait: Duration,
    pub blob_replicas: usize,
}

/// Everything a request needs.
pub(crate) struct Core {
    pub options: CoreOptions,
    pub serving: Serving,
    pub rules: Pool<Scratch>,
    pub inference: Inference,
    pub recording: Recording,
    pub ages: Arc<WindowAges>,
    pub log: Arc<dyn Log>,
    pub blobs: BlobStore,
    pub staging: Staging,
    pub peers: Option<Arc<dyn ReadyPeers>>,
    pub gate: Gate,
    pub monitoring: Monitoring,
    pub metrics: StageMetrics,
    pub spawner: Spawner,
    /// States rebuilt for replay, by revision and version of evaluation.
    pub rebuilt: moka::sync::Cache<(u64, EvaluationVersion), Arc<ServingState>>,
    pub tree: Arc<TreeEntry>,
    pub root: ActorRef<SupervisorMessage>,
    pub stale: StaleMark,
}

impl Core {
    /// The region of this node at a revision: what the catalogue says, else what the settings say.
    pub(crate) fn region_in<'a>(&'a self, state: &'a ServingState) -> Option<&'a str> {
        let said = state.regions.get(&u64::from(self.options.node_id)).map(|region| &**region);
        said.or(self.options.region.as_deref())
    }

    /// Whether the node has been out of touch with its cluster for too long.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.get(|| self.log.out_of_touch() >= self.options.stale_after)
    }
}

/// How long what was found about the cluster stands. Requests come faster than it changes.
const LOOK_AGAIN_MS: u64 = 20;

/// Whether answers may be old, looked at again every [`LOOK_AGAIN_MS`].
pub(crate) struct StaleMark {
    started: Instant,
    /// Milliseconds since the start, times two, plus one for stale.
    seen: AtomicU64,
}

impl StaleMark {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), seen: AtomicU64::new(u64::MAX) }
    }

    fn get(&self, look: impl FnOnce() -> bool) -> bool {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX >> 1);
        let seen = self.seen.load(Ordering::Relaxed);
        if seen != u64::MAX && now_ms.saturating_sub(seen >> 1) < LOOK_AGAIN_MS {
            return seen & 1 == 1;
        }
        let stale = look();
        self.seen.store((now_ms << 1) | u64::from(stale), Ordering::Relaxed);
        stale
    }
}

/// Histograms of the stages, in seconds, registered once.
#[derive(Clone)]
pub(crate) struct StageMetrics {
    pub windows: Histogram,
    pub rules: Histogram,
    pub models: Histogram,
    pub journal: Histogram,
}

impl Default for StageMetrics {
    fn default() -> Self {
        let stage = |stage: &'static str| histogram!("verdict_stage_seconds", "stage" => stage);
        Self {
            windows: stage("windows"),
            rules: stage("rules"),
            models: stage("models"),
            journal: stage("journal"),
        }
    }
}
