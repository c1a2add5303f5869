//! What the parts of the journal share, and the way of a record into the file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use verdict_config::TimestampMs;
use verdict_consensus::disk_failure;

use super::columns::Columns;
use super::events::{self, SeriesEvent};
use super::frame::{self, FILE_HEAD_BYTES, KIND_ERASURE, KIND_RECORD, PAYLOAD_BYTES_MAX};
use super::head::{ErasureHead, RecordHead, push_head, push_part};
use super::index::Index;
use super::keeper::Keeper;
use super::keys::Keys;
use super::requests::InFlight;
use super::segment::{Body, Segment};
use super::sync::Sync;
use super::windows::Windows;
use super::{Appended, Clock, JournalError, JournalOptions, MayExpire, NewRecord};

/// The shared state.
pub struct Core {
    pub folder: PathBuf,
    pub options: JournalOptions,
    pub clock: Clock,
    /// Whether records may expire by their age.
    pub may_expire: MayExpire,
    pub node: u16,
    pub keys: Keys,
    pub windows: Windows,
    /// Oldest first; the last one is written.
    pub segments: RwLock<Vec<Arc<Segment>>>,
    pub writer: Mutex<Writer>,
    pub sync: Sync,
    pub keeper: Keeper,
    pub in_flight: Arc<InFlight>,
    /// One batch of outcomes at a time: an id counts once.
    pub outcome_turn: Mutex<()>,
    /// What searches read of sealed segments, newest use last.
    pub columns: Mutex<Vec<(u64, Arc<Columns>)>>,
    pub counts: Counts,
    pub closed: AtomicBool,
    pub threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until everything is closed.
    pub lock: Mutex<Option<File>>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub records: AtomicU64,
    pub outcomes: AtomicU64,
    pub events_refused: AtomicU64,
    pub segments_dropped: AtomicU64,
}

/// The end of the journal.
pub struct Writer {
    pub segment: Arc<Segment>,
    pub offset: u64,
    pub sequence: u32,
}

/// Days in milliseconds.
pub const DAY_MS: i64 = 86_400_000;

thread_local! {
    /// Frames are put together here, so that a record costs no allocation of its size.
    static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// A buffer that grew beyond this for one large record is let go.
const BUFFER_KEPT_BYTES: usize = 256 << 10;

impl Core {
    /// The clock's time.
    pub fn now(&self) -> TimestampMs {
        (self.clock)()
    }

    /// Writes a record.
    pub fn append(&self, record: NewRecord<'_>) -> Result<Appended, JournalError> {
        let NewRecord { open, sensitive, request, .. } = &record;
        let bytes = open.len() + sensitive.map_or(0, <[u8]>::len);
        if bytes > PAYLOAD_BYTES_MAX / 2 {
            let limit = PAYLOAD_BYTES_MAX / 2;
            return Err(JournalError::TooLarge { what: "a record", bytes, limit });
        }
        let context = record.id.0.to_le_bytes();
        let (key, sealed) = match sensitive {
            Some(plain) => {
                // The record may fall into the next segment.
                let segment = self.newest() + 1;
                let key = self.keys.for_unit(record.unit, segment)?;
                (Some(key.reference), Some(key.seal(plain, &context)?))
            }
            None => (None, None),
        };
        let events = self.window_events(&record);
        let windows = events::encode(&self.keys, record.id.0, &events);
        let head = RecordHead {
            id: record.id.0,
            at_ms: record.at.0,
            flow: record.flow.to_owned(),
            outcome: record.outcome,
            reasons: record.reasons.iter().map(|reason| reason.as_ref().to_owned()).collect(),
            test: record.test,
            request: request.as_ref().map(|guard| (guard.request, guard.body)),
            key,
            windows,
        };
        let position = self.write(
            KIND_RECORD,
            &head,
            |buffer| {
                push_part(buffer, open);
                buffer.extend_from_slice(sealed.as_deref().unwrap_or_default());
            },
            |index, offset| {
                index.push_record(&head, offset);
                self.windows.note(&events, self.now());
            },
        )?;
        self.counts.records.fetch_add(1, Ordering::Relaxed);
        Ok(Appended { position })
    }

    fn window_events(&self, record: &NewRecord<'_>) -> Vec<SeriesEvent> {
        if record.test || record.window_events.is_empty() {
            return Vec::new();
        }
        let ahead = i64::try_from(self.options.window_ahead_ms_max).unwrap_or(i64::MAX);
        let latest = TimestampMs(self.now().0.saturating_add(ahead));
        let (events, refused) = events::events_of(&self.keys, record.window_events, latest);
        self.counts.events_refused.fetch_add(refused, Ordering::Relaxed);
        events
    }

    /// Notes that a unit was erased.
    pub fn append_erasure(&self, unit: u128) -> Result<Appended, JournalError> {
        let head = ErasureHead { unit, at_ms: self.now().0 };
        let position = self.write(KIND_ERASURE, &head, |_| {}, |_, _| {})?;
        Ok(Appended { position })
    }

    /// Writes one frame with one call, then lets `index` enter it, while nobody else writes. Gives
    /// the position behind it.
    pub fn write<T: Serialize>(
        &self,
        kind: u8,
        head: &T,
        rest: impl FnOnce(&mut Vec<u8>),
        index: impl FnOnce(&mut Index, u32),
    ) -> Result<u64, JournalError> {
        BUFFER.with_borrow_mut(|buffer| {
            frame::begin(buffer);
            push_head(buffer, head).map_err(JournalError::Failed)?;
            rest(buffer);
            let position = self.write_frame(kind, buffer, index);
            if buffer.capacity() > BUFFER_KEPT_BYTES {
                *buffer = Vec::new();
            }
            position
        })
    }

    fn write_frame(
        &self,
        kind: u8,
        buffer: &mut [u8],
        index: impl FnOnce(&mut Index, u32),
    ) -> Result<u64, JournalError> {
        use std::os::unix::fs::FileExt;
        let checksum = frame::checksum(buffer);
        let bytes = buffer.len() as u64;
        let mut writer = self.writer.lock();
        self.sync.admit()?;
        let begun = writer.offset > FILE_HEAD_BYTES as u64;
        if begun && writer.offset + bytes > self.options.segment_bytes {
            self.roll(&mut writer)?;
        }
        frame::finish(buffer, kind, writer.sequence, checksum);
        let (segment, offset) = (Arc::clone(&writer.segment), writer.offset);
        if let Err(error) = segment.file.write_all_at(buffer, offset) {
            let failure = format!("{}: {error}", segment.path.display());
            self.sync.fail(&failure);
            return Err(JournalError::Failed(disk_failure(&failure)));
        }
        writer.offset += bytes;
        writer.sequence = writer.sequence.wrapping_add(1);
        segment.bytes.store(writer.offset, Ordering::Release);
        if let Body::Live(live) = &mut *segment.body.write() {
            index(live, u32::try_from(offset).unwrap_or(u32::MAX));
        }
        Ok(self.sync.written(&segment, bytes))
    }

    /// Begins the next segment, and hands the full one to the keeper.
    fn roll(&self, writer: &mut Writer) -> Result<(), JournalError> {
        let number = writer.segment.number + 1;
        let next = match Segment::create(&self.folder, number) {
            Ok(next) => Arc::new(next),
            Err(error) => {
                self.sync.fail(&error.to_string());
                return Err(error);
            }
        };
        self.sync.made();
        self.segments.write().push(Arc::clone(&next));
        self.windows.begin_checkpoint((number, FILE_HEAD_BYTES as u64));
        let full = std::mem::replace(&mut writer.segment, next);
        (writer.offset, writer.sequence) = (FILE_HEAD_BYTES as u64, 0);
        self.keeper.seal(full);
        Ok(())
    }

    /// The number of the segment that is written.
    pub fn newest(&self) -> u64 {
        self.segments.read().last().map_or(0, |segment| segment.number)
    }

    /// Every segment, newest first.
    pub fn newest_first(&self) -> Vec<Arc<Segment>> {
        self.segments.read().iter().rev().cloned().collect()
    }

    /// Syncs, writes the windows' checkpoint, ends the threads and lets go of the folder. Blocks.
    pub fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        {
            let writer = self.writer.lock();
            self.windows.begin_checkpoint((writer.segment.number, writer.offset));
            self.sync.close();
        }
        self.keeper.close();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
        if let Err(error) = self.windows.finish_checkpoint(&self.folder) {
            // They are built again from the records behind the checkpoint before.
            tracing::warn!(code = %error.code(), %error, "no checkpoint of the windows");
        }
        *self.lock.lock() = None;
    }
}
