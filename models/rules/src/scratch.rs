//! Working memory that evaluations reuse: bitsets, scans, and atoms that several rules share.

use std::sync::Arc;

use verdict_config::{TimestampMs, Value};

use crate::UnknownCause;
use crate::evaluate::texts;
use crate::index::Survivors;
use crate::keywords::{KeywordHits, KeywordScratch};
use crate::names::{NameScore, NameScratch};
use crate::resources::Resources;

/// Working memory of evaluations, reused from request to request and from set to set. One a worker.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) survivors: Survivors,
    pub(crate) kept: Kept,
}

impl Scratch {
    /// Empty working memory; it grows to what the sets it serves need.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// What one evaluation keeps so as not to compute it twice. A cell counts only if it carries the
/// number of the present evaluation, so nothing is ever cleared.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    evaluation: u64,
    atoms: Vec<(u64, Result<bool, UnknownCause>)>,
    /// Of a field that is a set, what was found in each item until something was.
    scans: Vec<(u64, KeywordHits)>,
    name_scores: Vec<(u64, Result<NameScore, UnknownCause>)>,
    /// By atom: where its evidence is among that of the evaluation, if it has any.
    evidence: Vec<(u64, Option<u32>)>,
    /// Hits and unknown rules of the evaluation before.
    pub(crate) counts: (usize, usize),
    keyword_scratch: KeywordScratch,
    item_hits: KeywordHits,
    name_scratch: NameScratch,
}

impl Kept {
    /// Forgets everything and makes room for what a set can keep.
    pub(crate) fn begin(&mut self, resources: &Resources) {
        // 2^64 evaluations do not happen.
        self.evaluation = self.evaluation.wrapping_add(1);
        if self.atoms.len() < resources.atoms.len() {
            self.atoms.resize(resources.atoms.len(), (0, Ok(false)));
        }
        if self.scans.len() < resources.scans.len() {
            self.scans.resize_with(resources.scans.len(), Default::default);
        }
        if self.name_scores.len() < resources.name_calls.len() {
            self.name_scores.resize(resources.name_calls.len(), (0, Err(UnknownCause::NoRow)));
        }
    }

    pub(crate) fn atom(&self, id: u32) -> Option<Result<bool, UnknownCause>> {
        let (evaluation, value) = self.atoms.get(id as usize)?;
        (*evaluation == self.evaluation).then_some(*value)
    }

    pub(crate) fn keep_atom(&mut self, id: u32, value: Result<bool, UnknownCause>) {
        if let Some(cell) = self.atoms.get_mut(id as usize) {
            *cell = (self.evaluation, value);
        }
    }

    pub(crate) fn name_score(&self, call: u32) -> Option<Result<NameScore, UnknownCause>> {
        let (evaluation, value) = self.name_scores.get(call as usize)?;
        (*evaluation == self.evaluation).then_some(*value)
    }

    pub(crate) fn keep_name_score(&mut self, call: u32, value: Result<NameScore, UnknownCause>) {
        if let Some(cell) = self.name_scores.get_mut(call as usize) {
            *cell = (self.evaluation, value);
        }
    }

    pub(crate) fn names(&mut self) -> &mut NameScratch {
        &mut self.name_scratch
    }

    /// Where the evidence of an atom is, once it was kept; the inner `None`: it has none.
    pub(crate) fn evidence(&self, atom: u32) -> Option<Option<u32>> {
        let (evaluation, place) = self.evidence.get(atom as usize)?;
        (*evaluation == self.evaluation).then_some(*place)
    }

    pub(crate) fn keep_evidence(&mut self, atom: u32, place: Option<u32>) {
        if self.evidence.len() <= atom as usize {
            self.evidence.resize(self.atoms.len().max(atom as usize + 1), (0, None));
        }
        self.evidence[atom as usize] = (self.evaluation, place);
    }

    /// The terms of a keyword list in a field that was scanned.
    pub(crate) fn terms(
        &self,
        scan: u32,
        list: u32,
        resources: &Resources,
    ) -> Option<Arc<[Arc<str>]>> {
        let (_, hits) = self.scans.get(scan as usize)?;
        let matcher = &resources.scans.get(scan as usize)?.matcher;
        Some(matcher.terms(hits, list).cloned().collect())
    }

    pub(crate) fn has_scan(&self, scan: u32) -> bool {
        self.scans.get(scan as usize).is_some_and(|(evaluation, _)| *evaluation == self.evaluation)
    }

    /// What was found in a field (of a set: in any item), looking now if nobody has yet.
    pub(crate) fn scan(
        &mut self,
        scan: u32,
        value: &Value,
        as_of: TimestampMs,
        resources: &Resources,
    ) -> &KeywordHits {
        // `begin` made room for every scan of the set.
        if self.scans.len() <= scan as usize {
            self.scans.resize_with(scan as usize + 1, Default::default);
        }
        let (evaluation, hits) = &mut self.scans[scan as usize];
        if *evaluation != self.evaluation
            && let Some(scan) = resources.scans.get(scan as usize)
        {
            let texts = texts(value);
            let scratch = &mut self.keyword_scratch;
            scan.matcher.scan_into(texts.first().map_or("", |text| text), as_of, scratch, hits);
            for text in texts.iter().skip(1) {
                scan.matcher.scan_into(text, as_of, scratch, &mut self.item_hits);
                hits.merge(&self.item_hits);
            }
            *evaluation = self.evaluation;
        }
        hits
    }
}
