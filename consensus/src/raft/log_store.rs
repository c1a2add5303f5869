//! The log, the vote and the purge mark on an engine.
//!
//! ```text
//!   l <index> <chunk>   [crc32][index][chunk][chunks] bytes     an entry, in pieces of 6 KiB
//!   m vote              [crc32] vote
//!   m purged            [crc32] place of the last entry that was let go
//!   file committed      place up to which entries were committed: written for each apply, not
//!                       synced, so that a process that is killed comes back as far as it was
//! ```
//!
//! An engine may lose its tail in silence, and a disk may flip bits. So every value carries a
//! checksum, opening reads every entry and refuses a gap, and the mark outside the store says how
//! far the log must reach.

mod cache;
mod chunks;
pub mod opening;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;

use self::cache::Cache;
use super::steps::{Probe, Step};
use super::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use super::wire::{LogIdV1, VoteV1, encode_entry};
use crate::durable::{Durable, EngineBatch, Mark, MarkState, MarkedVote, Marking};
use crate::error::disk_failure;

/// Bytes that one answer to a reader holds, but for a single entry that is longer.
const READ_BYTES_MAX: usize = 2 << 20;
/// Entries that one batch removes.
const REMOVE_BATCH: usize = 1_000;

struct State {
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    cache: Cache,
}

struct Inner {
    durable: Arc<Durable>,
    state: Mutex<State>,
    committed: Mutex<Mark>,
    /// Index up to which entries are known committed also after a loss of power.
    committed_durable: AtomicU64,
    probe: OnceLock<Probe>,
    /// Says up to which index entries may go: those behind the older snapshot stay, should the newest
    /// one be corrupted.
    keep_from: OnceLock<KeepFrom>,
}

type KeepFrom = Box<dyn Fn() -> u64 + Send + Sync>;

/// The log store; clones share it.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

fn write_error(error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

fn read_error(error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::read_logs(AnyError::new(error)).into()
}

impl LogStore {
    /// The sync thread under it.
    pub fn durable(&self) -> &Arc<Durable> {
        &self.inner.durable
    }

    /// Says which probe is called.
    pub fn set_probe(&self, probe: Probe) {
        // It is said once, before the consensus starts.
        let _ = self.inner.probe.set(probe);
    }

    /// Says how the index is found up to which entries may be let go.
    pub fn set_keep_from(&self, keep_from: impl Fn() -> u64 + Send + Sync + 'static) {
        // It is said once, before the consensus starts.
        let _ = self.inner.keep_from.set(Box::new(keep_from));
    }

    /// The place up to which entries are let go when they may go up to `upto`. Entries that end before
    /// `upto` go whole: a snapshot of another node follows them, and a gap would be taken for damage.
    fn purgeable(&self, upto: LogId) -> io::Result<Option<LogId>> {
        let Some(keep_from) = self.inner.keep_from.get() else { return Ok(Some(upto)) };
        let (last, purged) = {
            let state = self.inner.state.lock();
            (state.last.max(state.purged), state.purged)
        };
        let behind = keep_from();
        if last < Some(upto) || upto.index <= behind {
            return Ok(Some(upto));
        }
        if behind <= purged.map_or(0, |id| id.index) {
            return Ok(None);
        }
        let entry = self.read(behind, behind.saturating_add(1), usize::MAX)?.pop();
        Ok(entry.map(|entry| entry.log_id))
    }

    fn step(&self, step: Step) {
        if let Some(probe) = self.inner.probe.get() {
            probe(step);
        }
    }

    /// Makes durable up to where entries are known committed; whether there was anything to do.
    /// Blocking, and beside the path of a change: see [`Self::committed_durable`].
    pub fn sync_committed(&self) -> bool {
        let (file, index) = {
            let mark = self.inner.committed.lock();
            (mark.handle(), mark.state.index)
        };
        if self.committed_durable() >= index || self.inner.durable.failure().borrow().is_some() {
            return false;
        }
        match file.and_then(|file| file.sync_data()) {
            Ok(()) => drop(self.inner.committed_durable.fetch_max(index, Ordering::SeqCst)),
            Err(error) => {
                self.inner.durable.fail(&disk_failure(&format!("a sync failed: {error}")))
            }
        }
        true
    }

    /// Index up to which entries are applied again at the start after a loss of power, also where no
    /// other node can be reached. It follows what is applied within moments: syncing it for each
    /// entry would double the latency of a change, and what is behind it is in the log all the same.
    pub fn committed_durable(&self) -> u64 {
        self.inner.committed_durable.load(Ordering::SeqCst)
    }

    /// Place of the last entry, also when it was let go.
    pub fn last(&self) -> Option<LogId> {
        let state = self.inner.state.lock();
        state.last.max(state.purged)
    }

    /// Place up to which entries were let go.
    pub fn purged(&self) -> Option<LogId> {
        self.inner.state.lock().purged
    }

    /// Place up to which entries were committed, as far as this node was told.
    pub fn committed(&self) -> Option<LogId> {
        let state = self.inner.committed.lock().state;
        let vote = state.vote?;
        let wire = LogIdV1 { term: vote.term, leader_id: vote.node_id, index: state.index };
        // It is not synced with the log: what the log does not hold cannot be applied.
        Some(LogId::from(wire)).min(self.last())
    }

    /// Knows of no more commits than these, until it is told: of what the file says, only so much
    /// can be applied when the log is opened.
    pub fn know_committed(&self, committed: Option<LogId>) {
        let wire = committed.as_ref().map(LogIdV1::from);
        let mark = wire.map(|LogIdV1 { term, leader_id, index }| MarkState {
            index,
            vote: Some(MarkedVote { term, committed: true, node_id: leader_id }),
        });
        self.inner.committed.lock().state = mark.unwrap_or_default();
    }

    fn write(&self, batch: EngineBatch) -> io::Result<()> {
        let written = self.inner.durable.engine().and_then(|engine| engine.write(batch));
        written.inspect_err(|error| {
            self.inner.durable.fail(&disk_failure(&format!("a write failed: {error}")));
        })
    }

    async fn keep_vote(&self, vote: &Vote) -> io::Result<()> {
        let wire = VoteV1::from(vote);
        let mut batch = EngineBatch::default();
        batch.put(chunks::VOTE_KEY.to_vec(), chunks::seal_meta(&wire)?);
        self.write(batch)?;
        self.inner.state.lock().vote = Some(*vote);
        let VoteV1 { term, node_id, committed } = wire;
        self.inner.durable.wait(Marking::Vote(MarkedVote { term, committed, node_id })).await
    }

    /// Cuts the log behind an index that is too late.
    async fn cut(&self, since: u64) -> io::Result<()> {
        // First the mark: a log that is cut short is a gap to it otherwise.
        self.inner.durable.wait(Marking::Lower(since.saturating_sub(1))).await?;
        self.remove(since, u64::MAX, true)?;
        let before = match since.checked_sub(1) {
            Some(before) => self.read(before, since, usize::MAX)?.pop(),
            None => None,
        };
        {
            let mut state = self.inner.state.lock();
            state.cache.cut(since);
            state.last = before.map(|entry| entry.log_id);
        }
        self.inner.durable.wait(Marking::Keep).await
    }

    /// Lets go of entries up to a place.
    async fn let_go(&self, upto: LogId) -> io::Result<()> {
        let mut batch = EngineBatch::default();
        batch.put(chunks::PURGED_KEY.to_vec(), chunks::seal_meta(&LogIdV1::from(&upto))?);
        self.write(batch)?;
        // The purge mark is durable before anything goes, or the rest would begin behind a gap.
        self.inner.durable.wait(Marking::Reached(upto.index)).await?;
        {
            let mut state = self.inner.state.lock();
            state.purged = state.purged.max(Some(upto));
            state.cache.purge(upto.index);
            if state.last <= Some(upto) {
                state.last = None;
            }
        }
        self.remove(0, upto.index.saturating_add(1), false)
    }

    /// Entries from `start` on, before `end`, as many as fit.
    pub fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if let Some(entries) = self.inner.state.lock().cache.range(start, end, bytes_max) {
            return Ok(entries);
        }
        let engine = self.inner.durable.engine()?;
        chunks::read(&*engine, start, end, bytes_max)
    }

    /// Removes entries from `from` on, before `to`: from the end when the log is cut, so that no
    /// gap can come to be.
    fn remove(&self, from: u64, to: u64, backward: bool) -> io::Result<()> {
        let engine = self.inner.durable.engine()?;
        let mut keys = chunks::keys(&*engine, from, to)?;
        if backward {
            keys.reverse();
        }
        for group in keys.chunks(REMOVE_BATCH) {
            let mut batch = EngineBatch::default();
            group.iter().for_each(|key| batch.remove(key.clone()));
            self.write(batch)?;
        }
        Ok(())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).map_err(|error| read_error(&error))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, READ_BYTES_MAX).map_err(|error| read_error(&error))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let state = self.inner.state.lock();
        let last_log_id = state.last.max(state.purged);
        Ok(LogState { last_purged_log_id: state.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.step(Step::Vote);
        let saved = self.keep_vote(vote).await;
        saved.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.inner.state.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let Some(committed) = committed else { return Ok(()) };
        self.step(Step::Committed);
        let LogIdV1 { term, leader_id, index } = (&committed).into();
        let vote = Some(MarkedVote { term, committed: true, node_id: leader_id });
        let mut mark = self.inner.committed.lock();
        mark.write(MarkState { index, vote }).map_err(|error| write_error(&error))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.committed())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.step(Step::Append);
        let (mut batches, mut appended) = (Vec::new(), Vec::new());
        for entry in entries {
            let bytes = encode_entry(&entry).map_err(|error| write_error(&error))?;
            let mut batch = EngineBatch::default();
            chunks::put(&mut batch, entry.log_id.index, &bytes);
            batches.push(batch);
            appended.push((entry, bytes.len()));
        }
        let reached = appended.last().map(|(entry, _)| entry.log_id);
        // Short entries are whole one by one, and a single write costs the engine less than a batch; of
        // entries in many pieces, one batch costs less than many.
        if batches.iter().any(|batch| batch.writes.len() > 1) {
            let writes = batches.into_iter().flat_map(|batch| batch.writes).collect();
            batches = vec![EngineBatch { writes }];
        }
        for batch in batches {
            self.write(batch).map_err(|error| write_error(&error))?;
        }
        {
            let mut state = self.inner.state.lock();
            state.last = reached.or(state.last);
            appended.into_iter().for_each(|(entry, bytes)| state.cache.push(entry, bytes));
        }
        let marking = reached.map_or(Marking::Keep, |id| Marking::Reached(id.index));
        let done = move |result: io::Result<()>| callback.log_io_completed(result);
        self.inner.durable.barrier(marking, Box::new(done));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        self.cut(since.index).await.map_err(|error| write_error(&error))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        match self.purgeable(upto).map_err(|error| read_error(&error))? {
            Some(upto) => self.let_go(upto).await.map_err(|error| write_error(&error)),
            None => Ok(()),
        }
    }
}
