//! Velocity windows in memory: one series a window and key, bounded in number.
//!
//! Events are added in the order of the file, by whoever holds the writer; reads lock one of 64
//! shards. A checkpoint must hold the events of exactly the records before a position, while others
//! are added: from its beginning on, whoever first adds to a shard copies the shard as it was, and
//! the keeper copies those that nobody touched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use verdict_config::TimestampMs;
use verdict_rules::WindowRead;
use verdict_rules::window::{WindowMeasure, WindowReading, WindowSeries, WindowSpan};

use super::events::SeriesEvent;
use super::{JournalError, files};

const SHARDS: usize = 64;
/// When a shard is full, this part of it goes.
const EVICTED_PART: usize = 16;
const FILE: &str = "windows.checkpoint";
const MAGIC: [u8; 8] = *b"VERDICTW";
const VERSION: u32 = 1;

/// A place in the journal: segment and offset.
pub type Position = (u64, u64);

type Copied = Vec<(u128, i64, WindowSeries)>;

#[derive(Debug)]
struct Entry {
    series: WindowSeries,
    /// Time of its newest event.
    last_ms: i64,
}

#[derive(Debug, Default)]
struct Shard {
    series: HashMap<u128, Entry>,
    /// The last checkpoint that this shard was copied for.
    copied: u64,
}

#[derive(Debug)]
struct Pending {
    position: Position,
    parts: Vec<Copied>,
}

/// Every series.
#[derive(Debug)]
pub struct Windows {
    shards: Vec<Mutex<Shard>>,
    shard_max: usize,
    checkpoint: AtomicU64,
    pending: Mutex<Option<Pending>>,
    evicted: AtomicU64,
}

#[derive(Serialize, Deserialize)]
struct CheckpointV1 {
    position: Position,
    series: Copied,
}

impl Windows {
    /// No series, of at most `series_max`.
    pub fn new(series_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_max: (series_max / SHARDS).max(1),
            checkpoint: AtomicU64::new(0),
            pending: Mutex::new(None),
            evicted: AtomicU64::new(0),
        }
    }

    fn shard(&self, series: u128) -> &Mutex<Shard> {
        // Series are hashes: any bits will do.
        &self.shards[(series >> 64) as usize % SHARDS]
    }

    /// Counts the events of one record. Called in the order of the file.
    pub fn note(&self, events: &[SeriesEvent], now: TimestampMs) {
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        for event in events {
            let Some(span) = WindowSpan::new(event.window_ms) else { continue };
            let mut shard = self.shard(event.series).lock();
            self.copy_if_due(&mut shard, checkpoint);
            if !shard.series.contains_key(&event.series) && shard.series.len() >= self.shard_max {
                self.make_room(&mut shard, now);
            }
            let entry = shard.series.entry(event.series).or_insert_with(|| Entry {
                series: WindowSeries::new(span, event.measure),
                last_ms: i64::MIN,
            });
            let value = event.value.as_ref().map(super::events::EventValue::value);
            entry.series.add(TimestampMs(event.at_ms), value.as_ref());
            entry.last_ms = entry.last_ms.max(event.at_ms);
        }
    }

    /// Drops series whose window is over; if that is not enough, those longest inactive.
    fn make_room(&self, shard: &mut Shard, now: TimestampMs) {
        shard.series.retain(|_, entry| !entry.series.is_over(now));
        let room = (self.shard_max / EVICTED_PART).max(1);
        let keep = self.shard_max.saturating_sub(room);
        if shard.series.len() <= keep {
            return;
        }
        let mut ages: Vec<(i64, u128)> =
            shard.series.iter().map(|(series, entry)| (entry.last_ms, *series)).collect();
        let surplus = ages.len() - keep;
        ages.select_nth_unstable(surplus - 1);
        for (_, series) in &ages[..surplus] {
            shard.series.remove(series);
        }
        self.evicted.fetch_add(surplus as u64, Ordering::Relaxed);
    }

    /// What a series answers at a time.
    pub fn read(
        &self,
        series: u128,
        read: &WindowRead,
        as_of: TimestampMs,
    ) -> Option<WindowReading> {
        let answer = |series: &WindowSeries| series.read(read.function, read.result, as_of);
        if let Some(entry) = self.shard(series).lock().series.get(&series) {
            return Some(answer(&entry.series));
        }
        let span = WindowSpan::new(read.window_ms)?;
        Some(answer(&WindowSeries::new(span, WindowMeasure::of(read.function))))
    }

    /// How many series there are.
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().series.len() as u64).sum()
    }

    /// How many were dropped within their window.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Begins a checkpoint of everything before a position. Called while nothing is added. One that
    /// is not finished yet goes on in its place.
    pub fn begin_checkpoint(&self, position: Position) {
        let mut pending = self.pending.lock();
        if pending.is_none() {
            *pending = Some(Pending { position, parts: Vec::with_capacity(SHARDS) });
            self.checkpoint.fetch_add(1, Ordering::Release);
        }
    }

    fn copy_if_due(&self, shard: &mut Shard, checkpoint: u64) {
        if shard.copied == checkpoint {
            return;
        }
        shard.copied = checkpoint;
        let part = shard
            .series
            .iter()
            .map(|(series, entry)| (*series, entry.last_ms, entry.series.clone()))
            .collect();
        if let Some(pending) = self.pending.lock().as_mut() {
            pending.parts.push(part);
        }
    }

    /// Finishes a checkpoint that was begun: copies what is left, and writes the file.
    pub fn finish_checkpoint(&self, folder: &std::path::Path) -> Result<(), JournalError> {
        if self.pending.lock().is_none() {
            return Ok(());
        }
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        for shard in &self.shards {
            self.copy_if_due(&mut shard.lock(), checkpoint);
        }
        let Some(pending) = self.pending.lock().take() else { return Ok(()) };
        let series = pending.parts.into_iter().flatten().collect();
        let bytes = encode(&CheckpointV1 { position: pending.position, series })
            .map_err(|detail| JournalError::Io { file: FILE.to_owned(), detail })?;
        files::write_whole(folder, FILE, &bytes)
    }

    /// Loads the checkpoint of a folder: its position, and how many series. `None` if there is none;
    /// a sentence if it is damaged.
    pub fn load(&self, folder: &std::path::Path) -> Result<Option<(Position, u64)>, String> {
        let bytes = match std::fs::read(folder.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let checkpoint = decode(&bytes)?;
        let count = checkpoint.series.len() as u64;
        for (id, last_ms, series) in checkpoint.series {
            self.shard(id).lock().series.insert(id, Entry { series, last_ms });
        }
        Ok(Some((checkpoint.position, count)))
    }
}

fn encode(checkpoint: &CheckpointV1) -> Result<Vec<u8>, String> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bincode::serde::encode_into_std_write(checkpoint, &mut bytes, bincode::config::standard())
        .map_err(|error| error.to_string())?;
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<CheckpointV1, String> {
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or("cut off")?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err("the checksum does not fit".to_owned());
    }
    let payload = body
        .strip_prefix(&MAGIC)
        .and_then(|rest| rest.strip_prefix(&VERSION.to_le_bytes()))
        .ok_or("another magic or version")?;
    let config = bincode::config::standard().with_limit::<{ 1 << 30 }>();
    let (checkpoint, consumed) = bincode::serde::decode_from_slice(payload, config)
        .map_err(|error: bincode::error::DecodeError| error.to_string())?;
    if consumed == payload.len() { Ok(checkpoint) } else { Err("bytes too many".to_owned()) }
}
