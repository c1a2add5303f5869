//! A compiled rule set, and what can be asked of it.

use std::ops::Range;
use std::sync::Arc;

use verdict_config::Schema;

use crate::evaluate::{Evaluator, PhaseRun};
use crate::expression::Condition;
use crate::index::PhaseIndex;
use crate::resources::Resources;
use crate::scratch::Kept;
use crate::tables::DecisionTable;
use crate::{
    DerivedFacts, Evaluation, EvaluationInput, FactValues, Finding, HitEffect, Phase, RuleInfo,
    RuleLimits, Scratch, Slot, WindowRead,
};

/// A rule set that can be evaluated: immutable, shared by any number of threads.
#[derive(Debug)]
pub struct CompiledRuleSet {
    pub(crate) name: Arc<str>,
    pub(crate) content_hash: Arc<str>,
    pub(crate) rules: Vec<RuleInfo>,
    pub(crate) bodies: Vec<RuleBody>,
    pub(crate) resources: Resources,
    pub(crate) early: PhaseIndex,
    pub(crate) late: PhaseIndex,
    pub(crate) findings: Vec<Finding>,
    pub(crate) cost_units_max: u64,
    pub(crate) schema: Schema,
    pub(crate) derived: DerivedFacts,
    pub(crate) limits: RuleLimits,
}

/// What one rule needs to be explained, and to be evaluated where its arm in the index does not say
/// it all.
#[derive(Debug)]
pub(crate) struct RuleBody {
    pub(crate) effect: HitEffect,
    /// What it does when its condition is unknown, if anything.
    pub(crate) unknown_effect: Option<Box<HitEffect>>,
    pub(crate) evidence: Box<[EvidenceSource]>,
    pub(crate) table: Option<Box<RuleTable>>,
    /// The parts of its condition that `&&` joins, as written.
    pub(crate) clauses: Box<[CompiledClause]>,
    /// Its arms in the index of its phase.
    pub(crate) arms: Range<u32>,
}

#[derive(Debug)]
pub(crate) struct CompiledClause {
    pub(crate) condition: Condition,
    pub(crate) text: Arc<str>,
    pub(crate) column: u32,
}

#[derive(Debug)]
pub(crate) struct RuleTable {
    pub(crate) name: Arc<str>,
    pub(crate) table: DecisionTable,
    /// What each row does.
    pub(crate) effects: Vec<HitEffect>,
}

/// An atom that shows more than its truth when its rule hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvidenceSource {
    /// Keywords or a code list.
    Atom(u32),
    /// A name look-up inside an atom.
    Name { atom: u32, call: u32 },
}

impl CompiledRuleSet {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// SHA-256 in hexadecimal over its definition and the lists and tables that it reads.
    #[must_use]
    pub fn content_hash(&self) -> &Arc<str> {
        &self.content_hash
    }

    /// Its rules; a rule's position is its number.
    #[must_use]
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    /// The windows it reads, without repetition.
    #[must_use]
    pub fn windows(&self) -> &[WindowRead] {
        &self.resources.windows
    }

    /// What both phases together cost in the worst case, in cost units.
    #[must_use]
    pub fn cost_units_max(&self) -> u64 {
        self.cost_units_max
    }

    /// What is suspicious about it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The decision tables that its rules read, each with how many rows it has.
    pub fn table_rows(&self) -> impl Iterator<Item = (&str, u32)> {
        self.bodies.iter().filter_map(|body| {
            let table = body.table.as_deref()?;
            Some((table.name.as_ref(), crate::resources::position(table.effects.len())))
        })
    }

    /// Whether any rule runs after models.
    #[must_use]
    pub fn has_late(&self) -> bool {
        self.rules.iter().any(|rule| rule.phase == Phase::Late)
    }

    /// The name of a slot: field, derived fact, or a window's canonical text.
    #[must_use]
    pub fn slot_name(&self, slot: Slot) -> &str {
        self.resources.slots.get(slot as usize).map_or("", |info| &info.name)
    }

    /// Facts by slot, as this set numbers them.
    #[must_use]
    pub fn fact_values<'a>(&self, input: &EvaluationInput<'a>) -> FactValues<'a> {
        FactValues {
            fields: input.facts,
            derived: input.derived,
            windows: input.windows,
            derived_from: self.resources.derived_from,
            windows_from: self.resources.windows_from,
        }
    }

    /// Evaluates the rules of one phase. `scratch` may come from any set.
    #[must_use]
    pub fn evaluate(
        &self,
        phase: Phase,
        input: &EvaluationInput<'_>,
        scratch: &mut Scratch,
    ) -> Evaluation {
        let index = self.index(phase);
        if index.is_empty() {
            return Evaluation::default();
        }
        let Scratch { survivors, kept } = scratch;
        self.phase_run(input, kept).run(index, survivors)
    }

    /// Evaluates the rules of one phase one by one, as their text says. Slower than
    /// [`evaluate`](Self::evaluate) and equal in hits and unknown rules (without a cost limit): it is
    /// what the index is tested against.
    #[must_use]
    pub fn evaluate_without_index(
        &self,
        phase: Phase,
        input: &EvaluationInput<'_>,
        scratch: &mut Scratch,
    ) -> Evaluation {
        self.phase_run(input, &mut scratch.kept).run_without_index(phase)
    }

    pub(crate) fn phase_run<'a, 's>(
        &'a self,
        input: &'a EvaluationInput<'a>,
        kept: &'s mut Kept,
    ) -> PhaseRun<'a, 's> {
        let evaluator = Evaluator::new(&self.resources, self.fact_values(input), input.as_of, kept);
        let evaluation = evaluator.room();
        PhaseRun { set: self, input, evaluator, evaluation }
    }

    fn index(&self, phase: Phase) -> &PhaseIndex {
        match phase {
            Phase::Early => &self.early,
            Phase::Late => &self.late,
        }
    }
}
