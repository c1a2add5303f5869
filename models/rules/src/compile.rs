//! From a rule set as it is written to one that can be evaluated.

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::definition::{ListDefinition, RuleSetDefinition, TableDefinition};
use verdict_config::{Faults, Schema};

use crate::{
    DerivedFacts, Evaluation, EvaluationInput, Finding, Phase, RuleInfo, RuleLimits, RuleTrace,
    Scratch, Slot, TestReport, WindowRead,
};

/// What a rule set is compiled against.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The flow's fields.
    pub schema: &'a Schema,
    /// The facts that the flow's stages derive.
    pub derived: &'a DerivedFacts,
    /// Lists by name.
    pub lists: &'a BTreeMap<String, Arc<ListDefinition>>,
    /// Tables by name.
    pub tables: &'a BTreeMap<String, Arc<TableDefinition>>,
    /// The bounds.
    pub limits: RuleLimits,
}

/// A rule set that can be evaluated: immutable, shared by any number of threads.
#[derive(Debug)]
pub struct CompiledRuleSet {
    name: Arc<str>,
    content_hash: Arc<str>,
    rules: Vec<RuleInfo>,
    windows: Vec<WindowRead>,
    findings: Vec<Finding>,
    cost_units_max: u64,
}

/// Compiles a rule set.
///
/// # Errors
/// Every fault of every rule, each with the path of the rule (`rules[3].when`) and the column.
pub fn compile(
    _definition: &RuleSetDefinition,
    _environment: &Environment<'_>,
) -> Result<CompiledRuleSet, Faults> {
    Err(Faults::new())
}

impl CompiledRuleSet {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// SHA-256 in hexadecimal over its definition and the lists and tables that it reads.
    #[must_use]
    pub fn content_hash(&self) -> &Arc<str> {
        &self.content_hash
    }

    /// Its rules; a rule's position is its number.
    #[must_use]
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    /// The windows it reads, without repetition.
    #[must_use]
    pub fn windows(&self) -> &[WindowRead] {
        &self.windows
    }

    /// What both phases together cost in the worst case.
    #[must_use]
    pub fn cost_units_max(&self) -> u64 {
        self.cost_units_max
    }

    /// What is suspicious about it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether any rule runs after models.
    #[must_use]
    pub fn has_late(&self) -> bool {
        self.rules.iter().any(|rule| rule.phase == Phase::Late)
    }

    /// The name of a slot: field, derived fact, or a window's canonical text.
    #[must_use]
    pub fn slot_name(&self, _slot: Slot) -> &str {
        ""
    }

    /// Evaluates the rules of one phase.
    #[must_use]
    pub fn evaluate(
        &self,
        _phase: Phase,
        _input: &EvaluationInput<'_>,
        _scratch: &mut Scratch,
    ) -> Evaluation {
        Evaluation::default()
    }

    /// The absent facts that make a rule unknown, by slot in the order of the text.
    #[must_use]
    pub fn missing(&self, _rule: u32, _input: &EvaluationInput<'_>) -> Vec<Slot> {
        Vec::new()
    }

    /// Explains every rule, of both phases.
    #[must_use]
    pub fn explain(&self, _input: &EvaluationInput<'_>) -> Vec<RuleTrace> {
        Vec::new()
    }

    /// Runs the tests that stand beside the rules of the definition this set was compiled from.
    #[must_use]
    pub fn run_tests(&self, _definition: &RuleSetDefinition) -> TestReport {
        TestReport::default()
    }
}
