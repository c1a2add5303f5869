//! What a check found.

use serde::Serialize;
use verdict_config::{Fault, Faults, ObjectId, Refusal};
use verdict_rules::TestReport;

use super::FlowTests;

/// A fault of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectFault {
    /// The object.
    pub object: ObjectId,
    /// What is wrong, with the path into the object.
    pub fault: Fault,
}

/// Something suspicious about an object that nevertheless compiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectFinding {
    /// The object.
    pub object: ObjectId,
    /// `dead`, `shadowed`, `contradictory`, `table_gap`, `flow` and so on.
    pub kind: String,
    /// Where in the object.
    pub path: String,
    /// What is suspicious and what would be right, in a sentence.
    pub message: String,
    /// Present where the next change of the objects concerned is refused for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

impl ObjectFinding {
    /// A finding that refuses nothing.
    #[must_use]
    pub fn new(object: ObjectId, kind: &str, path: String, message: String) -> Self {
        Self { object, kind: kind.to_owned(), path, message, refusal: None }
    }

    /// The fault that changes of an object get for this finding, if it refuses them.
    #[must_use]
    pub fn fault_for(&self, changed: &ObjectId) -> Option<Fault> {
        let refusal = self.refusal.as_ref()?;
        let concerns = match refusal.objects.as_slice() {
            [] => self.object == *changed,
            objects => objects.contains(changed),
        };
        let path = if self.object == *changed { self.path.as_str() } else { "" };
        concerns.then(|| Fault::new(refusal.code, path, self.message.as_str()))
    }
}

/// The tests of one rule set, run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleSetTests {
    /// The rule set.
    pub rule_set: String,
    /// Results, and the rules that no test hits.
    pub report: TestReport,
}

/// What a check of a whole catalogue found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// How many objects there are.
    pub objects: usize,
    /// How many rules there are.
    pub rules: usize,
    /// Every fault; with one of them nothing is served.
    pub faults: Vec<ObjectFault>,
    /// What is suspicious.
    pub findings: Vec<ObjectFinding>,
    /// The rule sets' own tests, by name; empty where they were not run.
    pub tests: Vec<RuleSetTests>,
    /// The flows' own tests, by name; empty where they were not run.
    pub flow_tests: Vec<FlowTests>,
}

impl CheckReport {
    /// Whether the catalogue can be served and its tests pass.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.tests_failed() == 0
    }

    /// Makes faults of the findings that refuse changes of the objects in `changed`.
    pub fn refuse<'a>(&mut self, changed: impl IntoIterator<Item = &'a ObjectId>) {
        for id in changed {
            for finding in &self.findings {
                if let Some(fault) = finding.fault_for(id) {
                    self.faults.push(ObjectFault { object: id.clone(), fault });
                }
            }
        }
    }

    /// Tests that were run.
    #[must_use]
    pub fn tests_run(&self) -> usize {
        let of_flows = self.flow_tests.iter().map(|tests| tests.report.results.len());
        self.tests.iter().map(|tests| tests.report.results.len()).chain(of_flows).sum()
    }

    /// Tests that failed.
    #[must_use]
    pub fn tests_failed(&self) -> usize {
        let failed = |tests: &RuleSetTests| tests.report.results.len() - tests.report.passed();
        let failed_flow = |tests: &FlowTests| tests.report.results.len() - tests.report.passed();
        self.tests.iter().map(failed).chain(self.flow_tests.iter().map(failed_flow)).sum()
    }

    /// Rules that no test hits, as `RULE_SET/RULE`.
    #[must_use]
    pub fn never_hit(&self) -> Vec<String> {
        let names = |tests: &RuleSetTests| {
            let set = tests.rule_set.clone();
            tests.report.never_hit.clone().into_iter().map(move |rule| format!("{set}/{rule}"))
        };
        self.tests.iter().flat_map(names).collect()
    }

    /// Faults, and failed tests as faults, with the object in front of the path:
    /// `rule_set/NAME.rules[3].when`.
    #[must_use]
    pub fn to_faults(&self) -> Faults {
        self.blocking()
            .into_iter()
            .map(|ObjectFault { object, fault }| fault.under(&object.to_string()))
            .collect()
    }

    /// Faults, and failed tests as faults, by object.
    #[must_use]
    pub fn blocking(&self) -> Vec<ObjectFault> {
        let mut all = self.faults.clone();
        for tests in &self.flow_tests {
            let kind = verdict_config::ObjectKind::Flow;
            let Ok(name) = verdict_config::ObjectName::new(kind, tests.flow.as_str()) else {
                continue;
            };
            let faults = tests.report.faults().into_iter();
            all.extend(
                faults.map(|fault| ObjectFault {
                    object: ObjectId { kind, name: name.clone() },
                    fault,
                }),
            );
        }
        for tests in &self.tests {
            let name = verdict_config::ObjectName::new(
                verdict_config::ObjectKind::RuleSet,
                tests.rule_set.as_str(),
            );
            let Ok(name) = name else { continue };
            let object = ObjectId { kind: verdict_config::ObjectKind::RuleSet, name };
            let faults = tests.report.faults();
            all.extend(
                faults.into_iter().map(|fault| ObjectFault { object: object.clone(), fault }),
            );
        }
        all
    }
}
