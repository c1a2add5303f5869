//! A small flow with a field of every type, and short ways to compile and evaluate against it.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use verdict_config::definition::{ListDefinition, RuleSetDefinition, TableDefinition};
use verdict_config::{Facts, Faults, Field, Schema, TimestampMs, Value};
use verdict_rules::{
    CompiledRuleSet, DerivedFacts, Environment, Evaluation, EvaluationInput, Evidence, Hit,
    HitEffect, Phase, RuleLimits, RuleMask, Scratch, Slot, UnknownRule, compile,
};

pub struct World {
    pub schema: Schema,
    pub derived: DerivedFacts,
    pub lists: BTreeMap<String, Arc<ListDefinition>>,
    pub tables: BTreeMap<String, Arc<TableDefinition>>,
    pub limits: RuleLimits,
}

pub fn schema(fields: Json) -> Schema {
    let fields: IndexMap<String, Field> = serde_json::from_value(fields).unwrap();
    Schema::new(&fields)
}

pub fn list(entries: Json) -> Arc<ListDefinition> {
    let entries: Vec<Json> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| if entry.is_string() { json!({ "value": entry }) } else { entry.clone() })
        .collect();
    Arc::new(serde_json::from_value(json!({ "entries": entries })).unwrap())
}

pub fn table(columns: &[&str], rows: &[&[&str]]) -> Arc<TableDefinition> {
    let owned = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    Arc::new(TableDefinition {
        columns: owned(columns),
        rows: rows.iter().map(|row| owned(row)).collect(),
    })
}

impl World {
    pub fn new() -> Self {
        let schema = schema(json!({
            "name": { "type": "string", "need": "required" },
            "description": { "type": "string", "need": "expected" },
            "country": { "type": "symbol" },
            "count": { "type": "int" },
            "limit": { "type": "int" },
            "amount": { "type": "decimal" },
            "average": { "type": "decimal" },
            "ratio": { "type": "float" },
            "active": { "type": "bool" },
            "verified": { "type": "bool" },
            "opened_at": { "type": "time" },
            "tags": { "type": "set" },
            "card_id": { "type": "symbol" },
        }));
        let derived = DerivedFacts::of_flow(["risk"], true);
        let lists = BTreeMap::from([
            ("gambling".to_owned(), list(json!(["casino", "sports betting", "poker"]))),
            (
                "licensed".to_owned(),
                list(json!(["GB-1", { "value": "GB-2", "expires": "2026-01-01T00:00:00Z" }])),
            ),
            ("sanctioned".to_owned(), list(json!(["Zorvan Kelimat", "Brightwater Holdings"]))),
        ]);
        let tables = BTreeMap::from([
            (
                "mcc".to_owned(),
                table(&["naics", "mcc"], &[&["722511", "5812"], &["713290", "7995"]]),
            ),
            (
                "limits".to_owned(),
                table(
                    &["country", "amount", "then.points"],
                    &[&["GB", "> 1000", "100"], &["US", "> 5000", "200"]],
                ),
            ),
        ]);
        Self { schema, derived, lists, tables, limits: RuleLimits::default() }
    }

    pub fn environment(&self) -> Environment<'_> {
        Environment {
            schema: &self.schema,
            derived: &self.derived,
            lists: &self.lists,
            tables: &self.tables,
            limits: self.limits,
        }
    }

    pub fn compile(&self, rules: Json) -> Result<CompiledRuleSet, Faults> {
        compile(&definition(rules), &self.environment())
    }

    /// A set with one rule of that condition.
    pub fn one(&self, when: &str) -> Result<CompiledRuleSet, Faults> {
        self.compile(json!([{ "id": "r", "when": when, "then": { "points": 1 } }]))
    }

    pub fn facts(&self, input: Json) -> Facts {
        let mut facts = Facts { slots: vec![None; self.schema.fields().len()] };
        for (name, value) in input.as_object().unwrap() {
            let slot = self.schema.slot(name).unwrap();
            let field = self.schema.field(slot).unwrap().1;
            facts.slots[slot as usize] =
                Some(verdict_config::schema::read_value(field, value).unwrap());
        }
        facts
    }
}

pub fn definition(rules: Json) -> RuleSetDefinition {
    serde_json::from_value(json!({ "rule_set": "set", "flow": "flow", "rules": rules })).unwrap()
}

/// What is evaluated besides the input fields.
#[derive(Default)]
pub struct Given {
    pub derived: Vec<Option<Value>>,
    pub windows: Vec<Option<Value>>,
    pub disabled: RuleMask,
    pub snoozed: RuleMask,
    pub cost_units_limit: Option<u64>,
}

/// 2026-06-01T12:30:00Z, a Monday.
pub const AS_OF: TimestampMs = TimestampMs(1_780_317_000_000);

pub fn with_input<T>(
    facts: &Facts,
    given: &Given,
    then: impl FnOnce(&EvaluationInput<'_>) -> T,
) -> T {
    then(&EvaluationInput {
        facts,
        derived: &given.derived,
        windows: &given.windows,
        as_of: AS_OF,
        disabled: &given.disabled,
        snoozed: &given.snoozed,
        cost_units_limit: given.cost_units_limit.unwrap_or(u64::MAX),
    })
}

/// Both phases; the index must say what the text says.
pub fn evaluate(set: &CompiledRuleSet, facts: &Facts, given: &Given) -> Evaluation {
    let mut scratch = Scratch::new();
    with_input(facts, given, |input| {
        let mut both = Evaluation::default();
        for phase in [Phase::Early, Phase::Late] {
            let indexed = set.evaluate(phase, input, &mut scratch);
            if given.cost_units_limit.is_none() {
                let plain = set.evaluate_without_index(phase, input, &mut scratch);
                assert_eq!(
                    shown_hits(set, &indexed),
                    shown_hits(set, &plain),
                    "hits with and without index"
                );
                assert_eq!(
                    shown_unknown(&indexed),
                    shown_unknown(&plain),
                    "unknown with and without index"
                );
            }
            both.append(indexed);
        }
        assert!(both.cost_units <= set.cost_units_max(), "the counter is below the worst case");
        both
    })
}

/// Each hit with all that it says.
fn shown_hits<'a>(
    set: &'a CompiledRuleSet,
    evaluation: &'a Evaluation,
) -> Vec<(u32, bool, bool, &'a HitEffect, &'a [Evidence])> {
    let shown = |hit: &Hit| {
        let (effect, evidence) = (set.effect(evaluation, hit), evaluation.evidence(hit));
        (hit.rule, hit.as_unknown, hit.snoozed, effect, evidence)
    };
    evaluation.hits.iter().map(shown).collect()
}

/// Each unknown rule with what it lacks.
fn shown_unknown(evaluation: &Evaluation) -> Vec<(u32, Vec<Slot>)> {
    let shown = |unknown: &UnknownRule| {
        let mut missing = evaluation.missing(unknown).to_vec();
        missing.sort_unstable();
        (unknown.rule, missing)
    };
    evaluation.unknown.iter().map(shown).collect()
}

/// `true`, `false`, or the word of the cause.
pub fn truth(set: &CompiledRuleSet, facts: &Facts, given: &Given) -> String {
    let evaluation = evaluate(set, facts, given);
    match (evaluation.hits.first(), evaluation.unknown.first()) {
        (_, Some(unknown)) => unknown.cause.as_str().to_owned(),
        (Some(_), None) => "true".to_owned(),
        (None, None) => "false".to_owned(),
    }
}
