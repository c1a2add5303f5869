//! What an explanation says.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use verdict_config::TimestampMs;
use verdict_config::definition::{Category, Level, LevelThresholds, Outcome, Severity};

use crate::decision::{Evidence, ShownValue};

/// A decision explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision_id: Arc<str>,
    /// The flow.
    pub flow: Arc<str>,
    /// The catalogue's revision.
    pub revision: u64,
    /// The time that it was made as of.
    pub as_of: TimestampMs,
    /// When the request came in.
    pub received_at: TimestampMs,
    /// The unit; redacted where a sensitive field names it.
    pub unit: Option<Arc<str>>,
    /// The input.
    pub input: Map<String, Json>,
    /// Windows with the values that were read.
    pub windows: Vec<NamedValue>,
    /// Flags as they resolved.
    pub flags: Vec<FlagTrace>,
    /// What the stages made for rules to read.
    pub derived: Vec<NamedValue>,
    /// The stages in their order.
    pub stages: Vec<StageTrace>,
    /// Rules whose condition is true, snoozed ones included.
    pub hits: Vec<RuleExplained>,
    /// Rules whose condition is false.
    pub misses: Vec<RuleExplained>,
    /// Rules whose condition is unknown.
    pub unknown: Vec<RuleExplained>,
    /// Rules that were switched off.
    pub disabled: Vec<RuleExplained>,
    /// How the score came about.
    pub points: PointsTrace,
    /// What asked for which outcome; the decision's is the gravest.
    pub outcomes: Vec<OutcomeTrace>,
    /// The outcome that they come to.
    pub outcome: Outcome,
}

/// A value by its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedValue {
    /// Field, derived fact, or the window's call.
    pub name: Arc<str>,
    /// Its value; `null` is unknown.
    pub value: ShownValue,
}

/// A flag as it resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlagTrace {
    /// Its key.
    pub key: Arc<str>,
    /// Whether there was such a flag.
    pub found: bool,
    /// The variant.
    pub variant: Option<Arc<str>>,
    /// The value.
    pub value: Json,
}

/// What became of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageTrace {
    /// `validate`, `rules`, `classify_rules`, `classify`, `scores.KEY`, `score`, `abstain`.
    pub stage: Arc<str>,
    /// What became of it.
    pub status: StageStatus,
    /// In a sentence.
    pub detail: String,
}

/// One rule explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleExplained {
    /// Its id.
    pub id: Arc<str>,
    /// Its set, as `NAME@REVISION`.
    pub set: Arc<str>,
    /// `early` (before models) or `late`.
    pub phase: &'static str,
    /// Its category.
    pub category: Option<Category>,
    /// Its severity.
    pub severity: Option<Severity>,
    /// Whether it is snoozed.
    pub snoozed: bool,
    /// The objects that snooze it for the unit.
    pub snoozed_by: Vec<Arc<str>>,
    /// The facts that it reads.
    pub reads: Vec<NamedValue>,
    /// Of a miss, the first clause that is false.
    pub failing: Option<ClauseTrace>,
    /// Of an unknown, the causes.
    pub causes: Vec<CauseExplained>,
    /// Of a hit, what lists, names and tables matched.
    pub evidence: Vec<Evidence>,
}

/// A clause of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClauseTrace {
    /// As the rule writes it.
    pub text: Arc<str>,
    /// Where it begins, in characters from 1.
    pub column: u32,
}

/// Why a rule is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CauseExplained {
    /// The cause as a stable word.
    pub cause: &'static str,
    /// The cause in a sentence.
    pub text: String,
    /// The clause that is unknown.
    pub clause: Option<ClauseTrace>,
}

/// How a score came about: base and points are summed, then caps, then floors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointsTrace {
    /// Where it starts.
    pub base: i32,
    /// Points of rules and models.
    pub parts: Vec<PointsPart>,
    /// Base and points.
    pub sum: i64,
    /// The lowest cap.
    pub cap: Option<i32>,
    /// The highest floor; it wins over the cap.
    pub floor: Option<i32>,
    /// The score; `null` where it was switched off.
    pub score: Option<i32>,
    /// The segment whose thresholds hold; `null` is the flow's own.
    pub segment: Option<String>,
    /// The thresholds.
    pub thresholds: LevelThresholds,
    /// The level.
    pub level: Option<Level>,
}

/// What moved the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointsPart {
    /// `rule:ID`, `model:NAME@VERSION` or `ensemble:...`.
    pub source: Arc<str>,
    /// Points.
    pub points: Option<i32>,
    /// A floor.
    pub floor: Option<i32>,
    /// A cap.
    pub cap: Option<i32>,
}

/// Who asked for an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeTrace {
    /// `rule:ID`, `level:LEVEL`, `abstain:WHY`, `failure:STAGE`, `flow_off`.
    pub source: String,
    /// What it asked for.
    pub outcome: Outcome,
    /// Whether an allow took it away.
    pub suppressed: bool,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// It ran.
    Ran,
    /// It was not needed.
    NotNeeded,
    /// A flag switched it off.
    Off,
    /// It settled the decision.
    Settled,
    /// It failed, and the flow's policy held.
    Failed,
}
