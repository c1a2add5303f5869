//! Keyword matching.

use smallvec::SmallVec;
use verdict_config::definition::ListDefinition;
use verdict_config::{Faults, TimestampMs};

/// The most terms that a hit names per list.
pub const TERMS_MAX: usize = 4;

/// All keyword lists that are looked for in one text field, compiled into one automaton.
#[derive(Debug, Clone, Default)]
pub struct KeywordMatcher {}

/// Buffers that scans reuse; one a worker is enough.
#[derive(Debug, Clone, Default)]
pub struct KeywordScratch {}

/// What a scan found. Owned, so that it can outlive the scratch; holds no text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeywordHits {
    lists: SmallVec<[u64; 4]>,
    terms: SmallVec<[(u32, u32); 8]>,
}

impl KeywordMatcher {
    /// Compiles the lists, each under the caller's id (below 65,536, any order).
    ///
    /// # Errors
    /// Every unusable entry; paths are `lists[ID].entries[3].value`.
    pub fn build(_lists: &[(u32, &ListDefinition)]) -> Result<Self, Faults> {
        Ok(Self {})
    }

    /// Finds every list that has an unexpired entry in the text.
    #[must_use]
    pub fn scan(&self, text: &str, as_of: TimestampMs, scratch: &mut KeywordScratch) -> KeywordHits {
        let mut hits = KeywordHits::default();
        self.scan_into(text, as_of, scratch, &mut hits);
        hits
    }

    /// As [`Self::scan`], into hits that are cleared first.
    pub fn scan_into(
        &self,
        _text: &str,
        _as_of: TimestampMs,
        _scratch: &mut KeywordScratch,
        hits: &mut KeywordHits,
    ) {
        hits.lists.clear();
        hits.terms.clear();
    }

    /// The terms of one list that a scan of this matcher found, as the list writes them; at most
    /// [`TERMS_MAX`], in the order of the text.
    pub fn terms<'m>(&'m self, hits: &'m KeywordHits, list: u32) -> impl Iterator<Item = &'m str> {
        hits.terms.iter().filter(move |(of, _)| *of == list).map(|_| "")
    }
}

impl KeywordHits {
    /// Whether an entry of the list was found.
    #[must_use]
    pub fn contains(&self, list: u32) -> bool {
        let word = self.lists.get(list as usize / 64).copied().unwrap_or(0);
        word >> (list % 64) & 1 == 1
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(|word| *word == 0)
    }

    /// The bitset of lists found, 64 ids a word; may be shorter than the ids allow.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.lists
    }
}
