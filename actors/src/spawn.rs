//! The one place of this crate that starts tasks and threads.
//!
//! Bare `tokio::spawn` loses panics and outlives a drain. A [`Spawner`] keeps every task in a
//! tracked set: a panic is caught, logged with the task's name and counted
//! (`verdict_task_panics_total`), and [`Spawner::close_and_wait`] ends only when all of them have.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tracked tasks. Cloning is cheap; clones share the set.
#[derive(Debug, Clone, Default)]
pub struct Spawner {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Spawner {
    /// Starts a task. Its result is `None` if it panicked.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(output) => Some(output),
                Err(panic) => {
                    report_panic(name, &panic_text(&*panic));
                    None
                }
            }
        })
    }

    /// Starts blocking work (disk, compilation) on the runtime's blocking threads, which are
    /// bounded by the runtime. Its result is `None` if it panicked.
    pub fn spawn_blocking<F, T>(&self, name: &'static str, work: F) -> JoinHandle<Option<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker.spawn_blocking(move || caught(name, work))
    }

    /// Set when everything is to end: tasks that loop watch it.
    #[must_use]
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Sets [`Spawner::stop`] and waits, at most `limit`, until every task has ended. Returns
    /// whether all did.
    pub async fn close_and_wait(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

/// Works here and now. The result is `None` if it panicked.
pub fn caught<T>(name: &'static str, work: impl FnOnce() -> T) -> Option<T> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(output) => Some(output),
        Err(panic) => {
            report_panic(name, &panic_text(&*panic));
            None
        }
    }
}

fn report_panic(name: &'static str, text: &str) {
    metrics::counter!("verdict_task_panics_total", "task" => name).increment(1);
    tracing::error!(task = name, panic = text, "a task panicked");
}

/// The text of a panic's payload.
#[must_use]
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a text").chars().take(512).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_its_task() {
        let spawner = Spawner::default();
        let failed = spawner.spawn("test", async { panic!("deliberate") });
        let worked = spawner.spawn("test", async { 7 });
        assert_eq!(failed.await.unwrap(), None::<()>);
        assert_eq!(worked.await.unwrap(), Some(7));
        assert!(spawner.close_and_wait(Duration::from_secs(5)).await);
    }

    #[test]
    fn panic_texts_are_bounded() {
        let long: Box<dyn std::any::Any + Send> = Box::new("x".repeat(10_000));
        assert_eq!(panic_text(&*long).len(), 512);
        let other: Box<dyn std::any::Any + Send> = Box::new(7);
        assert_eq!(panic_text(&*other), "a panic without a text");
    }
}
