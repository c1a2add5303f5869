//! What a leader found while it checked an entry, kept until the entry is committed.
//!
//! Checking change sets applies them. When their entry comes back committed, at the very place and on
//! the very catalogue that was expected, the result is known; every other node, and a leader that
//! was wrong about the place, applies the entry. Both ways end in the same catalogue: that is what
//! the state hash of every node says.

use std::sync::Arc;

use openraft::EntryPayload as Content;

use super::types::{Entry, EntryPayload};
use crate::catalogue::Catalogue;

/// The result of an entry that is on its way.
pub struct Prepared {
    /// The entry as it was proposed.
    pub payload: EntryPayload,
    /// Where in the log it was expected.
    pub index: u64,
    /// The catalogue that it was evaluated on.
    pub base: Arc<Catalogue>,
    /// The catalogue after it.
    pub next: Arc<Catalogue>,
}

impl Prepared {
    /// The catalogue after an entry that meets a catalogue, if this is the entry and the catalogue.
    pub fn for_entry(&self, entry: &Entry, met: &Arc<Catalogue>) -> Option<Arc<Catalogue>> {
        let Content::Normal(payload) = &entry.payload else { return None };
        let expected = entry.log_id.index == self.index
            && Arc::ptr_eq(met, &self.base)
            && *payload == self.payload;
        expected.then(|| Arc::clone(&self.next))
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::super::types::LogId;
    use super::*;
    use crate::catalogue::Limits;

    #[test]
    fn it_is_for_one_entry_at_one_place_on_one_catalogue() {
        let catalogue = || Arc::new(Catalogue::new(Limits::default()));
        let (base, next, other) = (catalogue(), catalogue(), catalogue());
        let payload = |text: &str| EntryPayload(text.as_bytes().into());
        let prepared = Prepared { payload: payload("a"), index: 7, base: Arc::clone(&base), next };
        let entry = |index, text| Entry {
            log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
            payload: Content::Normal(payload(text)),
        };
        assert!(prepared.for_entry(&entry(7, "a"), &base).is_some());
        assert!(prepared.for_entry(&entry(8, "a"), &base).is_none());
        assert!(prepared.for_entry(&entry(7, "b"), &base).is_none());
        assert!(prepared.for_entry(&entry(7, "a"), &other).is_none());
    }
}
