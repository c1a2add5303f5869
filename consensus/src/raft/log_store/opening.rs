//! Opening a log store: everything is read once and judged before any of it is used.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::super::types::{LogId, Vote};
use super::super::wire::{LogIdV1, VoteV1, decode_entry};
use super::cache::Cache;
use super::{Inner, LogStore, State, chunks};
use crate::durable::{Durable, LogEngine, Mark, MarkState};
use crate::error::LogError;
use crate::local::folder::{damaged, io as io_error, write_whole};

/// What opening a log store found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Entries that the log holds.
    pub entries: u64,
    /// Index of the last one.
    pub last_index: u64,
}

/// Writes the marks of a new folder.
pub fn create_marks(folder: &Path) -> Result<(), LogError> {
    let empty = Mark::new_file(MarkState::default());
    write_whole(folder, "mark", &empty)?;
    write_whole(folder, "committed", &empty)
}

/// Opens the store in a folder over an engine that is open.
pub fn open(folder: &Path, engine: Arc<dyn LogEngine>) -> Result<(LogStore, Found), LogError> {
    let store_path = folder.join("store");
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => damaged(&store_path, 0, error.to_string()),
        _ => io_error(&store_path, error),
    };
    let mark_path = folder.join("mark");
    let mark = Mark::open(&mark_path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
            damaged(&mark_path, 0, format!("the mark cannot be read: {error}"))
        }
        _ => io_error(&mark_path, error),
    })?;
    let committed = open_committed(folder)?;
    let vote = chunks::read_meta::<VoteV1>(&*engine, chunks::VOTE_KEY).map_err(fail)?;
    let purged = chunks::read_meta::<LogIdV1>(&*engine, chunks::PURGED_KEY).map_err(fail)?;
    let purged = purged.map(LogId::from);
    let (last, entries) = check_entries(&*engine, purged).map_err(fail)?;
    let last_index = last.max(purged).map_or(0, |id| id.index);
    check_mark(folder, mark.state, last_index, vote)?;
    let durable = Durable::start(engine, mark).map_err(|error| io_error(folder, error))?;
    let state = State { last, purged, vote: vote.map(Vote::from), cache: Cache::default() };
    let inner = Inner {
        durable: Arc::new(durable),
        state: Mutex::new(state),
        // What was read from the disk may be in memory only, of a process that ended.
        committed_durable: AtomicU64::new(0),
        probe: OnceLock::new(),
        keep_from: OnceLock::new(),
        committed: Mutex::new(committed),
    };
    let store = LogStore { inner: Arc::new(inner) };
    if let Some(purged) = purged {
        // What a purge that was cut short has left.
        store
            .remove(0, purged.index.saturating_add(1), false)
            .map_err(|error| damaged(&store_path, 0, error.to_string()))?;
    }
    Ok((store, Found { entries, last_index }))
}

/// The file is a hint: without it, entries wait for the leader to say that they are committed.
fn open_committed(folder: &Path) -> Result<Mark, LogError> {
    let path = folder.join("committed");
    if let Ok(mark) = Mark::open(&path) {
        return Ok(mark);
    }
    write_whole(folder, "committed", &Mark::new_file(MarkState::default()))?;
    Mark::open(&path).map_err(|error| io_error(&path, error))
}

/// Reads every entry behind the purge mark; none may be missing.
fn check_entries(
    engine: &dyn LogEngine,
    purged: Option<LogId>,
) -> io::Result<(Option<LogId>, u64)> {
    let first = purged.map_or(0, |id| id.index.saturating_add(1));
    let (mut last, mut entries) = (None, 0);
    let mut last_bytes = Vec::new();
    chunks::scan(engine, first, u64::MAX, &mut |index, bytes| {
        if entries == 0 && index != first {
            let detail = format!("the log begins at entry {index}, not at {first}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        entries += 1;
        last_bytes.clear();
        last_bytes.extend_from_slice(bytes);
        Ok(true)
    })?;
    if entries > 0 {
        let entry = decode_entry(&last_bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        last = Some(entry.log_id);
    }
    Ok((last, entries))
}

fn check_mark(
    folder: &Path,
    mark: MarkState,
    last_index: u64,
    vote: Option<VoteV1>,
) -> Result<(), LogError> {
    let gap = |detail: String| LogError::Gap { folder: folder.display().to_string(), detail };
    if last_index < mark.index {
        let detail =
            format!("entries {} to {} were acknowledged and are gone", last_index + 1, mark.index);
        return Err(gap(detail));
    }
    let found = vote.map(|vote| (vote.term, vote.node_id, vote.committed));
    let marked = mark.vote.map(|vote| (vote.term, vote.node_id, vote.committed));
    if found < marked {
        return Err(gap(format!("the vote {marked:?} was cast and is gone; {found:?} is there")));
    }
    Ok(())
}
