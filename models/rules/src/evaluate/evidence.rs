//! What lists and names contribute to hits, kept once however many hits rest on it.

use std::sync::Arc;

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
                                found.extend(self.name_evidence(*call));
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
                let text = self.evaluator.facts.get(*field)?.as_text()?;
                let hits = self.evaluator.scan(*scan, text);
                if !hits.contains(*list) {
                    return None;
                }
                let terms = self.evaluator.terms(*scan, *list)?;
                let list = resources.keyword_lists.get(*list as usize)?.clone();
                Some(Evidence::Terms { field: *field, list, terms })
            }
            AtomKind::Listed { list, field } => {
                if self.evaluator.atom(id) != Ok(true) {
                    return None;
                }
                let list = resources.code_lists.get(*list as usize)?.0.clone();
                Some(Evidence::Listed { field: *field, list })
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

    fn name_evidence(&mut self, call: u32) -> Option<Evidence> {
        let (list, field, found) = self.evaluator.name_match(call)?;
        let parts: Vec<String> = found
            .parts
            .iter()
            .map(|part| format!("{}: {} ({:.3})", part.kind, part.detail, part.score))
            .collect();
        Some(Evidence::Name {
            field,
            list: list.clone(),
            entry: Arc::from(&*found.value),
            score: found.score,
            explanation: parts.join("; ").into(),
        })
    }
}
