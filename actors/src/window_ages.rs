//! The age of each velocity window of this node: since when it counts.
//!
//! A window that a flow begins with has counted everything that the flow decided. A window that a
//! change adds to a flow with decisions has not: until it is as old as it is long, answers say
//! `windows_partial`. A small file beside the journal holds the times, because a restart must not make
//! a window look complete. A journal without that file is that of a program that did not keep it:
//! its windows count as complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use verdict_config::TimestampMs;
use verdict_decisions::{CompiledFlow, Session};
use verdict_rules::WindowRead;
use verdict_rules::window::WindowMeasure;

use crate::journal::{Journal, JournalError, SearchQuery, files};
use crate::serving::ServingState;

const FILE: &str = "windows.since";
const VERSION: u32 = 1;
/// A window that has counted from the beginning on.
const COMPLETE: i64 = i64::MIN;
/// Pages of a search for one decision of a flow. Beyond them, a flow counts as one that has decided.
const PAGES_MAX: usize = 16;

/// Since when each window counts, by flow and series.
type Since = BTreeMap<String, BTreeMap<String, i64>>;

#[derive(Serialize, Deserialize)]
struct FileV1 {
    version: u32,
    /// Milliseconds since the epoch; `null`: from the beginning on.
    flows: BTreeMap<String, BTreeMap<String, Option<i64>>>,
}

/// Since when the windows of this node count.
pub(crate) struct WindowAges {
    folder: PathBuf,
    journal: Journal,
    known: Mutex<Known>,
}

impl std::fmt::Debug for WindowAges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "WindowAges({:?})", self.known.lock())
    }
}

#[derive(Debug)]
struct Known {
    since: Since,
    /// What the catalogue holds now was there before the node kept ages.
    first: bool,
    /// The file holds what is here.
    written: bool,
}

/// Until when each window of one flow is incomplete, in the order of the flow's windows.
#[derive(Debug)]
pub(crate) struct FlowWindows {
    until_ms: Box<[i64]>,
    /// The latest of them.
    last_ms: i64,
}

impl FlowWindows {
    /// Whether a window that a session reads has not counted for as long as it is.
    pub(crate) fn is_partial(&self, session: &Session) -> bool {
        let as_of = session.as_of().0;
        as_of < self.last_ms
            && session
                .window_positions()
                .any(|position| self.until_ms.get(position).is_some_and(|until| as_of < *until))
    }
}

/// The series that a window is answered from, whatever the key: windows of one measure, length and
/// fields share it.
fn series_text(read: &WindowRead) -> String {
    let measure = match WindowMeasure::of(read.function) {
        WindowMeasure::Events => "events",
        WindowMeasure::Amounts => "amounts",
        WindowMeasure::Values => "values",
    };
    let fields = read.text.split_once('(').map_or(read.text.as_str(), |(_, fields)| fields);
    format!("{measure}({fields}")
}

impl WindowAges {
    /// Reads the ages beside a journal. A file that cannot be read makes every window young: that is
    /// said in answers, while a window that is taken for complete is wrong in silence.
    pub(crate) fn open(folder: &Path, journal: Journal) -> Self {
        let known = match read(folder) {
            Ok(Some(since)) => Known { since, first: false, written: true },
            Ok(None) => Known { since: Since::new(), first: true, written: false },
            Err(detail) => {
                tracing::warn!(
                    file = FILE,
                    detail,
                    "the ages of windows are lost; they begin again"
                );
                Known { since: Since::new(), first: false, written: false }
            }
        };
        Self { folder: folder.to_owned(), journal, known: Mutex::new(known) }
    }

    /// Takes the windows of a state that is about to be served: those that are new begin now. Blocking.
    pub(crate) fn observe(&self, state: &ServingState, now: TimestampMs) {
        let mut known = self.known.lock();
        let gone = known.since.keys().any(|flow| !state.flows.contains_key(flow));
        let settled = state.flows.values().all(|served| served.windows.get().is_some());
        if settled && !gone && known.written {
            return;
        }
        let before = std::mem::take(&mut known.since);
        let first = std::mem::take(&mut known.first);
        for (name, served) in state.flows.iter() {
            let old = before.get(name);
            let mut since = BTreeMap::new();
            let mut decided: Option<bool> = None;
            for read in served.flow.windows() {
                let series = series_text(read);
                let at = match old.and_then(|old| old.get(&series)) {
                    Some(at) => *at,
                    None if first => COMPLETE,
                    None if *decided.get_or_insert_with(|| self.has_decided(name)) => now.0,
                    None => COMPLETE,
                };
                since.insert(series, at);
            }
            let until = |read: &std::sync::Arc<WindowRead>| {
                let at = since.get(&series_text(read)).copied().unwrap_or(COMPLETE);
                at.saturating_add_unsigned(if at == COMPLETE { 0 } else { read.window_ms })
            };
            let until_ms: Box<[i64]> = served.flow.windows().iter().map(until).collect();
            let last_ms = until_ms.iter().copied().max().unwrap_or(COMPLETE);
            // A flow that is shared with the state before has its ages already.
            drop(served.windows.set(FlowWindows { until_ms, last_ms }));
            known.since.insert(name.clone(), since);
        }
        if before != known.since || !known.written {
            known.written = match write(&self.folder, &known.since) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, file = FILE, "the ages of windows cannot be written");
                    false
                }
            };
        }
    }

    /// The windows of a flow that is not served yet that would begin to count with it, although the
    /// flow has decided here. Blocking.
    pub(crate) fn young_windows(&self, flow: &CompiledFlow) -> Vec<String> {
        let known = self.known.lock().since.get(flow.name().as_ref()).cloned().unwrap_or_default();
        let mut seen = BTreeSet::new();
        let new = flow.windows().iter().filter(|read| !known.contains_key(&series_text(read)));
        let new: Vec<String> = new
            .filter(|read| seen.insert(series_text(read)))
            .map(|read| read.text.clone())
            .collect();
        if new.is_empty() || !self.has_decided(flow.name()) { Vec::new() } else { new }
    }

    /// Whether the journal holds a decision of a flow that windows count.
    fn has_decided(&self, flow: &str) -> bool {
        let mut query =
            SearchQuery { flow: Some(flow.to_owned()), limit: 1, ..SearchQuery::default() };
        for _ in 0..PAGES_MAX {
            match self.journal.search(&query) {
                Ok(page) if !page.hits.is_empty() => return true,
                Ok(page) => match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => return false,
                },
                Err(_) => return true,
            }
        }
        true
    }
}

fn read(folder: &Path) -> Result<Option<Since>, String> {
    let bytes = match std::fs::read(folder.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let file: FileV1 = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("version {} is not known to this program", file.version));
    }
    let times = |windows: BTreeMap<String, Option<i64>>| {
        windows.into_iter().map(|(series, at)| (series, at.unwrap_or(COMPLETE))).collect()
    };
    Ok(Some(file.flows.into_iter().map(|(flow, windows)| (flow, times(windows))).collect()))
}

fn write(folder: &Path, since: &Since) -> Result<(), JournalError> {
    let times = |windows: &BTreeMap<String, i64>| {
        let at = |at: &i64| (*at != COMPLETE).then_some(*at);
        windows.iter().map(|(series, time)| (series.clone(), at(time))).collect()
    };
    let flows = since.iter().map(|(flow, windows)| (flow.clone(), times(windows))).collect();
    let text = serde_json::to_vec(&FileV1 { version: VERSION, flows }).unwrap_or_default();
    files::write_whole(folder, FILE, &text)
}
