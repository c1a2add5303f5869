//! The comparison of a decision with what a test expects.

use std::fmt::Display;

use verdict_config::definition::FlowExpectation;

use crate::decision::Decision;

/// Each difference, in a sentence.
pub(super) fn differences(expected: &FlowExpectation, decision: &Decision) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: Option<String>, got: String| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            found.push(format!("expected {what} {expected}, got {got}"));
        }
    };
    let outcome = decision.outcome.to_string();
    compare("outcome", expected.outcome.map(|outcome| outcome.to_string()), outcome);
    let risk = decision.risk.as_ref();
    compare(
        "level",
        expected.level.map(|level| level.to_string()),
        shown(risk.and_then(|r| r.level)),
    );
    compare(
        "score",
        expected.score.map(|score| score.to_string()),
        shown(risk.and_then(|r| r.score)),
    );
    let label = decision.classification.as_ref().map(|class| &class.label);
    compare("label", expected.label.clone(), shown(label));
    let reasons = decision.reasons.iter().map(|reason| reason.code.to_string());
    compare(
        "reasons",
        expected.reasons.as_ref().map(|wanted| set(wanted.iter().cloned())),
        set(reasons),
    );
    let abstained = decision.abstained.iter().map(|why| why.as_str().to_owned());
    let wanted = expected.abstained.as_ref().map(|wanted| set(wanted.iter().cloned()));
    compare("abstained", wanted, set(abstained));
    // A test that says nothing expects a whole answer: a part that failed must not pass in silence.
    let wanted = expected.degraded.clone().unwrap_or_default();
    let degraded = decision.degraded.iter().map(ToString::to_string);
    compare("degraded", Some(set(wanted.into_iter())), set(degraded));
    found
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

fn set(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort_unstable();
    items.dedup();
    format!("[{}]", items.join(", "))
}
