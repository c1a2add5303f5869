//! One phase of a rule set over one request: index, residuals, tables, hits with evidence.

use std::sync::Arc;

use smallvec::SmallVec;
use verdict_config::definition::UnknownPolicy;

use super::{Evaluator, Kleene};
use crate::cost;
use crate::expression::{AtomKind, Condition};
use crate::index::{Arm, PhaseIndex, SetBits, Survivors, bits, first_cause};
use crate::set::{EvidenceSource, RuleBody, RuleTable};
use crate::tables::{TableAnswer, TableUnknown};
use crate::{
    CompiledRuleSet, Evaluation, EvaluationInput, Evidence, Hit, HitEffect, Slot, UnknownCause,
    UnknownRule,
};

/// Absent facts, few enough to need no memory of their own.
pub(crate) type Missing = SmallVec<[Slot; 4]>;

/// One phase being evaluated.
pub(crate) struct PhaseRun<'a, 's> {
    pub(crate) set: &'a CompiledRuleSet,
    pub(crate) input: &'a EvaluationInput<'a>,
    pub(crate) evaluator: Evaluator<'a, 's>,
    pub(crate) evaluation: Evaluation,
}

/// The rule whose arms are being joined.
struct Open {
    rule: u32,
    truth: Kleene,
    /// The only arm, if its residual is known and only dimensions are unknown.
    by_dimensions: Option<usize>,
}

impl<'a> PhaseRun<'a, '_> {
    /// Evaluates every rule of the phase by its index.
    pub(crate) fn run(mut self, index: &'a PhaseIndex, found: &mut Survivors) -> Evaluation {
        index.all_alive(found);
        for rule in self.input.disabled.iter() {
            let arms = self.set.bodies.get(rule as usize).map_or(0..0, |body| body.arms.clone());
            arms.for_each(|arm| bits::clear(&mut found.alive, arm));
        }
        let limit = self.input.cost_units_limit;
        if !index.filter(&mut self.evaluator, found, limit) {
            self.evaluation.exceeded = true;
        }
        let mut open: Option<Open> = None;
        let words = found.alive.iter().zip(0u32..);
        for arm in words.flat_map(|(word, at)| SetBits { word: *word, base: at * 64 }) {
            let position = arm as usize;
            let Some(arm) = index.arms.get(position) else { continue };
            if open.as_ref().is_none_or(|open| open.rule != arm.rule) {
                if let Some(done) = open.take() {
                    self.conclude(done, index);
                }
                open = Some(Open { rule: arm.rule, truth: Ok(false), by_dimensions: None });
            }
            let Some(open) = &mut open else { continue };
            if open.truth == Ok(true) {
                continue;
            }
            let marked = bits::is_set(&found.unknown, arm_number(position));
            let (truth, by_dimensions) = self.arm(arm, marked);
            match truth {
                Ok(true) => open.truth = truth,
                Err(_) if open.truth == Ok(false) => {
                    open.truth = truth;
                    open.by_dimensions = by_dimensions.then_some(position);
                }
                Err(_) | Ok(false) => {}
            }
        }
        if let Some(done) = open {
            self.conclude(done, index);
        }
        self.finish()
    }

    /// Evaluates every rule of the phase as its text says, without the index.
    pub(crate) fn run_without_index(mut self, phase: crate::Phase) -> Evaluation {
        let set = self.set;
        for (rule, body) in (0u32..).zip(&set.bodies) {
            let skipped = set.rules()[rule as usize].phase != phase;
            if skipped || self.input.disabled.contains(rule) {
                continue;
            }
            let truth = self.clauses(body);
            let open = Open { rule, truth, by_dimensions: None };
            self.conclude(open, &PhaseIndex::default());
        }
        self.finish()
    }

    fn finish(mut self) -> Evaluation {
        self.evaluation.cost_units = self.evaluator.cost_units();
        self.evaluator.keep_counts(&self.evaluation);
        self.evaluation
    }

    pub(crate) fn clauses(&mut self, body: &'a RuleBody) -> Kleene {
        let mut unknown = None;
        for clause in &body.clauses {
            match self.evaluator.truth(&clause.condition) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(cause) => unknown = unknown.or(Some(cause)),
            }
        }
        unknown.map_or(Ok(true), Err)
    }

    /// An arm's truth, and whether only dimensions make it unknown.
    fn arm(&mut self, arm: &'a Arm, marked: bool) -> (Kleene, bool) {
        if self.evaluation.exceeded || self.evaluator.cost_units() > self.input.cost_units_limit {
            self.evaluation.exceeded = true;
            return (Err(UnknownCause::CostLimit), false);
        }
        let by_index = if marked { first_cause(arm, &self.evaluator) } else { None };
        let mut by_residual = None;
        for clause in &arm.residual {
            match self.evaluator.truth(clause) {
                Ok(true) => {}
                Ok(false) => return (Ok(false), false),
                Err(cause) => by_residual = by_residual.or(Some(cause)),
            }
        }
        match by_index.or(by_residual) {
            Some(cause) => (Err(cause), by_residual.is_none()),
            None => (Ok(true), false),
        }
    }

    fn conclude(&mut self, open: Open, index: &PhaseIndex) {
        let set = self.set;
        let Some(body) = set.bodies.get(open.rule as usize) else { return };
        if open.truth == Ok(false) {
            return;
        }
        if open.truth == Err(UnknownCause::CostLimit) {
            self.unknown(open.rule, body, UnknownCause::CostLimit, Missing::new());
            return;
        }
        if let Some(table) = &body.table {
            self.evaluator.charge(table.table.cost_units());
            let facts = self.evaluator.facts;
            let answer = table.table.evaluate(|slot| facts.get(slot));
            self.conclude_table(&open, body, table, &answer);
            return;
        }
        match open.truth {
            Ok(_) => {
                let evidence = self.evidence(body);
                self.hit(open.rule, body.effect.clone(), evidence, false);
            }
            Err(cause) => {
                let missing = match open.by_dimensions.and_then(|arm| index.arms.get(arm)) {
                    Some(arm) if body.arms.len() == 1 => self.absent(&arm.slots),
                    _ => self.missing(body),
                };
                self.unknown(open.rule, body, cause, missing);
            }
        }
    }

    fn conclude_table(
        &mut self,
        open: &Open,
        body: &'a RuleBody,
        table: &'a RuleTable,
        answer: &TableAnswer,
    ) {
        // No row for certain: false, whatever the guard is.
        if answer.rows.is_empty() && answer.unknown.is_none() {
            return;
        }
        if let Err(cause) = open.truth {
            let missing = self.missing(body);
            return self.unknown(open.rule, body, cause, missing);
        }
        for (effect, evidence) in self.table_hits(body, table, answer) {
            self.hit(open.rule, effect, evidence, false);
        }
        if let Some(unknown) = &answer.unknown {
            let (cause, missing) = table_cause(unknown);
            self.unknown(open.rule, body, cause, missing);
        }
    }

    fn table_hits(
        &mut self,
        body: &'a RuleBody,
        table: &'a RuleTable,
        answer: &TableAnswer,
    ) -> Vec<(Arc<HitEffect>, Vec<Evidence>)> {
        let guard = self.evidence(body);
        let row_of = |row: &u32| Evidence::Row { table: table.name.clone(), row: row + 1 };
        if answer.points.is_some() {
            let effects = table.table.answer_effects(answer);
            let joined = effects.first().map(HitEffect::of).map(Arc::new);
            let evidence: Vec<Evidence> = answer.rows.iter().map(row_of).chain(guard).collect();
            return joined.map(|effect| (effect, evidence)).into_iter().collect();
        }
        let hit_of = |row: &u32| {
            let effect = table.effects.get(*row as usize)?.clone();
            let mut evidence = vec![row_of(row)];
            evidence.extend(guard.iter().cloned());
            Some((effect, evidence))
        };
        answer.rows.iter().filter_map(hit_of).collect()
    }

    fn hit(
        &mut self,
        rule: u32,
        effect: Arc<HitEffect>,
        evidence: Vec<Evidence>,
        as_unknown: bool,
    ) {
        let snoozed = self.input.snoozed.contains(rule);
        self.evaluation.hits.push(Hit { rule, effect, evidence, as_unknown, snoozed });
    }

    fn unknown(&mut self, rule: u32, body: &RuleBody, cause: UnknownCause, missing: Missing) {
        if let Some(effect) = &body.unknown_effect {
            self.hit(rule, effect.clone(), Vec::new(), true);
        }
        self.evaluation.unknown.push(UnknownRule { rule, cause, missing });
    }

    fn absent(&self, slots: &[Slot]) -> Missing {
        let facts = self.evaluator.facts;
        let mut absent = Missing::new();
        for slot in slots {
            if facts.get(*slot).is_none() {
                absent.push(*slot);
            }
        }
        absent
    }

    /// The absent facts in the unknown parts of a rule's clauses. Told after the fact, so it costs
    /// the request nothing.
    fn missing(&mut self, body: &'a RuleBody) -> Missing {
        let mut missing = Missing::new();
        let evaluator = &mut self.evaluator;
        let spent = evaluator.cost_units();
        for clause in &body.clauses {
            collect_missing(evaluator, &clause.condition, &mut missing);
        }
        evaluator.reset_cost_units(spent);
        missing
    }

    pub(crate) fn evidence(&mut self, body: &'a RuleBody) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for source in &body.evidence {
            match source {
                EvidenceSource::Atom(id) => evidence.extend(self.atom_evidence(*id)),
                EvidenceSource::Name { atom, call } => {
                    if self.evaluator.atom(*atom) == Ok(true) {
                        evidence.extend(self.name_evidence(*call));
                    }
                }
            }
        }
        evidence
    }

    fn atom_evidence(&mut self, id: u32) -> Option<Evidence> {
        let resources = self.evaluator.resources;
        match &resources.atoms.get(id as usize)?.kind {
            AtomKind::Keywords { list, scan, field } => {
                let text = self.evaluator.facts.get(*field)?.as_text()?;
                let hits = self.evaluator.scan(*scan, text);
                if !hits.contains(*list) {
                    return None;
                }
                let terms = self.evaluator.terms(id, *scan, *list)?;
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

fn arm_number(position: usize) -> u32 {
    crate::resources::position(position)
}

/// Why a table's answer is unknown, and which absent facts would settle it.
pub(crate) fn table_cause(unknown: &TableUnknown) -> (UnknownCause, Missing) {
    match unknown {
        TableUnknown::Missing(slots) => {
            let first = slots.first().copied().unwrap_or(Slot::MAX);
            (UnknownCause::Missing(first), slots.iter().copied().collect())
        }
        TableUnknown::Conflict(..) => (UnknownCause::TableConflict, Missing::new()),
    }
}

/// Collects absent facts from the unknown leaves of a condition, skipping what is settled.
pub(crate) fn collect_missing<'a>(
    evaluator: &mut Evaluator<'a, '_>,
    condition: &'a Condition,
    missing: &mut Missing,
) {
    if evaluator.truth(condition).is_ok() {
        return;
    }
    match condition {
        Condition::Constant(_) => {}
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|part| collect_missing(evaluator, part, missing));
        }
        Condition::Not(inner) => collect_missing(evaluator, inner, missing),
        Condition::If(parts) => {
            parts.iter().for_each(|part| collect_missing(evaluator, part, missing));
        }
        Condition::Same(parts) => {
            parts.iter().for_each(|part| collect_missing(evaluator, part, missing));
        }
        Condition::Atom(id) => {
            let resources = evaluator.resources;
            let Some(atom) = resources.atoms.get(*id as usize) else { return };
            for slot in &atom.reads {
                if evaluator.facts.get(*slot).is_none() && !missing.contains(slot) {
                    missing.push(*slot);
                }
            }
        }
    }
}

/// What an unknown condition of a rule does, if it does anything.
pub(crate) fn unknown_effect(
    policy: UnknownPolicy,
    effect: &Arc<HitEffect>,
) -> Option<Arc<HitEffect>> {
    use verdict_config::definition::Outcome;
    let at_least = |outcome| {
        let reason = effect.reason.clone();
        Arc::new(HitEffect { outcome: Some(outcome), reason, ..HitEffect::default() })
    };
    match policy {
        UnknownPolicy::NoMatch => None,
        UnknownPolicy::Match => Some(effect.clone()),
        UnknownPolicy::Review => Some(at_least(Outcome::Review)),
        UnknownPolicy::Decline => Some(at_least(Outcome::Decline)),
    }
}

/// The worst-case cost of a rule beyond what its phase's index shares.
pub(crate) fn rule_cost_max(body: &RuleBody, resources: &crate::resources::Resources) -> u64 {
    let clauses: u64 =
        body.clauses.iter().map(|clause| cost::condition_max(&clause.condition, resources)).sum();
    let evidence: u64 = body
        .evidence
        .iter()
        .map(|source| {
            let (EvidenceSource::Atom(id) | EvidenceSource::Name { atom: id, .. }) = source;
            let atom = resources.atoms.get(*id as usize);
            cost::STEP + atom.map_or(0, |atom| atom.cost_units_max)
        })
        .sum();
    clauses + evidence + body.table.as_ref().map_or(0, |table| table.table.cost_units())
}
