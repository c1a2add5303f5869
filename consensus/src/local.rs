//! The log of a single node: one durable append-only file of commands, snapshots beside it.
//!
//! ```text
//!   format       version of the folder's layout
//!   lock         held by the process that has the folder
//!   mark         the last index known durable, kept apart so that a cut log is noticed
//!   log-N.vlog   commands from index N on: [length u32][crc32 u32][index u64][command]
//!   snapshot-N.vsnap   the catalogue after index N
//! ```
//!
//! One thread writes. It takes the proposals that wait as one group, applies each to the newest
//! catalogue, appends those that were accepted with one write, syncs, moves the mark and syncs it,
//! and only then answers them and shows the catalogue to watchers. So what lies behind the mark was
//! never acknowledged and may be cut when torn, and what lies before it was, and damage there
//! refuses the start. A failed write or sync is final: nothing is retried, because the state of the
//! file is no longer known; the folder must be opened again.

pub(crate) mod folder;
mod frames;
mod mark;
pub(crate) mod recovery;
mod snapshots;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use verdict_config::TimestampMs;

use crate::apply::{Applied, DryRun};
use crate::catalogue::{Catalogue, Limits};
use crate::command::{Author, ChangeSet};
use crate::error::{ChangeRefused, LogError, ProposeError};
use crate::log::{Log, LogFuture, LogStatus};
use crate::validate::{DefinitionValidator, Validator};

/// Where the log takes the time from that it stamps on commands.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// How a local log works.
#[derive(Clone)]
pub struct LocalLogOptions {
    /// The clock.
    pub clock: Clock,
    /// What bodies must be.
    pub validator: Arc<dyn Validator>,
    /// History limits of a new catalogue; one that exists keeps its own.
    pub limits: Limits,
    /// Bytes of commands after which a snapshot is made.
    pub snapshot_bytes: u64,
    /// Commands after which a snapshot is made.
    pub snapshot_commands: u64,
    /// Most proposals that wait; more are refused as overload.
    pub queue_max: usize,
    /// Most proposals that share one sync.
    pub group_max: usize,
}

impl LocalLogOptions {
    /// Defaults with a clock.
    pub fn new(clock: impl Fn() -> TimestampMs + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            validator: Arc::new(DefinitionValidator),
            limits: Limits::default(),
            snapshot_bytes: 16 << 20,
            snapshot_commands: 20_000,
            queue_max: 1_024,
            group_max: 256,
        }
    }
}

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct LocalLogRecovery {
    /// Index of the snapshot that was read; 0 if none.
    pub snapshot_index: u64,
    /// Commands read behind it.
    pub commands: u64,
    /// Bytes of an unacknowledged command that were cut off at the end.
    pub torn_bytes: u64,
    /// Newer snapshots that were damaged and passed over; the log made up for them.
    pub damaged_snapshots: Vec<String>,
}

pub(crate) enum Message {
    Propose { change_set: Box<ChangeSet>, author: Author, reply: Reply },
    Close,
}

pub(crate) type Reply = oneshot::Sender<Result<Applied, ProposeError>>;

/// The log of a single node.
pub struct LocalLog {
    sender: Mutex<Option<SyncSender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    catalogues: watch::Receiver<Arc<Catalogue>>,
    status: Arc<Mutex<LogStatus>>,
    options: LocalLogOptions,
}

impl LocalLog {
    /// Opens the log in a folder, which is made if it is absent.
    ///
    /// # Errors
    /// Damage where commands were acknowledged, a newer format, another process, or the disk.
    pub fn open(
        folder: &Path,
        options: LocalLogOptions,
    ) -> Result<(Self, LocalLogRecovery), LogError> {
        let (state, recovery) = recovery::open(folder, &options)?;
        let (sender, receiver) = sync_channel(options.queue_max.max(1));
        let (publish, catalogues) = watch::channel(Arc::clone(&state.catalogue));
        let status = Arc::new(Mutex::new(state.status()));
        let writer = writer::Writer::new(state, options.clone(), publish, Arc::clone(&status));
        let thread = std::thread::Builder::new()
            .name("verdict-log".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|source| folder::io(folder, source))?;
        let log = Self {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            catalogues,
            status,
            options,
        };
        Ok((log, recovery))
    }

    fn send(
        &self,
        change_set: ChangeSet,
        author: Author,
        reply: Reply,
    ) -> Result<(), ProposeError> {
        let change_set = change_set.normalised().map_err(ChangeRefused::Invalid)?;
        let sender = self.sender.lock();
        let Some(sender) = sender.as_ref() else { return Err(self.closed()) };
        // Before it is sent: the writer may answer it before this thread goes on.
        self.status.lock().waiting += 1;
        let message = Message::Propose { change_set: Box::new(change_set), author, reply };
        sender.try_send(message).map_err(|error| {
            self.status.lock().waiting -= 1;
            match error {
                TrySendError::Full(_) => ProposeError::Overloaded,
                TrySendError::Disconnected(_) => self.closed(),
            }
        })?;
        Ok(())
    }

    fn closed(&self) -> ProposeError {
        match self.status.lock().failed.clone() {
            Some(failure) => ProposeError::Storage(failure),
            None => ProposeError::Draining,
        }
    }

    /// Ends the writer, once it has answered what waits.
    fn close(&self) -> Option<JoinHandle<()>> {
        // A full queue means that the writer is busy: the sender's end tells it as well.
        if let Some(sender) = self.sender.lock().take() {
            let _ = sender.try_send(Message::Close);
        }
        self.thread.lock().take()
    }
}

impl Log for LocalLog {
    fn propose(
        &self,
        change_set: ChangeSet,
        author: Author,
    ) -> LogFuture<'_, Result<Applied, ProposeError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(change_set, author, reply);
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(self.closed()))
        })
    }

    fn dry_run(&self, change_set: ChangeSet, author: Author) -> Result<DryRun, ChangeRefused> {
        let at = (self.options.clock)();
        let catalogue = self.catalogue();
        crate::apply::dry_run(&catalogue, change_set, author, at, &*self.options.validator)
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogues.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogues.clone()
    }

    fn status(&self) -> LogStatus {
        self.status.lock().clone()
    }

    fn drain(&self) -> LogFuture<'_, ()> {
        let thread = self.close();
        Box::pin(async move {
            if let Some(thread) = thread {
                // Joining blocks: not on a worker of the runtime.
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
        })
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        if let Some(thread) = self.close() {
            let _ = thread.join();
        }
    }
}
