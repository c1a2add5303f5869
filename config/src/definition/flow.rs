//! Flows as they are written.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{FlowTest, Level, Outcome};
use crate::Field;

/// A decision pipeline, `flows/NAME.yaml` as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowDefinition {
    /// Its name.
    pub flow: String,
    /// What it decides, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The field whose value is the unit (of flags, experiments, erasure); a request's own `unit`
    /// goes before it. Without either, the flow's flags see no targeting key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its input fields.
    pub fields: IndexMap<String, Field>,
    /// Rule sets of the hard and scoring stages.
    #[serde(default)]
    pub rules: Vec<String>,
    /// How it classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classify: Option<ClassifyDefinition>,
    /// Models whose calibrated probability becomes the fact `scores.KEY` and points of the score,
    /// by key.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub models: IndexMap<String, RiskModelDefinition>,
    /// How points become a level and an outcome.
    #[serde(default)]
    pub score: ScoreDefinition,
    /// When it abstains.
    #[serde(default)]
    pub abstain: AbstainDefinition,
    /// What it does when a stage fails.
    #[serde(default)]
    pub on_failure: FailurePolicies,
    /// Bool flags that switch it and its stages; `false` switches off.
    #[serde(default)]
    pub switches: Switches,
    /// Whether the record is written before (`durable`) or after the answer (`async`).
    #[serde(default)]
    pub record: RecordMode,
    /// The most a decision may cost in cost units; the rest is skipped, and the flow abstains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_units_max: Option<u64>,
    /// Tests of the whole flow, at most 200; they block its publication when they fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<FlowTest>,
}

/// When the record is written.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// Written to the operating system before the answer, synced in groups soon after.
    #[default]
    Async,
    /// Synced to the disk before the answer.
    Durable,
}

/// The classification stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifyDefinition {
    /// What the labels are (`naics2022`), for people and clients.
    pub scheme: String,
    /// Rule sets whose `label` effects classify.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The model, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelChoice>,
    /// From this confidence on a rule's label is accepted and the model is not needed.
    #[serde(default = "ClassifyDefinition::accept_from_default")]
    pub accept_from: f64,
    /// Abstain when the two best labels are closer than this.
    #[serde(default)]
    pub delta: f64,
    /// Abstain when the best confidence is below this.
    #[serde(default)]
    pub min_confidence: f64,
    /// How many alternatives the answer names.
    #[serde(default = "ClassifyDefinition::alternatives_default")]
    pub alternatives: u8,
    /// The crosswalk from the label to other codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<Crosswalk>,
}

impl ClassifyDefinition {
    const fn accept_from_default() -> f64 {
        0.90
    }

    const fn alternatives_default() -> u8 {
        3
    }
}

/// Which columns of which table a label is looked up in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crosswalk {
    /// The table.
    pub table: String,
    /// The column that holds the label.
    pub key: String,
    /// The columns that are read, by the name they get in the answer.
    pub columns: IndexMap<String, String>,
}

/// Which model a stage uses: one by name, or what a flag says for this request.
///
/// The flag's value is a model's name, `"none"` (rules only), or an object
/// `{"model"?, "shadow"?: [..], "ensemble"?: {"method", "members": [{"model", "weight"?}]}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum ModelChoice {
    /// A model or alias by name.
    Name(String),
    /// A flag chooses.
    Flag {
        /// The flag's key.
        flag: String,
    },
    /// A choice written out.
    Choice(ModelSelection),
}

/// Which models run and how their answers combine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSelection {
    /// The one model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Models that run beside it and never count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<String>,
    /// An ensemble in the place of one model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<EnsembleDefinition>,
}

/// An ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnsembleDefinition {
    /// How members combine.
    pub method: EnsembleMethod,
    /// Its members, 1 to 8.
    pub members: Vec<EnsembleMember>,
}

/// A member of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnsembleMember {
    /// The model.
    pub model: String,
    /// Its weight (weighted average and voting), or its coefficient (stacking); 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// How an ensemble's members combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnsembleMethod {
    /// Mean of probabilities by weight.
    WeightedAverage,
    /// Each member votes for its best label with its weight.
    Voting,
    /// Softmax of the weighted sum of the members' log-probabilities.
    Stacking,
    /// The answer of the member with the highest confidence.
    BestSingle,
}

/// A model of the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskModelDefinition {
    /// Which model.
    pub model: ModelChoice,
    /// The label whose probability is the score; the manifest's positive label if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Points per unit of the calibrated logit above `offset`; 0 if absent (a fact for rules only).
    #[serde(default)]
    pub points_per_logit: f64,
    /// The logit that gives no points.
    #[serde(default)]
    pub offset: f64,
    /// The most points it gives, either way.
    #[serde(default = "RiskModelDefinition::points_max_default")]
    pub points_max: i32,
    /// The reason code when it gives points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RiskModelDefinition {
    const fn points_max_default() -> i32 {
        400
    }
}

/// How points become a level and an outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreDefinition {
    /// Where the score starts, 0 to 1000.
    #[serde(default)]
    pub base: i32,
    /// From which score on each level holds.
    #[serde(default)]
    pub levels: LevelThresholds,
    /// The outcome that each level asks for.
    #[serde(default = "ScoreDefinition::outcomes_default")]
    pub outcomes: IndexMap<Level, Outcome>,
    /// Other thresholds for some inputs: the first whose condition is true holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<ScoreSegment>,
}

impl ScoreDefinition {
    fn outcomes_default() -> IndexMap<Level, Outcome> {
        IndexMap::from([
            (Level::Low, Outcome::Approve),
            (Level::Medium, Outcome::Approve),
            (Level::High, Outcome::Review),
            (Level::Critical, Outcome::Decline),
        ])
    }
}

impl Default for ScoreDefinition {
    fn default() -> Self {
        Self {
            base: 0,
            levels: LevelThresholds::default(),
            outcomes: Self::outcomes_default(),
            segments: Vec::new(),
        }
    }
}

/// Thresholds of the levels, 0 to 1000, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelThresholds {
    /// Medium from here.
    pub medium: i32,
    /// High from here.
    pub high: i32,
    /// Critical from here.
    pub critical: i32,
}

impl Default for LevelThresholds {
    fn default() -> Self {
        Self { medium: 300, high: 600, critical: 850 }
    }
}

/// Thresholds for some inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreSegment {
    /// Its name, for people.
    pub name: String,
    /// A condition in the rule language.
    pub when: String,
    /// Its thresholds.
    pub levels: LevelThresholds,
}

/// When a flow abstains; an abstention makes the outcome at least `outcome`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbstainDefinition {
    /// The outcome of an abstention.
    #[serde(default = "AbstainDefinition::outcome_default")]
    pub outcome: Outcome,
    /// Abstain when a model's out-of-distribution distance is above its own threshold.
    #[serde(default = "AbstainDefinition::yes")]
    pub out_of_distribution: bool,
    /// Abstain when rules and model name different labels, each with enough confidence.
    #[serde(default = "AbstainDefinition::yes")]
    pub rule_model_conflict: bool,
}

impl AbstainDefinition {
    const fn outcome_default() -> Outcome {
        Outcome::Review
    }

    const fn yes() -> bool {
        true
    }
}

impl Default for AbstainDefinition {
    fn default() -> Self {
        Self { outcome: Outcome::Review, out_of_distribution: true, rule_model_conflict: true }
    }
}

/// What a flow does when a stage fails or is overloaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailurePolicies {
    /// When a model fails, is absent or is overloaded.
    #[serde(default)]
    pub model: ModelFailurePolicy,
    /// The model of `fallback_model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// When a rule worker panics or the pool is overloaded.
    #[serde(default)]
    pub rules: RulesFailurePolicy,
}

/// What follows from a failed model.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ModelFailurePolicy {
    /// Go on with rules, and say so.
    RulesOnly,
    /// Ask the fallback model; if that fails too, review.
    FallbackModel,
    /// The outcome is at least review.
    #[default]
    Review,
}

/// What follows from failed rules.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RulesFailurePolicy {
    /// Refuse the request with a coded 500 or 429.
    #[default]
    Refuse,
    /// Answer review, and say so.
    Review,
}

/// Bool flags by what they switch. An absent flag, or one that gives no value, switches nothing off.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// The whole flow: off answers the abstention's outcome with `degraded: ["flow_off"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Hard and scoring rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Classification by rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classify_rules: Option<String>,
    /// The classification's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classify_model: Option<String>,
    /// The score's models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<String>,
    /// Points, levels and their outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// Abstention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstain: Option<String>,
    /// Shadow models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
}
