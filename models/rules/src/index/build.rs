//! Sorting clauses into dimensions while a set is compiled.

use std::collections::BTreeMap;
use std::ops::Range;

use smallvec::SmallVec;

use super::bits;
use super::keys::{Key, KeyClauses, KeyIndex, float_key};
use super::ranges::{Bounds, Threshold};
use super::{Arm, CodeIndex, Dimension, KeywordIndex, PhaseIndex, QuickArm};
use crate::Slot;
use crate::cost;
use crate::expression::{AtomKind, Condition, Constant, Constants, Relation, Term, Type};
use crate::resources::Resources;
use crate::set::{EvidenceSource, RuleBody};

/// Collects the arms of one phase.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    arms: Vec<Arm>,
    dimensions: BTreeMap<Slot, Clauses>,
}

/// What arms ask of one fact.
#[derive(Debug, Default)]
struct Clauses {
    constrained: Vec<u32>,
    need_present: Vec<u32>,
    need_absent: Vec<u32>,
    thresholds: Vec<Threshold<Constant>>,
    keys: KeyClauses,
    codes: KeyClauses,
    keywords: KeyClauses,
    scan: u32,
}

/// A clause that a dimension can answer.
pub(crate) enum Indexed {
    Present(Slot, bool),
    Lower(Slot, Constant, bool),
    Upper(Slot, Constant, bool),
    Keys(Slot, Vec<Key>, bool),
    Code(Slot, u32, bool),
    Keyword(Slot, u32, u32, bool),
}

impl IndexBuilder {
    /// Adds an arm: the clauses that must all be true. Arms come in the order of their rules.
    pub(crate) fn add(&mut self, rule: u32, clauses: Vec<Condition>, resources: &Resources) {
        let arm = crate::resources::position(self.arms.len());
        let mut residual = Vec::new();
        let mut slots = Vec::new();
        for clause in clauses {
            let placed =
                indexed(&clause, resources).is_some_and(|one| self.place(arm, one, &mut slots));
            if !placed {
                residual.push(clause);
            }
        }
        residual.sort_by_key(|clause| cost::condition_max(clause, resources));
        self.arms.push(Arm {
            rule,
            residual: residual.into(),
            slots: SmallVec::from_slice(&slots),
        });
    }

    /// Puts a clause into its dimension. False: the arm already has one of its kind there.
    fn place(&mut self, arm: u32, clause: Indexed, slots: &mut Vec<Slot>) -> bool {
        let slot = match &clause {
            Indexed::Present(slot, _)
            | Indexed::Lower(slot, ..)
            | Indexed::Upper(slot, ..)
            | Indexed::Keys(slot, ..)
            | Indexed::Code(slot, ..)
            | Indexed::Keyword(slot, ..) => *slot,
        };
        let dimension = self.dimensions.entry(slot).or_default();
        let can_be_unknown = !matches!(clause, Indexed::Present(..));
        match clause {
            Indexed::Present(_, true) => dimension.need_present.push(arm),
            Indexed::Present(_, false) => dimension.need_absent.push(arm),
            Indexed::Lower(_, value, strict) => {
                dimension.thresholds.push(Threshold { value, upper: false, strict, arm });
            }
            Indexed::Upper(_, value, strict) => {
                dimension.thresholds.push(Threshold { value, upper: true, strict, arm });
            }
            Indexed::Keys(_, keys, positive) => {
                if !add_keys(&mut dimension.keys, arm, keys, positive) {
                    return false;
                }
            }
            Indexed::Code(_, list, positive) => {
                let keys = vec![Key::Int(list.into())];
                if !add_keys(&mut dimension.codes, arm, keys, positive) {
                    return false;
                }
            }
            Indexed::Keyword(_, list, scan, positive) => {
                let keys = vec![Key::Int(list.into())];
                dimension.scan = scan;
                if !add_keys(&mut dimension.keywords, arm, keys, positive) {
                    return false;
                }
            }
        }
        if can_be_unknown {
            if dimension.constrained.last() != Some(&arm) {
                dimension.constrained.push(arm);
            }
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        true
    }

    pub(crate) fn arm_count(&self) -> usize {
        self.arms.len()
    }

    /// What the residuals of some arms cost at most.
    pub(crate) fn residual_cost_max(&self, arms: Range<u32>, resources: &Resources) -> u64 {
        let arms = self.arms.get(arms.start as usize..arms.end as usize).unwrap_or_default();
        let clauses = arms.iter().flat_map(|arm| &arm.residual);
        clauses.map(|clause| cost::condition_max(clause, resources)).sum()
    }

    pub(crate) fn finish(self, resources: &Resources, bodies: &[RuleBody]) -> PhaseIndex {
        let words = bits::words_for(self.arms.len());
        let mut dimensions: Vec<Dimension> = self
            .dimensions
            .into_iter()
            .map(|(slot, clauses)| clauses.finish(slot, words, resources))
            .collect();
        // Scans last: by then there may be nothing left to scan for.
        dimensions.sort_by_key(|dimension| {
            (dimension.keywords.is_some(), dimension.codes.is_some(), dimension.slot)
        });
        let quick = self.arms.iter().map(|arm| quick(arm, bodies)).collect();
        PhaseIndex { arms: self.arms, quick, dimensions, words }
    }
}

fn quick(arm: &Arm, bodies: &[RuleBody]) -> QuickArm {
    let (none, more) = (QuickArm::NONE, QuickArm::MORE);
    let residual = match &*arm.residual {
        [] => none,
        [Condition::Atom(id)] => *id,
        _ => more,
    };
    let Some(body) = bodies.get(arm.rule as usize) else {
        return QuickArm { rule: arm.rule, residual, evidence: more, alone: false };
    };
    let evidence = match &*body.evidence {
        [] => none,
        [EvidenceSource::Atom(id)] => *id,
        _ => more,
    };
    let alone = body.arms.len() == 1 && body.table.is_none() && body.unknown_effect.is_none();
    QuickArm { rule: arm.rule, residual, evidence, alone }
}

fn add_keys(clauses: &mut KeyClauses, arm: u32, keys: Vec<Key>, positive: bool) -> bool {
    if !positive {
        clauses.rejected.push((arm, keys));
        return true;
    }
    if clauses.required.last().is_some_and(|(last, _)| *last == arm) {
        return false;
    }
    clauses.required.push((arm, keys));
    true
}

impl Clauses {
    fn finish(self, slot: Slot, words: usize, resources: &Resources) -> Dimension {
        let slot_type =
            resources.slots.get(slot as usize).map_or(Type::Text, |info| info.slot_type);
        let arms_of = |clauses: &KeyClauses| {
            let required = clauses.required.iter().map(|(arm, _)| *arm);
            required.chain(clauses.rejected.iter().map(|(arm, _)| *arm)).collect::<Vec<u32>>()
        };
        let codes = (!self.codes.is_empty()).then(|| CodeIndex {
            lists: positions(&self.codes),
            keys: KeyIndex::new(self.codes, Type::Int, words),
        });
        let keywords = (!self.keywords.is_empty()).then(|| KeywordIndex {
            scan: self.scan,
            arms: bits::dense(&arms_of(&self.keywords), words),
            keys: KeyIndex::new(self.keywords, Type::Int, words),
        });
        let keys = (!self.keys.is_empty()).then(|| KeyIndex::new(self.keys, slot_type, words));
        Dimension {
            slot,
            slot_type,
            constrained: bits::dense_unless_empty(&self.constrained, words),
            need_present: bits::dense_unless_empty(&self.need_present, words),
            need_absent: bits::dense_unless_empty(&self.need_absent, words),
            ranges: ranges(self.thresholds, slot_type, words),
            keys,
            codes,
            keywords,
        }
    }
}

/// The lists that key clauses name, ascending.
fn positions(clauses: &KeyClauses) -> Box<[u32]> {
    let all = clauses.required.iter().chain(&clauses.rejected).flat_map(|(_, keys)| keys);
    let mut lists: Vec<u32> = all
        .filter_map(|key| if let Key::Int(list) = key { u32::try_from(*list).ok() } else { None })
        .collect();
    lists.sort_unstable();
    lists.dedup();
    lists.into()
}

fn ranges(thresholds: Vec<Threshold<Constant>>, of: Type, words: usize) -> Option<Bounds> {
    if thresholds.is_empty() {
        return None;
    }
    Some(match of {
        Type::Decimal => {
            let value = |c| if let Constant::Decimal(number) = c { Some(number) } else { None };
            Bounds::decimals(typed(thresholds, value), words)
        }
        Type::Float => {
            let value = |c| if let Constant::Float(number) = c { Some(number) } else { None };
            Bounds::floats(typed(thresholds, value), words)
        }
        Type::Bool | Type::Int | Type::Text | Type::Time | Type::Duration | Type::Set => {
            let value = |c| if let Constant::Int(number) = c { Some(number) } else { None };
            Bounds::ints(typed(thresholds, value), words)
        }
    })
}

fn typed<T>(
    all: Vec<Threshold<Constant>>,
    value: impl Fn(Constant) -> Option<T>,
) -> Vec<Threshold<T>> {
    let typed = |one: Threshold<Constant>| {
        let Threshold { upper, strict, arm, .. } = one;
        value(one.value).map(|value| Threshold { value, upper, strict, arm })
    };
    all.into_iter().filter_map(typed).collect()
}

/// What a clause asks of one fact, if it is of a kind that a dimension answers.
pub(crate) fn indexed(clause: &Condition, resources: &Resources) -> Option<Indexed> {
    let (atom, positive) = match clause {
        Condition::Atom(id) => (id, true),
        Condition::Not(inner) => match &**inner {
            Condition::Atom(id) => (id, false),
            _ => return None,
        },
        _ => return None,
    };
    match &resources.atoms.get(*atom as usize)?.kind {
        AtomKind::Truth(slot) => Some(Indexed::Keys(*slot, vec![Key::Bool(true)], positive)),
        AtomKind::Has(slot) => Some(Indexed::Present(*slot, positive)),
        AtomKind::Compare(relation, Term::Fact(slot, of), Term::Constant(constant)) => {
            let relation = if positive { *relation } else { relation.negated() };
            compared(*slot, *of, relation, constant)
        }
        AtomKind::Among(Term::Fact(slot, _), constants) => {
            Some(Indexed::Keys(*slot, keys(constants), positive))
        }
        AtomKind::Member(Term::Constant(Constant::Text(text)), slot) => {
            Some(Indexed::Keys(*slot, vec![Key::Text(text.clone())], positive))
        }
        AtomKind::Listed { list, field } if !is_set(*field, resources) => {
            Some(Indexed::Code(*field, *list, positive))
        }
        AtomKind::Keywords { list, scan, field } if !is_set(*field, resources) => {
            Some(Indexed::Keyword(*field, *list, *scan, positive))
        }
        AtomKind::Compare(..)
        | AtomKind::Among(..)
        | AtomKind::Member(..)
        | AtomKind::Search(..)
        | AtomKind::ListedText { .. }
        | AtomKind::Matches(..)
        // The residual goes through the items of a set.
        | AtomKind::Listed { .. }
        | AtomKind::Keywords { .. } => None,
    }
}

fn is_set(slot: Slot, resources: &Resources) -> bool {
    resources.slots.get(slot as usize).is_some_and(|info| info.slot_type == Type::Set)
}

fn compared(slot: Slot, of: Type, relation: Relation, constant: &Constant) -> Option<Indexed> {
    let constant = constant.clone();
    match relation {
        Relation::Equal => Some(Indexed::Keys(slot, vec![key(constant)], true)),
        Relation::NotEqual => Some(Indexed::Keys(slot, vec![key(constant)], false)),
        // The order of texts is rare in rules; the residual answers it.
        _ if of == Type::Text => None,
        Relation::Less => Some(Indexed::Upper(slot, constant, true)),
        Relation::LessOrEqual => Some(Indexed::Upper(slot, constant, false)),
        Relation::Greater => Some(Indexed::Lower(slot, constant, true)),
        Relation::GreaterOrEqual => Some(Indexed::Lower(slot, constant, false)),
    }
}

fn key(constant: Constant) -> Key {
    match constant {
        Constant::Int(number) => Key::Int(number),
        Constant::Decimal(number) => Key::Decimal(number),
        Constant::Float(number) => Key::Float(float_key(number)),
        Constant::Text(text) => Key::Text(text),
    }
}

fn keys(constants: &Constants) -> Vec<Key> {
    match constants {
        Constants::Ints(all) => all.iter().map(|number| Key::Int(*number)).collect(),
        Constants::Decimals(all) => all.iter().map(|number| Key::Decimal(*number)).collect(),
        Constants::Floats(all) => all.iter().map(|n| Key::Float(float_key(*n))).collect(),
        Constants::Texts(all) => all.iter().map(|text| Key::Text(text.clone())).collect(),
    }
}
