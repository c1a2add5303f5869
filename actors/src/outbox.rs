//! The outbox: what this node has taken for nodes that are away, durable until they have it.
//!
//! ```text
//!  put ──> one write, one fdatasync ──> acknowledged
//!            └─ rows in memory, by node, in order ──> next ──> sent ──> done ──> forgotten
//! ```
//!
//! One file of frames. What is done is told by a frame that is not synced: after a loss of power
//! something may be sent again, which changes nothing where it arrives. The file is written anew when
//! most of it is done. Bounded in entries and in bytes; what was put in already is not put in twice.
//! Units that are to be erased stand here in the clear, readable by the file's owner only, and only
//! until they are erased everywhere.

mod file;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use verdict_config::{Code, TimestampMs};

use crate::handle::NewOutcomeInput;
use crate::journal::JournalError;
use file::{OutboxFile, Row};

/// What is kept for a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// An outcome of a decision that it made.
    Outcome(NewOutcomeInput),
    /// The key of a unit is to be destroyed: of before erasures were signed.
    Erasure(String),
    /// A signed order to destroy the key of a unit.
    Order {
        /// The unit.
        unit: String,
        /// The order as a voter signed it, hex.
        sealed: String,
    },
}

impl Kept {
    /// A signed order to destroy the key of a unit.
    #[must_use]
    pub fn order(unit: String, sealed: &[u8]) -> Self {
        Self::Order { unit, sealed: hex::encode(sealed) }
    }

    const fn is_erasure(&self) -> bool {
        matches!(self, Self::Erasure(_) | Self::Order { .. })
    }
}

/// Bounds of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Entries.
    pub entries_max: usize,
    /// Bytes of entries.
    pub bytes_max: u64,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { entries_max: 200_000, bytes_max: 64 << 20 }
    }
}

/// Why something was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// It holds as much as it may.
    #[error("the outbox holds {entries} entries of {bytes} bytes, as much as it may")]
    Full {
        /// Entries.
        entries: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// The file.
    #[error(transparent)]
    Storage(#[from] JournalError),
}

impl OutboxError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Full { .. } => Code::OutboxFull,
            Self::Storage(error) => error.code(),
        }
    }
}

/// How the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct OutboxStatus {
    /// Entries that wait.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them came in.
    pub oldest: Option<TimestampMs>,
    /// Nodes that they are for.
    pub nodes: usize,
}

struct State {
    file: OutboxFile,
    rows: BTreeMap<u64, VecDeque<Row>>,
    /// What waits, by its node and content.
    known: HashMap<u128, u64>,
    entries: usize,
    bytes: u64,
    next_sequence: u64,
    failed: Option<String>,
}

/// The outbox of a node. Its methods block; those of an async caller belong on a blocking thread.
pub struct Outbox {
    folder: PathBuf,
    limits: OutboxLimits,
    state: Mutex<State>,
    changed: Notify,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Outbox({:?}, {:?})", self.folder, self.status())
    }
}

impl Outbox {
    /// Opens the outbox of a folder, or makes one. Frames that are damaged are left out and counted.
    ///
    /// # Errors
    /// The disk, or a file that is none of ours.
    pub fn open(folder: &Path, limits: OutboxLimits) -> Result<(Self, u64), JournalError> {
        let (file, found) = OutboxFile::open(folder)?;
        let mut state = State {
            file,
            rows: BTreeMap::new(),
            known: HashMap::new(),
            entries: 0,
            bytes: 0,
            next_sequence: found.next_sequence,
            failed: None,
        };
        for (node_id, row) in found.rows {
            state.push(node_id, row);
        }
        let state = Mutex::new(state);
        let outbox = Self { folder: folder.to_owned(), limits, state, changed: Notify::new() };
        Ok((outbox, found.damaged))
    }

    /// Keeps entries for a node, in their order. Returns when they survive the end of the machine.
    ///
    /// # Errors
    /// A full outbox (then none is kept), or the disk.
    pub fn put(&self, node_id: u64, kept: &[Kept], at: TimestampMs) -> Result<(), OutboxError> {
        let handle = {
            let mut state = self.state.lock();
            if let Some(failure) = &state.failed {
                return Err(JournalError::Failed(failure.clone()).into());
            }
            let mut frames = Vec::with_capacity(kept.len());
            for entry in kept {
                let frame = file::Frame::put(node_id, at, entry)?;
                if !state.known.contains_key(&frame.content) {
                    frames.push(frame);
                }
            }
            let bytes: u64 = frames.iter().map(file::Frame::bytes).sum();
            let full = state.entries + frames.len() > self.limits.entries_max
                || state.bytes + bytes > self.limits.bytes_max;
            if full && !frames.is_empty() {
                return Err(OutboxError::Full { entries: state.entries, bytes: state.bytes });
            }
            let first = state.next_sequence;
            let rows = state.file.append(&mut frames, first)?;
            state.next_sequence += rows.len() as u64;
            for row in rows {
                state.push(node_id, row);
            }
            state.file.handle()
        };
        // Outside the lock: what others put in meanwhile is synced along.
        if let Err(error) = handle.sync_data() {
            // What the file holds is not known any more; a sync is never tried again.
            let failure = error.to_string();
            self.state.lock().failed = Some(failure.clone());
            return Err(JournalError::Failed(failure).into());
        }
        self.changed.notify_one();
        Ok(())
    }

    /// The oldest entries for a node, in order, with their sequence numbers: at most `count`, of at
    /// most `bytes` bytes together (one at least).
    ///
    /// # Errors
    /// The disk.
    pub fn next(
        &self,
        node_id: u64,
        count: usize,
        bytes: u64,
    ) -> Result<Vec<(u64, Kept)>, JournalError> {
        let (rows, file) = {
            let state = self.state.lock();
            let mut left = bytes;
            let fits = |row: &&Row| {
                let fits = left == bytes || left >= row.bytes;
                left = left.saturating_sub(row.bytes);
                fits
            };
            let rows = state.rows.get(&node_id).into_iter().flatten().take(count);
            (rows.take_while(fits).copied().collect::<Vec<_>>(), state.file.handle())
        };
        rows.into_iter()
            .map(|row| Ok((row.sequence, file::read(&file, &row, &self.folder)?)))
            .collect()
    }

    /// Erasures that a node is to perform, behind an entry's number: at most `count` of them.
    ///
    /// # Errors
    /// The disk.
    pub fn erasures(
        &self,
        node_id: u64,
        after: u64,
        count: usize,
    ) -> Result<Vec<(u64, Kept)>, JournalError> {
        let (rows, file) = {
            let state = self.state.lock();
            let rows = state.rows.get(&node_id).into_iter().flatten();
            let wanted = rows.filter(|row| row.erasure && row.sequence > after).take(count);
            (wanted.copied().collect::<Vec<_>>(), state.file.handle())
        };
        rows.into_iter()
            .map(|row| Ok((row.sequence, file::read(&file, &row, &self.folder)?)))
            .collect()
    }

    /// Forgets the entries of a node up to a number.
    ///
    /// # Errors
    /// The disk; they are sent again then.
    pub fn done(&self, node_id: u64, through: u64) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        let State { rows, known, entries, bytes, .. } = &mut *state;
        let Some(waiting) = rows.get_mut(&node_id) else { return Ok(()) };
        while let Some(row) = waiting.front().filter(|row| row.sequence <= through) {
            known.remove(&row.content);
            *entries -= 1;
            *bytes -= row.bytes;
            waiting.pop_front();
        }
        if waiting.is_empty() {
            rows.remove(&node_id);
        }
        state.file.done(node_id, through)?;
        let State { file, rows, .. } = &mut *state;
        file.compact(rows)
    }

    /// Nodes for which something waits.
    #[must_use]
    pub fn nodes(&self) -> Vec<u64> {
        self.state.lock().rows.keys().copied().collect()
    }

    /// Whether something waits for a node.
    #[must_use]
    pub fn waits_for(&self, node_id: u64) -> bool {
        self.state.lock().rows.contains_key(&node_id)
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> OutboxStatus {
        let state = self.state.lock();
        let firsts = state.rows.values().filter_map(|rows| rows.front());
        OutboxStatus {
            entries: state.entries,
            bytes: state.bytes,
            oldest: firsts.map(|row| row.at).min(),
            nodes: state.rows.len(),
        }
    }

    /// Returns when something was put in.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl State {
    fn push(&mut self, node_id: u64, row: Row) {
        self.entries += 1;
        self.bytes += row.bytes;
        self.known.insert(row.content, row.sequence);
        self.rows.entry(node_id).or_default().push_back(row);
    }
}

/// An outbox that several parts of a node use.
pub type SharedOutbox = Arc<Outbox>;
