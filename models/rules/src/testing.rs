//! The tests that stand beside rules, and which rules no test hits.

use serde::Serialize;
use verdict_config::{Code, Fault, Faults};

/// The tests of one rule set, run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TestReport {
    /// Each test, in the order of the text.
    pub results: Vec<TestResult>,
    /// Ids of rules that no test makes hit, in rule order.
    pub never_hit: Vec<String>,
    /// How many rules the set has.
    pub rules: usize,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// Where it stands: `rules[3].tests[0]`.
    pub path: String,
    /// The rule's id.
    pub rule: String,
    /// What the test shows, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Each difference between what was expected and what came out; empty is a pass.
    pub failures: Vec<String>,
}

impl TestResult {
    /// Whether it passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl TestReport {
    /// How many tests passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.passed()).count()
    }

    /// Every failure as a fault, which blocks a publication.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let fault = |result: &TestResult, failure: &String| {
            let message = format!("rule {:?}: {failure}", result.rule);
            Fault::new(Code::RuleTestFailed, &result.path, message)
        };
        self.results
            .iter()
            .flat_map(|result| result.failures.iter().map(|failure| fault(result, failure)))
            .collect()
    }
}
