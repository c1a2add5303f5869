//! Where an arm can be true: per fact a range and a set of values, and clauses taken as they are.

use std::collections::{BTreeMap, BTreeSet};

use verdict_config::Schema;

use crate::Slot;
use crate::expression::{Condition, Constant, Type};
use crate::index::{Indexed, Key, indexed};
use crate::resources::Resources;

/// What an arm asks of one fact. The facts' values for which every clause on it is true are those in
/// the range, among the allowed and not among the excluded.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraint {
    lower: Option<(Constant, bool)>,
    upper: Option<(Constant, bool)>,
    allowed: Option<BTreeSet<Key>>,
    excluded: BTreeSet<Key>,
    present: bool,
    absent: bool,
}

/// What an arm asks of everything.
#[derive(Debug, Default)]
pub(super) struct Region {
    pub(super) facts: BTreeMap<Slot, Constraint>,
    /// Clauses that are no constraint on one fact, by their text with its sign.
    pub(super) others: BTreeSet<String>,
    /// A bit for each fact and each other clause: a quick test before the thorough one.
    mask: u64,
    /// The fact or clause that contradicts itself.
    pub(super) contradiction: Option<Contradiction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contradiction {
    Fact(Slot),
    Clause,
}

impl Region {
    pub(super) fn of(arm: &[Condition], resources: &Resources, schema: &Schema) -> Self {
        let mut region = Self::default();
        for clause in arm {
            match indexed(clause, resources) {
                Some(one) if region.add(&one, resources) => {}
                _ => region.add_other(clause),
            }
        }
        for (slot, constraint) in &region.facts {
            let of = resources.slots.get(*slot as usize).map_or(Type::Text, |info| info.slot_type);
            if constraint.within_field(*slot, schema).is_empty(of) {
                region.contradiction = Some(Contradiction::Fact(*slot));
            }
            region.mask |= 1 << (*slot % 64);
        }
        for other in &region.others {
            region.mask |= 1 << (other.len() % 64);
        }
        region
    }

    /// Adds what a dimension could answer. False: it says nothing about single values.
    fn add(&mut self, one: &Indexed, resources: &Resources) -> bool {
        let multiple = |slot: &Slot| {
            resources.slots.get(*slot as usize).is_none_or(|info| info.slot_type == Type::Set)
        };
        match one {
            Indexed::Present(slot, present) => {
                let constraint = self.facts.entry(*slot).or_default();
                constraint.present |= *present;
                constraint.absent |= !*present;
            }
            Indexed::Lower(slot, value, strict) => {
                let constraint = self.facts.entry(*slot).or_default();
                constraint.present = true;
                if tighter(constraint.lower.as_ref(), value, *strict, true) {
                    constraint.lower = Some((value.clone(), *strict));
                }
            }
            Indexed::Upper(slot, value, strict) => {
                let constraint = self.facts.entry(*slot).or_default();
                constraint.present = true;
                if tighter(constraint.upper.as_ref(), value, *strict, false) {
                    constraint.upper = Some((value.clone(), *strict));
                }
            }
            Indexed::Keys(slot, ..) if multiple(slot) => return false,
            Indexed::Keys(slot, keys, positive) => {
                let constraint = self.facts.entry(*slot).or_default();
                constraint.present = true;
                constraint.add_keys(keys, *positive);
            }
            Indexed::Code(..) | Indexed::Keyword(..) => return false,
        }
        true
    }

    fn add_other(&mut self, clause: &Condition) {
        let (text, opposite) = match clause {
            Condition::Not(inner) => (format!("!{inner:?}"), format!("{inner:?}")),
            other => (format!("{other:?}"), format!("!{other:?}")),
        };
        if self.others.contains(&opposite) {
            self.contradiction = Some(Contradiction::Clause);
        }
        self.others.insert(text);
    }

    pub(super) fn is_everything(&self) -> bool {
        self.facts.is_empty() && self.others.is_empty()
    }

    /// Whether whatever makes this true makes the other true.
    pub(super) fn implies(&self, other: &Region) -> bool {
        other.mask & !self.mask == 0
            && other.others.is_subset(&self.others)
            && other.facts.iter().all(|(slot, wider)| {
                self.facts.get(slot).is_some_and(|narrower| narrower.within(wider))
            })
    }
}

/// Whether a bound is tighter than the one there is.
fn tighter(known: Option<&(Constant, bool)>, value: &Constant, strict: bool, lower: bool) -> bool {
    let Some((known, known_strict)) = known else { return true };
    match value.order(known) {
        Some(std::cmp::Ordering::Equal) => strict && !known_strict,
        Some(std::cmp::Ordering::Greater) => lower,
        Some(std::cmp::Ordering::Less) => !lower,
        None => false,
    }
}

impl Constraint {
    fn add_keys(&mut self, keys: &[Key], positive: bool) {
        // A bool has two values: not true is false.
        if let ([Key::Bool(value)], false) = (keys, positive) {
            return self.add_keys(&[Key::Bool(!value)], true);
        }
        if !positive {
            self.excluded.extend(keys.iter().cloned());
            return;
        }
        let keys: BTreeSet<Key> = keys.iter().cloned().collect();
        self.allowed = Some(match self.allowed.take() {
            Some(known) => known.intersection(&keys).cloned().collect(),
            None => keys,
        });
    }

    /// The constraint together with what the schema says of the field.
    fn within_field(&self, slot: Slot, schema: &Schema) -> Self {
        let mut all = self.clone();
        let Some((_, field)) = schema.field(slot) else { return all };
        if let Some(symbols) = &field.symbols {
            let keys: Vec<Key> =
                symbols.iter().map(|text| Key::Text(text.as_str().into())).collect();
            all.add_keys(&keys, true);
        }
        let bounds = [(field.min, true), (field.max, false)];
        for (bound, lower) in bounds {
            let Some(constant) =
                bound.and_then(|bound| Constant::of_bound(field.field_type, bound))
            else {
                continue;
            };
            let known = if lower { &mut all.lower } else { &mut all.upper };
            if known.is_none() || tighter(known.as_ref(), &constant, false, lower) {
                *known = Some((constant, false));
            }
        }
        all
    }

    /// Whether no value satisfies it.
    fn is_empty(&self, of: Type) -> bool {
        if self.absent {
            return self.present;
        }
        if let Some(allowed) = &self.allowed {
            return !allowed.iter().any(|key| self.admits(key));
        }
        let (Some((lower, lower_strict)), Some((upper, upper_strict))) = (&self.lower, &self.upper)
        else {
            return false;
        };
        if let (Constant::Int(lower), Constant::Int(upper), Type::Int | Type::Time) =
            (lower, upper, of)
        {
            let first = lower.saturating_add(i64::from(*lower_strict));
            let last = upper.saturating_sub(i64::from(*upper_strict));
            return first > last;
        }
        match lower.order(upper) {
            Some(std::cmp::Ordering::Greater) => true,
            Some(std::cmp::Ordering::Equal) => *lower_strict || *upper_strict,
            Some(std::cmp::Ordering::Less) | None => false,
        }
    }

    /// Whether a value that is among the allowed satisfies the rest too.
    fn admits(&self, key: &Key) -> bool {
        if self.excluded.contains(key) {
            return false;
        }
        let Some(value) = key.constant() else { return true };
        let above = self.lower.as_ref().is_none_or(|(bound, strict)| {
            value.order(bound).is_none_or(|order| order.is_gt() || (!strict && order.is_eq()))
        });
        let below = self.upper.as_ref().is_none_or(|(bound, strict)| {
            value.order(bound).is_none_or(|order| order.is_lt() || (!strict && order.is_eq()))
        });
        above && below
    }

    /// Whether every value that satisfies this satisfies the other.
    fn within(&self, wider: &Constraint) -> bool {
        if self.absent || wider.absent {
            return self.absent == wider.absent;
        }
        if wider.present && !self.present {
            return false;
        }
        if let Some(allowed) = &self.allowed {
            return allowed.iter().filter(|key| self.admits(key)).all(|key| {
                wider.admits(key) && wider.allowed.as_ref().is_none_or(|all| all.contains(key))
            });
        }
        let bounded = |own: &Option<(Constant, bool)>, other: &Option<(Constant, bool)>, lower| {
            let Some((bound, strict)) = other else { return true };
            // Not tighter than ours: whatever is within ours is within it.
            own.as_ref().is_some_and(|own| !tighter(Some(own), bound, *strict, lower))
        };
        wider.allowed.is_none()
            && bounded(&self.lower, &wider.lower, true)
            && bounded(&self.upper, &wider.upper, false)
            && wider.excluded.iter().all(|key| self.excluded.contains(key) || !self.admits(key))
    }
}

impl Key {
    /// The key as a constant that has an order; none for truth values.
    fn constant(&self) -> Option<Constant> {
        match self {
            Key::Bool(_) => None,
            Key::Int(number) => Some(Constant::Int(*number)),
            Key::Decimal(number) => Some(Constant::Decimal(*number)),
            Key::Float(bits) => Some(Constant::Float(f64::from_bits(*bits))),
            Key::Text(text) => Some(Constant::Text(text.clone())),
        }
    }
}

impl Constant {
    /// A bound of a schema in the type of its field.
    fn of_bound(field_type: verdict_config::FieldType, bound: f64) -> Option<Self> {
        use verdict_config::FieldType;
        match field_type {
            FieldType::Int => crate::arithmetic::float_to_int(bound).ok().map(Constant::Int),
            FieldType::Decimal => {
                rust_decimal::Decimal::try_from(bound).ok().map(Constant::Decimal)
            }
            FieldType::Float => Some(Constant::Float(bound)),
            FieldType::Bool
            | FieldType::Symbol
            | FieldType::String
            | FieldType::Time
            | FieldType::Set => None,
        }
    }
}
