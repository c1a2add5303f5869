//! One phase of a rule set over one request: index, residuals, tables, hits with evidence.

use verdict_config::definition::UnknownPolicy;

use super::missing::{Missing, table_cause};
use super::{Evaluator, Kleene};
use crate::cost;
use crate::evaluation::{EffectPlace, Span};
use crate::index::{Arm, PhaseIndex, QuickArm, SetBits, Survivors, bits, first_cause};
use crate::set::{EvidenceSource, RuleBody, RuleTable};
use crate::tables::TableAnswer;
use crate::{
    CompiledRuleSet, Evaluation, EvaluationInput, Evidence, Hit, HitEffect, UnknownCause,
    UnknownRule,
};

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
        self.evaluation.keep_missing(found.absent_slots());
        let mut open: Option<Open> = None;
        let words = found.alive.iter().zip(0u32..);
        for arm in words.flat_map(|(word, at)| SetBits { word: *word, base: at * 64 }) {
            let Some(quick) = index.quick.get(arm as usize) else { continue };
            if let Some(done) = open.take_if(|open| open.rule != quick.rule) {
                self.conclude(done, index);
            }
            if quick.alone {
                self.alone(arm, *quick, index, found);
            } else {
                let marked = bits::is_set(&found.unknown, arm);
                let none = Open { rule: quick.rule, truth: Ok(false), by_dimensions: None };
                self.join_arm(open.get_or_insert(none), arm, index, marked);
            }
        }
        if let Some(done) = open {
            self.conclude(done, index);
        }
        self.finish()
    }

    /// The arm of a rule that has no other, no table, and no effect when it is unknown: most rules.
    fn alone(&mut self, arm: u32, quick: QuickArm, index: &'a PhaseIndex, found: &Survivors) {
        if self.is_exceeded() {
            return self.push_unknown(quick.rule, UnknownCause::CostLimit, Span::default());
        }
        let residual = match quick.residual {
            QuickArm::NONE => Ok(true),
            QuickArm::MORE => index.arms.get(arm as usize).map_or(Ok(true), |a| self.residual(a)),
            atom => self.evaluator.atom(atom),
        };
        if residual == Ok(false) {
            return;
        }
        let marked = bits::is_set(&found.unknown, arm);
        if residual == Ok(true) && !marked {
            let evidence = match quick.evidence {
                QuickArm::NONE => Span::default(),
                QuickArm::MORE => {
                    let body = self.set.bodies.get(quick.rule as usize);
                    body.map_or(Span::default(), |body| self.evidence(body))
                }
                atom => self.atom_evidence(atom),
            };
            return self.hit(quick.rule, EffectPlace::Rule, evidence, false);
        }
        // The evaluation's list of absent facts begins with those that the index met.
        if residual == Ok(true)
            && let Some((place, slot)) = found.only_absent(arm)
        {
            return self.push_unknown(quick.rule, UnknownCause::Missing(slot), Span::one(place));
        }
        let Some(of_arm) = index.arms.get(arm as usize) else { return };
        let (truth, by_dimensions) = self.joined(of_arm, marked, residual);
        let by_dimensions = by_dimensions.then_some(arm as usize);
        self.conclude(Open { rule: quick.rule, truth, by_dimensions }, index);
    }

    /// One of several arms of a rule: the rule is true if one is, else unknown if one is.
    fn join_arm(&mut self, open: &mut Open, arm: u32, index: &'a PhaseIndex, marked: bool) {
        let position = arm as usize;
        let Some(of_arm) = index.arms.get(position) else { return };
        if open.truth == Ok(true) {
            return;
        }
        let (truth, by_dimensions) = if self.is_exceeded() {
            (Err(UnknownCause::CostLimit), false)
        } else {
            let residual = self.residual(of_arm);
            self.joined(of_arm, marked, residual)
        };
        match truth {
            Ok(true) => open.truth = truth,
            Err(_) if open.truth == Ok(false) => {
                open.truth = truth;
                open.by_dimensions = by_dimensions.then_some(position);
            }
            Err(_) | Ok(false) => {}
        }
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

    fn is_exceeded(&mut self) -> bool {
        if self.evaluator.cost_units() > self.input.cost_units_limit {
            self.evaluation.exceeded = true;
        }
        self.evaluation.exceeded
    }

    /// Whether the clauses of an arm that no dimension answers are all true.
    fn residual(&mut self, arm: &'a Arm) -> Kleene {
        let mut unknown = None;
        for clause in &arm.residual {
            match self.evaluator.truth(clause) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(cause) => unknown = unknown.or(Some(cause)),
            }
        }
        unknown.map_or(Ok(true), Err)
    }

    /// An arm's truth, and whether only dimensions make it unknown.
    fn joined(&self, arm: &Arm, marked: bool, residual: Kleene) -> (Kleene, bool) {
        if residual == Ok(false) {
            return (residual, false);
        }
        let by_index = if marked { first_cause(arm, &self.evaluator) } else { None };
        match by_index {
            Some(cause) => (Err(cause), residual.is_ok()),
            None => (residual, false),
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
                self.hit(open.rule, EffectPlace::Rule, evidence, false);
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
        self.table_hits(open.rule, body, table, answer);
        if let Some(unknown) = &answer.unknown {
            let (cause, missing) = table_cause(unknown);
            self.unknown(open.rule, body, cause, missing);
        }
    }

    fn table_hits(
        &mut self,
        rule: u32,
        body: &'a RuleBody,
        table: &'a RuleTable,
        answer: &TableAnswer,
    ) {
        let guard = self.evidence(body);
        let guard: Vec<Evidence> = self.evaluation.evidence_in(guard).to_vec();
        let row_of = |row: &u32| Evidence::Row { table: table.name.clone(), row: row + 1 };
        if answer.points.is_some() {
            let Some(joined) = table.table.answer_effects(answer).first().map(HitEffect::of) else {
                return;
            };
            let effect = self.evaluation.keep_effect(joined);
            let evidence = answer.rows.iter().map(row_of).chain(guard);
            let evidence = self.evaluation.keep_evidence(evidence);
            return self.hit(rule, effect, evidence, false);
        }
        for row in &answer.rows {
            if table.effects.get(*row as usize).is_some() {
                let evidence = std::iter::once(row_of(row)).chain(guard.iter().cloned());
                let evidence = self.evaluation.keep_evidence(evidence);
                self.hit(rule, EffectPlace::Row(*row), evidence, false);
            }
        }
    }

    #[inline]
    fn hit(&mut self, rule: u32, effect: EffectPlace, evidence: Span, as_unknown: bool) {
        let snoozed = self.input.snoozed.contains(rule);
        self.evaluation.hits.push(Hit { rule, as_unknown, snoozed, effect, evidence });
    }

    fn unknown(&mut self, rule: u32, body: &'a RuleBody, cause: UnknownCause, missing: Missing) {
        if body.unknown_effect.is_some() {
            let evidence = if cause == UnknownCause::CostLimit {
                Span::default()
            } else {
                self.unknown_evidence(body)
            };
            self.hit(rule, EffectPlace::Unknown, evidence, true);
        }
        let missing = self.evaluation.keep_missing(missing);
        self.push_unknown(rule, cause, missing);
    }

    #[inline]
    fn push_unknown(&mut self, rule: u32, cause: UnknownCause, missing: Span) {
        self.evaluation.unknown.push(UnknownRule { rule, cause, missing });
    }
}

/// What an unknown condition of a rule does, if it does anything.
pub(crate) fn unknown_effect(policy: UnknownPolicy, effect: &HitEffect) -> Option<Box<HitEffect>> {
    use verdict_config::definition::Outcome;
    let at_least = |outcome| {
        let reason = effect.reason.clone();
        Box::new(HitEffect { outcome: Some(outcome), reason, ..HitEffect::default() })
    };
    match policy {
        UnknownPolicy::NoMatch => None,
        UnknownPolicy::Match => Some(Box::new(effect.clone())),
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
