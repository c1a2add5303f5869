//! Keyword matching: which lists have a word or phrase in a text?
//!
//! Lists and texts are normalised by the same function (compatibility forms, lower case, no marks,
//! one space for any run of white space, hyphens, underscores and slashes), so that
//! `Sports-Betting`, `sports  betting` and `ｓｐｏｒｔｓ betting` are one phrase. All lists of a text
//! field share one Aho-Corasick automaton, so the time of a scan depends on the length of the text
//! and hardly on the number of entries. The automaton reports every place where an entry stands;
//! word boundaries are a filter afterwards:
//!
//! ```text
//! text ─ normalise ─▶ "best online casinos, sports betting"
//!                            automaton: "casino" (no: "s" follows), "sports betting" (yes)
//! ```
//!
//! An entry whose first or last character is a letter or digit matches only where its neighbour in
//! the text is none. Characters of scripts that write no spaces between words (Han, kana, Thai, ...)
//! are no bar: an entry in those scripts matches anywhere. Entries expire; the time of the decision
//! is an argument. A scan allocates only to grow its scratch and to report hits.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, MatchKind, StartKind, dfa};
use smallvec::SmallVec;
use verdict_config::definition::ListDefinition;
use verdict_config::{Code, Fault, Faults, TimestampMs};

mod normalise;

pub use normalise::{is_word_char, normalise, normalise_into};

/// The most terms that a hit names per list.
pub const TERMS_MAX: usize = 4;
/// The longest entry after normalisation, in bytes.
pub const KEYWORD_BYTES_MAX: usize = 256;
/// The most entries of one matcher.
pub const KEYWORDS_MAX: usize = 1_000_000;
/// Ids of lists are below this.
pub const LIST_IDS_MAX: u32 = 65_536;

/// Up to this many bytes of entries a table of all transitions is affordable (about 256 bytes a
/// state); beyond, a compact automaton takes a third of the memory and about twice the time.
const DENSE_BYTES_MAX: usize = 96 * 1_024;

/// All keyword lists that are looked for in one text field, compiled into one automaton.
#[derive(Debug, Clone, Default)]
pub struct KeywordMatcher {
    automaton: Engine,
    /// By pattern: its length, whether it needs a boundary before it, and who owns it.
    patterns: Vec<Pattern>,
    /// Entries as their lists write them.
    terms: Vec<Box<str>>,
    list_ids_end: u32,
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
    word_first: bool,
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
    /// Compiles the lists, each under the caller's id (below [`LIST_IDS_MAX`], any order).
    ///
    /// # Errors
    /// Every unusable entry: empty, of separators only, or longer than [`KEYWORD_BYTES_MAX`]; too many
    /// entries. Paths are `entries[3].value`, under `lists[ID]`.
    pub fn build(lists: &[(u32, &ListDefinition)]) -> Result<Self, Faults> {
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
                match check_keyword(&entry.value, index) {
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
        gathered.compile().map_err(|fault| vec![fault])
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
        match &self.automaton {
            Engine::Empty => {}
            Engine::Dense(automaton) => self.scan_with(automaton, text, as_of, scratch, hits),
            Engine::Compact(automaton) => self.scan_with(automaton, text, as_of, scratch, hits),
        }
    }

    fn scan_with<A: Automaton>(
        &self,
        automaton: &A,
        text: &str,
        as_of: TimestampMs,
        scratch: &mut KeywordScratch,
        hits: &mut KeywordHits,
    ) {
        normalise_into(text, &mut scratch.normalised);
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        let haystack = scratch.normalised.as_slice();
        for (index, byte) in haystack.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, *byte);
            if !automaton.is_special(state) || !automaton.is_match(state) {
                continue;
            }
            // Whatever ends here ends with the same character: one look decides for all of them.
            let end = index + 1;
            if normalise::joins_word(haystack, end) {
                continue;
            }
            for nth in 0..automaton.match_len(state) {
                let pattern = &self.patterns[automaton.match_pattern(state, nth).as_usize()];
                let start = end - pattern.bytes as usize;
                if pattern.word_first && normalise::word_before(haystack, start) {
                    continue;
                }
                for owner in &pattern.owners {
                    if as_of.0 < owner.expires_ms {
                        self.report(*owner, &mut scratch.reported, hits);
                    }
                }
            }
        }
        for (list, _) in &hits.terms {
            scratch.reported[*list as usize] = 0;
        }
    }

    /// Kept out of the loop over the text: hits are rare.
    #[cold]
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
    pub fn terms<'m>(&'m self, hits: &'m KeywordHits, list: u32) -> impl Iterator<Item = &'m str> {
        let of_list = hits.terms.iter().filter(move |(of, _)| *of == list);
        of_list.filter_map(|(_, term)| self.terms.get(*term as usize).map(AsRef::as_ref))
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

    /// Memory of the automaton and its entries, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let automaton = match &self.automaton {
            Engine::Empty => 0,
            Engine::Dense(automaton) => automaton.memory_usage(),
            Engine::Compact(automaton) => automaton.memory_usage(),
        };
        let patterns = self.patterns.len() * size_of::<Pattern>();
        let terms = self.terms.iter().map(|term| term.len() + size_of::<Box<str>>());
        automaton + patterns + terms.sum::<usize>()
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

    /// The bitset of lists found, 64 ids a word; may be shorter than the ids allow.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.lists
    }
}

fn check_keyword(value: &str, index: usize) -> Result<String, Fault> {
    let path = || format!("entries[{index}].value");
    // Normalising can shorten a text (marks, ignorable characters), but not without end.
    if value.len() > KEYWORD_BYTES_MAX * 4 {
        let message = format!("at most {KEYWORD_BYTES_MAX} bytes, got {}", value.len());
        return Err(Fault::new(Code::LimitExceeded, path(), message));
    }
    let normal = normalise(value);
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

/// Entries by normalised text, in the order they came.
#[derive(Debug, Default)]
struct Gathered {
    positions: std::collections::HashMap<String, usize>,
    texts: Vec<String>,
    patterns: Vec<Pattern>,
    terms: Vec<Box<str>>,
    list_ids_end: u32,
}

impl Gathered {
    fn add(&mut self, list: u32, entry: &verdict_config::definition::ListEntry, normal: String) {
        let expires_ms = entry.expires.map_or(i64::MAX, |expires| expires.0);
        // Terms are bounded by KEYWORDS_MAX, which is checked before use.
        let owner =
            Owner { list, term: u32::try_from(self.terms.len()).unwrap_or(u32::MAX), expires_ms };
        self.terms.push(entry.value.trim().into());
        self.list_ids_end = self.list_ids_end.max(list + 1);
        let position = *self.positions.entry(normal).or_insert_with_key(|normal| {
            self.patterns.push(Pattern {
                bytes: u32::try_from(normal.len()).unwrap_or(u32::MAX),
                word_first: normal.chars().next().is_some_and(is_word_char),
                owners: SmallVec::new(),
            });
            self.texts.push(normal.clone());
            self.patterns.len() - 1
        });
        let owners = &mut self.patterns[position].owners;
        match owners.iter_mut().find(|known| known.list == list) {
            // One list that writes a word twice: the entry that lasts longest speaks for both.
            Some(known) if known.expires_ms >= expires_ms => {}
            Some(known) => *known = owner,
            None => owners.push(owner),
        }
    }

    fn compile(self) -> Result<KeywordMatcher, Fault> {
        let bytes: usize = self.texts.iter().map(String::len).sum();
        let too_large = |error: &dyn std::fmt::Display| {
            let message = format!("the keyword lists of one field are too large: {error}");
            Fault::new(Code::LimitExceeded, "lists", message)
        };
        let automaton = if self.texts.is_empty() {
            Engine::Empty
        } else if bytes <= DENSE_BYTES_MAX {
            let mut builder = dfa::Builder::new();
            builder.match_kind(MatchKind::Standard).start_kind(StartKind::Unanchored);
            let built = builder.prefilter(false).build(&self.texts);
            Engine::Dense(built.map_err(|error| too_large(&error))?)
        } else {
            let mut builder = contiguous::Builder::new();
            builder.match_kind(MatchKind::Standard).prefilter(false);
            let built = builder.build(&self.texts);
            Engine::Compact(built.map_err(|error| too_large(&error))?)
        };
        Ok(KeywordMatcher {
            automaton,
            patterns: self.patterns,
            terms: self.terms,
            list_ids_end: self.list_ids_end,
        })
    }
}

#[cfg(test)]
mod tests;
