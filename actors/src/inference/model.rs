//! One model's queue, breaker, cost and memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use verdict_config::model::{ModelOutput, ModelRow};
use verdict_neural::Contribution;

use super::{BatchCost, Breaker, BreakerOptions, InferenceError, ResultKey, Scorer};

/// What a caller asks of a row.
pub(super) enum Ask {
    /// Its scores.
    Score { key: ResultKey, answer: oneshot::Sender<Result<ModelOutput, InferenceError>> },
    /// What speaks for a label.
    Explain {
        label: usize,
        top: usize,
        answer: oneshot::Sender<Result<Vec<Contribution>, InferenceError>>,
    },
}

impl Ask {
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Score { answer, .. } => answer.is_closed(),
            Self::Explain { answer, .. } => answer.is_closed(),
        }
    }

    pub(super) fn fail(self, error: InferenceError) {
        // A caller that left needs no answer.
        match self {
            Self::Score { answer, .. } => drop(answer.send(Err(error))),
            Self::Explain { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// One row that waits.
pub(super) struct Item {
    pub row: ModelRow,
    pub deadline: Instant,
    pub ask: Ask,
}

/// Rows that wait, and whether the model stands in the ready list.
#[derive(Default)]
pub(super) struct Queue {
    pub items: VecDeque<Item>,
    pub listed: bool,
}

/// One model by content hash.
pub(super) struct ModelQueue {
    pub hash: Arc<str>,
    pub queue: Mutex<Queue>,
    pub breaker: Mutex<Breaker>,
    pub cost: Mutex<BatchCost>,
    pub loaded: Mutex<Option<Arc<dyn Scorer>>>,
    /// A logical time of last use, for unloading the least recently used.
    pub used: AtomicU64,
}

impl ModelQueue {
    pub(super) fn new(hash: Arc<str>, breaker: BreakerOptions) -> Self {
        Self {
            hash,
            queue: Mutex::default(),
            breaker: Mutex::new(Breaker::new(breaker)),
            cost: Mutex::default(),
            loaded: Mutex::new(None),
            used: AtomicU64::new(0),
        }
    }

    /// Whether it is in memory. One that is being loaded counts as not.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.try_lock().is_some_and(|loaded| loaded.is_some())
    }
}
