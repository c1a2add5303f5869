//! Models behind queues: batches, deadlines, breakers, a cache, and threads of their own.
//!
//! ```text
//! predict ── cache? ── breaker? ── queue of the model (bounded) ──> ready list
//!                                                                      │ takes what is queued, no timer
//!                      answers <── one by one on a panic <── compute thread (supervised)
//! ```
//!
//! There is no timer: a batch is what has been queued by the time a thread frees, up to a limit of
//! rows. Callers that left are skipped, rows that cannot make their deadline (by the fitted cost of
//! a batch) are shed. Compute runs on operating-system threads, so that the runtime which serves
//! requests is never starved by a matrix product.
//!
//! A panic in a batch costs one request: the batch is run again row by row, and only the row that
//! panics is answered with the panic. The thread then ends, is counted and restarted.
//!
//! Models are keyed by content hash everywhere: requests of different catalogue revisions share
//! batches and results, and versions never mix.

mod breaker;
mod cache;
mod compute;
mod cost;
mod model;
mod scorer;
mod shared;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;
use verdict_config::model::{ModelOutput, ModelRow};
use verdict_neural::Contribution;

use crate::supervisor::{ChildSpec, Gauge, RestartPolicy, TreeEntry};
use compute::ComputeThread;
use model::{Ask, Item, ModelQueue};

pub use breaker::{Breaker, BreakerOptions};
pub use cache::{ResultCache, ResultKey};
pub use cost::BatchCost;
pub use scorer::{ModelLoader, NeuralLoader, ScoreError, Scorer};
pub(crate) use shared::Shared;

/// Sizes and limits of inference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferenceOptions {
    /// Compute threads; 1 to 64.
    pub threads: usize,
    /// Rows that may wait for one model; further ones are shed.
    pub queue_rows_max: usize,
    /// Rows of one batch.
    pub batch_rows_max: usize,
    /// Results that the cache keeps.
    pub cache_results_max: u64,
    /// Bytes of loaded models; the least recently used ones beyond it are unloaded.
    pub resident_bytes_max: u64,
    /// The circuit breaker of each model.
    pub breaker: BreakerOptions,
}

impl Default for InferenceOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            queue_rows_max: 512,
            batch_rows_max: 32,
            cache_results_max: 16_384,
            resident_bytes_max: 1 << 30,
            breaker: BreakerOptions::default(),
        }
    }
}

/// Why a model gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// The model's queue is full, or the row could not make its deadline.
    #[error("the model is overloaded")]
    Overloaded,
    /// The model failed often and is given a rest.
    #[error("the model's circuit is open")]
    CircuitOpen,
    /// The deadline passed.
    #[error("the model did not answer in time")]
    DeadlineExceeded,
    /// The model cannot be loaded, or the row does not fit it.
    #[error(transparent)]
    Failed(#[from] ScoreError),
    /// The model panicked.
    #[error("the model panicked: {0}")]
    Panicked(String),
    /// Inference is stopped.
    #[error("inference is stopped")]
    Stopped,
}

impl InferenceError {
    /// The stable code of a model that cannot be loaded.
    #[must_use]
    pub const fn code(&self) -> verdict_config::Code {
        match self {
            Self::Failed(error) => error.code,
            Self::Overloaded | Self::CircuitOpen => verdict_config::Code::Overloaded,
            Self::DeadlineExceeded => verdict_config::Code::DeadlineExceeded,
            Self::Panicked(_) => verdict_config::Code::ModelInvalid,
            Self::Stopped => verdict_config::Code::Draining,
        }
    }
}

/// The handle of inference. Cloning is cheap.
#[derive(Clone)]
pub struct Inference {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Inference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inference").field("options", &self.shared.options).finish()
    }
}

/// What inference holds now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InferenceStatus {
    /// Models with a queue.
    pub models: usize,
    /// Those that are loaded.
    pub models_loaded: usize,
    /// Their memory in bytes.
    pub resident_bytes: u64,
    /// Results in the cache.
    pub cached_results: u64,
    /// Names of models whose circuit is open.
    pub circuits_open: Vec<String>,
}

impl Inference {
    /// Inference that runs with the branch that [`Inference::branch`] gives.
    #[must_use]
    pub fn new(options: InferenceOptions, loader: Arc<dyn ModelLoader>) -> Self {
        let cache = ResultCache::new(options.cache_results_max);
        Self {
            shared: Arc::new(Shared {
                options,
                loader,
                models: RwLock::default(),
                cache,
                ready: Mutex::default(),
                wake: Condvar::new(),
                resident_bytes: AtomicU64::new(0),
                clock: AtomicU64::new(0),
                rows_waiting: AtomicU64::new(0),
            }),
        }
    }

    /// The branch of the supervision tree that runs it.
    #[must_use]
    pub fn branch(&self) -> ChildSpec {
        let gauge = Arc::clone(&self.shared) as Arc<dyn Gauge>;
        let entry = TreeEntry::with_gauge("inference", "supervisor", Some(gauge));
        let threads = (0..self.shared.options.threads.clamp(1, 64)).map(|number| {
            let shared = Arc::clone(&self.shared);
            let name = format!("compute-{number}");
            let entry = TreeEntry::new(name.clone(), "compute");
            ChildSpec::new::<ComputeThread, _>(entry, RestartPolicy::worker(), move || {
                (ComputeThread, (name.clone(), Arc::clone(&shared)))
            })
        });
        ChildSpec::branch(entry, RestartPolicy::branch(), threads.collect())
    }

    /// Scores one row, from the cache or in a batch.
    ///
    /// # Errors
    /// [`InferenceError`]; a caller that stops waiting is skipped.
    pub async fn predict(
        &self,
        content_hash: &Arc<str>,
        row: ModelRow,
        deadline: Instant,
    ) -> Result<ModelOutput, InferenceError> {
        let key = ResultCache::key(content_hash, &row);
        if let Some(output) = self.shared.cache.get(&key) {
            return Ok(output);
        }
        let (answer, answered) = oneshot::channel();
        self.enqueue(content_hash, Item { row, deadline, ask: Ask::Score { key, answer } })?;
        wait(deadline, answered).await
    }

    /// What speaks for and against a label in a row.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn explain(
        &self,
        content_hash: &Arc<str>,
        row: ModelRow,
        (label, top): (usize, usize),
        deadline: Instant,
    ) -> Result<Vec<Contribution>, InferenceError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Explain { label, top, answer };
        self.enqueue(content_hash, Item { row, deadline, ask })?;
        wait(deadline, answered).await
    }

    fn enqueue(&self, content_hash: &Arc<str>, item: Item) -> Result<(), InferenceError> {
        let model = self.shared.queue_of(content_hash);
        if !model.breaker.lock().admits(Instant::now()) {
            return Err(InferenceError::CircuitOpen);
        }
        self.shared.push(&model, item)
    }

    /// Loads a model and runs it once on an empty row, so that the first request finds it warm.
    /// Blocking.
    ///
    /// # Errors
    /// The model cannot be loaded or panics.
    pub fn warm(&self, content_hash: &Arc<str>) -> Result<(), InferenceError> {
        let model = self.shared.queue_of(content_hash);
        let scorer = self.shared.load(&model)?;
        let empty =
            vec![verdict_config::model::ModelValue::Missing; scorer.manifest().columns.len()];
        let run = std::panic::AssertUnwindSafe(|| scorer.predict(&[empty]));
        match std::panic::catch_unwind(run) {
            Ok(result) => result.map(|_| ()).map_err(InferenceError::Failed),
            Err(panic) => Err(InferenceError::Panicked(crate::spawn::panic_text(&*panic))),
        }
    }

    /// Scores one row at once, outside the queues: for tests of flows. Blocking.
    ///
    /// # Errors
    /// The model cannot be loaded, fails or panics.
    pub fn score_now(
        &self,
        content_hash: &Arc<str>,
        row: ModelRow,
    ) -> Result<ModelOutput, InferenceError> {
        let model = self.shared.queue_of(content_hash);
        let scorer = self.shared.load(&model)?;
        let run = std::panic::AssertUnwindSafe(|| scorer.predict(&[row]));
        let outputs = match std::panic::catch_unwind(run) {
            Ok(result) => result.map_err(InferenceError::Failed)?,
            Err(panic) => return Err(InferenceError::Panicked(crate::spawn::panic_text(&*panic))),
        };
        let none = || {
            InferenceError::Failed(ScoreError {
                code: verdict_config::Code::Internal,
                detail: "the model gave no output".to_owned(),
            })
        };
        outputs.into_iter().next().ok_or_else(none)
    }

    /// Whether a model is in memory. One that is being loaded counts as not.
    #[must_use]
    pub fn is_loaded(&self, content_hash: &str) -> bool {
        self.shared.models.read().get(content_hash).is_some_and(|model| model.is_loaded())
    }

    /// Forgets the queues and memory of all models but these. Requests that hold one finish.
    pub fn retain(&self, hashes: &BTreeSet<Arc<str>>) {
        let gone: Vec<Arc<ModelQueue>> = {
            let mut models = self.shared.models.write();
            let (kept, gone) = std::mem::take(&mut *models)
                .into_iter()
                .partition(|(hash, _)| hashes.contains(hash));
            *models = kept;
            let gone: HashMap<Arc<str>, Arc<ModelQueue>> = gone;
            gone.into_values().collect()
        };
        for model in gone {
            self.shared.unload(&model);
        }
    }

    /// What inference holds now.
    #[must_use]
    pub fn status(&self) -> InferenceStatus {
        let models = self.shared.models.read();
        let mut circuits_open: Vec<String> = models
            .values()
            .filter(|model| model.breaker.lock().is_open())
            .map(|model| model.hash.to_string())
            .collect();
        circuits_open.sort_unstable();
        InferenceStatus {
            models: models.len(),
            models_loaded: models.values().filter(|model| model.is_loaded()).count(),
            resident_bytes: self.shared.resident_bytes.load(Ordering::Relaxed),
            cached_results: self.shared.cache.len(),
            circuits_open,
        }
    }
}

async fn wait<T>(
    deadline: Instant,
    answered: oneshot::Receiver<Result<T, InferenceError>>,
) -> Result<T, InferenceError> {
    match tokio::time::timeout_at(deadline.into(), answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(InferenceError::Stopped),
        Err(_) => Err(InferenceError::DeadlineExceeded),
    }
}

#[cfg(test)]
mod tests;
