//! A pool of supervised workers behind one bounded queue.
//!
//! ```text
//! handle ── permit? ──> queue (bounded, shared) <── pulls ── worker task (owns its scratch)
//!    │ full: Overloaded                                         │ catches a panic, answers the job,
//!    └─ awaits the answer until its deadline                    └ retires: its actor fails, is counted
//!                                                                 and restarted with fresh scratch
//! ```
//!
//! One job is the whole rules stage of a request. The queue is shared memory and not a mailbox: an
//! actor that dies takes its mailbox along, and a panic has to cost one request and not those that
//! wait behind it. Workers are tasks of the same runtime as the callers, because waking another
//! thread costs more than most jobs do (`benches/RESULTS.md` compares ractor's factory, an actor
//! mailbox a worker, this queue, and threads of their own).
//!
//! It owns admission and the catching of panics, and never knows what a job computes.

mod worker;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::spawn::panic_text;
use crate::supervisor::{ChildSpec, Gauge, RestartPolicy, TreeEntry};
use worker::PoolWorker;

/// Size and limits of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    /// The pool's name in the tree and in metrics.
    pub name: &'static str,
    /// Workers; 1 to 256.
    pub workers: usize,
    /// Jobs that may wait or run at the same time; further ones are shed.
    pub jobs_max: usize,
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Too many jobs wait.
    #[error("the {0} pool is full")]
    Overloaded(&'static str),
    /// The job panicked; the worker is being restarted.
    #[error("a worker panicked: {0}")]
    Panicked(String),
    /// The deadline passed before the job was done.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The pool is stopped.
    #[error("the pool is stopped")]
    Stopped,
}

/// What a worker runs: it answers its caller itself and returns the text of a panic, if there was one.
type Job<S> = Box<dyn FnOnce(&mut S) -> Result<(), String> + Send>;

struct Shared<S> {
    options: PoolOptions,
    queue: Mutex<VecDeque<Job<S>>>,
    wake: Notify,
    in_flight: AtomicUsize,
    shed: AtomicU64,
}

impl<S: Send> Gauge for Shared<S> {
    fn depth_and_limit(&self) -> (u64, u64) {
        (self.in_flight.load(Ordering::Relaxed) as u64, self.options.jobs_max as u64)
    }
}

/// A handle to a pool whose workers each own a scratch `S`. Cloning is cheap.
pub struct Pool<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S> std::fmt::Debug for Pool<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pool").field("options", &self.shared.options).finish()
    }
}

/// The right to run one job; given back when the job is over, however it ends.
pub struct Permit<S> {
    shared: Arc<Shared<S>>,
    /// How many permits were out before this one.
    position: usize,
}

impl<S> std::fmt::Debug for Permit<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Permit({})", self.position)
    }
}

/// What a job came to.
#[derive(Debug)]
pub struct Done<T> {
    /// The caller's result.
    pub result: T,
    /// The text of a panic that the job caught itself: the caller has its result, and the worker
    /// retires, because its scratch may be in disorder.
    pub panic: Option<String>,
}

impl<S> Drop for Permit<S> {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<S: Default + Send + 'static> Pool<S> {
    /// A pool whose workers start with the branch that [`Pool::branch`] gives.
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        let queue = Mutex::new(VecDeque::with_capacity(options.jobs_max.min(1_024)));
        let (wake, in_flight, shed) = (Notify::new(), AtomicUsize::new(0), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { options, queue, wake, in_flight, shed }) }
    }

    /// The branch of the supervision tree that runs this pool.
    #[must_use]
    pub fn branch(&self) -> ChildSpec {
        let options = &self.shared.options;
        let gauge: Arc<dyn Gauge> = Arc::clone(&self.shared) as Arc<dyn Gauge>;
        let entry = TreeEntry::with_gauge(options.name, "supervisor", Some(gauge));
        let workers = (0..options.workers.clamp(1, 256)).map(|number| {
            let shared = Arc::clone(&self.shared);
            let entry = TreeEntry::new(format!("{}-{number}", options.name), "worker");
            ChildSpec::new::<PoolWorker<S>, _>(entry, RestartPolicy::worker(), move || {
                (PoolWorker::new(), Arc::clone(&shared))
            })
        });
        ChildSpec::branch(entry, RestartPolicy::branch(), workers.collect())
    }

    /// Jobs that were refused because the pool was full, since its start.
    #[must_use]
    pub fn shed_total(&self) -> u64 {
        self.shared.shed.load(Ordering::Relaxed)
    }

    /// Runs `work` on a worker. If the caller goes away before it begins, it is skipped.
    ///
    /// # Errors
    /// [`PoolError`]; the work may still run to its end after `DeadlineExceeded`.
    pub async fn run<T, F>(&self, deadline: Instant, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> T + Send + 'static,
    {
        self.admit()?.run(deadline, |scratch| Done { result: work(scratch), panic: None }).await
    }

    /// Takes a permit, before what the job needs is given away.
    ///
    /// # Errors
    /// [`PoolError::Overloaded`].
    pub fn admit(&self) -> Result<Permit<S>, PoolError> {
        let permit = self.admit_always();
        if permit.position < self.shared.options.jobs_max {
            return Ok(permit);
        }
        self.shared.shed.fetch_add(1, Ordering::Relaxed);
        let name = self.shared.options.name;
        metrics::counter!("verdict_shed_total", "stage" => name).increment(1);
        Err(PoolError::Overloaded(name))
    }

    /// Takes a permit beyond the limit: for the second job of a request whose first was admitted.
    /// There are never more of these than requests.
    #[must_use]
    pub fn admit_always(&self) -> Permit<S> {
        let position = self.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        Permit { shared: Arc::clone(&self.shared), position }
    }
}

impl<S: Default + Send + 'static> Permit<S> {
    /// Runs `work` on a worker. Work that caught a panic itself says so, and the worker retires.
    ///
    /// # Errors
    /// [`PoolError`], but never `Overloaded`.
    pub async fn run<T, F>(self, deadline: Instant, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Done<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let (answer, answered) = oneshot::channel();
        let job: Job<S> = Box::new(move |scratch| {
            let _permit = self;
            if answer.is_closed() {
                return Ok(());
            }
            match std::panic::catch_unwind(AssertUnwindSafe(|| work(scratch))) {
                Ok(Done { result, panic }) => {
                    // A caller that left needs no answer.
                    drop(answer.send(Ok(result)));
                    panic.map_or(Ok(()), Err)
                }
                Err(panic) => {
                    let text = panic_text(&*panic);
                    drop(answer.send(Err(PoolError::Panicked(text.clone()))));
                    Err(text)
                }
            }
        });
        shared.queue.lock().push_back(job);
        shared.wake.notify_one();
        drop(shared);
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PoolError::Stopped),
            Err(_) => Err(PoolError::DeadlineExceeded),
        }
    }
}

#[cfg(test)]
mod tests;
