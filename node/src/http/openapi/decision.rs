//! Shapes of decisions and requests for them, as the API's description shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// What a flow decides, from weak to strong.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
    /// Go on.
    Approve,
    /// Ask for a further proof.
    Challenge,
    /// A person looks at it.
    Review,
    /// Refuse.
    Decline,
    /// Refuse, and let nothing of it through.
    Block,
}

/// Level of a score or severity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LevelName {
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// A category of risk.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CategoryName {
    /// Against the law.
    Illegal,
    /// Against our terms.
    Prohibited,
    /// Allowed, and risky.
    HighRisk,
    /// Trade-based money laundering.
    Tbml,
    /// Sanctions.
    Sanctions,
    /// Fraud.
    Fraud,
}

/// A request for one decision.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideBody {
    /// The flow's fields by name.
    #[schema(value_type = Object)]
    input: BTreeMap<String, serde_json::Value>,
    /// Makes a retry get the first decision, for 24 h.
    #[schema(min_length = 1, max_length = 128)]
    request_id: Option<String>,
    /// The unit of flags and erasure; the flow's unit field, if absent.
    #[schema(min_length = 1, max_length = 256)]
    unit: Option<String>,
    /// The time that it is decided as of; now, if absent.
    #[schema(format = DateTime)]
    as_of: Option<String>,
    /// A test: marked, and not counted.
    #[schema(default = false)]
    test: Option<bool>,
}

/// A request for many decisions.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// The requests, answered in order.
    #[schema(max_items = 10000)]
    items: Vec<DecideBody>,
}

/// What a key with a verb takes: one request, many (`:batch`), or nothing (`:replay`).
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum PostBody {
    /// `POST /v1/decisions/{flow}`
    One(DecideBody),
    /// `POST /v1/decisions/{flow}:batch`
    Batch(BatchBody),
}

/// What a post answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum PostAnswer {
    /// `POST /v1/decisions/{flow}`
    One(Box<Decision>),
    /// `POST /v1/decisions/{flow}:batch`
    Batch(BatchAnswer),
    /// `POST /v1/decisions/{id}:replay`
    Replay(Box<ReplayAnswer>),
}

/// Decisions in the order of the request; an item that could not be decided is a problem.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchAnswer {
    /// A decision or a problem an item.
    items: Vec<BatchItem>,
}

/// A decision, or why there is none.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum BatchItem {
    /// A decision.
    Decision(Box<Decision>),
    /// A problem.
    Problem(super::answers::Problem),
}

/// A decision recomputed from its record.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayAnswer {
    /// The decision as it comes out today.
    decision: Decision,
    /// Whether it equals the one that was recorded.
    equal: bool,
    /// Where they differ.
    #[schema(value_type = Vec<Object>)]
    differences: Vec<serde_json::Value>,
    /// The revision that was rebuilt.
    revision: u64,
    /// `recorded` or `recomputed`.
    score_mode: String,
    /// How far scores may be off.
    tolerance: f64,
    /// Scores that were computed again.
    #[schema(value_type = Vec<Object>)]
    scores: Vec<serde_json::Value>,
}

/// A decision.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Its id.
    decision_id: String,
    /// The flow.
    flow: String,
    /// What to do.
    outcome: OutcomeName,
    /// The class; `null` where nothing named one.
    #[schema(required = true)]
    classification: Option<Classification>,
    /// The risk; `null` where the flow was off.
    #[schema(required = true)]
    risk: Option<Risk>,
    /// Why.
    reasons: Vec<Reason>,
    /// Why it abstained.
    abstained: Vec<AbstentionName>,
    /// The experiment's arm.
    #[schema(required = true)]
    experiment: Option<ExperimentArm>,
    /// The flags that were read, with their variants.
    flags: BTreeMap<String, Option<String>>,
    /// What the rules found.
    rules: RulesReport,
    /// The models that counted.
    models: Vec<ModelReport>,
    /// The models that ran beside them.
    shadow: Vec<ShadowReport>,
    /// Expected fields that were absent.
    missing: Vec<String>,
    /// The time that it was made as of.
    as_of: String,
    /// Whether it was a test.
    test: bool,
    /// The client's id of the request.
    #[schema(required = true)]
    request_id: Option<String>,
    /// The catalogue's revision.
    revision: u64,
    /// Whether the node knew that its state may be old.
    stale: bool,
    /// What did not run as the flow says.
    degraded: Vec<String>,
    /// What it cost.
    cost_units: u64,
    /// Microseconds that it took.
    took_us: u64,
}

/// The class of a decision.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Classification {
    /// The label.
    label: String,
    /// What labels are.
    scheme: String,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    confidence: f64,
    /// Who said so.
    source: String,
    /// Further labels.
    alternatives: Vec<Alternative>,
    /// The label in other schemes.
    #[schema(required = true)]
    codes: Option<BTreeMap<String, String>>,
}

/// Another label.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// The label.
    label: String,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    confidence: f64,
}

/// The risk of a decision.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// 0 to 1000; `null` where the score was switched off.
    #[schema(required = true, minimum = 0, maximum = 1000)]
    score: Option<i32>,
    /// The score's level.
    #[schema(required = true)]
    level: Option<LevelName>,
    /// Categories of the rules that hit.
    categories: Vec<CategoryName>,
    /// Where its points come from.
    source: RiskSourceName,
}

/// Where points come from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskSourceName {
    /// Nothing gave points.
    Base,
    /// Rules.
    Rules,
    /// Models.
    Models,
    /// Both.
    Fusion,
}

/// Why a flow abstained.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AbstentionName {
    /// The best labels are too close.
    Ambiguous,
    /// The best label is too weak.
    LowConfidence,
    /// The input is unlike the training data.
    OutOfDistribution,
    /// Rules and model disagree.
    RuleModelConflict,
    /// An expected field is absent.
    ExpectedUnknown,
    /// The cost budget is spent.
    CostBudget,
}

/// An experiment's arm.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentArm {
    /// The experiment.
    key: String,
    /// The arm.
    arm: String,
}

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
}

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
    /// `recorded`, `repeated` (it was there already) or `conflict` (with another body).
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
}

/// A unit that was erased.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasedUnit {
    /// The unit.
    unit: String,
    /// Always true.
    erased: bool,
    /// Whether there was anything of it.
    found: bool,
}
