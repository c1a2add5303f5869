//! The answer: one struct whose JSON is what clients read.
//!
//! Members stand in a fixed order and are never absent; what does not apply is `null` or empty.
//! Values of sensitive fields are redacted before they get here. Texts that a flow knows at compile
//! time are shared, so that an answer allocates little.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use verdict_config::definition::{Category, Level, Outcome};
use verdict_config::{TimestampMs, Value};

/// What stands in the place of a sensitive value.
pub const REDACTED: &str = "[redacted]";

/// Codes of one label, each with the name of its scheme.
pub type CodePairs = Arc<[(Arc<str>, Arc<str>)]>;

/// A decision as clients get it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Its id, given by the node that made it.
    pub decision_id: Arc<str>,
    /// The flow.
    pub flow: Arc<str>,
    /// What to do.
    pub outcome: Outcome,
    /// The class; `null` where the flow does not classify or nothing named a label.
    pub classification: Option<Classification>,
    /// The risk; `null` where the flow was off.
    pub risk: Option<Risk>,
    /// Why: gravest outcome first, then most points, then by code.
    pub reasons: Vec<Reason>,
    /// Why it abstained; empty where it did not.
    pub abstained: Vec<Abstention>,
    /// The experiment's arm.
    pub experiment: Option<ExperimentArm>,
    /// The flags that were read, with the variant that each gave.
    #[serde(serialize_with = "pairs")]
    pub flags: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// What the rules found.
    pub rules: RulesReport,
    /// The models that counted, with what they answered.
    pub models: Vec<ModelReport>,
    /// The models that ran beside them and did not count.
    pub shadow: Vec<ShadowReport>,
    /// Expected fields that were absent.
    pub missing: Vec<Arc<str>>,
    /// The time it was made as of.
    pub as_of: TimestampMs,
    /// Whether it was a test.
    pub test: bool,
    /// The client's id of the request.
    pub request_id: Option<Arc<str>>,
    /// The catalogue's revision.
    pub revision: u64,
    /// Whether the node knew that its state may be old; set by the node.
    pub stale: bool,
    /// What did not run as the flow says: stages that a flag switched off, failed models and rules.
    pub degraded: Vec<Arc<str>>,
    /// What it cost, in cost units: those of the rules and [`crate::MODEL_CALL_COST_UNITS`] a model call.
    pub cost_units: u64,
    /// Microseconds from the request's arrival to the answer; set by the node.
    pub took_us: u64,
    /// What the windows rest on; `null` for a flow without windows.
    pub windows: Option<WindowsReport>,
}

/// What the windows of a decision rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowsReport {
    /// How old what other nodes told of them may be, in milliseconds: 0, because each node counts its
    /// own requests; `null` where no window was read.
    pub lag_ms: Option<u64>,
    /// Whether a window that was read has not counted for as long as it is.
    pub partial: bool,
}

/// The class of a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// The label.
    pub label: Arc<str>,
    /// What labels are.
    pub scheme: Arc<str>,
    /// Confidence, 0 to 1, to 6 digits.
    pub confidence: f64,
    /// Who said so: `rule:ID`, `model:NAME@VERSION` or `ensemble:METHOD(...)`.
    pub source: Arc<str>,
    /// Further labels by falling confidence.
    pub alternatives: Vec<Alternative>,
    /// The label in other schemes; `null` where the flow names no crosswalk or it has no such label.
    #[serde(serialize_with = "optional_pairs")]
    pub codes: Option<CodePairs>,
}

/// Another label that was considered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// The label.
    pub label: Arc<str>,
    /// Its confidence, 0 to 1, to 6 digits.
    pub confidence: f64,
}

/// The risk of a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Risk {
    /// 0 to 1000; `null` where the score was switched off.
    pub score: Option<i32>,
    /// The score's level.
    pub level: Option<Level>,
    /// Categories of the rules that hit, in the order of their enumeration.
    pub categories: Vec<Category>,
    /// Where its points come from.
    pub source: RiskSource,
}

/// Where the points of a score come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskSource {
    /// Nothing gave points: the flow's base.
    Base,
    /// Rules.
    Rules,
    /// Models.
    Models,
    /// Both.
    Fusion,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    /// Its code.
    pub code: Arc<str>,
    /// Who gave it: `rule:ID` or `model:NAME@VERSION`.
    pub source: Arc<str>,
    /// The points that it gave; `null` where it gives none.
    pub points: Option<i32>,
    /// The outcome that it asked for, after suppression.
    pub outcome: Option<Outcome>,
    /// Whether it stands because its condition is unknown.
    pub unknown: bool,
    /// What was found; `null` where there is nothing to show.
    pub evidence: Option<Evidence>,
}

/// What a reason rests on. Of a field that is sensitive only its name is shown.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Evidence {
    /// The field.
    pub field: Option<Arc<str>>,
    /// The list.
    pub list: Option<Arc<str>>,
    /// The item of the field that was found, where the field is a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Arc<str>>,
    /// Terms of the list that the field contains.
    pub terms: Option<Vec<Arc<str>>>,
    /// The entry of the list that is most like the field's name.
    pub entry: Option<Arc<str>>,
    /// How alike, or a model's probability; 0 to 1.
    pub score: Option<f64>,
    /// How the score came about.
    pub explanation: Option<Arc<str>>,
    /// The decision table.
    pub table: Option<Arc<str>>,
    /// Its row, from 1.
    pub row: Option<u32>,
    /// The values that a condition read, by name.
    #[serde(serialize_with = "optional_values")]
    pub values: Option<Vec<(Arc<str>, ShownValue)>>,
    /// Further evidence of the same rule.
    pub also: Vec<Evidence>,
}

/// A value that was read, or what stands in its place.
#[derive(Debug, Clone, PartialEq)]
pub enum ShownValue {
    /// It was absent.
    Unknown,
    /// It is sensitive.
    Redacted,
    /// The value; texts are cut to [`SHOWN_CHARS_MAX`] characters.
    Value(Value),
}

/// The most characters of a text that evidence shows.
pub const SHOWN_CHARS_MAX: usize = 120;

impl ShownValue {
    /// What is shown of a value.
    #[must_use]
    pub fn of(value: Option<&Value>, sensitive: bool) -> Self {
        match value {
            None => Self::Unknown,
            Some(_) if sensitive => Self::Redacted,
            Some(Value::Text(text)) if text.len() > SHOWN_CHARS_MAX => {
                let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                Self::Value(Value::Text(cut.into()))
            }
            Some(value) => Self::Value(value.clone()),
        }
    }
}

impl Serialize for ShownValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => serializer.serialize_none(),
            Self::Redacted => serializer.serialize_str(REDACTED),
            Self::Value(value) => match value {
                Value::Bool(value) => serializer.serialize_bool(*value),
                Value::Int(value) => serializer.serialize_i64(*value),
                Value::Float(value) => serializer.serialize_f64(*value),
                Value::Text(value) => serializer.serialize_str(value),
                Value::Time(value) => serializer.collect_str(value),
                Value::Decimal(value) => serialize_decimal(value, serializer),
                Value::Set(values) => serializer.collect_seq(values.iter()),
            },
        }
    }
}

fn serialize_decimal<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Why a flow abstained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abstention {
    /// The two best labels are closer than the flow's `delta`.
    Ambiguous,
    /// The best label's confidence is below the flow's `min_confidence`.
    LowConfidence,
    /// A model's input is unlike its training data.
    OutOfDistribution,
    /// Rules and model name different labels.
    RuleModelConflict,
    /// A field that the flow expects is absent.
    ExpectedUnknown,
    /// The flow's cost budget is spent.
    CostBudget,
}

impl Abstention {
    /// The reason as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::LowConfidence => "low_confidence",
            Self::OutOfDistribution => "out_of_distribution",
            Self::RuleModelConflict => "rule_model_conflict",
            Self::ExpectedUnknown => "expected_unknown",
            Self::CostBudget => "cost_budget",
        }
    }
}

/// An experiment's arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExperimentArm {
    /// The experiment.
    pub key: Arc<str>,
    /// The arm.
    pub arm: Arc<str>,
}

/// What the rules of a decision found. Lists are in the order of rule ids, whatever the order in
/// the files, and have at most [`crate::REPORTED_MAX`] entries.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RulesReport {
    /// The first rule set that ran, as `NAME@REVISION`.
    pub set: Option<Arc<str>>,
    /// Every rule set that ran.
    pub sets: Vec<Arc<str>>,
    /// Rules that hit.
    pub hits: Vec<Arc<str>>,
    /// Rules whose condition is unknown.
    pub unknown: Vec<UnknownReport>,
    /// Rules that would have counted but are snoozed for the unit.
    pub snoozed: Vec<Arc<str>>,
    /// Rules whose block or decline an allow suppressed.
    pub suppressed: Vec<Arc<str>>,
    /// Whether a list here or the reasons were cut.
    pub truncated: bool,
}

/// A rule whose condition is unknown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnknownReport {
    /// The rule.
    pub id: Arc<str>,
    /// The facts that are absent: fields, derived facts, windows.
    pub missing: Vec<Arc<str>>,
    /// The first cause: `missing`, `overflow`, `division_by_zero` and so on.
    pub cause: &'static str,
}

/// A model that counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// `classify`, or `scores.KEY`.
    pub stage: Arc<str>,
    /// `NAME@VERSION`.
    pub model: Arc<str>,
    /// What it was: `primary`, `ensemble`, `fallback`.
    pub role: &'static str,
    /// Probability of its label (of the risk label, where it scores), 0 to 1, to 6 digits; `null`
    /// where it failed.
    pub score: Option<f64>,
    /// The label that it names, where it classifies.
    pub label: Option<Arc<str>>,
    /// The points that it gave.
    pub points: Option<i32>,
    /// Why it has no score: `absent`, `unfit`, `overloaded`, `timed_out`, `failed`, `skipped`.
    pub failure: Option<&'static str>,
    /// What does not fit, with the column or label that it is about, where it is `unfit`.
    pub detail: Option<Arc<str>>,
}

/// A model that ran beside the others and did not count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShadowReport {
    /// `NAME@VERSION`.
    pub model: Arc<str>,
    /// `classify`, or `scores.KEY`.
    pub stage: Arc<str>,
    /// Probability of its label (of the risk label, where it scores), 0 to 1, to 6 digits.
    pub score: Option<f64>,
    /// The label that it names, where it classifies.
    pub label: Option<Arc<str>>,
    /// What the decision would have been with it in the place of the stage's own answer.
    pub outcome: Option<Outcome>,
    /// Why it has no score.
    pub failure: Option<&'static str>,
    /// What does not fit, where it is `unfit`.
    pub detail: Option<Arc<str>>,
}

/// A probability as it is shown: 6 digits, so that binary noise does not look like precision.
#[must_use]
pub fn shown_probability(probability: f64) -> f64 {
    (probability * 1e6).round() / 1e6
}

fn pairs<S: Serializer>(
    pairs: &[(Arc<str>, Option<Arc<str>>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn optional_pairs<S: Serializer>(
    pairs: &Option<CodePairs>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(pairs) = pairs else { return serializer.serialize_none() };
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs.iter() {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn optional_values<S: Serializer>(
    values: &Option<Vec<(Arc<str>, ShownValue)>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(values) = values else { return serializer.serialize_none() };
    let mut map = serializer.serialize_map(Some(values.len()))?;
    for (key, value) in values {
        map.serialize_entry(key, value)?;
    }
    map.end()
}
