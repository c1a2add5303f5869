//! Evaluation of typed trees in three values: a condition is true, false, or unknown with a cause.

mod evidence;
mod missing;
mod names;
mod run;
mod term;

use std::sync::Arc;

use verdict_config::{TimestampMs, Value};

use crate::arithmetic;
use crate::cost;
use crate::expression::{AtomKind, Condition, Search, Type};
use crate::keywords::{KeywordHits, KeywordScratch};
use crate::resources::Resources;
use crate::scratch::Kept;
use crate::{Evaluation, FactValues, Slot, UnknownCause};

pub(crate) use missing::{Missing, collect_missing, table_cause};
pub(crate) use run::{PhaseRun, rule_cost_max, unknown_effect};

/// True, false, or why neither.
pub(crate) type Kleene = Result<bool, UnknownCause>;

/// Evaluates trees over the facts of one request.
pub(crate) struct Evaluator<'a, 's> {
    pub(crate) resources: &'a Resources,
    pub(crate) facts: FactValues<'a>,
    pub(crate) as_of: TimestampMs,
    kept: &'s mut Kept,
    cost_units: u64,
}

impl<'a, 's> Evaluator<'a, 's> {
    pub(crate) fn new(
        resources: &'a Resources,
        facts: FactValues<'a>,
        as_of: TimestampMs,
        kept: &'s mut Kept,
    ) -> Self {
        kept.begin(resources);
        Self { resources, facts, as_of, kept, cost_units: 0 }
    }

    #[inline]
    pub(crate) fn charge(&mut self, cost_units: u64) {
        self.cost_units = self.cost_units.saturating_add(cost_units);
    }

    pub(crate) fn cost_units(&self) -> u64 {
        self.cost_units
    }

    /// Takes back what was charged since, for work that a request does not pay for.
    pub(crate) fn reset_cost_units(&mut self, cost_units: u64) {
        self.cost_units = cost_units;
    }

    /// Charges the look-up of a value by its key.
    pub(crate) fn charge_value(&mut self, value: &Value) {
        let cost_units = match value {
            Value::Text(text) => cost::LOOKUP + cost::text(text.len() as u64),
            Value::Set(items) => {
                items.iter().map(|item| cost::LOOKUP + cost::text(item.len() as u64)).sum()
            }
            Value::Bool(_)
            | Value::Int(_)
            | Value::Decimal(_)
            | Value::Float(_)
            | Value::Time(_) => cost::LOOKUP,
        };
        self.charge(cost_units);
    }

    pub(crate) fn truth(&mut self, condition: &'a Condition) -> Kleene {
        match condition {
            Condition::Atom(id) => self.atom(*id),
            Condition::Constant(value) => {
                self.charge(cost::STEP);
                Ok(*value)
            }
            Condition::All(parts) => self.join(parts, false),
            Condition::Any(parts) => self.join(parts, true),
            Condition::Not(inner) => {
                self.charge(cost::STEP);
                self.truth(inner).map(|value| !value)
            }
            Condition::If(parts) => {
                self.charge(cost::STEP);
                let [condition, then, otherwise] = &**parts;
                match self.truth(condition) {
                    Ok(true) => self.truth(then),
                    Ok(false) => self.truth(otherwise),
                    // Whatever the condition would be, two equal branches give one answer.
                    Err(cause) => match (self.truth(then), self.truth(otherwise)) {
                        (Ok(a), Ok(b)) if a == b => Ok(a),
                        _ => Err(cause),
                    },
                }
            }
            Condition::Same(parts) => {
                self.charge(cost::STEP);
                let [a, b] = &**parts;
                let a = self.truth(a)?;
                Ok(a == self.truth(b)?)
            }
        }
    }

    /// `&&` ends at the first false, `||` at the first true; unknown parts only count otherwise.
    fn join(&mut self, parts: &'a [Condition], ends_at: bool) -> Kleene {
        self.charge(cost::STEP);
        let mut unknown = None;
        for part in parts {
            match self.truth(part) {
                Ok(value) if value == ends_at => return Ok(ends_at),
                Ok(_) => {}
                Err(cause) => unknown = unknown.or(Some(cause)),
            }
        }
        unknown.map_or(Ok(!ends_at), Err)
    }

    #[inline]
    pub(crate) fn atom(&mut self, id: u32) -> Kleene {
        self.charge(cost::STEP);
        if let Some(known) = self.kept.atom(id) {
            return known;
        }
        let resources = self.resources;
        let Some(atom) = resources.atoms.get(id as usize) else { return Ok(false) };
        let value = self.atom_kind(&atom.kind);
        if atom.kept {
            self.kept.keep_atom(id, value);
        }
        value
    }

    fn atom_kind(&mut self, kind: &'a AtomKind) -> Kleene {
        self.charge(cost::STEP);
        match kind {
            AtomKind::Truth(slot) => match self.value(*slot)? {
                Value::Bool(value) => Ok(*value),
                _ => Err(UnknownCause::WrongType(*slot)),
            },
            AtomKind::Has(slot) => Ok(self.facts.get(*slot).is_some()),
            AtomKind::Compare(relation, left, right) => self.compare(*relation, left, right),
            AtomKind::Among(term, constants) => self.among(term, constants),
            AtomKind::Member(term, slot) => {
                let text = self.text(term)?;
                self.charge(cost::LOOKUP + cost::text(text.len() as u64));
                match self.value(*slot)? {
                    Value::Set(items) => {
                        Ok(items.binary_search_by(|item| (**item).cmp(&*text)).is_ok())
                    }
                    _ => Err(UnknownCause::WrongType(*slot)),
                }
            }
            AtomKind::Search(search, whole, part) => {
                let whole = self.text(whole)?;
                let part = self.text(part)?;
                self.charge(cost::text((whole.len() + part.len()) as u64));
                Ok(match search {
                    Search::Contains => whole.contains(&*part),
                    Search::StartsWith => whole.starts_with(&*part),
                    Search::EndsWith => whole.ends_with(&*part),
                })
            }
            AtomKind::Matches(term, pattern) => {
                let text = self.text(term)?;
                self.charge(cost::PATTERN + text.len() as u64);
                Ok(pattern.is_match(&text))
            }
            AtomKind::Keywords { list, scan, field } => match self.value(*field)? {
                value @ (Value::Text(_) | Value::Set(_)) => {
                    Ok(self.scan(*scan, value).contains(*list))
                }
                _ => Err(UnknownCause::WrongType(*field)),
            },
            AtomKind::Listed { list, field } => match self.value(*field)? {
                value @ (Value::Text(_) | Value::Set(_)) => Ok(self.listed(*list, value).is_some()),
                _ => Err(UnknownCause::WrongType(*field)),
            },
            AtomKind::ListedText { list, text } => {
                let text = self.text(text)?;
                self.charge(cost::LOOKUP + cost::text(text.len() as u64));
                let list = self.resources.code_lists.get(*list as usize);
                Ok(list.is_some_and(|(_, codes)| codes.contains(&text, self.as_of)))
            }
        }
    }

    fn value(&self, slot: Slot) -> Result<&'a Value, UnknownCause> {
        self.facts.get(slot).ok_or(UnknownCause::Missing(slot))
    }

    /// The keyword lists that a field's text (of a set: any item) hits; one scan a request, whoever
    /// asks.
    pub(crate) fn scan(&mut self, scan: u32, value: &Value) -> &KeywordHits {
        if !self.kept.has_scan(scan) {
            let costs = texts(value).iter().map(|text| cost::scan(text.len() as u64)).sum();
            self.charge(costs);
        }
        self.kept.scan(scan, value, self.as_of, self.resources)
    }

    /// The text of a field (of a set: the first item) that is in a code list.
    pub(crate) fn listed<'v>(&mut self, list: u32, value: &'v Value) -> Option<&'v str> {
        let (_, codes) = self.resources.code_lists.get(list as usize)?;
        texts(value).iter().map(AsRef::as_ref).find(|text| {
            self.charge(cost::LOOKUP + cost::text(text.len() as u64));
            codes.contains(text, self.as_of)
        })
    }

    /// The first item of a set that has an entry of a keyword list in it, and the entries.
    pub(crate) fn item_with_terms(
        &self,
        scan: u32,
        list: u32,
        items: &'a [Box<str>],
    ) -> Option<(&'a str, Arc<[Arc<str>]>)> {
        let matcher = &self.resources.scans.get(scan as usize)?.matcher;
        items.iter().find_map(|item| {
            let hits = matcher.scan(item, self.as_of, &mut KeywordScratch::default());
            hits.contains(list).then(|| (&**item, matcher.terms(&hits, list).cloned().collect()))
        })
    }

    /// The terms of a keyword list that a scan found.
    pub(crate) fn terms(&self, scan: u32, list: u32) -> Option<Arc<[Arc<str>]>> {
        self.kept.terms(scan, list, self.resources)
    }

    /// What the evaluation keeps of an atom's evidence, as [`Kept::evidence`].
    pub(crate) fn kept_evidence(&self, atom: u32) -> Option<Option<u32>> {
        self.kept.evidence(atom)
    }

    pub(crate) fn keep_evidence(&mut self, atom: u32, place: Option<u32>) {
        self.kept.keep_evidence(atom, place);
    }

    /// Remembers how much was found, so that the next evaluation asks for memory once.
    pub(crate) fn keep_counts(&mut self, evaluation: &Evaluation) {
        self.kept.counts = (evaluation.hits.len(), evaluation.unknown.len());
    }

    /// Room for as much as the evaluation before found.
    pub(crate) fn room(&self) -> Evaluation {
        let (hits, unknown) = self.kept.counts;
        Evaluation::with_room(hits, unknown)
    }

    /// A value in the type that its slot is declared with: `None` if it is of that type already.
    pub(crate) fn converted(&self, of: Type, value: &Value) -> Result<Option<Value>, UnknownCause> {
        convert(of, value).ok_or(UnknownCause::NotANumber)
    }

    /// Why the value of a slot is unknown, if it is.
    pub(crate) fn slot_cause(&self, slot: Slot) -> Option<UnknownCause> {
        let Some(value) = self.facts.get(slot) else { return Some(UnknownCause::Missing(slot)) };
        let of = self.resources.slots.get(slot as usize)?.slot_type;
        match (of, value) {
            (Type::Float, Value::Float(number)) => arithmetic::finite(*number).err(),
            _ if convert(of, value).is_none() => Some(UnknownCause::WrongType(slot)),
            _ => None,
        }
    }
}

/// The texts of a value: itself, or the items of a set.
pub(crate) fn texts(value: &Value) -> &[Box<str>] {
    match value {
        Value::Text(text) => std::slice::from_ref(text),
        Value::Set(items) => items,
        Value::Bool(_) | Value::Int(_) | Value::Decimal(_) | Value::Float(_) | Value::Time(_) => {
            &[]
        }
    }
}

/// Numbers of another type are converted where nothing is lost that counts: windows are summed as
/// decimals whatever the field is. `Some(None)`: nothing to convert. `None`: it cannot be.
fn convert(of: Type, value: &Value) -> Option<Option<Value>> {
    match (of, value) {
        (Type::Float, Value::Float(number)) => number.is_finite().then_some(None),
        (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Decimal, Value::Decimal(_))
        | (Type::Text, Value::Text(_))
        | (Type::Time, Value::Time(_))
        | (Type::Set, Value::Set(_)) => Some(None),
        (Type::Decimal, Value::Int(number)) => Some(Some(Value::Decimal((*number).into()))),
        (Type::Int, Value::Decimal(number)) if number.fract().is_zero() => {
            i64::try_from(*number).ok().map(|number| Some(Value::Int(number)))
        }
        #[expect(clippy::cast_precision_loss, reason = "an int where a float is declared")]
        (Type::Float, Value::Int(number)) => Some(Some(Value::Float(*number as f64))),
        (Type::Float, Value::Decimal(number)) => {
            f64::try_from(*number).ok().map(|number| Some(Value::Float(number)))
        }
        _ => None,
    }
}
