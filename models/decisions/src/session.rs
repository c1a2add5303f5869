//! One decision in the making: a pure state machine that its caller drives.
//!
//! ```text
//! begin ── window_queries ── set_windows ── rules_job ── set_rules ─┐
//!                                                                   │
//!             ┌── model_calls ── set_output ... ── model_calls ─────┘   (again: fallbacks)
//!             └── conclude ── Decided
//! ```
//!
//! The session reads no clock, no window store and no model: it says what it needs, and whoever
//! drives it (a node, a replay, a backtest, a test) brings the answers. Every step may fail or stay
//! out, and the flow's policy says what follows; nothing here panics or blocks.

mod assess;
mod begin;
mod calls;
mod conclude;
pub(crate) mod evidence;
mod hits;
mod report;
pub(crate) mod rules;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use verdict_config::flags::FlagSet;
use verdict_config::model::{ModelOutput, ModelRow};
use verdict_config::{Code, EvaluationVersion, TimestampMs, Value};
use verdict_rules::WindowRead;

use crate::decision::Decision;
use crate::flow::CompiledFlow;
use crate::record::{DecisionRecord, RecordError};
use crate::request::DecideRequest;

pub(crate) use assess::{Answers, Assessment, Candidate, level_outcome};
pub(crate) use begin::{FlagValue, Given, ResolvedFlag};
pub(crate) use calls::{CLASSIFY, CallState, ModelUse, Planned};
pub use rules::{RulesJob, RulesResult};

/// What one model call costs, in cost units.
pub const MODEL_CALL_COST_UNITS: u64 = 1_000;
/// The most reasons, hits and unknown rules that an answer lists, each.
pub const REPORTED_MAX: usize = 200;
/// From this likeness on a name of a sanctions list blocks; below, it is at least a review and never
/// a block by itself.
pub const SANCTIONS_SETTLE_AT: f64 = 0.95;
/// The confidence from which on a rule's label and a model's can be in conflict, where the flow's
/// `min_confidence` is not higher.
pub const CONFLICT_CONFIDENCE_MIN: f64 = 0.5;

/// What a decision starts from.
#[derive(Debug)]
pub struct BeginOptions<'a> {
    /// The request.
    pub request: DecideRequest,
    /// The flags of the same revision as the flow.
    pub flags: &'a FlagSet,
    /// The region of the node.
    pub region: Option<&'a str>,
    /// The decision's id.
    pub id: Arc<str>,
    /// When the request came in.
    pub received_at: TimestampMs,
    /// The catalogue's revision.
    pub revision: u64,
    /// Snoozes beyond those that the flow was compiled with.
    pub snoozes: &'a [Snooze],
}

/// A rule that is not to count for one unit for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snooze {
    /// The rule, as answers name it.
    pub rule: String,
    /// The unit.
    pub key: String,
    /// From this time on the rule counts again.
    pub expires: TimestampMs,
    /// Why.
    pub comment: Option<String>,
}

/// A window that the flow's rules read, for the key of this request.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowQuery {
    /// The window; its canonical text identifies it within the flow.
    pub read: Arc<WindowRead>,
    /// The value of the window's key field.
    pub key: Value,
    pub(crate) position: usize,
}

/// What a decision adds to a window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowEvent {
    /// The window; its canonical text identifies it within the flow.
    pub read: Arc<WindowRead>,
    /// The value of the window's key field.
    pub key: Value,
    /// The value of its value field; none for a count, and where the field is absent.
    pub value: Option<Value>,
    /// The decision's `as_of`.
    pub at: TimestampMs,
}

/// One row for one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCall {
    /// The call's number in this session, for [`Session::set_output`].
    pub call: u32,
    /// The model's own name.
    pub model: Arc<str>,
    /// Content hash of the model's folder.
    pub content_hash: Arc<str>,
    /// The row.
    pub row: ModelRow,
    /// What the answer is for; the most important use, where several share the call.
    pub role: ModelRole,
    /// `classify`, or `scores.KEY`.
    pub stage: Arc<str>,
}

/// What a model's answer is for. Ordered from the most important to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// It counts, alone.
    Primary,
    /// It counts, with others.
    Ensemble,
    /// It stands in for one that failed.
    Fallback,
    /// It does not count.
    Shadow,
}

impl ModelRole {
    /// The role as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Ensemble => "ensemble",
            Self::Fallback => "fallback",
            Self::Shadow => "shadow",
        }
    }
}

/// Why a model gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelFailure {
    /// There is no such model here.
    Absent,
    /// Its inputs or labels do not fit the flow.
    Unfit,
    /// Its queue is full or its breaker is open.
    Overloaded,
    /// It did not answer in time.
    TimedOut,
    /// It failed, or answered what it may not.
    Failed,
    /// The cost budget was spent before it.
    Skipped,
}

impl ModelFailure {
    /// The failure as a stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Unfit => "unfit",
            Self::Overloaded => "overloaded",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Why the rules did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesFailure {
    /// A worker panicked.
    Failed,
    /// The pool's queue is full.
    Overloaded,
}

impl RulesFailure {
    const fn degraded(self) -> &'static str {
        match self {
            Self::Failed => "rules_failed",
            Self::Overloaded => "rules_overloaded",
        }
    }
}

/// The flow refuses to decide without its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flow decides only with its rules, and they did not run")]
pub struct RulesRefused {
    /// Why they did not run.
    pub failure: RulesFailure,
}

impl RulesRefused {
    /// The stable code: internal (500) or overloaded (429).
    #[must_use]
    pub const fn code(&self) -> Code {
        match self.failure {
            RulesFailure::Failed => Code::Internal,
            RulesFailure::Overloaded => Code::Overloaded,
        }
    }

    /// Whether trying again could help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.failure, RulesFailure::Overloaded)
    }
}

/// One decision in the making.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) given: Arc<Given>,
    pub(crate) queries: Vec<WindowQuery>,
    pub(crate) windows: Arc<Windows>,
    pub(crate) rules: Option<Result<RulesResult, RulesFailure>>,
    pub(crate) planned: Planned,
    pub(crate) uses: Vec<ModelUse>,
    pub(crate) calls: Vec<CallState>,
    pub(crate) budget_spent: bool,
}

/// What the windows answered, in the order of the flow's windows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Windows {
    pub values: Vec<Option<Value>>,
    pub lag_ms: Option<u64>,
    pub read: bool,
    /// A window that was read has not counted for as long as it is.
    pub partial: bool,
}

/// A decision that was made, before the node says how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The answer; `stale` and `took_us` are the caller's to set.
    pub decision: Decision,
    /// The record, without the answer's bytes until [`Decided::seal`].
    pub record: DecisionRecord,
    /// What the decision adds to windows; nothing where it is a test.
    pub window_events: Vec<WindowEvent>,
    /// The unit, for the key that the sensitive part is encrypted under.
    pub unit: Option<Arc<str>>,
}

/// A decision as it is sent and kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// The answer's JSON.
    pub answer: Vec<u8>,
    /// The record with the answer in it.
    pub record: DecisionRecord,
}

impl Decided {
    /// Writes the answer once, for the client and for the record.
    ///
    /// # Errors
    /// [`RecordError::Payload`], should the answer have no JSON form.
    pub fn seal(mut self, took_us: u64, stale: bool) -> Result<Sealed, RecordError> {
        self.decision.took_us = took_us;
        self.decision.stale = stale;
        let mut answer = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut answer, &self.decision)
            .map_err(|error| RecordError::Payload(error.to_string()))?;
        self.record.open.answer.clone_from(&answer);
        Ok(Sealed { answer, record: self.record })
    }
}

impl Session {
    /// The flow that decides.
    #[must_use]
    pub fn flow(&self) -> &Arc<CompiledFlow> {
        &self.given.flow
    }

    /// The time of the decision: windows are read as of it.
    #[must_use]
    pub fn as_of(&self) -> TimestampMs {
        self.given.as_of
    }

    /// The unit, if the request has one.
    #[must_use]
    pub fn unit(&self) -> Option<&Arc<str>> {
        self.given.unit.as_ref()
    }

    /// Windows whose values are needed. Those whose key is absent are unknown and not asked for.
    #[must_use]
    pub fn window_queries(&self) -> &[WindowQuery] {
        &self.queries
    }

    /// Takes the windows' values, in the order of [`Session::window_queries`], and how old the part
    /// of them may be that other nodes told (0 on one node). Missing values are unknown; values are
    /// brought to the type that the rules read.
    pub fn set_windows(&mut self, values: Vec<Option<Value>>, lag_ms: u64) {
        let mut by_window = vec![None; self.given.flow.windows.len()];
        for (query, value) in self.queries.iter().zip(values) {
            by_window[query.position] = value.and_then(|value| rules::typed(value, &query.read));
        }
        self.windows = Arc::new(Windows {
            values: by_window,
            lag_ms: Some(lag_ms),
            read: true,
            partial: false,
        });
    }

    /// Positions of the windows that are read, among those of the flow.
    pub fn window_positions(&self) -> impl Iterator<Item = usize> {
        self.queries.iter().map(|query| query.position)
    }

    /// Says that a window that was read has not counted for as long as it is: a change added it to a
    /// flow that had decided before. Call it after [`Session::set_windows`]. The first version of
    /// evaluation does not know it.
    pub fn mark_windows_partial(&mut self) {
        let known = self.given.flow.evaluation >= EvaluationVersion::V2;
        Arc::make_mut(&mut self.windows).partial = known;
    }

    /// What a model answered to a call. A second answer to one call is ignored, and so is one to a
    /// call that was never made.
    pub fn set_output(&mut self, call: u32, output: Result<ModelOutput, ModelFailure>) {
        if let Some(state) = self.calls.get_mut(call as usize)
            && state.result.is_none()
        {
            state.result = Some(output.and_then(|output| calls::checked(&state.model, output)));
        }
    }
}
