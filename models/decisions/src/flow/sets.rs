//! Rule sets as a flow sees them: what each may do, and the texts that answers name its rules with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use verdict_rules::{CompiledRuleSet, DerivedFacts, Phase, WindowFunction, WindowRead};

use verdict_config::Schema;

/// A compiled rule set with its place in a flow.
#[derive(Debug)]
pub(crate) struct FlowSet {
    pub compiled: Arc<CompiledRuleSet>,
    /// Its points, outcomes and allows count.
    pub hard: bool,
    /// Its labels count.
    pub classify: bool,
    /// `NAME@REVISION`.
    pub label: Arc<str>,
    /// One entry a rule.
    pub rules: Vec<FlowRule>,
    /// Positions of its windows among the flow's windows.
    pub windows: Vec<usize>,
    /// Rules that a flag switches, with the position of the flag's key among the flow's flags.
    pub flags: Vec<(u32, usize)>,
    /// Names of slots: fields, derived facts, windows.
    pub slot_names: Vec<Arc<str>>,
    /// Whether what a slot holds must not be shown.
    pub slot_sensitive: Vec<bool>,
    pub has_early: bool,
    pub has_late: bool,
}

/// A rule as answers name it.
#[derive(Debug, Clone)]
pub(crate) struct FlowRule {
    /// Its id; `SET/ID` where another set of the flow has a rule of the same id.
    pub name: Arc<str>,
    /// `rule:` and the name.
    pub source: Arc<str>,
    /// Its position when all rules of the flow are sorted by name.
    pub rank: u32,
}

/// How a set is used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SetUse {
    pub hard: bool,
    pub classify: bool,
}

impl FlowSet {
    pub(super) fn new(
        compiled: Arc<CompiledRuleSet>,
        set_use: SetUse,
        revision: u64,
        schema: &Schema,
        derived: &DerivedFacts,
    ) -> Self {
        let names =
            schema.fields().map(|(name, _)| name).chain(derived.iter().map(|(name, _)| name));
        let windows = compiled.windows();
        let slot_names =
            names.chain(windows.iter().map(|window| window.text.as_str())).map(Arc::from).collect();
        let slot_sensitive = schema
            .fields()
            .map(|(_, field)| field.sensitive)
            .chain(derived.iter().map(|_| false))
            .chain(windows.iter().map(|window| window_is_sensitive(window, schema)))
            .collect();
        let has = |phase| compiled.rules().iter().any(|rule| rule.phase == phase);
        Self {
            hard: set_use.hard,
            classify: set_use.classify,
            label: format!("{}@{revision}", compiled.name()).into(),
            rules: Vec::new(),
            windows: Vec::new(),
            flags: Vec::new(),
            slot_names,
            slot_sensitive,
            has_early: has(Phase::Early),
            has_late: has(Phase::Late),
            compiled,
        }
    }

    pub fn rule(&self, rule: u32) -> Option<&FlowRule> {
        self.rules.get(rule as usize)
    }
}

/// A sum, an extreme or a mean tells a value; a count does not.
fn window_is_sensitive(window: &WindowRead, schema: &Schema) -> bool {
    let tells = !matches!(window.function, WindowFunction::Count | WindowFunction::Distinct);
    let field = window.value_field.and_then(|slot| schema.field(slot));
    tells && field.is_some_and(|(_, field)| field.sensitive)
}

/// Names and ranks the rules of all sets, the same whatever their order.
pub(super) fn name_rules(sets: &mut [FlowSet]) {
    let mut uses: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for rule in sets.iter().flat_map(|set| set.compiled.rules()) {
        *uses.entry(Arc::clone(&rule.id)).or_default() += 1;
    }
    let name_of = |set: &FlowSet, id: &Arc<str>| -> Arc<str> {
        match uses.get(id) {
            Some(2..) => format!("{}/{id}", set.compiled.name()).into(),
            _ => Arc::clone(id),
        }
    };
    let sorted: BTreeSet<Arc<str>> = sets
        .iter()
        .flat_map(|set| set.compiled.rules().iter().map(|rule| name_of(set, &rule.id)))
        .collect();
    let ranks: BTreeMap<Arc<str>, u32> = sorted.into_iter().zip(0u32..).collect();
    for set in sets.iter_mut() {
        let rules = set
            .compiled
            .rules()
            .iter()
            .map(|rule| {
                let name = name_of(set, &rule.id);
                let rank = ranks.get(&name).copied().unwrap_or(u32::MAX);
                FlowRule { source: format!("rule:{name}").into(), rank, name }
            })
            .collect();
        set.rules = rules;
    }
}
