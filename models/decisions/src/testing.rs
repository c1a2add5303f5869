//! The tests of whole flows: each is one request that is decided as a node decides it, without a node.
//!
//! A test says what it does not leave to the flow: window values, answers of models, variants of
//! flags. What it leaves is evaluated (flags, rules) or run (models, by whoever calls). A kill switch
//! of a flag is not applied, so that what an operator switches off in an emergency never makes a test
//! fail and so blocks the change that repairs it.

mod coverage;
mod expect;
mod models;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use verdict_config::definition::{FLOW_TESTS_BYTES_MAX, FLOW_TESTS_MAX, FlowTest};
use verdict_config::flags::FlagSet;
use verdict_config::model::ModelOutput;
use verdict_config::schema::read_value;
use verdict_config::{Code, Fault, Faults, Field, TimestampMs, Value};
use verdict_rules::window::{WindowMeasure, WindowSeries, WindowSpan};
use verdict_rules::{Scratch, WindowRead};

use crate::flow::CompiledFlow;
use crate::request::DecideRequest;
use crate::session::{BeginOptions, ModelCall, ModelFailure, Session};

pub use coverage::FlowCoverage;
use models::GivenAnswers;

/// The time of a test that names none: 2026-01-01T00:00:00Z.
const AS_OF_DEFAULT: TimestampMs = TimestampMs(1_767_225_600_000);
/// The most characters of an input that a failure shows.
const INPUT_CHARS_SHOWN: usize = 600;
/// Rounds of model calls: selections, then fallbacks.
const ROUNDS_MAX: usize = 3;

/// Runs the models that a test does not answer for.
pub trait TestScorer {
    /// The answer of a model to a row.
    ///
    /// # Errors
    /// Why the model cannot be run here, in a few words.
    fn score(&self, call: &ModelCall) -> Result<ModelOutput, String>;
}

/// No models: a test must answer for each model that its request reaches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModels;

impl TestScorer for NoModels {
    fn score(&self, _: &ModelCall) -> Result<ModelOutput, String> {
        Err("no models are loaded here".to_owned())
    }
}

/// The tests of one flow, run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FlowTestReport {
    /// Each test, in the order of the text.
    pub results: Vec<FlowTestResult>,
    /// What the tests reached.
    #[serde(skip)]
    pub reached: FlowCoverage,
    /// Whether each model that was needed could be run.
    #[serde(skip)]
    pub models_ran: bool,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowTestResult {
    /// Where it stands: `tests[3]`.
    pub path: String,
    /// What the test shows, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Each difference between what was expected and what came out; empty is a pass.
    pub failures: Vec<String>,
    /// The input, as JSON text cut to a readable length, where the test failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

impl FlowTestResult {
    /// Whether it passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl FlowTestReport {
    /// How many tests passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.passed()).count()
    }

    /// One fault for each test that failed, which blocks a publication: its description, its
    /// differences and its input.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let fault = |result: &FlowTestResult| {
            let shown = result.description.as_ref();
            let description = shown.map_or(String::new(), |text| format!("{text:?}: "));
            let input = result.input.as_deref().unwrap_or_default();
            let message = format!("{description}{}; input {input}", result.failures.join("; "));
            Fault::new(Code::FlowTestFailed, &result.path, message)
        };
        self.results.iter().filter(|result| !result.passed()).map(fault).collect()
    }
}

/// Faults of a flow's tests that need no run: there are too many, or too long.
pub(crate) fn check_sizes(tests: &[FlowTest]) -> Option<Fault> {
    if tests.len() > FLOW_TESTS_MAX {
        let message = format!("a flow has at most {FLOW_TESTS_MAX} tests, got {}", tests.len());
        return Some(Fault::new(Code::LimitExceeded, "tests", message));
    }
    let bytes = serde_json::to_vec(tests).map_or(0, |text| text.len());
    (bytes > FLOW_TESTS_BYTES_MAX).then(|| {
        let message = format!(
            "the tests of a flow have at most {FLOW_TESTS_BYTES_MAX} bytes as JSON, got {bytes}"
        );
        Fault::new(Code::LimitExceeded, "tests", message)
    })
}

impl CompiledFlow {
    /// Runs the flow's tests against flags, with the models of `scorer`.
    #[must_use]
    pub fn run_tests(self: &Arc<Self>, flags: &FlagSet, scorer: &dyn TestScorer) -> FlowTestReport {
        let mut report = FlowTestReport { models_ran: true, ..FlowTestReport::default() };
        let mut scratch = Scratch::default();
        for (position, test) in self.definition.tests.iter().enumerate() {
            let mut run = TestRun { flow: self, test, scorer, models_ran: true };
            let failures = match run.decide(flags, &mut scratch) {
                Ok((mut failures, session)) => {
                    let decision = session.decide(&mut scratch);
                    failures.extend(expect::differences(&test.expect, &decision));
                    report.reached.add(&session, &mut scratch);
                    failures
                }
                Err(failures) => failures,
            };
            report.models_ran &= run.models_ran;
            let input = (!failures.is_empty()).then(|| shown_input(test));
            report.results.push(FlowTestResult {
                path: format!("tests[{position}]"),
                description: test.description.clone(),
                failures,
                input,
            });
        }
        report
    }
}

fn shown_input(test: &FlowTest) -> String {
    let text = serde_json::to_string(&test.input).unwrap_or_default();
    match text.char_indices().nth(INPUT_CHARS_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

struct TestRun<'a> {
    flow: &'a Arc<CompiledFlow>,
    test: &'a FlowTest,
    scorer: &'a dyn TestScorer,
    models_ran: bool,
}

impl TestRun<'_> {
    /// A session that is ready to be concluded, and what went wrong on the way without ending it.
    fn decide(
        &mut self,
        flags: &FlagSet,
        scratch: &mut Scratch,
    ) -> Result<(Vec<String>, Session), Vec<String>> {
        let mut failures = self.unknown_flags(flags);
        let answers = GivenAnswers::read(self.flow, self.test, &mut failures);
        if !failures.is_empty() {
            return Err(failures);
        }
        let mut session = self.begin(flags)?;
        let windows = self.windows(&session, &mut failures);
        if !failures.is_empty() {
            return Err(failures);
        }
        session.set_windows(windows, 0);
        session.run_rules(scratch);
        for _ in 0..ROUNDS_MAX {
            let calls = session.model_calls();
            if calls.is_empty() {
                break;
            }
            for call in calls {
                let output = self.answer(&answers, &call, &mut failures);
                session.set_output(call.call, output);
            }
        }
        Ok((failures, session))
    }

    fn begin(&self, flags: &FlagSet) -> Result<Session, Vec<String>> {
        let input: Map<String, Json> =
            self.test.input.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let as_of = self.test.as_of.unwrap_or(AS_OF_DEFAULT);
        let unit = self.test.unit.clone();
        let request = DecideRequest {
            input,
            request_id: None,
            unit,
            as_of: Some(as_of),
            test: true,
            exact: Default::default(),
        };
        let options = BeginOptions {
            request,
            flags,
            region: None,
            id: "test".into(),
            received_at: as_of,
            revision: 0,
            snoozes: &[],
        };
        let pinned = |key: &str| self.test.flags.get(key).map(String::as_str);
        self.flow.begin_test(options, pinned).map_err(|rejected| {
            let faults = rejected.faults.iter();
            faults.map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
        })
    }

    fn unknown_flags(&self, flags: &FlagSet) -> Vec<String> {
        let mut failures = Vec::new();
        for (key, variant) in &self.test.flags {
            if !self.flow.flags.iter().any(|known| known.as_ref() == key) {
                failures.push(format!("flags.{key}: the flow reads no such flag"));
                continue;
            }
            let variants = flags.variant_reach(key);
            if !variants.iter().any(|known| known.name == variant) {
                let names: Vec<&str> = variants.iter().map(|known| known.name).collect();
                let known = names.join(", ");
                failures.push(format!("flags.{key}: {variant:?} is no variant; there are {known}"));
            }
        }
        failures
    }

    /// The windows' values in the order of the session's queries.
    fn windows(&self, session: &Session, failures: &mut Vec<String>) -> Vec<Option<Value>> {
        let mut given: Vec<(String, &String, &Json)> = Vec::new();
        for (text, value) in &self.test.windows {
            let canonical = self.flow.canonical_window(text);
            let known = self.flow.windows.iter().any(|window| window.text == canonical);
            let asked = session.window_queries().iter().any(|query| query.read.text == canonical);
            if known && asked {
                given.push((canonical, text, value));
            } else if known {
                let message = "the input has no value for the field that the window counts by";
                failures.push(format!("windows.{text}: {message}"));
            } else {
                let names: Vec<&str> =
                    self.flow.windows.iter().map(|window| window.text.as_str()).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                failures.push(format!(
                    "windows.{text}: the flow reads no such window; it reads {known}"
                ));
            }
        }
        let as_of = session.as_of();
        let queries = session.window_queries().iter();
        queries
            .map(|query| {
                let found = given.iter().find(|(canonical, ..)| *canonical == query.read.text);
                match found {
                    None => empty_window(&query.read, as_of),
                    Some((_, _, Json::Null)) => None,
                    Some((_, text, value)) => {
                        let field = Field::plain(query.read.result);
                        let read = read_value(&field, value);
                        let failed =
                            |(_, message)| failures.push(format!("windows.{text}: {message}"));
                        read.map_err(failed).ok()
                    }
                }
            })
            .collect()
    }

    fn answer(
        &mut self,
        answers: &GivenAnswers,
        call: &ModelCall,
        failures: &mut Vec<String>,
    ) -> Result<ModelOutput, ModelFailure> {
        if let Some(answer) = answers.to(self.flow, call) {
            return answer.unwrap_or_else(|message| {
                failures.push(message);
                Err(ModelFailure::Absent)
            });
        }
        self.scorer.score(call).map_err(|why| {
            self.models_ran = false;
            failures.push(format!(
                "model {} cannot be run ({why}): say what it answers under models",
                call.model
            ));
            ModelFailure::Absent
        })
    }
}

/// What a window says before anything was counted.
fn empty_window(read: &WindowRead, as_of: TimestampMs) -> Option<Value> {
    let series =
        WindowSeries::new(WindowSpan::new(read.window_ms)?, WindowMeasure::of(read.function));
    series.read(read.function, read.result, as_of).value.ok()
}
