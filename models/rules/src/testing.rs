//! The tests that stand beside rules, and which rules no test hits.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value as Json;
use verdict_config::definition::UnknownPolicy;
use verdict_config::definition::{Expectation, Outcome, RuleSetDefinition, RuleTest};
use verdict_config::schema::{Field, read_value};
use verdict_config::{Code, Facts, Fault, Faults, TimestampMs, Value};

use crate::syntax::{NodeKind, parse_expression_within};
use crate::{
    CompiledRuleSet, Evaluation, EvaluationInput, Evidence, FactRead, Hit, HitEffect, Phase,
    RuleMask, Scratch, WindowFunction,
};

/// The time of a test that names none: 2026-01-01T00:00:00Z.
const AS_OF_DEFAULT: TimestampMs = TimestampMs(1_767_225_600_000);

/// The tests of one rule set, run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TestReport {
    /// Each test, in the order of the text.
    pub results: Vec<TestResult>,
    /// Ids of rules that no test makes hit, in rule order.
    pub never_hit: Vec<String>,
    /// How many rules the set has.
    pub rules: usize,
    /// Ids of rules that a test makes hit.
    #[serde(skip)]
    pub hit: BTreeSet<String>,
    /// Rows of tables that a test makes a rule hit by, by table, from 1.
    #[serde(skip)]
    pub rows: BTreeSet<(String, u32)>,
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
    /// What the rule read and which part of its condition is not true, of a test that fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
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
        let fault = |result: &TestResult, (position, failure): (usize, &String)| {
            let test = result.description.as_ref();
            let test = test.map(|text| format!(", test {text:?}")).unwrap_or_default();
            // Once a test is enough.
            let read = result.read.as_ref().filter(|_| position == 0);
            let read = read.map(|text| format!(". {text}")).unwrap_or_default();
            let message = format!("rule {:?}{test}: {failure}{read}", result.rule);
            Fault::new(Code::RuleTestFailed, &result.path, message)
        };
        self.results
            .iter()
            .flat_map(|result| {
                result.failures.iter().enumerate().map(|failure| fault(result, failure))
            })
            .collect()
    }
}

/// The typed input of one test.
struct TestInput {
    facts: Facts,
    derived: Vec<Option<Value>>,
    windows: Vec<Option<Value>>,
}

impl CompiledRuleSet {
    /// Runs the tests that stand beside the rules. `definition` is what this set was compiled from.
    ///
    /// A test sees its own rule only: others may hit or not. A rule counts as hit if any test of any
    /// rule makes it hit.
    #[must_use]
    pub fn run_tests(&self, definition: &RuleSetDefinition) -> TestReport {
        let mut report = TestReport { rules: self.rules().len(), ..TestReport::default() };
        let mut scratch = Scratch::new();
        let mut hit = vec![false; self.rules().len()];
        for (at, rule) in definition.rules.iter().enumerate() {
            let number = crate::resources::position(at);
            for (test_at, test) in rule.tests.iter().enumerate() {
                let mut read = None;
                let failures = match self.test_input(test) {
                    Ok(input) => {
                        let evaluation = self.run_test(test, &input, &mut scratch);
                        for found in evaluation.hits.iter().filter(|found| !found.as_unknown) {
                            if let Some(hit) = hit.get_mut(found.rule as usize) {
                                *hit = true;
                            }
                            report.rows.extend(rows_of(&evaluation, found));
                        }
                        let failures = self.differences(number, &test.expect, &evaluation);
                        read = (!failures.is_empty()).then(|| self.read_text(number, test, &input));
                        failures
                    }
                    Err(failures) => failures,
                };
                report.results.push(TestResult {
                    path: format!("rules[{at}].tests[{test_at}]"),
                    rule: rule.id.clone(),
                    description: test.description.clone(),
                    failures,
                    read,
                });
            }
        }
        for (rule, hit) in self.rules().iter().zip(hit) {
            let id = rule.id.to_string();
            if hit {
                report.hit.insert(id);
            } else {
                report.never_hit.push(id);
            }
        }
        report
    }

    /// What a rule read in a test, and the first part of its condition that is not true.
    fn read_text(&self, rule: u32, test: &RuleTest, input: &TestInput) -> String {
        let none = RuleMask::none();
        let traces = self.explain(&evaluation_input(test, input, &none));
        let Some(trace) = traces.into_iter().find(|trace| trace.rule == rule) else {
            return String::new();
        };
        let value = |read: &FactRead| match &read.value {
            Some(value) => format!("{} = {}", read.name, shown_value(value)),
            None => format!("{} is absent", read.name),
        };
        let reads: Vec<String> = trace.reads.iter().map(value).collect();
        let reads = if reads.is_empty() { "nothing".to_owned() } else { reads.join(", ") };
        match trace.failing {
            Some(clause) => format!("It read {reads}; not true is `{}`", clause.text),
            None => format!("It read {reads}"),
        }
    }

    fn run_test(&self, test: &RuleTest, input: &TestInput, scratch: &mut Scratch) -> Evaluation {
        let none = RuleMask::none();
        let input = evaluation_input(test, input, &none);
        let mut evaluation = self.evaluate(Phase::Early, &input, scratch);
        let late = self.evaluate(Phase::Late, &input, scratch);
        evaluation.append(late);
        evaluation
    }

    fn test_input(&self, test: &RuleTest) -> Result<TestInput, Vec<String>> {
        let mut failures = Vec::new();
        let mut input = TestInput {
            facts: Facts { slots: vec![None; self.schema.fields().len()] },
            derived: vec![None; self.derived.len()],
            windows: vec![None; self.windows().len()],
        };
        for (name, json) in &test.given {
            let slot = self.schema.slot(name);
            match slot.and_then(|slot| Some((slot, self.schema.field(slot)?.1))) {
                Some((slot, field)) => {
                    let value = test_value(field, json, &format!("given.{name}"), &mut failures);
                    input.facts.slots[slot as usize] = value;
                }
                None => {
                    let known = self.schema.fields().map(|(name, _)| name);
                    let message = crate::resources::unknown_name("field", name, known);
                    failures.push(format!("given.{name}: {message}"));
                }
            }
        }
        for (name, json) in &test.facts {
            match self.derived.find(name) {
                Some((position, field_type)) => {
                    let field = Field::plain(field_type);
                    let value = test_value(&field, json, &format!("facts.{name}"), &mut failures);
                    input.derived[position] = value;
                }
                None => {
                    let known = self.derived.iter().map(|(name, _)| name);
                    let message = crate::resources::unknown_name("derived fact", name, known);
                    failures.push(format!("facts.{name}: {message}"));
                }
            }
        }
        for (text, json) in &test.windows {
            let canonical = self.canonical_window(text);
            let found = self.windows().iter().position(|window| window.text == canonical);
            match found {
                Some(position) => {
                    let field = Field::plain(self.windows()[position].result);
                    let path = format!("windows.{text}");
                    input.windows[position] = test_value(&field, json, &path, &mut failures);
                }
                None => {
                    let known = self.windows().iter().map(|window| window.text.as_str());
                    let message = crate::resources::unknown_name("window", text, known);
                    failures.push(format!("windows.{text}: {message}"));
                }
            }
        }
        if failures.is_empty() { Ok(input) } else { Err(failures) }
    }

    /// A window call in its canonical text, however a test spells it.
    #[must_use]
    pub fn canonical_window(&self, text: &str) -> String {
        let canonical = || {
            let node = parse_expression_within(text, &self.limits).ok()?;
            let NodeKind::Call(name, arguments) = &node.kind else { return None };
            WindowFunction::ALL.into_iter().find(|known| known.as_str() == &**name)?;
            let [length, rest @ ..] = &**arguments else { return None };
            let NodeKind::Text(length) = &length.kind else { return None };
            let milliseconds = u64::try_from(crate::duration::parse_ms(length)?).ok()?;
            let length = crate::duration::canonical(milliseconds);
            let rest: Vec<String> = rest.iter().map(|argument| format!(", {argument}")).collect();
            Some(format!("{name}(\"{length}\"{})", rest.concat()))
        };
        canonical().unwrap_or_else(|| text.to_owned())
    }

    fn differences(
        &self,
        rule: u32,
        expected: &Expectation,
        evaluation: &Evaluation,
    ) -> Vec<String> {
        let mut failures = Vec::new();
        let hits: Vec<_> = evaluation.hits.iter().filter(|hit| hit.rule == rule).collect();
        let effects = || hits.iter().map(|hit| self.effect(evaluation, hit));
        let unknown = evaluation.unknown.iter().find(|unknown| unknown.rule == rule);
        let because = unknown.map_or(String::new(), |unknown| {
            format!(" (its condition is unknown: {})", self.describe_cause(unknown.cause))
        });
        let mut compare = |what: &str, expected: String, got: String| {
            if expected != got {
                failures.push(format!("expected {what} {expected}, got {got}{because}"));
            }
        };
        if let Some(hit) = expected.hit {
            // A rule whose unknown counts as review or decline did not hit: it only asks for it.
            let counts = self.rules()[rule as usize].unknown == UnknownPolicy::Match;
            let got = hits.iter().any(|hit| counts || !hit.as_unknown);
            compare("hit", hit.to_string(), got.to_string());
        }
        if let Some(expected) = expected.unknown {
            compare("unknown", expected.to_string(), unknown.is_some().to_string());
        }
        if let Some(points) = expected.points {
            let got: i64 = effects().filter_map(|effect| effect.points).map(i64::from).sum();
            compare("points", points.to_string(), got.to_string());
        }
        if let Some(outcome) = expected.outcome {
            let got = effects().filter_map(|effect| effect.outcome).max();
            compare("outcome", outcome.to_string(), shown_outcome(got));
        }
        if let Some(label) = &expected.label {
            let best = |a: f64, b: f64| a.total_cmp(&b);
            let labelled = effects().filter_map(|effect| {
                Some((effect.confidence.unwrap_or(1.0), effect.label.as_deref()?))
            });
            let got = labelled.max_by(|a, b| best(a.0, b.0)).map_or("none", |(_, label)| label);
            compare("label", label.clone(), got.to_owned());
        }
        if let Some(reasons) = &expected.reasons {
            let own = &self.rules()[rule as usize].reason;
            let reason = |effect: &HitEffect| effect.reason.as_ref().unwrap_or(own).to_string();
            let mut got: Vec<String> = effects().map(reason).collect();
            let mut wanted = reasons.clone();
            for all in [&mut got, &mut wanted] {
                all.sort_unstable();
                all.dedup();
            }
            compare("reasons", format!("{wanted:?}"), format!("{got:?}"));
        }
        failures
    }
}

/// The rows of tables that a hit rests on.
fn rows_of<'a>(
    evaluation: &'a Evaluation,
    hit: &Hit,
) -> impl Iterator<Item = (String, u32)> + use<'a> {
    evaluation.evidence(hit).iter().filter_map(|evidence| match evidence {
        Evidence::Row { table, row } => Some((table.to_string(), *row)),
        Evidence::Terms { .. }
        | Evidence::Listed { .. }
        | Evidence::ListedText { .. }
        | Evidence::Name { .. } => None,
    })
}

fn evaluation_input<'a>(
    test: &RuleTest,
    input: &'a TestInput,
    none: &'a RuleMask,
) -> EvaluationInput<'a> {
    EvaluationInput {
        facts: &input.facts,
        derived: &input.derived,
        windows: &input.windows,
        as_of: test.as_of.unwrap_or(AS_OF_DEFAULT),
        disabled: none,
        snoozed: none,
        cost_units_limit: u64::MAX,
    }
}

/// A value as a test writes it, shortened.
fn shown_value(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    let text = value.to_json().to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn shown_outcome(outcome: Option<Outcome>) -> String {
    outcome.map_or("none".to_owned(), |outcome| outcome.to_string())
}

/// A value of a test; `null` is unknown.
fn test_value(field: &Field, json: &Json, path: &str, failures: &mut Vec<String>) -> Option<Value> {
    if json.is_null() {
        return None;
    }
    read_value(field, json).map_err(|(_, message)| failures.push(format!("{path}: {message}"))).ok()
}
