//! A journal in a temporary folder, with a clock that stands where a test puts it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use verdict_actors::journal::{
    Appended, DecisionId, Hit, Journal, JournalError, JournalOptions, JournalRecovery, NewRecord,
    NewWindowEvent, RequestGuard, SearchQuery,
};
use verdict_config::definition::Outcome;
use verdict_config::{FieldType, TimestampMs, Value};
use verdict_rules::{WindowFunction, WindowRead};

pub const DAY_MS: i64 = 86_400_000;
/// Where clocks begin: far enough from the epoch for windows to reach back.
pub const START_MS: i64 = 1_800_000_000_000;
pub const FLOW: &str = "payment";

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub now: Arc<AtomicI64>,
    pub options: JournalOptions,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut JournalOptions)) -> Self {
        let mut options = JournalOptions { sync_ms_max: 5, ..JournalOptions::default() };
        change(&mut options);
        let folder = tempfile::tempdir().unwrap();
        Self { folder, now: Arc::new(AtomicI64::new(START_MS)), options }
    }

    pub fn open(&self) -> (Journal, JournalRecovery) {
        self.try_open().unwrap()
    }

    pub fn try_open(&self) -> Result<(Journal, JournalRecovery), JournalError> {
        let now = Arc::clone(&self.now);
        let clock = Arc::new(move || TimestampMs(now.load(Ordering::Relaxed)));
        Journal::open(self.path(), self.options.clone(), 7, clock)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn at(&self) -> TimestampMs {
        TimestampMs(self.now.load(Ordering::Relaxed))
    }

    /// Writes a record with defaults, as far as a test does not say otherwise.
    pub fn append(&self, journal: &Journal, given: Given<'_>) -> (DecisionId, Appended) {
        self.try_append(journal, given).unwrap()
    }

    pub fn try_append(
        &self,
        journal: &Journal,
        given: Given<'_>,
    ) -> Result<(DecisionId, Appended), JournalError> {
        let id = journal.next_id();
        let reasons: Vec<Arc<str>> = given.reasons.iter().map(|&reason| reason.into()).collect();
        let read = count("1h");
        let key = Value::Text(given.key.into());
        let event = NewWindowEvent {
            read: &read,
            series: journal.series(given.flow, &read, &key),
            value: None,
            at: self.at(),
        };
        let appended = journal.append(NewRecord {
            id,
            at: self.at(),
            flow: given.flow,
            outcome: given.outcome,
            reasons: &reasons,
            test: given.test,
            request: given.request,
            unit: given.unit,
            open: given.open,
            sensitive: given.sensitive,
            window_events: if given.key.is_empty() { &[] } else { std::slice::from_ref(&event) },
        })?;
        Ok((id, appended))
    }
}

pub struct Given<'a> {
    pub flow: &'a str,
    pub outcome: Outcome,
    pub reasons: &'a [&'a str],
    pub test: bool,
    pub request: Option<RequestGuard>,
    pub unit: Option<&'a str>,
    pub open: &'a [u8],
    pub sensitive: Option<&'a [u8]>,
    /// Counted in the window of one hour under this key; not at all if empty.
    pub key: &'a str,
}

impl Default for Given<'_> {
    fn default() -> Self {
        Self {
            flow: FLOW,
            outcome: Outcome::Approve,
            reasons: &[],
            test: false,
            request: None,
            unit: None,
            open: b"open",
            sensitive: None,
            key: "",
        }
    }
}

/// A count of decisions by card.
pub fn count(window: &str) -> WindowRead {
    read(WindowFunction::Count, window)
}

pub fn read(function: WindowFunction, window: &str) -> WindowRead {
    let name = function.as_str();
    let value = function != WindowFunction::Count;
    let fields = if value { "card, amount" } else { "card" };
    WindowRead {
        function,
        window_ms: match window {
            "1h" => 3_600_000,
            "24h" => 86_400_000,
            other => panic!("{other}"),
        },
        key_field: 0,
        value_field: value.then_some(1),
        result: FieldType::Int,
        text: format!("{name}(\"{window}\", {fields})"),
    }
}

pub fn counted(journal: &Journal, key: &str, at: TimestampMs) -> i64 {
    let reading = journal.read_window(FLOW, &count("1h"), &Value::Text(key.into()), at).unwrap();
    match reading.value {
        Ok(Value::Int(count)) => count,
        other => panic!("{other:?}"),
    }
}

/// Every hit of a query, page by page.
pub fn all(journal: &Journal, query: &SearchQuery) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut query = query.clone();
    loop {
        let page = journal.search(&query).unwrap();
        hits.extend(page.hits);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return hits;
        }
    }
}

/// The only file of a folder with a prefix and a suffix, or the last of several.
pub fn last_file(folder: &Path, prefix: &str, suffix: &str) -> std::path::PathBuf {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    names.sort();
    names.pop().unwrap()
}
