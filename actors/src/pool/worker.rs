//! A worker's actor: a shell that owns the task which pulls jobs.

use std::marker::PhantomData;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use crate::spawn::Spawner;

/// Jobs that a worker runs before it lets other tasks of its thread run. Larger is more throughput
/// under a full queue and later answers.
const JOBS_PER_TURN: u32 = 4;

/// The shell of one worker. It fails when its task reports a panic, and ends its task when it ends.
pub(super) struct PoolWorker<S>(PhantomData<fn() -> S>);

/// What the worker's task tells its shell.
pub(super) enum WorkerMessage {
    /// A job panicked with this text, and the task has ended.
    Panicked(String),
}

impl ractor::Message for WorkerMessage {}

impl<S> PoolWorker<S> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S: Default + Send + 'static> Actor for PoolWorker<S> {
    type Msg = WorkerMessage;
    type State = DropGuard;
    type Arguments = Arc<Shared<S>>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        shared: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let pulling = async move {
            if let Err(text) = pull(&shared, &stopped).await {
                // The shell is gone only when the pool stops; then nobody needs to know.
                drop(myself.cast(WorkerMessage::Panicked(text)));
            }
        };
        drop(Spawner::default().spawn("pool-worker", pulling));
        Ok(stop.drop_guard())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMessage::Panicked(text) => Err(text.into()),
        }
    }
}

/// Runs jobs until told to stop (then it finishes what is queued) or until one panics.
async fn pull<S: Default>(shared: &Shared<S>, stop: &CancellationToken) -> Result<(), String> {
    let mut scratch = S::default();
    let mut jobs = 0u32;
    loop {
        let woken = shared.wake.notified();
        let next = shared.queue.lock().pop_front();
        if let Some(job) = next {
            let result = job(&mut scratch);
            if result.is_err() {
                // This task consumed a wake-up and ends: another worker must look at the queue.
                shared.wake.notify_one();
                return result;
            }
            // Callers whose answers are ready wait while this task holds the thread: a queue that
            // never empties must not hold back the answers of its first jobs.
            jobs += 1;
            if jobs.is_multiple_of(JOBS_PER_TURN) {
                tokio::task::yield_now().await;
            }
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = woken => {}
        }
    }
}
