//! Bodies that stand outside the log: found before an entry is applied.
//!
//! An entry names such a body by hash and length. To apply an entry is a pure function of the state,
//! the entry and its bodies, and a hash allows one body only, so that every node applies the same.
//! A node that lacks a body waits with that entry, and serves what it has applied meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::EntryPayload as Content;

use super::entry::EntryCommand;
use super::log_store::LogStore;
use super::types::{Entry, LogId};
use crate::command::{ChangeSet, Command, EnvelopeError, StoredBody};

/// Entries that are read at once.
const READ_ENTRIES: u64 = 256;

/// Where bodies are. Blocking; what it gives was verified against the hash.
pub trait BodyStore: Send + Sync {
    /// A body that is here and whole.
    fn load(&self, body: StoredBody) -> Option<Vec<u8>>;

    /// As `load`, brought from other nodes if need be; `None` where nobody gave it yet.
    fn fetch(&self, body: StoredBody) -> Option<Vec<u8>>;
}

/// Bodies that were found.
pub type Bodies = BTreeMap<StoredBody, Vec<u8>>;

/// Why an entry was not applied; the state is as it was.
#[derive(Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// It was written by a newer program, or is damaged.
    Unreadable(EnvelopeError),
    /// Bodies that it names are to be found first.
    Missing(BTreeSet<StoredBody>),
}

impl From<EnvelopeError> for ApplyError {
    fn from(error: EnvelopeError) -> Self {
        Self::Unreadable(error)
    }
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(formatter),
            Self::Missing(bodies) => write!(formatter, "{} bodies are not here", bodies.len()),
        }
    }
}

impl std::error::Error for ApplyError {}

/// The bodies that a change set names and does not hold.
pub fn missing(set: &ChangeSet) -> impl Iterator<Item = StoredBody> + '_ {
    set.changes.iter().filter(|change| change.body.is_none()).filter_map(|change| change.stored)
}

/// Fills bodies in; gives those that are not among `bodies`.
pub fn fill(set: &mut ChangeSet, bodies: &Bodies) -> BTreeSet<StoredBody> {
    for change in &mut set.changes {
        if let (None, Some(stored)) = (&change.body, change.stored) {
            change.body = bodies.get(&stored).cloned();
        }
    }
    missing(set).collect()
}

/// Looks for bodies. Blocking.
pub fn find(
    store: Option<&Arc<dyn BodyStore>>,
    wanted: &BTreeSet<StoredBody>,
    elsewhere: bool,
) -> Bodies {
    let Some(store) = store else { return Bodies::new() };
    let find = |body: &StoredBody| {
        let found = store.load(*body).or_else(|| elsewhere.then(|| store.fetch(*body)).flatten());
        found.map(|bytes| (*body, bytes))
    };
    wanted.iter().filter_map(find).collect()
}

/// The bodies that an entry names.
fn named_by(entry: &Entry) -> BTreeSet<StoredBody> {
    let Content::Normal(payload) = &entry.payload else { return BTreeSet::new() };
    // Commands of the first version name none, and are by far the most.
    let second = [b"VDCM".as_slice(), &[2, 0]].concat();
    if !payload.0.windows(second.len()).any(|window| window == second) {
        return BTreeSet::new();
    }
    let Ok(EntryCommand::Changes { commands, .. }) = EntryCommand::decode(payload) else {
        return BTreeSet::new();
    };
    let mut named = BTreeSet::new();
    for bytes in commands {
        if let Ok(Command::Propose(propose)) = Command::decode(&bytes) {
            named.extend(missing(&propose.change_set));
        }
    }
    named
}

/// How far the committed entries behind `applied` can be applied with the bodies that are here.
/// Opening the log applies no further: what lacks is fetched once the node runs.
pub fn applicable(
    log: &LogStore,
    store: Option<&Arc<dyn BodyStore>>,
    applied: Option<LogId>,
) -> std::io::Result<Option<LogId>> {
    let committed = log.committed();
    let (Some(store), Some(last)) = (store, committed) else { return Ok(committed) };
    let mut reached = applied;
    let mut next = applied.map_or(0, |id| id.index.saturating_add(1));
    while next <= last.index {
        let end = next.saturating_add(READ_ENTRIES).min(last.index.saturating_add(1));
        let entries = log.read(next, end, usize::MAX)?;
        let Some(newest) = entries.last() else { break };
        next = newest.log_id.index.saturating_add(1);
        for entry in &entries {
            if named_by(entry).iter().any(|body| store.load(*body).is_none()) {
                return Ok(reached);
            }
            reached = Some(entry.log_id);
        }
    }
    Ok(committed)
}
