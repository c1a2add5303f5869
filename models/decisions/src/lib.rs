//! Decisions: flows from a request to an answer, with its record, its replay and its explanation.
//!
//! A [`CompiledFlow`] is a flow with everything that it names resolved. [`CompiledFlow::begin`] opens a
//! [`Session`] for one request; whoever drives it brings window values, runs the rules, asks the
//! models, and concludes. Nothing in this crate reads a clock, a store or a model, so a node, a
//! replay, a backtest and a test oracle share every line of it.
//!
//! Everything that is combined commutes: points are summed, outcomes and floors are maxima, caps are
//! minima. The order of rules, sets and models can therefore not change an answer.

pub mod backtest;
pub mod canonical;
pub mod decision;
pub mod ensemble;
pub mod explain;
pub mod flow;
pub mod parts;
pub mod record;
pub mod replay;
pub mod request;
pub mod score;
pub mod session;
pub mod testing;

pub use decision::Decision;
pub use explain::{ExplainOptions, Explanation, explain};
pub use flow::{CompiledFlow, FlowError, FlowFinding, ModelMisfit};
pub use parts::{FlowParts, ModelInterface, RuleSetPart};
pub use record::{DecisionRecord, OpenRecord, RecordError, SensitiveRecord};
pub use replay::{ReplayError, ReplayOptions, Replayed, replay};
pub use request::{DecideRequest, JSON_DEPTH_MAX, RequestRejected};
pub use session::{
    BeginOptions, Decided, MODEL_CALL_COST_UNITS, ModelCall, ModelFailure, ModelRole, REPORTED_MAX,
    RulesFailure, RulesRefused, Sealed, Session, Snooze, WindowEvent, WindowQuery,
};
pub use testing::{FlowCoverage, FlowTestReport, FlowTestResult, NoModels, TestScorer};
