//! From a rule set as it is written to one that can be evaluated.

mod arms;
mod rule;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use verdict_config::definition::{ListDefinition, RuleSetDefinition, TableDefinition};
use verdict_config::name::is_plain_name;
use verdict_config::{Code, EvaluationVersion, Fault, Faults, Schema};

use crate::evaluate::rule_cost_max;
use crate::findings;
use crate::index::IndexBuilder;
use crate::resources::{Resources, ResourcesBuilder, position};
use crate::{CompiledRuleSet, DerivedFacts, Phase, RuleLimits};
pub(crate) use arms::arms_of;
use rule::{CheckedRule, check_rule};

/// What a rule set is compiled against.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The flow's fields.
    pub schema: &'a Schema,
    /// The facts that the flow's stages derive.
    pub derived: &'a DerivedFacts,
    /// Lists by name.
    pub lists: &'a BTreeMap<String, Arc<ListDefinition>>,
    /// Tables by name.
    pub tables: &'a BTreeMap<String, Arc<TableDefinition>>,
    /// The bounds.
    pub limits: RuleLimits,
}

/// Compiles a rule set.
///
/// # Errors
/// Every fault of every rule, each with the path of the rule (`rules[3].when`) and the column;
/// faults of lists and tables under `lists.NAME` and `tables.NAME`.
pub fn compile(
    definition: &RuleSetDefinition,
    environment: &Environment<'_>,
) -> Result<CompiledRuleSet, Faults> {
    let mut faults = check_names(definition, &environment.limits);
    let mut builder = ResourcesBuilder::new(environment);
    let mut checked = Vec::with_capacity(definition.rules.len());
    for (at, rule) in definition.rules.iter().enumerate() {
        let path = format!("rules[{at}]");
        checked.extend(check_rule(rule, &path, &mut builder, &mut faults));
    }
    let resources = match builder.finish() {
        Ok(resources) => resources,
        Err(more) => {
            faults.extend(more);
            return Err(faults);
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut set = assemble(definition, environment, checked, resources);
    let limit = definition.cost_units_max.unwrap_or(environment.limits.cost_units_max);
    let costly = (set.cost_units_max > limit).then(|| too_costly(&set, limit));
    if let Some(fault) = &costly
        && !was_accepted(definition, environment)
    {
        return Err(vec![fault.clone()]);
    }
    set.findings = findings::find(definition, &set);
    set.findings.extend(costly.map(findings::costly));
    Ok(set)
}

/// Whether a set compiles by the rules of evaluation before, by which names cost less: it stays, and
/// its next change is refused.
fn was_accepted(definition: &RuleSetDefinition, environment: &Environment<'_>) -> bool {
    let evaluation = EvaluationVersion::V1;
    let limits = RuleLimits { evaluation, ..environment.limits };
    environment.limits.evaluation != evaluation
        && compile(definition, &Environment { limits, ..*environment }).is_ok()
}

fn check_names(definition: &RuleSetDefinition, limits: &RuleLimits) -> Faults {
    let mut faults = Faults::new();
    if definition.rules.len() > limits.rules_max as usize {
        let message = format!(
            "at most {} rules, got {}: split the set",
            limits.rules_max,
            definition.rules.len()
        );
        faults.push(Fault::new(Code::LimitExceeded, "rules", message));
    }
    let mut first_by_id: HashMap<&str, usize> = HashMap::new();
    for (at, rule) in definition.rules.iter().enumerate() {
        let path = format!("rules[{at}].id");
        if !is_plain_name(&rule.id) {
            let message = format!("{:?} is no rule id. {}", rule.id, Code::InvalidName.advice());
            faults.push(Fault::new(Code::InvalidName, &path, message));
        }
        if let Some(first) = first_by_id.insert(&rule.id, at) {
            let message = format!("{:?} is the id of rules[{first}] too", rule.id);
            faults.push(Fault::new(Code::DuplicateName, &path, message));
        }
    }
    faults
}

fn assemble(
    definition: &RuleSetDefinition,
    environment: &Environment<'_>,
    checked: Vec<CheckedRule>,
    resources: Resources,
) -> CompiledRuleSet {
    let mut early = IndexBuilder::default();
    let mut late = IndexBuilder::default();
    let mut rules = Vec::with_capacity(checked.len());
    let mut bodies = Vec::with_capacity(checked.len());
    for (rule, checked) in (0u32..).zip(checked) {
        let CheckedRule { mut info, mut body, arms } = checked;
        let index = if info.phase == Phase::Late { &mut late } else { &mut early };
        let from = position(index.arm_count());
        arms.into_iter().for_each(|arm| index.add(rule, arm, &resources));
        body.arms = from..position(index.arm_count());
        info.cost_units_max = index.residual_cost_max(body.arms.clone(), &resources)
            + rule_cost_max(&body, &resources);
        rules.push(info);
        bodies.push(body);
    }
    let early = early.finish(&resources, &bodies);
    let late = late.finish(&resources, &bodies);
    let shared = early.cost_units_max(&resources).saturating_add(late.cost_units_max(&resources));
    // Each phase that has rules keeps its own scores.
    let phase = |wanted: Phase| u64::from(rules.iter().any(|rule| rule.phase == wanted));
    let phases = phase(Phase::Early) + phase(Phase::Late);
    let names = crate::cost::names_shared_max(&resources).saturating_mul(phases);
    let shared = shared.saturating_add(names);
    let cost_units_max =
        rules.iter().fold(shared, |sum, rule| sum.saturating_add(rule.cost_units_max));
    CompiledRuleSet {
        name: definition.rule_set.as_str().into(),
        content_hash: content_hash(definition, environment, &resources).into(),
        rules,
        bodies,
        resources,
        early,
        late,
        findings: Vec::new(),
        cost_units_max,
        schema: environment.schema.clone(),
        derived: environment.derived.clone(),
        limits: environment.limits,
    }
}

fn too_costly(set: &CompiledRuleSet, limit: u64) -> Fault {
    let dearest = set.rules.iter().max_by_key(|rule| rule.cost_units_max);
    let dearest = dearest.map_or(String::new(), |rule| {
        format!("; the dearest rule is {:?} with {}", rule.id, rule.cost_units_max)
    });
    let message = format!(
        "the set may cost {} units, the limit is {limit}{dearest}: shorten texts with max_chars, \
         make rules simpler, or raise cost_units_max",
        set.cost_units_max
    );
    Fault::new(Code::RuleTooCostly, "rules", message)
}

/// A hash of everything that decides what the set does.
fn content_hash(
    definition: &RuleSetDefinition,
    environment: &Environment<'_>,
    resources: &Resources,
) -> String {
    let mut hasher = Sha256::new();
    let mut add = |kind: &str, name: &str, body: Result<Vec<u8>, serde_json::Error>| {
        let body = body.unwrap_or_default();
        for part in [kind.as_bytes(), name.as_bytes(), &body] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    };
    add("rule_set", &definition.rule_set, serde_json::to_vec(definition));
    for (name, field) in environment.schema.fields() {
        add("field", name, serde_json::to_vec(field));
    }
    let mut lists: Vec<&str> = resources.keyword_lists.iter().map(|name| &**name).collect();
    lists.extend(resources.code_lists.iter().map(|(name, _)| &**name));
    lists.extend(resources.name_lists.iter().map(|(name, _)| &**name));
    lists.sort_unstable();
    lists.dedup();
    for name in lists {
        if let Some(list) = environment.lists.get(name) {
            add("list", name, serde_json::to_vec(&**list));
        }
    }
    let decision_tables = definition.rules.iter().filter_map(|rule| rule.table.as_ref());
    let mut tables: Vec<&str> = decision_tables.map(|table| table.name.as_str()).collect();
    tables.extend(resources.lookups.iter().map(|(name, _)| &**name));
    tables.sort_unstable();
    tables.dedup();
    for name in tables {
        if let Some(table) = environment.tables.get(name) {
            add("table", name, serde_json::to_vec(&**table));
        }
    }
    hex::encode(hasher.finalize())
}
