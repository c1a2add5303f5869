//! Requests for decisions, and what they answer as a whole.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Decision;

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
    Problem(crate::http::openapi::answers::Problem),
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
    /// Whether rules evaluated by another version than that of the record.
    evaluation_changed: bool,
    /// The versions by which rules evaluated: `{"recorded", "replayed"}`.
    #[schema(value_type = Object)]
    evaluation: serde_json::Value,
}
