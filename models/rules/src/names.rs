//! Fuzzy name matching.

use verdict_config::definition::ListDefinition;
use verdict_config::{Faults, TimestampMs};

/// From this score on two names are taken for the same.
pub const MATCH_FROM: f64 = 0.70;

/// A list of names compiled for fuzzy look-ups.
#[derive(Debug, Clone, Default)]
pub struct NameList {}

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
pub struct NameScratch {}

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
    /// What was compared: `token_sort`, `tokens`, `partial`, `joined`, `alias`, `country`, `identifier`.
    pub kind: &'static str,
    /// For people.
    pub detail: String,
    /// The score after this step.
    pub score: f64,
}

impl NameList {
    /// Compiles a list.
    ///
    /// # Errors
    /// Every unusable entry; paths are `entries[3].value`.
    pub fn build(_definition: &ListDefinition) -> Result<Self, Faults> {
        Ok(Self {})
    }

    /// The score of the best entry, 0 if there is no candidate; what `name_match` answers.
    #[must_use]
    pub fn score(&self, query: &NameQuery<'_>, as_of: TimestampMs, scratch: &mut NameScratch) -> f64 {
        self.find(query, as_of, scratch).map_or(0.0, |found| found.score)
    }

    /// The best entry with its explanation.
    #[must_use]
    pub fn find(
        &self,
        _query: &NameQuery<'_>,
        _as_of: TimestampMs,
        _scratch: &mut NameScratch,
    ) -> Option<NameMatch> {
        None
    }
}
