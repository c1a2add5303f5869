//! The rule language: compiler, index, three-valued evaluation and explanations.
//!
//! ```text
//! text ─ syntax ─▶ tree ─ check ─▶ typed tree ─ compile ─▶ arms ─ index ─▶ dimensions, residuals
//!                          │ names become slots                               │
//!                          ▼ atoms, lists, tables, windows shared             ▼
//!                      Resources ───────────────────────────────────▶ evaluate, explain
//! ```
//!
//! A rule set is compiled against a flow's schema, so a name that is wrong or two types that do not
//! fit are faults of the text and never of a request. An evaluation cannot fail: what has no value is
//! unknown, with a cause ([`UnknownCause`]), and every rule says what unknown means for it.
//!
//! The trade-off: all work that can be done when a set is published is done then, and the compiled
//! set is larger than its text. An evaluation looks each fact up once, whatever the number of rules,
//! and visits only rules that no single fact makes false.
//!
//! ```
//! use std::collections::BTreeMap;
//! use verdict_config::definition::RuleSetDefinition;
//! use verdict_config::{Schema, TimestampMs};
//! use verdict_rules::*;
//!
//! let fields = serde_json::from_str(r#"{ "amount": { "type": "decimal" } }"#)?;
//! let schema = Schema::new(&fields);
//! let definition: RuleSetDefinition = serde_json::from_str(
//!     r#"{ "rule_set": "payment", "flow": "payment", "rules": [
//!          { "id": "large", "when": "amount > 1000.50", "then": { "points": 100 } } ] }"#,
//! )?;
//! let (derived, lists, tables) = (DerivedFacts::default(), BTreeMap::new(), BTreeMap::new());
//! let limits = RuleLimits::default();
//! let environment =
//!     Environment { schema: &schema, derived: &derived, lists: &lists, tables: &tables, limits };
//! let set = compile(&definition, &environment).map_err(|faults| faults[0].to_string())?;
//!
//! let input = serde_json::from_str(r#"{ "amount": "2000" }"#)?;
//! let facts = schema.read(&input).map_err(|faults| faults[0].to_string())?;
//! let none = RuleMask::none();
//! let input = EvaluationInput {
//!     facts: &facts, derived: &[], windows: &[], as_of: TimestampMs(0),
//!     disabled: &none, snoozed: &none, cost_units_limit: u64::MAX,
//! };
//! let evaluation = set.evaluate(Phase::Early, &input, &mut Scratch::new());
//! let effect = set.effect(&evaluation, &evaluation.hits[0]);
//! assert_eq!(effect.points, Some(100));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod keywords;
pub mod lists;
pub mod names;
pub mod tables;
pub mod window;

mod arithmetic;
mod calendar;
mod check;
mod compile;
mod cost;
mod duration;
mod evaluate;
mod evaluation;
mod explain;
mod expression;
mod facts;
mod findings;
mod folding;
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
pub use evaluation::{Evaluation, Hit, UnknownRule};
pub use explain::{CauseTrace, Clause, FactRead, RuleTrace, Verdict};
pub use facts::{DerivedFacts, FactNames, FactValues, Slot};
pub use findings::{Finding, FindingKind};
pub use folding::is_invisible;
pub use limits::RuleLimits;
pub use mask::RuleMask;
pub use rule::{
    EvaluationInput, Evidence, HitEffect, Phase, RuleInfo, UnknownCause, WindowFunction, WindowRead,
};
pub use scratch::Scratch;
pub use set::CompiledRuleSet;
pub use syntax::parse_expression;
pub use testing::{TestReport, TestResult};
