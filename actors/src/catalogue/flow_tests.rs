//! The tests of whole flows, run against a state that compiled.
//!
//! Apart from the compilation, because they may run models: whoever asks says how.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use verdict_decisions::{FlowCoverage, FlowTestReport, TestScorer};

use super::{CatalogueObjects, CheckReport, CompileOptions, compile};
use crate::serving::{ServedFlow, ServingState};

/// The tests of one flow, run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowTests {
    /// The flow.
    pub flow: String,
    /// Results.
    pub report: FlowTestReport,
    /// What neither these tests nor those of the flow's rules reach.
    #[serde(skip)]
    pub unreached: FlowCoverage,
}

/// Checks a catalogue as [`super::check_catalogue`] does, and runs the tests of its flows with models.
#[must_use]
pub fn check_catalogue_with_models(
    objects: &CatalogueObjects,
    previous: Option<&ServingState>,
    limits: verdict_rules::RuleLimits,
    models: &dyn TestScorer,
) -> CheckReport {
    let compilation = compile(objects, previous, CompileOptions { limits, check: true });
    let mut report = compilation.report;
    if let Some(state) = &compilation.state {
        report.flow_tests = run_flow_tests(state, None, models);
    }
    report.refuse(objects.objects.iter().map(|(id, _)| id));
    report
}

/// Runs the tests of a state's flows, but for flows that another state shares with it unchanged.
pub(crate) fn run_flow_tests(
    state: &ServingState,
    unchanged: Option<&ServingState>,
    models: &dyn TestScorer,
) -> Vec<FlowTests> {
    let nothing = BTreeMap::new();
    let before = unchanged.map_or(&nothing, |state| &*state.flows);
    let shared = |name: &str, served: &Arc<ServedFlow>| {
        before.get(name).is_some_and(|before| Arc::ptr_eq(before, served))
    };
    let flows = state.flows.iter().filter(|(name, served)| !shared(name, served));
    flows.map(|(name, served)| run(name, served, state, models)).collect()
}

fn run(
    name: &str,
    served: &ServedFlow,
    state: &ServingState,
    models: &dyn TestScorer,
) -> FlowTests {
    let report = served.flow.run_tests(&state.flags, models);
    let mut reached = report.reached.clone();
    for tests in served.tests.get().into_iter().flat_map(|tests| tests.iter()) {
        let set = &tests.rule_set;
        reached.rules.extend(tests.report.hit.iter().map(|rule| (set.clone(), rule.clone())));
        reached.rows.extend(tests.report.rows.iter().cloned());
    }
    let unreached = served.flow.coverable(&state.flags).without(&reached);
    FlowTests { flow: name.to_owned(), report, unreached }
}
