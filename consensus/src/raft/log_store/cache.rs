//! The newest entries, decoded: replication and apply read them right after they were written.

use std::collections::VecDeque;

use super::super::types::Entry;

/// Most bytes of entries that are kept.
const CACHE_BYTES_MAX: usize = 8 << 20;
/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// A contiguous run of entries at the end of the log.
#[derive(Default)]
pub struct Cache {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Cache {
    /// Adds the entry behind the last one.
    pub fn push(&mut self, entry: Entry, bytes: usize) {
        let follows = self
            .entries
            .back()
            .is_none_or(|(last, _)| last.log_id.index.checked_add(1) == Some(entry.log_id.index));
        if !follows {
            self.entries.clear();
            self.bytes = 0;
        }
        let bytes = bytes + ENTRY_OVERHEAD_BYTES;
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
        while self.bytes > CACHE_BYTES_MAX {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        let Some((_, bytes)) = self.entries.pop_front() else { return };
        self.bytes -= bytes;
    }

    /// Drops entries from `since` on.
    pub fn cut(&mut self, since: u64) {
        while self.entries.back().is_some_and(|(entry, _)| entry.log_id.index >= since) {
            let Some((_, bytes)) = self.entries.pop_back() else { return };
            self.bytes -= bytes;
        }
    }

    /// Drops entries up to `upto`.
    pub fn purge(&mut self, upto: u64) {
        while self.entries.front().is_some_and(|(entry, _)| entry.log_id.index <= upto) {
            self.pop_front();
        }
    }

    /// Entries from `start` on, before `end`, as many as fit; `None` if the first is not here.
    pub fn range(&self, start: u64, end: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        if skip >= self.entries.len() || start >= end {
            return None;
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        for (entry, entry_bytes) in self.entries.iter().skip(skip) {
            bytes += entry_bytes;
            if entry.log_id.index >= end || (bytes > bytes_max && !found.is_empty()) {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }
}
