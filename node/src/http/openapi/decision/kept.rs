//! Decisions that were kept: explained, found, followed by outcomes, erased.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Decision, OutcomeName};

/// A decision as it was sent, with its explanation and what became of it.
#[derive(Serialize, ToSchema)]
pub struct ExplainedDecision {
    /// The decision as it was sent.
    decision: Decision,
    /// Its id.
    decision_id: String,
    /// The flow.
    flow: String,
    /// The catalogue's revision.
    revision: u64,
    /// Its input, sensitive fields redacted unless the role may see them.
    #[schema(value_type = Object)]
    input: serde_json::Value,
    /// What became of each stage.
    #[schema(value_type = Vec<Object>)]
    stages: Vec<serde_json::Value>,
    /// Rules whose condition is true, with the values that they read.
    #[schema(value_type = Vec<Object>)]
    hits: Vec<serde_json::Value>,
    /// Rules whose condition is false, with the first clause that is.
    #[schema(value_type = Vec<Object>)]
    misses: Vec<serde_json::Value>,
    /// Rules whose condition is unknown, with the causes.
    #[schema(value_type = Vec<Object>)]
    unknown: Vec<serde_json::Value>,
    /// How the score came about.
    #[schema(value_type = Object)]
    points: serde_json::Value,
    /// What spoke for the label of each model.
    #[schema(value_type = Vec<Object>)]
    models: Vec<serde_json::Value>,
    /// Outcomes that were reported for it.
    #[schema(value_type = Vec<Object>)]
    observed: Vec<serde_json::Value>,
}

/// A page of decisions, newest first.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundPage {
    /// The decisions; a page may be short and still have a next one.
    decisions: Vec<FoundDecision>,
    /// The next page's cursor; `null` at the end.
    #[schema(required = true)]
    next: Option<String>,
}

/// A decision that was found.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundDecision {
    /// Its id.
    decision_id: String,
    /// When its request came in.
    at: String,
    /// The flow.
    flow: String,
    /// What to do.
    outcome: OutcomeName,
    /// Reason codes.
    reasons: Vec<String>,
    /// Whether it was a test.
    test: bool,
}

/// What became of outcomes, in their order.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomesAnswer {
    /// One entry an outcome.
    outcomes: Vec<OutcomeAnswer>,
}

/// What became of an outcome.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeAnswer {
    /// The client's id.
    id: String,
    /// `recorded`, `repeated` (it was there already), `conflict` (with another body) or `pending`.
    state: OutcomeStateName,
}

/// What became of an outcome.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStateName {
    /// It is durable.
    Recorded,
    /// It was there already.
    Repeated,
    /// Its id was used for another one.
    Conflict,
    /// The node that made the decision is away: it is durable here, and goes there when it is back.
    Pending,
}

/// A unit that was erased.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasedUnit {
    /// The unit.
    unit: String,
    /// Whether no node can read anything of it any more.
    erased: bool,
    /// Whether there was anything of it.
    found: bool,
    /// Nodes that are away: each erases it before it answers anybody again.
    pending: Vec<u64>,
}
