//! Starting and stopping: the tree is put together here, and drawn in `ARCHITECTURE.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use verdict_config::settings::Settings;
use verdict_consensus::Log;
use verdict_rules::RuleLimits;

use crate::blobs::BlobStore;
use crate::catalogue::LastCompiled;
use crate::core::{Core, CoreOptions, StageMetrics, StaleMark};
use crate::error::StartError;
use crate::gate::Gate;
use crate::gauges::Gauges;
use crate::handle::Handle;
use crate::inference::{BreakerOptions, Inference, InferenceOptions, ModelLoader, NeuralLoader};
use crate::journal::{Journal, JournalOptions, JournalRecovery};
use crate::monitoring::Monitoring;
use crate::pool::{Pool, PoolOptions};
use crate::publisher::Publisher;
use crate::readiness::{ReadyPeers, Staging};
use crate::recording::Recording;
use crate::serving::Serving;
use crate::spawn::Spawner;
use crate::supervisor::{Supervisor, TreeEntry};
use crate::window_ages::WindowAges;

/// States rebuilt for replay that are kept.
const REBUILT_STATES_MAX: u64 = 4;

/// What a runtime is made of.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// The node's short id, 1 to 65535: part of every decision's id.
    pub node_id: u16,
    /// The node's region, which flags may be limited to.
    pub region: Option<String>,
    /// The state folder: `journal/` and `blobs/` are made in it.
    pub data_dir: PathBuf,
    /// The log of change sets. Whoever opened it closes it; a drain drains it.
    pub log: Arc<dyn Log>,
    /// Rules workers; 0 for one a core.
    pub rules_workers: usize,
    /// Requests that may wait for a rules worker or run on one.
    pub rules_queue_max: usize,
    /// Bounds of rule sets.
    pub rule_limits: RuleLimits,
    /// Inference; `threads` 0 for one a core.
    pub inference: InferenceOptions,
    /// How long one model call may take.
    pub model_timeout: Duration,
    /// The journal.
    pub journal: JournalOptions,
    /// How long a request may wait for a revision that is not served yet.
    pub revision_wait: Duration,
    /// A node that is out of touch with its cluster for so long says that its answers may be stale.
    pub stale_after: Duration,
    /// Items of a batch that are decided at the same time.
    pub batch_concurrency: usize,
    /// Where models come from; the model store of the state folder if absent.
    pub loader: Option<Arc<dyn ModelLoader>>,
    /// The state that was compiled last; shared with the log's validator.
    pub compiled: LastCompiled,
    /// The model folders and large objects; the store of the state folder if absent.
    pub blobs: Option<BlobStore>,
    /// The other nodes, asked before a model is made active; none if absent.
    pub peers: Option<Arc<dyn ReadyPeers>>,
    /// How long the other nodes may take to load what a change makes active.
    pub activation_wait: Duration,
    /// On how many nodes a large body is before a change names it.
    pub blob_replicas: usize,
}

impl std::fmt::Debug for RuntimeOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RuntimeOptions")
            .field("node_id", &self.node_id)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl RuntimeOptions {
    /// Defaults for a state folder and a log.
    pub fn new(data_dir: impl Into<PathBuf>, log: Arc<dyn Log>) -> Self {
        Self::from_settings(data_dir, log, &Settings::default())
    }

    /// Options as an operator's settings say.
    pub fn from_settings(
        data_dir: impl Into<PathBuf>,
        log: Arc<dyn Log>,
        settings: &Settings,
    ) -> Self {
        let (inference, journal) = (&settings.inference, &settings.journal);
        Self {
            node_id: settings.node.id,
            region: Some(settings.node.region.clone()).filter(|region| !region.is_empty()),
            data_dir: data_dir.into(),
            log,
            rules_workers: settings.rules.workers,
            rules_queue_max: settings.rules.queue_max,
            rule_limits: RuleLimits {
                cost_units_max: settings.rules.cost_units_max,
                ..RuleLimits::default()
            },
            inference: InferenceOptions {
                threads: inference.threads,
                queue_rows_max: inference.queue_max,
                batch_rows_max: inference.batch_rows_max,
                cache_results_max: inference.cache_entries_max,
                resident_bytes_max: inference.models_bytes_max,
                breaker: BreakerOptions {
                    failures_max: inference.breaker_failures,
                    open_for: Duration::from_millis(inference.breaker_pause_ms),
                },
            },
            model_timeout: Duration::from_millis(inference.timeout_ms),
            journal: JournalOptions {
                segment_bytes: journal.segment_bytes,
                bytes_max: journal.retention_bytes,
                days_max: journal.retention_days,
                sync_ms_max: journal.sync_interval_ms,
                request_hours: journal.request_id_hours,
                window_series_max: journal.window_keys_max,
                ..JournalOptions::default()
            },
            revision_wait: Duration::from_secs(5),
            stale_after: Duration::from_millis(settings.cluster.stale_after_ms),
            batch_concurrency: 64,
            loader: None,
            compiled: LastCompiled::default(),
            blobs: None,
            peers: None,
            blob_replicas: settings.cluster.blob_replicas,
            activation_wait: Duration::from_millis(settings.cluster.activation_wait_ms),
        }
    }
}

/// A node's inside, being started.
#[derive(Debug)]
pub struct Runtime;

impl Runtime {
    /// Opens journal and model store, compiles the catalogue, and starts the tree. Returns when the
    /// node can decide.
    ///
    /// # Errors
    /// [`StartError`]: nothing is left running.
    pub async fn start(options: RuntimeOptions) -> Result<(Handle, StartReport), StartError> {
        let spawner = Spawner::default();
        let preparing = spawner.spawn_blocking("start", move || prepare(options)).await;
        let prepared = match preparing {
            Ok(Some(prepared)) => prepared?,
            Ok(None) | Err(_) => return Err(StartError::Tree("the start panicked".to_owned())),
        };
        let Prepared { options, journal, recovery, blobs, inference, serving, ages } = prepared;
        let rules = Pool::new(PoolOptions {
            name: "rules",
            workers: cores_or(options.rules_workers),
            jobs_max: options.rules_queue_max.max(1),
        });
        let staging = Staging::default();
        let publisher = Publisher {
            staging: staging.clone(),
            log: Arc::clone(&options.log),
            serving: serving.clone(),
            inference: inference.clone(),
            blobs: blobs.clone(),
            ages: Arc::clone(&ages),
            limits: options.rule_limits,
            compiled: options.compiled.clone(),
            catalogue: options.log.watch(),
        };
        let tree = TreeEntry::new("root", "supervisor");
        let gauges = Gauges {
            journal: journal.clone(),
            log: Arc::clone(&options.log),
            tree: Arc::clone(&tree),
            warned: None,
        };
        let children = vec![rules.branch(), inference.branch(), publisher.child(), gauges.child()];
        let root =
            Supervisor::start_root(Arc::clone(&tree), children).await.map_err(StartError::Tree)?;
        let core = Core {
            options: CoreOptions {
                node_id: options.node_id,
                region: options.region,
                limits: options.rule_limits,
                model_timeout: options.model_timeout,
                revision_wait: options.revision_wait,
                stale_after: options.stale_after,
                batch_concurrency: options.batch_concurrency.clamp(1, 1_024),
                activation_wait: options.activation_wait,
                blob_replicas: options.blob_replicas.max(1),
            },
            staging,
            peers: options.peers,
            serving,
            rules,
            inference,
            recording: Recording { journal },
            ages,
            log: options.log,
            blobs,
            gate: Gate::default(),
            monitoring: Monitoring::default(),
            metrics: StageMetrics::default(),
            spawner,
            rebuilt: moka::sync::Cache::new(REBUILT_STATES_MAX),
            tree,
            root,
            stale: StaleMark::new(),
        };
        Ok((Handle::new(core), StartReport { journal: recovery }))
    }
}

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StartReport {
    /// What opening the journal found.
    pub journal: JournalRecovery,
}

struct Prepared {
    options: RuntimeOptions,
    journal: Journal,
    recovery: JournalRecovery,
    blobs: BlobStore,
    inference: Inference,
    serving: Serving,
    ages: Arc<WindowAges>,
}

/// The blocking part of a start.
fn prepare(options: RuntimeOptions) -> Result<Prepared, StartError> {
    let blobs = match &options.blobs {
        Some(blobs) => blobs.clone(),
        None => BlobStore::open(options.data_dir.join("blobs"))?,
    };
    let (journal, recovery) = open_journal(&options.data_dir.join("journal"), &options)?;
    let loader = match &options.loader {
        Some(loader) => Arc::clone(loader),
        None => Arc::new(NeuralLoader::new(blobs.clone())),
    };
    let threads = cores_or(options.inference.threads);
    let inference =
        Inference::new(InferenceOptions { threads, ..options.inference.clone() }, loader);
    let catalogue = options.log.catalogue();
    let compile = (options.rule_limits, &options.compiled);
    let serving =
        Publisher::first_state(&catalogue, &inference, compile).map_err(StartError::Catalogue)?;
    let ages = Arc::new(WindowAges::open(&options.data_dir.join("journal"), journal.clone()));
    ages.observe(&serving.state(), crate::clock::now());
    Ok(Prepared { options, journal, recovery, blobs, inference, serving, ages })
}

fn open_journal(
    folder: &Path,
    options: &RuntimeOptions,
) -> Result<(Journal, JournalRecovery), StartError> {
    let clock = Arc::new(crate::clock::now);
    let log = Arc::clone(&options.log);
    let of_node = (options.journal.clone(), options.node_id);
    Journal::open_expiring(folder, of_node, clock, Arc::new(move || log.trusts_clock()))
        .map_err(|error| StartError::Journal { code: error.code(), detail: error.to_string() })
}

fn cores_or(number: usize) -> usize {
    match number {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        number => number,
    }
}
