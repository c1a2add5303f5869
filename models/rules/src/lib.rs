//! The rule language: compiler, index, three-valued evaluation and explanations.

mod compile;
mod explain;
mod facts;
mod findings;
mod limits;
mod mask;
mod rule;
mod scratch;
mod testing;

pub use compile::{CompiledRuleSet, Environment, compile};
pub use explain::{CauseTrace, Clause, FactRead, RuleTrace, Verdict};
pub use facts::{DerivedFacts, FactNames, FactValues, Slot};
pub use findings::{Finding, FindingKind};
pub use limits::RuleLimits;
pub use mask::RuleMask;
pub use rule::{
    Evaluation, EvaluationInput, Evidence, Hit, HitEffect, Phase, RuleInfo, UnknownCause,
    UnknownRule, WindowFunction, WindowRead,
};
pub use scratch::Scratch;
pub use testing::{TestReport, TestResult};
