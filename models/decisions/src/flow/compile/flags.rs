//! The flags that a flow reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use verdict_config::definition::{FlowDefinition, ModelChoice};

use crate::flow::SwitchFlags;
use crate::parts::RuleSetPart;

/// Every flag that the flow reads: switches, models, rules. Sorted, so that positions are stable.
pub(super) fn flag_keys(
    definition: &FlowDefinition,
    rule_sets: &BTreeMap<String, RuleSetPart>,
) -> Vec<Arc<str>> {
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    keys.extend(switch_keys(definition).into_iter().flatten());
    let classify = definition.classify.as_ref();
    let choices = classify
        .and_then(|classify| classify.model.as_ref())
        .into_iter()
        .chain(definition.models.values().map(|model| &model.model));
    for choice in choices {
        if let ModelChoice::Flag { flag } = choice {
            keys.insert(flag);
        }
    }
    let sets = definition.rules.iter().chain(classify.into_iter().flat_map(|c| &c.rules));
    for set in sets.filter_map(|name| rule_sets.get(name)) {
        keys.extend(set.definition.rules.iter().filter_map(|rule| rule.flag.as_deref()));
    }
    keys.into_iter().map(Arc::from).collect()
}

fn switch_keys(definition: &FlowDefinition) -> [Option<&str>; 8] {
    let switches = &definition.switches;
    [
        switches.flow.as_deref(),
        switches.rules.as_deref(),
        switches.classify_rules.as_deref(),
        switches.classify_model.as_deref(),
        switches.models.as_deref(),
        switches.score.as_deref(),
        switches.abstain.as_deref(),
        switches.shadow.as_deref(),
    ]
}

pub(super) fn switch_flags(definition: &FlowDefinition, flags: &[Arc<str>]) -> SwitchFlags {
    let position = |key: Option<&str>| {
        let key = key?;
        flags.binary_search_by(|known| known.as_ref().cmp(key)).ok()
    };
    let [flow, rules, classify_rules, classify_model, models, score, abstain, shadow] =
        switch_keys(definition).map(position);
    SwitchFlags { flow, rules, classify_rules, classify_model, models, score, abstain, shadow }
}
