//! The matcher of evaluation version 1, kept as it was at e23b5c5: a cluster whose version was not
//! raised yet gives the same scores on nodes of both programs. Nothing here changes; the matcher of
//! the present version is [`super::list`].
//!
//! ```text
//! query ─ fold ─▶ tokens ─ index ─▶ at most 48 candidates ─ score ─▶ best ─ qualifiers ─▶ 0..1
//!         marks, scripts,   equal, one edit away,    rapidfuzz, token by    country, identifier
//!         legal forms       or spelled as it sounds  token and as a whole
//! ```
//!
//! The work of a look-up is bounded by constants, however long the list: tokens, index keys, postings
//! and candidates are all capped, rare tokens first. The bounds cost recall only where more than
//! [`POSTINGS_MAX`] entries share the query's rarest tokens.
//!
//! Scores are made to be explained, not learned: [`MATCH_FROM`] is a match, and a flow settles a hit
//! only far above it. Qualifiers that agree raise a score, those that disagree lower it, an equal
//! identifier is certain. Neither a country nor an identifier that is not known says anything.

use std::collections::HashMap;

use verdict_config::definition::{ListDefinition, ListEntry};
use verdict_config::{Code, Fault, Faults, TimestampMs};

mod fold;
mod index;
mod score;

use super::{CANDIDATES_MAX, NAME_BYTES_MAX, NAMES_MAX, NameMatch, NamePart, NameQuery};
use index::TokenIndex;
use score::{Base, Scored};

/// How far an agreeing country closes the gap to 1.
const COUNTRY_AGREES: f64 = 0.25;
/// What is left of a score if the countries differ.
const COUNTRY_DIFFERS: f64 = 0.92;
/// What is left of a score if the identifiers differ.
const IDENTIFIER_DIFFERS: f64 = 0.90;

/// A list of names compiled for fuzzy look-ups. Reads the qualifiers `country`, `identifier` and
/// `aliases` of its entries, each several separated by `;` or `|`.
#[derive(Debug, Clone, Default)]
pub struct NameList {
    entries: Vec<Entry>,
    spellings: Vec<Spelling>,
    index: TokenIndex,
    identifiers: HashMap<Box<str>, Vec<u32>>,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Box<str>,
    expires_ms: i64,
    countries: Vec<Box<str>>,
    identifiers: Vec<Box<str>>,
}

/// One way to write an entry: its value or an alias.
#[derive(Debug, Clone)]
struct Spelling {
    entry: u32,
    text: Box<str>,
    /// Tokens by their number in the index, in the order of the text.
    tokens: Vec<u32>,
}

/// Buffers that look-ups reuse.
#[derive(Debug, Clone, Default)]
pub struct NameScratch {
    candidates: index::Candidates,
    score: score::ScoreScratch,
}

/// The best entry before it is explained.
#[derive(Debug, Clone, Copy)]
struct Best {
    spelling: u32,
    base: Scored,
    score: f64,
}

impl NameList {
    /// Compiles a list.
    ///
    /// # Errors
    /// Every name that is too long or has no letter and no digit, and a list that is too long; paths
    /// are `entries[3].value` and `entries[3].qualifiers.aliases`.
    pub fn build(definition: &ListDefinition) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        if definition.entries.len() > NAMES_MAX {
            let count = definition.entries.len();
            let message = format!("at most {NAMES_MAX} names, got {count}: split the list");
            faults.push(Fault::new(Code::LimitExceeded, "entries", message));
            return Err(faults);
        }
        let mut list = Self::default();
        let mut names: Vec<Vec<Box<str>>> = Vec::new();
        for (index, entry) in (0u32..).zip(&definition.entries) {
            match spellings_of(entry, index) {
                Err(of_entry) => faults.extend(of_entry),
                Ok(spellings) => {
                    for (text, tokens) in spellings {
                        list.spellings.push(Spelling { entry: index, text, tokens: Vec::new() });
                        names.push(tokens);
                    }
                }
            }
            let identifiers = split(entry, "identifier", fold::identifier);
            for identifier in &identifiers {
                list.identifiers.entry(identifier.clone()).or_default().push(index);
            }
            list.entries.push(Entry {
                value: entry.value.trim().into(),
                expires_ms: entry.expires.map_or(i64::MAX, |expires| expires.0),
                countries: split(entry, "country", fold::country),
                identifiers,
            });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        list.index = TokenIndex::build(&names);
        for (spelling, tokens) in list.spellings.iter_mut().zip(&names) {
            spelling.tokens = tokens.iter().filter_map(|token| list.index.number(token)).collect();
        }
        Ok(list)
    }

    /// The score of the best entry, 0 if no entry has anything in common; what `name_match` answers.
    #[must_use]
    pub fn score(
        &self,
        query: &NameQuery<'_>,
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> f64 {
        let tokens = fold::tokens(query.name);
        self.best(query, &tokens, as_of, scratch).map_or(0.0, |best| best.score)
    }

    /// The best entry with its explanation; of equally good ones the first.
    #[must_use]
    pub fn find(
        &self,
        query: &NameQuery<'_>,
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> Option<NameMatch> {
        let tokens = fold::tokens(query.name);
        let best = self.best(query, &tokens, as_of, scratch)?;
        let spelling = self.spellings.get(best.spelling as usize)?;
        let entry = self.entries.get(spelling.entry as usize)?;
        let mut parts = vec![NamePart {
            kind: best.base.base.as_str(),
            detail: score::describe(&tokens, &self.texts(spelling), &best.base),
            score: best.base.score,
        }];
        if spelling.text != entry.value {
            parts.push(NamePart {
                kind: "alias",
                detail: format!("{:?} is an alias of {:?}", spelling.text, entry.value),
                score: best.base.score,
            });
        }
        let qualifiers = Qualifiers::of(query);
        let qualified = qualifiers.qualify(entry, best.base.score);
        qualifiers.explain(entry, &qualified, &mut parts);
        Some(NameMatch {
            entry: spelling.entry,
            value: entry.value.clone(),
            spelling: spelling.text.clone(),
            score: best.score,
            parts,
        })
    }

    /// How many entries the list has, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What a look-up costs.
    pub fn cost_units(&self) -> u64 {
        crate::cost::NAME + crate::cost::NAME_PER_ENTRY * self.entries.len() as u64
    }

    fn best(
        &self,
        query: &NameQuery<'_>,
        tokens: &[Box<str>],
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> Option<Best> {
        let known = |spelling: u32| {
            let entry = self.spellings.get(spelling as usize).map(|spelling| spelling.entry);
            entry.and_then(|entry| self.entries.get(entry as usize))
        };
        self.index.candidates(tokens, &mut scratch.candidates, |spelling| {
            known(spelling).is_some_and(|entry| as_of.0 < entry.expires_ms)
        });
        let qualifiers = Qualifiers::of(query);
        let by_identifier = self.with_identifier(qualifiers.identifier.as_deref(), as_of);
        let mut best: Option<Best> = None;
        for spelling in scratch.candidates.chosen().iter().copied().chain(by_identifier) {
            let (Some(of), Some(entry)) = (self.spellings.get(spelling as usize), known(spelling))
            else {
                continue;
            };
            let base = score::score(tokens, &self.texts(of), &mut scratch.score);
            let score = qualifiers.qualify(entry, base.score).score;
            let better = best.is_none_or(|best| {
                score > best.score || (score == best.score && spelling < best.spelling)
            });
            if better {
                best = Some(Best { spelling, base, score });
            }
        }
        best
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

    fn texts(&self, spelling: &Spelling) -> smallvec::SmallVec<[&str; 8]> {
        spelling.tokens.iter().map(|token| self.index.text(*token)).collect()
    }
}

/// A query's qualifiers, folded once for all candidates.
struct Qualifiers {
    country: Option<Box<str>>,
    identifier: Option<Box<str>>,
}

/// What the qualifiers make of a score: after the country, and after the identifier; `None` where
/// one of the two sides does not know it.
struct Qualified {
    country: Option<(bool, f64)>,
    identifier: Option<(bool, f64)>,
    score: f64,
}

impl Qualifiers {
    fn of(query: &NameQuery<'_>) -> Self {
        Self {
            country: query.country.and_then(fold::country),
            identifier: query.identifier.and_then(fold::identifier),
        }
    }

    fn qualify(&self, entry: &Entry, base: f64) -> Qualified {
        let agrees = |given: &Option<Box<str>>, listed: &[Box<str>]| {
            given.as_ref().filter(|_| !listed.is_empty()).map(|given| listed.contains(given))
        };
        let mut score = base;
        let country = agrees(&self.country, &entry.countries).map(|agrees| {
            score = if agrees {
                score + (1.0 - score) * COUNTRY_AGREES
            } else {
                score * COUNTRY_DIFFERS
            };
            (agrees, score)
        });
        let identifier = agrees(&self.identifier, &entry.identifiers).map(|agrees| {
            score = if agrees { 1.0 } else { score * IDENTIFIER_DIFFERS };
            (agrees, score)
        });
        Qualified { country, identifier, score }
    }

    fn explain(&self, entry: &Entry, qualified: &Qualified, parts: &mut Vec<NamePart>) {
        if let Some((agrees, score)) = qualified.country {
            let given = self.country.as_deref().unwrap_or_default();
            let listed = entry.countries.join(", ");
            let detail = if agrees {
                format!("{given} is of {listed}")
            } else {
                format!("{given} is not of {listed}")
            };
            parts.push(NamePart { kind: "country", detail, score });
        }
        if let Some((agrees, score)) = qualified.identifier {
            let detail =
                if agrees { "the identifiers are equal" } else { "the identifiers differ" };
            parts.push(NamePart { kind: "identifier", detail: detail.to_owned(), score });
        }
    }
}

type Spelled = (Box<str>, Vec<Box<str>>);

/// The spellings of an entry: its value, then its aliases.
fn spellings_of(entry: &ListEntry, index: u32) -> Result<Vec<Spelled>, Faults> {
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
        let tokens = fold::tokens(name);
        if tokens.is_empty() {
            let message = format!("{name:?} is no name: write letters or digits");
            faults.push(Fault::new(Code::InvalidValue, path(), message));
        }
        spellings.push((name.into(), tokens));
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

impl Base {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Partial => "partial",
            Self::Joined => "joined",
        }
    }
}

#[cfg(test)]
mod tests;
