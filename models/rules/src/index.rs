//! The predicate index: which rules can still be true, told from the facts' values alone.
//!
//! ```text
//!   when ──▶ arms (a || b && c: two) ──▶ clauses ──┬─▶ on one fact and constants: a dimension
//!                                                  └─▶ all others: the arm's residual
//!   value of a fact ──▶ dimension ──▶ bitset of arms with a false clause ──▶ removed from alive
//!   no value        ──▶ dimension ──▶ arms with a clause on it           ──▶ added to unknown
//! ```
//!
//! An arm is a conjunction; a rule is the disjunction of its arms. A conjunction is false if any
//! clause is, else unknown if any clause is, else true (Kleene), so it does not matter in which order
//! dimensions remove arms, and an arm is unknown exactly if it is alive in the end and was marked.
//! Only arms that survive every dimension have their residual evaluated.

pub(crate) mod bits;
mod build;
mod keys;
mod numbers;
mod ranges;
mod survivors;

use smallvec::SmallVec;
use verdict_config::Value;

use crate::cost;
use crate::evaluate::Evaluator;
use crate::expression::{Condition, Type};
use crate::resources::Resources;
use crate::{Slot, UnknownCause};

pub(crate) use build::{IndexBuilder, Indexed, indexed};
pub(crate) use keys::Key;
use keys::KeyIndex;
use ranges::Bounds;
pub(crate) use survivors::Survivors;

/// One conjunction of a rule.
#[derive(Debug)]
pub(crate) struct Arm {
    /// The rule's position.
    pub(crate) rule: u32,
    /// Clauses that no dimension answers, cheapest first.
    pub(crate) residual: Box<[Condition]>,
    /// Facts of the clauses that dimensions answer and that can be unknown.
    pub(crate) slots: SmallVec<[Slot; 4]>,
}

/// What most arms need once the dimensions are through: small and in one row, because what survives in
/// a large set waits for memory more than for anything else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuickArm {
    /// The rule's position.
    pub(crate) rule: u32,
    /// The atom that is all of the residual, or [`Self::NONE`] or [`Self::MORE`].
    pub(crate) residual: u32,
    /// The atom that is all of the rule's evidence, or one of the same.
    pub(crate) evidence: u32,
    /// The rule has no other arm, no table, and no effect when it is unknown.
    pub(crate) alone: bool,
}

impl QuickArm {
    /// Nothing.
    pub(crate) const NONE: u32 = u32::MAX;
    /// More than one atom: the arm or the rule's body says what.
    pub(crate) const MORE: u32 = u32::MAX - 1;
}

/// The index over the rules of one phase.
#[derive(Debug, Default)]
pub(crate) struct PhaseIndex {
    /// Arms in the order of their rules.
    pub(crate) arms: Vec<Arm>,
    /// The same arms.
    pub(crate) quick: Vec<QuickArm>,
    dimensions: Vec<Dimension>,
    words: usize,
}

/// Everything that clauses ask of one fact.
#[derive(Debug)]
struct Dimension {
    slot: Slot,
    slot_type: Type,
    /// Arms whose clause is unknown without the fact.
    constrained: Option<Box<[u64]>>,
    /// Arms with `has(fact)`.
    need_present: Option<Box<[u64]>>,
    /// Arms with `!has(fact)`.
    need_absent: Option<Box<[u64]>>,
    ranges: Option<Bounds>,
    keys: Option<KeyIndex>,
    codes: Option<CodeIndex>,
    keywords: Option<KeywordIndex>,
}

/// Code lists that a fact is looked up in.
#[derive(Debug)]
struct CodeIndex {
    lists: Box<[u32]>,
    keys: KeyIndex,
}

/// Keyword lists that a fact's text is scanned for.
#[derive(Debug)]
struct KeywordIndex {
    scan: u32,
    keys: KeyIndex,
    /// Arms with any clause here: without one that is alive there is nothing to scan for.
    arms: Box<[u64]>,
}

impl PhaseIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.arms.is_empty()
    }

    /// What one pass over the index costs at most, residuals aside.
    pub(crate) fn cost_units_max(&self, resources: &Resources) -> u64 {
        let words = self.words as u64;
        let dimensions = self.dimensions.iter().map(|dimension| {
            let text = cost::value_max(dimension.slot, resources);
            let codes = dimension.codes.as_ref().map_or(0, |codes| codes.lists.len() as u64);
            let scan = if dimension.keywords.is_some() {
                let bytes = resources.slots.get(dimension.slot as usize).map_or(0, |s| s.bytes_max);
                cost::scan(bytes)
            } else {
                0
            };
            cost::DIMENSION + words + text + codes * (cost::LOOKUP + text) + scan
        });
        words + dimensions.sum::<u64>()
    }

    /// Removes every arm that has a false clause in a dimension. False: the cost limit was reached.
    pub(crate) fn filter<'a>(
        &'a self,
        evaluator: &mut Evaluator<'a, '_>,
        found: &mut Survivors,
        cost_units_limit: u64,
    ) -> bool {
        found.begin(self.words);
        evaluator.charge(self.words as u64);
        for dimension in &self.dimensions {
            evaluator.charge(cost::DIMENSION + self.words as u64);
            if evaluator.cost_units() > cost_units_limit {
                return false;
            }
            dimension.apply(evaluator, found);
        }
        found.finish();
        true
    }

    /// Every arm of the phase.
    pub(crate) fn all_alive(&self, found: &mut Survivors) {
        found.alive.clear();
        found.alive.resize(self.words, u64::MAX);
        let last = self.arms.len() % 64;
        if last > 0
            && let Some(word) = found.alive.last_mut()
        {
            *word = (1 << last) - 1;
        }
    }
}

impl Dimension {
    fn apply<'a>(&'a self, evaluator: &mut Evaluator<'a, '_>, found: &mut Survivors) {
        let Some(value) = evaluator.facts.get(self.slot) else {
            if let Some(arms) = &self.need_present {
                bits::remove_all(&mut found.alive, arms);
            }
            if let Some(arms) = &self.constrained {
                found.add_absent(self.slot, arms);
            }
            return;
        };
        let Survivors { alive, lacking, .. } = found;
        if let Some(arms) = &self.need_absent {
            bits::remove_all(alive, arms);
        }
        let Some(constrained) = &self.constrained else { return };
        let converted;
        let value = if is_of(self.slot_type, value) {
            value
        } else {
            match evaluator.converted(self.slot_type, value) {
                Ok(None) => value,
                Ok(Some(other)) => {
                    converted = other;
                    &converted
                }
                Err(_) => return found.add_unknown(constrained),
            }
        };
        if let Some(ranges) = &self.ranges {
            ranges.apply(value, alive);
        }
        if let Some(keys) = &self.keys {
            evaluator.charge_value(value);
            keys.apply(value, alive, lacking);
        }
        let Value::Text(text) = value else { return };
        if let Some(codes) = &self.codes {
            let resources = evaluator.resources;
            let as_of = evaluator.as_of;
            evaluator
                .charge(codes.lists.len() as u64 * (cost::LOOKUP + cost::text(text.len() as u64)));
            let hits = codes.lists.iter().copied().filter(|list| {
                let list = resources.code_lists.get(*list as usize);
                list.is_some_and(|(_, codes)| codes.contains(text, as_of))
            });
            codes.keys.apply_positions(hits, alive, lacking);
        }
        if let Some(keywords) = &self.keywords
            && bits::meet(alive, &keywords.arms)
        {
            let words = evaluator.scan(keywords.scan, value).words();
            let hits = words
                .iter()
                .zip(0u32..)
                .flat_map(|(word, position)| SetBits { word: *word, base: position * 64 });
            keywords.keys.apply_positions(hits, alive, lacking);
        }
    }
}

/// Whether a value needs no conversion, as far as one look at it tells.
#[inline]
fn is_of(slot_type: Type, value: &Value) -> bool {
    matches!(
        (slot_type, value),
        (Type::Int, Value::Int(_))
            | (Type::Decimal, Value::Decimal(_))
            | (Type::Text, Value::Text(_))
            | (Type::Bool, Value::Bool(_))
    )
}

/// The positions of the bits of one word.
#[derive(Clone)]
pub(crate) struct SetBits {
    pub(crate) word: u64,
    pub(crate) base: u32,
}

impl Iterator for SetBits {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.word == 0 {
            return None;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(self.base + bit)
    }
}

/// The first cause for which an arm's clauses on dimensions are unknown.
pub(crate) fn first_cause(arm: &Arm, evaluator: &Evaluator<'_, '_>) -> Option<UnknownCause> {
    let facts = &evaluator.facts;
    arm.slots.iter().find_map(|slot| match facts.get(*slot) {
        None => Some(UnknownCause::Missing(*slot)),
        Some(_) => evaluator.slot_cause(*slot),
    })
}
