//! Shapes of decisions and requests for them, as the API's description shows them.

mod kept;
mod report;
mod request;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

pub use kept::{
    ErasedUnit, ExplainedDecision, FoundDecision, FoundPage, OutcomeAnswer, OutcomeStateName,
    OutcomesAnswer,
};
pub use report::{Evidence, ModelReport, Reason, RulesReport, ShadowReport, UnknownReport};
pub use request::{
    BatchAnswer, BatchBody, BatchItem, DecideBody, PostAnswer, PostBody, ReplayAnswer,
};

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
    /// What the windows rest on; `null` for a flow without windows.
    #[schema(required = true)]
    windows: Option<WindowsReport>,
}

/// What the windows of a decision rest on.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowsReport {
    /// How old what other nodes told of them may be, in milliseconds.
    #[schema(required = true)]
    lag_ms: Option<u64>,
    /// Whether a window that was read has not counted for as long as it is.
    partial: bool,
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
