//! Who changed what, when and why, and what it was before; kept by retention, read by pages, and
//! the ground on which an older revision is rebuilt.

use std::sync::Arc;

use serde::Serialize;
use verdict_config::{Code, ObjectId, ObjectKind, OrderedMap, TimestampMs};

use super::{Catalogue, Limits, Object};
use crate::command::{Author, Change, Evidence, Op, Restores};
use crate::digest::ContentHash;
use crate::error::{ChangeRefused, short_hash};
use crate::references;

/// An object before or after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// SHA-256 of its body.
    pub hash: ContentHash,
    /// The revision that made it.
    pub revision: u64,
    /// Length of its body in bytes.
    pub bytes: u64,
    /// The body, as long as it is retained.
    pub body: Option<Arc<[u8]>>,
}

impl From<&Object> for Version {
    fn from(object: &Object) -> Self {
        Self {
            hash: object.hash,
            revision: object.revision,
            bytes: object.body.len() as u64,
            body: Some(Arc::clone(&object.body)),
        }
    }
}

/// What the changes of one change set have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeHead {
    /// The revision it made.
    pub revision: u64,
    /// Its index in the log.
    pub log_index: u64,
    /// Its place among the change sets of that entry, from 0.
    pub log_position: u32,
    /// Its request id.
    pub request_id: String,
    /// When, by the log's clock.
    pub at: TimestampMs,
    /// Who, and from where.
    pub author: Author,
    /// Why.
    pub why: String,
    /// Set if it was a rollback.
    pub restores: Option<Restores>,
    /// Which nodes had the models loaded that it made active.
    pub evidence: Vec<Evidence>,
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// The change set it belongs to.
    pub head: Arc<ChangeHead>,
    /// The object.
    pub object: ObjectId,
    /// What was done.
    pub op: Op,
    /// The object before; `None`: it did not exist.
    pub before: Option<Version>,
    /// The object after; `None`: it was deleted.
    pub after: Option<Version>,
}

/// A question to the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    /// Only this kind.
    pub kind: Option<ObjectKind>,
    /// Only this name; with `kind` it is answered by an index.
    pub name: Option<String>,
    /// Most entries of a page, 1 to 1,000; 100 if 0.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// An entry with its place.
type Candidate<'own> = ((u64, u32), &'own Arc<HistoryEntry>);

/// A page of history, newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryPage {
    /// Entries.
    pub entries: Vec<Arc<HistoryEntry>>,
    /// The cursor of the next page, if there may be one.
    pub next: Option<String>,
}

/// Why a page of history cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryRefused {
    /// A cursor that no page gave.
    #[error("the cursor {0:?} cannot be read: send `next` of the page before, unchanged")]
    Cursor(String),
    /// A cursor of the cluster that this one was restored from.
    #[error(transparent)]
    NeverMade(#[from] ChangeRefused),
}

impl HistoryRefused {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Cursor(_) => Code::RequestInvalid,
            Self::NeverMade(refused) => refused.code(),
        }
    }
}

/// A change set without bodies, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeSummary {
    /// The revision it made.
    pub revision: u64,
    /// When.
    pub at: TimestampMs,
    /// Who.
    pub author: String,
    /// Why.
    pub why: String,
    /// What it touched.
    pub changes: Vec<crate::apply::AppliedChange>,
}

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Entries that one change set lets go because of their age.
const TRIMMED_BY_AGE_MAX: u32 = 64;
/// Entries that one page may look at: a rare kind does not make a request unbounded.
const LOOKED_AT_MAX: usize = 20_000;

/// Entries by (revision, position in the change set), and the same by object.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct History {
    pub(crate) entries: OrderedMap<(u64, u32), Arc<HistoryEntry>>,
    by_object: OrderedMap<(ObjectId, u64), u32>,
    /// The oldest revision whose state can be rebuilt.
    pub(crate) restorable_from: u64,
    /// Bytes of superseded bodies that are retained.
    body_bytes: u64,
}

impl History {
    pub(crate) fn push(&mut self, position: u32, entry: HistoryEntry) {
        let revision = entry.head.revision;
        self.body_bytes += superseded_bytes(&entry);
        self.by_object.insert((entry.object.clone(), revision), position);
        self.entries.insert((revision, position), Arc::new(entry));
    }

    /// Drops what the limits no longer allow, oldest first: of what is too old, a bounded part, so that
    /// a time that ran ahead costs little before somebody notices it.
    pub(crate) fn trim(&mut self, limits: &Limits, now: TimestampMs) {
        let mut aged = 0;
        while let Some((key, entry)) =
            self.entries.first().map(|(key, entry)| (*key, Arc::clone(entry)))
        {
            let old = now.0.saturating_sub(entry.head.at.0) > limits.history_age_ms_max;
            let too_many = self.entries.len() as u64 > limits.history_entries_max;
            if !too_many {
                if !old || aged == TRIMMED_BY_AGE_MAX {
                    break;
                }
                aged += 1;
            }
            self.drop_bodies(key.0);
            self.by_object.remove(&(entry.object.clone(), key.0));
            self.entries.remove(&key);
        }
        while self.body_bytes > limits.history_bytes_max {
            let oldest = (self.restorable_from.saturating_add(1), 0);
            let Some((&(revision, _), _)) = self.entries.range_from(&oldest).next() else { break };
            self.drop_bodies(revision);
        }
    }

    /// Forgets the bodies of one revision's entries; states before it can no longer be rebuilt.
    fn drop_bodies(&mut self, revision: u64) {
        if revision <= self.restorable_from {
            return;
        }
        let entries: Vec<_> = self
            .entries
            .range_from(&(revision, 0))
            .take_while(|((at, _), _)| *at == revision)
            .map(|(&key, entry)| (key, HistoryEntry::clone(entry)))
            .collect();
        for (key, mut entry) in entries {
            self.body_bytes = self.body_bytes.saturating_sub(superseded_bytes(&entry));
            for version in [&mut entry.before, &mut entry.after].into_iter().flatten() {
                version.body = None;
            }
            self.entries.insert(key, Arc::new(entry));
        }
        self.restorable_from = revision;
    }

    /// The entries of one object behind a revision, oldest first.
    fn of_object_after<'own>(
        &'own self,
        id: &'own ObjectId,
        revision: u64,
    ) -> impl Iterator<Item = &'own Arc<HistoryEntry>> {
        self.by_object
            .range_by(move |(object, at)| (object, *at) <= (id, revision))
            .take_while(move |((object, _), _)| object == id)
            .filter_map(|((_, at), position)| self.entries.get(&(*at, *position)))
    }
}

/// Bytes that only the history keeps alive.
fn superseded_bytes(entry: &HistoryEntry) -> u64 {
    entry.before.as_ref().filter(|version| version.body.is_some()).map_or(0, |v| v.bytes)
}

impl Catalogue {
    /// The oldest revision whose state can be rebuilt.
    #[must_use]
    pub const fn restorable_from(&self) -> u64 {
        self.history.restorable_from
    }

    /// How many entries of history are kept.
    #[must_use]
    pub const fn history_len(&self) -> usize {
        self.history.entries.len()
    }

    /// A page of history, newest first.
    ///
    /// # Errors
    /// A cursor that cannot be read, or of the cluster that this one was restored from.
    pub fn history(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryRefused> {
        let limit = if query.limit == 0 { PAGE_DEFAULT } else { query.limit.min(PAGE_MAX) };
        let before = match query.cursor.as_deref() {
            None => (u64::MAX, u32::MAX),
            Some(text) => {
                let read = read_cursor(text);
                let key = read.ok_or_else(|| HistoryRefused::Cursor(text.to_owned()))?;
                self.check_made(key.0)?;
                key
            }
        };
        let mut page = HistoryPage::default();
        let mut last = None;
        let mut candidates = self.candidates(query, before);
        for (looked_at, (key, entry)) in candidates.by_ref().enumerate() {
            if page.entries.len() == limit || looked_at == LOOKED_AT_MAX {
                page.next = last.map(write_cursor);
                break;
            }
            last = Some(key);
            let kind_fits = query.kind.is_none_or(|kind| entry.object.kind == kind);
            let name_fits = query.name.as_deref().is_none_or(|n| entry.object.name.as_str() == n);
            if kind_fits && name_fits {
                page.entries.push(Arc::clone(entry));
            }
        }
        Ok(page)
    }

    /// Every entry that is kept, newest first.
    pub fn history_entries(&self) -> impl Iterator<Item = &Arc<HistoryEntry>> {
        self.history.entries.range_before(&(u64::MAX, u32::MAX)).map(|(_, entry)| entry)
    }

    fn candidates<'own>(
        &'own self,
        query: &HistoryQuery,
        before: (u64, u32),
    ) -> Box<dyn Iterator<Item = Candidate<'own>> + 'own> {
        let history = &self.history;
        let named = query.kind.zip(query.name.as_deref()).and_then(|(kind, name)| {
            let name = verdict_config::ObjectName::new(kind, name).ok()?;
            Some(ObjectId { kind, name })
        });
        let Some(id) = named else {
            return Box::new(history.entries.range_before(&before).map(|(key, e)| (*key, e)));
        };
        let keys = history.by_object.range_before(&(id.clone(), before.0));
        Box::new(keys.take_while(move |((object, _), _)| *object == id).filter_map(
            |((_, revision), position)| {
                let key = (*revision, *position);
                history.entries.get(&key).map(|entry| (key, entry))
            },
        ))
    }

    /// The change sets behind `revision`, oldest first: what a watcher that has seen `revision` has
    /// missed. `Err` names the oldest revision from which on nothing is missing.
    ///
    /// # Errors
    /// The history no longer reaches back to `revision`.
    pub fn changes_since(&self, revision: u64, limit: usize) -> Result<Vec<ChangeSummary>, u64> {
        let oldest = match self.history.entries.first() {
            Some((&(first, _), _)) => first.saturating_sub(1),
            None => self.revision,
        };
        if revision < oldest {
            return Err(oldest);
        }
        let mut summaries: Vec<ChangeSummary> = Vec::new();
        for (_, entry) in self.history.entries.range_from(&(revision.saturating_add(1), 0)) {
            let change = crate::apply::AppliedChange { object: entry.object.clone(), op: entry.op };
            let begun = summaries.last().is_some_and(|last| last.revision == entry.head.revision);
            if !begun {
                if summaries.len() == limit {
                    break;
                }
                summaries.push(ChangeSummary {
                    revision: entry.head.revision,
                    at: entry.head.at,
                    author: entry.head.author.name.clone(),
                    why: entry.head.why.clone(),
                    changes: Vec::new(),
                });
            }
            if let Some(last) = summaries.last_mut() {
                last.changes.push(change);
            }
        }
        Ok(summaries)
    }

    /// One object as it was at a revision; `None`: it did not exist then.
    ///
    /// # Errors
    /// [`ChangeRefused::NotRetained`].
    pub fn object_at(
        &self,
        id: &ObjectId,
        revision: u64,
    ) -> Result<Option<Arc<Object>>, ChangeRefused> {
        self.check_retained(revision)?;
        let Some(next) = self.history.of_object_after(id, revision).next() else {
            return Ok(self.objects.get(id).cloned());
        };
        self.revive(id, next.before.as_ref(), revision)
    }

    /// The catalogue as it was at a revision, without history and request ids.
    ///
    /// # Errors
    /// [`ChangeRefused::NotRetained`].
    pub fn at_revision(&self, revision: u64) -> Result<Catalogue, ChangeRefused> {
        self.check_retained(revision)?;
        let mut objects = self.objects.clone();
        let mut undone = std::collections::BTreeSet::new();
        let mut at = self.at;
        for ((_, _), entry) in self.history.entries.range_from(&(revision.saturating_add(1), 0)) {
            // The oldest change behind the revision says what the object was then.
            if !undone.insert(&entry.object) {
                continue;
            }
            match self.revive(&entry.object, entry.before.as_ref(), revision)? {
                Some(object) => objects.insert(entry.object.clone(), object),
                None => {
                    objects.remove(&entry.object);
                }
            }
        }
        if let Some((_, entry)) = self.history.entries.range_before(&(revision + 1, 0)).next() {
            at = entry.head.at;
        }
        let mut older = Catalogue { revision, at, objects, ..Catalogue::new(self.limits) }
            .at_version(self.version);
        older.history.restorable_from = revision;
        references::rebuild(&mut older);
        Ok(older)
    }

    fn revive(
        &self,
        id: &ObjectId,
        version: Option<&Version>,
        revision: u64,
    ) -> Result<Option<Arc<Object>>, ChangeRefused> {
        let Some(version) = version else { return Ok(None) };
        let body = version.body.clone().ok_or_else(|| self.not_retained(revision))?;
        Ok(Some(Arc::new(Object {
            id: id.clone(),
            body,
            hash: version.hash,
            revision: version.revision,
            references: Vec::new(),
        })))
    }

    /// The changes that a request id stands for, as far as history has them, each expecting the
    /// object as it was before.
    #[must_use]
    pub fn changes_of_request(&self, request_id: &str) -> Vec<Change> {
        let Some(request) = self.requests.get(&short_hash(request_id)) else { return Vec::new() };
        let entries = self.history.entries.range_from(&(request.revision, 0));
        let change = |entry: &Arc<HistoryEntry>| Change {
            kind: entry.object.kind,
            name: entry.object.name.as_str().to_owned(),
            op: entry.op,
            expected_revision: Some(entry.before.as_ref().map_or(0, |before| before.revision)),
            body: entry.after.as_ref().map(|after| match &after.body {
                Some(body) => body.to_vec(),
                None => b"null".to_vec(),
            }),
            stored: None,
        };
        entries
            .take_while(|((revision, _), _)| *revision == request.revision)
            .map(|(_, entry)| change(entry))
            .collect()
    }

    pub(crate) fn check_retained(&self, revision: u64) -> Result<(), ChangeRefused> {
        self.check_made(revision)?;
        if revision > self.revision || revision < self.history.restorable_from {
            return Err(self.not_retained(revision));
        }
        Ok(())
    }

    fn not_retained(&self, revision: u64) -> ChangeRefused {
        let (oldest, newest) = (self.history.restorable_from, self.revision);
        ChangeRefused::NotRetained { revision, oldest, newest }
    }
}

fn write_cursor((revision, position): (u64, u32)) -> String {
    format!("{revision}.{position}")
}

fn read_cursor(text: &str) -> Option<(u64, u32)> {
    let (revision, position) = text.split_once('.')?;
    let key = (revision.parse().ok()?, position.parse().ok()?);
    // Only what a page gave: no sign, no zeros before a number.
    (write_cursor(key) == text).then_some(key)
}
