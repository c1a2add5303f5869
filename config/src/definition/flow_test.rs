//! Tests of whole flows as they are written.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Level, Outcome};
use crate::TimestampMs;

/// The most tests of one flow.
pub const FLOW_TESTS_MAX: usize = 200;
/// The most bytes that the tests of one flow have as JSON.
pub const FLOW_TESTS_BYTES_MAX: usize = 256 << 10;

/// A test of a whole flow: one request, and what must come out. A flow whose test fails is not
/// published.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowTest {
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The request's input, by field.
    pub input: IndexMap<String, Json>,
    /// The request's unit, where the flow's unit field does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The time of the decision; 2026-01-01 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<TimestampMs>,
    /// Window values by the text of the call, for example `window_count("24h", card_id): 7`; `null`
    /// is unknown. A window that is not named has counted nothing.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub windows: IndexMap<String, Json>,
    /// What models answer, by the model's name: the probability of the label that the score reads, a
    /// probability for each label, or a failure (`absent`, `overloaded`, `timed_out`, `failed`). A
    /// model that is not named is run.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub models: IndexMap<String, Json>,
    /// Variants that flags give, by key. A flag that is not named is evaluated for the request.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub flags: IndexMap<String, String>,
    /// What must come out.
    pub expect: FlowExpectation,
}

/// What a flow's test expects. Parts that are absent are not compared, but for `degraded`: where it is
/// absent, nothing may be degraded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowExpectation {
    /// The outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The level of the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i32>,
    /// The label of the classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// All reason codes, in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
    /// All reasons for an abstention, in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstained: Option<Vec<String>>,
    /// All that is degraded, in any order; nothing if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Vec<String>>,
}
