//! Cost units: what evaluation costs at most, known when a set is published, and the same units
//! counted while it runs. Worst case and counter share every constant below, so that the counter
//! never exceeds the worst case.

use crate::Slot;
use crate::expression::{AtomKind, Condition, Constant, Constants, NameCall, Term, Type};
use crate::names::NameList;
use crate::resources::Resources;

/// A condition, atom or term that is looked at.
pub(crate) const STEP: u64 = 1;
/// Arithmetic, comparison or conversion of decimals.
pub(crate) const DECIMAL: u64 = 8;
/// A look-up by hash or binary search, beyond the text it hashes.
pub(crate) const LOOKUP: u64 = 8;
/// Bytes of text that one unit compares, searches or hashes.
pub(crate) const TEXT_BYTES: u64 = 8;
/// A pattern, beyond its text.
pub(crate) const PATTERN: u64 = 32;
/// A keyword scan, beyond its text.
pub(crate) const SCAN: u64 = 64;
/// Units of a keyword scan a byte: to normalise it, to walk the automaton, to check its borders.
pub(crate) const SCAN_PER_BYTE: u64 = 4;
/// A calendar part of a time: a look-up in the table of a time zone.
pub(crate) const CALENDAR: u64 = 32;
/// The longest date as text, of the year -9999.
const DATE_BYTES_MAX: u64 = 13;
/// A fuzzy name look-up, beyond its text and entries.
pub(crate) const NAME: u64 = 512;
/// Units of a fuzzy name look-up an entry of the list.
pub(crate) const NAME_PER_ENTRY: u64 = 4;
/// What the index costs for each of its dimensions, beyond its words.
pub(crate) const DIMENSION: u64 = 8;

/// What it costs to go through a text once.
pub(crate) const fn text(bytes: u64) -> u64 {
    bytes / TEXT_BYTES + STEP
}

/// What a keyword scan costs.
pub(crate) const fn scan(bytes: u64) -> u64 {
    SCAN + SCAN_PER_BYTE * bytes
}

/// What a mention of a fuzzy look-up costs at most. By the first version the whole look-up, each time;
/// since then a look-up is counted once a set ([`names_shared_max`]), for its score is kept.
pub(crate) fn name_call(call: u32, resources: &Resources) -> u64 {
    let Some(call) = resources.name_calls.get(call as usize) else { return NAME };
    let Some((_, list)) = resources.name_lists.get(call.list as usize) else { return NAME };
    if list.is_counted_once() { LOOKUP } else { looked_up_max(call, list, resources) }
}

/// What the fuzzy look-ups of a set cost at most that all its mentions of them share, in one phase.
pub(crate) fn names_shared_max(resources: &Resources) -> u64 {
    let of = |call: &NameCall| {
        let (_, list) = resources.name_lists.get(call.list as usize)?;
        list.is_counted_once().then(|| looked_up_max(call, list, resources))
    };
    resources.name_calls.iter().filter_map(of).fold(0, u64::saturating_add)
}

fn looked_up_max(call: &NameCall, list: &NameList, resources: &Resources) -> u64 {
    let one = list.cost_units(bytes_max(call.name, resources));
    one.saturating_mul(names_max(call.name, resources)).max(NAME)
}

/// How many texts a field holds that a list is asked for.
fn names_max(slot: Slot, resources: &Resources) -> u64 {
    let set = resources.slots.get(slot as usize).is_some_and(|info| info.slot_type == Type::Set);
    if set { items_max(slot, resources) } else { 1 }
}

fn bytes_max(slot: Slot, resources: &Resources) -> u64 {
    resources.slots.get(slot as usize).map_or(0, |info| info.bytes_max)
}

fn items_max(slot: Slot, resources: &Resources) -> u64 {
    resources.slots.get(slot as usize).map_or(0, |info| info.items_max)
}

/// The longest text in bytes that a term can be.
fn term_bytes_max(term: &Term, resources: &Resources) -> u64 {
    match term {
        Term::Fact(slot, Type::Text) => bytes_max(*slot, resources),
        Term::Constant(Constant::Text(text)) => text.len() as u64,
        // Lower case can be longer: U+0130 has two bytes and becomes three.
        Term::Lower(inner, _) => 3 * term_bytes_max(inner, resources) / 2 + 1,
        Term::Lookup { .. } => 4_096,
        Term::If(_, branches) => {
            let [a, b] = &**branches;
            term_bytes_max(a, resources).max(term_bytes_max(b, resources))
        }
        Term::Fact(..)
        | Term::Constant(_)
        | Term::AsOf
        | Term::Arithmetic(..)
        | Term::Negate(_)
        | Term::Convert(..)
        | Term::TextSize(_)
        | Term::SetSize(_)
        | Term::NameScore(_)
        | Term::CalendarPart { .. } => 0,
        Term::CalendarDate { .. } => DATE_BYTES_MAX,
    }
}

/// The worst-case cost of a term.
pub(crate) fn term_max(term: &Term, resources: &Resources) -> u64 {
    STEP + match term {
        Term::Fact(..) | Term::Constant(_) | Term::AsOf | Term::SetSize(_) => 0,
        Term::Arithmetic(_, operands) => {
            let [a, b] = &**operands;
            DECIMAL + term_max(a, resources) + term_max(b, resources)
        }
        Term::Convert(_, inner) => DECIMAL + term_max(inner, resources),
        Term::Negate(inner) => term_max(inner, resources),
        Term::CalendarPart { part, zone, time } => {
            part.cost_units(zone) + term_max(time, resources)
        }
        Term::CalendarDate { time, .. } => CALENDAR + term_max(time, resources),
        Term::TextSize(inner) | Term::Lower(inner, _) => {
            term_max(inner, resources) + text(term_bytes_max(inner, resources))
        }
        Term::NameScore(call) => name_call(*call, resources),
        Term::Lookup { key, .. } => {
            LOOKUP + term_max(key, resources) + text(term_bytes_max(key, resources))
        }
        Term::If(condition, branches) => {
            let [a, b] = &**branches;
            condition_max(condition, resources) + term_max(a, resources) + term_max(b, resources)
        }
    }
}

/// The worst-case cost of an atom.
pub(crate) fn atom_max(kind: &AtomKind, resources: &Resources) -> u64 {
    STEP + match kind {
        AtomKind::Truth(_) | AtomKind::Has(_) => 0,
        AtomKind::Compare(_, left, right) => {
            let shorter = term_bytes_max(left, resources).min(term_bytes_max(right, resources));
            DECIMAL + term_max(left, resources) + term_max(right, resources) + text(shorter)
        }
        AtomKind::Among(term, constants) => {
            let bytes = if let Constants::Texts(_) = constants {
                term_bytes_max(term, resources)
            } else {
                0
            };
            LOOKUP + term_max(term, resources) + text(bytes)
        }
        AtomKind::Member(term, _) => {
            LOOKUP + term_max(term, resources) + text(term_bytes_max(term, resources))
        }
        AtomKind::Search(_, whole, part) => {
            let bytes = term_bytes_max(whole, resources) + term_bytes_max(part, resources);
            term_max(whole, resources) + term_max(part, resources) + text(bytes)
        }
        AtomKind::Matches(term, _) => {
            PATTERN + term_max(term, resources) + term_bytes_max(term, resources)
        }
        AtomKind::Keywords { field, .. } => {
            names_max(*field, resources) * scan(bytes_max(*field, resources))
        }
        AtomKind::Listed { field, .. } => {
            names_max(*field, resources) * (LOOKUP + text(bytes_max(*field, resources)))
        }
        AtomKind::ListedText { text: of, .. } => {
            LOOKUP + term_max(of, resources) + text(term_bytes_max(of, resources))
        }
    }
}

/// The worst-case cost of a condition.
pub(crate) fn condition_max(condition: &Condition, resources: &Resources) -> u64 {
    STEP + match condition {
        Condition::Constant(_) => 0,
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().map(|part| condition_max(part, resources)).sum()
        }
        Condition::Not(inner) => condition_max(inner, resources),
        Condition::If(parts) => parts.iter().map(|part| condition_max(part, resources)).sum(),
        Condition::Same(parts) => parts.iter().map(|part| condition_max(part, resources)).sum(),
        Condition::Atom(id) => {
            resources.atoms.get(*id as usize).map_or(0, |atom| atom.cost_units_max)
        }
    }
}

/// The worst-case cost of looking a fact's value up in one dimension of the index.
pub(crate) fn value_max(slot: Slot, resources: &Resources) -> u64 {
    let Some(info) = resources.slots.get(slot as usize) else { return 0 };
    match info.slot_type {
        Type::Text => LOOKUP + text(info.bytes_max),
        Type::Set => items_max(slot, resources) * (LOOKUP + text(info.bytes_max)),
        Type::Decimal => 16 * DECIMAL,
        Type::Bool | Type::Int | Type::Float | Type::Time | Type::Duration => 2 * LOOKUP,
    }
}
