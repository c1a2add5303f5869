//! What the callers and the compute threads share: the queues of the models, and which of them are
//! loaded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::model::{Item, ModelQueue};
use super::{InferenceError, InferenceOptions, ModelLoader, ResultCache, Scorer};
use crate::supervisor::Gauge;

/// The models and the work that waits for them.
pub(crate) struct Shared {
    pub(super) options: InferenceOptions,
    pub(super) loader: Arc<dyn ModelLoader>,
    pub(super) models: RwLock<HashMap<Arc<str>, Arc<ModelQueue>>>,
    pub(super) cache: ResultCache,
    /// Models with rows that wait, each at most once; a thread takes the first.
    pub(super) ready: Mutex<VecDeque<Arc<ModelQueue>>>,
    pub(super) wake: Condvar,
    pub(super) resident_bytes: AtomicU64,
    pub(super) clock: AtomicU64,
    pub(super) rows_waiting: AtomicU64,
}

impl Gauge for Shared {
    fn depth_and_limit(&self) -> (u64, u64) {
        let models = self.models.read().len().max(1) as u64;
        let limit = models.saturating_mul(self.options.queue_rows_max as u64);
        (self.rows_waiting.load(Ordering::Relaxed), limit)
    }
}

impl Shared {
    pub(super) fn queue_of(&self, content_hash: &Arc<str>) -> Arc<ModelQueue> {
        if let Some(model) = self.models.read().get(content_hash) {
            return Arc::clone(model);
        }
        let mut models = self.models.write();
        let model = models.entry(Arc::clone(content_hash)).or_insert_with(|| {
            Arc::new(ModelQueue::new(Arc::clone(content_hash), self.options.breaker))
        });
        Arc::clone(model)
    }

    pub(super) fn push(&self, model: &Arc<ModelQueue>, item: Item) -> Result<(), InferenceError> {
        {
            let mut queue = model.queue.lock();
            if queue.items.len() >= self.options.queue_rows_max {
                metrics::counter!("verdict_shed_total", "stage" => "inference").increment(1);
                return Err(InferenceError::Overloaded);
            }
            queue.items.push_back(item);
            self.rows_waiting.fetch_add(1, Ordering::Relaxed);
            if queue.listed {
                return Ok(());
            }
            queue.listed = true;
        }
        self.ready.lock().push_back(Arc::clone(model));
        self.wake.notify_one();
        Ok(())
    }

    /// The next model that has work; `None` once `stop` is set.
    pub(super) fn next_ready(&self, stop: &AtomicBool) -> Option<Arc<ModelQueue>> {
        let mut ready = self.ready.lock();
        loop {
            if stop.load(Ordering::Acquire) {
                return None;
            }
            if let Some(model) = ready.pop_front() {
                return Some(model);
            }
            // The pause bounds how long a stop that came between check and wait goes unseen.
            self.wake.wait_for(&mut ready, Duration::from_millis(250));
        }
    }

    /// Takes a batch off a model's queue: callers that left are skipped, rows that cannot make it
    /// are shed. A model with more work goes to the end of the ready list.
    pub(super) fn take_batch(&self, model: &Arc<ModelQueue>, now: Instant) -> Vec<Item> {
        let mut batch = Vec::new();
        let more = {
            let mut queue = model.queue.lock();
            while batch.len() < self.options.batch_rows_max {
                let Some(item) = queue.items.pop_front() else { break };
                self.rows_waiting.fetch_sub(1, Ordering::Relaxed);
                if !item.ask.is_abandoned() {
                    batch.push(item);
                }
            }
            queue.listed = !queue.items.is_empty();
            queue.listed
        };
        if more {
            self.ready.lock().push_back(Arc::clone(model));
            self.wake.notify_one();
        }
        let ends = now + model.cost.lock().estimate(batch.len());
        let (in_time, late): (Vec<Item>, Vec<Item>) =
            batch.into_iter().partition(|item| item.deadline >= ends);
        if !late.is_empty() {
            metrics::counter!("verdict_shed_total", "stage" => "inference_deadline")
                .increment(late.len() as u64);
        }
        for item in late {
            item.ask.fail(InferenceError::Overloaded);
        }
        in_time
    }

    /// The model in memory, loaded if it is not.
    pub(super) fn load(&self, model: &ModelQueue) -> Result<Arc<dyn Scorer>, InferenceError> {
        model.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut loaded = model.loaded.lock();
        if let Some(scorer) = &*loaded {
            return Ok(Arc::clone(scorer));
        }
        let scorer = self.loader.load(&model.hash)?;
        *loaded = Some(Arc::clone(&scorer));
        self.resident_bytes.fetch_add(scorer.bytes() as u64, Ordering::Relaxed);
        drop(loaded);
        metrics::counter!("verdict_model_loads_total").increment(1);
        let known = self
            .models
            .read()
            .get(&model.hash)
            .is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), model));
        if !known {
            // Its last request came after the model was let go: nothing would unload it later.
            self.unload(model);
        }
        self.unload_beyond_limit(&model.hash);
        self.report_memory();
        Ok(scorer)
    }

    pub(super) fn unload(&self, model: &ModelQueue) {
        if let Some(scorer) = model.loaded.lock().take() {
            self.resident_bytes.fetch_sub(scorer.bytes() as u64, Ordering::Relaxed);
            self.report_memory();
        }
    }

    /// Unloads the least recently used models, but never the one that was just loaded.
    fn unload_beyond_limit(&self, keep: &str) {
        while self.resident_bytes.load(Ordering::Relaxed) > self.options.resident_bytes_max {
            let oldest = self
                .models
                .read()
                .values()
                .filter(|model| *model.hash != *keep && model.is_loaded())
                .min_by_key(|model| model.used.load(Ordering::Relaxed))
                .cloned();
            let Some(oldest) = oldest else { return };
            self.unload(&oldest);
        }
    }

    fn report_memory(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("verdict_model_resident_bytes")
            .set(self.resident_bytes.load(Ordering::Relaxed) as f64);
    }
}
