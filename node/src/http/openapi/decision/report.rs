//! What a decision reports of its rules and models.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::OutcomeName;

/// One reason.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Its code.
    code: String,
    /// Who gave it.
    source: String,
    /// The points that it gave.
    #[schema(required = true)]
    points: Option<i32>,
    /// The outcome that it asked for.
    #[schema(required = true)]
    outcome: Option<OutcomeName>,
    /// Whether it stands because its condition is unknown.
    unknown: bool,
    /// What was found.
    #[schema(required = true)]
    evidence: Option<Evidence>,
}

/// What a reason rests on.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The field.
    #[schema(required = true)]
    field: Option<String>,
    /// The list.
    #[schema(required = true)]
    list: Option<String>,
    /// The item of the field that was found, where the field is a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// Terms that were found.
    #[schema(required = true)]
    terms: Option<Vec<String>>,
    /// The list's entry most like the field.
    #[schema(required = true)]
    entry: Option<String>,
    /// How alike, or a probability.
    #[schema(required = true)]
    score: Option<f64>,
    /// How the score came about.
    #[schema(required = true)]
    explanation: Option<String>,
    /// The decision table.
    #[schema(required = true)]
    table: Option<String>,
    /// Its row, from 1.
    #[schema(required = true)]
    row: Option<u32>,
    /// The values that were read.
    #[schema(required = true, value_type = Option<Object>)]
    values: Option<BTreeMap<String, serde_json::Value>>,
    /// Further evidence.
    #[schema(no_recursion)]
    also: Vec<Evidence>,
}

/// What the rules found.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesReport {
    /// The first rule set that ran.
    #[schema(required = true)]
    set: Option<String>,
    /// Every rule set that ran.
    sets: Vec<String>,
    /// Rules that hit.
    hits: Vec<String>,
    /// Rules whose condition is unknown.
    unknown: Vec<UnknownReport>,
    /// Rules that are snoozed for the unit.
    snoozed: Vec<String>,
    /// Rules that an allow suppressed.
    suppressed: Vec<String>,
    /// Whether a list was cut.
    truncated: bool,
}

/// A rule whose condition is unknown.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnknownReport {
    /// The rule.
    id: String,
    /// The facts that are absent.
    missing: Vec<String>,
    /// The first cause.
    cause: String,
}

/// A model that counted.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelReport {
    /// `classify`, or `scores.KEY`.
    stage: String,
    /// `NAME@VERSION`.
    model: String,
    /// What it was.
    role: String,
    /// Its probability.
    #[schema(required = true)]
    score: Option<f64>,
    /// The label that it names.
    #[schema(required = true)]
    label: Option<String>,
    /// The points that it gave.
    #[schema(required = true)]
    points: Option<i32>,
    /// Why it has no score.
    #[schema(required = true)]
    failure: Option<String>,
    /// What does not fit, with the column or label that it is about, where it is `unfit`.
    #[schema(required = true)]
    detail: Option<String>,
}

/// A model that ran beside the others.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowReport {
    /// `NAME@VERSION`.
    model: String,
    /// `classify`, or `scores.KEY`.
    stage: String,
    /// Its probability.
    #[schema(required = true)]
    score: Option<f64>,
    /// The label that it names.
    #[schema(required = true)]
    label: Option<String>,
    /// What the decision would have been with it.
    #[schema(required = true)]
    outcome: Option<OutcomeName>,
    /// Why it has no score.
    #[schema(required = true)]
    failure: Option<String>,
    /// What does not fit, where it is `unfit`.
    #[schema(required = true)]
    detail: Option<String>,
}
