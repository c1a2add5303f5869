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

mod bloom;
mod columns;
mod core;
mod error;
mod events;
pub(crate) mod files;
pub(crate) mod frame;
mod head;
mod holding;
mod id;
mod index;
mod keeper;
mod keys;
mod lookup;
mod mark;
mod options;
mod outcomes;
mod query;
mod record;
mod recovery;
mod requests;
mod segment;
mod sidecar;
mod sync;
mod windows;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use rand::Rng;
use sha2::{Digest, Sha256};
use verdict_config::{TimestampMs, Value};
use verdict_rules::WindowRead;
use verdict_rules::window::WindowReading;

pub use error::JournalError;
pub use id::DecisionId;
pub use options::{Clock, Damage, JournalOptions, JournalRecovery, JournalStatus, MayExpire};
pub use query::{Hit, Page, SearchQuery};
pub use record::{
    Appended, NewOutcome, NewRecord, NewWindowEvent, OutcomeState, OutcomeTarget, RequestGuard,
    Reservation, Sensitive, SeriesId, StoredOutcome, StoredRecord,
};

use self::core::{Core, Counts, Writer};

/// The journal of this node. Cheap to clone. When the last clone is gone, the journal is closed,
/// which waits for the disk; [`drain`](Journal::drain) does so without blocking.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
    }
}

/// The first half of a SHA-256: enough to tell ids and bodies apart.
pub(crate) fn content_hash(bytes: &[u8]) -> u128 {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(half)
}

fn request_hash(flow: &str, request_id: &str) -> u128 {
    let parts = [&(flow.len() as u64).to_le_bytes(), flow.as_bytes(), request_id.as_bytes()];
    content_hash(&parts.concat())
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
        Self::open_expiring(folder, (options, node), clock, Arc::new(|| true))
    }

    /// The same, where records expire by age only while `may_expire` says so: a clock that is wrong
    /// must not drop them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_expiring(
        folder: &Path,
        (options, node): (JournalOptions, u16),
        clock: Clock,
        may_expire: MayExpire,
    ) -> Result<(Self, JournalRecovery), JournalError> {
        let lock = files::lock_folder(folder)?;
        let recovered = recovery::recover(folder, &options, &clock)?;
        let newest = recovered.segments.last().cloned();
        let segment = newest.ok_or_else(|| JournalError::damaged(folder, 0, "no segment"))?;
        let writer = Writer { segment, offset: recovered.offset, sequence: recovered.sequence };
        let core = Arc::new(Core {
            folder: folder.to_owned(),
            node,
            keys: recovered.keys,
            windows: recovered.windows,
            segments: RwLock::new(recovered.segments),
            writer: Mutex::new(writer),
            sync: sync::Sync::new(&options),
            keeper: keeper::Keeper::default(),
            in_flight: Arc::default(),
            outcome_turn: Mutex::new(()),
            columns: Mutex::new(Vec::new()),
            counts: Counts::default(),
            closed: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            lock: Mutex::new(Some(lock)),
            options,
            clock,
            may_expire,
        });
        core.retain()?;
        core.seal_left_over();
        let journal = Self { handle: Arc::new(Handle { core }) };
        journal.start("verdict-sync", |core| core.sync.run(&core.folder, &core.keys))?;
        journal.start("verdict-keeper", |core| core.keep())?;
        Ok((journal, recovered.report))
    }

    fn start(&self, name: &str, work: fn(&Core)) -> Result<(), JournalError> {
        let core = Arc::clone(self.core());
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&core))
            .map_err(|error| JournalError::io(&self.core().folder, &error))?;
        self.core().threads.lock().push(thread);
        Ok(())
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// A new decision id of this node.
    #[must_use]
    pub fn next_id(&self) -> DecisionId {
        let core = self.core();
        DecisionId::new(core.now(), core.node, rand::rng().next_u64())
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
        self.core().reserve(request_hash(flow, request_id), body_sha256)
    }

    /// Writes a record, counts its window events, and remembers its request. When this returns, the
    /// record survives the end of the process.
    ///
    /// # Errors
    /// [`JournalError::Overloaded`] while the disk is far behind; [`JournalError::Failed`] for good.
    pub fn append(&self, record: NewRecord<'_>) -> Result<Appended, JournalError> {
        self.core().append(record)
    }

    /// Waits until a record survives the end of the machine: for `durable` flows.
    ///
    /// # Errors
    /// [`JournalError::Failed`].
    pub async fn synced(&self, appended: Appended) -> Result<(), JournalError> {
        self.core().sync.wait(appended.position).await
    }

    /// Waits until everything that was written survives the end of the machine: before a retry is
    /// answered with a record whose own request may still be waiting for it.
    ///
    /// # Errors
    /// [`JournalError::Failed`].
    pub async fn settled(&self) -> Result<(), JournalError> {
        self.core().sync.wait(self.core().sync.position()).await
    }

    /// A record by its id.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] where the record is there but not whole.
    pub fn get(&self, id: DecisionId) -> Result<Option<StoredRecord>, JournalError> {
        self.core().get(id)
    }

    /// Whether a record is there.
    ///
    /// # Errors
    /// Where an index cannot be read.
    pub fn contains(&self, id: DecisionId) -> Result<bool, JournalError> {
        self.core().contains(id)
    }

    /// Records by flow, outcome, reason and time, newest first.
    ///
    /// # Errors
    /// An unreadable cursor or index.
    pub fn search(&self, query: &SearchQuery) -> Result<Page, JournalError> {
        self.core().search(query)
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
        let states = self.core().append_outcomes(&outcomes)?;
        // One that is repeated may still be on its way to the disk: wait for all that is written.
        self.settled().await?;
        Ok(states)
    }

    /// The outcomes of a decision or unit, oldest first; at most 1,000.
    ///
    /// # Errors
    /// Where an index or a record cannot be read.
    pub fn outcomes_of(
        &self,
        target: OutcomeTarget<'_>,
    ) -> Result<Vec<StoredOutcome>, JournalError> {
        let target = match target {
            OutcomeTarget::Decision(id) => id.0,
            OutcomeTarget::Unit(unit) => self.core().keys.unit_hash(unit),
        };
        self.core().outcomes_of(target)
    }

    /// Destroys the key of a unit; returns when it is gone from the disk. Whether there was one.
    ///
    /// # Errors
    /// [`JournalError::Failed`].
    pub async fn erase_unit(&self, unit: &str) -> Result<bool, JournalError> {
        let (core, owned) = (Arc::clone(self.core()), unit.to_owned());
        let erased = tokio::task::spawn_blocking(move || core.keys.erase(&owned)).await;
        let erased = erased.map_err(|error| JournalError::Failed(error.to_string()))??;
        if erased {
            let appended = self.core().append_erasure(self.core().keys.unit_hash(unit))?;
            self.synced(appended).await?;
        }
        Ok(erased)
    }

    /// What a window of a flow answers for a key at a time; `None` for a window of no valid length.
    #[must_use]
    pub fn read_window(
        &self,
        flow: &str,
        read: &WindowRead,
        key: &Value,
        as_of: TimestampMs,
    ) -> Option<WindowReading> {
        self.read_series(self.series(flow, read, key), read, as_of)
    }

    /// The series of a window of a flow for a key: hashed once a request, for reading and for adding.
    #[must_use]
    pub fn series(&self, flow: &str, read: &WindowRead, key: &Value) -> SeriesId {
        events::series_of(&self.core().keys, flow, read, key)
    }

    /// What a window answers from its series at a time; `None` for a window of no valid length.
    #[must_use]
    pub fn read_series(
        &self,
        SeriesId(series): SeriesId,
        read: &WindowRead,
        as_of: TimestampMs,
    ) -> Option<WindowReading> {
        self.core().windows.read(series, read, as_of)
    }

    /// How the journal stands.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        let core = self.core();
        let pieces: Vec<holding::Piece> = {
            let segments = core.segments.read();
            let piece = |segment: &Arc<segment::Segment>| holding::Piece {
                bytes: segment.length(),
                first_ms: segment.span().at_min,
            };
            segments.iter().map(piece).collect()
        };
        let (bytes_max, days_max) = (core.options.bytes_max, core.options.days_max);
        let days_held = holding::days_held(&pieces, core.now().0, bytes_max, days_max);
        let sync = core.sync.status();
        JournalStatus {
            segments: pieces.len() as u64,
            bytes: pieces.iter().map(|piece| piece.bytes).sum(),
            days_held,
            retention_days: days_max,
            records: core.counts.records.load(Ordering::Relaxed),
            outcomes: core.counts.outcomes.load(Ordering::Relaxed),
            unsynced_bytes: sync.unsynced_bytes,
            sync_lag_ms: sync.lag_ms,
            syncs: sync.syncs,
            sync_us_last: sync.sync_us_last,
            window_series: core.windows.len(),
            window_series_evicted: core.windows.evicted(),
            window_events_refused: core.counts.events_refused.load(Ordering::Relaxed),
            units: core.keys.units(),
            segments_dropped: core.counts.segments_dropped.load(Ordering::Relaxed),
            failed: sync.failed,
        }
    }

    /// Syncs what was written, writes the windows' checkpoint, takes no more, and lets go of the
    /// folder.
    pub async fn drain(&self) {
        let core = Arc::clone(self.core());
        let _ = tokio::task::spawn_blocking(move || core.close()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs before kept the plain hash of a body; their records answer retries on.
    #[tokio::test]
    async fn a_record_with_a_plain_hash_of_its_body_still_answers_retries() {
        let folder = tempfile::tempdir().unwrap();
        let clock: Clock = Arc::new(|| TimestampMs(1_800_000_000_000));
        let open = || {
            let options = JournalOptions { sync_ms_max: 5, ..JournalOptions::default() };
            Journal::open(folder.path(), options, 7, Arc::clone(&clock)).unwrap().0
        };
        let journal = open();
        let (body, other) = ([1; 32], [2; 32]);
        let guard = {
            let (core, request) = (journal.core(), request_hash("payment", "r1"));
            let mut shard = core.in_flight.shard(request);
            RequestGuard::take(&core.in_flight, &mut shard, request, content_hash(&body))
        };
        let record = NewRecord {
            id: journal.next_id(),
            at: clock(),
            flow: "payment",
            outcome: verdict_config::definition::Outcome::Approve,
            reasons: &[],
            test: false,
            request: Some(guard),
            unit: None,
            open: b"open",
            sensitive: None,
            window_events: &[],
        };
        journal.append(record).unwrap();
        journal.drain().await;
        drop(journal);
        let journal = open();
        for (body, expected) in [(body, true), (other, false)] {
            match journal.reserve("payment", "r1", &body).unwrap() {
                Reservation::Known { same_body, .. } => assert_eq!(same_body, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
