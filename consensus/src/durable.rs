//! Making writes durable: the one place that syncs the log's store.
//!
//! ```text
//!  log store --write(batch)--> LogEngine      readable at once, not durable
//!            --Barrier(done)-> queue ──> sync thread: drain what waits
//!                                          engine.sync()     (one for all of them)
//!                                          done(Ok) ...      in order
//!                                          mark: last durable index, in a file of its own
//! ```
//!
//! A barrier is answered only after a sync that began when everything written before it was in the
//! engine. Whatever waits when a sync begins shares it (group commit). A failed sync is final: the
//! state of the file is unknown from then on, so nothing is retried, every waiting and later
//! barrier fails, and the process must end and open the folder again.
//!
//! The engine may lose its tail in silence when it meets a damaged page. The mark says, outside of
//! it, up to which index entries were durable, and which vote was cast. It trails behind by at most
//! [`MARK_DELAY_MAX`], because a second sync for each group would double the latency of a change; a
//! vote, and a shortened log, wait for it.

mod mark;
mod sled_engine;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::disk_failure;

pub(crate) use mark::{Mark, MarkState, MarkedVote};
pub use sled_engine::open_sled;

/// Barriers that may wait for the sync thread; whoever comes then waits for a place.
const QUEUE_MAX: usize = 1_024;
/// How long the store must be idle before the mark catches up.
const MARK_IDLE: Duration = Duration::from_millis(2);
/// How long the mark may trail behind under load.
const MARK_DELAY_MAX: Duration = Duration::from_millis(100);

/// Writes that become readable together, and after a power loss are there together or not at all.
#[derive(Debug, Clone, Default)]
pub struct EngineBatch {
    /// Keys with their new values; `None` removes the key.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl EngineBatch {
    /// Puts a value.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.writes.push((key, None));
    }
}

/// An ordered key-value store under the log. Values stay below 8 KiB.
///
/// Batches become durable in the order in which they were written: after a power loss a prefix of
/// them is there, and at least everything written before the last successful `sync` began.
pub trait LogEngine: Send + Sync + 'static {
    /// Writes a batch; it is readable when this returns, and durable after the next `sync`.
    ///
    /// # Errors
    /// What the operating system says; the store takes nothing more then.
    fn write(&self, batch: EngineBatch) -> io::Result<()>;

    /// The value of a key.
    ///
    /// # Errors
    /// A read that failed, or damage.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Shows entries from `from` (inclusive) to `to` (exclusive) in key order, until `visit` says
    /// `false`.
    ///
    /// # Errors
    /// A read that failed, or damage.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()>;

    /// Makes everything written so far survive a loss of power.
    ///
    /// # Errors
    /// What the disk says. It is never called again after an error.
    fn sync(&self) -> io::Result<()>;

    /// Bytes on disk, for metrics.
    fn disk_bytes(&self) -> u64 {
        0
    }
}

/// Opens the engine of a folder.
pub type EngineOpener = Arc<dyn Fn(&Path) -> io::Result<Arc<dyn LogEngine>> + Send + Sync>;

/// Told once when a barrier is through: durable, or why it can never be.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What a barrier does to the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marking {
    /// Nothing.
    Keep,
    /// Entries up to this index are written; the mark follows later.
    Reached(u64),
    /// The log is about to be cut behind this index; the mark must say so first.
    Lower(u64),
    /// A vote is cast; it must be marked before it is told to anybody.
    Vote(MarkedVote),
}

struct Barrier {
    marking: Marking,
    done: Done,
}

/// Figures of the sync thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SyncFigures {
    pub syncs: u64,
    pub sync_us_last: u64,
    pub sync_us_max: u64,
}

/// The engine with its sync thread.
pub(crate) struct Durable {
    /// Gone once the store is closed, so that the files are let go of.
    engine: Mutex<Option<Arc<dyn LogEngine>>>,
    sender: Mutex<Option<SyncSender<Barrier>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failed: watch::Sender<Option<String>>,
    figures: Arc<Mutex<SyncFigures>>,
}

impl Durable {
    /// Starts the sync thread.
    pub fn start(engine: Arc<dyn LogEngine>, mark: Mark) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let (failed, _) = watch::channel(None);
        let figures = Arc::new(Mutex::new(SyncFigures::default()));
        let syncer = Syncer {
            engine: Arc::clone(&engine),
            reached: mark.state.index,
            mark,
            dirty_since: None,
            failed: failed.clone(),
            figures: Arc::clone(&figures),
        };
        let thread = std::thread::Builder::new()
            .name("verdict-sync".to_owned())
            .spawn(move || syncer.run(&receiver))?;
        let (sender, thread) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Self { engine: Mutex::new(Some(engine)), sender, thread, failed, figures })
    }

    /// The engine, as long as the store is open.
    pub fn engine(&self) -> io::Result<Arc<dyn LogEngine>> {
        self.engine.lock().clone().ok_or_else(|| io::Error::other("the store is closed"))
    }

    /// Calls `done` when everything written so far is durable.
    pub fn barrier(&self, marking: Marking, done: Done) {
        let sender = self.sender.lock().clone();
        let Some(sender) = sender else {
            return done(Err(io::Error::other("the store is closed")));
        };
        if let Err(refused) = sender.send(Barrier { marking, done }) {
            (refused.0.done)(Err(io::Error::other("the sync thread has ended")));
        }
    }

    /// Waits until everything written so far is durable.
    pub async fn wait(&self, marking: Marking) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = move |result| {
            // Whoever waited may have gone; the sync happened all the same.
            let _ = sender.send(result);
        };
        self.barrier(marking, Box::new(done));
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the sync thread has ended")))
    }

    /// Says that a write failed: from then on nothing is durable any more.
    pub fn fail(&self, failure: &str) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                tracing::error!(code = "VD0704", failure, "the log takes no more changes");
                *failed = Some(failure.to_owned());
            }
            first
        });
    }

    /// Why nothing more becomes durable, once that is so.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    pub fn figures(&self) -> SyncFigures {
        *self.figures.lock()
    }

    /// Lets the sync thread finish what waits, with the mark, and ends it.
    pub fn close(&self) {
        self.sender.lock().take();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.engine.lock().take();
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.close();
    }
}

struct Syncer {
    engine: Arc<dyn LogEngine>,
    mark: Mark,
    /// The last index known durable; the mark follows it.
    reached: u64,
    dirty_since: Option<Instant>,
    failed: watch::Sender<Option<String>>,
    figures: Arc<Mutex<SyncFigures>>,
}

impl Syncer {
    fn run(mut self, receiver: &Receiver<Barrier>) {
        loop {
            let first = match self.dirty_since {
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => {
                    let left = MARK_DELAY_MAX.saturating_sub(since.elapsed());
                    receiver.recv_timeout(left.min(MARK_IDLE))
                }
            };
            match first {
                Ok(first) => self.group(first, receiver),
                Err(RecvTimeoutError::Timeout) => self.catch_up(),
                Err(RecvTimeoutError::Disconnected) => return self.catch_up(),
            }
            if self.dirty_since.is_some_and(|since| since.elapsed() >= MARK_DELAY_MAX) {
                self.catch_up();
            }
        }
    }

    /// One sync for everything that waits.
    fn group(&mut self, first: Barrier, receiver: &Receiver<Barrier>) {
        let mut group = vec![first];
        while group.len() < QUEUE_MAX {
            let Ok(next) = receiver.try_recv() else { break };
            group.push(next);
        }
        if cfg!(verdict_bug = "acknowledge_before_sync") {
            let marks = group.iter().map(|barrier| barrier.marking).collect::<Vec<_>>();
            group.into_iter().for_each(|barrier| (barrier.done)(Ok(())));
            let nobody = |marking| Barrier { marking, done: Box::new(|_| {}) };
            let _ = self.sync(&marks.into_iter().map(nobody).collect::<Vec<_>>());
            return;
        }
        let result = self.sync(&group);
        for barrier in group {
            let told = match &result {
                Ok(()) => Ok(()),
                Err(failure) => Err(io::Error::other(failure.clone())),
            };
            (barrier.done)(told);
        }
    }

    fn sync(&mut self, group: &[Barrier]) -> Result<(), String> {
        if let Some(failure) = self.failed.borrow().clone() {
            return Err(failure);
        }
        let started = Instant::now();
        let result = self.engine.sync().and_then(|()| self.note(group));
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut figures = self.figures.lock();
        figures.syncs += 1;
        figures.sync_us_last = elapsed_us;
        figures.sync_us_max = figures.sync_us_max.max(elapsed_us);
        drop(figures);
        result.map_err(|error| self.fail(&error))
    }

    fn fail(&self, error: &io::Error) -> String {
        let failure = disk_failure(&format!("a sync failed: {error}"));
        tracing::error!(code = "VD0704", failure, "the log takes no more changes");
        self.failed.send_replace(Some(failure.clone()));
        failure
    }

    /// What the group does to the mark, in its order.
    fn note(&mut self, group: &[Barrier]) -> io::Result<()> {
        let mut strict = false;
        let mut state = self.mark.state;
        for barrier in group {
            match barrier.marking {
                Marking::Keep => {}
                Marking::Reached(index) => self.reached = self.reached.max(index),
                Marking::Lower(index) => {
                    self.reached = self.reached.min(index);
                    strict |= state.index > index;
                }
                Marking::Vote(vote) => {
                    state.vote = Some(vote);
                    strict = true;
                }
            }
        }
        state.index = self.reached;
        if strict {
            self.mark.advance(state)?;
            self.dirty_since = None;
        } else if state != self.mark.state && self.dirty_since.is_none() {
            self.dirty_since = Some(Instant::now());
        }
        Ok(())
    }

    fn catch_up(&mut self) {
        self.dirty_since = None;
        let state = MarkState { index: self.reached, ..self.mark.state };
        if state == self.mark.state || self.failed.borrow().is_some() {
            return;
        }
        if let Err(error) = self.mark.advance(state) {
            self.fail(&error);
        }
    }
}

#[cfg(test)]
mod tests;
