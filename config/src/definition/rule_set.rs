//! Rule sets as they are written.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Category, HitPolicy, Outcome, Severity};

/// A set of rules for one flow, `rules/NAME.yaml` as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSetDefinition {
    /// Its name.
    pub rule_set: String,
    /// The flow whose schema names and types the fields.
    pub flow: String,
    /// What the set is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The most it may cost in the worst case, in cost units; the node's limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_units_max: Option<u64>,
    /// Its rules. Their order never changes an outcome.
    pub rules: Vec<RuleDefinition>,
}

/// One rule: a condition (`when`), or a decision table, with what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDefinition {
    /// Stable id, unique in the set: `[a-z0-9][a-z0-9._-]{0,63}`.
    pub id: String,
    /// What it says, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Risk category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The condition, an expression of type bool. With `table`, it guards the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// A decision table that is read instead of, or behind, a condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableUse>,
    /// What an unknown condition counts as.
    #[serde(default)]
    pub unknown: UnknownPolicy,
    /// What a hit does.
    #[serde(default)]
    pub then: Effect,
    /// A bool flag that switches the rule: `false` means that it is not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// Tests that stand beside the rule and block its publication when they fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<RuleTest>,
}

/// How a rule reads a decision table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableUse {
    /// The table's name.
    pub name: String,
    /// Its hit policy.
    #[serde(default)]
    pub hit_policy: HitPolicy,
}

/// What an unknown condition counts as.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPolicy {
    /// As if the condition were false; the decision lists the rule as unknown.
    #[default]
    NoMatch,
    /// As if it were true.
    Match,
    /// The outcome is at least review, with the rule's reason.
    Review,
    /// The outcome is at least decline, with the rule's reason.
    Decline,
}

/// What a hit does. Every part is optional; a rule with none only leaves a trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Added to the score; may be negative. -1000 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<i32>,
    /// The score is at least this, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<i32>,
    /// The score is at most this, 0 to 1000 (floors win over caps).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<i32>,
    /// The outcome is at least this. `block` settles the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// In a rule set named under `classify.rules`: the class label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Confidence of the label, 0 to 1; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// An audited allow: hits of this kind suppress the block and decline of rules of every category
    /// but sanctions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow: bool,
    /// The reason code that the decision carries, `[A-Z][A-Z0-9_]{0,63}`; the rule id in capitals if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A rule's own test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Field values; absent fields are unknown, required ones too.
    #[serde(default)]
    pub given: IndexMap<String, serde_json::Value>,
    /// Window values by the text of the call, for example `window_count("24h", card_id): 7`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub windows: IndexMap<String, serde_json::Value>,
    /// Derived facts by name, for example `scores.risk: 0.9` or `classification.label: "72"`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub facts: IndexMap<String, serde_json::Value>,
    /// The time of the decision; 2026-01-01 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<crate::TimestampMs>,
    /// What must come out.
    pub expect: Expectation,
}

/// What a rule's test expects; parts that are absent are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Whether the rule hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit: Option<bool>,
    /// Whether its condition is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<bool>,
    /// Points it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<i32>,
    /// Outcome it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Label it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Reason codes it gives, in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
}
