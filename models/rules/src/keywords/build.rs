//! Gathering the entries of lists and compiling them.

use std::collections::HashMap;

use aho_corasick::nfa::contiguous;
use aho_corasick::{MatchKind, StartKind, dfa};
use smallvec::SmallVec;
use verdict_config::definition::ListEntry;
use verdict_config::{Code, EvaluationVersion, Fault};

use super::words::WordTable;
use super::{Engine, KeywordMatcher, Owner, Pattern, is_word_char};

/// Up to this many bytes of entries a table of all transitions is affordable (about 256 bytes a
/// state); beyond, a compact automaton takes a third of the memory and about twice the time.
const DENSE_BYTES_MAX: usize = 96 * 1_024;

/// Entries by normalised text, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    positions: HashMap<String, usize>,
    texts: Vec<String>,
    patterns: Vec<Pattern>,
    pub(super) terms: Vec<std::sync::Arc<str>>,
    list_ids_end: u32,
}

impl Gathered {
    pub(super) fn add(&mut self, list: u32, entry: &ListEntry, normal: String) {
        let expires_ms = entry.expires.map_or(i64::MAX, |expires| expires.0);
        // Terms are bounded by KEYWORDS_MAX, which is checked before use.
        let owner =
            Owner { list, term: u32::try_from(self.terms.len()).unwrap_or(u32::MAX), expires_ms };
        self.terms.push(entry.value.trim().into());
        self.list_ids_end = self.list_ids_end.max(list + 1);
        let position = *self.positions.entry(normal).or_insert_with_key(|normal| {
            self.patterns.push(Pattern {
                bytes: u32::try_from(normal.len()).unwrap_or(u32::MAX),
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

    pub(super) fn compile(self) -> Result<KeywordMatcher, Fault> {
        let begins_with_word = |text: &str| text.chars().next().is_some_and(is_word_char);
        let numbered = || (0u32..).zip(self.texts.iter().map(String::as_str));
        let by_word = numbered().filter(|(_, text)| begins_with_word(text)).collect();
        let others: Vec<(u32, &str)> =
            numbered().filter(|(_, text)| !begins_with_word(text)).collect();
        Ok(KeywordMatcher {
            words: WordTable::new(by_word),
            automaton: automaton(&others).map_err(|error| {
                let message = format!("the keyword lists of one field are too large: {error}");
                Fault::new(Code::LimitExceeded, "lists", message)
            })?,
            automaton_patterns: others.iter().map(|(pattern, _)| *pattern).collect(),
            patterns: self.patterns,
            terms: self.terms,
            list_ids_end: self.list_ids_end,
            evaluation: EvaluationVersion::CURRENT,
        })
    }
}

fn automaton(patterns: &[(u32, &str)]) -> Result<Engine, aho_corasick::BuildError> {
    let texts = || patterns.iter().map(|(_, text)| *text);
    if patterns.is_empty() {
        return Ok(Engine::Empty);
    }
    if texts().map(str::len).sum::<usize>() <= DENSE_BYTES_MAX {
        let mut builder = dfa::Builder::new();
        builder.match_kind(MatchKind::Standard).start_kind(StartKind::Unanchored);
        return builder.prefilter(false).build(texts()).map(Engine::Dense);
    }
    let mut builder = contiguous::Builder::new();
    builder.match_kind(MatchKind::Standard).prefilter(false);
    builder.build(texts()).map(Engine::Compact)
}
