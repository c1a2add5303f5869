//! Fuzzy name matching against lists of names: how alike are a name and the entries of a list?
//!
//! ```text
//! query ─ fold ─▶ words ─ index ─▶ at most 48 candidates ─ score ─▶ best ─ qualifiers ─▶ 0..1
//!         scripts, marks,  equal, one edit away,     word by word,        country, identifier
//!         look-alikes,     same sound, same grams    joined, split
//!         legal forms
//! ```
//!
//! The work of a look-up is bounded by constants, however long the list: words, index keys, postings,
//! candidates and comparisons are all capped, rare words first (`names/work.rs`). A look-up that a
//! bound cuts short has a gap ([`NameGap::Cut`]); only the choice of the [`CANDIDATES_MAX`] best
//! candidates, and a word that many companies share in more than [`POSTINGS_MAX`] entries, are none.
//!
//! Scores are made to be explained, not learned: [`MATCH_FROM`] is a match, and a flow settles a hit
//! only far above it. Qualifiers that agree raise a score, those that disagree lower it, an equal
//! identifier is certain. Neither a country nor an identifier that is not known says anything.
//!
//! A name that cannot be compared with every entry has a score that is only a lower bound
//! ([`NameScore::gap`]): a rule is unknown unless the bound decides it.
//!
//! [`EvaluationVersion::V1`] keeps the matcher of the version before as it was (`names/v1.rs`).

use verdict_config::definition::ListDefinition;
use verdict_config::{EvaluationVersion, Faults, TimestampMs};

mod fold;
mod index;
mod list;
mod pairs;
mod qualifiers;
mod score;
mod script;
mod v1;
mod words;
mod work;

/// From this score on two names are taken for the same.
pub const MATCH_FROM: f64 = 0.70;
/// The most entries of a list of names.
pub const NAMES_MAX: usize = 250_000;
/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Candidates that are scored per look-up.
pub const CANDIDATES_MAX: usize = 48;
/// Postings of words that a look-up visits.
pub const POSTINGS_MAX: usize = 20_000;

/// A list of names compiled for fuzzy look-ups. Reads the qualifiers `country`, `identifier` and
/// `aliases` of its entries, each several separated by `;` or `|`.
#[derive(Debug, Clone)]
pub struct NameList {
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    V1(Box<v1::NameList>),
    V2(Box<list::NameList>),
}

/// Whom to look for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NameQuery<'q> {
    /// The name as it was given.
    pub name: &'q str,
    /// Country code, if known.
    pub country: Option<&'q str>,
    /// A registration, passport or tax number, if known.
    pub identifier: Option<&'q str>,
}

/// Buffers that look-ups reuse.
#[derive(Debug, Clone, Default)]
pub struct NameScratch {
    v1: v1::NameScratch,
    v2: list::NameScratch,
}

/// How alike a name and the best entry of a list are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NameScore {
    /// 0 to 1; [`MATCH_FROM`] is a match. A lower bound if there is a gap.
    pub score: f64,
    /// Why the name could not be compared with every entry; the score may be higher.
    pub gap: Option<NameGap>,
}

/// Why a name cannot be compared with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameGap {
    /// The name has no letter and no digit.
    Empty,
    /// The name is in a script that is only read and not folded, and entries are in another.
    Script,
    /// The name is too long, or like too much of the list: not all of it was compared.
    Cut,
}

impl NameGap {
    /// The gap as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "name_empty",
            Self::Script => "name_script",
            Self::Cut => "name_cut",
        }
    }

    /// The gap in a sentence, without the name.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Empty => "the name has no letter and no digit to compare",
            Self::Script => {
                "the name's script cannot be compared with entries in other scripts reliably: the \
                 score is a lower bound"
            }
            Self::Cut => {
                "the name is too long or like too many entries, not all of it was compared: the score \
                 is a lower bound"
            }
        }
    }
}

/// The best entry for a query.
#[derive(Debug, Clone, PartialEq)]
pub struct NameMatch {
    /// Position of the entry in the definition.
    pub entry: u32,
    /// The entry's value.
    pub value: Box<str>,
    /// The spelling of the entry that matched best: its value or one of its aliases.
    pub spelling: Box<str>,
    /// How alike, 0 to 1; [`MATCH_FROM`] is a match.
    pub score: f64,
    /// How the score came about, in order.
    pub parts: Vec<NamePart>,
}

/// One step of a score.
#[derive(Debug, Clone, PartialEq)]
pub struct NamePart {
    /// What was compared: `words`, then `alias`, `country`, `identifier`.
    pub kind: &'static str,
    /// For people.
    pub detail: String,
    /// The score after this step.
    pub score: f64,
}

/// An entry that names in other scripts cannot be compared with, or that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFinding {
    /// Position of the entry in the definition.
    pub entry: u32,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
}

impl NameList {
    /// Compiles a list for the present rules of evaluation.
    ///
    /// # Errors
    /// Every name that is too long or has no letter and no digit, and a list that is too long; paths
    /// are `entries[3].value` and `entries[3].qualifiers.aliases`.
    pub fn build(definition: &ListDefinition) -> Result<Self, Faults> {
        Self::build_for(definition, EvaluationVersion::CURRENT)
    }

    /// Compiles a list for the rules of evaluation of a version.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_for(
        definition: &ListDefinition,
        version: EvaluationVersion,
    ) -> Result<Self, Faults> {
        let matcher = match version {
            EvaluationVersion::V1 => Matcher::V1(Box::new(v1::NameList::build(definition)?)),
            EvaluationVersion::V2 => Matcher::V2(Box::new(list::NameList::build(definition)?)),
        };
        Ok(Self { matcher })
    }

    /// The score of the best entry, 0 if no entry has anything in common; what `name_match` answers.
    #[must_use]
    pub fn score(
        &self,
        query: &NameQuery<'_>,
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> NameScore {
        match &self.matcher {
            Matcher::V1(list) => {
                NameScore { score: list.score(query, as_of, &mut scratch.v1), gap: None }
            }
            Matcher::V2(list) => list.score(query, as_of, &mut scratch.v2),
        }
    }

    /// The best entry with its explanation; of equally good ones the first.
    #[must_use]
    pub fn find(
        &self,
        query: &NameQuery<'_>,
        as_of: TimestampMs,
        scratch: &mut NameScratch,
    ) -> Option<NameMatch> {
        match &self.matcher {
            Matcher::V1(list) => list.find(query, as_of, &mut scratch.v1),
            Matcher::V2(list) => list.find(query, as_of, &mut scratch.v2),
        }
    }

    /// What a look-up of a name of at most so many bytes costs in the worst case, in cost units.
    #[must_use]
    pub fn cost_units(&self, name_bytes: u64) -> u64 {
        match &self.matcher {
            Matcher::V1(list) => list.cost_units(),
            Matcher::V2(list) => list.cost_units(name_bytes),
        }
    }

    /// Whether a set counts a look-up once, however often its rules mention it.
    pub(crate) fn is_counted_once(&self) -> bool {
        matches!(self.matcher, Matcher::V2(_))
    }

    /// What the look-up that was just done cost, in cost units; never more than
    /// [`cost_units`](Self::cost_units).
    #[must_use]
    pub fn spent_units(&self, scratch: &NameScratch) -> u64 {
        match &self.matcher {
            Matcher::V1(list) => list.cost_units(),
            Matcher::V2(_) => scratch.v2.spent(),
        }
    }

    /// Entries that cannot be compared as they should be, at most 20.
    #[must_use]
    pub fn findings(&self) -> &[NameFinding] {
        match &self.matcher {
            Matcher::V1(_) => &[],
            Matcher::V2(list) => list.findings(),
        }
    }

    /// How many entries the list has, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.matcher {
            Matcher::V1(list) => list.len(),
            Matcher::V2(list) => list.len(),
        }
    }

    /// Whether the list has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod quality;
#[cfg(test)]
mod tests;
