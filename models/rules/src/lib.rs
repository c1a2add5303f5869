//! The rule language: compiler, index, three-valued evaluation and explanations.

pub mod keywords;
pub mod lists;
pub mod names;
pub mod tables;
pub mod window;

mod arithmetic;
mod check;
mod compile;
mod cost;
mod duration;
mod evaluate;
mod explain;
mod expression;
mod facts;
mod findings;
mod index;
mod limits;
mod mask;
mod resources;
mod rule;
mod scratch;
mod set;
pub mod syntax;
mod testing;

pub use compile::{Environment, compile};
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
pub use set::CompiledRuleSet;
pub use syntax::parse_expression;
pub use testing::{TestReport, TestResult};
