//! A list of names compiled for look-ups: entries, their spellings, and in which scripts they are.

use std::collections::HashMap;

use smallvec::SmallVec;
use unicode_script::Script;
use verdict_config::definition::{ListDefinition, ListEntry};
use verdict_config::{Code, Fault, Faults, TimestampMs};

use super::fold::{Folded, READ_MAX, TOKENS_MAX, fold};
use super::index::{Candidates, SpellingIndex};
use super::pairs::{PairScratch, WEIGHTS, Word};
use super::qualifiers::{Listed, Qualifiers, country, identifier};
use super::work::{self, Work};
use super::{
    CANDIDATES_MAX, NAME_BYTES_MAX, NAMES_MAX, NameFinding, NameGap, NameMatch, NamePart,
    NameQuery, NameScore, score,
};

/// The most findings of a list.
pub const FINDINGS_MAX: usize = 20;

/// Cost units of a look-up (`names/work.rs` has the others): to begin with, per byte that is read,
/// and per word of the query.
const COST_BASE: u64 = 1_500;
const COST_PER_BYTE: u64 = 100;
const COST_PER_WORD: u64 = 300;

type Words<'t> = SmallVec<[Word<'t>; 8]>;

/// A list of names.
#[derive(Debug, Clone, Default)]
pub struct NameList {
    entries: Vec<Entry>,
    spellings: Vec<Spelling>,
    index: SpellingIndex,
    identifiers: HashMap<Box<str>, Vec<u32>>,
    scripts: Scripts,
    findings: Vec<NameFinding>,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Box<str>,
    expires_ms: i64,
    qualifiers: Listed,
}

/// One way to write an entry: its value or an alias.
#[derive(Debug, Clone)]
struct Spelling {
    entry: u32,
    text: Box<str>,
    /// Words by their number in the index, in the order of the text.
    words: Box<[u32]>,
}

/// Until when some entry is valid that has no spelling in a script, so that a name in that script
/// cannot be compared with it.
#[derive(Debug, Clone, Default)]
struct Scripts {
    /// Until when any entry is valid.
    all_ms: Option<i64>,
    /// Until when an entry is valid that has a folded spelling.
    folded_ms: Option<i64>,
    /// By script that is only read: until when an entry is valid that has no spelling in it.
    lacking_ms: Vec<(Script, Option<i64>)>,
}

/// Buffers that look-ups reuse.
#[derive(Debug, Clone, Default)]
pub struct NameScratch {
    candidates: Candidates,
    pairs: PairScratch,
    spent: u64,
}

impl NameScratch {
    /// What the last look-up cost.
    pub const fn spent(&self) -> u64 {
        self.spent
    }
}

/// The best entry before it is explained.
#[derive(Debug, Clone, Copy)]
struct Best {
    spelling: u32,
    base: f64,
    score: f64,
}

impl NameList {
    /// Compiles a list; as [`super::NameList::build`].
    pub fn build(definition: &ListDefinition) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        if definition.entries.len() > NAMES_MAX {
            let count = definition.entries.len();
            let message = format!("at most {NAMES_MAX} names, got {count}: split the list");
            faults.push(Fault::new(Code::LimitExceeded, "entries", message));
            return Err(faults);
        }
        let mut list = Self::default();
        let mut words: Vec<Vec<Box<str>>> = Vec::new();
        let mut reads: Vec<(u32, Option<Script>)> = Vec::new();
        for (index, entry) in (0u32..).zip(&definition.entries) {
            match spellings_of(entry, index) {
                Err(of_entry) => faults.extend(of_entry),
                Ok(spellings) => {
                    list.add_findings(index, &spellings);
                    for (text, folded) in spellings {
                        list.spellings.push(Spelling { entry: index, text, words: Box::default() });
                        reads.push((index, folded.read));
                        words.push(folded.tokens);
                    }
                }
            }
            list.add_entry(index, entry);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        list.index = SpellingIndex::build(&words);
        for (spelling, words) in list.spellings.iter_mut().zip(&words) {
            spelling.words = words.iter().filter_map(|word| list.index.number(word)).collect();
        }
        list.scripts = Scripts::new(&list.entries, &reads);
        Ok(list)
    }

    fn add_entry(&mut self, index: u32, entry: &ListEntry) {
        let identifiers = split(entry, "identifier", identifier);
        for identifier in &identifiers {
            self.identifiers.entry(identifier.clone()).or_default().push(index);
        }
        self.entries.push(Entry {
            value: entry.value.trim().into(),
            expires_ms: entry.expires.map_or(i64::MAX, |expires| expires.0),
            qualifiers: Listed { countries: split(entry, "country", country), identifiers },
        });
    }

    fn add_findings(&mut self, index: u32, spellings: &[(Box<str>, Folded)]) {
        let Some((value, _)) = spellings.first() else { return };
        let mut add = |message: String| {
            if self.findings.len() < FINDINGS_MAX {
                self.findings.push(NameFinding { entry: index, message });
            }
        };
        if let Some((text, _)) = spellings.iter().find(|(_, folded)| folded.cut) {
            add(format!("{text:?} has more than {TOKENS_MAX} words: only the first are compared"));
        }
        let read = |(_, folded): &(Box<str>, Folded)| folded.read;
        if let Some(script) = spellings.first().and_then(read)
            && spellings.iter().all(|spelling| read(spelling).is_some())
        {
            let script = script.full_name();
            add(format!(
                "{value:?} is in {script} script only, and names in Latin letters are hardly like \
                 it: add a Latin spelling to aliases"
            ));
        }
    }

    /// The score of the best entry.
    pub fn score(
        &self,
        query: &NameQuery<'_>,
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> NameScore {
        let folded = fold(query.name);
        let (best, whole) = self.best(query, &words_of(&folded), as_of, scratch);
        let score = best.map_or(0.0, |best| best.score);
        scratch.spent = self.spent_units(&folded, scratch);
        let gap = self.gap(&folded, as_of).or((!whole).then_some(NameGap::Cut));
        // What is certain can be no better.
        let gap = gap.filter(|_| score < 1.0);
        NameScore { score, gap }
    }

    /// The best entry with its explanation; of equally good ones the first.
    pub fn find(
        &self,
        query: &NameQuery<'_>,
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> Option<NameMatch> {
        let folded = fold(query.name);
        let words = words_of(&folded);
        let best = self.best(query, &words, as_of, scratch).0?;
        let spelling = self.spellings.get(best.spelling as usize)?;
        let entry = self.entries.get(spelling.entry as usize)?;
        let other = self.words(spelling);
        // It was compared within the bounds before.
        scratch.pairs.work = Work::new(self.work_max());
        score::score(&WEIGHTS, &words, &other, &mut scratch.pairs);
        let detail = score::describe(&words, &other, &scratch.pairs.chosen);
        let mut parts = vec![NamePart { kind: "words", detail, score: best.base }];
        if spelling.text != entry.value {
            parts.push(NamePart {
                kind: "alias",
                detail: format!("{:?} is an alias of {:?}", spelling.text, entry.value),
                score: best.base,
            });
        }
        let qualifiers = Qualifiers::new(query);
        let qualified = qualifiers.qualify(&entry.qualifiers, best.base);
        qualifiers.explain(&entry.qualifiers, &qualified, &mut parts);
        Some(NameMatch {
            entry: spelling.entry,
            value: entry.value.clone(),
            spelling: spelling.text.clone(),
            score: best.score,
            parts,
        })
    }

    /// What a look-up of a name of so many bytes costs in the worst case.
    pub fn cost_units(&self, name_bytes: u64) -> u64 {
        let letters = name_bytes.min(4 * READ_MAX as u64);
        // Each word but the last is followed by a space.
        let words = letters.div_ceil(2).min(TOKENS_MAX as u64);
        let postings = self.index.postings_max(usize::try_from(words).unwrap_or(TOKENS_MAX));
        fixed_units(letters, words) + work::POSTING * postings as u64 + self.work_max()
    }

    fn work_max(&self) -> u64 {
        work::work_max(self.spellings.len().min(CANDIDATES_MAX))
    }

    /// What a look-up cost.
    fn spent_units(&self, folded: &Folded, scratch: &NameScratch) -> u64 {
        let postings = work::POSTING * scratch.candidates.visited() as u64;
        let letters = folded.letters as u64;
        let words = folded.tokens.len() as u64;
        fixed_units(letters, words) + postings + scratch.pairs.work.spent()
    }

    /// Entries that cannot be compared as they should be.
    pub fn findings(&self) -> &[NameFinding] {
        &self.findings
    }

    /// How many entries the list has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn gap(&self, query: &Folded, as_of: TimestampMs) -> Option<NameGap> {
        let valid = |until: Option<i64>| until.is_some_and(|until| as_of.0 < until);
        if !valid(self.scripts.all_ms) {
            return None;
        }
        if query.tokens.is_empty() {
            return Some(if query.read.is_some() { NameGap::Script } else { NameGap::Empty });
        }
        let open = match query.read {
            None => !valid(self.scripts.folded_ms),
            Some(script) => valid(self.scripts.lacking(script)),
        };
        if open { Some(NameGap::Script) } else { query.cut.then_some(NameGap::Cut) }
    }

    fn best(
        &self,
        query: &NameQuery<'_>,
        words: &[Word<'_>],
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> (Option<Best>, bool) {
        let NameScratch { candidates, pairs, .. } = scratch;
        pairs.work = Work::new(self.work_max());
        let known = |spelling: u32| {
            let entry = self.spellings.get(spelling as usize).map(|spelling| spelling.entry);
            entry.and_then(|entry| self.entries.get(entry as usize))
        };
        let buffers = (&mut *candidates, &mut pairs.work);
        let mut whole = self.index.candidates(words, buffers, |spelling| {
            known(spelling).is_some_and(|entry| as_of.0 < entry.expires_ms)
        });
        let qualifiers = Qualifiers::new(query);
        let by_identifier = self.with_identifier(qualifiers.identifier.as_deref(), as_of);
        let mut best: Option<Best> = None;
        // An equal identifier is certain, so it comes first.
        for spelling in by_identifier.into_iter().chain(candidates.chosen().iter().copied()) {
            let (Some(of), Some(entry)) = (self.spellings.get(spelling as usize), known(spelling))
            else {
                continue;
            };
            // Only an earlier entry can be as good as one that is certain.
            if best.is_some_and(|best| best.score >= 1.0 && best.spelling < spelling) {
                continue;
            }
            pairs.work.spend(work::CANDIDATE);
            let base = score::score(&WEIGHTS, words, &self.words(of), pairs);
            if pairs.work.is_cut() {
                // What was compared in part says nothing.
                whole = false;
                break;
            }
            let score = qualifiers.qualify(&entry.qualifiers, base).score;
            let better = best.is_none_or(|best| {
                score > best.score || (score == best.score && spelling < best.spelling)
            });
            if better {
                best = Some(Best { spelling, base, score });
            }
        }
        (best, whole)
    }

    /// The first spelling of each entry whose identifier is the query's, at most
    /// [`CANDIDATES_MAX`].
    fn with_identifier(&self, identifier: Option<&str>, as_of: TimestampMs) -> Vec<u32> {
        let entries = identifier.and_then(|identifier| self.identifiers.get(identifier));
        let entries = entries.map_or(&[][..], Vec::as_slice);
        let current = entries.iter().filter(|entry| {
            let entry = self.entries.get(**entry as usize);
            entry.is_some_and(|entry| as_of.0 < entry.expires_ms)
        });
        let first = |entry: &u32| {
            let place = self.spellings.partition_point(|spelling| spelling.entry < *entry);
            u32::try_from(place).ok()
        };
        current.filter_map(first).take(CANDIDATES_MAX).collect()
    }

    fn words(&self, spelling: &Spelling) -> Words<'_> {
        spelling.words.iter().map(|word| self.index.word(*word)).collect()
    }
}

impl Scripts {
    /// From the entries, and by spelling: its entry and the script that was only read.
    fn new(entries: &[Entry], reads: &[(u32, Option<Script>)]) -> Self {
        let until = |entry: u32| entries.get(entry as usize).map(|entry| entry.expires_ms);
        let all_ms = entries.iter().map(|entry| entry.expires_ms).max();
        let folded = reads.iter().filter(|(_, read)| read.is_none());
        let folded_ms = folded.filter_map(|(entry, _)| until(*entry)).max();
        let mut scripts: Vec<Script> = reads.iter().filter_map(|(_, read)| *read).collect();
        scripts.sort_unstable_by_key(|script| script.full_name());
        scripts.dedup();
        let lacking = |script: Script| {
            let mut has = vec![false; entries.len()];
            for (entry, _) in reads.iter().filter(|(_, read)| *read == Some(script)) {
                has[*entry as usize] = true;
            }
            let without = entries.iter().zip(has).filter(|(_, has)| !has);
            without.map(|(entry, _)| entry.expires_ms).max()
        };
        let lacking_ms = scripts.into_iter().map(|script| (script, lacking(script))).collect();
        Self { all_ms, folded_ms, lacking_ms }
    }

    fn lacking(&self, script: Script) -> Option<i64> {
        let known = self.lacking_ms.iter().find(|(known, _)| *known == script);
        known.map_or(self.all_ms, |(_, until)| *until)
    }
}

/// What reading and looking up the letters and words of a query costs.
const fn fixed_units(letters: u64, words: u64) -> u64 {
    COST_BASE + COST_PER_BYTE * letters + COST_PER_WORD * words
}

fn words_of(folded: &Folded) -> Words<'_> {
    folded.tokens.iter().map(|token| Word::new(token)).collect()
}

/// The spellings of an entry: its value, then its aliases.
fn spellings_of(entry: &ListEntry, index: u32) -> Result<Vec<(Box<str>, Folded)>, Faults> {
    let mut faults = Faults::new();
    let mut spellings = Vec::new();
    let aliases = entry.qualifiers.get("aliases").map_or("", String::as_str);
    let aliases = aliases.split([';', '|']).map(str::trim).filter(|alias| !alias.is_empty());
    let named = std::iter::once((entry.value.trim(), "value"))
        .chain(aliases.map(|alias| (alias, "qualifiers.aliases")));
    for (name, place) in named {
        let path = || format!("entries[{index}].{place}");
        if name.len() > NAME_BYTES_MAX {
            let message = format!("at most {NAME_BYTES_MAX} bytes a name, got {}", name.len());
            faults.push(Fault::new(Code::LimitExceeded, path(), message));
            continue;
        }
        let folded = fold(name);
        // What the version before accepted has letters, if only of a script that nothing reads.
        if folded.tokens.is_empty() && !name.chars().any(char::is_alphanumeric) {
            let message = format!("{name:?} is no name: write letters or digits");
            faults.push(Fault::new(Code::InvalidValue, path(), message));
        }
        spellings.push((name.into(), folded));
    }
    if faults.is_empty() { Ok(spellings) } else { Err(faults) }
}

fn split(
    entry: &ListEntry,
    qualifier: &str,
    folded: impl Fn(&str) -> Option<Box<str>>,
) -> Vec<Box<str>> {
    let text = entry.qualifiers.get(qualifier).map_or("", String::as_str);
    text.split([';', '|', ',']).filter_map(folded).collect()
}
