//! Syncs in groups: one thread, one sync for everything that was written before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use verdict_consensus::disk_failure;

use super::keys::Keys;
use super::mark;
use super::segment::Segment;
use super::{JournalError, JournalOptions, files};

/// How far the disk is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// Bytes written and synced since the start.
    pub position: u64,
    /// Why no more will be.
    pub ended: Option<JournalError>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes written since the start.
    written: u64,
    /// Bytes synced since the start.
    synced: u64,
    /// When the oldest byte that is not synced was written.
    oldest: Option<Instant>,
    /// Segments with such bytes, oldest first.
    dirty: Vec<Arc<Segment>>,
    /// A segment was made since the last sync: its name is not durable.
    new_names: bool,
    /// Somebody waits.
    urgent: bool,
    closing: bool,
    failed: Option<String>,
    syncs: u64,
    sync_us_last: u64,
}

/// The groups.
pub struct Sync {
    state: Mutex<State>,
    wake: Condvar,
    synced: watch::Sender<Synced>,
    interval: Duration,
    bytes_max: u64,
    unsynced_max: u64,
}

/// How syncing stands.
pub struct SyncStatus {
    pub unsynced_bytes: u64,
    pub lag_ms: u64,
    pub syncs: u64,
    pub sync_us_last: u64,
    pub failed: Option<String>,
}

impl Sync {
    pub fn new(options: &JournalOptions) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            synced: watch::Sender::new(Synced::default()),
            interval: Duration::from_millis(options.sync_ms_max),
            bytes_max: options.sync_bytes_max,
            unsynced_max: options.unsynced_bytes_max,
        }
    }

    /// Whether more may be written.
    pub fn admit(&self) -> Result<(), JournalError> {
        let state = self.state.lock();
        if let Some(failure) = &state.failed {
            return Err(JournalError::Failed(failure.clone()));
        }
        if state.closing {
            return Err(JournalError::Closed);
        }
        if state.written - state.synced > self.unsynced_max {
            return Err(JournalError::Overloaded);
        }
        Ok(())
    }

    /// Notes bytes that were written; gives the position behind them.
    pub fn written(&self, segment: &Arc<Segment>, bytes: u64) -> u64 {
        let mut state = self.state.lock();
        state.written += bytes;
        if state.dirty.last().is_none_or(|last| last.number != segment.number) {
            state.dirty.push(Arc::clone(segment));
        }
        let begins = state.oldest.is_none();
        if begins {
            state.oldest = Some(Instant::now());
        }
        let full = state.written - state.synced >= self.bytes_max;
        let position = state.written;
        drop(state);
        // The thread sleeps until a group begins, then until it is due: no call between.
        if begins || full {
            self.wake.notify_one();
        }
        position
    }

    /// Notes that a segment was made.
    pub fn made(&self) {
        self.state.lock().new_names = true;
    }

    /// The position behind everything written.
    pub fn position(&self) -> u64 {
        self.state.lock().written
    }

    /// Ends writing for good.
    pub fn fail(&self, failure: &str) {
        let mut state = self.state.lock();
        let failure = disk_failure(failure);
        if state.failed.is_none() {
            tracing::error!(code = "VD0704", failure, "the journal takes no more records");
            state.failed = Some(failure.clone());
        }
        drop(state);
        self.synced.send_modify(|synced| {
            synced.ended = Some(JournalError::Failed(failure));
        });
        self.wake.notify_one();
    }

    /// Lets the thread end once everything is synced.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits until a position is synced.
    pub async fn wait(&self, position: u64) -> Result<(), JournalError> {
        let mut synced = self.synced.subscribe();
        {
            let mut state = self.state.lock();
            if state.synced >= position {
                return Ok(());
            }
            state.urgent = true;
        }
        self.wake.notify_one();
        let state = synced
            .wait_for(|synced| synced.position >= position || synced.ended.is_some())
            .await
            .map_err(|_| JournalError::Closed)?;
        match &state.ended {
            Some(ended) if state.position < position => Err(ended.clone()),
            _ => Ok(()),
        }
    }

    pub fn status(&self) -> SyncStatus {
        let state = self.state.lock();
        let lag = state.oldest.map_or(0, |oldest| oldest.elapsed().as_millis());
        SyncStatus {
            unsynced_bytes: state.written - state.synced,
            lag_ms: u64::try_from(lag).unwrap_or(u64::MAX),
            syncs: state.syncs,
            sync_us_last: state.sync_us_last,
            failed: state.failed.clone(),
        }
    }

    /// The thread: until it is closed and everything is synced, or the disk fails.
    pub fn run(&self, folder: &std::path::Path, keys: &Keys) {
        while let Some(group) = self.next_group() {
            let started = Instant::now();
            if let Err(error) = sync_group(&group, folder, keys) {
                self.fail(&error.to_string());
                return;
            }
            let mut state = self.state.lock();
            state.synced = group.position;
            state.syncs += 1;
            state.sync_us_last = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            // What was written meanwhile waited since this sync began, at most.
            state.oldest = (state.written > group.position).then_some(started);
            drop(state);
            self.synced.send_modify(|synced| synced.position = group.position);
        }
        self.synced.send_modify(|synced| {
            synced.ended.get_or_insert(JournalError::Closed);
        });
    }

    fn next_group(&self) -> Option<Group> {
        let mut state = self.state.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            let Some(oldest) = state.oldest else {
                if state.closing {
                    return None;
                }
                self.wake.wait(&mut state);
                continue;
            };
            let due = oldest + self.interval;
            let full = state.written - state.synced >= self.bytes_max;
            if state.urgent || state.closing || full || Instant::now() >= due {
                break;
            }
            self.wake.wait_until(&mut state, due);
        }
        state.urgent = false;
        let segments = std::mem::take(&mut state.dirty);
        // The newest one may be written on: it is dirty again as soon as that happens.
        let ends = segments.last().map(|segment| (segment.number, segment.length()));
        let new_names = std::mem::take(&mut state.new_names);
        Some(Group { position: state.written, segments, new_names, ends })
    }
}

struct Group {
    position: u64,
    segments: Vec<Arc<Segment>>,
    new_names: bool,
    ends: Option<(u64, u64)>,
}

fn sync_group(group: &Group, folder: &std::path::Path, keys: &Keys) -> Result<(), JournalError> {
    // Keys first: a record that is durable can be read.
    keys.sync()?;
    for segment in &group.segments {
        segment.file.sync_data().map_err(|error| JournalError::io(&segment.path, &error))?;
    }
    if group.new_names {
        files::sync_folder(folder)?;
    }
    if let Some((number, bytes)) = group.ends {
        mark::write(folder, number, bytes)?;
    }
    Ok(())
}
