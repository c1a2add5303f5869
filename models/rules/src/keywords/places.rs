//! Where entries stand in a text.

use super::normalise::joins_word;

/// A place where a pattern stands, from its end so that places sort in the order in which they are
/// told: by where they end, longer ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) end: usize,
    pub(super) start: usize,
    pub(super) pattern: u32,
}

/// The first place of every pattern that stands in a text. Later ones say nothing new, so that there
/// are never more places than patterns, however often a text repeats itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    all: Vec<Place>,
    /// By pattern: the last scan that found it. A number that no scan had before is as good as none,
    /// so nothing is cleared, not even for another matcher.
    found_by: Vec<u64>,
    scan: u64,
}

impl Places {
    pub(super) fn begin(&mut self) {
        self.all.clear();
        // 2^64 scans do not happen.
        self.scan = self.scan.wrapping_add(1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a place unless a word of the text goes on behind it. Places of one pattern come in the
    /// order of the text.
    pub(super) fn add(&mut self, text: &[u8], place: Place) {
        if joins_word(text, place.end) {
            return;
        }
        let pattern = place.pattern as usize;
        if self.found_by.len() <= pattern {
            self.found_by.resize(pattern + 1, 0);
        }
        if let Some(found_by) = self.found_by.get_mut(pattern)
            && *found_by != self.scan
        {
            *found_by = self.scan;
            self.all.push(place);
        }
    }

    /// The patterns in the order of the text.
    pub(super) fn patterns(&mut self) -> impl Iterator<Item = u32> {
        self.all.sort_unstable();
        self.all.iter().map(|place| place.pattern)
    }
}
