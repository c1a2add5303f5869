//! What a reason rests on, with sensitive values left out.

use std::sync::Arc;

use verdict_config::Value;
use verdict_rules as rules;

use super::Session;
use super::hits::CountedHit;
use crate::decision::{Evidence, REDACTED, ShownValue};
use crate::flow::FlowSet;

/// The most values that a reason shows.
const VALUES_MAX: usize = 12;

impl Session {
    /// The evidence of a hit: what lists, names and tables matched, else the values that its
    /// condition read.
    pub(crate) fn evidence(
        &self,
        hit: &CountedHit<'_>,
        derived: &[Option<Value>],
    ) -> Option<Evidence> {
        let mut found =
            hit.evidence.iter().map(|evidence| shown_evidence(hit.set, evidence, false));
        match found.next() {
            Some(mut first) => {
                first.also = found.collect();
                Some(first)
            }
            None => self.values_read(hit, derived),
        }
    }

    fn values_read(&self, hit: &CountedHit<'_>, derived: &[Option<Value>]) -> Option<Evidence> {
        let reads = hit.info.reads.iter().take(VALUES_MAX);
        let values: Vec<(Arc<str>, ShownValue)> = reads
            .filter_map(|slot| {
                let name = hit.set.slot_names.get(*slot as usize)?;
                let value = self.slot_value(hit.set, *slot, derived);
                let sensitive = is_sensitive(hit.set, *slot);
                Some((Arc::clone(name), ShownValue::of(value, sensitive)))
            })
            .collect();
        let some = !values.is_empty();
        some.then(|| Evidence { values: Some(values), ..Evidence::default() })
    }
}

pub(crate) fn is_sensitive(set: &FlowSet, slot: u32) -> bool {
    set.slot_sensitive.get(slot as usize).copied().unwrap_or(true)
}

/// One piece of evidence as it is shown; terms and names found in sensitive fields are left out
/// unless `may_see_sensitive`.
pub(crate) fn shown_evidence(
    set: &FlowSet,
    evidence: &rules::Evidence,
    may_see_sensitive: bool,
) -> Evidence {
    let name = |slot: &u32| set.slot_names.get(*slot as usize).cloned();
    let hidden = |slot: &u32| is_sensitive(set, *slot) && !may_see_sensitive;
    let shown = |slot: &u32, text: Option<&Arc<str>>| {
        text.map(|text| if hidden(slot) { REDACTED.into() } else { Arc::clone(text) })
    };
    match evidence {
        rules::Evidence::Terms { field, list, item, terms } => Evidence {
            field: name(field),
            list: Some(Arc::clone(list)),
            item: shown(field, item.as_ref()),
            terms: Some(if hidden(field) { vec![REDACTED.into()] } else { terms.to_vec() }),
            ..Evidence::default()
        },
        rules::Evidence::Listed { field, list, item } => Evidence {
            field: name(field),
            list: Some(Arc::clone(list)),
            item: shown(field, item.as_ref()),
            ..Evidence::default()
        },
        rules::Evidence::Name { field, list, item, entry, score, explanation } => Evidence {
            field: name(field),
            list: Some(Arc::clone(list)),
            item: shown(field, item.as_ref()),
            entry: shown(field, Some(entry)),
            score: Some(crate::decision::shown_probability(*score)),
            explanation: shown(field, Some(explanation)),
            ..Evidence::default()
        },
        rules::Evidence::ListedText { list } => {
            Evidence { list: Some(Arc::clone(list)), ..Evidence::default() }
        }
        rules::Evidence::Row { table, row } => {
            Evidence { table: Some(Arc::clone(table)), row: Some(*row), ..Evidence::default() }
        }
    }
}
