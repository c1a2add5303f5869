//! Which absent facts keep a rule from being true or false.

use smallvec::SmallVec;

use super::Evaluator;
use super::run::PhaseRun;
use crate::expression::Condition;
use crate::set::RuleBody;
use crate::tables::TableUnknown;
use crate::{Slot, UnknownCause};

/// Absent facts, few enough to need no memory of their own.
pub(crate) type Missing = SmallVec<[Slot; 4]>;

impl<'a> PhaseRun<'a, '_> {
    pub(super) fn absent(&self, slots: &[Slot]) -> Missing {
        let facts = self.evaluator.facts;
        slots.iter().copied().filter(|slot| facts.get(*slot).is_none()).collect()
    }

    /// The absent facts in the unknown parts of a rule's clauses. Told after the fact, so it costs
    /// the request nothing.
    pub(super) fn missing(&mut self, body: &'a RuleBody) -> Missing {
        let mut missing = Missing::new();
        let evaluator = &mut self.evaluator;
        let spent = evaluator.cost_units();
        for clause in &body.clauses {
            collect_missing(evaluator, &clause.condition, &mut missing);
        }
        evaluator.reset_cost_units(spent);
        missing
    }
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
