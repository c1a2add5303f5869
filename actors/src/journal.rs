//! The journal: every decision's record, outcomes, unit keys and velocity windows of this node.
//!
//! ```text
//!  append ──> one write() to the active segment ──> index, windows ──> the answer may go out
//!                         │                                            (durable: after fdatasync)
//!                         └──> background thread: fdatasync in groups, seals full segments
//!                              (sidecar index), checkpoint of windows, retention
//! ```
//!
//! What was written survives the end of the process at once, and the end of the machine after the
//! next sync: at most [`JournalOptions::sync_ms_max`] later for `async` flows, before the answer for
//! `durable` flows and outcomes. A failed write or sync is final: the journal takes no more, because
//! what the file holds is no longer known.
//!
//! Sensitive parts are encrypted under a random key of their unit; erasing a unit overwrites its
//! key, and what was encrypted under it can be read by nobody. Everything is bounded: segments by
//! bytes and age, window series by number, searches by rows looked at.

mod error;
mod id;
mod options;
mod query;
mod record;

use std::path::Path;
use std::sync::Arc;

use verdict_config::{TimestampMs, Value};
use verdict_rules::WindowRead;
use verdict_rules::window::WindowReading;

pub use error::JournalError;
pub use id::DecisionId;
pub use options::{Clock, Damage, JournalOptions, JournalRecovery, JournalStatus};
pub use query::{Hit, Page, SearchQuery};
pub use record::{
    Appended, NewOutcome, NewRecord, NewWindowEvent, OutcomeState, OutcomeTarget, Reservation,
    RequestGuard, Sensitive, StoredOutcome, StoredRecord,
};

/// The journal of this node. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    #[expect(dead_code, reason = "the journal is being written")]
    shared: Arc<()>,
}

impl Journal {
    /// Opens the journal in a folder, which is made if it is absent. `node` is the node's short id,
    /// part of every decision id.
    ///
    /// # Errors
    /// Another process, a newer format, a key file that does not open, or the disk. Damaged records
    /// are no error: they are named in the report, and all others are kept.
    pub fn open(
        folder: &Path,
        options: JournalOptions,
        node: u16,
        clock: Clock,
    ) -> Result<(Self, JournalRecovery), JournalError> {
        let _ = (folder, options, node, clock);
        Err(JournalError::Closed)
    }

    /// A new decision id of this node.
    #[must_use]
    pub fn next_id(&self) -> DecisionId {
        DecisionId::new(TimestampMs(0), 0, 0)
    }

    /// Takes a `request_id` for a decision that is about to be made, or says who has it.
    ///
    /// # Errors
    /// Where the index of an older segment cannot be read.
    pub fn reserve(
        &self,
        flow: &str,
        request_id: &str,
        body_sha256: &[u8; 32],
    ) -> Result<Reservation, JournalError> {
        let _ = (flow, request_id, body_sha256);
        Err(JournalError::Closed)
    }

    /// Writes a record, counts its window events, and remembers its request. When this returns, the
    /// record survives the end of the process.
    ///
    /// # Errors
    /// [`JournalError::Overloaded`] while the disk is far behind; [`JournalError::Failed`] for good.
    pub fn append(&self, record: NewRecord<'_>) -> Result<Appended, JournalError> {
        let _ = record;
        Err(JournalError::Closed)
    }

    /// Waits until a record survives the end of the machine: for `durable` flows.
    ///
    /// # Errors
    /// [`JournalError::Failed`].
    pub async fn synced(&self, appended: Appended) -> Result<(), JournalError> {
        let _ = appended;
        Err(JournalError::Closed)
    }

    /// A record by its id.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] where the record is there but not whole.
    pub fn get(&self, id: DecisionId) -> Result<Option<StoredRecord>, JournalError> {
        let _ = id;
        Err(JournalError::Closed)
    }

    /// Whether a record is there.
    ///
    /// # Errors
    /// Where an index cannot be read.
    pub fn contains(&self, id: DecisionId) -> Result<bool, JournalError> {
        let _ = id;
        Err(JournalError::Closed)
    }

    /// Records by flow, outcome, reason and time, newest first.
    ///
    /// # Errors
    /// An unreadable cursor or index.
    pub fn search(&self, query: &SearchQuery) -> Result<Page, JournalError> {
        let _ = query;
        Err(JournalError::Closed)
    }

    /// Writes outcomes; returns when they survive the end of the machine. One whose id is known
    /// already is not written again.
    ///
    /// # Errors
    /// [`JournalError::Failed`]; which of the outcomes stand is unknown then.
    pub async fn record_outcomes(
        &self,
        outcomes: Vec<NewOutcome>,
    ) -> Result<Vec<OutcomeState>, JournalError> {
        let _ = outcomes;
        Err(JournalError::Closed)
    }

    /// The outcomes of a decision, oldest first; at most 1,000.
    ///
    /// # Errors
    /// Where an index or a record cannot be read.
    pub fn outcomes_of(&self, target: OutcomeTarget<'_>) -> Result<Vec<StoredOutcome>, JournalError> {
        let _ = target;
        Err(JournalError::Closed)
    }

    /// Destroys the key of a unit; returns when it is gone from the disk. Whether there was one.
    ///
    /// # Errors
    /// [`JournalError::Failed`].
    pub async fn erase_unit(&self, unit: &str) -> Result<bool, JournalError> {
        let _ = unit;
        Err(JournalError::Closed)
    }

    /// What a window of a flow answers for a key at a time.
    #[must_use]
    pub fn read_window(
        &self,
        flow: &str,
        read: &WindowRead,
        key: &Value,
        as_of: TimestampMs,
    ) -> Option<WindowReading> {
        let _ = (flow, read, key, as_of);
        None
    }

    /// How the journal stands.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        JournalStatus::default()
    }

    /// Syncs what was written, writes the windows' checkpoint, and takes no more.
    pub async fn drain(&self) {}
}
