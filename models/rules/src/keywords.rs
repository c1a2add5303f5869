//! Keyword matching: which lists have a word or phrase in a text?
//!
//! Lists and texts are normalised by the same function (compatibility forms, lower case, no marks,
//! one space for any run of white space, hyphens, underscores and slashes), so that
//! `Sports-Betting`, `sports  betting` and `ｓｐｏｒｔｓ betting` are one phrase. All lists of a text
//! field are looked for at once, so the time of a scan depends on the length of the text and hardly
//! on the number of entries. Entries that begin with a word are found by it; the others (`.onion`,
//! scripts without spaces) by an Aho-Corasick automaton, which is not asked if there are none:
//!
//! ```text
//! text ─ normalise ─▶ "best online casinos, sports betting"
//!                      words: "casinos" begins no entry, "sports" begins "sports betting"
//! ```
//!
//! An entry whose first or last character is a letter or digit matches only where its neighbour in
//! the text is none. Characters of scripts that write no spaces between words (Han, kana, Thai, ...)
//! are no bar: an entry in those scripts matches anywhere. Entries expire; the time of the decision
//! is an argument. A scan allocates only to grow its scratch and to report hits.

use std::sync::Arc;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, dfa};
use smallvec::SmallVec;
use verdict_config::definition::ListDefinition;
use verdict_config::{Code, EvaluationVersion, Fault, Faults, TimestampMs};

mod build;
mod normalise;
mod places;
mod words;

use build::Gathered;
use places::{Place, Places};
use words::WordTable;

use normalise::normalise_for;
pub use normalise::{is_word_char, normalise, normalise_into};

/// The most terms that a hit names per list.
pub const TERMS_MAX: usize = 4;
/// The longest entry after normalisation, in bytes.
pub const KEYWORD_BYTES_MAX: usize = 256;
/// The most entries of one matcher.
pub const KEYWORDS_MAX: usize = 1_000_000;
/// Ids of lists are below this.
pub const LIST_IDS_MAX: u32 = 65_536;

/// All keyword lists that are looked for in one text field, compiled together.
#[derive(Debug, Clone, Default)]
pub struct KeywordMatcher {
    /// Patterns that begin with a character of a word.
    words: WordTable,
    /// All others.
    automaton: Engine,
    /// By pattern of the automaton: its position.
    automaton_patterns: Vec<u32>,
    patterns: Vec<Pattern>,
    /// Entries as their lists write them.
    terms: Vec<Arc<str>>,
    list_ids_end: u32,
    evaluation: EvaluationVersion,
}

#[derive(Debug, Clone, Default)]
enum Engine {
    #[default]
    Empty,
    Dense(dfa::DFA),
    Compact(contiguous::NFA),
}

#[derive(Debug, Clone)]
struct Pattern {
    bytes: u32,
    owners: SmallVec<[Owner; 1]>,
}

/// An entry of a list that normalises to the pattern.
#[derive(Debug, Clone, Copy)]
struct Owner {
    list: u32,
    term: u32,
    expires_ms: i64,
}

/// Buffers that scans reuse; one a worker is enough.
#[derive(Debug, Clone, Default)]
pub struct KeywordScratch {
    normalised: Vec<u8>,
    word_bits: Vec<u64>,
    places: Places,
    /// Terms reported so far, by list.
    reported: Vec<u8>,
}

/// What a scan found. Owned, so that it can outlive the scratch; holds no text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeywordHits {
    lists: SmallVec<[u64; 4]>,
    /// List and term, in the order of the text.
    terms: SmallVec<[(u32, u32); 8]>,
}

impl KeywordMatcher {
    /// Compiles the lists for the newest version of evaluation, as [`Self::build_for`].
    ///
    /// # Errors
    /// As there.
    pub fn build(lists: &[(u32, &ListDefinition)]) -> Result<Self, Faults> {
        Self::build_for(lists, EvaluationVersion::CURRENT)
    }

    /// Compiles the lists, each under the caller's id (below [`LIST_IDS_MAX`], any order).
    ///
    /// # Errors
    /// Every unusable entry: empty, of separators only, or longer than [`KEYWORD_BYTES_MAX`]; too many
    /// entries. Paths are `entries[3].value`, under `lists[ID]`.
    pub fn build_for(
        lists: &[(u32, &ListDefinition)],
        evaluation: EvaluationVersion,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let mut gathered = Gathered::default();
        for (list, definition) in lists {
            if *list >= LIST_IDS_MAX {
                let message = format!("ids of lists end at {LIST_IDS_MAX}: use fewer lists");
                faults.push(Fault::new(Code::LimitExceeded, format!("lists[{list}]"), message));
                continue;
            }
            let mut of_list = crate::lists::check_size(definition);
            for (index, entry) in definition.entries.iter().enumerate().take(KEYWORDS_MAX) {
                match check_keyword(&entry.value, index, evaluation) {
                    Ok(normal) => gathered.add(*list, entry, normal),
                    Err(fault) => of_list.push(fault),
                }
            }
            faults.extend(of_list.into_iter().map(|fault| fault.under(&format!("lists[{list}]"))));
        }
        if gathered.terms.len() > KEYWORDS_MAX {
            let message = format!(
                "at most {KEYWORDS_MAX} entries in the lists of one field, got {}",
                gathered.terms.len()
            );
            faults.push(Fault::new(Code::LimitExceeded, "lists", message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let matcher = gathered.compile().map_err(|fault| vec![fault])?;
        Ok(Self { evaluation, ..matcher })
    }

    /// Finds every list that has an unexpired entry in the text.
    #[must_use]
    pub fn scan(
        &self,
        text: &str,
        as_of: TimestampMs,
        scratch: &mut KeywordScratch,
    ) -> KeywordHits {
        let mut hits = KeywordHits::default();
        self.scan_into(text, as_of, scratch, &mut hits);
        hits
    }

    /// As [`Self::scan`], into hits that are cleared first.
    pub fn scan_into(
        &self,
        text: &str,
        as_of: TimestampMs,
        scratch: &mut KeywordScratch,
        hits: &mut KeywordHits,
    ) {
        hits.lists.clear();
        hits.terms.clear();
        let KeywordScratch { normalised, word_bits, places, .. } = scratch;
        places.begin();
        normalise_for(text, self.evaluation, normalised);
        self.words.find(normalised, word_bits, places);
        match &self.automaton {
            Engine::Empty => {}
            Engine::Dense(automaton) => self.find_others(automaton, normalised, places),
            Engine::Compact(automaton) => self.find_others(automaton, normalised, places),
        }
        if !places.is_empty() {
            self.report_all(as_of, scratch, hits);
        }
    }

    /// Adds the places where entries of the automaton stand.
    fn find_others<A: Automaton>(&self, automaton: &A, text: &[u8], places: &mut Places) {
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        for (index, byte) in text.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, *byte);
            if !automaton.is_special(state) || !automaton.is_match(state) {
                continue;
            }
            let end = index + 1;
            for nth in 0..automaton.match_len(state) {
                let nth = automaton.match_pattern(state, nth).as_usize();
                let Some(number) = self.automaton_patterns.get(nth) else { continue };
                let bytes = self.patterns.get(*number as usize).map_or(0, |found| found.bytes);
                let start = end.saturating_sub(bytes as usize);
                places.add(text, Place { end, start, pattern: *number });
            }
        }
    }

    /// Reports the entries found, in the order of the text.
    fn report_all(&self, as_of: TimestampMs, scratch: &mut KeywordScratch, hits: &mut KeywordHits) {
        let KeywordScratch { places, reported, .. } = scratch;
        for pattern in places.patterns() {
            let Some(pattern) = self.patterns.get(pattern as usize) else { continue };
            for owner in pattern.owners.iter().filter(|owner| as_of.0 < owner.expires_ms) {
                self.report(*owner, reported, hits);
            }
        }
        for (list, _) in &hits.terms {
            reported[*list as usize] = 0;
        }
    }

    fn report(&self, owner: Owner, reported: &mut Vec<u8>, hits: &mut KeywordHits) {
        if hits.lists.is_empty() {
            hits.lists.resize((self.list_ids_end as usize).div_ceil(64), 0);
            reported.resize(reported.len().max(self.list_ids_end as usize), 0);
        }
        hits.lists[owner.list as usize / 64] |= 1 << (owner.list % 64);
        let count = &mut reported[owner.list as usize];
        let term = (owner.list, owner.term);
        if usize::from(*count) < TERMS_MAX && (*count == 0 || !hits.terms.contains(&term)) {
            *count += 1;
            hits.terms.push(term);
        }
    }

    /// The terms of one list that a scan of this matcher found, as the list writes them; at most
    /// [`TERMS_MAX`], in the order of the text.
    pub fn terms<'m>(
        &'m self,
        hits: &'m KeywordHits,
        list: u32,
    ) -> impl Iterator<Item = &'m Arc<str>> {
        let of_list = hits.terms.iter().filter(move |(of, _)| *of == list);
        of_list.filter_map(|(_, term)| self.terms.get(*term as usize))
    }

    /// How many different normalised entries are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Memory of the tables and the entries, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let automaton = match &self.automaton {
            Engine::Empty => 0,
            Engine::Dense(automaton) => automaton.memory_usage(),
            Engine::Compact(automaton) => automaton.memory_usage(),
        };
        let patterns = self.patterns.len() * size_of::<Pattern>();
        let terms = self.terms.iter().map(|term| term.len() + size_of::<Arc<str>>());
        automaton + self.words.memory_bytes() + patterns + terms.sum::<usize>()
    }
}

impl KeywordHits {
    /// Whether an entry of the list was found.
    #[must_use]
    pub fn contains(&self, list: u32) -> bool {
        let word = self.lists.get(list as usize / 64).copied().unwrap_or(0);
        (word >> (list % 64)) & 1 == 1
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Adds what was found in another text.
    pub fn merge(&mut self, other: &Self) {
        if self.lists.len() < other.lists.len() {
            self.lists.resize(other.lists.len(), 0);
        }
        self.lists.iter_mut().zip(&other.lists).for_each(|(word, more)| *word |= more);
        for term in &other.terms {
            let of_list = self.terms.iter().filter(|(list, _)| *list == term.0).count();
            if of_list < TERMS_MAX && !self.terms.contains(term) {
                self.terms.push(*term);
            }
        }
    }

    /// The bitset of lists found, 64 ids a word; may be shorter than the ids allow.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.lists
    }
}

fn check_keyword(
    value: &str,
    index: usize,
    evaluation: EvaluationVersion,
) -> Result<String, Fault> {
    let path = || format!("entries[{index}].value");
    // Normalising can shorten a text (marks, ignorable characters), but not without end.
    if value.len() > KEYWORD_BYTES_MAX * 4 {
        let message = format!("at most {KEYWORD_BYTES_MAX} bytes, got {}", value.len());
        return Err(Fault::new(Code::LimitExceeded, path(), message));
    }
    let mut normal = Vec::new();
    normalise_for(value, evaluation, &mut normal);
    let normal = String::from_utf8(normal).unwrap_or_default();
    if normal.is_empty() {
        let message = format!("{value:?} holds nothing to look for: write a word, or remove it");
        return Err(Fault::new(Code::InvalidValue, path(), message));
    }
    if normal.len() > KEYWORD_BYTES_MAX {
        let message = format!("at most {KEYWORD_BYTES_MAX} bytes, got {}", normal.len());
        return Err(Fault::new(Code::LimitExceeded, path(), message));
    }
    Ok(normal)
}

#[cfg(test)]
mod tests;
