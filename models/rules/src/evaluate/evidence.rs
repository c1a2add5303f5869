//! What lists and names contribute to hits, kept once however many hits rest on it.

use std::sync::Arc;

use verdict_config::{EvaluationVersion, Value};

use super::run::PhaseRun;
use crate::Evidence;
use crate::evaluation::Span;
use crate::expression::AtomKind;
use crate::set::{EvidenceSource, RuleBody};

impl<'a> PhaseRun<'a, '_> {
    /// The evidence of a rule that hits.
    pub(crate) fn evidence(&mut self, body: &'a RuleBody) -> Span {
        match &*body.evidence {
            [] => Span::default(),
            [EvidenceSource::Atom(id)] => self.atom_evidence(*id),
            several => {
                let mut found = Vec::new();
                for source in several {
                    match source {
                        EvidenceSource::Atom(id) => {
                            let span = self.atom_evidence(*id);
                            found.extend_from_slice(self.evaluation.evidence_in(span));
                        }
                        EvidenceSource::Name { atom, call } => {
                            if self.evaluator.atom(*atom) == Ok(true) {
                                found.extend(self.evaluator.name_evidence(*call));
                            }
                        }
                    }
                }
                self.evaluation.keep_evidence(found)
            }
        }
    }

    /// The evidence of one atom: all rules that read it share it.
    pub(super) fn atom_evidence(&mut self, id: u32) -> Span {
        let place = match self.evaluator.kept_evidence(id) {
            Some(known) => known,
            None => {
                let found = self.make_atom_evidence(id);
                let place = found.map(|found| self.evaluation.keep_one_evidence(found));
                self.evaluator.keep_evidence(id, place);
                place
            }
        };
        place.map_or(Span::default(), Span::one)
    }

    fn make_atom_evidence(&mut self, id: u32) -> Option<Evidence> {
        let resources = self.evaluator.resources;
        match &resources.atoms.get(id as usize)?.kind {
            AtomKind::Keywords { list, scan, field } => {
                let value = self.evaluator.facts.get(*field)?;
                let hits = self.evaluator.scan(*scan, value);
                if !hits.contains(*list) {
                    return None;
                }
                let (item, terms) = match value {
                    Value::Set(items) => {
                        let (item, terms) = self.evaluator.item_with_terms(*scan, *list, items)?;
                        (Some(item.into()), terms)
                    }
                    _ => (None, self.evaluator.terms(*scan, *list)?),
                };
                let list = resources.keyword_lists.get(*list as usize)?.clone();
                Some(Evidence::Terms { field: *field, list, item, terms })
            }
            AtomKind::Listed { list, field } => {
                if self.evaluator.atom(id) != Ok(true) {
                    return None;
                }
                let item = match self.evaluator.facts.get(*field)? {
                    value @ Value::Set(_) => self.evaluator.listed(*list, value).map(Arc::from),
                    _ => None,
                };
                let list = resources.code_lists.get(*list as usize)?.0.clone();
                Some(Evidence::Listed { field: *field, list, item })
            }
            AtomKind::ListedText { list, .. } => {
                if self.evaluator.atom(id) != Ok(true) {
                    return None;
                }
                let list = resources.code_lists.get(*list as usize)?.0.clone();
                Some(Evidence::ListedText { list })
            }
            AtomKind::Truth(_)
            | AtomKind::Has(_)
            | AtomKind::Compare(..)
            | AtomKind::Among(..)
            | AtomKind::Member(..)
            | AtomKind::Search(..)
            | AtomKind::Matches(..) => None,
        }
    }

    /// The evidence of a rule that is unknown: the names that keep it from being true or false.
    pub(crate) fn unknown_evidence(&mut self, body: &'a RuleBody) -> Span {
        if self.set.limits.evaluation == EvaluationVersion::V1 {
            return Span::default();
        }
        let spent = self.evaluator.cost_units();
        let mut found = Vec::new();
        for source in &body.evidence {
            if let EvidenceSource::Name { atom, call } = source
                && self.evaluator.atom(*atom).is_err()
            {
                found.extend(self.evaluator.name_evidence(*call));
            }
        }
        self.evaluator.reset_cost_units(spent);
        self.evaluation.keep_evidence(found)
    }
}
