//! Stages 2 and 3: hard rules and classification by rules, as one job for a worker.

use std::sync::Arc;

use smallvec::SmallVec;
use verdict_config::definition::{Outcome, RulesFailurePolicy};
use verdict_config::{FieldType, Value};
use verdict_rules::{Evaluation, EvaluationInput, Phase, RuleMask, Scratch, WindowRead};

use super::hits::{CountedHit, allowed};
use super::{Candidate, Given, RulesFailure, RulesRefused, Session, Windows};
use crate::flow::FlowSet;

/// Window values of one set: few, so kept on the stack.
pub(crate) type SetWindows = SmallVec<[Option<Value>; 8]>;

/// The rules of one request: owned, so that a worker that dies of it takes nothing else along.
#[derive(Debug, Clone)]
pub struct RulesJob {
    given: Arc<Given>,
    windows: Arc<Windows>,
}

/// What the rules found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RulesResult {
    /// One evaluation a set; empty where the set did not run.
    pub(crate) sets: Vec<Evaluation>,
    /// What they cost.
    pub(crate) cost_units: u64,
    /// Whether the flow's budget was reached.
    pub(crate) exceeded: bool,
}

impl RulesJob {
    /// Evaluates every rule that runs before models.
    #[must_use]
    pub fn run(&self, scratch: &mut Scratch) -> RulesResult {
        evaluate(&self.given, &self.windows, Phase::Early, &[], 0, scratch)
    }
}

/// Evaluates one phase of every set that is switched on.
pub(crate) fn evaluate(
    given: &Given,
    windows: &Windows,
    phase: Phase,
    derived: &[Option<Value>],
    spent: u64,
    scratch: &mut Scratch,
) -> RulesResult {
    let mut result = RulesResult::default();
    let limit = given.flow.definition.cost_units_max.unwrap_or(u64::MAX);
    for (position, set) in given.flow.sets.iter().enumerate() {
        let has_phase = match phase {
            Phase::Early => set.has_early,
            Phase::Late => set.has_late,
        };
        if !(given.stages.flow && has_phase && runs(given, set)) {
            result.sets.push(Evaluation::default());
            continue;
        }
        let set_windows = windows_of(set, windows);
        let spent = spent.saturating_add(result.cost_units);
        let input = input(given, position, derived, &set_windows, limit.saturating_sub(spent));
        let evaluation = set.compiled.evaluate(phase, &input, scratch);
        result.cost_units = result.cost_units.saturating_add(evaluation.cost_units);
        result.exceeded |= evaluation.exceeded;
        result.sets.push(evaluation);
    }
    result
}

/// Whether a set runs at all.
pub(crate) fn runs(given: &Given, set: &FlowSet) -> bool {
    (set.hard && given.stages.rules) || (set.classify && given.stages.classify_rules)
}

/// A set's windows, picked from those of the flow.
pub(crate) fn windows_of(set: &FlowSet, windows: &Windows) -> SetWindows {
    let value = |position: &usize| windows.values.get(*position).cloned().flatten();
    set.windows.iter().map(value).collect()
}

/// The input of a set's evaluation; a position beyond the flow's sets has no masks.
pub(crate) fn input<'a>(
    given: &'a Given,
    position: usize,
    derived: &'a [Option<Value>],
    windows: &'a [Option<Value>],
    cost_units_limit: u64,
) -> EvaluationInput<'a> {
    static NO_RULE: RuleMask = RuleMask::none();
    EvaluationInput {
        facts: &given.facts,
        derived,
        windows,
        as_of: given.as_of,
        disabled: given.disabled.get(position).unwrap_or(&NO_RULE),
        snoozed: given.snoozed.get(position).unwrap_or(&NO_RULE),
        cost_units_limit,
    }
}

/// A window's value in the type that its readers declared; `None` where it has none.
pub(crate) fn typed(value: Value, read: &WindowRead) -> Option<Value> {
    match (read.result, value) {
        (FieldType::Int, Value::Decimal(number)) => {
            i64::try_from(number.trunc()).ok().filter(|_| number.fract().is_zero()).map(Value::Int)
        }
        (FieldType::Float, value) => {
            value.as_f64().filter(|number| number.is_finite()).map(Value::Float)
        }
        (FieldType::Decimal, Value::Int(number)) => Some(Value::Decimal(number.into())),
        (FieldType::Int, value @ Value::Int(_))
        | (FieldType::Decimal, value @ Value::Decimal(_))
        | (FieldType::Time, value @ Value::Time(_))
        | (FieldType::Bool, value @ Value::Bool(_))
        | (FieldType::Symbol | FieldType::String, value @ Value::Text(_)) => Some(value),
        _ => None,
    }
}

impl Session {
    /// The job of stages 2 and 3; call it when the windows are set. What it finds comes back by
    /// [`Session::set_rules`].
    #[must_use]
    pub fn rules_job(&self) -> RulesJob {
        RulesJob { given: Arc::clone(&self.given), windows: Arc::clone(&self.windows) }
    }

    /// Runs the rules here.
    pub fn run_rules(&mut self, scratch: &mut Scratch) {
        self.rules = Some(Ok(self.rules_job().run(scratch)));
    }

    /// Takes what the rules found, or why they did not run.
    ///
    /// # Errors
    /// [`RulesRefused`] where the flow does not decide without its rules.
    pub fn set_rules(
        &mut self,
        result: Result<RulesResult, RulesFailure>,
    ) -> Result<(), RulesRefused> {
        if let Err(failure) = result
            && self.given.flow.definition.on_failure.rules == RulesFailurePolicy::Refuse
        {
            return Err(RulesRefused { failure });
        }
        self.rules = Some(result);
        Ok(())
    }

    pub(crate) fn early(&self) -> Option<&RulesResult> {
        self.rules.as_ref()?.as_ref().ok()
    }

    /// Whether a rule settled the decision at block.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(early) = self.early() else { return false };
        let hits = || CountedHit::of(&self.given, &early.sets);
        let allowed = allowed(hits());
        hits().any(|hit| hit.outcome(allowed) == Some(Outcome::Block))
    }

    /// Labels that rules gave, best first; one entry a label.
    pub(crate) fn rule_candidates(&self) -> SmallVec<[Candidate; 4]> {
        let mut candidates: SmallVec<[Candidate; 4]> = SmallVec::new();
        let Some(early) = self.early().filter(|_| self.given.stages.classify_rules) else {
            return candidates;
        };
        let mut labelled: SmallVec<[(u32, Candidate); 4]> = SmallVec::new();
        for (set, evaluation) in self.given.flow.sets.iter().zip(&early.sets) {
            if !set.classify {
                continue;
            }
            for hit in evaluation.hits.iter().filter(|hit| !hit.snoozed) {
                let effect = set.compiled.effect(evaluation, hit);
                let (Some(label), Some(rule)) = (&effect.label, set.rule(hit.rule)) else {
                    continue;
                };
                let confidence = effect.confidence.unwrap_or(1.0).clamp(0.0, 1.0);
                let source = Arc::clone(&rule.source);
                labelled
                    .push((rule.rank, Candidate { label: Arc::clone(label), confidence, source }));
            }
        }
        labelled.sort_by(|(rank_a, a), (rank_b, b)| {
            b.confidence
                .total_cmp(&a.confidence)
                .then_with(|| a.label.cmp(&b.label))
                .then_with(|| rank_a.cmp(rank_b))
        });
        for (_, candidate) in labelled {
            if !candidates.iter().any(|known| known.label == candidate.label) {
                candidates.push(candidate);
            }
        }
        candidates
    }

    /// Whether the rules' label is good enough that no model is asked: certain enough, and no other
    /// label nearer to it than the flow's `delta`.
    pub(crate) fn is_accepted(&self, candidates: &[Candidate]) -> bool {
        let Some(stage) = &self.given.flow.classify else { return false };
        match candidates {
            [] => false,
            [best] => best.confidence >= stage.accept_from,
            [best, second, ..] => {
                best.confidence >= stage.accept_from
                    && best.confidence - second.confidence >= stage.delta
            }
        }
    }
}
